//! What the route's choice of cluster costs an Envoy in memory, at 512 substrates and three attempts: written once and
//! named by every route, or written into each of them. `make bench-memory` prints it.

use crate::support::client::Ask;
use crate::support::envoy::Envoy;
use berth::manifest::envoy::matcher;
use serde_json::{Value, json};

const SUBSTRATES: usize = 512;
const ROUTES: usize = 8;

/// How routes find their cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// By the cluster header alone: what the others are measured against.
    Header,
    Named,
    Inline,
}

fn bootstrap(how: How) -> Value {
    let names: Vec<String> = (0..SUBSTRATES).map(|n| format!("substrate-{n:03}")).collect();
    let clusters: Vec<Value> =
        names.iter().map(|name| json!({"name": name, "type": "STATIC", "connect_timeout": "1s"})).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut plugin = matcher::specifier("berth", &names);
    let retry = json!({"retry_on": "refused-stream", "refresh_cluster_on_retry": true});
    let route = |n: usize| {
        let mut route = match how {
            How::Header => json!({"cluster_header": "x-placement-cluster"}),
            How::Named => json!({"cluster_specifier_plugin": "berth", "retry_policy": retry}),
            How::Inline => json!({"inline_cluster_specifier_plugin": plugin, "retry_policy": retry}),
        };
        route["timeout"] = json!("15s");
        json!({"match": {"prefix": format!("/{n}")}, "route": route})
    };
    let routes: Vec<Value> = (0..ROUTES).map(route).collect();
    let mut config = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]});
    if how == How::Named {
        config["cluster_specifier_plugins"] = json!([plugin.take()]);
    }
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress", "route_config": config,
        "http_filters": [{"name": "router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    let any = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    json!({"admin": {"address": any}, "static_resources": {"clusters": clusters, "listeners": [
        {"name": "ingress", "address": any, "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}]}})
}

/// Kilobytes that are resident, and bytes that Envoy says it has allocated.
async fn held(how: How) -> (u64, u64) {
    let envoy = Envoy::start(&bootstrap(how)).await;
    // The routes are at work: a cluster that nobody named is none.
    let seen = Ask::get(envoy.listener("ingress"), "/1").header("x-placement-cluster", "substrate-007").send().await;
    assert_eq!(seen.unwrap().status, 503, "it has no hosts");
    let status = std::fs::read_to_string(format!("/proc/{}/status", envoy.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = envoy.admin_get("/memory").await;
    let memory: Value = serde_json::from_slice(&memory.body).unwrap();
    (resident.trim().trim_end_matches(" kB").parse().unwrap(), memory["allocated"].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_plan_for_512_substrates_is_paid_once_where_routes_name_it_and_by_each_where_it_is_inline() {
    let mut figures = Vec::new();
    for how in [How::Header, How::Named, How::Inline] {
        let (resident, allocated) = held(how).await;
        println!(
            "{how:?}: {:.1} MB resident, {:.1} MB allocated; {SUBSTRATES} substrates, 3 attempts, {ROUTES} routes",
            resident as f64 / 1_024.0,
            allocated as f64 / 1_048_576.0
        );
        figures.push((resident, allocated));
    }
    let over = |at: usize| figures[at].1.saturating_sub(figures[0].1);
    let (named, inline) = (over(1), over(2));
    println!(
        "over the header alone: named {:.2} MB, inline {:.2} MB, {:.1} times",
        named as f64 / 1_048_576.0,
        inline as f64 / 1_048_576.0,
        inline as f64 / named as f64
    );
    assert!(named > 0 && inline > 4 * named, "eight routes pay eight times, or nearly: {named} and {inline}");
    assert!(named < 16 << 20, "{named} bytes for one");
}
