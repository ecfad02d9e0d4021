//! The route's choice of cluster in the full attachment: which attempt is it, and which cluster has the plan for it?
//!
//! The first attempt obeys the cluster header, later ones the filter state. Only the policy's clusters can be chosen,
//! and a retry for which there is no plan has no cluster: it fails rather than go where nobody placed it.

use super::{extension, typed, types};
use crate::model::contract::{ATTEMPT_HEADER, CLUSTER_HEADER, LATER_STATE, STATE_PREFIX};
use serde_json::{Map, Value, json};

/// The specifier over these clusters.
#[must_use]
pub fn specifier(name: &str, clusters: &[&str]) -> Value {
    // At a retry the router's count still holds the number of the attempt before: absent is the first attempt, "1"
    // the first retry.
    let later: Map<String, Value> = LATER_STATE
        .iter()
        .zip(1..)
        .map(|(key, before)| (before.to_string(), json!({"matcher": tree(&state(key), clusters)})))
        .collect();
    let matcher = json!({
        "matcher_tree": {"input": header(ATTEMPT_HEADER), "exact_match_map": {"map": later}},
        "on_no_match": {"matcher": tree(&header(CLUSTER_HEADER), clusters)},
    });
    json!({"extension": extension(name, types::MATCHER, json!({"cluster_matcher": matcher}))})
}

fn tree(input: &Value, clusters: &[&str]) -> Value {
    let map: Map<String, Value> = clusters.iter().map(|cluster| ((*cluster).to_string(), choose(cluster))).collect();
    json!({"matcher_tree": {"input": input, "exact_match_map": {"map": map}}})
}

fn choose(cluster: &str) -> Value {
    json!({"action": {"name": cluster, "typed_config": typed(types::CLUSTER_ACTION, json!({"cluster": cluster}))}})
}

fn header(name: &str) -> Value {
    extension("header", types::HEADER_INPUT, json!({"header_name": name}))
}

fn state(key: &str) -> Value {
    extension("state", types::STATE_INPUT, json!({"key": format!("{STATE_PREFIX}{key}")}))
}
