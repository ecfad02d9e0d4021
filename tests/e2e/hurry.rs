//! Clients that claim to have less time than their work takes, beside others that claim nothing.

use crate::mesh::Mesh;
use crate::support::calm::calmly;
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::Script;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long usual work takes, and long work: so long that a busy machine adds little to it.
const USUAL_MS: u64 = 200;
const LONG_MS: u64 = 1_500;
/// How long each scene lasts.
const LASTS: Duration = Duration::from_secs(5);

/// What was seen of attempts: failed, abandoned.
async fn counts(mesh: &Mesh) -> [u64; 2] {
    let mut all = [0; 2];
    for (count, what) in all.iter_mut().zip(["failed", "abandoned"]) {
        *count = mesh.envoy.stat(&format!("wasmcustom.berth.observed.{what}")).await;
    }
    all
}

async fn is_open(mesh: &Mesh) -> bool {
    mesh.envoy.stat("wasmcustom.berth.health.circuit.substrate.metal-fr").await == 2
}

/// A mesh in which acme may go to one substrate only, which has answered some.
async fn mesh() -> Arc<Mesh> {
    let mut policy = policy();
    for substrate in policy["substrates"].as_array_mut().unwrap() {
        substrate["latency"] = json!({"first_token_ms": 160, "prefill_ms_per_ktok": 0, "ms_per_token": 0.01});
    }
    policy["envelopes"][0]["forbid"] = json!({"substrates": ["onprem-de"]});
    let mut telemetry = telemetry(&policy);
    telemetry["sources"] = json!([]);
    let mesh = Mesh::observed(&placement(&policy), &telemetry, |_, _| {}).await;
    mesh.metal.does(Script::after(USUAL_MS, Script::ok("metal-fr")));
    mesh.metal.does_at("/long", Script::after(LONG_MS, Script::ok("metal-fr")));
    mesh.await_live().await;
    Arc::new(mesh)
}

/// Asks at an even pace, whoever waits; how many were answered with which status.
async fn asks(mesh: Arc<Mesh>, per_second: u32, path: &str, claim: Option<u64>) -> BTreeMap<u16, u32> {
    let (mut all, began) = (tokio::task::JoinSet::new(), Instant::now());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
    while per_second > 0 && began.elapsed() < LASTS {
        tick.tick().await;
        let ask = mesh.chat().at(path);
        let ask = claim.map_or(ask.clone(), |ms| ask.header("grpc-timeout", &format!("{ms}m")));
        all.spawn(async move { ask.send().await.unwrap().status });
    }
    let mut tally = BTreeMap::new();
    while let Some(status) = all.join_next().await {
        *tally.entry(status.unwrap()).or_default() += 1;
    }
    tally
}

/// What came of some who claim nothing beside some who claim to have little time; wrong where circuits open though this is
/// no hole, or do not though it is one.
async fn beside(honest: u32, hurried: u32, path: &'static str, claim: u64, hole: bool) -> Result<(), String> {
    let mesh = mesh().await;
    let before = counts(&mesh).await;
    let others = tokio::spawn(asks(mesh.clone(), honest, "/v1/x", None));
    let claimants = tokio::spawn(asks(mesh.clone(), hurried, path, Some(claim)));
    let (mut open, mut looks) = (0, 0);
    while !claimants.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (open, looks) = (open + u32::from(is_open(&mesh).await), looks + 1);
    }
    let (others, claimants) = (others.await.unwrap(), claimants.await.unwrap());
    let [failed, abandoned] = counts(&mesh).await;
    let [failed, abandoned] = [failed - before[0], abandoned - before[1]];
    let what = format!(
        "{honest}/s and {hurried}/s {path} claiming {claim}: others {others:?}, claimants {claimants:?}, failed {failed}, \
         abandoned {abandoned}, open {open} of {looks}"
    );
    println!("{what}");
    let as_told = (open > 0) == hole
        && others.keys().any(|status| *status != 200) == hole
        && (hole || failed * 10 <= abandoned)
        && (path != "/long" || (abandoned > 0) != hole);
    if as_told { Ok(()) } else { Err(what) }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_claim_to_have_less_time_than_their_work_takes_open_no_circuit() {
    // How often others ask a second, and those who claim; what they ask for, the time that they claim, and whether that is
    // still a hole: work that takes more than twice as long as what is usual, asked for more often than all the rest.
    for (honest, hurried, path, claim, hole) in [
        (10, 30, "/long", 300, false),
        (10, 10, "/long", 300, false),
        (0, 20, "/long", 300, false),
        // What is measured is what it takes, though less is declared: they are refused.
        (10, 30, "/v1/x", 180, false),
        (10, 30, "/long", 800, true),
    ] {
        calmly(|| beside(honest, hurried, path, claim, hole)).await;
    }
}

/// Whether the circuit of one that hangs opens while all claim a few times what is usual, as such clients do.
async fn opens() -> Result<(), String> {
    let mesh = mesh().await;
    mesh.metal.does(Script::after(50_000, Script::ok("late")));
    for _ in 0..30 {
        let claims = || mesh.chat().header("grpc-timeout", "1000m").send();
        let _ = tokio::join!(claims(), claims());
        if is_open(&mesh).await {
            return Ok(());
        }
    }
    Err(format!("the circuit stays closed: failed and abandoned {:?}", counts(&mesh).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_substrate_that_hangs_is_found_where_every_client_claims_a_time() {
    calmly(opens).await;
}
