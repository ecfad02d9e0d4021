//! What a fuzzer begins with: real documents of this repository, and what was kept of earlier runs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use berth::policy::canonical::canonical;
use berth::policy::yaml;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let up = if here.ends_with("tests/fuzz") { here.join("../..") } else { here.to_path_buf() };
    up.canonicalize().unwrap()
}

/// The files of a folder with this ending, in the order of their names.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.to_str().is_some_and(|p| p.ends_with(ending)));
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn hex(folder: &str, name: &str) -> Vec<u8> {
    let text: String = fs::read_to_string(root().join(folder).join(name)).unwrap().split_whitespace().collect();
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).unwrap()).collect()
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Real documents, by target.
pub(crate) fn documents(target: &str) -> Vec<Vec<u8>> {
    let policies = || files("tests/golden/policies", ".json");
    match target {
        "policy-json" => [policies(), files("tests/bad", ".json")].concat(),
        "policy-yaml" => {
            let mut all = [files("policies", ".yaml"), files("tests/bad", ".yaml")].concat();
            all.retain(|text| !text.starts_with(b"cases"));
            all
        }
        "cases" => files("policies", ".cases.yaml"),
        "scenario" => files("examples/simulate", ".yaml"),
        "deployment" => {
            let examples = ["edge", "envoy", "envoy-gateway", "grpc", "istio"];
            let read = |name| fs::read(root().join("examples").join(name).join("deployment.yaml")).unwrap();
            [examples.map(read).to_vec(), texts(&DEPLOYMENTS)].concat()
        }
        "doctor" => {
            let rendered = fs::read_to_string(root().join("examples/envoy/rendered/envoy.yaml")).unwrap();
            let rendered = canonical(&yaml::parse(&rendered).unwrap().node);
            [dump(&rendered), dump(DUMPED)].into()
        }
        "configuration" => policies()
            .into_iter()
            .flat_map(|policy| {
                let policy = String::from_utf8(policy).unwrap();
                let more = [PLACEMENT, TELEMETRY];
                more.map(|more| format!("{{\"policy\":{policy},{more}}}").into_bytes())
            })
            .chain(texts(&["{\"role\":\"telemetry\",\"observe\":true}", "{", "[]", "\n\x07role"]))
            .collect(),
        "struct" => texts(&[
            "\n\x14\n\x04role\x12\x0c\x1a\nplacement",
            "\n\x0d\n\x01n\x12\x09\x11\0\0\0\0\0\0\x45\x40",
            "\n\x0c\n\x01l\x12\x07\x32\x05\n\x03\x1a\x01a",
        ]),
        "snapshot" => vec![hex("tests/golden/snapshot", "snapshot-1.hex"), payload("snapshot-1.hex")],
        "slot" => vec![hex("tests/golden/snapshot", "slot-1.hex"), payload("slot-1.hex")],
        "snapshot-json" => files("tests/golden/snapshot", ".json"),
        "prometheus" => texts(&[PROMETHEUS]),
        "query" => texts(&[QUERY]),
        "clusters" => texts(&[CLUSTERS]),
        "report" => texts(&REPORTS),
        "answer" => texts(&ANSWERS),
        "request" => texts(&REQUESTS),
        "body" => texts(&BODIES),
        "log" => texts(&LOGS),
        _ => texts(&[""]),
    }
}

/// What a proxy says of itself that was told this.
fn dump(told: &str) -> Vec<u8> {
    format!("{{\"dump\":{{\"configs\":[{told},{CLUSTERS_DUMPED}]}},{SAID}}}").into_bytes()
}

/// What is behind the header of a frame.
fn payload(name: &str) -> Vec<u8> {
    hex("tests/golden/snapshot", name)[14..].to_vec()
}

/// What was kept of earlier runs: one input a line, escaped.
pub(crate) fn kept(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(file(target)).unwrap_or_default();
    text.lines().map(unescape).collect()
}

/// Where it is kept.
pub(crate) fn file(target: &str) -> PathBuf {
    root().join("tests/fuzz/corpus").join(format!("{target}.txt"))
}

/// Undoes `escape_ascii`.
fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = line.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'x') => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(core::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

const PLACEMENT: &str = r#""role":"placement","attach":"full","replay":true,"keys":["class"],"facts":{"tenant":{"header":"x-tenant","trusted":true}},"body":{"headers_stop":true,"prefix_bytes":4096},"hops":{"tell":true,"trust":["spiffe://mesh/sidecar"]},"features_header":"x-needs","trusted_headers":["x-workload"]"#;
const TELEMETRY: &str = r#""role":"telemetry","tick_ms":50,"sources":[{"cluster":"a","path":"/metrics","format":"vllm","substrate":"local"},{"cluster":"p","path":"/q","format":"query"}],"listener":{"headers_stop":true,"read":"anyone","writers":[{"name":"agent","token":"0123456789abcdef","reports":["*"],"rollout":true}]}"#;
const DEPLOYMENTS: [&str; 2] = [
    "berth: 1\npolicy: p.yaml\nmodule: {file: /b.wasm, image: 'oci://i/b:1@sha256:0d0c3a4be5c1f2a96b6f7d1e8a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b'}\nistio: {namespace: n, place: sidecar, host: 'llm.n.svc.cluster.local:80'}\ngateway: {name: eg, namespace: n}\nkubernetes: {namespace: n}\nplacement:\n  facts: {tenant: {header: x-tenant, trusted: true}}\nsubstrates:\n  gpu-de: {hosts: ['10.0.0.1:80']}\n  gpu-fr: {hosts: ['fr.n.svc.cluster.local:80'], http2: true}\n  provider-us: {hosts: ['api.example:443'], authority: api.example, path_prefix: /o, tls: {sni: api.example, ca: /ca}}\n",
    "berth: 1\npolicy: p.yaml\nenvoy: '1.37'\nattach: lanes\nlisten: {at: '127.0.0.1:0'}\nadmin: '127.0.0.1:0'\ndesk: '127.0.0.1:0'\notherwise: gpu-de\nmodule: {file: /b.wasm}\nplacement:\n  replay: true\n  lanes: [{cluster: eu, substrates: [gpu-de, gpu-fr]}]\n  body: {prefix_bytes: 4096}\ntelemetry:\n  sources: [{cluster: gpu-de, path: /m, format: vllm, substrate: gpu-de}]\nsubstrates:\n  gpu-de: {hosts: ['10.0.0.1:80']}\n  gpu-fr: {hosts: ['10.0.0.2:80']}\n  provider-us: {hosts: ['10.0.0.3:80'], credential: {sds_file: /s.yaml, secret: p}}\n",
];
const DUMPED: &str = r#"{"@type":"x.ListenersConfigDump","static_listeners":[{"listener":{"filters":[{"typed_config":{"@type":"x.HttpConnectionManager","stat_prefix":"in","early_header_mutation_extensions":[{"remove":"x-placement-cluster"}],"http_filters":[{"name":"p","typed_config":{"config":{"name":"p","root_id":"placement","vm_config":{"vm_id":"v","configuration":{"value":"p"},"code":{}},"configuration":{"value":{"role":"placement","attach":"full","body":{},"policy":{}}}}}},{"name":"t","typed_config":{"config":{"root_id":"telemetry","vm_config":{"vm_id":"w"},"configuration":{"value":"{\"role\":\"telemetry\",\"listener\":{}}"},"failure_policy":"FAIL_RELOAD","allow_on_headers_stop_iteration":true}}}],"route_config":{"virtual_hosts":[{"routes":[{"route":{"cluster_specifier_plugin":"b","retry_policy":{"refresh_cluster_on_retry":false}}},{"route":{"cluster_header":"x-placement-cluster"}}]}]}}}]}},{"error_state":{"details":"no such thing","failed_configuration":{"name":"l"}}}]}"#;
const CLUSTERS_DUMPED: &str = r#"{"@type":"x.ClustersConfigDump","static_clusters":[{"cluster":{"name":"gpu-de"}}],"dynamic_active_clusters":[{"cluster":{"name":"gpu-fr"}}]}"#;
const SAID: &str = r#""stats":{"stats":[{"name":"wasmcustom.berth.policy.fingerprint","value":7},{"name":"wasmcustom.berth.snapshot.epoch","value":0},{"name":"wasmcustom.berth.snapshot.age_ms","value":40000},{"name":"listener_manager.total_listeners_draining","value":1},{"histograms":{}}]},"server":{"version":"abc/1.38.2/Clean/RELEASE/BoringSSL"}"#;
const PROMETHEUS: &str = "# HELP vllm:num_requests_waiting x\n# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\",model_name=\"m \\\"q\\\"\"} 3.0\nvllm:kv_cache_usage_perc{engine=\"0\"} 4.2e-1 1790000000000\nvllm:time_to_first_token_seconds_sum 12.5\nvllm:time_to_first_token_seconds_count 40\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 87\nDCGM_FI_DEV_FB_USED 10\nDCGM_FI_DEV_FB_FREE 90\nnode_load1 NaN\nnode_memory_MemAvailable_bytes +Inf\nup 1";
const QUERY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"substrate":"metal-fr","signal":"queue_depth"},"value":[1789999999.5,"3"]},{"metric":{"substrate":"x","signal":"memory_pressure"},"value":[1,"NaN"]}]}}"#;
const CLUSTERS: &str = r#"{"cluster_statuses":[{"name":"a","host_statuses":[{"health_status":{"eds_health_status":"HEALTHY"}},{"health_status":{"failed_active_health_check":true}}]},{"name":"b\"c"}]}"#;
const REPORTS: [&str; 3] = [
    r#"{"substrate":"metal-fr","sequence":3,"signals":{"queue_depth":3,"memory_pressure":0.42,"first_token_ms":350},"attestation":{"jurisdiction":"FR","at_ms":1789999999000}}"#,
    r#"{"substrates":[{"substrate":"a","signals":{"queue_depth":{"value":1e3,"at_ms":1789999999000},"drift":-0.5}},{"substrate":"b"}]}"#,
    r#"{"signals":{"memory_pressure":7,"nonsense":1,"queue_depth":"3"},"at_ms":1}"#,
];
const ANSWERS: [&str; 4] = [
    "TEXT named_metrics.queue_depth=3, cpu_utilization=0.4, mem_utilization=1e-2",
    r#"JSON {"cpu_utilization":0.4,"named_metrics":{"queue_depth":3},"rps_fractional":7}"#,
    ":status:429\nretry-after:7\nx-ratelimit-remaining-requests:0\nx-ratelimit-reset-requests:6m0s\nendpoint-load-metrics:TEXT cpu_utilization=1\nretry-after:Wed, 21 Oct 2015 07:28:00 GMT",
    "CQAAAAAAAOA/EQAAAAAAAOA/",
];
const REQUESTS: [&str; 2] = [
    ":method: POST\n:path: /v1/chat/completions?x=1\nx-request-id: 4f7c0e9a\nx-tenant: acme\nx-workload: chat\nx-model: llama-3.3-70b\nx-tokens: 900\nx-needs: tools, vision\ncontent-length: 77\ngrpc-timeout: 300m\nx-placement-cluster: trap\nx-placement-budget: ms=600, attempts=1, id=\"00f1\"\naccept: text/event-stream",
    "x-tenant: a\nx-tenant: b\nx-data: personal\nx-deadline: -1\nx-envoy-attempt-count: 2",
];
const BODIES: [&str; 3] = [
    r#"{"model":"llama-3.3-70b","max_tokens":100,"stream":true,"tools":[{"type":"function"}],"messages":[{"role":"user","content":"a \" \u00e9 {"}],"metadata":{"data_class":"personal"}}"#,
    r#"{"max_completion_tokens":1e3,"response_format":{"type":"json_schema"},"model":"a","model":"b"}"#,
    r#"[{"model":1}]"#,
];
const LOGS: [&str; 2] = [
    "v=1, id=\"5f351cdeba6bfc73\", class=interactive;by=claim, substrate=metal-fr, binding=sovereignty;by=jurisdiction, unbound=provider-us, epoch=4812, fresh=live, policy=\"agentic-ops@12#9f2c41ab\", plan=(metal-fr onprem-de;x=jurisdiction), cost=117, spill=metal-fr;x=zone+jurisdiction, last-resort",
    "r1;k9f2c41ab;t1790000000000;s5f351cdeba6bfc73;w2a.12cc.1f2e3d4c;T+acme;M-llama;I-900;H+POST;f3;b77;i;n1;hx-workload:+chat;l3;p1.2;m0.5;.",
];
