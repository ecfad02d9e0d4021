//! From a role that decides to the tool that reads its log: the same again, differences named, what is missing named.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "support/fake_host.rs"]
mod fake_host;
#[path = "support/policy.rs"]
mod policy;

use berth::filter::{MapKind, Role};
use fake_host::FakeHost;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("accounts-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("snapshots")).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().into()
    }

    fn snapshots(&self) -> String {
        self.0.join("snapshots").to_str().unwrap().into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn berth(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_berth")).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_ne!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    (output, text)
}

fn start(host: &FakeHost, configuration: &Value) -> Role {
    host.set_configuration(&configuration.to_string());
    Role::configure(host).unwrap_or_else(|line| panic!("{line}"))
}

/// Publishes a picture in which metal-fr has so deep a queue, and keeps its bytes.
fn publish(host: &FakeHost, role: &mut Role, queue: u64, folder: &Folder) {
    host.advance_ms(1_000);
    role.on_tick(host);
    for call in host.take_calls() {
        let depth = if call.cluster == "metal-fr" { queue } else { 0 };
        let report = json!({"substrate": call.cluster, "signals": {"queue_depth": depth}}).to_string();
        let size = host.answer(&[(":status", "200")], report.as_bytes());
        role.on_call(host, call.token, size);
    }
    host.advance_ms(50);
    role.on_tick(host);
    let key = host.shared_keys().into_iter().find(|k| k.contains("snapshot")).unwrap();
    let bytes = host.shared(&key).unwrap();
    folder.write(&format!("snapshots/{}", berth::health::codec::carried_checksum(&bytes)), bytes);
}

/// Decides some hundred requests while pictures change, and logs them.
fn decided(folder: &Folder, change: impl Fn(&mut Value)) -> Vec<Value> {
    let host = FakeHost::new();
    let vm = host.another_vm();
    let mut telemetry = start(&vm, &policy::telemetry(&policy::policy()));
    let mut configuration = policy::placement(&policy::policy());
    configuration["replay"] = true.into();
    configuration["keys"] = json!(["substrate", "class", "binding", "spill", "attempts"]);
    change(&mut configuration);
    let mut role = start(&host, &configuration);
    let mut log = Vec::new();
    let text = |key: &str| host.filter_state(key).map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
    for round in 0..6 {
        publish(&vm, &mut telemetry, if round % 2 == 0 { 0 } else { 500 }, folder);
        role.on_tick(&host);
        for n in 0..50 {
            let id = format!("{round}-{n}");
            let (tenant, work) = (["acme", "initech", "nobody"][n % 3], ["chat", "standard", "?"][n / 3 % 3]);
            host.set_headers(
                MapKind::RequestHeaders,
                &[
                    (":method", "POST"),
                    (":path", "/v1/chat/completions?key=secret"),
                    ("x-request-id", &id),
                    ("x-tenant", tenant),
                    ("x-workload", work),
                    ("x-model", "llama-3.3-70b"),
                    ("content-length", "999"),
                ],
            );
            role.on_request(&host);
            log.push(json!({"status": 200, "tenant": tenant, "decision": text("placement"), "replay": text("placement_replay")}));
        }
    }
    log
}

fn as_lines(log: &[Value]) -> String {
    log.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_log_is_replayed_to_the_last_line_and_what_was_changed_in_it_is_found() {
    let folder = Folder::new("replay");
    let mut log = decided(&folder, |c| c["hash_tenants"] = true.into());
    let policy = folder.write("policy.json", policy::policy().to_string());
    let file = folder.write("access.log", as_lines(&log));
    let (output, text) = berth(&["replay", &policy, "--log", &file, "--snapshots", &folder.snapshots()]);
    assert!(output.status.success() && text.starts_with("300 the same, 0 different, 0 not decidable\n"), "{text}");
    assert!(!log.iter().any(|line| line["replay"].as_str().unwrap().contains("acme")), "a tenant's name was logged");
    assert!(!as_lines(&log).contains("secret"), "a query was logged");

    // The answer is no input: another answer in the log is a difference, not another result.
    let decision = log[0]["decision"].as_str().unwrap().replace("substrate=metal-fr", "substrate=onprem-de");
    log[0]["decision"] = decision.into();
    log[1]["replay"] = Value::Null;
    let file = folder.write("access.log", as_lines(&log));
    let (output, text) = berth(&["replay", &policy, "--log", &file, "--snapshots", &folder.snapshots()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("298 the same, 1 different, 1 not decidable"), "{text}");
    assert!(text.contains("line 1 differs: substrate: onprem-de → metal-fr"), "{text}");
    assert!(text.contains("the first is line 2: the line has no replay record"), "{text}");
}

#[test]
fn without_its_snapshot_or_its_policy_a_decision_is_not_made_again_and_that_is_said() {
    let folder = Folder::new("missing");
    let log = decided(&folder, |_| {});
    let file = folder.write("access.log", as_lines(&log));
    let policy = folder.write("policy.json", policy::policy().to_string());
    let (_, text) = berth(&["replay", &policy, "--log", &file]);
    assert!(text.starts_with("0 the same, 0 different, 300 not decidable"), "{text}");
    assert!(text.contains("the snapshot of epoch 2 by ") && text.contains("is not among those given"), "{text}");
    let mut other = policy::policy();
    other["policy"]["version"] = 4.into();
    let other = folder.write("other.json", other.to_string());
    let (_, text) = berth(&["replay", &other, "--log", &file, "--snapshots", &folder.snapshots()]);
    assert!(text.contains("300 not decidable") && text.contains("was not given"), "{text}");
}

#[test]
fn a_log_is_summed_up_and_one_line_of_it_explained() {
    let folder = Folder::new("log");
    let log = decided(&folder, |_| {});
    let file = folder.write("access.log", as_lines(&log));
    let (_, text) = berth(&["log", &file, "--format", "json"]);
    let sums: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&sums["decisions"], &sums["refused"]["governance/no-envelope"]), (&json!(300), &json!(96)));
    let (_, text) = berth(&["log", &file]);
    assert!(text.contains("300 decisions: ") && text.contains("sovereignty/jurisdiction"), "{text}");

    let policy = folder.write("policy.json", policy::policy().to_string());
    let spilled = log
        .iter()
        .find(|l| l["tenant"] == "acme" && l["decision"].as_str().unwrap().contains("spill="))
        .unwrap()
        .to_string();
    let (_, text) = berth(&["explain", &policy, "--log-line", &spilled, "--snapshots", &folder.snapshots()]);
    assert!(text.contains("That is a spillover: its home would have been metal-fr"), "{text}");
    assert!(text.contains("Decided again from its replay record: the same."), "{text}");
    assert!(text.contains("queue-full"), "{text}");
    let record = log[0]["decision"].as_str().unwrap();
    let (_, text) = berth(&["explain", "--log-line", record]);
    assert!(text.contains("It went to metal-fr"), "{text}");
}

#[test]
fn single_keys_say_what_the_record_says() {
    let folder = Folder::new("keys");
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["keys"] = json!(["substrate", "class", "binding", "spill", "attempts"]);
    let mut role = start(&host, &configuration);
    drop(folder);
    host.set_headers(MapKind::RequestHeaders, &[("x-tenant", "acme"), ("x-workload", "chat")]);
    role.on_request(&host);
    let text =
        |key: &str| host.filter_state(&format!("placement_{key}")).map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(text("substrate").as_deref(), Some("metal-fr"));
    assert_eq!(text("class").as_deref(), Some("interactive"));
    assert_eq!(text("binding").as_deref(), Some("sovereignty"));
    assert_eq!(text("attempts").as_deref(), Some("1"));
    assert_eq!((text("spill"), text("replay")), (None, None));
}

#[test]
fn what_is_wrong_in_the_configuration_is_named_with_its_place() {
    for (field, value, expected) in [
        (
            "keys",
            json!(["substrat"]),
            "keys[0]: found `substrat`, expected one of substrate, class, binding, spill, attempts",
        ),
        ("keys", json!(["class", "class"]), "keys[1]: `class` stands there twice"),
        ("hash_tenants", json!(true), "hash_tenants: it is about the replay record, expected `replay: true`"),
    ] {
        let mut configuration = policy::placement(&policy::policy());
        configuration[field] = value;
        let host = FakeHost::new();
        host.set_configuration(&configuration.to_string());
        let line = Role::configure(&host).unwrap_err();
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn a_diff_says_what_changed_which_requests_move_and_what_becomes_forbidden() {
    let folder = Folder::new("diff");
    let log = decided(&folder, |_| {});
    let file = folder.write("access.log", as_lines(&log));
    let old = folder.write("old.json", policy::policy().to_string());
    let mut changed = policy::policy();
    changed["envelopes"].as_array_mut().unwrap().pop();
    changed["substrates"][0]["cost"]["input_usd_per_mtok"] = json!(0.2);
    let new = folder.write("new.json", changed.to_string());
    let (output, text) = berth(&["diff", &old, &new]);
    assert_eq!(output.status.code(), Some(1));
    for part in ["substrate metal-fr changed", "cost.input_pusd_per_token: 100000 → 200000", "envelope open removed"]
    {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
    let page = folder.write("page.html", "");
    let with_log =
        ["diff", &old, &new, "--log", &file, "--snapshots", &folder.snapshots(), "--html", &page, "--format", "json"];
    let (_, text) = berth(&with_log);
    let sums: Value = serde_json::from_str(&text).unwrap();
    let requests = &sums["requests"];
    // Every third request was of the tenant for whom no envelope speaks any more.
    assert_eq!(
        (&requests["all"], &requests["become_forbidden"]),
        (&json!(300), &json!({"governance/no-envelope": 102}))
    );
    assert_eq!(
        (&requests["tenants"]["initech"]["move"], &requests["tenants"]["nobody"]["move"]),
        (&json!(102), &json!(0))
    );
    assert_eq!((&requests["without_snapshot"], &requests["not_decidable"]), (&json!(0), &json!({})));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("provider-us") && !page.contains("<script"), "{page}");
    let (output, text) = berth(&["diff", &old, &old, "--log", &file, "--snapshots", &folder.snapshots()]);
    assert!(output.status.success() && text.contains("0 of 300 requests move (0.0 %)"), "{text}");
}

#[test]
fn a_manifest_with_a_candidate_is_compared_with_itself() {
    let folder = Folder::new("candidate");
    let mut candidate = policy::policy();
    candidate["classes"][0]["deadline_ms"] = 9_000.into();
    let plugin = json!({"role": "placement", "policy": policy::policy(), "candidate": candidate});
    let manifest = folder.write("manifest.json", json!({"kind": "EnvoyFilter", "spec": plugin}).to_string());
    let (_, text) = berth(&["diff", &manifest]);
    assert!(text.contains("class interactive changed\n  deadline_ms: 10000 → 9000"), "{text}");
}
