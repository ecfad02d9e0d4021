//! Small emulations of how Istio's control plane and Envoy Gateway apply patches, for want of either here. They know
//! the operations that are rendered and fail a test at any other.

use berth::policy::tree::{Node, Value as Tree};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const CORS: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";

const EARLY: &str = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
const INSPECTOR: &str = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
const DOWNSTREAM_TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const LUA: &str = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua";

/// A text in YAML as a value.
pub fn yaml(text: &str) -> Value {
    plain(&berth::policy::yaml::parse(text).unwrap_or_else(|e| panic!("{e:?}")).node)
}

fn plain(node: &Node) -> Value {
    match &node.value {
        Tree::Null => Value::Null,
        Tree::Bool(yes) => json!(yes),
        Tree::Number(number) if number.fract() == 0.0 => json!(*number as i64),
        Tree::Number(number) => json!(number),
        Tree::Text(text) => json!(text),
        Tree::List(items) => items.iter().map(plain).collect(),
        Tree::Map(entries) => Value::Object(entries.iter().map(|e| (e.key.clone(), plain(&e.node))).collect()),
    }
}

fn http(name: &str, routes: &Value) -> Value {
    let filters = json!([{"name": "envoy.filters.http.cors", "typed_config": {"@type": CORS}},
        {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]);
    let manager = json!({"@type": HCM, "stat_prefix": name, "codec_type": "AUTO", "http_filters": filters, "route_config": routes});
    json!({"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]})
}

fn any_port() -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}})
}

/// A sidecar as it stands before our patches: an outbound listener for port 80 with a service and the rest of the world.
pub fn sidecar() -> Value {
    let service = json!({"name": "llm.inference.svc.cluster.local:80", "domains": ["llm.inference.svc.cluster.local", "llm.inference.svc.cluster.local:80"],
        "routes": [{"name": "default", "match": {"prefix": "/"}, "route": {"cluster": "outbound|80||llm.inference.svc.cluster.local"}}]});
    let world = json!({"name": "allow_any", "domains": ["*"],
        "routes": [{"name": "allow_any", "match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "passed through"}}}]});
    let routes = json!({"name": "80", "virtual_hosts": [service, world]});
    json!({
        "node": {"id": "sidecar~10.0.0.1~chat.inference~inference.svc.cluster.local", "cluster": "chat.inference"},
        "admin": {"address": any_port()},
        "static_resources": {
            "listeners": [{"name": "0.0.0.0_80", "address": any_port(), "traffic_direction": "OUTBOUND", "filter_chains": [http("outbound_0.0.0.0_80", &routes)]}],
            "clusters": [{"name": "outbound|80||llm.inference.svc.cluster.local", "type": "STATIC", "connect_timeout": "1s",
                "load_assignment": {"cluster_name": "outbound|80||llm.inference.svc.cluster.local"}}],
        },
    })
}

/// A cluster that the mesh makes itself, in the sidecar: it speaks HTTP/1 until somebody says otherwise.
pub fn mesh_cluster(bootstrap: &mut Value, name: &str, host: SocketAddr) {
    let address = json!({"socket_address": {"address": host.ip().to_string(), "port_value": host.port()}});
    let options = json!({"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}}});
    bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }));
}

/// A gateway of the mesh as it stands before our patches: one server for all hosts.
pub fn mesh_gateway() -> Value {
    let routes = json!({"name": "http.8080", "virtual_hosts": [{"name": "*:8080", "domains": ["*"],
        "routes": [{"name": "default", "match": {"prefix": "/"}, "direct_response": {"status": 404}}]}]});
    json!({
        "node": {"id": "router~10.0.0.1~ingress.inference~inference.svc.cluster.local", "cluster": "ingress.inference"},
        "admin": {"address": any_port()},
        "static_resources": {
            "listeners": [{"name": "0.0.0.0_8080", "address": any_port(), "traffic_direction": "OUTBOUND", "filter_chains": [http("outbound_0.0.0.0_8080", &routes)]}],
            "clusters": [],
        },
    })
}

/// The same with two servers, one of which speaks TLS with what the agent hands over for a `credentialName`: here a secret
/// in a file. Each has routes of its own, and the same two hosts, whose requests go to one cluster.
pub fn mesh_gateway_with_servers(host: &str, cluster: &str, secrets: &Path) -> Value {
    let mut bootstrap = mesh_gateway();
    let server = |(routes, port): (&str, u16)| {
        let of = |host: &str| {
            json!({"name": format!("{host}:{port}"), "domains": [host],
                "routes": [{"name": "default", "match": {"prefix": "/"}, "route": {"cluster": cluster}}]})
        };
        let routes = json!({"name": routes, "virtual_hosts": [of(host), of(OTHER)]});
        json!({"name": format!("0.0.0.0_{port}"), "address": any_port(), "traffic_direction": "OUTBOUND",
            "filter_chains": [http(&format!("outbound_0.0.0.0_{port}"), &routes)]})
    };
    let mut servers = [("http.8080", 8080), ("https.8443.tls.edge.inference", 8443)].map(server);
    let secret = json!({"name": CREDENTIAL, "sds_config": {"resource_api_version": "V3", "path_config_source": {"path": secrets}}});
    let tls = json!({"common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": [secret]}});
    servers[1]["listener_filters"] = json!([extension("envoy.filters.listener.tls_inspector", INSPECTOR, json!({}))]);
    let chain = &mut servers[1]["filter_chains"][0];
    chain["filter_chain_match"] = json!({"server_names": [host, OTHER]});
    chain["transport_socket"] = extension("envoy.transport_sockets.tls", DOWNSTREAM_TLS, tls);
    bootstrap["static_resources"]["listeners"] = servers.into_iter().collect();
    bootstrap
}

/// A gateway as Envoy Gateway makes it before our patches.
pub fn gateway() -> Value {
    let routes = json!({"name": "inference/eg/http", "virtual_hosts": [{"name": "inference/eg/http/*", "domains": ["*"],
        "routes": [{"name": "httproute", "match": {"prefix": "/"}, "direct_response": {"status": 404}}]}]});
    json!({
        "node": {"id": "eg", "cluster": "inference/eg"},
        "admin": {"address": any_port()},
        "static_resources": {
            "listeners": [{"name": "inference/eg/http", "address": any_port(), "default_filter_chain": http("http", &routes)}],
            "clusters": [],
        },
    })
}

/// The same with TLS as Envoy Gateway makes it: a filter chain a host and no default one, here without the certificates. What
/// the Gateway says itself stands in it: early mutations, a filter that knows who the client is, a second virtual host.
pub fn gateway_with_its_own(other: &str) -> Value {
    let mut bootstrap = gateway();
    let listener = bootstrap["static_resources"]["listeners"][0].as_object_mut().unwrap();
    let mut chain = listener.remove("default_filter_chain").unwrap();
    let manager = &mut chain["filters"][0]["typed_config"];
    let early = json!({"mutations": [{"remove": "x-client-says"}]});
    manager["early_header_mutation_extensions"] = json!([extension("own.early", EARLY, early)]);
    let code = "function envoy_on_request(handle) handle:headers():replace('x-tenant', 'acme') end";
    let knows = extension("envoy.filters.http.lua", LUA, json!({"default_source_code": {"inline_string": code}}));
    manager["http_filters"].as_array_mut().unwrap().insert(0, knows);
    let second = json!({"name": "inference/eg/http/other", "domains": [OTHER],
        "routes": [{"name": "other", "match": {"prefix": "/"}, "route": {"cluster": other}}]});
    manager["route_config"]["virtual_hosts"].as_array_mut().unwrap().push(second);
    listener.insert("filter_chains".into(), json!([chain]));
    bootstrap
}

/// What Istio calls the secret of a server with `credentialName: edge`.
pub const CREDENTIAL: &str = "kubernetes://edge";

/// A host that is none of ours.
pub const OTHER: &str = "other.example";

fn extension(name: &str, url: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(url);
    json!({"name": name, "typed_config": fields})
}

/// Applies an `EnvoyFilter` as Istio does: each patch to what it matches, in order; messages merge, lists grow.
pub fn istio(bootstrap: &mut Value, filter: &Value, dir: &Path) {
    assert_eq!(filter["kind"], "EnvoyFilter");
    for patch in filter["spec"]["configPatches"].as_array().unwrap() {
        apply(bootstrap, patch, dir);
    }
}

fn apply(bootstrap: &mut Value, patch: &Value, dir: &Path) {
    let (operation, value) = (patch["patch"]["operation"].as_str().unwrap(), &patch["patch"]["value"]);
    let matched = &patch["match"];
    let router = bootstrap["node"]["id"].as_str().unwrap().starts_with("router~");
    let context = if router { "GATEWAY" } else { "SIDECAR_OUTBOUND" };
    assert!(matched["context"].is_null() || matched["context"] == context);
    let resources = &mut bootstrap["static_resources"];
    match (patch["applyTo"].as_str().unwrap(), operation) {
        ("HTTP_FILTER", "INSERT_BEFORE") => {
            let before = &matched["listener"]["filterChain"]["filter"]["subFilter"]["name"];
            for manager in managers(resources) {
                let filters = manager["http_filters"].as_array_mut().unwrap();
                let at = filters.iter().position(|filter| filter["name"] == *before).unwrap();
                filters.insert(at, value.clone());
            }
        }
        ("NETWORK_FILTER", "MERGE") => managers(resources).for_each(|manager| merge(manager, &value["typed_config"])),
        ("ROUTE_CONFIGURATION", "MERGE") => {
            route_configurations(resources, matched).for_each(|routes| merge(routes, value))
        }
        ("VIRTUAL_HOST", "MERGE") => virtual_hosts(resources, matched).for_each(|host| merge(host, value)),
        ("HTTP_ROUTE", "INSERT_FIRST") => {
            virtual_hosts(resources, matched)
                .for_each(|host| host["routes"].as_array_mut().unwrap().insert(0, value.clone()));
        }
        ("CLUSTER", "MERGE") => {
            let name = &matched["cluster"]["name"];
            assert!(name.is_string(), "a patch for all clusters: {patch}");
            let all = resources["clusters"].as_array_mut().unwrap().iter_mut();
            all.filter(|cluster| cluster["name"] == *name).for_each(|cluster| merge(cluster, value));
        }
        ("CLUSTER", "ADD") => resources["clusters"].as_array_mut().unwrap().push(value.clone()),
        ("LISTENER", "ADD") => resources["listeners"].as_array_mut().unwrap().push(value.clone()),
        ("BOOTSTRAP", "MERGE") => merge(bootstrap, value),
        ("EXTENSION_CONFIG", "ADD") => {
            let mut resource = value.clone();
            resource["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
            let file = dir.join(format!("{}.json", value["name"].as_str().unwrap()));
            fs::write(file, json!({"resources": [resource]}).to_string()).unwrap();
        }
        other => panic!("Istio has no such patch: {other:?}"),
    }
}

/// The digest of a file, as the agent makes it of what it fetched.
pub fn digest(file: &Path) -> String {
    Sha256::digest(fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The agent's part: extensions that were to be discovered from the control plane are files, and modules too, of which the
/// digest is checked.
///
/// # Errors
/// A module of another digest.
pub fn fetch(bootstrap: &mut Value, dir: &Path, module: &Path) -> Result<(), String> {
    for name in ["berth.placement", "berth.telemetry"] {
        let file = dir.join(format!("{name}.json"));
        let mut found: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let code = &mut found["resources"][0]["typed_config"]["config"]["vm_config"]["code"];
        assert!(code["remote"]["http_uri"]["uri"].as_str().unwrap().starts_with("https://"));
        let (wanted, is) = (code["remote"]["sha256"].as_str().unwrap(), digest(module));
        if wanted != is {
            return Err(format!("module has checksum {is}, which does not match: {wanted}"));
        }
        *code = json!({"local": {"filename": module}});
        fs::write(&file, found.to_string()).unwrap();
    }
    for manager in managers(&mut bootstrap["static_resources"]) {
        for filter in manager["http_filters"].as_array_mut().unwrap() {
            if !filter["config_discovery"].is_null() {
                let file = dir.join(format!("{}.json", filter["name"].as_str().unwrap()));
                let source = &mut filter["config_discovery"]["config_source"];
                assert!(source["ads"].is_object());
                *source = json!({"resource_api_version": "V3", "path_config_source": {"path": file}});
            }
        }
    }
    Ok(())
}

fn managers(resources: &mut Value) -> impl Iterator<Item = &mut Value> {
    resources["listeners"].as_array_mut().unwrap().iter_mut().flat_map(chains)
}

fn route_configurations<'a>(resources: &'a mut Value, matched: &Value) -> impl Iterator<Item = &'a mut Value> {
    let port = matched["routeConfiguration"]["portNumber"].as_u64().map(|port| port.to_string());
    let all = managers(resources).map(|manager| &mut manager["route_config"]);
    // A sidecar's are called by the port; a gateway's `http.PORT`, or `https.PORT.NAME.GATEWAY.NAMESPACE`.
    let of = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
        ["http", port] | ["https", port, _, _, _] => String::from(port),
        _ => String::from(name),
    };
    all.filter(move |routes| port.as_ref().is_none_or(|port| of(routes["name"].as_str().unwrap()) == *port))
}

fn virtual_hosts<'a>(resources: &'a mut Value, matched: &Value) -> impl Iterator<Item = &'a mut Value> {
    let name = matched["routeConfiguration"]["vhost"]["name"].clone();
    let all =
        route_configurations(resources, matched).flat_map(|routes| routes["virtual_hosts"].as_array_mut().unwrap());
    all.filter(move |host| name.is_null() || host["name"] == name)
}

/// Fields that are maps, whose entries replace those of the same key.
const MAPS: [&str; 2] = ["typed_extension_protocol_options", "typed_per_filter_config"];

/// As messages merge: fields of fields, lists one behind the other, the rest replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                let field = into.entry(key).or_insert(Value::Null);
                match (&mut *field, value) {
                    (Value::Object(map), Value::Object(entries)) if MAPS.contains(&key.as_str()) => {
                        map.extend(entries.clone());
                    }
                    _ => merge(field, value),
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

/// Applies an `EnvoyPatchPolicy`: `add` by RFC 6902 to the resource of that name.
pub fn envoy_gateway(bootstrap: &mut Value, policy: &Value) {
    assert_eq!(policy["kind"], "EnvoyPatchPolicy");
    for patch in policy["spec"]["jsonPatches"].as_array().unwrap() {
        let (operation, name) = (&patch["operation"], &patch["name"]);
        assert_eq!(operation["op"], "add");
        let (path, value) = (operation["path"].as_str().unwrap_or_default(), operation["value"].clone());
        let resources = &mut bootstrap["static_resources"];
        let kind = patch["type"].as_str().unwrap();
        if path.is_empty() && operation["jsonPath"].is_null() {
            let list = if kind.ends_with(".Cluster") { "clusters" } else { "listeners" };
            resources[list].as_array_mut().unwrap().push(value);
            continue;
        }
        let listener = resources["listeners"].as_array_mut().unwrap().iter_mut().find(|l| l["name"] == *name).unwrap();
        let root = if kind.ends_with(".RouteConfiguration") {
            chains(listener).map(|manager| &mut manager["route_config"]).next().unwrap()
        } else {
            listener
        };
        let paths = match operation["jsonPath"].as_str() {
            Some(expression) => located(root, expression).into_iter().map(|at| format!("{at}/{path}")).collect(),
            None => vec![path.to_owned()],
        };
        assert!(!paths.is_empty(), "found nothing: {operation}");
        for path in paths {
            put(root, path.trim_end_matches('/'), value.clone());
        }
    }
}

/// The managers of a listener's filter chains.
fn chains(listener: &mut Value) -> impl Iterator<Item = &mut Value> {
    let Value::Object(fields) = listener else { panic!("{listener}") };
    let chains =
        fields.iter_mut().filter(|(name, _)| ["default_filter_chain", "filter_chains"].contains(&name.as_str()));
    let chains = chains.flat_map(|(_, found)| match found {
        Value::Array(all) => all.iter_mut().collect::<Vec<_>>(),
        one => vec![one],
    });
    chains.map(|chain| &mut chain["filters"][0]["typed_config"])
}

/// Where the elements are that `..LIST[?(@.name=='NAME')]` finds, or the fields of theirs that follow.
fn located(root: &Value, expression: &str) -> Vec<String> {
    let (list, rest) = expression.strip_prefix("..").unwrap().split_once("[?(@.name=='").unwrap();
    let (name, field) = rest.split_once("')]").unwrap();
    let mut found = Vec::new();
    let mut rest = vec![(String::new(), root)];
    while let Some((at, value)) = rest.pop() {
        match value {
            Value::Object(fields) => rest.extend(fields.iter().map(|(key, value)| (format!("{at}/{key}"), value))),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    if at.ends_with(&format!("/{list}")) && item["name"] == name {
                        found.push(format!("{at}/{i}{}", field.replace('.', "/")));
                    }
                    rest.push((format!("{at}/{i}"), item));
                }
            }
            _ => {}
        }
    }
    found
}

/// `add` by RFC 6902, which makes what is missing on its way.
fn put(root: &mut Value, path: &str, value: Value) {
    let (parents, last) = path.rsplit_once('/').unwrap();
    let mut parent = root;
    let mut names = parents.split('/').skip(1).peekable();
    while let Some(name) = names.next() {
        let list = names.peek().copied().unwrap_or(last).parse::<usize>().is_ok();
        parent = match parent {
            Value::Array(items) => {
                items.get_mut(name.parse::<usize>().unwrap()).unwrap_or_else(|| panic!("nothing at {path}"))
            }
            Value::Object(fields) => fields.entry(name).or_insert_with(|| if list { json!([]) } else { json!({}) }),
            other => panic!("{path}: {other}"),
        };
    }
    match parent {
        Value::Array(items) => items.insert(last.parse().unwrap(), value),
        Value::Object(fields) => drop(fields.insert(last.into(), value)),
        other => panic!("{path}: {other}"),
    }
}
