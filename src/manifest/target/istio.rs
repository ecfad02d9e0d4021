//! A mesh: one `EnvoyFilter` with everything, what its services need beside it, and the shorter resources for the
//! filter alone, with what they cannot say.

mod alone;
mod services;

use super::{File, Subject};
use crate::manifest::deployment::{Istio, Place};
use crate::manifest::envoy::{address, extension, listener::passes, route, route::Routes, types};
use crate::manifest::plugin::{self, Carried, Role};
use crate::model::contract::{CLUSTER_HEADER, OWN};
use crate::model::metric::{labels, tag_rule};
use alone::{traffic_extension, wasm_plugin};
use serde_json::{Map, Value, json};
use services::{service, services};

/// The resources.
///
/// # Errors
/// What the deployment lacks for them.
pub fn render(subject: &Subject<'_>) -> Result<Vec<File>, String> {
    super::no_tracer(subject)?;
    let istio = subject.deployment.istio.as_ref().ok_or("istio: missing, expected where in the mesh")?;
    let mut files = Vec::new();
    if istio.place == Place::Waypoint {
        fetched(subject)?;
    } else {
        files.push(subject.file("envoyfilter.yaml", "istio", FILTER, &[envoy_filter(subject, istio)?]));
    }
    let services = services(subject, istio)?;
    if !services.is_empty() {
        files.push(subject.file("services.yaml", "istio", SERVICES, &services));
    }
    files.push(subject.file("proxy-annotations.yaml", "istio", ANNOTATIONS, &[annotations(subject)]));
    if let Some(fetched) = subject.deployment.module.fetched()? {
        let (plugin, extension) = (wasm_plugin(subject, istio, fetched), traffic_extension(subject, istio, fetched));
        files.push(subject.file("alone/wasmplugin.yaml", "istio", PLUGIN, &[plugin]));
        files.push(subject.file("alone/trafficextension.yaml", "istio", PLUGIN, &[extension]));
    }
    Ok(files)
}

const FILTER: &str = "Needs an Istio whose proxies are Envoy 1.39 or later for `attach: full`; with older ones render `lanes` or `simple`.
Over 256 KiB, apply it with `kubectl apply --server-side`; Kubernetes refuses objects over 1 MiB.";
const SERVICES: &str =
    "Locality failover is off: where a substrate may be replaced by another one, the policy says so, not a zone.";
const ANNOTATIONS: &str = "Annotations for the workload's pods: without them the proxy hides the plugin's metrics.";
const PLUGIN: &str = "One filter alone, instead of envoyfilter.yaml and never beside it; for waypoints there is nothing else. Nothing obeys it, so it is
told `mode: shadow`: it says where requests would have gone. It cannot say: the routes that obey the filter, the name of the VM (so no picture is shared with the telemetry role, and decisions rest on what the policy declares), what is
removed before the filter, what the module may call, and that it may wait for bodies. Where those matter, use envoyfilter.yaml: on a gateway or a sidecar.";

fn envoy_filter(subject: &Subject<'_>, istio: &Istio) -> Result<Value, String> {
    let mut patches = filter(subject, istio, Role::Placement)?;
    patches.push(patch("NETWORK_FILTER", istio, manager(), "MERGE", early(subject)));
    patches.extend(routes(subject, istio));
    if subject.deployment.telemetry.is_some() {
        patches.extend(desk(subject, istio)?);
    }
    patches.extend(clusters(subject, istio)?);
    patches.push(json!({"applyTo": "BOOTSTRAP", "patch": {"operation": "MERGE", "value": {"stats_config": {
        "stats_tags": labels().into_iter().map(|label| json!({"tag_name": label, "regex": tag_rule(label)})).collect::<Vec<_>>(),
    }}}}));
    let mut spec = json!({"configPatches": patches});
    if let Value::Object(spec) = &mut spec {
        spec.extend(aim(istio));
    }
    Ok(json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": metadata("berth", istio), "spec": spec,
    }))
}

/// On which workloads.
fn aim(istio: &Istio) -> Map<String, Value> {
    let labels: Map<String, Value> = istio.selector.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    match &istio.target {
        Some(name) => {
            let target = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]);
            Map::from_iter([("targetRefs".into(), target)])
        }
        None if labels.is_empty() => Map::new(),
        None => Map::from_iter([("workloadSelector".into(), json!({"labels": labels}))]),
    }
}

fn metadata(name: &str, istio: &Istio) -> Value {
    let labels = json!({"app.kubernetes.io/name": "berth", "app.kubernetes.io/part-of": "berth"});
    json!({"name": name, "namespace": istio.namespace, "labels": labels})
}

fn patch(to: &str, istio: &Istio, within: Value, operation: &str, value: Value) -> Value {
    let mut matched = json!({"context": istio.place.context()});
    if let (Value::Object(matched), Value::Object(within)) = (&mut matched, within) {
        matched.extend(within);
    }
    json!({"applyTo": to, "match": matched, "patch": {"operation": operation, "value": value}})
}

const MANAGER: &str = "envoy.filters.network.http_connection_manager";

fn manager() -> Value {
    json!({"listener": {"filterChain": {"filter": {"name": MANAGER}}}})
}

/// The filter in front of the router; discovered where the agent is to fetch the module.
fn filter(subject: &Subject<'_>, istio: &Istio, role: Role) -> Result<Vec<Value>, String> {
    let router = json!({"listener": {"filterChain": {"filter": {
        "name": MANAGER, "subFilter": {"name": "envoy.filters.http.router"}}}}});
    let (value, more) = found(subject, istio, role)?;
    let mut patches = Vec::new();
    // Through a sidecar goes all that a workload sends: only a gateway counts how often a request came by.
    if istio.place == Place::Gateway {
        patches.push(patch(
            "HTTP_FILTER",
            istio,
            router.clone(),
            "INSERT_BEFORE",
            plugin::on_request(passes(plugin::believes_hops(subject.deployment))),
        ));
    }
    patches.push(patch("HTTP_FILTER", istio, router, "INSERT_BEFORE", plugin::on_request(value)));
    patches.extend(more);
    Ok(patches)
}

/// A filter, and the patch with its configuration where that is discovered.
fn found(subject: &Subject<'_>, istio: &Istio, role: Role) -> Result<(Value, Option<Value>), String> {
    if let (false, Some(code)) = (istio.discovered, subject.deployment.module.local()) {
        return Ok((plugin::filter(subject.deployment, role, &code, Carried::Map), None));
    }
    let (url, sha256) = fetched(subject)?;
    let uri = json!({"uri": url, "timeout": "30s"});
    let code = json!({"remote": {"http_uri": uri, "sha256": sha256}});
    let source = json!({"resource_api_version": "V3", "ads": {}, "initial_fetch_timeout": "0s"});
    let value = plugin::filter(subject.deployment, role, &code, Carried::Map);
    let config = patch("EXTENSION_CONFIG", istio, json!({}), "ADD", value);
    Ok((plugin::discovered(role, &source), Some(config)))
}

/// Where the agent fetches the module, and what it is checked against.
fn fetched<'a>(subject: &Subject<'a>) -> Result<(&'a str, &'a str), String> {
    let found = subject.deployment.module.fetched()?;
    found.ok_or_else(|| String::from("module: found no `url` or `image`, expected one for the agent to fetch"))
}

fn early(subject: &Subject<'_>) -> Value {
    let hops = plugin::believes_hops(subject.deployment);
    let config = json!({"@type": types::HCM, "early_header_mutation_extensions": route::early_removal(hops)});
    json!({"typed_config": config})
}

/// The routes of the virtual host that is placed, before those that it has. The patches are applied in this order, each
/// in front of the one before.
fn routes(subject: &Subject<'_>, istio: &Istio) -> Vec<Value> {
    let deployment = subject.deployment;
    let routes = Routes {
        way: deployment.way,
        clusters: subject.clusters(),
        otherwise: deployment.otherwise.as_deref().and_then(|name| subject.cluster(name)),
        keep_bytes: deployment.keep_bytes,
        mirror: false,
    };
    let rendered = routes.render();
    let mut patches = Vec::new();
    if let Some(plugins) = rendered.get("cluster_specifier_plugins") {
        let value = json!({"cluster_specifier_plugins": plugins});
        patches.push(patch("ROUTE_CONFIGURATION", istio, port(istio), "MERGE", value));
    }
    let mut host = Map::from_iter([("typed_per_filter_config".into(), plugin::asked(istio.place == Place::Gateway))]);
    if deployment.way != route::Way::Simple {
        host.insert("include_request_attempt_count".into(), json!(true));
    }
    patches.push(patch("VIRTUAL_HOST", istio, virtual_host(istio), "MERGE", Value::Object(host)));
    let listed = rendered.pointer("/virtual_hosts/0/routes").and_then(Value::as_array).cloned().unwrap_or_default();
    // In shadow the mesh's own routes go on: nothing stands in front of them.
    let shadow = deployment.placement.get("mode") == Some(&json!("shadow"));
    for (i, mut rendered) in listed.into_iter().enumerate().rev() {
        if i > 0 && shadow {
            continue;
        }
        if let Value::Object(route) = &mut rendered {
            route.insert("name".into(), json!(if i == 0 { "berth.placed" } else { "berth.unplaced" }));
            // The mesh's own clusters have no filters of ours: there our headers end here.
            let ended = if makes_any(subject) { OWN.to_vec() } else { vec![CLUSTER_HEADER] };
            route.insert("request_headers_to_remove".into(), json!(ended));
        }
        patches.push(patch("HTTP_ROUTE", istio, virtual_host(istio), "INSERT_FIRST", rendered));
    }
    patches
}

/// Whether the mesh makes the cluster of any substrate.
fn makes_any(subject: &Subject<'_>) -> bool {
    subject.clusters().iter().any(|cluster| service(cluster).is_some())
}

fn port(istio: &Istio) -> Value {
    match &istio.host {
        Some((_, port)) => json!({"routeConfiguration": {"portNumber": port}}),
        None => json!({}),
    }
}

fn virtual_host(istio: &Istio) -> Value {
    let mut matched = port(istio);
    if let (Some((host, port)), Some(Value::Object(found))) = (&istio.host, matched.get_mut("routeConfiguration")) {
        found.insert("vhost".into(), json!({"name": format!("{host}:{port}")}));
    }
    matched
}

/// The telemetry role on a listener of its own.
fn desk(subject: &Subject<'_>, istio: &Istio) -> Result<Vec<Value>, String> {
    let (host, port) = &subject.deployment.desk;
    let (filter, more) = found(subject, istio, Role::Telemetry)?;
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}});
    let manager = extension(
        MANAGER,
        types::HCM,
        json!({
            "stat_prefix": "telemetry", "codec_type": "AUTO", "request_timeout": super::envoy::DESK_TIMEOUT,
            "http_filters": [filter, extension("envoy.filters.http.router", types::ROUTER, json!({}))],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        }),
    );
    let listener =
        json!({"name": "berth.telemetry", "address": address(host, *port), "filter_chains": [{"filters": [manager]}]});
    let mut patches = vec![patch("LISTENER", istio, json!({}), "ADD", listener)];
    patches.extend(more);
    Ok(patches)
}

/// Clusters of our own, with what is theirs: all but those that the mesh makes itself, whose traffic is not ours alone.
fn clusters(subject: &Subject<'_>, istio: &Istio) -> Result<Vec<Value>, String> {
    let deployment = subject.deployment;
    let mut inside = Vec::new();
    if deployment.telemetry.is_some() && deployment.observe {
        let lacks = "observe: expected `observe: false`, or `module.file`: inside clusters, which the agent fetches nothing for, the module is a file in the pod";
        let code = deployment.module.local().ok_or(lacks)?;
        inside.push(plugin::filter(deployment, Role::Observing, &code, Carried::Map));
    }
    let mut patches = Vec::new();
    let endpoints = subject.endpoints(&inside);
    for (name, endpoint) in &endpoints {
        if service(name).is_none() {
            patches.push(patch("CLUSTER", istio, json!({}), "ADD", endpoint.render(name)));
        }
    }
    for (_, lane) in subject.lanes(&endpoints)? {
        patches.push(patch("CLUSTER", istio, json!({}), "ADD", lane));
    }
    for (name, endpoint) in &deployment.helpers {
        patches.push(patch("CLUSTER", istio, json!({}), "ADD", endpoint.render(name)));
    }
    Ok(patches)
}

fn annotations(subject: &Subject<'_>) -> Value {
    let config = "proxyStatsMatcher:\n  inclusionPrefixes: [wasmcustom.berth]\n";
    let mut annotations = json!({"proxy.istio.io/config": config});
    if let (Some(file), Value::Object(annotations)) = (&subject.deployment.module.file, &mut annotations) {
        let folder = file.rsplit_once('/').map_or("/", |(folder, _)| folder);
        annotations.insert(
            "sidecar.istio.io/userVolume".into(),
            json!(json!({"berth": {"configMap": {"name": "berth-module"}}}).to_string()),
        );
        annotations.insert(
            "sidecar.istio.io/userVolumeMount".into(),
            json!(json!({"berth": {"mountPath": folder, "readOnly": true}}).to_string()),
        );
    }
    json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})
}
