//! The official OpenAI client talks through the proxy, streaming and not, while substrates are full: it sees its answer.

use crate::attempts::placement;
use crate::server::{Behaviour, Substrate};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::built;
use crate::support::envoy::Envoy;
use berth::manifest::envoy::cluster::Endpoint;
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tokio::net::TcpListener;

/// A simulated inference server, and where it is.
async fn substrate(name: &str, full: bool) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let substrate = Substrate::new(name, Behaviour { full, ms_per_token: 5, ..Behaviour::default() });
    tokio::spawn(substrate.serve(listener));
    Endpoint { hosts: vec![(address.ip().to_string(), address.port())], ..Endpoint::default() }
}

/// The Python in which the client is installed.
fn python() -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/tools");
    let found = Command::new(tools).arg("openai").output().unwrap();
    let path = String::from_utf8_lossy(&found.stdout).trim().to_string();
    assert!(!path.is_empty(), "no OpenAI client: {}", String::from_utf8_lossy(&found.stderr));
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_client_sees_its_answer_and_nothing_of_the_attempts() {
    let mut bootstrap = Bootstrap::default();
    for (name, full) in [("a", true), ("b", true), ("c", false)] {
        bootstrap = bootstrap.substrate(name, &substrate(name, full).await);
    }
    let mut configuration = placement(Way::Full);
    configuration["body"] = json!({"headers_stop": true});
    // Nothing here is about time: the client would try again what came too late.
    for class in configuration["policy"]["classes"].as_array_mut().unwrap() {
        class["deadline_ms"] = json!(20_000);
    }
    let mut filter = wasm_filter(&built("berth.wasm"), "placement", &configuration, Carried::Text);
    filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
    let envoy = Envoy::start(&bootstrap.filter(filter).routes(Way::Full, &["a", "b", "c"], None).build()).await;
    let (python, to) = (python(), format!("http://{}", envoy.listener(INGRESS)));
    for class in ["once", "again"] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/official_client.py");
        let run = Command::new(&python).arg(script).args([&to, class]).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        let seen: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|_| panic!("the client failed: {said}"));
        assert_eq!(seen["whole"], "c answers.", "{seen}");
        assert_eq!(seen["usage"], 6, "{seen}");
        assert!(seen["streamed"].as_str().is_some_and(|text| !text.is_empty()), "{seen}");
        assert!(seen["chunks"].as_u64() >= Some(6), "it came in pieces: {seen}");
    }
    let lines = envoy.access_log(4).await;
    assert!(lines.iter().all(|line| line["attempts"] == 3 && line["cluster"] == "c"), "{lines:?}");
}
