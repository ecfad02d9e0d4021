//! Listeners: the one that places requests.

use super::{extension, route, types};
use serde_json::{Value, json};

/// A listener of HTTP with these filters before the router.
#[must_use]
pub fn http(name: &str, address: Value, filters: &[Value], routes: &Value, access_log: Option<Value>) -> Value {
    let mut chain = filters.to_vec();
    chain.push(extension("envoy.filters.http.router", types::ROUTER, json!({})));
    let mut manager = json!({
        "stat_prefix": name, "codec_type": "AUTO",
        "early_header_mutation_extensions": route::early_removal(false),
        "http_filters": chain, "route_config": routes,
    });
    if let (Some(log), Value::Object(manager)) = (access_log, &mut manager) {
        manager.insert("access_log".into(), json!([log]));
    }
    json!({"name": name, "address": address, "filter_chains": [{"filters": [extension("http", types::HCM, manager)]}]})
}
