//! A substrate that comes back, in a real Envoy: it begins with a small part of its share and grows into the whole.

use crate::mesh::Mesh;
use crate::support::client::Ask;
use crate::support::policy::{placement, policy};
use crate::support::upstream::Script;
use crate::support::{TRIES, eventually};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const RAMP_MS: u64 = 2_500;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Since when the first substrate is back, as it is published.
async fn back_since(mesh: &Mesh) -> Option<u64> {
    let seen = Ask::get(mesh.envoy.listener("telemetry"), "/snapshot").send().await.unwrap();
    let snapshot: Value = serde_json::from_slice(&seen.body).ok()?;
    snapshot["substrates"][0]["since_ms"].as_u64()
}

#[tokio::test]
async fn a_substrate_that_comes_back_begins_with_a_small_part_and_grows_into_its_whole_share() {
    let mut policy = policy();
    policy["substrates"][1]["latency"] = policy["substrates"][0]["latency"].clone();
    policy["classes"][0]["home"] = json!(["metal-fr", "onprem-de"]);
    policy["envelopes"][0]["spillover"] = json!("any");
    policy["selection"] = json!({"ramp_ms": RAMP_MS, "ramp_floor": 0.1});
    policy["adaptive"] = json!({"latency": false, "risk": false});
    policy["breaking"] = json!({"open_ms": 500, "open_most_ms": 500, "jitter": 0});
    let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50, "listener": {"read": "anyone"}});
    let mesh = Mesh::observed(&placement(&policy), &telemetry, |_, _| {}).await;
    for _ in 0..TRIES {
        let before = back_since(&mesh).await;
        mesh.metal.does(Script::status(500));
        eventually("the circuit opens", || async {
            mesh.chat().send().await.unwrap();
            (mesh.envoy.stat("wasmcustom.berth.health.circuit.substrate.metal-fr").await == 2).then_some(())
        })
        .await;
        mesh.metal.does(Script::ok("metal-fr"));
        // One after the other, so that hardly anything is ever under way, until it has been back for longer than it grows.
        let (mut asked, mut since) = (Vec::new(), None);
        let mut pace = tokio::time::interval(Duration::from_millis(4));
        while since.is_none_or(|since| now_ms() < since + RAMP_MS + 800) {
            pace.tick().await;
            let sent = now_ms();
            asked.push((sent, mesh.chat().send().await.unwrap().text() == "metal-fr"));
            if since.is_none() && asked.len().is_multiple_of(10) {
                since = back_since(&mesh).await.filter(|since| Some(*since) != before);
            }
        }
        let since = since.unwrap();
        let share = |from: u64, to: u64| {
            let within: Vec<bool> = asked
                .iter()
                .filter(|(at, _)| (since + from..since + to).contains(at))
                .map(|(_, there)| *there)
                .collect();
            let there = within.iter().filter(|there| **there).count();
            println!("from {from} to {to} ms: {there} of {}", within.len());
            (within.len() >= 60).then(|| there as f64 / within.len() as f64)
        };
        // A tenth of its weight beside a whole one is a tenth of 1.1, and 0.28 of it a fifth; two whole ones have a half each.
        let (first, grown) = (share(0, RAMP_MS / 5), share(RAMP_MS, RAMP_MS + 800));
        if let (Some(first), Some(grown)) = (first, grown) {
            assert!(first < 0.26, "{first} at first");
            assert!((0.3..0.7).contains(&grown), "{grown} in the end");
            assert!(share(0, RAMP_MS).is_some_and(|all| all > 0.05 && all < grown - 0.1), "it grows");
            return;
        }
        eprintln!("again: too few were asked meanwhile");
    }
    panic!("too few were asked {TRIES} times");
}
