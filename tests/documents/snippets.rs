//! Snippets of YAML and JSON: each is put where it says that it belongs, into a configuration that is otherwise whole, and
//! a real Envoy with the real module looks at that. What stands for something longer in them (`…`) is put in first.

use crate::blocks::{Block, of, root};
use crate::support::bootstrap::{Bootstrap, Carried, wasm_filter};
use crate::support::envoy::{validate, workdir};
use crate::support::patches::yaml;
use crate::support::policy::{placement, policy, telemetry};
use crate::support::{built, envoy};
use berth::manifest::envoy::route::{Routes, Way};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const NAMES: [&str; 3] = ["metal-fr", "onprem-de", "provider-us"];

/// A whole configuration in which snippets are tried; the telemetry role with more of these fields.
fn whole(more: &Value) -> Value {
    let mut role = telemetry(&policy());
    for (key, value) in more.as_object().into_iter().flatten() {
        role[key] = value.clone();
    }
    with(&placement(&policy()), &role)
}

fn with(placement: &Value, telemetry: &Value) -> Value {
    let module = built("berth.wasm");
    let mut bootstrap = Bootstrap::default();
    for name in NAMES.iter().chain(&["collector", "admin", "prometheus"]) {
        bootstrap = bootstrap.cluster(name, "127.0.0.1:9".parse().unwrap());
    }
    let mut role = wasm_filter(&module, "telemetry", telemetry, Carried::Text);
    role["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
    bootstrap.filter(wasm_filter(&module, "placement", placement, Carried::Text)).telemetry(role).build()
}

fn manager(bootstrap: &mut Value) -> &mut Value {
    &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The snippet with what it leaves out put in.
fn filled(block: &Block) -> String {
    let shipped = |name: &str| fs::read_to_string(root().join("envoy").join(name)).unwrap();
    let role = if block.text.contains("root_id: telemetry") { telemetry(&policy()) } else { placement(&policy()) };
    let quoted = |value: &Value| json!(value.to_string()).to_string();
    block
        .text
        .replace("\"…the JSON below…\"", &quoted(&role))
        .replace("filename: berth.wasm", &format!("filename: '{}'", built("berth.wasm").display()))
        .replace("…access-log.json…", &shipped("access-log.json").replace('\n', " "))
        .replace("…attempt-log.json…", &shipped("attempt-log.json").replace('\n', " "))
        .replace("{…}", &policy().to_string())
        .replace("…64 hexadecimal digits…", &"0a".repeat(32))
        .replace(", …}     #", "}     #")
}

/// What Envoy would look a plan up by, piece by piece as it is rendered.
fn plans(text: &str) -> String {
    let routes =
        Routes { way: Way::Full, clusters: NAMES.to_vec(), otherwise: None, keep_bytes: 1 << 20, mirror: false };
    let rendered = routes.render();
    let matcher = &rendered["cluster_specifier_plugins"][0]["extension"]["typed_config"]["cluster_matcher"];
    let map = &matcher["matcher_tree"]["exact_match_map"]["map"];
    text.replace("…by filter state wasm.placement_2…", &map["1"].to_string())
        .replace("…by wasm.placement_3…", &map["2"].to_string())
        .replace("…by header x-placement-cluster…", &matcher["on_no_match"].to_string())
}

/// The configuration in which a snippet of YAML stands where it belongs; nothing if it is not for Envoy.
fn around(block: &Block) -> Option<Value> {
    let text = filled(block);
    let key = block.text.split([':', ' ']).next().unwrap();
    let mut bootstrap = whole(&json!({}));
    let snippet = |text: &str| yaml(text);
    match key {
        "http_filters" | "early_header_mutation_extensions" | "tracing" => {
            manager(&mut bootstrap)[key] = snippet(&text)[key].clone();
        }
        "access_log" => {
            let snippet = snippet(&text);
            manager(&mut bootstrap)[key] = snippet[key].clone();
            manager(&mut bootstrap)["http_filters"][1] = snippet["http_filters"][0].clone();
        }
        "routes" => {
            manager(&mut bootstrap)["route_config"]["virtual_hosts"][0]["routes"] = snippet(&text)["routes"].clone();
        }
        "cluster_specifier_plugins" => {
            let route = &mut manager(&mut bootstrap)["route_config"];
            for (key, mut value) in snippet(&plans(&text)).as_object().unwrap().clone() {
                if key == "virtual_hosts" {
                    value[0]["domains"] = json!(["*"]);
                }
                route[&key] = value;
            }
        }
        "typed_extension_protocol_options" => {
            bootstrap["static_resources"]["clusters"][0][key] = snippet(&text)[key].clone();
        }
        "lb_endpoints" => {
            bootstrap["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0] = snippet(&text);
        }
        "-" => bootstrap["static_resources"]["listeners"][1] = snippet(&text)[0].clone(),
        "bootstrap_extensions" => {
            let mut snippet = snippet(&text);
            let role = wasm_filter(&built("berth.wasm"), "telemetry", &telemetry(&policy()), Carried::Text);
            let config = &mut snippet[key][0]["typed_config"]["config"];
            for (name, value) in role["typed_config"]["config"].as_object().unwrap() {
                if config[name].is_null() {
                    config[name] = value.clone();
                }
            }
            bootstrap[key] = snippet[key].clone();
        }
        "stats_config" => bootstrap[key] = snippet(&text)[key].clone(),
        "resources" => {
            let mut secret = snippet(&text)["resources"][0].clone();
            assert!(secret["@type"].as_str().is_some_and(|kind| kind.ends_with(".tls.v3.Secret")));
            secret.as_object_mut().unwrap().remove("@type");
            bootstrap["static_resources"]["secrets"] = json!([secret]);
        }
        "groups" => return promtool(&text),
        "berth" => return cases(&text),
        other => panic!("{}: a snippet about `{other}` is not known", block.place()),
    }
    Some(bootstrap)
}

/// Rules are Prometheus's.
fn promtool(text: &str) -> Option<Value> {
    let dir = workdir();
    fs::write(dir.join("rules.yaml"), text).unwrap();
    let found = Command::new(root().join(".ci/tools")).arg("prometheus").output().unwrap();
    let prometheus = std::path::PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    let said = Command::new(prometheus.with_file_name("promtool"))
        .args(["check", "rules"])
        .arg(dir.join("rules.yaml"))
        .output();
    let said = said.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    None
}

/// Cases hold of the policy that they are about.
fn cases(text: &str) -> Option<Value> {
    let dir = workdir();
    fs::copy(root().join("policies/sovereign-eu.yaml"), dir.join("it.yaml")).unwrap();
    fs::write(dir.join("it.cases.yaml"), text).unwrap();
    let said = Command::new(env!("CARGO_BIN_EXE_berth")).arg("test").arg(dir.join("it.yaml")).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    // One case cannot reach all of a policy; what it says is what holds.
    assert!(text.contains("1 case") && !text.contains("FAILED"), "{text}");
    None
}

/// The same for JSON, which is all about plugin configurations.
fn configured(block: &Block) -> Value {
    let text = filled(block);
    if block.text.starts_with("{\"cluster\"") {
        let source: Value = serde_json::from_str(&text).unwrap();
        return whole(&json!({"sources": [source]}));
    }
    if block.text.starts_with("{\"role\": \"telemetry\"") {
        return with(&placement(&policy()), &serde_json::from_str(&text).unwrap());
    }
    if block.text.starts_with("\"candidate\"") {
        let more: Value = serde_json::from_str(&format!("{{{text}}}")).unwrap();
        let mut candidate = policy();
        for (key, value) in more["candidate"]["policy"].as_object().unwrap().iter().filter(|(key, _)| *key != "…") {
            candidate["policy"][key] = value.clone();
        }
        candidate["policy"]["name"] = policy()["policy"]["name"].clone();
        candidate["rollout"] = more["candidate"]["rollout"].clone();
        let mut role = placement(&policy());
        (role["candidate"], role["canary"]) = (candidate, more["canary"].clone());
        return with(&role, &telemetry(&policy()));
    }
    panic!("{}: JSON about something that is not known", block.place());
}

/// Whether Envoy, with the module in it, would start with that.
fn loads(block: &Block, bootstrap: &Value) {
    let dir = workdir();
    fs::write(dir.join("envoy.json"), bootstrap.to_string()).unwrap();
    let (well, said) = validate(&dir, "envoy.json");
    assert!(well, "{}: {said}", block.place());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn envoy_takes_every_snippet_where_it_belongs() {
    let blocks = of(&["yaml", "json"]);
    assert!(blocks.len() >= 15, "{}", blocks.len());
    // Each compiles the module, which takes seconds.
    std::thread::scope(|scope| {
        for share in blocks.chunks(blocks.len().div_ceil(2)) {
            scope.spawn(move || {
                for block in share {
                    let bootstrap = if block.language == "json" { Some(configured(block)) } else { around(block) };
                    if let Some(bootstrap) = bootstrap {
                        loads(block, &bootstrap);
                    }
                }
            });
        }
    });
}

/// Otherwise the test above would show nothing.
#[test]
fn envoy_refuses_a_snippet_with_a_mistake() {
    let dir = workdir();
    let source = json!({"cluster": "prometheus", "path": "/x", "format": "nonsense"});
    fs::write(dir.join("envoy.json"), whole(&json!({"sources": [source]})).to_string()).unwrap();
    let (well, said) = validate(&dir, "envoy.json");
    assert!(!well && said.contains("format"), "{} {said}", envoy::version());
}
