//! One cluster a substrate, with what is its own: host, protocol, name, path and key. All of it happens upstream of
//! the router's choice, for each attempt anew, so that no substrate sees what is meant for another.

use super::{address, extension, typed, types};
use crate::model::contract::{
    BUDGET_HEADER, CLUSTER_HEADER, DECISION_HEADER, METADATA, METADATA_CLUSTER, ORIGINAL_PATH_HEADER,
};
use serde_json::{Value, json};

/// Where a substrate is and how it is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Hosts with their ports.
    pub hosts: Vec<(String, u16)>,
    /// Whether the hosts are names to be resolved.
    pub by_name: bool,
    /// Whether it speaks HTTP/2.
    pub http2: bool,
    /// The host that it is asked for; what the client asked for if absent.
    pub authority: Option<String>,
    /// What its paths begin with, in place of nothing; with nothing, they are the client's again.
    pub path_prefix: Option<String>,
    /// TLS to it.
    pub tls: Option<Tls>,
    /// The key that it is shown.
    pub credential: Option<Credential>,
    /// Headers with keys that are not for it; [`separate`] fills them in.
    pub foreign_keys: Vec<String>,
    /// Filters of our own before its codec, such as the one that observes answers.
    pub filters: Vec<Value>,
    /// Whether it is a proxy with Berth in it, which is told what is left of time and attempts.
    pub next_hop: bool,
    /// Whether decisions may be sent to it. Never to a provider.
    pub sees_decisions: bool,
    /// Whether it is a member of a lane: its hosts then say whose they are, as the lane's filters see its attempts.
    pub in_lane: bool,
    /// How long a connection may take, in milliseconds, where that is not a second. The router's time for an attempt
    /// begins when it stands.
    pub connect_ms: Option<u32>,
    /// How many requests the policy lets be under way at once; the proxy's own limits are above it.
    pub concurrency: u32,
}

/// TLS to a substrate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The name it must have, asked for as SNI.
    pub sni: String,
    /// The file with the authorities that may sign for it.
    pub trusted_ca: String,
    /// Our own certificate and key, as files.
    pub own: Option<(String, String)>,
}

/// A key for a substrate, read from a file (SDS), so that it is in no configuration dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The header that carries it.
    pub header: String,
    /// The watched file with the secret.
    pub sds_file: String,
    /// The secret's name in it.
    pub secret: String,
}

/// What a proxy permits of connections and requests to a cluster by default.
const USUAL_LIMIT: u32 = 1_024;

/// Headers by which clients show keys of their own: none of them reaches a substrate that has one.
const KEYS: [&str; 5] = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"];

/// Keeps keys and paths apart: the request's headers outlive an attempt, so where one substrate is shown a key, all of them
/// have every header removed that may carry one, the client's too; and where one has a path of its own, all begin with the
/// client's.
pub fn separate(endpoints: &mut [Endpoint]) {
    if endpoints.iter().any(|e| e.path_prefix.is_some()) {
        for endpoint in &mut *endpoints {
            endpoint.path_prefix.get_or_insert_default();
        }
    }
    let mut headers: Vec<String> =
        endpoints.iter().filter_map(|e| e.credential.as_ref()).map(|c| c.header.clone()).collect();
    if headers.is_empty() {
        return;
    }
    headers.extend(KEYS.map(String::from));
    headers.sort_unstable();
    headers.dedup();
    for endpoint in endpoints {
        endpoint.foreign_keys.clone_from(&headers);
    }
}

impl Endpoint {
    /// The cluster.
    #[must_use]
    pub fn render(&self, name: &str) -> Value {
        // Routes rewrite the authority to the host's name, for each attempt anew.
        let named = self.authority.as_deref().unwrap_or_default();
        let own = self.in_lane.then(|| json!({"filter_metadata": {METADATA: {METADATA_CLUSTER: name}}}));
        let endpoint = |(host, port): &(String, u16)| {
            let mut endpoint = json!({"endpoint": {"address": address(host, *port), "hostname": named}});
            if let (Some(own), Value::Object(endpoint)) = (&own, &mut endpoint) {
                endpoint.insert("metadata".into(), own.clone());
            }
            endpoint
        };
        let endpoints: Vec<Value> = self.hosts.iter().map(endpoint).collect();
        let mut cluster = json!({
            "name": name,
            "type": if self.by_name { "STRICT_DNS" } else { "STATIC" },
            "connect_timeout": self.connect_ms.map_or_else(|| "1s".into(), |ms| format!("{}.{:03}s", ms / 1_000, ms % 1_000)),
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
            "typed_extension_protocol_options": self.options(),
            "circuit_breakers": breakers(self.limit()),
        });
        if let (Some(tls), Value::Object(cluster)) = (&self.tls, &mut cluster) {
            cluster
                .insert("transport_socket".into(), extension("envoy.transport_sockets.tls", types::TLS, tls.render()));
        }
        cluster
    }

    /// How it is spoken to, and what happens to each attempt on its way: what a cluster that somebody else makes is to be
    /// given of it.
    #[must_use]
    pub fn options(&self) -> Value {
        let protocol = if self.http2 { "http2_protocol_options" } else { "http_protocol_options" };
        let options = json!({"explicit_http_config": {protocol: {}}, "http_filters": self.upstream_filters()});
        json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(types::HTTP_OPTIONS, options)})
    }

    /// How many connections and requests the proxy permits: twice what the policy does, since between two snapshots its
    /// workers may place once more what was free; and never less than it permits by default.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        let twice = self.concurrency.saturating_mul(2);
        if twice > USUAL_LIMIT { twice } else { USUAL_LIMIT }
    }

    fn upstream_filters(&self) -> Vec<Value> {
        let mut filters = self.filters.clone();
        filters.extend(self.path_prefix.as_deref().map(prefix_paths));
        filters.extend(self.rewrites());
        filters.extend(self.credential.as_ref().map(Credential::render));
        filters.push(extension("envoy.filters.http.upstream_codec", types::UPSTREAM_CODEC, json!({})));
        filters
    }

    /// Our own headers end here, and so do keys that are meant for somebody else.
    fn rewrites(&self) -> Option<Value> {
        let mut mutations = Vec::new();
        // A copy for a shadow is made after this, by the header that names its cluster: that one stays.
        let kept = [(CLUSTER_HEADER, false), (BUDGET_HEADER, self.next_hop), (DECISION_HEADER, self.sees_decisions)];
        mutations.extend(kept.iter().filter(|(_, kept)| !kept).map(|(name, _)| json!({"remove": name})));
        mutations.extend(self.foreign_keys.iter().map(|key| json!({"remove": key})));
        let fields = json!({"mutations": {"request_mutations": mutations}});
        (!mutations.is_empty()).then(|| extension("berth.own", types::HEADER_MUTATION, fields))
    }
}

impl Tls {
    fn render(&self) -> Value {
        let own = self.own.as_ref().map(|(certificate, key)| {
            json!([{"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}])
        });
        json!({"sni": self.sni, "common_tls_context": {
            "tls_certificates": own.unwrap_or_else(|| json!([])),
            "validation_context": {
                "trusted_ca": {"filename": self.trusted_ca},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": self.sni}}],
            },
        }})
    }
}

impl Credential {
    fn render(&self) -> Value {
        // A mounted Secret is renewed by another link in its folder, which says nothing of the file.
        let folder =
            self.sds_file.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        let path = json!({"path": self.sds_file, "watched_directory": {"path": folder}});
        let secret =
            json!({"name": self.secret, "sds_config": {"resource_api_version": "V3", "path_config_source": path}});
        let generic = typed(types::GENERIC_CREDENTIAL, json!({"credential": secret, "header": self.header}));
        let credential = json!({"name": "generic", "typed_config": generic});
        extension(
            "berth.credential",
            types::CREDENTIAL_INJECTOR,
            json!({"overwrite": true, "allow_request_without_credential": false, "credential": credential}),
        )
    }
}

/// A lane: a cluster whose first attempt goes to the first of these, the second to the second. Our own headers end here.
#[must_use]
pub fn lane(name: &str, clusters: &[&str]) -> Value {
    compose(name, clusters, &Endpoint::default())
}

/// A lane over these clusters. The proxy runs the lane's filters for its attempts and never those of the inner clusters:
/// so the lane removes what any of them removes, and observes for all of them.
///
/// # Errors
/// Names the member that has a path or a key of its own: nothing would put them there.
pub fn lane_over(name: &str, members: &[(&str, &Endpoint)]) -> Result<Value, String> {
    for (member, endpoint) in members {
        let own = [
            ("key", endpoint.credential.is_some()),
            ("path", endpoint.path_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty())),
        ];
        if let Some((what, _)) = own.into_iter().find(|(_, has)| *has) {
            return Err(format!(
                "lane `{name}`: found `{member}`, which has a {what} of its own, expected substrates without: a composite cluster does not run their filters"
            ));
        }
    }
    let mut foreign_keys: Vec<String> = members.iter().flat_map(|(_, e)| e.foreign_keys.clone()).collect();
    foreign_keys.sort_unstable();
    foreign_keys.dedup();
    let common = Endpoint {
        foreign_keys,
        filters: members.first().map(|(_, e)| e.filters.clone()).unwrap_or_default(),
        next_hop: members.iter().all(|(_, e)| e.next_hop),
        sees_decisions: members.iter().all(|(_, e)| e.sees_decisions),
        concurrency: members.iter().fold(0, |all, (_, e)| all.saturating_add(e.concurrency)),
        ..Endpoint::default()
    };
    let clusters: Vec<&str> = members.iter().map(|(member, _)| *member).collect();
    Ok(compose(name, &clusters, &common))
}

fn compose(name: &str, clusters: &[&str], common: &Endpoint) -> Value {
    let clusters: Vec<Value> = clusters.iter().map(|cluster| json!({"name": cluster})).collect();
    json!({
        "name": name, "connect_timeout": "1s", "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": extension("envoy.clusters.composite", types::COMPOSITE, json!({"clusters": clusters})),
        "typed_extension_protocol_options": common.options(),
        // The router counts retries and hedges where it routes to, which is here.
        "circuit_breakers": breakers(common.limit()),
    })
}

/// The proxy counts with a limit of its own, beyond which it answers 503: so high that the policy's headroom answers before.
/// Retries are at most a fifth of what is under way, so that they never are the load.
fn breakers(limit: u32) -> Value {
    json!({"thresholds": [{
        "max_connections": limit, "max_pending_requests": limit, "max_requests": limit,
        "retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3}, "track_remaining": true,
    }]})
}

/// Puts a prefix before the path. The request's headers outlive an attempt, so each starts from the original path.
fn prefix_paths(prefix: &str) -> Value {
    let path = if prefix.is_empty() { "path".to_owned() } else { format!("\"{prefix}\" .. path") };
    let code = format!(
        r#"function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get("{ORIGINAL_PATH_HEADER}") or headers:get(":path")
  headers:replace("{ORIGINAL_PATH_HEADER}", path)
  headers:replace(":path", {path})
end
"#
    );
    extension("berth.path", types::LUA, json!({"default_source_code": {"inline_string": code}}))
}

#[cfg(test)]
mod tests {
    use super::{Credential, Endpoint, lane_over};
    use serde_json::Value;

    #[test]
    fn a_lane_is_not_made_of_substrates_that_need_what_it_cannot_give_them() {
        let plain = Endpoint::default();
        let key = Credential { header: "x-key".into(), sds_file: "key.json".into(), secret: "key".into() };
        let keyed = Endpoint { credential: Some(key), ..Endpoint::default() };
        let elsewhere = Endpoint { path_prefix: Some("/of/c".into()), ..Endpoint::default() };
        assert!(lane_over("l", &[("a", &plain), ("b", &plain)]).is_ok());
        for (member, what) in [(&keyed, "key"), (&elsewhere, "path")] {
            let said = lane_over("l", &[("a", &plain), ("b", member)]).unwrap_err();
            assert!(said.starts_with(&format!("lane `l`: found `b`, which has a {what} of its own")), "{said}");
        }
    }

    #[test]
    fn the_proxy_s_own_limits_are_above_the_policy_s_and_a_lane_s_above_all_of_its_members() {
        let with = |concurrency| Endpoint { concurrency, ..Endpoint::default() };
        let limits = |cluster: &Value| {
            let threshold = &cluster["circuit_breakers"]["thresholds"][0];
            ["max_connections", "max_pending_requests", "max_requests"].map(|name| threshold[name].as_u64().unwrap())
        };
        for (concurrency, limit) in [(0, 1_024), (512, 1_024), (513, 1_026), (4_000, 8_000), (u32::MAX, 4_294_967_295)]
        {
            assert_eq!(limits(&with(concurrency).render("a")), [limit; 3], "{concurrency}");
        }
        let lane = lane_over("l", &[("a", &with(4_000)), ("b", &with(100))]).unwrap();
        assert_eq!(limits(&lane), [8_200; 3]);
    }

    #[test]
    fn a_lane_removes_for_all_what_it_removes_for_one_and_tells_only_what_all_may_hear() {
        let hop = Endpoint { next_hop: true, sees_decisions: true, ..Endpoint::default() };
        let shy = Endpoint { foreign_keys: vec!["x-key".into()], ..Endpoint::default() };
        let lane = lane_over("l", &[("a", &hop), ("b", &shy)]).unwrap().to_string();
        for header in ["x-key", "x-placement-cluster", "x-placement-budget", "x-placement-decision"] {
            assert!(lane.contains(&format!(r#"{{"remove":"{header}"}}"#)), "{header}: {lane}");
        }
        let lane = lane_over("l", &[("a", &hop), ("b", &hop)]).unwrap().to_string();
        assert!(lane.contains("x-placement-cluster") && !lane.contains("x-placement-budget"), "{lane}");
    }
}
