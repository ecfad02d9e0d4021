//! The shorter resources for the filter alone.

use super::super::Subject;
use super::{aim, metadata};
use crate::manifest::deployment::{Istio, Place};
use crate::manifest::plugin;
use serde_json::{Map, Value, json};

pub(super) fn wasm_plugin(subject: &Subject<'_>, istio: &Istio, url: &str) -> Value {
    let mut spec = json!({
        "url": url, "pluginName": "placement", "failStrategy": "FAIL_RELOAD",
        "imagePullPolicy": "IfNotPresent", "pluginConfig": plugin::alone(subject.deployment),
        "match": [{"mode": if istio.place == Place::Sidecar { "CLIENT" } else { "CLIENT_AND_SERVER" }}],
    });
    if let Value::Object(spec) = &mut spec {
        spec.extend(selected(istio));
        if let Some(sha256) = &subject.deployment.module.sha256 {
            spec.insert("sha256".into(), json!(sha256));
        }
    }
    json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": metadata("berth", istio), "spec": spec})
}

pub(super) fn traffic_extension(subject: &Subject<'_>, istio: &Istio, url: &str) -> Value {
    let mut wasm = json!({
        "url": url, "pluginName": "placement", "failStrategy": "FAIL_RELOAD",
        "imagePullPolicy": "IfNotPresent", "pluginConfig": plugin::alone(subject.deployment),
    });
    if let (Value::Object(wasm), Some(sha256)) = (&mut wasm, &subject.deployment.module.sha256) {
        wasm.insert("sha256".into(), json!(sha256));
    }
    let mut spec = json!({"wasm": wasm, "match": [{"mode": if istio.place == Place::Sidecar { "CLIENT" } else { "CLIENT_AND_SERVER" }}]});
    if let Value::Object(spec) = &mut spec {
        spec.extend(selected(istio));
    }
    json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": "TrafficExtension", "metadata": metadata("berth", istio), "spec": spec})
}

/// The same aim in the words of these resources.
fn selected(istio: &Istio) -> Map<String, Value> {
    aim(istio)
        .into_iter()
        .map(|(key, value)| match value.get("labels") {
            Some(labels) if key == "workloadSelector" => ("selector".to_owned(), json!({"matchLabels": labels})),
            _ => (key, value),
        })
        .collect()
}
