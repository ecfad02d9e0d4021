//! Envoy Gateway: patches to what it tells its proxies, and the shorter extension for the filter alone.

use super::{File, Subject};
use crate::manifest::deployment::Gateway;
use crate::manifest::envoy::{
    listener::passes,
    route::{self, Routes},
    types,
};
use crate::manifest::plugin::{self, Carried, Role};
use serde_json::{Value, json};

/// The resources.
///
/// # Errors
/// What the deployment lacks for them.
pub fn render(subject: &Subject<'_>) -> Result<Vec<File>, String> {
    super::no_tracer(subject)?;
    let gateway = subject.deployment.gateway.as_ref().ok_or("gateway: missing, expected the Gateway's name")?;
    let mut files = vec![subject.file("envoypatchpolicy.yaml", TARGET, PATCHES, &[patches(subject, gateway)?])];
    if let Some(extension) = extension(subject, gateway)? {
        files.push(subject.file("alone/envoyextensionpolicy.yaml", TARGET, EXTENSION, &[extension]));
    }
    Ok(files)
}

const TARGET: &str = "envoy-gateway";
const PATCHES: &str = "Envoy Gateway applies patches only where its configuration has `extensionApis.enableEnvoyPatchPolicy: true`, and the
proxies need the module at its path: mount it by the `EnvoyProxy` resource. The first virtual host of the listener is
the one that is placed; look at a proxy's configuration dump if the Gateway has several. The filter stands before the
router, behind whatever authenticates, in every filter chain of the listener, and looks at that virtual host alone.";
const EXTENSION: &str = "The filter alone, instead of envoypatchpolicy.yaml and never beside it. Nothing obeys it, so it is told `mode: shadow`: it says
where requests would have gone. It cannot say: the routes that obey the filter, the name of the VM (so no
picture is shared with the telemetry role), what is removed before the filter, what the module may call.";

fn patches(subject: &Subject<'_>, gateway: &Gateway) -> Result<Value, String> {
    let deployment = subject.deployment;
    let code = deployment.module.local().ok_or("module.file: missing, expected where the proxies have the module")?;
    let name = format!("{}/{}/{}", gateway.at.namespace, gateway.at.name, gateway.listener);
    let hops = plugin::believes_hops(deployment);
    let filter = plugin::filter(deployment, Role::Placement, &code, Carried::Map);
    let early = route::early_removal(hops).get(0).cloned().unwrap_or_default();
    let mut patches = vec![
        // What comes first stands before what comes next.
        add_at(
            "Listener",
            &name,
            BEFORE_ROUTER,
            None,
            plugin::on_request(passes(plugin::believes_hops(subject.deployment))),
        ),
        add_at("Listener", &name, BEFORE_ROUTER, None, plugin::on_request(filter)),
        add_at("Listener", &name, MANAGER, Some("early_header_mutation_extensions/0"), early),
    ];
    patches.extend(routes(subject, &name));
    // A patch finds its resource by name: for a new one, the name is its own.
    let watches = deployment.telemetry.is_some() && deployment.observe;
    let inside: Vec<Value> =
        watches.then(|| plugin::filter(deployment, Role::Observing, &code, Carried::Map)).into_iter().collect();
    let endpoints = subject.endpoints(&inside);
    patches.extend(endpoints.iter().map(|(name, e)| add("Cluster", name, "", e.render(name))));
    patches.extend(subject.lanes(&endpoints)?.into_iter().map(|(name, lane)| add("Cluster", &name, "", lane)));
    patches.extend(deployment.helpers.iter().map(|(name, e)| add("Cluster", name, "", e.render(name))));
    if deployment.telemetry.is_some() {
        let desk = super::envoy::desk(subject, &code);
        patches.push(add("Listener", "telemetry", "", desk));
    }
    Ok(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyPatchPolicy", "metadata": metadata(gateway),
        "spec": {
            "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.at.name},
            "type": "JSONPatch", "jsonPatches": patches,
        },
    }))
}

fn routes(subject: &Subject<'_>, name: &str) -> Vec<Value> {
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
        let one = plugins.get(0).cloned().unwrap_or_default();
        patches.push(add("RouteConfiguration", name, "/cluster_specifier_plugins/0", one));
    }
    for (filter, asked) in plugin::asked(true).as_object().into_iter().flatten() {
        let path = format!("/virtual_hosts/0/typed_per_filter_config/{filter}");
        patches.push(add("RouteConfiguration", name, &path, asked.clone()));
    }
    if deployment.way != route::Way::Simple {
        patches.push(add("RouteConfiguration", name, "/virtual_hosts/0/include_request_attempt_count", json!(true)));
    }
    let listed = rendered.pointer("/virtual_hosts/0/routes").and_then(Value::as_array).cloned().unwrap_or_default();
    let shadow = deployment.placement.get("mode") == Some(&json!("shadow"));
    // Each goes in front of the one before.
    let kept = listed.into_iter().enumerate().filter(|(i, _)| *i == 0 || !shadow);
    let fronts = kept.map(|(_, route)| add("RouteConfiguration", name, "/virtual_hosts/0/routes/0", route));
    patches.extend(fronts.collect::<Vec<_>>().into_iter().rev());
    patches
}

/// Where the router is, in each filter chain: what is added there stands before it and behind whatever authenticates. What is
/// believed of a request has been looked at by then.
const BEFORE_ROUTER: &str = "..http_filters[?(@.name=='envoy.filters.http.router')]";
/// The HTTP connection manager of each filter chain: with TLS, a listener has one a host.
const MANAGER: &str = "..filters[?(@.name=='envoy.filters.network.http_connection_manager')].typed_config";

/// Adds at a path, whose parts are made where they are missing.
fn add(kind: &str, name: &str, path: &str, value: Value) -> Value {
    operation(kind, name, json!({"op": "add", "path": path, "value": value}))
}

/// The same below what an expression finds.
fn add_at(kind: &str, name: &str, found: &str, path: Option<&str>, value: Value) -> Value {
    let mut operated = json!({"op": "add", "jsonPath": found, "value": value});
    if let (Some(path), Value::Object(operated)) = (path, &mut operated) {
        operated.insert("path".into(), json!(path));
    }
    operation(kind, name, operated)
}

fn operation(kind: &str, name: &str, operation: Value) -> Value {
    let url = match kind {
        "Cluster" => types::CLUSTER,
        "RouteConfiguration" => types::ROUTES,
        _ => types::LISTENER,
    };
    json!({"type": url, "name": name, "operation": operation})
}

fn metadata(gateway: &Gateway) -> Value {
    json!({"name": "berth", "namespace": gateway.at.namespace, "labels": {"app.kubernetes.io/name": "berth"}})
}

fn extension(subject: &Subject<'_>, gateway: &Gateway) -> Result<Option<Value>, String> {
    let Some((place, sha256)) = subject.deployment.module.fetched()? else { return Ok(None) };
    let code = if subject.deployment.module.url.is_some() {
        json!({"type": "HTTP", "http": {"url": place, "sha256": sha256}})
    } else {
        json!({"type": "Image", "image": {"url": place.strip_prefix("oci://").unwrap_or(place), "sha256": sha256}})
    };
    let config = plugin::alone(subject.deployment);
    Ok(Some(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy", "metadata": metadata(gateway),
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.at.name}],
            "wasm": [{"name": "berth", "rootID": "placement", "failOpen": false, "code": code, "config": config}],
        },
    })))
}
