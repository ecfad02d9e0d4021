//! The access logs for Istio, as Istio hands them to Envoy: labels and `accessLogFormat` as JSON, text as text, the
//! attempts' log merged into the router. There is no Istio here; what is tested is that a real Envoy takes the formats
//! and that the tool reads what they print.

use crate::account::Books;
use crate::support::bootstrap::INGRESS;
use crate::support::client::Ask;
use crate::support::eventually;
use crate::support::upstream::Script;
use berth::explain::line::Line;
use berth::policy::{canonical::canonical, yaml};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join(name)).unwrap()
}

/// The documents of the shipped file.
fn documents() -> Vec<Value> {
    let (documents, warnings) = yaml::parse_all(&shipped("istio-logs.yaml")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    documents.iter().map(|document| serde_json::from_str(&canonical(document)).unwrap()).collect()
}

/// What Istio makes of a provider's format.
fn log_format(format: &Value) -> Value {
    match (&format["labels"], &format["text"]) {
        (Value::Object(labels), Value::Null) => json!({"json_format": labels}),
        (Value::Null, Value::String(text)) => json!({"text_format_source": {"inline_string": text}}),
        other => panic!("neither labels nor text: {other:?}"),
    }
}

#[tokio::test]
async fn the_formats_for_istio_print_lines_that_the_tool_reads() {
    let [mesh, telemetry, patch] = documents().try_into().unwrap();
    let mesh = &mesh["meshConfig"];
    let providers = mesh["extensionProviders"].as_array().unwrap();
    let named = &telemetry["spec"]["accessLogging"][0]["providers"][0]["name"];
    assert!(providers.iter().any(|provider| provider["name"] == *named), "the resource names a provider");
    assert_eq!(mesh["accessLogEncoding"], "JSON");
    let whole: Value = serde_json::from_str(mesh["accessLogFormat"].as_str().unwrap()).unwrap();
    let mut formats: Vec<Value> =
        providers.iter().map(|provider| log_format(&provider["envoyFileAccessLog"]["logFormat"])).collect();
    formats.push(json!({"json_format": whole}));

    let books = Books::open_with(|bootstrap| {
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let one = http["access_log"][0].clone();
        let log = |(n, format): (usize, &Value)| {
            let mut log = one.clone();
            log["typed_config"]["path"] = format!("istio-{n}.log").into();
            log["typed_config"]["log_format"] = format.clone();
            log
        };
        http["access_log"].as_array_mut().unwrap().extend(formats.iter().enumerate().map(log));
        let value = &patch["spec"]["configPatches"][0]["patch"]["value"];
        let router = http["http_filters"].as_array_mut().unwrap().last_mut().unwrap();
        assert_eq!(router["typed_config"]["@type"], value["typed_config"]["@type"]);
        router["typed_config"]["upstream_log"] = value["typed_config"]["upstream_log"].clone();
        router["typed_config"]["upstream_log"][0]["typed_config"]["path"] = "istio-attempts.log".into();
    })
    .await;
    books.upstream("a").does(Script::overloaded(1));
    let ask = Ask::post(books.envoy.listener(INGRESS), "/v1/x", "x").header("x-tenant", "acme");
    ask.header("x-workload", "again").send().await.unwrap();

    let read = |name: String| {
        let path = books.envoy.dir().join(name);
        async move {
            eventually("the line is there", || async {
                std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
            })
            .await
        }
    };
    let mut decisions = Vec::new();
    for n in 0..formats.len() {
        let line = read(format!("istio-{n}.log")).await;
        assert_eq!(line.lines().count(), 1, "{line}");
        let output = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["log".as_ref(), books.envoy.dir().join(format!("istio-{n}.log")).as_os_str()])
            .args(["--format", "json"])
            .output()
            .unwrap();
        let sums: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&sums["decisions"], &sums["classes"]["again"]["requests"]), (&json!(1), &json!(1)), "{line}");
        let at = line.find("v=1, id=").unwrap_or_else(|| panic!("no decision in {line}"));
        let record = line[at..].split("\",\"").next().unwrap().trim_end().trim_end_matches("\"}").replace("\\\"", "\"");
        decisions.push(String::from(Line::parse(&record).unwrap().get("id").unwrap()));
    }
    assert!(decisions.iter().all(|id| *id == decisions[0]), "{decisions:?}");
    let attempts = eventually("both attempts are there", || async {
        let text = std::fs::read_to_string(books.envoy.dir().join("istio-attempts.log")).ok()?;
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    assert_eq!(attempts.iter().map(|line| &line["cluster"]).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(attempts[0]["request_id"], attempts[1]["request_id"]);
}

#[test]
fn they_are_the_formats_for_envoy() {
    let [mesh, _, patch] = documents().try_into().unwrap();
    let mesh = &mesh["meshConfig"];
    let json = |name: &str| serde_json::from_str::<Value>(&shipped(name)).unwrap();
    let providers = &mesh["extensionProviders"];
    assert_eq!(providers[0]["envoyFileAccessLog"]["logFormat"]["labels"], json("access-log.json"));
    let text = providers[1]["envoyFileAccessLog"]["logFormat"]["text"].as_str().unwrap();
    assert_eq!(text.trim_end(), shipped("access-log.txt").trim_end());
    let whole: Value = serde_json::from_str(mesh["accessLogFormat"].as_str().unwrap()).unwrap();
    assert_eq!(whole, json("access-log.json"));
    let log = &patch["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["upstream_log"][0];
    assert_eq!(log["typed_config"]["log_format"]["json_format"], json("attempt-log.json"));
}
