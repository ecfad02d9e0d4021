//! Body mode: what an OpenAI-style body asks for decides, within a bounded prefix; the body itself goes on whole.

use crate::attempts::{at, placement, usual};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH, Http};
use crate::support::envoy::Envoy;
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Every substrate has model `m`; only `b` and `c` have `special` and tools, `a` is short of context, and only `c` is
/// permitted to the data class `health`.
fn configuration() -> Value {
    let mut configuration = placement(usual());
    for substrate in configuration["policy"]["substrates"].as_array_mut().unwrap() {
        if let Some((_, quality)) = [("b", 0.7), ("c", 0.5)].iter().find(|(name, _)| substrate["name"] == *name) {
            substrate["capabilities"]["models"]["special"] = json!({"quality": quality});
            substrate["capabilities"]["features"] = json!(["streaming", "tools"]);
        }
        if substrate["name"] == "a" {
            substrate["capabilities"]["context_tokens"] = json!(1_000_000);
        }
        // Many tokens take no time: it is the room for them that is asked about.
        substrate["latency"]["ms_per_token"] = json!(0);
    }
    configuration["policy"]["envelopes"].as_array_mut().unwrap().push(json!({"name": "health",
        "applies_to": {"data": ["health"]}, "permit": {"substrates": ["c"]}, "spillover": "jurisdiction"}));
    configuration["body"] =
        json!({"headers_stop": true, "prefix_bytes": 4096, "hold_ms": 300, "data_key": "data_class"});
    configuration
}

async fn start() -> (Envoy, [Upstream; 3]) {
    let all = [Upstream::start("a").await, Upstream::start("b").await, Upstream::start("c").await];
    let mut filter = wasm_filter(&built("berth.wasm"), "placement", &configuration(), Carried::Text);
    filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
    let mut bootstrap = Bootstrap::default();
    for upstream in &all {
        bootstrap = bootstrap.substrate(&upstream.name, &at(upstream, false));
    }
    let envoy = Envoy::start(&bootstrap.filter(filter).routes(usual(), &["a", "b", "c"], None).build()).await;
    (envoy, all)
}

fn ask(envoy: &Envoy, path: &str, body: Vec<u8>) -> Ask {
    let ask = Ask::post(envoy.listener(INGRESS), path, body).header("content-type", "application/json");
    ask.header("x-tenant", "acme").header("x-workload", "again")
}

#[tokio::test]
async fn what_the_body_asks_for_decides_and_the_body_arrives_whole() {
    let (envoy, [a, b, c]) = start().await;
    let prompt = "x".repeat(900_000);
    for http in BOTH {
        let bodies = [
            ("short", json!({"model": "special"}).to_string(), "b"),
            ("other", json!({"model": "m", "stream": false}).to_string(), "a"),
            ("tools", json!({"model": "m", "tools": [{"type": "function"}]}).to_string(), "b"),
            ("no-tools", json!({"model": "m", "tools": []}).to_string(), "a"),
            ("tokens", json!({"model": "m", "max_tokens": 2_000_000}).to_string(), "b"),
            ("few-tokens", json!({"model": "m", "max_tokens": 20}).to_string(), "a"),
            ("data", json!({"model": "m", "data_class": "health"}).to_string(), "c"),
            ("metadata", json!({"model": "m", "metadata": {"data_class": "health"}}).to_string(), "c"),
            ("other-data", json!({"model": "m", "metadata": {"data_class": "public"}}).to_string(), "a"),
            ("long", format!(r#"{{"model": "special", "messages": [{{"content": "{prompt}"}}]}}"#), "b"),
            // Too far behind to be seen: decided by what is known.
            ("behind", format!(r#"{{"messages": [{{"content": "{prompt}"}}], "model": "special"}}"#), "a"),
            ("no-json", "model=special".into(), "a"),
            ("empty", String::new(), "a"),
        ];
        for (name, body, expected) in bodies {
            let path = format!("/{name}/{http:?}");
            let seen = ask(&envoy, &path, body.clone().into_bytes()).over(http).send().await.unwrap();
            assert_eq!((seen.status, seen.text().as_str()), (200, expected), "{path}");
            let upstream = [&a, &b, &c].into_iter().find(|upstream| upstream.name == expected).unwrap();
            assert!(upstream.received().iter().any(|r| r.path == path && r.body == body.as_bytes()), "{path}");
        }
        if usual() == Way::Simple {
            continue;
        }
        // With another attempt besides.
        b.does(Script::overloaded(1));
        let seen = ask(&envoy, "/again", json!({"model": "special"}).to_string().into_bytes()).over(http).send().await;
        assert_eq!(seen.unwrap().text(), "c");
        assert!(c.received().iter().any(|r| r.path == "/again" && r.body == br#"{"model":"special"}"#));
        b.does(Script::ok("b"));
    }
    assert!(!envoy.log().contains("special"), "the log has nothing of a body");
}

#[tokio::test]
async fn no_level_of_the_log_shows_what_a_body_says() {
    let (envoy, _upstreams) = start().await;
    for level in ["debug", "trace"] {
        let set = Ask::post(envoy.admin_address(), &format!("/logging?wasm={level}"), "").send().await.unwrap();
        assert!(set.text().contains(&format!("wasm: {level}")), "{}", set.text());
        let before = envoy.log().len();
        for (n, http) in BOTH.into_iter().enumerate() {
            // Whole, cut off by the prefix, broken, and of a class that is refused.
            let long = "prompt-that-nobody-may-see ".repeat(1_000);
            let said = format!(r#"{{"model": "model-of-the-body", "messages": [{{"content": "{long}"}}]}}"#);
            for (what, body) in
                [("whole", said.clone()), ("broken", said.replace("}]}", "]}}}")), ("short", said[..99].into())]
            {
                let path = format!("/{level}/{what}/{n}");
                let seen = ask(&envoy, &path, body.into_bytes()).over(http).send().await.unwrap();
                assert!(seen.status == 200 || seen.status == 422, "{path}: {}", seen.status);
            }
        }
        // Something is logged at the lowest level, or nothing is shown by what is not there.
        eventually("what the host calls is in the log", || async {
            (level != "trace" || envoy.log().len() > before + 1_000).then_some(())
        })
        .await;
        for secret in ["prompt-that-nobody", "model-of-the-body"] {
            assert!(!envoy.log().contains(secret), "{level}: {secret}");
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_with_trailers_is_decided_before_it_goes_on() {
    let (envoy, [a, b, _]) = start().await;
    // The scanner cannot finish any of them, and each is shorter than what is looked at.
    let bodies = [
        ("cut", &br#"{"model": "special", "messages": ["#[..], "b"),
        ("mark", b"\xef\xbb\xbf{\"model\": \"special\"} ", "b"),
        ("no-json", b"model=special", "a"),
        ("none", b"", "a"),
    ];
    for (name, body, expected) in bodies {
        let path = format!("/trailed/{name}");
        let seen = ask(&envoy, &path, body.to_vec()).over(Http::Two).trailer("x-end", "1").send().await.unwrap();
        assert_eq!((seen.status, seen.text().as_str()), (200, expected), "{name}");
        let upstream = if expected == "a" { &a } else { &b };
        assert!(upstream.received().iter().any(|r| r.path == path && r.body == body), "{name}");
    }
    let refused = ask(&envoy, "/unknown", br#"{"model": "nobody-has-it", "#.to_vec());
    let seen = refused.over(Http::Two).trailer("x-end", "1").send().await.unwrap();
    assert_eq!(seen.status, 422, "{}", seen.text());
    assert_eq!(envoy.stat("wasmcustom.berth.body_late").await, 0, "nobody was decided by headers alone");
    assert!(a.received().iter().chain(&b.received()).all(|r| r.path != "/unknown"));
}

#[tokio::test]
async fn a_client_that_stalls_is_decided_by_its_headers() {
    let (envoy, [a, ..]) = start().await;
    let mut stream = TcpStream::connect(envoy.listener(INGRESS)).await.unwrap();
    let head = "POST /stalled HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nx-workload: again\r\n\
                content-type: application/json\r\ncontent-length: 20\r\n\r\n{\"model\"";
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    eventually("the request was decided without its body", || async {
        (envoy.stat("wasmcustom.berth.body_late").await == 1).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    stream.write_all(b": \"specia\"}\r").await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
    let received = a.received().pop().unwrap();
    assert_eq!((received.path.as_str(), received.body.len()), ("/stalled", 20));
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_held_is_forgotten() {
    let (envoy, [a, ..]) = start().await;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(envoy.listener(INGRESS)).await.unwrap();
        let head = "POST /gone HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\ncontent-type: application/json\r\n\
                    content-length: 20\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    let seen = ask(&envoy, "/after", json!({"model": "m"}).to_string().into_bytes()).send().await.unwrap();
    assert_eq!(seen.text(), "a");
    eventually("the held ones are gone", || async {
        (envoy.stat(&format!("http.{INGRESS}.downstream_rq_active")).await == 0).then_some(())
    })
    .await;
    assert!(a.received().iter().all(|r| r.path == "/after"));
    assert!(!envoy.log().contains("critical"), "no VM was lost");
}
