//! Two telemetry roles of one `vm_id` in a real Envoy, six VMs of them, that start at once: one leads. Its VMs are
//! killed, and another publishes on, while requests are decided as before.

use crate::mesh::health;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::Upstream;
use crate::support::{TRIES, built, eventually, everywhere};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// The longest time between two snapshots.
const PERIOD_MS: u64 = 1_000;
const ROLES: [&str; 2] = ["telemetry", "telemetry-too"];

struct World {
    envoy: Envoy,
    /// By role, its listener as in the watched file.
    files: Vec<Value>,
    version: u32,
    _upstreams: Vec<Upstream>,
}

impl World {
    async fn start() -> Self {
        let mut bootstrap = Bootstrap::default();
        let mut upstreams = Vec::new();
        for name in ["metal-fr", "onprem-de", "provider-us"] {
            let upstream = Upstream::start(name).await;
            upstream.does_at("/health", health(name, 0));
            bootstrap = bootstrap.cluster(name, upstream.address);
            upstreams.push(upstream);
        }
        let (module, policy) = (built("berth.wasm"), policy());
        let mut configuration = telemetry(&policy);
        configuration["listener"] = json!({"read": "anyone"});
        for role in ROLES {
            // The same configuration in another VM: neither replaces the other.
            let mut filter = wasm_filter(&module, "telemetry", &configuration, Carried::Text);
            filter["typed_config"]["config"]["vm_config"]["configuration"]["value"] = json!(role);
            bootstrap = bootstrap.telemetry(filter);
        }
        let mut bootstrap =
            bootstrap.filter(wasm_filter(&module, "placement", &placement(&policy), Carried::Text)).build();
        let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
        let mut files = listeners.split_off(1);
        for (listener, role) in files.iter_mut().zip(ROLES) {
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
            listener["name"] = json!(role);
        }
        let dir = workdir();
        let file = dir.join("lds.json");
        bootstrap["dynamic_resources"]["lds_config"] = json!({"resource_api_version": "V3",
            "path_config_source": {"path": file, "watched_directory": {"path": dir}}});
        replace_file(&dir, "lds.json", &json!({"version_info": "1", "resources": files}));
        Self { envoy: Envoy::start_in(dir, &bootstrap).await, files, version: 1, _upstreams: upstreams }
    }

    /// From now on only these roles are there.
    fn only(&mut self, roles: &[usize]) {
        self.version += 1;
        let resources: Vec<&Value> = roles.iter().map(|role| &self.files[*role]).collect();
        let file = json!({"version_info": self.version.to_string(), "resources": resources});
        self.envoy.replace_file("lds.json", &file);
    }

    async fn at(&mut self, role: usize) -> SocketAddr {
        self.envoy.refresh_listeners().await;
        self.envoy.listener(ROLES[role])
    }

    /// A request is decided as before, whoever leads.
    async fn decide(&self) {
        for http in BOTH {
            let ask = Ask::post(self.envoy.listener(INGRESS), "/v1/chat/completions", "{}").over(http);
            let seen = ask.header("x-tenant", "acme").header("x-workload", "chat").send().await.unwrap();
            let record = seen.header("x-placement-decision").unwrap_or_default();
            assert!(seen.text() == "metal-fr" && record.contains("fresh=live"), "{} {record}", seen.status);
        }
    }
}

/// Who wrote the snapshot, when, and under which epoch.
async fn written(at: SocketAddr) -> Option<(String, u64, u64)> {
    let seen = Ask::get(at, "/snapshot").send().await.ok().filter(|seen| seen.status == 200)?;
    let snapshot: Value = serde_json::from_slice(&seen.body).unwrap();
    Some((snapshot["writer"].as_str()?.into(), snapshot["at_ms"].as_u64()?, snapshot["epoch"].as_u64()?))
}

/// Takes one of both roles away. If that was the one that led: who was the last to write, when, and when the next wrote.
async fn kill(world: &mut World, role: usize) -> Option<(String, u64)> {
    let at = world.at(1 - role).await;
    let mut before = eventually("a snapshot is there", || written(at)).await;
    let removed = world.envoy.stat("listener_manager.listener_removed").await;
    world.only(&[1 - role]);
    // Envoy lets it drain for two seconds, and it goes on for so long.
    let manager = "listener_manager.total_listeners_draining";
    world.envoy.await_stat("listener_manager.listener_removed", |n| n > removed).await;
    let mut gone = None;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        world.decide().await;
        let Some(now) = written(at).await else { continue };
        assert!(now.2 >= before.2, "epochs go on: {before:?}, {now:?}");
        if now.0 != before.0 {
            return Some((now.0, now.1 - before.1));
        }
        // Long after its VMs are gone, the same one still writes: it is the other role's.
        if gone.is_some_and(|gone| now.1 > gone + 3 * PERIOD_MS) {
            return None;
        }
        if gone.is_none() && world.envoy.stat(manager).await == 0 {
            gone = Some(now.1);
        }
        before = now;
    }
}

#[tokio::test]
async fn of_two_roles_that_start_at_once_one_leads_and_when_it_is_killed_the_other_takes_over() {
    let mut world = World::start().await;
    // Four workers' VMs and two of the main thread; no placement filter has decided anything.
    world.envoy.await_stat("wasmcustom.berth.telemetry.members", |n| n == 6).await;
    let at = world.at(0).await;
    let (first, from_ms, _) = eventually("a snapshot is there", || written(at)).await;
    everywhere("decisions are live", || async {
        let ask = Ask::post(world.envoy.listener(INGRESS), "/v1/x", "{}").header("x-tenant", "acme").send().await;
        ask.is_ok_and(|seen| seen.header("x-placement-decision").is_some_and(|d| d.contains("fresh=live")))
    })
    .await;
    // On a busy machine the lead may pass on while all start; then it stays.
    let held = std::sync::Mutex::new((first, from_ms));
    let writer = eventually("three seconds of it are written by the same", || async {
        let (now, at_ms, _) = written(at).await?;
        let mut held = held.lock().unwrap();
        if now != held.0 {
            *held = (now, at_ms);
        }
        (at_ms > held.1 + 3 * PERIOD_MS).then(|| held.0.clone())
    })
    .await;
    world.envoy.await_stat("wasmcustom.berth.telemetry.leading", |n| n == 1).await;
    assert_eq!(world.envoy.stat("wasmcustom.berth.telemetry.fenced").await, 0);

    // One of both is killed. If the other one leads, it does so alone until the first is back, and is killed then.
    let (mut late, mut role, mut spared) = (Vec::new(), 0, false);
    while late.len() < TRIES {
        match kill(&mut world, role).await {
            Some((next, took_ms)) => {
                assert_ne!(next, writer);
                println!("the next snapshot came {took_ms} ms after the last of the one that was killed");
                if took_ms <= 2 * PERIOD_MS {
                    world.envoy.await_stat("wasmcustom.berth.telemetry.leading", |n| n == 1).await;
                    return;
                }
                late.push(took_ms);
            }
            None => assert!(!std::mem::replace(&mut spared, true), "one of both leads"),
        }
        // Whoever is left leads.
        role = 1 - role;
        world.only(&[0, 1]);
        world.envoy.await_stat("listener_manager.total_listeners_active", |n| n == 3).await;
    }
    panic!("so many milliseconds without a snapshot, each time: {late:?}");
}

/// Envoy drains a replaced listener, and its filters' roots tick on for so long: two seconds here, ten minutes by default.
#[tokio::test]
async fn a_role_whose_configuration_was_replaced_falls_silent_while_its_listener_still_drains() {
    let mut world = World::start().await;
    world.only(&[0]);
    world.envoy.await_stat("listener_manager.total_listeners_draining", |n| n == 0).await;
    world.envoy.await_stat("listener_manager.listener_removed", |n| n == 1).await;
    // Where nothing but its filters changed, Envoy drains these alone.
    let draining = "listener_manager.total_filter_chains_draining";
    for n in 1..=TRIES as u64 {
        let at = world.at(0).await;
        let (old, ..) = eventually("a snapshot is there", || written(at)).await;
        let chain = &mut world.files[0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0];
        let carried = &mut chain["typed_config"]["config"]["configuration"]["value"];
        let mut configuration: Value = serde_json::from_str(carried.as_str().unwrap()).unwrap();
        configuration["tick_ms"] = json!(50 + n);
        *carried = configuration.to_string().into();
        world.only(&[0]);
        world.envoy.await_stat("listener_manager.listener_modified", |modified| modified == n).await;
        let at = world.at(0).await;
        let (new, ..) = eventually("the new one writes", || async {
            let now = written(at).await?;
            (now.0 != old).then_some(now)
        })
        .await;
        if world.envoy.stat(draining).await == 0 {
            eprintln!("again: the old one was gone before the new one was seen to write");
            continue;
        }
        eventually("the old one is gone", || async {
            world.decide().await;
            assert_eq!(written(at).await.map_or(new.clone(), |now| now.0), new, "nobody else writes any more");
            (world.envoy.stat(draining).await == 0).then_some(())
        })
        .await;
        world.envoy.await_stat("wasmcustom.berth.telemetry.leading", |leading| leading == 1).await;
        return;
    }
    panic!("the old one never lived to see the new one write");
}
