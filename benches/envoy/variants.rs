//! What is compared: for each variant a whole bootstrap, alike but for the filter in question.

use crate::lua::{Leaves, script};
use crate::rounds::Setting;
use crate::support::bootstrap::{Carried, plugin};
use crate::world;
use berth::manifest::envoy::route::{Routes, Way};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// The name of the listener.
pub(crate) const LISTENER: &str = "bench";

/// Modules, by what is in them.
#[derive(Clone, Debug)]
pub(crate) struct Modules {
    pub(crate) full: PathBuf,
    pub(crate) placement: PathBuf,
    pub(crate) sdk: PathBuf,
    pub(crate) raw: PathBuf,
    pub(crate) floor: PathBuf,
}

/// What sits before the router.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    None,
    /// A module that does nothing.
    NoOp(PathBuf),
    /// A module that names a cluster without deciding; with all of Berth's calls, or that one alone.
    Floor(PathBuf, bool),
    /// Berth's placement role in this module, with this besides the policy.
    Berth(PathBuf, Value),
    Lua(Leaves),
    ExtProc,
}

/// One way to have requests placed.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) size: usize,
    pub(crate) filter: Filter,
    /// The module of a telemetry role beside it.
    pub(crate) telemetry: Option<PathBuf>,
    /// Bytes of the body of a proxied request. One that the proxy answers itself has none: it would not wait for it.
    pub(crate) body: usize,
    /// In which settings it is measured.
    pub(crate) settings: &'static [Setting],
}

/// What Berth does by default besides what needs no asking for: a plan that the router carries out, and the decision
/// sent up. It is sent down by the proxy itself.
pub(crate) fn by_default() -> Value {
    json!({"attach": "full", "decision_upstream": true})
}

/// As little as it can do: nothing is left behind but where the request goes, as Lua does with the bare decision.
pub(crate) fn bare() -> Value {
    json!({"accounting": false, "deadline_header": false})
}

/// The same with a deadline, and with a plan where that is how it is attached.
pub(crate) fn off(attach: &str) -> Value {
    json!({"attach": attach, "accounting": false})
}

/// All of them, in the order of the table.
pub(crate) fn all(modules: &Modules) -> Vec<Variant> {
    let variant = |id, label, filter| Variant::plain(id, label, 6, filter);
    let berth = |more: Value| Filter::Berth(modules.placement.clone(), more);
    let body = Filter::Berth(
        modules.full.clone(),
        json!({"attach": "full", "decision_upstream": true, "body": {"headers_stop": true}}),
    );
    let sized = |id, label, size, filter| Variant { size, ..variant(id, label, filter) };
    let hop = |v: Variant| Variant { settings: &[Setting::NoHop, Setting::Proxied], ..v };
    let large = |v: Variant| Variant { body: 2_048, settings: &[Setting::Proxied], ..v };
    vec![
        hop(variant("none", "no filter", Filter::None)),
        variant("raw", "wasm no-op, bare ABI", Filter::NoOp(modules.raw.clone())),
        variant("floor", "wasm, header map and cluster header, bare ABI", Filter::Floor(modules.floor.clone(), false)),
        variant(
            "floor-full",
            "wasm, the calls of Berth by default, bare ABI",
            Filter::Floor(modules.floor.clone(), true),
        ),
        hop(variant("sdk", "wasm no-op, SDK", Filter::NoOp(modules.sdk.clone()))),
        variant("passthrough", "Berth, reading headers only", berth(json!({"mode": "passthrough"}))),
        variant("shadow", "Berth, deciding and recording only", berth(json!({"mode": "shadow", "sample": 0}))),
        hop(variant("bare", "Berth, the cluster header only", berth(bare()))),
        variant("off-simple", "Berth, accounting off, simple", berth(off("simple"))),
        variant("off-full", "Berth, accounting off, full", berth(off("full"))),
        hop(variant("default", "Berth by default", berth(by_default()))),
        Variant {
            telemetry: Some(modules.full.clone()),
            ..variant("live", "Berth by default, live state", berth(by_default()))
        },
        hop(variant("lua-bare", "Lua, bare decision", Filter::Lua(Leaves::Cluster))),
        hop(variant("lua-equal", "Lua, equal outputs", Filter::Lua(Leaves::Equal))),
        hop(variant("ext-proc", "ext_proc, Rust server", Filter::ExtProc)),
        sized("default-64", "Berth by default, 64", 64, berth(by_default())),
        sized("lua-64", "Lua, equal outputs, 64", 64, Filter::Lua(Leaves::Equal)),
        sized("default-512", "Berth by default, 512", 512, berth(by_default())),
        sized("lua-512", "Lua, equal outputs, 512", 512, Filter::Lua(Leaves::Equal)),
        sized("default-4096", "Berth by default, 4,096", 4_096, berth(by_default())),
        large(variant("none-2k", "no filter, 2 KB body", Filter::None)),
        large(variant("body-2k", "Berth by default, body mode, 2 KB", body)),
    ]
}

impl Variant {
    /// One that is measured without a hop only.
    pub(crate) const fn plain(id: &'static str, label: &'static str, size: usize, filter: Filter) -> Self {
        Self { id, label, size, filter, telemetry: None, body: 400, settings: &[Setting::NoHop] }
    }

    /// What it is compared with: the same request without a filter.
    pub(crate) const fn base(&self) -> &'static str {
        if self.body > 400 { "none-2k" } else { "none" }
    }

    /// Whether the client names the cluster, because nobody else does.
    pub(crate) const fn client_names(&self) -> bool {
        matches!(self.filter, Filter::None | Filter::NoOp(_))
    }

    fn way(&self) -> Way {
        let full = match &self.filter {
            Filter::Berth(_, more) => more["attach"] == "full",
            Filter::Lua(leaves) => *leaves == Leaves::Equal,
            Filter::ExtProc => true,
            Filter::Floor(_, all) => *all,
            Filter::None | Filter::NoOp(_) => false,
        };
        if full { Way::Full } else { Way::Simple }
    }

    /// Whether requests go where they were placed.
    pub(crate) fn places(&self) -> bool {
        !matches!(&self.filter, Filter::Berth(_, more) if more["mode"].is_string())
    }

    /// The filter before the router.
    fn chain(&self) -> Option<Value> {
        Some(match &self.filter {
            Filter::None => return None,
            Filter::NoOp(module) | Filter::Floor(module, false) => {
                json!({"name": "noop", "typed_config": plugin(module, "noop", &json!({}), Carried::Text)})
            }
            Filter::Floor(module, true) => {
                json!({"name": "noop", "typed_config": plugin(module, "noop", &json!({"all": true}), Carried::Text)})
            }
            Filter::Berth(module, more) => {
                let configuration = world::placement(self.size, more);
                let mut typed = plugin(module, "placement", &configuration, Carried::Text);
                typed["config"]["allow_on_headers_stop_iteration"] = json!(!more["body"].is_null());
                json!({"name": "berth.placement", "typed_config": typed})
            }
            Filter::Lua(leaves) => {
                json!({"name": "lua", "typed_config": {"@type": format!("{TYPES}.filters.http.lua.v3.Lua"),
                "default_source_code": {"inline_string": script(self.size, *leaves)}}})
            }
            Filter::ExtProc => json!({"name": "ext_proc", "typed_config": {
                "@type": format!("{TYPES}.filters.http.ext_proc.v3.ExternalProcessor"),
                "grpc_service": {"envoy_grpc": {"cluster_name": "ext_proc"}, "timeout": "5s"}, "message_timeout": "5s",
                "metadata_options": {"receiving_namespaces": {"untyped": ["placement"]}},
                "processing_mode": {"request_header_mode": "SEND", "response_header_mode": "SKIP"}}}),
        })
    }

    /// How the proxy formats the decision into the answer.
    fn decision(&self) -> Option<&'static str> {
        match &self.filter {
            Filter::Floor(_, true) => Some("%FILTER_STATE(wasm.placement:PLAIN)%"),
            Filter::Berth(_, more) if more["decision_upstream"] == true => Some("%FILTER_STATE(wasm.placement:PLAIN)%"),
            Filter::Lua(Leaves::Equal) => Some("%DYNAMIC_METADATA(placement:left:decision)%"),
            Filter::ExtProc => Some("%DYNAMIC_METADATA(placement:decision)%"),
            _ => None,
        }
    }

    fn routes(&self) -> Value {
        // What cannot be chosen need not be there; in the largest world that would be all that is measured at its start.
        let all: Vec<String> = if self.size > 512 {
            world::plan(self.size).to_vec()
        } else {
            world::substrates(self.size).into_iter().map(|d| d.name).collect()
        };
        let clusters = all.iter().map(String::as_str).collect();
        let mut config =
            Routes { way: self.way(), clusters, otherwise: None, keep_bytes: 1 << 20, mirror: false }.render();
        let direct = json!({"match": {"prefix": "/direct"}, "direct_response": {"status": 200}});
        config["virtual_hosts"][0]["routes"].as_array_mut().unwrap().insert(0, direct);
        if let Some(format) = self.decision() {
            config["response_headers_to_add"] = json!([{"header": {"key": "x-placement-decision", "value": format}}]);
        }
        config
    }

    /// The whole bootstrap.
    pub(crate) fn bootstrap(&self, upstream: SocketAddr, ext_proc: Option<SocketAddr>) -> Value {
        let mut filters: Vec<Value> = self.chain().into_iter().collect();
        filters.push(
            json!({"name": "router", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}}),
        );
        let mut listeners = vec![listener(LISTENER, &filters, &self.routes())];
        if let Some(module) = &self.telemetry {
            listeners.push(telemetry(module, &world::telemetry(self.size, 1_000)));
        }
        let mut clusters: Vec<Value> =
            world::plan(self.size).iter().map(|name| cluster(name, upstream, false)).collect();
        clusters.extend(ext_proc.map(|address| cluster("ext_proc", address, true)));
        json!({"admin": {"address": address(None)}, "node": {"id": "bench", "cluster": "bench"},
            "static_resources": {"listeners": listeners, "clusters": clusters}})
    }
}

/// The telemetry role on a listener of its own.
pub(crate) fn telemetry(module: &Path, configuration: &Value) -> Value {
    let filter =
        json!({"name": "berth.telemetry", "typed_config": plugin(module, "telemetry", configuration, Carried::Text)});
    let router = json!({"name": "router", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}});
    let routes = json!({"virtual_hosts": [{"name": "none", "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}]}]});
    listener("telemetry", &[filter, router], &routes)
}

fn listener(name: &str, filters: &[Value], routes: &Value) -> Value {
    json!({"name": name, "address": address(None), "filter_chains": [{"filters": [{"name": "http", "typed_config": {
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name, "http_filters": filters, "route_config": routes}}]}]})
}

fn cluster(name: &str, to: SocketAddr, http2: bool) -> Value {
    let protocol = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
    json!({"name": name, "type": "STATIC", "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(Some(to))}}]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"), "explicit_http_config": {protocol: {}}}}})
}

fn address(at: Option<SocketAddr>) -> Value {
    let at = at.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}
