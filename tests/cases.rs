//! `berth test`: the cases of the library hold and reach everything, and what is wrong is said at its place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Standard output and exit code of the tool, run at the root of the package.
fn berth(args: &[&str]) -> (String, i32) {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_berth"));
    let output = tool.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// A folder with the starter policy and these cases.
fn with_cases(name: &str, cases: &str) -> (PathBuf, String) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let starter = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/starter.yaml")).unwrap();
    fs::write(folder.join("starter.yaml"), starter).unwrap();
    fs::write(folder.join("starter.cases.yaml"), cases).unwrap();
    let policy = folder.join("starter.yaml").to_str().unwrap().to_owned();
    (folder, policy)
}

/// The same with the folder's name taken out.
fn say(folder: &Path, args: &[&str]) -> (String, i32) {
    let (said, code) = berth(args);
    (said.replace(&format!("{}/", folder.display()), ""), code)
}

#[test]
fn every_policy_of_the_library_has_cases_that_hold_and_reach_all_of_it() {
    let mut policies: Vec<String> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"))
        .unwrap()
        .map(|entry| format!("policies/{}", entry.unwrap().file_name().to_str().unwrap()))
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    policies.sort();
    let args: Vec<&str> =
        ["test", "--fail-on-uncovered"].into_iter().chain(policies.iter().map(String::as_str)).collect();
    let (said, code) = berth(&args);
    assert_eq!(code, 0, "{said}");
    let of = |end: bool| policies.iter().filter(|name| name.ends_with(".cases.yaml") == end).count();
    assert_eq!((said.matches(" cases, 0 failed").count(), of(true)), (of(false), of(false)), "{said}");
}

#[test]
fn every_policy_of_the_library_shows_a_placement_and_a_refusal() {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(".cases.yaml") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("status: 4") || text.contains("status: 5"), "{}", path.display());
            assert!(text.contains("substrate: ") || text.contains("plan: "), "{}", path.display());
        }
    }
}

#[test]
fn a_case_that_does_not_hold_is_shown_with_what_came_out() {
    let cases = "berth: 1\ncases:\n  - name: across\n    facts: {tenant: acme, input_tokens: 40000}\n    expect:\n      substrate: provider-us\n      rejected: {provider-us: cost, gpu-de: workload/context}\n  - name: at home\n    expect: {class: other}\n";
    let (folder, policy) = with_cases("failing", cases);
    let (said, code) = say(&folder, &["test", &policy]);
    assert_eq!(code, 1);
    let expected = "starter@1#ee955ab7 by starter.cases.yaml
  FAIL across   422 workload/context
       --> starter.cases.yaml:3:5
       substrate
         expected provider-us
         got      422 workload/context
       rejected provider-us
         expected cost
         got      sovereignty/jurisdiction, sovereignty/subject-to
";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.contains("  2 cases, 1 failed; reached: classes 1/2, envelopes 2/2,"), "{said}");
    assert!(said.contains("  no case reaches classes.chat\n"), "{said}");
}

#[test]
fn what_no_case_reaches_fails_only_where_that_is_asked_for() {
    let cases = "berth: 1\ncases:\n  - {name: one, facts: {tenant: x}, expect: {class: other}}\n";
    let (folder, policy) = with_cases("uncovered", cases);
    assert_eq!(say(&folder, &["test", &policy]).1, 0);
    let (said, code) = say(&folder, &["test", &policy, "--fail-on-uncovered"]);
    assert_eq!(code, 1);
    for missing in ["classes.chat", "envelopes.eu-customers", "envelopes.eu-customers.permit.jurisdictions"] {
        assert!(said.contains(&format!("no case reaches {missing}\n")), "{said}");
    }
}

#[test]
fn every_mistake_in_cases_is_said_at_once_with_its_line() {
    let cases = "berth: 1
cases:
  - name: one
    facts: {tennant: acme, tenant: acme, input_tokens: many}
    claims: {tenant: acme}
    health: {gpu-xx: {signals: {queue_depth: -1, queue: 2}, circuit: broken}}
    expect: {substrate: gpu-dee, status: 403, reason: sovereignty/jurisdicton, class: chatt}
  - name: one
    expect: {}
";
    let (folder, policy) = with_cases("mistakes", cases);
    let (said, code) = say(&folder, &["test", &policy, "--format", "json"]);
    assert_eq!(code, 1);
    let all: serde_json::Value = serde_json::from_str(&said).unwrap();
    let problems = all[0]["problems"].as_array().unwrap();
    let short: Vec<String> = problems
        .iter()
        .map(|p| format!("{} {} {}", p["line"], p["code"].as_str().unwrap(), p["path"].as_str().unwrap()))
        .collect();
    let expected = [
        "4 BTH0011 cases[0].facts.tennant",
        "4 BTH0013 cases[0].facts.input_tokens",
        "5 BTH0109 cases[0].claims",
        "6 BTH0102 cases[0].health",
        "6 BTH0014 cases[0].health.gpu-xx.signals.queue_depth",
        "6 BTH0011 cases[0].health.gpu-xx.signals.queue",
        "6 BTH0016 cases[0].health.gpu-xx.circuit",
        "7 BTH0102 cases[0].expect.substrate",
        "7 BTH0109 cases[0].expect.status",
        "7 BTH0016 cases[0].expect.reason",
        "7 BTH0103 cases[0].expect.class",
        "8 BTH0105 cases[1].name",
        "9 BTH0012 cases[1].expect.substrate",
    ];
    assert_eq!(short, expected);
}

#[test]
fn cases_of_a_manifest_stand_in_a_file_that_is_named() {
    let (folder, policy) = with_cases("manifest", "berth: 1\ncases:\n  - {name: one, expect: {class: other}}\n");
    let indented: String = fs::read_to_string(&policy).unwrap().lines().map(|l| format!("    {l}\n")).collect();
    let manifest = folder.join("plugin.yaml");
    fs::write(&manifest, format!("kind: WasmPlugin\npluginConfig:\n  role: placement\n  policy:\n{indented}")).unwrap();
    let manifest = manifest.to_str().unwrap();
    let cases = folder.join("starter.cases.yaml");
    let (said, code) = say(&folder, &["test", manifest, "--cases", cases.to_str().unwrap()]);
    assert!(code == 0 && said.contains("1 cases, 0 failed"), "{said}");
    assert_eq!(say(&folder, &["test", manifest]).1, 2, "without cases it is used wrongly");
}

#[test]
fn check_reads_cases_with_the_policy_that_they_stand_beside() {
    let (folder, policy) = with_cases("check", "berth: 1\ncases:\n  - {name: one, expect: {substrate: gpu-dee}}\n");
    let cases = policy.replace(".yaml", ".cases.yaml");
    let (said, code) = say(&folder, &["check", &policy, &cases]);
    assert_eq!(code, 1);
    assert!(said.contains("BTH0102") && said.contains("starter.cases.yaml:3:37"), "{said}");
    assert!(said.contains("did you mean `gpu-de`?"), "{said}");
    let (said, code) =
        berth(&["check", "policies/starter.yaml", "policies/starter.cases.yaml", "--fail-on", "warning"]);
    assert!(code == 0 && said.contains("4 cases of starter"), "{said}");
}

#[test]
fn the_cases_that_the_documentation_shows_hold() {
    let readme = include_str!("../policies/README.md");
    let shown = readme.split_once("```yaml\nberth: 1\nhealth:").unwrap().1.split_once("```").unwrap().0;
    let (folder, _) = with_cases("readme", "");
    let cases = folder.join("shown.cases.yaml");
    fs::write(&cases, format!("berth: 1\nhealth:{shown}")).unwrap();
    let (said, code) = berth(&["test", "policies/sovereign-eu.yaml", "--cases", cases.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
}
