//! Envoy bootstraps for tests and the demo: a listener with the placement role, one with the telemetry role beside
//! it, and one cluster a substrate.

use berth::manifest::envoy::cluster::{self, Endpoint};
use berth::manifest::envoy::route::{self, Routes, Way};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const UPSTREAM_CODEC: &str = "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
const HTTP_OPTIONS: &str = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const FILE_LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
const EARLY: &str = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";

/// The name of the main listener.
pub const INGRESS: &str = "ingress";

/// A bootstrap being put together.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    clusters: Vec<Value>,
    filters: Vec<Value>,
    routes: Vec<Value>,
    rendered: Option<Value>,
    tls: Option<Value>,
    listeners: Vec<Value>,
    early: bool,
}

/// How a plugin configuration reaches Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// As a string: the filter gets the text as it is.
    Text,
    /// As a protobuf Struct: every number has been a double.
    Struct,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            clusters: Vec::new(),
            filters: Vec::new(),
            routes: simple_routes(None),
            rendered: None,
            tls: None,
            listeners: Vec::new(),
            early: true,
        }
    }
}

impl Bootstrap {
    /// A cluster with one host, spoken to over HTTP/1.
    pub fn cluster(self, name: &str, host: SocketAddr) -> Self {
        self.cluster_over(name, host, false)
    }

    /// A cluster with one host, spoken to over HTTP/1 or HTTP/2.
    pub fn cluster_over(mut self, name: &str, host: SocketAddr, http2: bool) -> Self {
        let protocol = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
        self.clusters.push(json!({
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(host)}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS, "explicit_http_config": {protocol: {}}}}
        }));
        self
    }

    /// A filter inside every cluster that is there by now: it sees each attempt.
    pub fn inside_clusters(mut self, filter: &Value) -> Self {
        for cluster in &mut self.clusters {
            cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"] = json!([filter, {"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": UPSTREAM_CODEC}}]);
        }
        self
    }

    /// The same in a bootstrap that is finished, in front of the filters that its clusters have already.
    pub fn watch_in(bootstrap: &mut Value, filter: &Value) {
        for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().into_iter().flatten() {
            let options = &mut cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
            let codec = json!({"name": "envoy.filters.http.upstream_codec", "typed_config": {"@type": UPSTREAM_CODEC}});
            let had = options["http_filters"].as_array().cloned().unwrap_or_else(|| vec![codec]);
            options["http_filters"] = [vec![filter.clone()], had].concat().into();
        }
    }

    /// A filter in front of the router.
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// The simple attachment: the cluster header, and a second route for requests without it.
    pub fn otherwise(mut self, cluster: &str) -> Self {
        self.routes = simple_routes(Some(cluster));
        self
    }

    /// Routes as they are rendered.
    pub fn routes(mut self, way: Way, clusters: &[&str], otherwise: Option<&str>) -> Self {
        let routes = Routes { way, clusters: clusters.to_vec(), otherwise, keep_bytes: 1 << 20, mirror: true };
        self.rendered = Some(routes.render());
        self
    }

    /// A cluster that is a list of clusters.
    pub fn lane(mut self, name: &str, clusters: &[&str]) -> Self {
        self.clusters.push(cluster::lane(name, clusters));
        self
    }

    /// The same as it is rendered over substrates: its filters do for all of them what theirs would.
    pub fn lane_over(mut self, name: &str, members: &[(&str, &Endpoint)]) -> Self {
        self.clusters.push(cluster::lane_over(name, members).unwrap());
        self
    }

    /// Only clients with a certificate of this authority; what they say of hops before is left for the filter to judge.
    pub fn mutual_tls(mut self, certificate: &str, key: &str, authority: &str) -> Self {
        let context = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}],
                "validation_context": {"trusted_ca": {"filename": authority}}}
        });
        self.tls = Some(json!({"name": "envoy.transport_sockets.tls", "typed_config": context}));
        self
    }

    /// A cluster as it is rendered.
    pub fn substrate(mut self, name: &str, endpoint: &Endpoint) -> Self {
        self.clusters.push(endpoint.render(name));
        self
    }

    /// Leaves the removal of forged headers to the filter alone.
    pub fn without_early_removal(mut self) -> Self {
        self.early = false;
        self
    }

    /// The telemetry role on a listener of its own.
    pub fn telemetry(mut self, filter: Value) -> Self {
        let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}});
        self.listeners.push(listener("telemetry", &[filter], &[route], None, false));
        self
    }

    /// The finished bootstrap, with the access log in the working folder.
    pub fn build(&self) -> Value {
        let mut ingress = listener(INGRESS, &self.filters, &self.routes, Some("access.log"), self.early);
        if let Some(rendered) = &self.rendered {
            let routes = &mut ingress["filter_chains"][0]["filters"][0]["typed_config"]["route_config"];
            for (key, value) in rendered.as_object().into_iter().flatten() {
                routes[key] = value.clone();
            }
        }
        if let Some(tls) = &self.tls {
            ingress["filter_chains"][0]["transport_socket"] = tls.clone();
            let manager = &mut ingress["filter_chains"][0]["filters"][0]["typed_config"];
            manager["early_header_mutation_extensions"] = route::early_removal(true);
        }
        let mut listeners = vec![ingress];
        listeners.extend(self.listeners.iter().cloned());
        json!({
            "admin": {"address": any_port()},
            "static_resources": {"listeners": listeners, "clusters": self.clusters},
            "node": {"id": "berth-test", "cluster": "berth"}
        })
    }
}

/// Takes a listener out of a bootstrap, to be read from a watched file instead; gives the content of that file.
pub fn listener_by_lds(bootstrap: &mut Value, name: &str, file: &Path) -> Value {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    let at = listeners.iter().position(|listener| listener["name"] == name).unwrap();
    let mut listener = listeners.remove(at);
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    bootstrap["dynamic_resources"]["lds_config"] = json!({"resource_api_version": "V3",
        "path_config_source": {"path": file, "watched_directory": {"path": file.parent().unwrap()}}});
    json!({"version_info": "1", "resources": [listener]})
}

/// A wasm filter with its configuration. Both roles share a `vm_id`, and so shared data; they differ in their VM
/// configuration, and so do not share a VM.
pub fn wasm_filter(module: &Path, role: &str, configuration: &Value, carried: Carried) -> Value {
    json!({"name": format!("berth.{role}"), "typed_config": plugin(module, role, configuration, carried)})
}

/// The typed configuration of the wasm filter.
pub fn plugin(module: &Path, role: &str, configuration: &Value, carried: Carried) -> Value {
    let configuration = match carried {
        // A test's own text travels as it is, valid or not.
        Carried::Text => match configuration {
            Value::String(text) => json!({"@type": STRING, "value": text}),
            other => json!({"@type": STRING, "value": other.to_string()}),
        },
        Carried::Struct => json!({"@type": STRUCT, "value": configuration}),
    };
    json!({"@type": WASM, "config": {
        "name": format!("berth.{role}"), "root_id": role,
        "failure_policy": "FAIL_RELOAD",
        "configuration": configuration,
        "vm_config": {
            "vm_id": "berth", "runtime": "envoy.wasm.runtime.v8",
            "configuration": {"@type": STRING, "value": role},
            "code": {"local": {"filename": module}}
        }
    }})
}

/// The same filter, its configuration read from a watched file.
pub fn wasm_filter_by_ecds(role: &str, file: &Path) -> Value {
    let folder = file.parent().unwrap();
    json!({"name": format!("berth.{role}"), "config_discovery": {
        "type_urls": [WASM],
        "config_source": {"resource_api_version": "V3",
            "path_config_source": {"path": file, "watched_directory": {"path": folder}}}
    }})
}

/// The content of the watched file.
pub fn ecds_resource(module: &Path, role: &str, version: &str, configuration: &Value) -> Value {
    json!({"version_info": version, "resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": format!("berth.{role}"),
        "typed_config": plugin(module, role, configuration, Carried::Text)
    }]})
}

fn simple_routes(otherwise: Option<&str>) -> Vec<Value> {
    let has = json!([{"name": "x-placement-cluster", "present_match": true}]);
    let decided = json!({"match": {"prefix": "/", "headers": has},
        "route": {"cluster_header": "x-placement-cluster", "timeout": "15s"}});
    let undecided = match otherwise {
        Some(cluster) => json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}}),
        None => json!({"match": {"prefix": "/"},
            "direct_response": {"status": 503, "body": {"inline_string": "undecided"}}}),
    };
    vec![decided, undecided]
}

fn listener(name: &str, filters: &[Value], routes: &[Value], log: Option<&str>, early: bool) -> Value {
    let mut chain = filters.to_vec();
    chain.push(json!({"name": "router", "typed_config": {"@type": ROUTER}}));
    let mut hcm = json!({
        "@type": HCM, "stat_prefix": name, "codec_type": "AUTO",
        // Requests that say that they come from here are from inside the mesh: their proxy headers are kept.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]},
        "http_filters": chain,
        "route_config": {
            "response_headers_to_add": [{"header": {"key": "x-placement-decision",
                "value": "%FILTER_STATE(wasm.placement:PLAIN)%"}, "keep_empty_value": false}],
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]
        }
    });
    if early {
        hcm["early_header_mutation_extensions"] = json!([{"name": "strip", "typed_config": {"@type": EARLY,
            "mutations": [{"remove_on_match": {"key_matcher": {"prefix": "x-placement-"}}},
                {"remove": "x-envoy-attempt-count"}]}}]);
    }
    if let Some(path) = log {
        hcm["access_log"] = json!([{"name": "file", "typed_config": {"@type": FILE_LOG, "path": path,
            "log_format": {"json_format": {
                "status": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "flags": "%RESPONSE_FLAGS%",
                "cluster": "%UPSTREAM_CLUSTER%", "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                "path": "%REQ(:PATH)%", "ms": "%DURATION%", "id": "%REQ(X-REQUEST-ID)%",
                "decision": "%FILTER_STATE(wasm.placement:PLAIN)%"}}}}]);
    }
    json!({"name": name, "address": any_port(),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": hcm}]}]})
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

fn any_port() -> Value {
    address(SocketAddr::from(([127, 0, 0, 1], 0)))
}
