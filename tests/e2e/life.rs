//! The proxy's own life: its limits for clients, its overload manager, its restart, many workers.

use crate::mesh::Mesh;
use crate::support::bootstrap::{INGRESS, listener_by_lds};
use crate::support::client::{Ask, BOTH, Line as Connection, Seen};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::policy::{placement, policy, telemetry};
use crate::support::raw::{Line, Opened, Resetting};
use crate::support::upstream::Script;
use crate::support::{RUN, eventually, everywhere, port, stopped};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The sum of all counters whose name begins so.
async fn sum(mesh: &Mesh, beginning: &str) -> u64 {
    let text = mesh.envoy.admin_get("/stats?usedonly").await.text();
    let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
    lines.filter(|(name, _)| name.starts_with(beginning)).filter_map(|(_, n)| n.parse::<u64>().ok()).sum()
}

/// What was seen of attempts: good, failed, abandoned.
async fn counts(mesh: &Mesh) -> [u64; 3] {
    let mut all = [0; 3];
    for (count, what) in all.iter_mut().zip(["good", "failed", "abandoned"]) {
        *count = mesh.envoy.stat(&format!("wasmcustom.berth.observed.{what}")).await;
    }
    all
}

/// The circuit of the first substrate: 0 closed, 2 open.
async fn circuit(mesh: &Mesh) -> u64 {
    mesh.envoy.stat("wasmcustom.berth.health.circuit.substrate.metal-fr").await
}

fn request(path: &str, more: &[(&str, &str)]) -> Vec<Line> {
    let all = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "berth.test")];
    let all = all.iter().chain(&[("x-tenant", "acme"), ("x-workload", "chat")]).chain(more);
    all.map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// A mesh of which nothing is asked but by clients.
async fn mesh(change: impl FnOnce(&mut Value, &Path)) -> Mesh {
    let policy = policy();
    let mut telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    telemetry["listener"] = json!({"read": "anyone"});
    let mut placement = placement(&policy);
    placement["outcomes"] = json!(1);
    let mesh = Mesh::observed(&placement, &telemetry, change).await;
    mesh.await_live().await;
    mesh
}

fn manager(bootstrap: &mut Value) -> &mut Value {
    &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

/// Clients that stall, as many as would open a circuit several times over, and gRPC's among them.
const STALLED: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_until_a_limit_of_the_proxys_ends_them_open_no_circuit() {
    let limits = [
        ("stream_idle_timeout", json!({"stream_idle_timeout": "0.4s"})),
        ("request_overall_timeout", json!({"request_timeout": "0.4s"})),
        ("max_duration_timeout", json!({"common_http_protocol_options": {"max_stream_duration": "0.4s"}})),
    ];
    for (details, limit) in limits {
        let mesh = mesh(|bootstrap, _| {
            let http = manager(bootstrap);
            limit.as_object().unwrap().iter().for_each(|(key, value)| http[key] = value.clone());
        })
        .await;
        let all = || async { mesh.envoy.access_log(0).await.iter().filter(|line| line["details"] == details).count() };
        let before = counts(&mesh).await;
        for more in [&[][..], &[("content-type", "application/grpc")][..]] {
            let ended = all().await;
            let mut client = Resetting::open(mesh.envoy.listener(INGRESS)).await;
            client.streams(&request("/stalled", more), Opened::Unfinished, STALLED).await;
            eventually("they are ended", || async { (all().await == ended + STALLED as usize).then_some(()) }).await;
            // The substrate never heard their end.
            assert_eq!(mesh.metal.asked("/stalled"), 0);
        }
        goes_on(&mesh, before, 2 * STALLED).await;

        if details == "request_overall_timeout" {
            // It is over once the request is there.
            continue;
        }
        // A substrate that says nothing to a whole request does let the limit pass.
        mesh.metal.does_at("/silent", Script::after(50_000, Script::ok("late")));
        eventually("its circuit opens", || async {
            let _ = mesh.chat().at("/silent").send().await.unwrap();
            (circuit(&mesh).await == 2).then_some(())
        })
        .await;
        assert!(counts(&mesh).await[1] > before[1]);
    }
}

/// Streams whose answers nobody reads, which are longer than what a proxy keeps of them.
const UNREAD: u32 = 8;
const LONG: usize = 24 << 20;
const KEPT: usize = 4 << 20;

/// Where they are ended, by the words in the access log.
async fn ended(mesh: &Mesh, path: &str, details: &str) -> usize {
    let all = mesh.envoy.access_log(0).await;
    all.iter().filter(|line| line["path"] == path && line["details"] == details && line["status"] == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_to_read_open_no_circuit() {
    let mesh = mesh(|bootstrap, _| {
        manager(bootstrap)["stream_idle_timeout"] = json!("3s");
        bootstrap["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = json!(KEPT);
    })
    .await;
    mesh.metal.does_at("/long", Script::ok(&"x".repeat(LONG)));
    let before = counts(&mesh).await;
    let mut client = Resetting::open(mesh.envoy.listener(INGRESS)).await;
    client.streams(&request("/long", &[]), Opened::Whole, UNREAD).await;
    eventually("they are ended", || async {
        (ended(&mesh, "/long", "stream_idle_timeout").await == UNREAD as usize).then_some(())
    })
    .await;
    goes_on(&mesh, before, UNREAD).await;
}

/// Those were counted as nobody's failure, and the first substrate serves on.
async fn goes_on(mesh: &Mesh, before: [u64; 3], nobodys: u32) {
    let wanted = before[2] + u64::from(nobodys);
    eventually("they are counted", || async { (counts(mesh).await[2] == wanted).then_some(()) }).await;
    for _ in 0..RUN {
        assert_eq!(mesh.chat().send().await.unwrap().text(), "metal-fr");
    }
    assert_eq!((counts(mesh).await[1], circuit(mesh).await), (before[1], 0));
}

/// How much there is to do, as the overload manager reads it from a file.
fn pressure(mesh: &Mesh, is: f64) {
    std::fs::write(mesh.envoy.dir().join("pressure.new"), is.to_string()).unwrap();
    std::fs::rename(mesh.envoy.dir().join("pressure.new"), mesh.envoy.dir().join("pressure")).unwrap();
}

fn overload(bootstrap: &mut Value, dir: &Path, rest: Value) {
    let file = dir.join("pressure");
    std::fs::write(&file, "0").unwrap();
    let monitor = "envoy.resource_monitors.injected_resource";
    bootstrap["overload_manager"] = json!({"refresh_interval": "0.05s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "resource_monitors": [{"name": monitor, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig",
            "filename": file}}]});
    for (key, value) in rest.as_object().unwrap() {
        bootstrap["overload_manager"][key] = value.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_overload_manager_answers_is_neither_decided_nor_counted_nor_kept() {
    let monitor = "envoy.resource_monitors.injected_resource";
    let at = |value: f64| json!([{"name": monitor, "threshold": {"value": value}}]);
    let ways = [
        json!({"actions": [{"name": "envoy.overload_actions.stop_accepting_requests", "triggers": at(0.9)},
            {"name": "envoy.overload_actions.disable_http_keepalive", "triggers": at(0.5)}]}),
        json!({"loadshed_points": [{"name": "envoy.load_shed_points.http_connection_manager_decode_headers", "triggers": at(0.9)}]}),
    ];
    for way in ways {
        let mesh = mesh(|bootstrap, dir| overload(bootstrap, dir, way.clone())).await;
        mesh.metal.does_at("/held", Script::after(3_000, Script::ok("metal-fr")));
        let decided = || async { sum(&mesh, "wasmcustom.berth.decisions.").await };
        let asked = || async { mesh.envoy.stat("http.ingress.downstream_rq_total").await };
        eventually("all are counted", || async { (decided().await == asked().await).then_some(()) }).await;
        // Those that were placed before go on.
        let held: Vec<_> = (0..8).map(|n| tokio::spawn(mesh.chat().at("/held").over(BOTH[n % 2]).send())).collect();
        eventually("they are there", || async { (mesh.metal.asked("/held") == 8).then_some(()) }).await;
        pressure(&mesh, 0.95);
        everywhere("requests are turned away", || async { mesh.chat().send().await.unwrap().status == 503 }).await;
        let before = (asked().await, mesh.metal.received().len());
        for n in 0..100 {
            let seen = mesh.chat().over(BOTH[n % 2]).send().await.unwrap();
            assert_eq!((seen.status, seen.text().contains("berth")), (503, false), "{}", seen.text());
            assert_eq!(seen.header("x-placement-decision"), None);
        }
        assert_eq!((asked().await, mesh.metal.received().len()), (before.0 + 100, before.1));
        for held in held {
            assert_eq!(held.await.unwrap().unwrap().text(), "metal-fr");
        }
        pressure(&mesh, 0.0);
        everywhere("requests are placed again", || async { mesh.chat().send().await.unwrap().text() == "metal-fr" })
            .await;
        let turned_away = sum(&mesh, "http.ingress.downstream_rq_5xx").await;
        eventually("those that were let in are counted, and no others", || async {
            (decided().await + turned_away == asked().await).then_some(())
        })
        .await;
        eventually("each that was placed has ended", || async {
            (decided().await == sum(&mesh, "wasmcustom.berth.answers.").await).then_some(())
        })
        .await;
        let [_, failed, abandoned] = counts(&mesh).await;
        assert_eq!((failed, abandoned, circuit(&mesh).await), (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_overload_manager_resets_is_nobodys_failure() {
    let monitor = "envoy.resource_monitors.injected_resource";
    let scaled = json!({"scaling_threshold": 0.5, "saturation_threshold": 0.9});
    let action = json!({"name": "envoy.overload_actions.reset_high_memory_stream", "triggers": [{"name": monitor, "scaled": scaled}]});
    let mesh = mesh(|bootstrap, dir| {
        overload(bootstrap, dir, json!({"actions": [action]}));
        bootstrap["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = json!(KEPT);
    })
    .await;
    mesh.metal.does_at("/long", Script::ok(&"x".repeat(LONG)));
    let before = counts(&mesh).await;
    let mut client = Resetting::open(mesh.envoy.listener(INGRESS)).await;
    client.streams(&request("/long", &[]), Opened::Whole, UNREAD).await;
    eventually("they have begun to be answered", || async {
        (counts(&mesh).await[0] == before[0] + u64::from(UNREAD)).then_some(())
    })
    .await;
    pressure(&mesh, 0.95);
    eventually("they are reset", || async {
        (ended(&mesh, "/long", "overload").await == UNREAD as usize).then_some(())
    })
    .await;
    pressure(&mesh, 0.0);
    goes_on(&mesh, before, UNREAD).await;
}

/// Four clients, over connections of their own and over one that is kept, as long as they may.
struct Clients {
    stop: Arc<AtomicBool>,
    asking: Vec<tokio::task::JoinHandle<Vec<Seen>>>,
}

impl Clients {
    fn begin(to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asking = (0..4).map(|n| {
            let (stop, http) = (stop.clone(), BOTH[n % 2]);
            tokio::spawn(async move {
                let headers = [("x-tenant", "acme"), ("x-workload", "chat")];
                let (mut seen, mut line) = (Vec::new(), Connection::open(to, http).await);
                while !stop.load(Ordering::Relaxed) {
                    if line.is_closed() {
                        line = Connection::open(to, http).await;
                    }
                    let ask = Ask::post(to, "/v1/x", "{}").over(http);
                    seen.push(if n < 2 {
                        ask.header(headers[0].0, headers[0].1).header(headers[1].0, headers[1].1).send().await.unwrap()
                    } else {
                        match line.send("/v1/x", &headers, b"{}".to_vec()).await {
                            Ok(seen) => seen,
                            // It was closed between two requests: any client asks again.
                            Err(_) if line.is_closed() => continue,
                            Err(why) => panic!("{why}"),
                        }
                    });
                    tokio::time::sleep(Duration::from_millis(3)).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_restart_fails_no_request_and_leaves_no_envelope() {
    let policy = policy();
    let mut telemetry = telemetry(&policy);
    telemetry["listener"] = json!({"read": "anyone"});
    let mut placement = placement(&policy);
    placement["outcomes"] = json!(1);
    let mut bootstrap = Value::Null;
    let mut mesh = Mesh::observed(&placement, &telemetry, |made, _| {
        for listener in made["static_resources"]["listeners"].as_array_mut().unwrap() {
            listener["address"]["socket_address"]["port_value"] = json!(port());
        }
        bootstrap = made.clone();
    })
    .await;
    // The one that was started cannot be taken over from.
    let other = Envoy::start_replaceable(workdir(), &bootstrap).await;
    drop(std::mem::replace(&mut mesh.envoy, other));
    mesh.await_live().await;
    let clients = Clients::begin(mesh.envoy.listener(INGRESS));
    mesh.metal.does_at("/stream", Script::Stream(40, Duration::from_millis(100)));
    let streams: Vec<_> = (0..6).map(|n| tokio::spawn(mesh.chat().at("/stream").over(BOTH[n % 2]).send())).collect();
    eventually("they are under way", || async { (mesh.metal.asked("/stream") == 6).then_some(()) }).await;

    let new = mesh.envoy.successor(6).await;
    let old = std::mem::replace(&mut mesh.envoy, new);
    assert!(!old.has_ended(), "both are there for a while");
    // What Envoy does with gauges while it has two processes.
    assert_eq!(mesh.envoy.stat("wasmcustom.berth.policy.version").await, 2 * 3);
    eventually("the old one has ended", || async { old.has_ended().then_some(()) }).await;
    mesh.await_live().await;
    for stream in streams {
        let seen = stream.await.unwrap().unwrap();
        assert_eq!((seen.status, seen.broken), (200, false), "what began before ends well");
    }
    let all = clients.end().await;
    let said = |word: &str| {
        all.iter().filter(|seen| seen.header("x-placement-decision").is_some_and(|d| d.contains(word))).count()
    };
    println!("{} asked, {} of them decided without a picture", all.len(), said("fresh=stale"));
    assert!(all.len() > 100);
    for seen in &all {
        assert_eq!((seen.status, seen.broken), (200, false), "{}", seen.text());
        assert!(seen.header("x-placement-decision").is_some());
    }
    assert!(mesh.provider.received().is_empty(), "nothing left its envelope");
    mesh.envoy.await_stat("wasmcustom.berth.policy.version", |n| n == 3).await;
    mesh.envoy.await_stat("wasmcustom.berth.telemetry.leading", |n| n == 1).await;
    // Counters go on from the old one's, but for what both do not tell each other at the end, as with Envoy's own.
    let (asked, decided) =
        (mesh.envoy.stat("http.ingress.downstream_rq_total").await, sum(&mesh, "wasmcustom.berth.decisions.").await);
    println!("{decided} decisions counted of {asked} requests");
    assert!(asked.abs_diff(decided) < asked / 20, "{decided} decisions of {asked} requests");
}

/// For so long Envoy lets a listener drain here.
const DRAIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_replaced_or_removed_lets_its_streams_end_for_as_long_as_it_drains() {
    let mut file = Value::Null;
    let mesh = mesh(|bootstrap, dir| {
        file = listener_by_lds(bootstrap, INGRESS, &dir.join("lds.json"));
        replace_file(dir, "lds.json", &file);
    })
    .await;
    mesh.metal.does_at("/short", Script::Stream(10, Duration::from_millis(100)));
    mesh.metal.does_at("/long", Script::Stream(200, Duration::from_millis(100)));
    let asked = || async { mesh.envoy.stat("http.ingress.downstream_rq_total").await };
    let members = |n: u64| mesh.envoy.await_stat("wasmcustom.berth.telemetry.members", move |now| now == n);
    // Two workers' VMs of each role and one of the main thread's.
    members(5).await;

    let clients = Clients::begin(mesh.envoy.listener(INGRESS));
    let streams = under_way(&mesh).await;
    let placing = &mut file["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0];
    let carried = &mut placing["typed_config"]["config"]["configuration"]["value"];
    let mut configuration: Value = serde_json::from_str(carried.as_str().unwrap()).unwrap();
    configuration["policy"]["policy"]["version"] = json!(4);
    *carried = configuration.to_string().into();
    file["version_info"] = json!("2");
    mesh.envoy.replace_file("lds.json", &file);
    mesh.envoy.await_stat("listener_manager.listener_modified", |n| n == 1).await;
    end(&mesh, streams).await;
    mesh.envoy.await_stat("wasmcustom.berth.policy.version", |n| n == 4).await;
    let all = clients.end().await;
    println!("{} asked while it was replaced", all.len());
    assert!(all.len() > 50 && all.iter().all(|seen| (seen.status, seen.broken) == (200, false)));
    eventually("each is decided, begun and ended once", || async {
        let (asked, decided) = (asked().await, sum(&mesh, "wasmcustom.berth.decisions.").await);
        let (ended, seen) = (sum(&mesh, "wasmcustom.berth.answers.").await, counts(&mesh).await);
        ((decided, ended, seen) == (asked, asked, [asked, 0, STREAMS])).then_some(())
    })
    .await;
    members(5).await;

    let before = asked().await;
    let streams = under_way(&mesh).await;
    mesh.envoy.replace_file("lds.json", &json!({"version_info": "3", "resources": []}));
    mesh.envoy.await_stat("listener_manager.listener_removed", |n| n == 1).await;
    let at = mesh.envoy.listener(INGRESS);
    eventually("nobody listens", || async { tokio::net::TcpStream::connect(at).await.is_err().then_some(()) }).await;
    end(&mesh, streams).await;
    // Its own counters went with it.
    let seen = [before + 2 * STREAMS, 0, 2 * STREAMS];
    eventually("each has begun and ended once", || async { (counts(&mesh).await == seen).then_some(()) }).await;
    members(3).await;
    assert_eq!(circuit(&mesh).await, 0);
    assert!(mesh.provider.received().is_empty(), "nothing left its envelope");
}

/// So many that end in time, and as many that do not.
const STREAMS: u64 = 6;

type Asking = tokio::task::JoinHandle<Result<Seen, String>>;

async fn under_way(mesh: &Mesh) -> [Vec<Asking>; 2] {
    let asked = || ["/short", "/long"].map(|path| mesh.metal.asked(path) as u64);
    let wanted = asked().map(|before| before + STREAMS);
    let ask = |path: &str, n: u64| tokio::spawn(mesh.chat().at(path).over(BOTH[n as usize % 2]).send());
    let streams = ["/short", "/long"].map(|path| (0..STREAMS).map(|n| ask(path, n)).collect());
    eventually("they are under way", || async { (asked() == wanted).then_some(()) }).await;
    streams
}

/// The short ones end whole, the long ones with the drain time.
async fn end(mesh: &Mesh, [short, long]: [Vec<Asking>; 2]) {
    let changed = Instant::now();
    for short in short {
        let seen = short.await.unwrap().unwrap();
        assert_eq!((seen.status, seen.broken), (200, false));
    }
    for long in long {
        let seen = long.await.unwrap().unwrap();
        assert_eq!((seen.status, seen.broken), (200, true));
        assert!(seen.took >= DRAIN && changed.elapsed() < 5 * DRAIN, "{:?}", seen.took);
    }
    for name in ["total_listeners_draining", "total_filter_chains_draining"] {
        mesh.envoy.await_stat(&format!("listener_manager.{name}"), |n| n == 0).await;
    }
    mesh.envoy.await_log_line(|line| line["path"] == "/long" && line["flags"] == "DC").await;
}

/// One worker, and many more than there are cores.
#[tokio::test(flavor = "multi_thread")]
async fn one_worker_or_sixteen_have_one_picture_and_one_leader() {
    for workers in [1, 16] {
        let policy = policy();
        let mut kept = None;
        let mut telemetry = telemetry(&policy);
        telemetry["listener"] = json!({"read": "anyone"});
        let mut mesh = Mesh::observed(&placement(&policy), &telemetry, |made, _| kept = Some(made.clone())).await;
        let began = Instant::now();
        let other = Envoy::start_with(workdir(), &kept.unwrap(), workers).await;
        let ready = began.elapsed();
        drop(std::mem::replace(&mut mesh.envoy, other));
        mesh.envoy.await_stat("wasmcustom.berth.telemetry.epoch", |n| n >= 1).await;
        println!("{workers} workers: ready after {ready:?}, a picture after {:?}", began.elapsed());
        let n = u64::from(workers);
        eventually("all workers place", || async {
            let asking = (0..8 * workers).map(|_| tokio::spawn(mesh.chat().send()));
            for asking in asking.collect::<Vec<_>>() {
                assert_eq!(asking.await.unwrap().unwrap().status, 200);
            }
            let members = mesh.envoy.stat("wasmcustom.berth.telemetry.members").await;
            (members >= 2 * n).then_some(())
        })
        .await;
        mesh.await_live().await;
        for (name, wanted) in
            [("telemetry.leading", 1), ("unslotted", 0), ("telemetry.unslotted", 0), ("snapshot.refused", 0)]
        {
            assert_eq!(mesh.envoy.stat(&format!("wasmcustom.berth.{name}")).await, wanted, "{name} with {workers}");
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", mesh.envoy.pid())).unwrap();
        println!("{workers} workers: {:?}", status.lines().find(|line| line.starts_with("VmRSS:")));
    }
}
