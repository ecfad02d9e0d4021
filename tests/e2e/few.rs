//! When most substrates look bad, in a real Envoy: marks of load are believed as long as enough others stand, and ignored
//! where they would pile everything onto the last one or refuse everybody. Circuits and borders hold all the while.

use crate::mesh::Mesh;
use crate::support::bootstrap::INGRESS;
use crate::support::client::{Ask, BOTH, Seen};
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::{Script, Upstream};
use crate::support::{RUN, eventually, everywhere};
use serde_json::json;
use std::collections::BTreeMap;

/// How many requests show who gets a part: of three that are alike each gets less than five with odds of one in a million.
const ASKED: usize = 60;

/// Of this tenant; one may go to all three, the other not over the border.
async fn ask(mesh: &Mesh, tenant: &str) -> Seen {
    let ask = Ask::post(mesh.envoy.listener(INGRESS), "/v1/chat/completions", "{}");
    ask.header("x-tenant", tenant).header("x-workload", "chat").send().await.unwrap()
}

/// So many requests of a tenant, by where they went.
async fn shares(mesh: &Mesh, tenant: &str) -> BTreeMap<String, usize> {
    let mut went = BTreeMap::new();
    for _ in 0..ASKED {
        let seen = ask(mesh, tenant).await;
        assert_eq!(seen.status, 200, "{tenant}: {}", seen.text());
        *went.entry(seen.text()).or_insert(0) += 1;
    }
    println!("{tenant}: {went:?}");
    went
}

/// Each of these, and nobody else, gets a part.
fn all_of(went: &BTreeMap<String, usize>, names: &[&str]) {
    assert_eq!(went.keys().map(String::as_str).collect::<Vec<_>>(), names);
    assert!(went.values().all(|count| *count >= 5), "{went:?}");
}

/// From now on these have all of their accelerators in use, and both workers know it.
async fn are_full(mesh: &Mesh, full: &[&Upstream]) {
    for upstream in [&mesh.metal, &mesh.onprem, &mesh.provider] {
        let is = full.iter().any(|one| one.name == upstream.name);
        let signals = json!({"accelerator_use": if is { 0.99 } else { 0.2 }});
        upstream.does_at("/health", Script::ok(&json!({"substrate": upstream.name, "signals": signals}).to_string()));
        let admission = format!("wasmcustom.berth.health.admission.substrate.{}", upstream.name);
        mesh.envoy.await_stat(&admission, |closed| (closed > 0) == is).await;
    }
    mesh.await_news().await;
}

#[tokio::test]
async fn when_most_look_bad_load_is_ignored_rather_than_piled_onto_the_last_one_and_circuits_and_borders_hold() {
    let mut policy = policy();
    for at in [1, 2] {
        for same in ["kind", "latency"] {
            policy["substrates"][at][same] = policy["substrates"][0][same].clone();
        }
    }
    let (metal, onprem, provider) = ("metal-fr", "onprem-de", "provider-us");
    policy["thresholds"] = json!({"sovereign": {"accelerator_use": 0.9}});
    policy["classes"][0]["home"] = json!([metal, onprem, provider]);
    policy["envelopes"][0]["spillover"] = json!("any");
    policy["selection"] = json!({"panic": 0.5, "ramp_ms": 0});
    policy["adaptive"] = json!({"latency": false, "risk": false});
    policy["breaking"]["open_ms"] = json!(60_000);
    policy["breaking"]["open_most_ms"] = json!(60_000);
    let mesh = Mesh::observed(&placement(&policy), &telemetry(&policy), |_, _| {}).await;
    mesh.await_live().await;
    all_of(&shares(&mesh, "initech").await, &[metal, onprem, provider]);

    // Two of three are enough: the mark is believed.
    are_full(&mesh, &[&mesh.metal]).await;
    all_of(&shares(&mesh, "initech").await, &[onprem, provider]);
    // One of three is few, and none of two is none: all that are permitted take their part, and nobody else does.
    are_full(&mesh, &[&mesh.metal, &mesh.onprem]).await;
    all_of(&shares(&mesh, "initech").await, &[metal, onprem, provider]);
    all_of(&shares(&mesh, "acme").await, &[metal, onprem]);
    are_full(&mesh, &[&mesh.metal, &mesh.onprem, &mesh.provider]).await;
    all_of(&shares(&mesh, "initech").await, &[metal, onprem, provider]);
    let seen = ask(&mesh, "initech").await;
    assert!(!seen.header("x-placement-decision").unwrap().contains("last-resort"), "many are no last resort");

    // Those whose circuits are open get nothing, however few are left.
    for upstream in [&mesh.metal, &mesh.onprem] {
        upstream.does(Script::status(500));
        let circuit = format!("wasmcustom.berth.health.circuit.substrate.{}", upstream.name);
        eventually("the circuit opens", || async {
            ask(&mesh, "initech").await;
            (mesh.envoy.stat(&circuit).await == 2).then_some(())
        })
        .await;
    }
    everywhere("the last one gets all", || async {
        let seen = ask(&mesh, "initech").await;
        let decision = seen.header("x-placement-decision").unwrap_or_default();
        seen.text() == provider && decision.ends_with(", last-resort")
    })
    .await;
    mesh.envoy.await_stat("wasmcustom.berth.last_resort", |count| count >= RUN as u64).await;
    let before = [mesh.metal.received().len(), mesh.onprem.received().len()];
    for http in BOTH.repeat(RUN / 2) {
        let refused = mesh.chat().over(http).send().await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().contains(r#""reason":"availability/circuit-open""#), "{}", refused.text());
    }
    assert_eq!([mesh.metal.received().len(), mesh.onprem.received().len()], before);
    assert!(
        mesh.provider.received().iter().all(|request| request.headers["x-tenant"] == "initech"),
        "the border holds"
    );
}
