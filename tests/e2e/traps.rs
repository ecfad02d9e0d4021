//! What a trap costs: a module that breaks when it is told to, in a real Envoy, with streams open in both workers.

use crate::mesh::health;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::broken::{ARMS, TRAPS, broken};
use crate::support::client::{Ask, Seen};
use crate::support::envoy::{Envoy, workdir};
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::{Script, Upstream};
use crate::support::{PATIENCE, built, eventually, everywhere};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Streams that are open when it happens, and how long they are.
const STREAMS: usize = 50;
const EVENTS: usize = 60;
const EVERY: Duration = Duration::from_millis(50);

struct World {
    envoy: Envoy,
    metal: Upstream,
    _others: Vec<Upstream>,
}

impl World {
    /// A mesh whose placement filter is the broken form of this module, under this failure policy.
    async fn start(module: &str, failure_policy: &str, otherwise: Option<&str>) -> Self {
        let (dir, policy) = (workdir(), policy());
        let all = [
            Upstream::start("metal-fr").await,
            Upstream::start("onprem-de").await,
            Upstream::start("provider-us").await,
        ];
        all.iter().for_each(|upstream| upstream.does_at("/health", health(&upstream.name, 0)));
        let breaks = |module: &str, role: &str, configuration: &Value| {
            let mut filter = wasm_filter(&broken(&built(module), &dir), role, configuration, Carried::Text);
            filter["typed_config"]["config"]["failure_policy"] = json!(failure_policy);
            filter
        };
        let bootstrap = all
            .iter()
            .fold(Bootstrap::default(), |bootstrap, upstream| bootstrap.cluster(&upstream.name, upstream.address))
            .filter(breaks(module, "placement", &placement(&policy)))
            .telemetry(breaks("berth.wasm", "telemetry", &telemetry(&policy)));
        let bootstrap = otherwise.map_or(bootstrap.clone(), |cluster| bootstrap.otherwise(cluster));
        let envoy = Envoy::start_in(dir, &bootstrap.build()).await;
        let [metal, onprem, provider] = all;
        metal.does_at("/stream", Script::Stream(EVENTS, EVERY));
        let world = Self { envoy, metal, _others: vec![onprem, provider] };
        everywhere("decisions are made from a live picture", || async {
            world.ask("/x").await.header("x-placement-decision").is_some_and(|d| d.contains("fresh=live"))
        })
        .await;
        world
    }

    fn at(&self, path: &str) -> Ask {
        Ask::get(self.envoy.listener(INGRESS), path).header("x-tenant", "acme").header("x-workload", "chat")
    }

    async fn ask(&self, path: &str) -> Seen {
        self.at(path).send().await.unwrap()
    }

    /// So many streams, all of which have begun.
    async fn streams(&self) -> tokio::task::JoinSet<Result<Seen, String>> {
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn(self.at("/stream").send());
        }
        eventually("all streams are open", || async { (self.metal.asked("/stream") == STREAMS).then_some(()) }).await;
        streams
    }

    /// A request with so many headers: it breaks what it meets, or arms it.
    async fn strike(&self, headers: usize) -> Seen {
        let ask = (0..headers).fold(self.at("/strike"), |ask, n| ask.header(&format!("x-strike-{n}"), "1"));
        ask.send().await.unwrap()
    }

    async fn stat(&self, role: &str, name: &str) -> u64 {
        self.envoy.stat(&format!("wasm.berth.{role}.{name}")).await
    }
}

/// What came of the requests that were sent one after the other from now on.
#[derive(Debug, Default)]
struct After {
    sent: usize,
    failed: usize,
    until: Duration,
}

/// Sends requests until a run of them shows that both workers serve again, or for so long.
async fn after(world: &World, at_most: Duration) -> After {
    let (begun, mut after, mut in_a_row) = (Instant::now(), After::default(), 0);
    while in_a_row < 40 && begun.elapsed() < at_most {
        let seen = world.ask("/x").await;
        after.sent += 1;
        in_a_row += 1;
        if seen.status != 200 || seen.header("x-placement-decision").is_none() {
            (after.failed, after.until, in_a_row) = (after.failed + 1, begun.elapsed(), 0);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(in_a_row >= 40, "not all served after {at_most:?}: {after:?}");
    after
}

/// How many of the streams did not arrive whole.
async fn lost(streams: tokio::task::JoinSet<Result<Seen, String>>) -> usize {
    let whole = |seen: &Seen| seen.status == 200 && !seen.broken && seen.text().matches("data: ").count() == EVENTS;
    streams.join_all().await.iter().filter(|seen| !seen.as_ref().is_ok_and(whole)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_costs_its_request_and_those_of_its_worker_within_the_back_off() {
    for module in ["berth-placement.wasm", "berth.wasm"] {
        let world = World::start(module, "FAIL_RELOAD", None).await;
        let streams = world.streams().await;
        assert_eq!(world.strike(TRAPS).await.status, 503, "the request that traps");
        let after = after(&world, Duration::from_secs(10)).await;
        let lost = lost(streams).await;
        let reloads = world.stat("placement", "vm_reload_success").await;
        println!(
            "{module}: {lost} of {STREAMS} open streams lost, {} of {} requests failed, the last after {:?}, {reloads} reload(s)",
            after.failed, after.sent, after.until
        );
        assert_eq!(reloads, 1, "one VM came back, the other never went");
        assert!(after.until < Duration::from_secs(4), "{after:?}");
        assert!(lost < STREAMS, "the streams of the other worker live on");
    }
}

#[tokio::test]
async fn the_failure_policy_says_what_later_requests_get() {
    // The request that traps fails under each of them; the others may never come back by themselves.
    for (failure_policy, otherwise) in [("FAIL_OPEN", Some("onprem-de")), ("FAIL_CLOSED", None)] {
        let world = World::start("berth-placement.wasm", failure_policy, otherwise).await;
        assert_eq!(world.strike(TRAPS).await.status, 503);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..60 {
            let answer = world.ask("/x").await;
            *seen.entry((answer.status, answer.text().chars().take(9).collect::<String>())).or_insert(0) += 1;
        }
        println!("{failure_policy}: {seen:?}");
        let expected = if otherwise.is_some() { (200, "onprem-de") } else { (503, "") };
        let (other_worker, this_worker) = ((200, "metal-fr".to_string()), (expected.0, expected.1.to_string()));
        assert!(seen.contains_key(&other_worker) && seen.contains_key(&this_worker) && seen.len() == 2, "{seen:?}");
        assert_eq!(world.stat("placement", "vm_reload_success").await, 0);
    }
}

#[tokio::test]
async fn a_trap_in_a_tick_costs_the_requests_of_its_worker_within_the_back_off() {
    let world = World::start("berth-placement.wasm", "FAIL_RELOAD", None).await;
    let streams = world.streams().await;
    // It arms the tick, and is served unless the tick comes before its answer: then it is one of the open streams.
    let armed = world.strike(ARMS).await.status;
    assert!([200, 503].contains(&armed), "{armed}");
    eventually("a tick has trapped", || async { world.envoy.log().contains("proxy_on_tick").then_some(()) }).await;
    let after = after(&world, Duration::from_secs(10)).await;
    let lost = lost(streams).await;
    println!(
        "a tick of placement: {lost} of {STREAMS} open streams lost, {} of {} requests failed, the last after {:?}",
        after.failed, after.sent, after.until
    );
    assert!(lost < STREAMS, "the streams of the other worker live on");
    assert_eq!(world.stat("placement", "vm_reload_success").await, 1);
    assert!(after.until < Duration::from_secs(4), "{after:?}");
}

#[tokio::test]
async fn traps_in_ticks_of_telemetry_cost_no_request_and_pictures_go_on() {
    let world = World::start("berth-placement.wasm", "FAIL_RELOAD", None).await;
    let to = world.envoy.listener("telemetry");
    let strike = || (0..ARMS).fold(Ask::get(to, "/"), |ask, n| ask.header(&format!("x-strike-{n}"), "1")).send();
    let (begun, mut epoch, mut changed, mut gap) = (Instant::now(), 0, Instant::now(), Duration::ZERO);
    let (mut asked, mut failed) = (0, 0);
    let traps = || world.envoy.log().matches("proxy_on_tick").count();
    // Both workers' VMs trap again and again, whichever leads; the one on the main thread cannot be met.
    while begun.elapsed() < Duration::from_secs(5) || (traps() < 4 && begun.elapsed() < PATIENCE) {
        strike().await.unwrap();
        let now = world.envoy.stat("wasmcustom.berth.telemetry.epoch").await;
        if now != epoch {
            (epoch, gap, changed) = (now, gap.max(changed.elapsed()), Instant::now());
        }
        asked += 1;
        failed += usize::from(world.ask("/x").await.status != 200);
    }
    let traps = traps();
    println!(
        "ticks of telemetry: {traps} traps, at most {gap:?} without a new picture, {failed} of {asked} requests failed"
    );
    assert!(traps >= 4, "both VMs trapped, more than once");
    assert_eq!(failed, 0, "placement does not notice");
    assert!(gap < Duration::from_secs(3), "{gap:?}");
    eventually("decisions are made from a live picture", || async {
        let seen = world.ask("/x").await;
        seen.header("x-placement-decision").filter(|d| d.contains("fresh=live")).map(drop)
    })
    .await;
    // The listener's requests bring its VMs back.
    world.envoy.await_stat("wasm.berth.telemetry.vm_reload_success", |n| n >= 2).await;
}
