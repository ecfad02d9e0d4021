//! Listeners: the one that places requests.

use super::{extension, route, types};
use serde_json::{Value, json};

/// How often one request may come by proxies that place: a sidecar, a gateway out, a gateway in, a sidecar. What comes
/// oftener goes round: some substrate's address is a proxy's own.
pub const MOST_PASSES: u32 = 4;

/// The same where hops before are believed: more, so that who claims passes that were not is refused by the first hop, and
/// not by a next one, whose refusals the first would take for failures.
pub const MOST_PASSES_BEHIND: u32 = 2 * MOST_PASSES;

/// The name of the filter that counts passes.
pub const PASSES: &str = "berth.passes";

/// Before the placement filter: counts how often a request came by, in the header that content networks have for that
/// (RFC 8586), and refuses it when it goes round. It needs neither the module nor a call of it.
#[must_use]
pub fn passes(behind: bool) -> Value {
    let most = if behind { MOST_PASSES_BEHIND } else { MOST_PASSES };
    let counted = json!({"cdn_id": "berth", "max_allowed_occurrences": most - 1});
    extension(PASSES, types::CDN_LOOP, counted)
}

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
