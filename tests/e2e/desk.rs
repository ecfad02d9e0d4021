//! The telemetry listener in a real Envoy: reports that are handed in, the switch, the picture.

use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, ecds_resource, wasm_filter, wasm_filter_by_ecds};
use crate::support::client::{Ask, BOTH, Http, Seen};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::policy::{placement, policy};
use crate::support::upstream::Upstream;
use crate::support::{RUN, built, eventually, everywhere};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const AGENT: &str = "agent-token-0123456789";
pub const FLEET: &str = "fleet-token-0123456789";

/// The telemetry role with a listener of its own and no source: all it knows was handed in.
pub fn telemetry_with(listener: Value) -> Value {
    let configuration = json!({"role": "telemetry", "policy": policy(), "tick_ms": 50, "listener": listener});
    let mut filter = wasm_filter(&built("berth.wasm"), "telemetry", &configuration, Carried::Text);
    filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = true.into();
    filter
}

pub fn listener() -> Value {
    json!({"headers_stop": true, "read": "anyone", "most_body_bytes": 4_096, "most_per_s": 1_000, "writers": [
        {"name": "agent", "token": AGENT, "reports": ["metal-fr"]},
        {"name": "fleet", "token": FLEET, "reports": ["*"], "rollout": true}
    ]})
}

/// Three substrates whose health is only what is handed in.
pub struct Harbour {
    pub envoy: Envoy,
    _upstreams: Vec<Upstream>,
}

impl Harbour {
    pub async fn start(listener: Value) -> Self {
        Self::start_with(telemetry_with(listener), |_| {}).await
    }

    pub async fn start_with(telemetry: Value, change: impl FnOnce(&mut Value)) -> Self {
        let [metal, onprem, provider] = ["metal-fr", "onprem-de", "provider-us"].map(Upstream::start);
        let (metal, onprem, provider) = (metal.await, onprem.await, provider.await);
        let mut bootstrap = Bootstrap::default()
            .cluster("metal-fr", metal.address)
            .cluster("onprem-de", onprem.address)
            .cluster("provider-us", provider.address)
            .filter(wasm_filter(&built("berth.wasm"), "placement", &placement(&policy()), Carried::Text))
            .telemetry(telemetry)
            .build();
        change(&mut bootstrap);
        Self { envoy: Envoy::start(&bootstrap).await, _upstreams: vec![metal, onprem, provider] }
    }

    pub async fn put(&self, http: Http, token: &str, substrate: &str, body: &str) -> Seen {
        let to = self.envoy.listener("telemetry");
        let ask = Ask::put(to, &format!("/substrates/{substrate}"), body).over(http);
        let ask = if token.is_empty() { ask } else { ask.header("authorization", &format!("Bearer {token}")) };
        ask.send().await.unwrap()
    }

    /// Where a chat request goes.
    pub async fn chat(&self) -> Seen {
        let ask = Ask::post(self.envoy.listener(INGRESS), "/v1/chat/completions", "{}");
        ask.header("x-tenant", "acme").header("x-workload", "chat").send().await.unwrap()
    }

    pub async fn await_chat_at(&self, substrate: &str) {
        let there = || async { self.chat().await.text() == substrate };
        everywhere(&format!("chat goes to {substrate}"), there).await;
    }
}

/// A sequence as a reporter would choose it.
pub fn next() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

pub fn queue(sequence: u64, depth: u64) -> String {
    json!({"sequence": sequence, "signals": {"queue_depth": depth, "memory_pressure": 0.2}}).to_string()
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap_or_else(|_| panic!("{}: {}", seen.status, seen.text()))
}

#[tokio::test]
async fn a_report_that_is_handed_in_changes_where_requests_go() {
    let harbour = Harbour::start(listener()).await;
    for http in BOTH {
        let seen = harbour.put(http, AGENT, "metal-fr", &queue(next(), 500)).await;
        assert_eq!(
            (seen.status, &body(&seen)["kept"]),
            (200, &json!(["memory_pressure", "queue_depth"])),
            "{}",
            seen.text()
        );
        // A full queue closes admission at the second look.
        for (depth, substrate) in [(501, "onprem-de"), (0, "metal-fr")] {
            eventually("it is told again, and one worker knows", || async {
                harbour.put(http, AGENT, "metal-fr", &queue(next(), depth)).await;
                (harbour.chat().await.text() == substrate).then_some(())
            })
            .await;
            harbour.await_chat_at(substrate).await;
        }
    }
}

#[tokio::test]
async fn bad_reports_are_refused_for_their_reason_and_change_nothing() {
    let harbour = Harbour::start(listener()).await;
    for http in BOTH {
        let good = next();
        assert_eq!(harbour.put(http, AGENT, "metal-fr", &queue(good, 3)).await.status, 200);
        let long = format!("{{\"x\": \"{}\"}}", "y".repeat(9_000));
        for (token, substrate, report, status, reason) in [
            ("", "metal-fr", queue(next(), 9), 401, "unauthenticated"),
            ("not-a-token-of-ours", "metal-fr", queue(next(), 9), 401, "unauthenticated"),
            (AGENT, "onprem-de", queue(next(), 9), 403, "forbidden"),
            (AGENT, "mars", queue(next(), 9), 404, "unknown-substrate"),
            (AGENT, "metal-fr", queue(good, 9), 409, "not-newer"),
            (AGENT, "metal-fr", queue(good - 1, 9), 409, "not-newer"),
            (AGENT, "metal-fr", long, 413, "oversized"),
            (AGENT, "metal-fr", "{".into(), 400, "malformed"),
            (AGENT, "metal-fr", String::new(), 400, "malformed"),
            (
                AGENT,
                "metal-fr",
                json!({"sequence": next(), "substrate": "onprem-de", "signals": {"queue_depth": 9}}).to_string(),
                400,
                "malformed",
            ),
            (
                AGENT,
                "metal-fr",
                json!({"sequence": next(), "signals": {"queue_depth": -9}}).to_string(),
                422,
                "nothing-kept",
            ),
        ] {
            let seen = harbour.put(http, token, substrate, &report).await;
            let said = body(&seen);
            assert_eq!(
                (seen.status, said["reason"].as_str(), &said["kept"]),
                (status, Some(reason), &json!([])),
                "{said}"
            );
            assert_eq!(seen.header("content-type"), Some("application/problem+json"));
        }
        let depth = eventually("the good report is in the snapshot", || async {
            let seen = Ask::get(harbour.envoy.listener("telemetry"), "/snapshot").over(http).send().await.unwrap();
            let value = body(&seen)["substrates"][0]["signals"]["queue_depth"]["value"].as_u64();
            value.filter(|_| seen.status == 200)
        })
        .await;
        assert_eq!(depth, 3, "none of the others was taken");
    }
    for counter in ["turned-away.reason.unknown-substrate", "reported"] {
        harbour.envoy.await_stat(&format!("wasmcustom.berth.telemetry.{counter}"), |n| n == 2).await;
    }
}

/// A body that comes in pieces, without a length.
async fn in_pieces(to: std::net::SocketAddr, pieces: &[&str]) -> String {
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let head = format!(
        "PUT /substrates/metal-fr HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {AGENT}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in pieces {
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
        // The listener may have answered and closed already.
        if stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.is_err() {
            break;
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_in_pieces_is_read_whole_and_an_endless_one_is_cut_at_the_bound() {
    let harbour = Harbour::start(listener()).await;
    let to = harbour.envoy.listener("telemetry");
    let report = queue(next(), 3);
    let (one, two) = report.split_at(11);
    let answer = in_pieces(to, &[one, two]).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"queue_depth\""), "{answer}");
    let answer = in_pieces(to, &["y".repeat(1_000).as_str(); 40]).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn writes_beyond_the_rate_are_put_off() {
    let mut slow = listener();
    slow["most_per_s"] = 1.into();
    let harbour = Harbour::start(slow).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let seen = harbour.put(Http::One, AGENT, "metal-fr", &queue(next(), 1)).await;
        assert!(seen.status == 200 || seen.header("retry-after") == Some("1"));
        statuses.push(seen.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
}

async fn throw(harbour: &Harbour, http: Http, token: &str, to: &str) -> Seen {
    let ask = Ask::put(harbour.envoy.listener("telemetry"), "/rollout", json!({"to": to}).to_string()).over(http);
    ask.header("authorization", &format!("Bearer {token}")).send().await.unwrap()
}

#[tokio::test]
async fn the_switch_takes_placement_out_of_the_way_and_back_and_outlives_a_reload() {
    let dir = workdir();
    let upstream = Upstream::start("metal-fr").await;
    let module = built("berth.wasm");
    replace_file(&dir, "ecds.json", &ecds_resource(&module, "placement", "1", &placement(&policy())));
    let bootstrap = Bootstrap::default()
        .cluster("metal-fr", upstream.address)
        .cluster("onprem-de", upstream.address)
        .cluster("provider-us", upstream.address)
        .filter(wasm_filter_by_ecds("placement", &dir.join("ecds.json")))
        .telemetry(telemetry_with(listener()));
    let harbour = Harbour { envoy: Envoy::start_in(dir, &bootstrap.build()).await, _upstreams: vec![upstream] };
    for http in BOTH {
        harbour.await_chat_at("metal-fr").await;
        assert_eq!(throw(&harbour, http, AGENT, "passthrough").await.status, 403);
        let seen = throw(&harbour, http, FLEET, "passthrough").await;
        assert_eq!((seen.status, &body(&seen)["rollout"]), (200, &json!("passthrough")));
        // The route for requests that nobody decided.
        harbour.await_chat_at("undecided").await;
        let mut newer = placement(&policy());
        newer["policy"]["policy"]["version"] = if http == Http::One { 4 } else { 5 }.into();
        let loaded = format!("test-mesh@{}#", newer["policy"]["policy"]["version"]);
        harbour.envoy.replace_file("ecds.json", &ecds_resource(&module, "placement", &loaded, &newer));
        eventually("the new policy is loaded", || async { harbour.envoy.log().contains(&loaded).then_some(()) }).await;
        for _ in 0..RUN {
            assert_eq!(harbour.chat().await.text(), "undecided", "the switch outlived the reload");
        }
        assert_eq!(throw(&harbour, http, FLEET, "current").await.status, 200);
        eventually("the new policy decides", || async {
            let seen = harbour.chat().await;
            seen.header("x-placement-decision").filter(|decision| decision.contains(&loaded)).map(drop)
        })
        .await;
    }
    let seen = throw(&harbour, Http::One, FLEET, "sideways").await;
    assert_eq!((seen.status, &body(&seen)["reason"]), (400, &json!("malformed")));
}
