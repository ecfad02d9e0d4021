//! A whole Envoy: one static file, or a small one that discovers listener and filter in others.

use super::{File, Subject};
use crate::manifest::deployment::{Deployment, Listen, Log, Tracing};
use crate::manifest::envoy::{
    address, extension,
    listener::passes,
    route::{self, Routes},
    tracing::custom_tags,
    typed, types,
};
use crate::manifest::plugin::{self, Role};
use crate::model::contract::Key;
use crate::model::metric::{labels, tag_rule};
use serde_json::{Value, json};

/// Everything in one file.
///
/// # Errors
/// What the deployment lacks for it.
pub fn whole(subject: &Subject<'_>) -> Result<Vec<File>, String> {
    let code = code(subject)?;
    let placement = plugin::filter(subject.deployment, Role::Placement, &code, subject.text_carried());
    let bootstrap = json!({
        "node": node(),
        "admin": admin(subject),
        "stats_config": stats(),
        "static_resources": {"listeners": listeners(subject, placement, &code), "clusters": clusters(subject, &code)?},
    });
    let says = "envoy -c envoy.yaml";
    Ok(vec![subject.file("envoy.yaml", "envoy", says, &[bootstrap])])
}

/// Listeners and the placement filter in files that are watched: a new policy is a new `placement.yaml`, moved over the
/// old one. A refused one changes nothing.
///
/// # Errors
/// What the deployment lacks for it.
pub fn discovered(subject: &Subject<'_>) -> Result<Vec<File>, String> {
    let (code, target) = (code(subject)?, "envoy-discovered");
    let placement = plugin::discovered(Role::Placement, &watched(subject, "placement.yaml"));
    let listeners: Vec<Value> =
        listeners(subject, placement, &code).into_iter().map(|l| typed(types::LISTENER, l)).collect();
    let filter = plugin::filter(subject.deployment, Role::Placement, &code, subject.text_carried());
    let bootstrap = json!({
        "node": node(),
        "admin": admin(subject),
        "stats_config": stats(),
        "dynamic_resources": {"lds_config": watched(subject, "listeners.yaml")},
        "static_resources": {"clusters": clusters(subject, &code)?},
    });
    let folder = &subject.deployment.config_dir;
    let says = format!("envoy -c envoy.yaml, with all three files in {folder}");
    Ok(vec![
        subject.file("envoy.yaml", target, &says, &[bootstrap]),
        subject.file(
            "listeners.yaml",
            target,
            "Watched by Envoy; move a new one over it.",
            &[json!({"resources": listeners})],
        ),
        subject.file(
            "placement.yaml",
            target,
            "Watched by Envoy; move a new one over it. This is where the policy is.",
            &[json!({"resources": [typed(types::EXTENSION, filter)]})],
        ),
    ])
}

fn watched(subject: &Subject<'_>, file: &str) -> Value {
    let folder = &subject.deployment.config_dir;
    let path = json!({"path": format!("{folder}/{file}"), "watched_directory": {"path": folder}});
    json!({"resource_api_version": "V3", "path_config_source": path})
}

fn code(subject: &Subject<'_>) -> Result<Value, String> {
    subject.deployment.module.local().ok_or_else(|| String::from("module.file: missing, expected the module's file"))
}

/// Whoever reads secrets from files says who it is.
fn node() -> Value {
    json!({"id": "berth", "cluster": "berth"})
}

fn admin(subject: &Subject<'_>) -> Value {
    let (host, port) = &subject.deployment.admin;
    json!({"address": address(host, *port)})
}

fn stats() -> Value {
    let rule = |label: &str| json!({"tag_name": label, "regex": tag_rule(label)});
    json!({"stats_tags": labels().into_iter().map(rule).collect::<Vec<_>>()})
}

fn clusters(subject: &Subject<'_>, code: &Value) -> Result<Vec<Value>, String> {
    let deployment = subject.deployment;
    let watches = deployment.telemetry.is_some() && deployment.observe;
    let inside: Vec<Value> = watches
        .then(|| plugin::filter(deployment, Role::Observing, code, subject.text_carried()))
        .into_iter()
        .collect();
    let endpoints = subject.endpoints(&inside);
    let mut clusters: Vec<Value> = endpoints.iter().map(|(name, endpoint)| endpoint.render(name)).collect();
    clusters.extend(subject.lanes(&endpoints)?.into_iter().map(|(_, lane)| lane));
    clusters.extend(deployment.helpers.iter().map(|(name, endpoint)| endpoint.render(name)));
    Ok(clusters)
}

fn listeners(subject: &Subject<'_>, placement: Value, code: &Value) -> Vec<Value> {
    let mut listeners = vec![ingress(subject, placement)];
    if subject.deployment.telemetry.is_some() {
        listeners.push(desk(subject, code));
    }
    listeners
}

/// Where requests come in.
fn ingress(subject: &Subject<'_>, placement: Value) -> Value {
    let deployment = subject.deployment;
    let routes = Routes {
        way: deployment.way,
        clusters: subject.clusters(),
        otherwise: deployment.otherwise.as_deref().and_then(|name| subject.cluster(name)),
        keep_bytes: deployment.keep_bytes,
        mirror: deployment.placement.get("mirror") == Some(&Value::Bool(true)),
    };
    let mut routes = routes.render();
    let hops = plugin::believes_hops(deployment);
    if let Value::Object(routes) = &mut routes {
        routes.insert("internal_only_headers".into(), json!(route::internal_only(hops)));
        if let Some(told) = plugin::told(deployment) {
            routes.insert("response_headers_to_add".into(), told);
        }
    }
    let mut router = json!({});
    let mut manager = json!({
        "stat_prefix": "ingress", "codec_type": "AUTO",
        // The policy looks at the path that the substrate will get, not at another spelling of it.
        "normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "early_header_mutation_extensions": route::early_removal(hops),
        "route_config": routes,
    });
    if let (Some((requests, attempts)), Value::Object(manager), Value::Object(router)) =
        (logs(deployment.log), &mut manager, &mut router)
    {
        manager.insert("access_log".into(), json!([requests]));
        router.insert("upstream_log".into(), json!([attempts]));
    }
    if let (Some(traced), Value::Object(manager)) = (traced(deployment), &mut manager) {
        manager.insert("tracing".into(), traced);
    }
    let router = extension("envoy.filters.http.router", types::ROUTER, router);
    if let Value::Object(manager) = &mut manager {
        if deployment.listen.websocket {
            manager.insert("upgrade_configs".into(), json!([{"upgrade_type": "websocket"}]));
            // Over HTTP/2 a socket is a CONNECT that names its protocol (RFC 8441).
            manager.insert("http2_protocol_options".into(), json!({"allow_connect": true}));
        }
        if let Some(ms) = deployment.listen.request_ms {
            manager.insert("request_timeout".into(), json!(format!("{}.{:03}s", ms / 1_000, ms % 1_000)));
        }
        manager.insert("http_filters".into(), json!([passes(hops), placement, router]));
        // Without its own name for its side, nothing that clients say of other hops is believed.
        manager.insert("use_remote_address".into(), json!(true));
    }
    listener("ingress", &deployment.listen.address, deployment.listen.port, manager, tls(&deployment.listen))
}

/// How long a writer may take for a report: one that stalls is not waited for.
pub(super) const DESK_TIMEOUT: &str = "10s";

/// Where the telemetry role answers.
pub(super) fn desk(subject: &Subject<'_>, code: &Value) -> Value {
    let (host, port) = &subject.deployment.desk;
    let filter = plugin::filter(subject.deployment, Role::Telemetry, code, subject.text_carried());
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}});
    let manager = json!({
        "stat_prefix": "telemetry", "codec_type": "AUTO", "request_timeout": DESK_TIMEOUT,
        "http_filters": [filter, extension("envoy.filters.http.router", types::ROUTER, json!({}))],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    });
    listener("telemetry", host, *port, manager, None)
}

fn listener(name: &str, host: &str, port: u16, manager: Value, tls: Option<Value>) -> Value {
    let manager = extension("envoy.filters.network.http_connection_manager", types::HCM, manager);
    let mut chain = json!({"filters": [manager]});
    if let (Some(tls), Value::Object(chain)) = (tls, &mut chain) {
        chain.insert("transport_socket".into(), tls);
    }
    json!({"name": name, "address": address(host, port), "filter_chains": [chain]})
}

fn tls(listen: &Listen) -> Option<Value> {
    let (certificate, key) = listen.own.as_ref()?;
    let own = json!([{"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}]);
    let mut common = json!({"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": own});
    if let (Some(ca), Value::Object(common)) = (&listen.client_ca, &mut common) {
        common.insert("validation_context".into(), json!({"trusted_ca": {"filename": ca}}));
    }
    let context = json!({"require_client_certificate": listen.client_ca.is_some(), "common_tls_context": common});
    Some(extension("envoy.transport_sockets.tls", types::DOWNSTREAM_TLS, context))
}

/// The tracer, and what its spans carry: the keys that the plugin leaves, and the model where a header names it.
fn traced(deployment: &Deployment) -> Option<Value> {
    let Tracing { cluster, path, service, operation } = deployment.tracing.as_ref()?;
    let asked = deployment.placement.get("keys").and_then(Value::as_array);
    let keys: Vec<Key> = asked.into_iter().flatten().filter_map(|key| known_key(key.as_str()?)).collect();
    let model = deployment.placement.get("facts").and_then(|facts| facts.get("model")?.get("header")?.as_str());
    let to = json!({"uri": format!("http://{cluster}{path}"), "cluster": cluster, "timeout": "1s"});
    let tracer = json!({"http_service": {"http_uri": to}, "service_name": service});
    Some(json!({
        "custom_tags": custom_tags(&keys, model, operation.as_deref()),
        "provider": extension("envoy.tracers.opentelemetry", types::OPENTELEMETRY, tracer),
    }))
}

fn known_key(name: &str) -> Option<Key> {
    Key::ALL.into_iter().find(|key| key.as_str() == name)
}

/// The shipped formats, as lines of standard output: requests, and attempts.
fn logs(log: Log) -> Option<(Value, Value)> {
    let line =
        |format: Value| extension("envoy.access_loggers.stdout", types::STDOUT_LOG, json!({"log_format": format}));
    let json = |shipped: &str| json!({"json_format": serde_json::from_str::<Value>(shipped).unwrap_or_default()});
    let attempts = json(ATTEMPTS);
    match log {
        Log::Json => Some((line(json(REQUESTS)), line(attempts))),
        Log::Text => Some((line(json!({"text_format_source": {"inline_string": LINE}})), line(attempts))),
        Log::None => None,
    }
}

const REQUESTS: &str = include_str!("../../../envoy/access-log.json");
const ATTEMPTS: &str = include_str!("../../../envoy/attempt-log.json");
const LINE: &str = include_str!("../../../envoy/access-log.txt");
