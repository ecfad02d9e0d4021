//! What only answers show: attempts are seen inside the clusters, and nothing is asked of the substrates.

use crate::mesh::Mesh;
use crate::support::client::Seen;
use crate::support::eventually;
use crate::support::policy::{placement, policy};
use crate::support::upstream::Script;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Circuits that open and are probed quickly; everything else as in the policy of all tests.
fn quick() -> Value {
    let mut policy = policy();
    policy["breaking"] =
        json!({"dwell_ms": 200, "hold_down_ms": 400, "open_ms": 1500, "open_most_ms": 3000, "jitter": 0});
    // A substrate that comes back gets its traffic at once. These upstreams answer a thousand times as fast as they
    // declare, so that whoever was measured would beat whoever was not; and the first failures would drive traffic away
    // as a risk, before there are enough of them for a circuit.
    policy["selection"] = json!({"ramp_ms": 0});
    policy["adaptive"] = json!({"latency": false, "risk": false});
    policy
}

/// A mesh whose substrates nobody asks for anything.
async fn silent(policy: &Value) -> Mesh {
    let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    Mesh::observed(&placement(policy), &telemetry).await
}

impl Mesh {
    /// Sends a request and says where it went and what became of it.
    async fn ask(&self) -> Seen {
        self.chat().send().await.unwrap()
    }

    /// Asks for so long, slowly enough that a worker never has more in flight than there is capacity.
    async fn ask_for(&self, ms: u64) -> Vec<Seen> {
        let until = Instant::now() + Duration::from_millis(ms);
        let (mut seen, mut pace) = (Vec::new(), tokio::time::interval(Duration::from_millis(5)));
        while Instant::now() < until {
            pace.tick().await;
            seen.push(self.ask().await);
        }
        seen
    }
}

fn decision(seen: &Seen) -> &str {
    seen.header("x-placement-decision").unwrap_or_default()
}

#[tokio::test]
async fn a_circuit_opens_by_answers_alone_is_probed_within_bounds_and_closes_again() {
    let mesh = silent(&quick()).await;
    assert_eq!(mesh.ask().await.text(), "metal-fr");
    mesh.metal.does(Script::status(500));
    eventually("traffic leaves", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) }).await;
    let seen = mesh.ask().await;
    assert!(decision(&seen).contains("spill=metal-fr"), "{}", decision(&seen));
    mesh.envoy.await_stat("wasmcustom.berth.health.circuit.substrate.metal-fr", |n| n == 2).await;

    // Open for a second and a half, then one probe, which fails: open for three more.
    let failed = mesh.metal.received().len();
    let seen = mesh.ask_for(4_000).await;
    let bad = seen.iter().filter(|seen| seen.status != 200).count();
    let probes = mesh.metal.received().len() - failed;
    assert!((1..=2).contains(&probes) && bad == probes, "{probes} probes and {bad} bad answers of {}", seen.len());

    mesh.metal.does(Script::ok("metal-fr"));
    eventually("a probe finds it well, and traffic returns", || async {
        let mut home = 0;
        for _ in 0..8 {
            home += usize::from(mesh.ask().await.text() == "metal-fr");
        }
        (home == 8).then_some(())
    })
    .await;
    mesh.envoy.await_stat("wasmcustom.berth.health.circuit.substrate.metal-fr", |n| n == 0).await;
}
