//! A client that opens streams over HTTP/2 and resets them, thousands at once: before Envoy has looked at them, while they
//! wait for their body, and after they were placed. Afterwards nothing of it is left, and others were served meanwhile.

use crate::mesh::Mesh;
use crate::support::bootstrap::INGRESS;
use crate::support::client::{Ask, BOTH, Seen};
use crate::support::envoy::Envoy;
use crate::support::policy::{placement, policy, telemetry};
use crate::support::raw::{Line, Opened, Resetting};
use crate::support::upstream::Script;
use crate::support::{built, eventually, everywhere, stopped};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections in turn that open and reset in one breath, and their streams.
const BREATHS: u32 = 8;
const STREAMS: u32 = 500;
/// Connections that let their streams get as far as they do, and their streams: fewer than Envoy allows at once.
const PATIENT: u32 = 8;
const OPEN: u32 = 90;
/// So often, of which so many until memory is as large as it gets, and what it may grow by after that: 0.2 to 1.7 MiB were seen.
const ROUNDS: usize = 8;
const WARM: usize = 4;
const MOST_KIB: u64 = 4 * 1024;
/// Of these the body is waited for, and no others are of that class. They are more than there is room for, all in all.
const WAITING: [(&str, &str); 2] = [("x-workload", "standard"), ("content-type", "application/json")];

/// Both tenants may run at one substrate only, and the one that floods has a quarter of it.
async fn mesh(share: Value, module: &str) -> Mesh {
    let mut policy = policy();
    policy["substrates"][0]["capacity"] = json!({"concurrency": 64, "tenant_share": share});
    policy["envelopes"] = json!([{"name": "metal", "applies_to": {"tenants": ["acme", "initech"]},
        "permit": {"substrates": ["metal-fr"]}, "spillover": "any"}]);
    let mut placement = placement(&policy);
    // The small module looks neither at ends nor at bodies.
    if module == "berth.wasm" {
        placement["outcomes"] = json!(1);
        placement["body"] = json!({"headers_stop": true, "prefix_bytes": 4096, "hold_ms": 60_000});
    }
    let mut telemetry = telemetry(&policy);
    telemetry["listener"] = json!({"read": "anyone"});
    let mesh = Mesh::observed(&placement, &telemetry, |bootstrap, _| {
        // Envoy ends a connection of 500 streams half of which were reset early. Here it does not help.
        bootstrap["layered_runtime"] = json!({"layers": [{"name": "static",
            "static_layer": {"overload.premature_reset_total_stream_count": 1_000_000_000}}]});
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let placing = &mut http["http_filters"][0]["typed_config"]["config"];
        placing["allow_on_headers_stop_iteration"] = json!(true);
        placing["vm_config"]["code"]["local"]["filename"] = json!(built(module));
        http.as_object_mut().unwrap().remove("access_log");
    })
    .await;
    everywhere("decisions are made from a live picture", || async {
        let seen = ask(&mesh.envoy, "initech").send().await.unwrap();
        seen.header("x-placement-decision").is_some_and(|decision| decision.contains("fresh=live"))
    })
    .await;
    mesh.metal.does_at("/flood", Script::after(50_000, Script::ok("late")));
    mesh
}

fn ask(envoy: &Envoy, tenant: &str) -> Ask {
    Ask::post(envoy.listener(INGRESS), "/v1/x", "{}").header("x-tenant", tenant).header("x-workload", "chat")
}

/// A request of the tenant that floods.
fn flood(more: &[(&str, &str)]) -> Vec<Line> {
    let all = [(":method", "POST"), (":scheme", "http"), (":path", "/flood"), (":authority", "berth.test")];
    let usual: &[(&str, &str)] = if more.is_empty() { &[("x-workload", "chat")] } else { more };
    let all = all.iter().chain(&[("x-tenant", "acme")]).chain(usual);
    all.map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// The sum of all counters whose name begins so.
async fn sum(envoy: &Envoy, beginning: &str, end: &str) -> u64 {
    let text = envoy.admin_get("/stats?usedonly").await.text();
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    lines
        .filter(|(name, _)| name.starts_with(beginning) && name.ends_with(end))
        .filter_map(|(_, n)| n.parse::<u64>().ok())
        .sum()
}

async fn came(envoy: &Envoy) -> u64 {
    envoy.stat("http.ingress.downstream_rq_total").await
}

/// Floods once in each way; gives how many streams were opened.
async fn round(mesh: &Mesh) -> u64 {
    let (envoy, to) = (&mesh.envoy, mesh.envoy.listener(INGRESS));
    let mut opened = 0;
    for _ in 0..BREATHS {
        let mut client = Resetting::open(to).await;
        client.breath(&flood(&[]), STREAMS).await;
        opened += STREAMS;
        // One whose headers never end, and then the connection does.
        client.begin(&flood(&[])).await;
    }
    for (opening, more) in [(Opened::Whole, &[][..]), (Opened::Unfinished, &[][..]), (Opened::Unfinished, &WAITING[..])]
    {
        let before = came(envoy).await;
        let mut clients = Vec::new();
        for _ in 0..PATIENT {
            let mut client = Resetting::open(to).await;
            let streams = client.streams(&flood(more), opening, OPEN).await;
            clients.push((client, streams));
        }
        opened += PATIENT * OPEN;
        // The requests of others count as well; those of this one need not all be there.
        eventually("they have come", || async {
            (came(envoy).await >= before + u64::from(PATIENT * OPEN)).then_some(())
        })
        .await;
        for (at, (client, streams)) in clients.iter_mut().enumerate() {
            assert!(!client.is_over());
            // Some reset what they opened, some just go.
            if at % 2 == 0 {
                client.reset(streams).await;
            }
        }
    }
    u64::from(opened)
}

/// In flight at the first substrate, by the picture.
async fn in_flight(mesh: &Mesh) -> Option<u64> {
    let seen = Ask::get(mesh.envoy.listener("telemetry"), "/snapshot").send().await.unwrap();
    let picture: Value = serde_json::from_str(&seen.text()).ok()?;
    let metal = picture["substrates"].as_array()?.iter().find(|of| of["name"] == "metal-fr")?.clone();
    Some(metal["signals"]["in_flight"]["value"].as_u64().unwrap_or(0))
}

/// What the proxy's allocator has given out, and what the process has beside what that allocator holds, which is where VMs
/// have their memory. What the allocator keeps for the next ones grows in steps, of 6 to 17 MiB each.
async fn memory_kib(envoy: &Envoy) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{}/status", envoy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let resident: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let told: Value = serde_json::from_str(&envoy.admin_get("/memory").await.text()).unwrap();
    let of = |name: &str| told[name].as_str().unwrap().parse::<u64>().unwrap() / 1_024;
    [of("allocated"), resident.saturating_sub(of("total_physical_bytes"))]
}

/// Requests of the other tenant, one after the other over each protocol, until they are told to stop.
struct Others {
    stop: Arc<AtomicBool>,
    asking: Vec<tokio::task::JoinHandle<Vec<Seen>>>,
}

impl Others {
    fn begin(envoy: &Envoy) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asking = BOTH.into_iter().map(|http| {
            let (ask, stop) = (ask(envoy, "initech").over(http), stop.clone());
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    seen.push(ask.clone().send().await.unwrap());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                seen
            })
        });
        Self { asking: asking.collect(), stop }
    }

    async fn end(self) -> Vec<Seen> {
        stopped(&self.stop, self.asking).await
    }
}

/// Nothing is left of a flood: in the proxy, in the picture, of the tenant's share.
async fn is_over(mesh: &Mesh) {
    mesh.envoy.await_stat("http.ingress.downstream_rq_active", |n| n == 0).await;
    eventually("nothing is in flight in the picture", || async { (in_flight(mesh).await? == 0).then_some(()) }).await;
    // Not many in a row: each takes of its share for as long as it is expected to last.
    eventually("who flooded is served", || async {
        (ask(&mesh.envoy, "acme").send().await.unwrap().status == 200).then_some(())
    })
    .await;
}

/// Floods a mesh that places by this module, while others ask: they are served, memory stays as it is, who floods is served
/// again, nothing is answered twice and no substrate has failed.
async fn flooded(module: &str) -> Mesh {
    let mesh = mesh(json!({"acme": 0.25}), module).await;
    let (envoy, mut memory, mut opened, mut others) = (&mesh.envoy, Vec::new(), 0, Vec::new());
    let mut longest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let asking = Others::begin(envoy);
        opened += round(&mesh).await;
        others.extend(asking.end().await);
        let began = Instant::now();
        is_over(&mesh).await;
        longest = longest.max(began.elapsed());
        memory.push(memory_kib(envoy).await);
    }
    let slowest = others.iter().map(|seen| seen.took).max();
    println!(
        "{module}: {opened} streams, over after {longest:?} at most; {} of others, the slowest in {slowest:?}; {memory:?} KiB",
        others.len()
    );
    for seen in &others {
        assert_eq!((seen.status, seen.text().as_str()), (200, "metal-fr"), "others are served");
    }
    assert!(others.len() >= 2 * ROUNDS);
    // Envoy lets go of streams a while after they have ended.
    let given = memory[..=WARM].iter().map(|of| of[0]).min().unwrap();
    eventually("memory is as it was", || async {
        let now = memory_kib(envoy).await;
        let grown = [now[0].saturating_sub(given), now[1].saturating_sub(memory[WARM][1])];
        println!("{grown:?} KiB more");
        grown.iter().all(|more| *more < MOST_KIB).then_some(())
    })
    .await;
    eventually("each answer of ours went out once", || async {
        let refused = sum(envoy, "wasmcustom.berth.decisions.", "refused").await;
        (refused > 0 && refused == envoy.stat("http.ingress.downstream_rq_4xx").await).then_some(())
    })
    .await;
    assert_eq!(sum(envoy, "wasmcustom.berth.observed.failed", "").await, 0, "a client that leaves is nobody's failure");
    mesh
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_streams_that_are_reset_leave_nothing_behind_and_cost_who_resets_them_its_share() {
    let mesh = flooded("berth.wasm").await;
    let envoy = &mesh.envoy;
    // Each that was placed has ended once, and was seen to begin and end once at its substrate.
    eventually("who was placed has ended", || async {
        let placed = sum(envoy, "wasmcustom.berth.decisions.", "placed").await;
        (placed == sum(envoy, "wasmcustom.berth.answers.", "").await).then_some(())
    })
    .await;
    assert!(sum(envoy, "wasmcustom.berth.answers.", "abandoned").await > 0, "some were placed and then reset");
    assert_eq!(sum(envoy, "wasmcustom.berth.body_late", "").await, 0);

    // Had those that waited for their body not been forgotten, there would have been no room to wait any more.
    assert_eq!(sum(envoy, "wasmcustom.berth.decisions.class.standard.", "").await, 0, "who waits is not decided");
}

/// The small module hears of nothing but the beginnings of requests. What it takes for under way it takes so until the next
/// picture, in which those inside the clusters have seen the ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_hears_of_no_end_serves_who_flooded_again_with_the_next_picture() {
    let mesh = flooded("berth-placement.wasm").await;
    assert_eq!(sum(&mesh.envoy, "wasmcustom.berth.answers.", "").await, 0, "nothing is heard of ends");
    let standard = sum(&mesh.envoy, "wasmcustom.berth.decisions.class.standard.", "").await;
    assert!(standard > 0, "nobody waits for a body");
    let (over, refused) = (Instant::now(), std::cell::Cell::new(Duration::ZERO));
    everywhere("who flooded is served in both workers", || async {
        // Each takes of its share for as long as it is expected to last: no more of them than that.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let served = ask(&mesh.envoy, "acme").send().await.unwrap().status == 200;
        if !served {
            refused.set(over.elapsed());
        }
        served
    })
    .await;
    println!("the last that was refused was answered {:?} after it was over", refused.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_has_a_share_a_flood_of_resets_takes_what_is_free_until_the_next_picture() {
    let mesh = mesh(json!({}), "berth.wasm").await;
    let (mut others, mut longest) = (Vec::new(), Duration::ZERO);
    for _ in 0..3 {
        let asking = Others::begin(&mesh.envoy);
        round(&mesh).await;
        let over = Instant::now();
        everywhere("all are served", || async { ask(&mesh.envoy, "initech").send().await.unwrap().status == 200 })
            .await;
        longest = longest.max(over.elapsed());
        others.extend(asking.end().await);
        is_over(&mesh).await;
    }
    let refused: Vec<&Seen> = others.iter().filter(|seen| seen.status != 200).collect();
    println!("{} of others, {} refused; all were served again after {longest:?} at most", others.len(), refused.len());
    for seen in refused {
        assert_eq!(seen.status, 503, "{}", seen.text());
        assert!(seen.text().contains(r#""reason":"availability/headroom""#), "{}", seen.text());
        assert!(seen.header("retry-after").is_some());
    }
}
