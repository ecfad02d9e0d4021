//! Routes for both ways to attach, and the virtual host around them.

use super::matcher;
use crate::model::contract::{
    ATTEMPT_HEADER, BUDGET_HEADER, CLUSTER_HEADER, ORIGINAL_PATH_HEADER, OWN, OWN_HEADERS, SHADOW_HEADER,
};
use serde_json::{Value, json};

/// The name of the specifier that all routes share.
const SPECIFIER: &str = "berth";
/// What is tried again whatever the class: nothing was done there, or the substrate says that it did nothing.
const NOTHING_DONE: &str = "connect-failure,refused-stream,retriable-status-codes,resource-exhausted,unavailable";
const OVERLOADED: [u16; 2] = [429, 503];

/// How plans reach the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Only their first choice does.
    Simple,
    /// The route looks each attempt up.
    Full,
    /// The cluster header names a list of clusters.
    Lanes,
}

/// How a listener's routes carry decisions out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes<'a> {
    /// How plans reach the router.
    pub way: Way,
    /// The clusters that may be chosen: the policy's.
    pub clusters: Vec<&'a str>,
    /// Where requests go that nobody placed; refused without one.
    pub otherwise: Option<&'a str>,
    /// How much of a request's body is kept for another attempt.
    pub keep_bytes: u32,
    /// Whether the filter may have requests copied to the cluster that it would have chosen.
    pub mirror: bool,
}

impl Routes<'_> {
    /// The route configuration.
    #[must_use]
    pub fn render(&self) -> Value {
        let placed = json!({"prefix": "/", "headers": [{"name": CLUSTER_HEADER, "present_match": true}]});
        let mut first = json!({"match": placed, "route": self.placed(), "response_headers_to_remove": OWN});
        let retries = self.way != Way::Simple;
        if let (true, Value::Object(first)) = (retries, &mut first) {
            first.insert("request_body_buffer_limit".into(), json!(self.keep_bytes));
        }
        let mut config = json!({"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "include_request_attempt_count": retries,
            "routes": [first, self.unplaced()],
        }]});
        if let (Way::Full, Value::Object(config)) = (self.way, &mut config) {
            config.insert("cluster_specifier_plugins".into(), json!([matcher::specifier(SPECIFIER, &self.clusters)]));
        }
        config
    }

    fn placed(&self) -> Value {
        // The filter sets how many, how long, and what else for each request.
        let mut retry = json!({
            "retry_on": NOTHING_DONE, "retriable_status_codes": OVERLOADED, "num_retries": 0,
            // Another substrate need not be waited for: only long enough not to synchronise.
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
        });
        match self.way {
            Way::Simple => json!({"cluster_header": CLUSTER_HEADER, "auto_host_rewrite": true}),
            Way::Lanes => json!({"cluster_header": CLUSTER_HEADER, "auto_host_rewrite": true, "retry_policy": retry}),
            Way::Full => {
                if let Value::Object(retry) = &mut retry {
                    retry.insert("refresh_cluster_on_retry".into(), json!(true));
                }
                json!({"cluster_specifier_plugin": SPECIFIER, "auto_host_rewrite": true, "retry_policy": retry})
            }
        }
    }

    /// Requests that nobody placed: passthrough, shadow, a filter that is reloading.
    fn unplaced(&self) -> Value {
        let matched = json!({"prefix": "/"});
        let Some(cluster) = self.otherwise else {
            let body = json!({"inline_string": "no decision was made for this request\n"});
            return json!({"match": matched, "direct_response": {"status": 503, "body": body}});
        };
        // As long as it takes: streams go this way too.
        let mut route = json!({"cluster": cluster, "timeout": "0s", "auto_host_rewrite": true});
        if let (true, Value::Object(route)) = (self.mirror, &mut route) {
            route.insert("request_mirror_policies".into(), json!([{"cluster_header": SHADOW_HEADER}]));
        }
        json!({"match": matched, "route": route, "response_headers_to_remove": OWN})
    }
}

/// Our own headers that come from nobody outside; a hop's budget may, where the filter is to judge whose it is.
#[must_use]
pub fn internal_only(from_hops: bool) -> Vec<&'static str> {
    OWN.into_iter().filter(|name| !from_hops || *name != BUDGET_HEADER).collect()
}

/// Removes what clients must not send, before any route is looked at: safety does not need the filter for it. A hop's
/// budget stays where the filter is to judge whose it is.
#[must_use]
pub fn early_removal(from_hops: bool) -> Value {
    let own = if from_hops {
        let names = internal_only(true).into_iter().chain([ATTEMPT_HEADER, ORIGINAL_PATH_HEADER]);
        names.map(|name| json!({"remove": name})).collect()
    } else {
        let prefix = json!({"remove_on_match": {"key_matcher": {"prefix": OWN_HEADERS}}});
        vec![prefix, json!({"remove": ATTEMPT_HEADER}), json!({"remove": ORIGINAL_PATH_HEADER})]
    };
    json!([super::extension("berth", super::types::EARLY, json!({"mutations": own}))])
}
