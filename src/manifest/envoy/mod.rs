//! Envoy configuration around the module, as JSON values: the parts, and a whole bootstrap of them.

pub mod cluster;
pub mod listener;
pub mod matcher;
pub mod route;
pub mod tracing;

use serde_json::{Value, json};

/// Type URLs of what is rendered.
pub(crate) mod types {
    macro_rules! types {
        ($($name:ident = $path:literal;)*) => {
            $(pub(crate) const $name: &str = concat!("type.googleapis.com/", $path);)*
        };
    }
    types! {
        HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        ROUTER = "envoy.extensions.filters.http.router.v3.Router";
        HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        UPSTREAM_CODEC = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
        HEADER_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
        LUA = "envoy.extensions.filters.http.lua.v3.Lua";
        CREDENTIAL_INJECTOR = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector";
        GENERIC_CREDENTIAL = "envoy.extensions.http.injected_credentials.generic.v3.Generic";
        EARLY = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
        CDN_LOOP = "envoy.extensions.filters.http.cdn_loop.v3.CdnLoopConfig";
        WASM = "envoy.extensions.filters.http.wasm.v3.Wasm";
        OPENTELEMETRY = "envoy.config.trace.v3.OpenTelemetryConfig";
        STDOUT_LOG = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
        DOWNSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
        CLUSTER = "envoy.config.cluster.v3.Cluster";
        FILTER_CONFIG = "envoy.config.route.v3.FilterConfig";
        ROUTES = "envoy.config.route.v3.RouteConfiguration";
        LISTENER = "envoy.config.listener.v3.Listener";
        EXTENSION = "envoy.config.core.v3.TypedExtensionConfig";
        STRING = "google.protobuf.StringValue";
        STRUCT = "google.protobuf.Struct";
        TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
        COMPOSITE = "envoy.extensions.clusters.composite.v3.ClusterConfig";
        MATCHER = "envoy.extensions.router.cluster_specifiers.matcher.v3.MatcherClusterSpecifier";
        CLUSTER_ACTION = "envoy.extensions.router.cluster_specifiers.matcher.v3.ClusterAction";
        HEADER_INPUT = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput";
        STATE_INPUT = "envoy.extensions.matching.common_inputs.network.v3.FilterStateInput";
    }
}

/// An address.
#[must_use]
pub fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}

/// A typed extension with its name.
pub(crate) fn extension(name: &str, url: &str, fields: Value) -> Value {
    json!({"name": name, "typed_config": typed(url, fields)})
}

/// A typed configuration: the type first, then its fields.
pub(crate) fn typed(url: &str, fields: Value) -> Value {
    let mut config = json!({"@type": url});
    if let (Value::Object(config), Value::Object(fields)) = (&mut config, fields) {
        config.extend(fields);
    }
    config
}
