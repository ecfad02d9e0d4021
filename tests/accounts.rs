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

use berth::explain::line::Line;
use berth::filter::{MapKind, Role};
use berth::model::{Fact, Facts, Local};
use berth::place::replay::{Inputs, write_replay};
use fake_host::FakeHost;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

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

/// What the tool says when it refuses to answer.
fn refused(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_berth")).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
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
    // Both logs in one stream, as rendered: an attempt is no answer.
    let attempt = json!({"request_id": "1", "cluster": "a", "status": 503, "flags": "-", "failure": "-"});
    let both = folder.write("both.log", as_lines(&log) + &as_lines(&[attempt.clone(), attempt]));
    let (_, text) = berth(&["log", &both, "--format", "json"]);
    let with: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&with["attempts"], &with["without_decision"], &with["status"]),
        (&json!(2), &json!(0), &sums["status"])
    );

    // Nobody was reached by what was refused.
    let mut refused = log.iter().find(|l| l["decision"].as_str().unwrap().contains("refused=")).unwrap().clone();
    refused["cluster"] = "otherwise".into();
    refused["duration_ms"] = 9.into();
    let (_, text) = berth(&["explain", "--log-line", &refused.to_string()]);
    assert!(text.contains(" after 9 ms") && !text.contains("otherwise"), "{text}");
    // A container runtime's line is read as it is.
    let (_, text) = berth(&["explain", "--log-line", &format!("2026-11-21T00:00:00Z stdout F {}", log[0])]);
    assert!(text.contains("It went to metal-fr"), "{text}");
    let record = log[0]["decision"].as_str().unwrap();
    let (_, text) = berth(&["explain", "--log-line", record]);
    assert!(text.contains("It went to metal-fr"), "{text}");
}

#[test]
fn the_log_sums_up_what_placements_cost_and_what_of_it_is_egress() {
    let folder = Folder::new("egress");
    // So dear that what a few kilobytes cost is seen.
    let dear = |configuration: &mut Value| {
        configuration["policy"]["substrates"][0]["cost"]["egress_usd_per_gb"] = json!(9);
    };
    let log = decided(&folder, dear);
    let (mut cost, mut egress, mut free) = (0, 0, 0);
    for line in &log {
        let line = Line::parse(line["decision"].as_str().unwrap()).unwrap();
        let Some(item) = line.item("cost") else { continue };
        cost += item.value.parse::<i64>().unwrap();
        match item.param("egress") {
            Some(uusd) => {
                assert_eq!(line.get("substrate"), Some("metal-fr"), "whose bytes cost something");
                egress += uusd.parse::<i64>().unwrap();
            }
            None => free += 1,
        }
    }
    assert!(egress > 0 && egress < cost && free > 0, "{egress} of {cost}, {free} without");
    let file = folder.write("access.log", as_lines(&log));
    let (_, text) = berth(&["log", &file, "--format", "json"]);
    let sums: Value = serde_json::from_str(&text).unwrap();
    let sum = |key: &str| {
        let classes = sums["classes"].as_object().unwrap().values();
        classes.map(|class| class[key].as_i64().unwrap()).sum::<i64>()
    };
    assert_eq!((sum("cost_uusd"), sum("egress_uusd")), (cost, egress));
    let (_, text) = berth(&["log", &file]);
    assert!(text.contains("of it egress"), "{text}");
    let home = log.iter().find(|l| l["decision"].as_str().unwrap().contains(";egress=")).unwrap().to_string();
    let (_, text) = berth(&["explain", "--log-line", &home]);
    assert!(text.contains(" of it egress."), "{text}");
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
        (
            "hash_tenants",
            json!(true),
            "hash_tenants: it is about the replay record and tenants' budgets, expected `replay: true`",
        ),
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
    for part in ["substrate metal-fr changed", "cost.input_usd_per_mtok: 0.1 → 0.2", "envelope open removed"] {
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
    // A place that rules forbid now is forbidden, also where it was not to be had otherwise.
    let mut narrower = policy::policy();
    for envelope in narrower["envelopes"].as_array_mut().unwrap() {
        envelope["forbid"]["substrates"] = json!(["metal-fr"]);
    }
    let narrower = folder.write("narrower.json", narrower.to_string());
    let (_, text) =
        berth(&["diff", &old, &narrower, "--log", &file, "--snapshots", &folder.snapshots(), "--format", "json"]);
    let sums: Value = serde_json::from_str(&text).unwrap();
    let (forbidden, ran) = (&sums["requests"]["become_forbidden"], &sums["requests"]["substrates"]["metal-fr"]);
    let total: u64 = forbidden.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert!(total > 0 && ran["before"] == json!(total) && ran["after"] == json!(0), "{forbidden} {ran}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("provider-us") && !page.contains("<script"), "{page}");
    let (output, text) = berth(&["diff", &old, &old, "--log", &file, "--snapshots", &folder.snapshots()]);
    assert!(output.status.success() && text.contains("0 of 300 requests move (0.0 %)"), "{text}");
}

/// What a tenant had in flight is counted by the order of either policy: here for what is kept for it, there for its share.
#[test]
fn a_diff_knows_what_a_tenant_had_in_flight_where_the_other_policy_counts_it_elsewhere() {
    let folder = Folder::new("diff-kept");
    let with = |capacity: Value| {
        let mut policy = policy::policy();
        policy["substrates"][0]["capacity"] = capacity;
        policy.to_string()
    };
    let old = with(json!({"concurrency": 64, "tenant_share": {"initech": 0.5}, "keep_for_tenant": {"acme": 0.25}}));
    let new = with(json!({"concurrency": 64, "tenant_share": {"acme": 0.25}}));
    let checked = berth::policy::read_yaml(&old).unwrap();
    let policy = berth::policy::Policy::new(checked.document, checked.digest.0);
    let lines = [15, 16].map(|had| {
        let local = Local { tenant_placed: vec![64, had], ..Local::default() };
        let facts = Facts { tenant: Some(Fact::trusted("acme")), ..Facts::default() };
        let inputs = Inputs { policy: &policy, snapshot: None, local: &local, facts: &facts, now_ms: 5, seed: 255 };
        let mut replay = String::new();
        write_replay(&inputs, false, &mut replay);
        json!({"status": 200, "replay": replay})
    });
    let file = folder.write("access.log", as_lines(&lines));
    let (old, new) = (folder.write("old.json", old), folder.write("new.json", new));
    let (_, text) = berth(&["diff", &old, &new, "--log", &file, "--format", "json"]);
    let sums: Value = serde_json::from_str(&text).unwrap();
    let ran = &sums["requests"]["substrates"];
    assert_eq!(ran["metal-fr"], json!({"before": 2, "after": 1}), "{text}");
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

#[test]
fn roles_that_hold_different_policies_are_named_and_nobody_guesses() {
    let folder = Folder::new("copies");
    let mut other = policy::policy();
    other["policy"]["version"] = 77.into();
    let plugin = |role: &str, policy: &Value| json!({"role": role, "policy": policy});
    let manifest = |telemetry: &Value| {
        let both = [plugin("placement", &policy::policy()), plugin("telemetry", telemetry)];
        json!({"kind": "EnvoyFilter", "spec": both}).to_string()
    };
    let same = folder.write("same.json", manifest(&policy::policy()));
    let different = folder.write("different.json", manifest(&other));
    let (output, text) = berth(&["check", &same, "--fail-on", "warning"]);
    assert!(output.status.success(), "{text}");
    let (output, text) = berth(&["check", &different, "--fail-on", "warning"]);
    assert!(output.status.code() == Some(1) && text.contains("copies-differ"), "{text}");
    // Two roles are no policy and its candidate.
    assert!(refused(&["diff", &same]).contains("holds no candidate"));
    let said = refused(&["explain", &different, "--facts", "tenant=acme"]);
    assert!(said.contains("holds several policies"), "{said}");
}

#[test]
fn what_is_asked_wrongly_is_not_answered() {
    let folder = Folder::new("asked");
    let policy = folder.write("policy.json", policy::policy().to_string());
    for (facts, expected) in [
        ("streaming=yes", "`streaming=yes`: expected true or false"),
        ("tenant=a,tenant=b", "`tenant` is said twice"),
        ("colour=blue", "`colour`: no such fact"),
    ] {
        let said = refused(&["explain", &policy, "--facts", facts]);
        assert!(said.contains(expected), "{said}");
    }
    let reports = json!({"substrates": [{"substrate": "nowhere", "signals": {"speed_of_light": 1}}]});
    let reports = folder.write("reports.json", reports.to_string());
    let (output, _) = berth(&["explain", &policy, "--facts", "tenant=acme", "--snapshot", &reports]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("`nowhere`, which the policy does not have") && said.contains("`speed_of_light`"), "{said}");
    let bad = folder.write("bad.json", "{\"berth\": 1}");
    let said = refused(&["diff", &policy, &bad]);
    assert!(said.contains("BTH0012") && said.contains("1:1"), "where it is wrong is said at once: {said}");
}

#[test]
fn a_request_is_explained_by_a_snapshot_in_whatever_form_it_is_printed() {
    use berth::health::{codec, json};
    use berth::model::{Circuit, Health, Reading, Signal, Snapshot};
    let folder = Folder::new("forms");
    let policy = folder.write("policy.json", policy::policy().to_string());
    let at_ms = 1_790_000_000_000;
    let mut home = Health::unknown("metal-fr");
    home.circuit = Circuit::Open { until_ms: at_ms + 60_000 };
    home.set(Signal::FirstToken, Reading { value: 350_000, at_ms });
    let snapshot = Snapshot { writer: 0xb7, epoch: 67, at_ms, interval_ms: 1_000, slots: 2, substrates: vec![home] };
    let rollout = json::Rollout { rollout: Some("current".into()), generation: 0, at_ms: 0, recalled: None };
    let written = folder.write("written.json", json::write_beside(&snapshot, Some(&rollout)));
    let bytes = folder.write("67.bin", codec::encode(&snapshot));
    let (_, printed) = berth(&["snapshot", &bytes, "--format", "json"]);
    let printed = folder.write("printed.json", printed);
    let at = at_ms.to_string();
    let explained = |file: &str| {
        let (output, text) =
            berth(&["explain", &policy, "--facts", "tenant=acme", "--at", &at, "--snapshot", file, "--format", "json"]);
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let text = explained(&bytes);
    assert!(text.contains("circuit-open") && text.contains("67"), "{text}");
    assert_eq!(explained(&written), text);
    assert_eq!(explained(&printed), text);
    let newer = folder.write("newer.json", json::write(&snapshot).replacen("1", "9", 1));
    let said = refused(&["explain", &policy, "--facts", "tenant=acme", "--snapshot", &newer]);
    assert!(said.contains("berth_snapshot: found 9, expected 1"), "{said}");
}

/// A `berth log --follow`, and what it says.
struct Following {
    child: Child,
    says: Option<Receiver<Value>>,
}

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(30);

impl Following {
    fn start(file: &str, input: Stdio) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["log", file, "--follow", "--format", "json"])
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, says) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        // Ends with the output, or when nobody listens any more: then the output is closed, too.
        std::thread::spawn(move || {
            for line in output.lines() {
                if tell.send(serde_json::from_str(&line.unwrap()).unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { child, says: Some(says) }
    }

    /// Waits until it says so many decisions.
    fn until(&self, decisions: u64) -> Value {
        let end = Instant::now() + PATIENCE;
        let mut last = Value::Null;
        while let Ok(said) = self.says.as_ref().unwrap().recv_timeout(end.saturating_duration_since(Instant::now())) {
            last = said;
            if last["decisions"] == decisions {
                return last;
            }
        }
        panic!("it never said {decisions} decisions; the last was {last}");
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > end => panic!("it does not end"),
                None => std::thread::yield_now(),
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(file: &str, text: &str) {
    OpenOptions::new().append(true).create(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_log_is_followed_while_it_grows_moves_away_and_is_cut() {
    let folder = Folder::new("follow");
    let lines: Vec<String> = decided(&folder, |_| {}).iter().map(|line| format!("{line}\n")).collect();
    let file = folder.write("access.log", lines[..3].concat());
    let mut following = Following::start(&file, Stdio::null());
    following.until(3);
    let (half, other) = lines[5].split_at(100);
    append(&file, &(lines[3..5].concat() + half));
    following.until(5);
    append(&file, other);
    following.until(6);
    // Moved away: the proxy still writes a line to the old file, and the new one soon is longer than that ever was.
    let old = format!("{file}.1");
    fs::rename(&file, &old).unwrap();
    append(&old, &lines[6]);
    following.until(7);
    folder.write("access.log", lines[7..40].concat());
    following.until(40);
    // Copied and cut.
    OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    append(&file, &lines[40]);
    following.until(41);
    // By its number, as a shell does it.
    let ended = Command::new("kill").args(["-TERM", &following.child.id().to_string()]).status().unwrap();
    assert!(ended.success() && !following.ended().success(), "a signal ends it");
}

#[test]
fn what_is_followed_says_the_same_as_what_is_read_at_once() {
    let folder = Folder::new("follow-same");
    let log = as_lines(&decided(&folder, |_| {}));
    let file = folder.write("access.log", &log);
    let (_, whole) = berth(&["log", &file, "--format", "json"]);
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(Following::start(&file, Stdio::null()).until(300), whole);
    let mut piped = Following::start("-", Stdio::piped());
    let mut input = piped.child.stdin.take().unwrap();
    input.write_all(&log.as_bytes()[..log.len() / 2]).unwrap();
    let said = piped.says.as_ref().unwrap().recv_timeout(PATIENCE).unwrap();
    assert!(said["decisions"].as_u64().unwrap() > 0, "it says so before the end: {said}");
    input.write_all(&log.as_bytes()[log.len() / 2..]).unwrap();
    drop(input);
    assert_eq!(piped.until(300), whole);
    assert!(piped.ended().success(), "standard input ends");
}

#[test]
fn following_ends_when_nobody_reads_any_more() {
    let folder = Folder::new("follow-closed");
    let line = decided(&folder, |_| {})[0].to_string() + "\n";
    let file = folder.write("access.log", &line);
    let mut following = Following::start(&file, Stdio::null());
    following.until(1);
    drop(following.says.take());
    // The first is still taken from the pipe and dropped, which closes it.
    let end = Instant::now() + PATIENCE;
    while following.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it goes on for nobody");
        append(&file, &line);
    }
    assert!(following.ended().success());
    let mut missing = Following::start(&format!("{file}.missing"), Stdio::null());
    assert_eq!(missing.ended().code(), Some(2), "a file that is not there at first is a mistake");
}

#[test]
fn whoever_writes_the_log_cannot_fill_the_memory_of_who_follows_it() {
    let folder = Folder::new("follow-memory");
    let file = folder.write("access.log", "");
    let following = Following::start(&file, Stdio::null());
    // A line that never ends, and every name another one.
    let noise = "x".repeat(1 << 20);
    (0..64).for_each(|_| append(&file, &noise));
    append(&file, "\n");
    let name =
        |n: u32| format!("v=1, id=\"{n}\", class=c{n}, substrate=s{n}, binding=none, policy=\"p{n}\", plan=(s{n})\n");
    append(&file, &(0..20_000).map(name).collect::<String>());
    let said = following.until(20_000);
    for list in ["classes", "substrates", "policies"] {
        let names = said[list].as_object().unwrap();
        assert!(names.len() <= 1_025 && names.contains_key("(others)"), "{list}: {}", names.len());
    }
    if let Ok(status) = fs::read_to_string(format!("/proc/{}/status", following.child.id())) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak_kb < 64 << 10, "{peak_kb} kB at most, for a log of over 64 MiB");
    }
}
