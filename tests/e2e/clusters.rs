//! A substrate's cluster that comes by discovery after the start and goes again under load, whose hosts fail Envoy's own
//! health check, or that Envoy's own outlier detection has put aside.

use crate::mesh::Mesh;
use crate::observed::relay;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH, Seen};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::policy::{observe, placement, policy};
use crate::support::upstream::{Script, Upstream};
use crate::support::{RUN, built, eventually};
use crate::{account, attempts};
use berth::manifest::envoy::cluster::Endpoint;
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Takes the first cluster out of a bootstrap, to be read from a watched file instead, in which there is none yet.
fn by_cds(bootstrap: &mut Value, dir: &Path) -> Value {
    let mut first = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().remove(0);
    first["@type"] = json!("type.googleapis.com/envoy.config.cluster.v3.Cluster");
    let file = dir.join("cds.json");
    replace_file(dir, "cds.json", &json!({"version_info": "0", "resources": []}));
    bootstrap["dynamic_resources"]["cds_config"] = json!({"resource_api_version": "V3",
        "path_config_source": {"path": file, "watched_directory": {"path": dir}}});
    first
}

/// The first substrate's cluster is read from a file, and not there yet. Of it only the proxy's own list of clusters speaks.
async fn mesh() -> (Mesh, Value) {
    let mut policy = policy();
    policy["selection"] = json!({"ramp_ms": 0});
    policy["adaptive"] = json!({"latency": false, "risk": false});
    let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50, "sources":
        [{"cluster": "admin", "path": "/clusters?format=json", "format": "clusters", "interval_ms": 100}]});
    let admin = Arc::new(OnceLock::new());
    let port = relay(admin.clone()).await.port();
    let mut metal = Value::Null;
    let mesh = Mesh::observed(&placement(&policy), &telemetry, |bootstrap, dir| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
        let mut admin = clusters[0].clone();
        admin["name"] = json!("admin");
        let endpoint = &mut admin["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"]["port_value"] = json!(port);
        clusters.push(admin);
        metal = by_cds(bootstrap, dir);
    })
    .await;
    admin.set(mesh.envoy.admin_address()).unwrap();
    (mesh, metal)
}

fn are(envoy: &Envoy, version: u32, clusters: &[&Value]) {
    envoy.replace_file("cds.json", &json!({"version_info": version.to_string(), "resources": clusters}));
}

/// None of it was the substrate's failure.
async fn unharmed(mesh: &Mesh) {
    for name in ["observed.failed", "health.circuit.substrate.metal-fr"] {
        assert_eq!(mesh.envoy.stat(&format!("wasmcustom.berth.{name}")).await, 0, "{name}");
    }
}

/// Requests all the time, as long as they may.
fn load(mesh: &Mesh) -> (Arc<AtomicBool>, tokio::task::JoinHandle<Vec<Seen>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (ask, told) = (mesh.chat(), stop.clone());
    let asking = tokio::spawn(async move {
        let mut seen = Vec::new();
        while !told.load(Ordering::Relaxed) {
            seen.push(ask.clone().over(BOTH[seen.len() % 2]).send().await.unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen
    });
    (stop, asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_by_discovery_and_goes_under_load() {
    let (mesh, metal) = mesh().await;
    mesh.await_all_at("onprem-de").await;
    let (stop, asking) = load(&mesh);
    are(&mesh.envoy, 1, &[&metal]);
    mesh.await_all_at("metal-fr").await;
    mesh.metal.does_at("/stream", Script::Stream(20, Duration::from_millis(100)));
    let streams: Vec<_> = BOTH.map(|http| tokio::spawn(mesh.chat().at("/stream").over(http).send())).into();
    eventually("they are under way", || async { (mesh.metal.asked("/stream") == 2).then_some(()) }).await;
    are(&mesh.envoy, 2, &[]);
    mesh.await_all_at("onprem-de").await;
    for stream in streams {
        let seen = stream.await.unwrap().unwrap();
        assert_eq!((seen.status, seen.broken), (200, false), "what was under way ends well");
    }
    stop.store(true, Ordering::Relaxed);
    let seen = asking.await.unwrap();
    let bad: Vec<&Seen> = seen.iter().filter(|seen| seen.status != 200).collect();
    println!("{} asked, {} of them before it was known that the cluster was gone", seen.len(), bad.len());
    assert!(bad.iter().all(|seen| seen.status == 503));
    for line in mesh.envoy.access_log(0).await.iter().filter(|line| line["status"] != 200) {
        assert_eq!(line["details"], "cluster_not_found", "{line}");
    }
    unharmed(&mesh).await;
    assert!(mesh.provider.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_fail_envoys_own_health_check_are_left_and_found_again() {
    let (mesh, mut metal) = mesh().await;
    metal["health_checks"] = json!([{"timeout": "0.5s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 2, "healthy_threshold": 1,
        "http_health_check": {"path": "/check"}}]);
    mesh.metal.does_at("/check", Script::ok("well"));
    are(&mesh.envoy, 1, &[&metal]);
    mesh.await_all_at("metal-fr").await;
    let (stop, asking) = load(&mesh);
    mesh.metal.does_at("/check", Script::status(503));
    mesh.await_all_at("onprem-de").await;
    mesh.metal.does_at("/check", Script::ok("well"));
    mesh.await_all_at("metal-fr").await;
    stop.store(true, Ordering::Relaxed);
    let seen = asking.await.unwrap();
    // Where all hosts of a cluster are unwell, Envoy asks them all the same: nobody waits for the news.
    assert!(seen.iter().all(|seen| seen.status == 200));
    assert!(["metal-fr", "onprem-de"].iter().all(|name| seen.iter().any(|seen| seen.text() == *name)));
    unharmed(&mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_envoys_outlier_detection_puts_aside_is_left_until_it_is_back() {
    let (mesh, mut metal) = mesh().await;
    metal["outlier_detection"] = json!({"consecutive_5xx": 3, "interval": "0.1s", "base_ejection_time": "5s", "max_ejection_percent": 100, "enforcing_success_rate": 0});
    are(&mesh.envoy, 1, &[&metal]);
    mesh.await_all_at("metal-fr").await;
    mesh.metal.does(Script::status(500));
    eventually("it is put aside", || async {
        let _ = mesh.chat().send().await.unwrap();
        (mesh.envoy.stat("cluster.metal-fr.outlier_detection.ejections_active").await == 1).then_some(())
    })
    .await;
    mesh.metal.does(Script::ok("metal-fr"));
    mesh.await_all_at("onprem-de").await;
    let seen = mesh.chat().send().await.unwrap();
    let decision = seen.header("x-placement-decision").unwrap_or_default();
    assert!(decision.contains("spill=metal-fr") && decision.contains("why=no-host"), "{decision}");
    mesh.await_all_at("metal-fr").await;
}

/// A state of the first cluster of three, what shows that it is there, and what requests come to before any source has said
/// so: who is asked, the status, flags and what `fell` says.
struct Row {
    state: &'static str,
    is: Value,
    shows: (&'static str, u64),
    full: &'static str,
    lanes: &'static str,
}

fn rows(dir: &Path, resolver: u16) -> Vec<Row> {
    let total = |hosts| ("cluster.a.membership_total", hosts);
    let healthy = ("cluster.a.membership_healthy", 0);
    let ejected = ("cluster.a.outlier_detection.ejections_active", 1);
    let full = ("cluster.a.circuit_breakers.default.rq_open", 1);
    let nobody = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    replace_file(dir, "eds.json", &json!({"version_info": "1", "resources": [{"@type": nobody, "cluster_name": "a"}]}));
    let eds =
        json!({"eds_config": {"resource_api_version": "V3", "path_config_source": {"path": dir.join("eds.json")}}});
    let eds = json!({"type": "EDS", "load_assignment": null, "eds_cluster_config": eds});
    let at = |host: &str, port: u16| json!({"socket_address": {"address": host, "port_value": port}});
    let named =
        json!({"endpoints": [{"lb_endpoints": [{"endpoint": {"address": at("a.invalid", 80)}}]}], "cluster_name": "a"});
    let cares = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";
    let cares = json!({"@type": cares, "resolvers": [at("127.0.0.1", resolver)]});
    let dns = json!({"type": "STRICT_DNS", "load_assignment": named, "wait_for_warm_on_init": false,
        "typed_dns_resolver_config": {"name": "cares", "typed_config": cares}});
    // Without panic it asks nobody of whom it knows no good.
    let check = |calm: Value| {
        json!({"common_lb_config": calm, "health_checks": [{"timeout": "0.5s", "interval": "0.1s",
            "no_traffic_interval": "0.1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
            "http_health_check": {"path": "/check"}}]})
    };
    let eject = |calm: Value| {
        json!({"common_lb_config": calm, "outlier_detection": {"consecutive_5xx": 1, "interval": "0.1s",
            "base_ejection_time": "100s", "max_ejection_percent": 100, "enforcing_success_rate": 0}})
    };
    let calm = || json!({"healthy_panic_threshold": {"value": 0.0}});
    let limit = |limits: Value| json!({"circuit_breakers": {"thresholds": [limits]}});
    let row = |state, is, shows, full, lanes| Row { state, is, shows, full, lanes };
    vec![
        row("removed", Value::Null, ("cluster_manager.cluster_removed", 1), "- 503 NC -", "b 200 - -"),
        row("no host of EDS", eds, total(0), "- 503 UH -", "b 200 - -"),
        row("no answer of DNS", dns, total(0), "- 503 UH -", "b 200 - -"),
        row("all unhealthy", check(json!({})), healthy, "a 200 - -", "a 200 - -"),
        row("all unhealthy, no panic", check(calm()), healthy, "- 503 UH -", "b 200 - -"),
        row("all ejected", eject(json!({})), ejected, "a 200 - -", "a 200 - -"),
        row("all ejected, no panic", eject(calm()), ejected, "- 503 UH -", "b 200 - -"),
        row("max_pending_requests", limit(json!({"max_pending_requests": 0})), total(1), "- 503 UO -", "- 503 UO -"),
        row("max_requests", limit(json!({"max_requests": 1})), full, "- 503 UO -", "- 503 UO -"),
    ]
}

/// Three substrates a, b and c behind a proxy that observes them, and of which nobody hears. The first cluster is apart.
async fn three(way: Way, resolver: u16) -> (Envoy, [Upstream; 3], Value, Vec<Row>) {
    let all = [Upstream::start("a").await, Upstream::start("b").await, Upstream::start("c").await];
    let observing = wasm_filter(&built("berth.wasm"), "telemetry", &observe(), Carried::Text);
    let endpoints = all.each_ref().map(|upstream| Endpoint {
        filters: vec![observing.clone()],
        in_lane: way == Way::Lanes,
        ..attempts::at(upstream, false)
    });
    let members: Vec<(&str, &Endpoint)> = ["a", "b", "c"].into_iter().zip(&endpoints).collect();
    let mut bootstrap = members.iter().fold(Bootstrap::default(), |made, (name, it)| made.substrate(name, it));
    if way == Way::Lanes {
        bootstrap = bootstrap.lane_over("a-b-c", &members).lane_over("a-b", &members[..2]);
    }
    let filter = wasm_filter(&built("berth.wasm"), "placement", &attempts::placement(way), Carried::Text);
    let mut bootstrap = bootstrap.filter(filter).routes(way, &["a", "b", "c"], None).build();
    let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["access_log"] = account::file_log("access.log", "access-log.json");
    let dir = workdir();
    let (first, rows) = (by_cds(&mut bootstrap, &dir), rows(&dir, resolver));
    replace_file(&dir, "cds.json", &json!({"version_info": "0", "resources": [first]}));
    (Envoy::start_in(dir, &bootstrap).await, all, first, rows)
}

/// What requests come to, of a class that may be tried again however it failed and of one that may not.
async fn came(envoy: &Envoy, all: &[Upstream; 3], ask: Ask, from: usize) -> BTreeSet<String> {
    let path = |n| format!("/v1/{n}");
    let ask = |n: usize| ask.clone().at(&path(n)).header("x-workload", ["once", "again"][n / 2 % 2]).over(BOTH[n % 2]);
    let asking: Vec<_> = (from..from + RUN).map(|n| (n, tokio::spawn(ask(n).send()))).collect();
    let mut came = BTreeSet::new();
    for (n, asking) in asking {
        let (path, status) = (path(n), asking.await.unwrap().unwrap().status);
        let line = envoy.await_log_line(|line| line["path"] == path.as_str()).await;
        let asked: Vec<&str> = all.iter().filter(|it| it.asked(&path) > 0).map(|it| it.name.as_str()).collect();
        let (flags, fell) = (line["flags"].as_str().unwrap(), line["fell"].as_str().unwrap_or("-"));
        came.insert(format!("{} {status} {flags} {fell}", if asked.is_empty() { "-".into() } else { asked.join(" ") }));
    }
    came
}

async fn each(way: Way, resolver: u16) {
    let (envoy, all, first, rows) = three(way, resolver).await;
    let ask = || Ask::post(envoy.listener(INGRESS), "/v1/x", "x").header("x-tenant", "acme");
    all[0].does_at("/check", Script::status(503));
    all[0].does_at("/fails", Script::status(500));
    all[0].does_at("/held", Script::Stream(1_000, Duration::from_millis(100)));
    let mut asked = 0;
    for (version, row) in (1..).zip(rows) {
        let mut cluster = first.clone();
        row.is.as_object().into_iter().flatten().for_each(|(key, value)| cluster[key] = value.clone());
        let updated = envoy.stat("cluster_manager.cds.update_success").await;
        are(&envoy, version, &[&cluster][usize::from(row.is.is_null())..]);
        envoy.await_stat("cluster_manager.cds.update_success", |n| n > updated).await;
        envoy.await_stat("cluster_manager.warming_clusters", |n| n == 0).await;
        let held = (row.state == "max_requests").then(|| ask().at("/held").header("x-stream", "true").send());
        let held = held.map(tokio::spawn);
        eventually(row.state, || async {
            if row.state.starts_with("all ejected") {
                let _ = ask().at("/fails").send().await;
            }
            (envoy.stat(row.shows.0).await == row.shows.1).then_some(())
        })
        .await;
        let wanted = BTreeSet::from([if way == Way::Lanes { row.lanes } else { row.full }.to_owned()]);
        // Workers learn of it one after the other.
        eventually(row.state, || {
            asked += RUN;
            let coming = came(&envoy, &all, ask(), asked);
            let wanted = &wanted;
            async move {
                let came = coming.await;
                println!("{way:?}, {}: {came:?}", row.state);
                (came == *wanted).then_some(())
            }
        })
        .await;
        held.iter().for_each(tokio::task::JoinHandle::abort);
    }
    // The two answers that got hosts ejected, and whatever waited for a connection and then found no room: that one was an
    // attempt. Without a host, or with a connection and no room for more, there was none.
    let failed = envoy.stat("wasmcustom.berth.observed.failed").await;
    println!("{way:?}: {failed} failed of {asked}");
    assert!((2..2 + RUN as u64).contains(&failed), "{way:?}: {failed}");
}

/// A lane looks for a host before there is an attempt that could fail, and asks the next one where it finds none; a route has
/// chosen its cluster by then. What the proxy's own limits refuse neither tries again.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_cluster_has_nobody_to_ask_a_lane_asks_the_next_and_full_does_not() {
    // Hears what it is asked and never answers.
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolver = mute.local_addr().unwrap().port();
    tokio::join!(each(Way::Full, resolver), each(Way::Lanes, resolver));
}
