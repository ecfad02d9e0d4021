//! Finds our parts in what a proxy says of itself, wherever they stand: listeners that are static or discovered,
//! extensions, clusters, bootstrap extensions.

use crate::model::contract::CLUSTER_HEADER;
use serde_json::Value;
use std::collections::BTreeSet;

/// A use of the module.
#[derive(Clone, Debug)]
pub(super) struct Plugin<'a> {
    pub(super) name: &'a str,
    pub(super) root: &'a str,
    pub(super) vm_id: &'a str,
    pub(super) vm_configuration: Option<&'a Value>,
    pub(super) code: Option<&'a Value>,
    pub(super) failure_policy: &'a str,
    pub(super) may_wait: bool,
    pub(super) configuration: Value,
}

/// An HTTP connection manager.
#[derive(Clone, Debug)]
pub(super) struct Manager<'a> {
    pub(super) name: &'a str,
    config: &'a Value,
}

/// Every value below one, itself included. The proxy nests no deeper than its own limits.
fn every<'a>(value: &'a Value, see: &mut impl FnMut(&'a Value)) {
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        see(value);
        match value {
            Value::Array(items) => rest.extend(items.iter().rev()),
            Value::Object(fields) => rest.extend(fields.values()),
            _ => {}
        }
    }
}

/// The parts of the dump that hold; the bootstrap says most of it again.
fn parts(dump: &Value) -> impl Iterator<Item = &Value> {
    let configs = dump.get("configs").and_then(Value::as_array).into_iter().flatten();
    configs.map(|config| match config.get("bootstrap") {
        Some(bootstrap) => bootstrap.get("bootstrap_extensions").unwrap_or(&Value::Null),
        None => config,
    })
}

fn collect<'a, T>(dump: &'a Value, mut of: impl FnMut(&'a Value) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    parts(dump).for_each(|part| every(part, &mut |value| found.extend(of(value))));
    found
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn plugins(dump: &Value) -> Vec<Plugin<'_>> {
    collect(dump, |value| {
        let root = text(value, "root_id");
        let vm = value.get("vm_config")?;
        let configuration = carried(value.get("configuration")?)?;
        let ours = ["placement", "telemetry"].contains(&root) && configuration.get("role").is_some();
        ours.then(|| Plugin {
            name: text(value, "name"),
            root,
            vm_id: text(vm, "vm_id"),
            vm_configuration: vm.get("configuration"),
            code: vm.get("code"),
            failure_policy: value.get("failure_policy").and_then(Value::as_str).unwrap_or("FAIL_CLOSED"),
            may_wait: value.get("allow_on_headers_stop_iteration") == Some(&Value::Bool(true)),
            configuration,
        })
    })
}

/// A configuration, whether it came as a text or as a map.
fn carried(any: &Value) -> Option<Value> {
    match any.get("value")? {
        Value::String(text) => serde_json::from_str(text).ok(),
        map => Some(map.clone()),
    }
}

/// The names of placement filters, of those that were discovered too: a mesh names them as it likes.
pub(super) fn placing(dump: &Value) -> BTreeSet<&str> {
    let places = |value: &Value| value.pointer("/typed_config/config/root_id") == Some(&"placement".into());
    collect(dump, |value| places(value).then(|| text(value, "name"))).into_iter().collect()
}

pub(super) fn managers(dump: &Value) -> Vec<Manager<'_>> {
    collect(dump, |value| {
        let manager = text(value, "@type").ends_with(".HttpConnectionManager");
        manager.then(|| Manager { name: text(value, "stat_prefix"), config: value })
    })
}

impl Manager<'_> {
    /// Whether a placement filter is in it: one of these names.
    pub(super) fn places(&self, names: &BTreeSet<&str>) -> bool {
        let filters = self.config.get("http_filters").and_then(Value::as_array).into_iter().flatten();
        filters.into_iter().any(|filter| names.contains(text(filter, "name")))
    }

    /// Whether it removes headers that begin like this before it looks at routes, or at least the one that names a
    /// cluster.
    pub(super) fn removes_early(&self, prefix: &str) -> bool {
        let mut removes = false;
        let early = self.config.get("early_header_mutation_extensions").unwrap_or(&Value::Null);
        every(early, &mut |value| {
            removes |= value.pointer("/remove_on_match/key_matcher/prefix") == Some(&prefix.into())
                || value.get("remove") == Some(&CLUSTER_HEADER.into());
        });
        removes
    }
}

/// Every route.
pub(super) fn routes(dump: &Value) -> Vec<&Value> {
    collect(dump, |value| value.get("virtual_hosts").and_then(Value::as_array))
        .into_iter()
        .flatten()
        .filter_map(|host| host.get("routes").and_then(Value::as_array))
        .flatten()
        .collect()
}

/// The names of all clusters.
pub(super) fn clusters(dump: &Value) -> BTreeSet<&str> {
    let ours = |value: &&Value| text(value, "@type").ends_with(".ClustersConfigDump");
    let lists = parts(dump).filter(ours).flat_map(|part| {
        ["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"].map(|list| part.get(list))
    });
    let all = lists.flatten().filter_map(Value::as_array).flatten();
    all.filter_map(|entry| entry.pointer("/cluster/name").and_then(Value::as_str)).collect()
}

/// What the proxy did not take, and why.
pub(super) fn refused(dump: &Value) -> Vec<(&str, &str)> {
    collect(dump, |value| {
        let why = text(value.get("error_state")?, "details");
        let name = ["/name", "/ecds_filter/name", "/error_state/failed_configuration/name"]
            .into_iter()
            .find_map(|at| value.pointer(at).and_then(Value::as_str));
        Some((name.unwrap_or("a resource"), why))
    })
}

/// The proxy's release.
pub(super) fn release(server: &Value) -> Option<(u32, u32)> {
    let version = server.get("version")?.as_str()?.split('/').nth(1)?;
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
