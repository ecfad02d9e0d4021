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
    if let Some(extension) = extension(subject, gateway) {
        files.push(subject.file("envoyextensionpolicy.yaml", TARGET, EXTENSION, &[extension]));
    }
    Ok(files)
}

const TARGET: &str = "envoy-gateway";
const PATCHES: &str = "Envoy Gateway applies patches only where its configuration has `extensionApis.enableEnvoyPatchPolicy: true`, and the
proxies need the module at its path: mount it by the `EnvoyProxy` resource. The first virtual host of the listener is
the one that is placed; look at a proxy's configuration dump if the Gateway has several.";
const EXTENSION: &str = "The filter alone, instead of the first patch. It cannot say: the routes that obey the filter, the name of the VM (so no
picture is shared with the telemetry role), what is removed before the filter, what the module may call.";

fn patches(subject: &Subject<'_>, gateway: &Gateway) -> Result<Value, String> {
    let deployment = subject.deployment;
    let code = deployment.module.local().ok_or("module.file: missing, expected where the proxies have the module")?;
    let name = format!("{}/{}/{}", gateway.at.namespace, gateway.at.name, gateway.listener);
    let manager = "/default_filter_chain/filters/0/typed_config";
    let hops = deployment.placement.get("hops").and_then(|hops| hops.get("trust")).is_some();
    let mut patches = vec![
        add(
            "Listener",
            &name,
            &format!("{manager}/http_filters/0"),
            plugin::filter(deployment, Role::Placement, &code, Carried::Map),
        ),
        // Each is put in front of all others: this one will be the first.
        add("Listener", &name, &format!("{manager}/http_filters/0"), passes()),
        add("Listener", &name, &format!("{manager}/early_header_mutation_extensions"), route::early_removal(hops)),
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
        patches.push(add("RouteConfiguration", name, "/cluster_specifier_plugins", plugins.clone()));
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

fn add(kind: &str, name: &str, path: &str, value: Value) -> Value {
    let url = match kind {
        "Cluster" => types::CLUSTER,
        "RouteConfiguration" => types::ROUTES,
        _ => types::LISTENER,
    };
    json!({"type": url, "name": name, "operation": {"op": "add", "path": path, "value": value}})
}

fn metadata(gateway: &Gateway) -> Value {
    json!({"name": "berth", "namespace": gateway.at.namespace, "labels": {"app.kubernetes.io/name": "berth"}})
}

fn extension(subject: &Subject<'_>, gateway: &Gateway) -> Option<Value> {
    let module = &subject.deployment.module;
    let code = match (&module.url, &module.image) {
        (Some(url), _) => json!({"type": "HTTP", "http": {"url": url, "sha256": module.sha256}}),
        (None, Some(image)) => {
            let url = image.strip_prefix("oci://").unwrap_or(image);
            let mut code = json!({"type": "Image", "image": {"url": url}});
            if let (Some(sha256), Some(Value::Object(image))) = (&module.sha256, code.get_mut("image")) {
                image.insert("sha256".into(), json!(sha256));
            }
            code
        }
        (None, None) => return None,
    };
    let config = plugin::configuration(subject.deployment, Role::Placement);
    Some(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy", "metadata": metadata(gateway),
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.at.name}],
            "wasm": [{"name": "berth", "rootID": "placement", "failOpen": false, "code": code, "config": config}],
        },
    }))
}
