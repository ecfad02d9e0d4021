//! The shorter resources for the filter alone.

use super::super::Subject;
use super::{aim, metadata};
use crate::manifest::deployment::{Istio, Place};
use crate::manifest::plugin;
use serde_json::{Map, Value, json};

/// What both shorter resources say alike.
fn wasm(subject: &Subject<'_>, (url, sha256): (&str, &str)) -> Value {
    json!({
        "url": url, "sha256": sha256, "pluginName": "placement", "failStrategy": "FAIL_RELOAD",
        "imagePullPolicy": "IfNotPresent", "pluginConfig": plugin::alone(subject.deployment),
    })
}

fn matched(istio: &Istio) -> Value {
    json!([{"mode": if istio.place == Place::Sidecar { "CLIENT" } else { "CLIENT_AND_SERVER" }}])
}

fn object(kind: &str, istio: &Istio, mut spec: Value) -> Value {
    if let Value::Object(spec) = &mut spec {
        spec.insert("match".into(), matched(istio));
        spec.extend(selected(istio));
    }
    json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": kind, "metadata": metadata("berth", istio), "spec": spec})
}

pub(super) fn wasm_plugin(subject: &Subject<'_>, istio: &Istio, fetched: (&str, &str)) -> Value {
    object("WasmPlugin", istio, wasm(subject, fetched))
}

pub(super) fn traffic_extension(subject: &Subject<'_>, istio: &Istio, fetched: (&str, &str)) -> Value {
    object("TrafficExtension", istio, json!({"wasm": wasm(subject, fetched)}))
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
