//! The attributes that a tracer's spans carry of a decision: Berth's own, and those of OpenTelemetry's conventions for
//! generative AI that are known where a request is placed.

use crate::model::contract::{DECISION_STATE, Key, STATE_PREFIX};
use serde_json::{Value, json};

/// What begins the names of Berth's own attributes.
const OWN: &str = "berth.";

/// Tags for the connection manager's `tracing.custom_tags`. Those of single keys are there for the keys that the filter is
/// configured to leave; `model` and `operation` are where the model asked for stands and what is asked of it (`chat`). A
/// tag whose value is not there is left out by the proxy.
#[must_use]
pub fn custom_tags(keys: &[Key], model_header: Option<&str>, operation: Option<&str>) -> Vec<Value> {
    let state = |key: &str| format!("%FILTER_STATE({STATE_PREFIX}{key}:PLAIN)%");
    let own = |name: &str, key: &str| json!({"tag": format!("{OWN}{name}"), "value": state(key)});
    let mut tags = vec![own("decision", DECISION_STATE)];
    tags.extend(keys.iter().map(|key| own(key.as_str(), key.state())));
    let from = |header: &str| json!({"tag": "gen_ai.request.model", "request_header": {"name": header}});
    tags.extend(model_header.map(from));
    tags.extend(operation.map(|name| json!({"tag": "gen_ai.operation.name", "literal": {"value": name}})));
    // Nobody but the proxy knows where the last attempt went.
    tags.push(json!({"tag": format!("{OWN}cluster"), "value": "%UPSTREAM_CLUSTER%"}));
    tags.push(json!({"tag": format!("{OWN}attempts_made"), "value": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}));
    tags
}
