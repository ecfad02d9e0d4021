//! What a tracer sees: spans sent by a real Envoy over OTLP/HTTP to a collector on loopback carry the decision.

use crate::account::Books;
use crate::attempts::at;
use crate::rendered::{self, Site};
use crate::support::bootstrap::INGRESS;
use crate::support::client::Ask;
use crate::support::envoy::Envoy;
use crate::support::eventually;
use crate::support::upstream::{Script, Upstream};
use berth::explain::line::Line;
use berth::manifest::envoy::tracing::custom_tags;
use berth::model::contract::Key;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The fields of a protobuf message by their numbers: those that hold bytes, which is all that is looked at here.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    let number = |bytes: &mut &[u8]| {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    };
    while !bytes.is_empty() {
        let key = number(&mut bytes);
        let size = match key & 7 {
            0 => {
                number(&mut bytes);
                continue;
            }
            1 => 8,
            5 => 4,
            2 => usize::try_from(number(&mut bytes)).unwrap(),
            other => panic!("wire type {other}"),
        };
        let (field, rest) = bytes.split_at(size);
        bytes = rest;
        if key & 7 == 2 {
            found.push((key >> 3, field));
        }
    }
    found
}

fn under(bytes: &[u8], path: &[u64]) -> Vec<Vec<u8>> {
    let Some((first, rest)) = path.split_first() else { return vec![bytes.to_vec()] };
    fields(bytes).into_iter().filter(|(n, _)| n == first).flat_map(|(_, field)| under(field, rest)).collect()
}

/// The text attributes of every span of an export: resource spans, scope spans, spans; attributes; key and value.
fn spans(export: &[u8]) -> Vec<BTreeMap<String, String>> {
    let text = |bytes: &[u8], path: &[u64]| under(bytes, path).pop().map(|text| String::from_utf8(text).unwrap());
    let pair = |attribute: &Vec<u8>| Some((text(attribute, &[1])?, text(attribute, &[2, 1])?));
    under(export, &[1, 2, 2]).iter().map(|span| under(span, &[9]).iter().filter_map(pair).collect()).collect()
}

/// Every attribute that is rendered with everything asked for.
fn tags() -> Vec<Value> {
    custom_tags(&Key::ALL, Some("x-model"), Some("chat"))
}

#[tokio::test]
async fn spans_that_reach_an_otlp_collector_say_what_was_decided_and_what_became_of_it() {
    let collector = Upstream::start("collector").await;
    let books = Books::open_with(|bootstrap| {
        let cluster = at(&collector, false).render("collector");
        bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let plugin = &mut http["http_filters"][0]["typed_config"]["config"]["configuration"]["value"];
        let mut read: Value = serde_json::from_str(plugin.as_str().unwrap()).unwrap();
        read["keys"] = Key::ALL.map(Key::as_str).to_vec().into();
        *plugin = read.to_string().into();
        http["tracing"] = json!({
            "random_sampling": {"value": 100}, "custom_tags": tags(),
            "provider": {"name": "otel", "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig", "service_name": "mesh",
                "http_service": {"http_uri": {"uri": "http://collector/v1/traces", "cluster": "collector", "timeout": "1s"}}}}
        });
    })
    .await;
    books.upstream("a").does(Script::overloaded(1));
    let ask = || {
        let ask = Ask::post(books.envoy.listener(INGRESS), "/v1/x", "x").header("x-workload", "again");
        ask.header("x-tenant", "acme").header("x-model", "m")
    };
    // The tracer sends spans in fives, or after five seconds.
    for _ in 0..5 {
        ask().send().await.unwrap();
    }
    let span = eventually("a span arrives", || async {
        let exports = collector.received().into_iter().filter(|r| r.path == "/v1/traces" && r.method == "POST");
        exports.flat_map(|r| spans(&r.body)).find(|span| span.contains_key("berth.decision"))
    })
    .await;
    let decision = Line::parse(&span["berth.decision"]).unwrap();
    for key in ["substrate", "class", "binding"] {
        assert_eq!(Some(span[&format!("berth.{key}")].as_str()), decision.get(key), "{key}");
    }
    assert_eq!((decision.get("class"), span["gen_ai.request.model"].as_str()), (Some("again"), "m"));
    assert_eq!(span["gen_ai.operation.name"], "chat");
    assert_eq!(span["berth.attempts"], decision.items("plan").len().to_string(), "planned");
    // Its first choice was overloaded: what became of it is another thing than what was chosen.
    assert_eq!((decision.get("substrate"), span["berth.cluster"].as_str()), (Some("a"), "b"));
    assert_eq!(span["berth.attempts_made"], "2");
}

/// The same from a deployment file, which names the collector, the model's header and the keys once.
#[tokio::test]
async fn a_rendered_envoy_sends_its_spans_where_the_deployment_says() {
    let collector = Upstream::start("collector").await;
    let more = format!(
        "tracing: {{cluster: otel, service: edge, operation: chat}}\nhelpers:\n  otel: {{hosts: ['{}']}}\n",
        collector.address
    );
    let site = Site::open(&rendered::policy(), &more).await;
    let file = site.dir.join("deployment.yaml");
    let written = std::fs::read_to_string(&file).unwrap();
    let asked = "facts: {tenant: {header: x-tenant, trusted: true}}";
    assert!(written.contains(asked));
    let asked = written.replace(
        asked,
        "facts: {tenant: {header: x-tenant, trusted: true}, model: {header: x-model}}\n  keys: [substrate]",
    );
    std::fs::write(&file, asked).unwrap();
    site.render("envoy");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    for _ in 0..5 {
        let ask = Ask::post(envoy.listener("ingress"), "/v1/chat/completions", "{}").header("x-tenant", "acme");
        ask.header("x-model", "m").send().await.unwrap();
    }
    let span = eventually("a span arrives", || async {
        let exports = collector.received().into_iter().filter(|r| r.path == "/v1/traces");
        exports.flat_map(|r| spans(&r.body)).find(|span| span.contains_key("berth.decision"))
    })
    .await;
    let decision = Line::parse(&span["berth.decision"]).unwrap();
    assert_eq!(decision.get("substrate"), span.get("berth.substrate").map(String::as_str));
    assert_eq!((span["gen_ai.request.model"].as_str(), span["gen_ai.operation.name"].as_str()), ("m", "chat"));
}

#[test]
fn the_readme_shows_the_attributes_that_are_rendered() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy/README.md")).unwrap();
    let shown: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("- {tag: ")).collect();
    for tag in tags() {
        let name = tag["tag"].as_str().unwrap();
        let line = shown.iter().find(|line| line.split(',').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not shown"));
        let value =
            tag["value"].as_str().or(tag["request_header"]["name"].as_str()).or(tag["literal"]["value"].as_str());
        assert!(line.contains(value.unwrap()), "{line}: {tag}");
    }
    assert_eq!(shown.len(), tags().len(), "no other is shown");
}
