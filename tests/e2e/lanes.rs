//! Lanes, which are composite clusters: Envoy runs a lane's filters for its attempts and not those of the inner
//! clusters. What substrates are shown, and for whom attempts count, must be as if it ran theirs.

use crate::attempts::{at, placement, policy};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH, Http, Seen};
use crate::support::envoy::Envoy;
use crate::support::policy::observe;
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use berth::manifest::envoy::cluster::{Credential, Endpoint, separate};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};

/// Circuits that open by failures; what is measured of these upstreams moves nothing, and nobody is short of time.
fn plain(mut policy: Value) -> Value {
    for class in policy["classes"].as_array_mut().unwrap() {
        class["deadline_ms"] = json!(30_000);
    }
    policy["adaptive"] = json!({"latency": false, "risk": false});
    policy["selection"]["ramp_ms"] = json!(0);
    policy
}

struct Lane {
    envoy: Envoy,
    a: Upstream,
    b: Upstream,
    c: Upstream,
}

impl Lane {
    /// Three substrates in a lane; one beside it has a key, so that keys are kept apart everywhere.
    async fn start() -> Self {
        let [a, b, c] = ["a", "b", "c"].map(Upstream::start);
        let (a, b, c) = (a.await, b.await, c.await);
        let observing = wasm_filter(&built("berth.wasm"), "telemetry", &observe(), Carried::Text);
        let of = |upstream: &Upstream| Endpoint {
            authority: Some(format!("{}.test", upstream.name)),
            filters: vec![observing.clone()],
            in_lane: true,
            ..at(upstream, upstream.name == "b")
        };
        let key = Credential { header: "x-secret".into(), sds_file: "none.json".into(), secret: "none".into() };
        let keyed = Endpoint { credential: Some(key), ..Endpoint::default() };
        let mut endpoints = vec![of(&a), of(&b), of(&c), keyed];
        separate(&mut endpoints);
        let members: Vec<(&str, &Endpoint)> = ["a", "b", "c"].into_iter().zip(&endpoints).collect();
        let mut placing = placement(Way::Lanes);
        placing["policy"] = plain(policy());
        let watching = json!({"role": "telemetry", "policy": plain(policy()), "tick_ms": 50});
        let bootstrap = members.iter().fold(Bootstrap::default(), |b, (name, endpoint)| b.substrate(name, endpoint));
        let bootstrap = bootstrap
            .filter(wasm_filter(&built("berth.wasm"), "placement", &placing, Carried::Text))
            .telemetry(wasm_filter(&built("berth.wasm"), "telemetry", &watching, Carried::Text))
            .routes(Way::Lanes, &["a", "b", "c"], None)
            .lane_over("a-b-c", &members)
            .lane_over("a-b", &members[..2]);
        Self { envoy: Envoy::start(&bootstrap.build()).await, a, b, c }
    }

    async fn ask(&self, http: Http) -> Seen {
        let ask = Ask::post(self.envoy.listener(INGRESS), "/v1/x", "the body").over(http);
        let ask = ask.header("x-tenant", "acme").header("x-workload", "again").header("x-secret", "client");
        ask.header("authorization", "Bearer client").header("x-api-key", "client").send().await.unwrap()
    }

    async fn circuit(&self, substrate: &str) -> u64 {
        self.envoy.stat(&format!("wasmcustom.berth.health.circuit.substrate.{substrate}")).await
    }
}

#[tokio::test]
async fn a_substrate_in_a_lane_is_asked_by_its_own_name_and_sees_neither_our_headers_nor_anybodys_key() {
    let lane = Lane::start().await;
    lane.a.does(Script::overloaded(1));
    lane.b.does(Script::status(503));
    for http in BOTH {
        let seen = lane.ask(http).await;
        assert_eq!((seen.status, seen.text().as_str()), (200, "c"));
    }
    for upstream in [&lane.a, &lane.b, &lane.c] {
        let all = upstream.received();
        assert!(!all.is_empty(), "{} was not asked", upstream.name);
        for received in all {
            assert_eq!(received.headers["host"], format!("{}.test", upstream.name));
            let foreign = received.headers.iter().find(|(k, v)| k.starts_with("x-placement-") || v.contains("client"));
            assert_eq!(foreign, None, "{} sees what is not meant for it", upstream.name);
        }
    }
}

#[tokio::test]
async fn each_attempt_of_a_lane_counts_for_the_cluster_it_went_to() {
    let lane = Lane::start().await;
    lane.a.does(Script::status(500));
    eventually("the circuit of the first opens", || async {
        let seen = lane.ask(Http::One).await;
        assert_eq!((seen.status, seen.text().as_str()), (200, "b"), "the next one answers");
        (lane.circuit("a").await == 2).then_some(())
    })
    .await;
    let failed = lane.a.received().len();
    assert!(failed >= 5, "{failed}");
    assert_eq!((lane.circuit("b").await, lane.circuit("c").await), (0, 0));
    // Told at the next tick.
    lane.envoy.await_stat("wasmcustom.berth.observed.failed", |n| n == u64::try_from(failed).unwrap()).await;
    assert_eq!(lane.envoy.stat("wasmcustom.berth.observed.strangers").await, 0);
    lane.envoy.await_stat("wasmcustom.berth.health.first_token.substrate.b", |us| us > 0).await;
    assert_eq!(lane.envoy.stat("wasmcustom.berth.health.first_token.substrate.c").await, 0, "nobody asked it");
}
