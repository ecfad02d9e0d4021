//! A substrate's cluster that comes by discovery after the start and goes again under load, whose hosts fail Envoy's own
//! health check, or that Envoy's own outlier detection has put aside.

use crate::mesh::Mesh;
use crate::observed::relay;
use crate::support::client::{BOTH, Seen};
use crate::support::envoy::{Envoy, replace_file};
use crate::support::eventually;
use crate::support::policy::{placement, policy};
use crate::support::upstream::Script;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
        metal = clusters.remove(0);
        metal["@type"] = json!("type.googleapis.com/envoy.config.cluster.v3.Cluster");
        let file = dir.join("cds.json");
        replace_file(dir, "cds.json", &json!({"version_info": "0", "resources": []}));
        bootstrap["dynamic_resources"]["cds_config"] = json!({"resource_api_version": "V3",
            "path_config_source": {"path": file, "watched_directory": {"path": dir}}});
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
