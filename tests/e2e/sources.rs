//! Sources that misbehave, in a real Envoy: each costs itself, is counted for its reason and shown with it, and leaves
//! the others as they are.

use crate::desk::telemetry_with;
use crate::mesh::health;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::Envoy;
use crate::support::policy::{placement, policy};
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually, everywhere};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_source_that_hangs_streams_for_ever_fails_or_speaks_of_another_costs_only_itself() {
    let (metal, onprem) = (Upstream::start("metal-fr").await, Upstream::start("onprem-de").await);
    let provider = Upstream::start("provider-us").await;
    metal.does_at("/health", health("metal-fr", 2));
    onprem.does_at("/hangs", Script::after(600_000, Script::ok("{}")));
    onprem.does_at("/endless", Script::Stream(usize::MAX, Duration::from_millis(1)));
    onprem.does_at("/fails", Script::status(500));
    onprem.does_at("/another", health("provider-us", 500));
    onprem.does_at("/rubbish", Script::ok("<html>queue_depth: 500</html>"));
    onprem.does_at("/breaks", Script::BreakOff);
    onprem.does_at("/resets", Script::Reset);
    // Where nothing came, Envoy answers for the source: 504 or 503.
    let expected = [
        ("/hangs", "status"),
        ("/endless", "no-answer"),
        ("/fails", "status"),
        ("/another", "misdirected"),
        ("/rubbish", "malformed"),
        ("/breaks", "no-answer"),
        ("/resets", "status"),
    ];
    let source = |cluster: &str, path: &str| json!({"cluster": cluster, "path": path, "substrate": cluster, "interval_ms": 100, "timeout_ms": 250});
    let mut sources = vec![source("metal-fr", "/health")];
    sources.extend(expected.map(|(path, _)| source("onprem-de", path)));

    let mut telemetry = telemetry_with(json!({"read": "anyone"}));
    let configuration = &mut telemetry["typed_config"]["config"]["configuration"]["value"];
    let mut read: Value = serde_json::from_str(configuration.as_str().unwrap()).unwrap();
    read["sources"] = sources.into();
    *configuration = read.to_string().into();
    let bootstrap = Bootstrap::default()
        .cluster("metal-fr", metal.address)
        .cluster("onprem-de", onprem.address)
        .cluster("provider-us", provider.address)
        .filter(wasm_filter(&built("berth.wasm"), "placement", &placement(&policy()), Carried::Text))
        .telemetry(telemetry);
    let envoy = Envoy::start(&bootstrap.build()).await;
    let state = eventually("each source has failed twice and said why", || async {
        let seen = Ask::get(envoy.listener("telemetry"), "/state").send().await.unwrap();
        let state: Value = serde_json::from_slice(&seen.body).unwrap();
        let shown = state["sources"]["sources"].as_array()?.clone();
        let failed = |path: &str, why: &str| {
            let source = shown.iter().find(|source| source["path"] == path).unwrap();
            source["failed"].as_u64() >= Some(2) && source["heard"] == 0 && source["last_failure"] == why
        };
        // The one beside them is asked on, and heard.
        let good = &state["snapshot"]["substrates"][0]["signals"]["queue_depth"];
        let young = good["at_ms"].as_u64().is_some_and(|at| state["now_ms"].as_u64().unwrap() < at + 1_500);
        (young && expected.iter().all(|(path, why)| failed(path, why))).then_some(state)
    })
    .await;
    for (_, why) in expected {
        envoy.await_stat(&format!("wasmcustom.berth.telemetry.failed.reason.{why}"), |n| n > 0).await;
    }
    let substrates = &state["snapshot"]["substrates"];
    assert_eq!(substrates[0]["signals"]["queue_depth"]["value"], 2);
    // Nothing that was said of onprem-de or for another was believed.
    for at in [1, 2] {
        assert_eq!(substrates[at]["signals"].get("queue_depth"), None, "{}", substrates[at]);
    }
    for http in BOTH {
        everywhere("decisions are made from what is heard of the good one", || async {
            let ask = Ask::post(envoy.listener(INGRESS), "/v1/chat/completions", "{}").over(http);
            let seen = ask.header("x-tenant", "acme").header("x-workload", "chat").send().await.unwrap();
            assert_eq!((seen.status, seen.text().as_str()), (200, "metal-fr"));
            seen.header("x-placement-decision").unwrap().contains("fresh=live")
        })
        .await;
    }
}
