//! Numbers that nobody can mean, in a real Envoy, by each way that health comes: scraped, pulled, handed in and said by
//! answers. Each costs its own field; what stands beside it is believed, and what was known before stays known.

use crate::desk::{AGENT, listener, next};
use crate::mesh::Mesh;
use crate::support::client::{Ask, BOTH};
use crate::support::eventually;
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::Script;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What each field says at first, what it says later, and why that is dropped. The queue's depth stands beside them.
const FIELDS: [(&str, &str, &str, &str); 7] = [
    ("memory_pressure", "0.31", "NaN", "not-finite"),
    ("power_headroom", "0.82", "Infinity", "not-finite"),
    ("cooling_headroom", "0.83", "-Infinity", "not-finite"),
    ("context_room", "90000", "-4", "out-of-range"),
    ("link", "0.94", "7", "out-of-range"),
    ("rate_remaining", "5000", "1e300", "out-of-range"),
    ("rack_congestion", "0.15", "0.25", "future"),
];
/// Long after this is run.
const FUTURE_MS: u64 = 95_000_000_000_000;

/// What answers say of their server, and what of it can be meant. The binary form has not a number, an infinity and a
/// negative number beside it.
const SAID: [(&str, &str, u32); 3] = [
    (
        "endpoint-load-metrics",
        "TEXT named_metrics.interconnect=NaN, named_metrics.east_west=0.25, cpu_utilization=-1, named_metrics.burst_use=1e300, named_metrics.tokens_remaining=-inf",
        250_000,
    ),
    (
        "endpoint-load-metrics",
        r#"JSON {"cpu_utilization": "Infinity", "named_metrics": {"interconnect": 7, "east_west": 0.35, "burst_use": "NaN", "tokens_remaining": -5}}"#,
        350_000,
    ),
    (
        "endpoint-load-metrics-bin",
        "QhQKCWVhc3Rfd2VzdBHNzMzMzMzcP0IXCgxpbnRlcmNvbm5lY3QRAAAAAAAA+H9CFAoJYnVyc3RfdXNlEQAAAAAAAPB/QhsKEHRva2Vuc19yZW1haW5pbmcRAAAAAAAAFMA=",
        450_000,
    ),
];

fn text(queue_depth: u32, bad: bool) -> Vec<(&'static str, String, bool)> {
    let field = |(name, good, said, why): (&'static str, &str, &str, &str)| {
        (name, String::from(if bad { said } else { good }), bad && why == "future")
    };
    let mut fields = vec![("queue_depth", queue_depth.to_string(), false)];
    fields.extend(FIELDS.map(field));
    fields
}

/// As a server's metrics say it.
fn scrape(queue_depth: u32, bad: bool) -> Script {
    let mut scrape = String::new();
    for (name, value, future) in text(queue_depth, bad) {
        let stamp = if future { format!(" {FUTURE_MS}") } else { String::new() };
        writeln!(scrape, "server_{name} {value}{stamp}").unwrap();
    }
    Script::ok(&scrape)
}

/// As a document of Berth's says it, bare words and all.
fn document(sequence: u64, queue_depth: u32, bad: bool) -> String {
    let field = |(name, value, future): (&str, String, bool)| {
        let value = if future { format!(r#"{{"value": {value}, "at_ms": {FUTURE_MS}}}"#) } else { value };
        format!(r#""{name}": {value}"#)
    };
    let fields: Vec<String> = text(queue_depth, bad).into_iter().map(field).collect();
    format!(r#"{{"sequence": {sequence}, "signals": {{{}}}}}"#, fields.join(", "))
}

/// What is published of a substrate.
async fn published(mesh: &Mesh, at: usize) -> Value {
    let seen = Ask::get(mesh.envoy.listener("telemetry"), "/snapshot").send().await.unwrap();
    let snapshot: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    snapshot["substrates"][at]["signals"].clone()
}

/// Waits until this queue is published of all three, and gives what else is.
async fn await_queues(mesh: &Mesh, queue_depth: u32) -> [Value; 3] {
    eventually("what the queues say is published", || async {
        let all = [published(mesh, 0).await, published(mesh, 1).await, published(mesh, 2).await];
        all.iter().all(|signals| signals["queue_depth"]["value"] == queue_depth).then_some(all)
    })
    .await
}

async fn hand_in(mesh: &Mesh, queue_depth: u32, bad: bool) -> Value {
    let to = mesh.envoy.listener("telemetry");
    let ask = Ask::put(to, "/substrates/provider-us", document(next(), queue_depth, bad));
    let seen = ask.header("authorization", &format!("Bearer {AGENT}")).send().await.unwrap();
    assert_eq!(seen.status, 200, "{}", seen.text());
    serde_json::from_slice(&seen.body).unwrap()
}

#[tokio::test]
async fn numbers_that_nobody_can_mean_cost_their_field_by_whatever_way_they_come() {
    let mut policy = policy();
    (policy["adaptive"], policy["selection"]) = (json!({"latency": false, "risk": false}), json!({"ramp_ms": 0}));
    let mut telemetry = telemetry(&policy);
    let mapped = |name: &str| json!({"signal": name, "metric": format!("server_{name}")});
    let mut mappings = vec![mapped("queue_depth")];
    mappings.extend(FIELDS.map(|(name, ..)| mapped(name)));
    telemetry["sources"][0]["format"] = json!("prometheus");
    telemetry["sources"][0]["mappings"] = mappings.into();
    telemetry["sources"].as_array_mut().unwrap().pop();
    telemetry["listener"] = listener();
    telemetry["listener"]["writers"][0]["reports"] = json!(["provider-us"]);
    let mesh = Mesh::observed(&placement(&policy), &telemetry, |bootstrap, _| {
        let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
        let filters = &mut listeners[1]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        filters[0]["typed_config"]["config"]["allow_on_headers_stop_iteration"] = true.into();
    })
    .await;

    let says = |queue_depth, bad| {
        mesh.metal.does_at("/health", scrape(queue_depth, bad));
        mesh.onprem.does_at("/health", Script::ok(&document(1, queue_depth, bad)));
    };
    says(3, false);
    hand_in(&mesh, 3, false).await;
    let good = await_queues(&mesh, 3).await;

    says(5, true);
    let answer = hand_in(&mesh, 5, true).await;
    let dropped: Value = FIELDS.iter().map(|(name, _, _, why)| (name.to_string(), json!(why))).collect();
    assert_eq!(
        (&answer["kept"], &answer["dropped"]),
        (&json!(["queue_depth"]), &dropped),
        "whoever handed it in hears"
    );
    let first = await_queues(&mesh, 5).await;
    hand_in(&mesh, 5, true).await;
    let heard_ms = |signals: &Value, name: &str| signals[name]["at_ms"].as_u64().unwrap();
    let later = eventually("the queues are heard of again", || async {
        let all = await_queues(&mesh, 5).await;
        let newer = |(now, before)| heard_ms(now, "queue_depth") > heard_ms(before, "queue_depth");
        all.iter().zip(&first).all(newer).then_some(all)
    })
    .await;
    for ((good, first), later) in good.iter().zip(&first).zip(&later) {
        for (name, ..) in FIELDS {
            assert_eq!(later[name]["value"], good[name]["value"], "{name}: what was known before");
            assert_eq!(later[name], first[name], "{name}: and nothing newer");
        }
    }
    for why in ["not-finite", "out-of-range", "future"] {
        let counter = format!("wasmcustom.berth.telemetry.dropped.reason.{why}");
        mesh.envoy.await_stat(&counter, |dropped| dropped >= 2).await;
    }

    // Answers say such things too; of these signals nothing was known, and nothing is.
    for (header, value, east_west) in SAID {
        mesh.metal.does(Script::Answer(200, vec![(header.into(), value.into())], "metal-fr".into()));
        for http in BOTH {
            let seen = mesh.chat().over(http).send().await.unwrap();
            assert_eq!((seen.status, seen.text().as_str()), (200, "metal-fr"));
            assert!(seen.header("x-placement-decision").unwrap().contains("fresh=live"));
        }
        let signals = eventually(header, || async {
            let signals = published(&mesh, 0).await;
            (signals["east_west"]["value"] == east_west).then_some(signals)
        })
        .await;
        for name in ["interconnect", "cpu_use", "burst_use", "tokens_remaining"] {
            assert_eq!(signals.get(name), None, "{value}");
        }
    }

    // What stands beside all that is believed: a queue too deep drives everybody away.
    mesh.metal.does_at("/health", scrape(500, true));
    mesh.await_all_at("onprem-de").await;
    assert!(mesh.provider.received().is_empty(), "and nobody over the border");
}
