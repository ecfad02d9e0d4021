//! What is declared, what is documented, what rules and dashboard look at, and what the records carry: each list is
//! held against the others, and the rules against promtool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "laws/build.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod build;
#[path = "support/fake_host.rs"]
mod fake_host;
#[path = "laws/generate.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod generate;
#[path = "support/policy.rs"]
mod policy;

use berth::explain::line::Line;
use berth::filter::{MapKind, Role};
use berth::model::contract::Key;
use berth::model::metric::{FAMILIES, Family, MOST_SERIES, PREFIX, labels};
use berth::model::{Decision, Outcome};
use berth::place::{place, record::record};
use berth::policy::Policy;
use fake_host::FakeHost;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join(name)).unwrap()
}

/// A declared series, taken apart as the label rules do.
fn apart(series: &str) -> (String, Vec<(String, String)>) {
    let rest = series.strip_prefix(PREFIX).unwrap();
    let family = FAMILIES
        .iter()
        .filter(|f| rest == f.name || rest.strip_prefix(f.name).is_some_and(|r| r.starts_with('.')))
        .max_by_key(|f| f.name.len())
        .unwrap_or_else(|| panic!("{series}: of no metric in the list"));
    let parts: Vec<&str> = rest[family.name.len()..].split('.').skip(1).collect();
    let pairs: Vec<_> = parts.chunks(2).map(|c| (String::from(c[0]), String::from(c[1]))).collect();
    assert_eq!(pairs.iter().map(|(l, _)| l.as_str()).collect::<Vec<_>>(), family.labels, "{series}");
    (family.name.into(), pairs)
}

fn declared(host: &FakeHost) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    host.metric_names().iter().for_each(|series| *found.entry(apart(series).0).or_default() += 1);
    found
}

#[test]
fn every_metric_of_the_list_is_declared_and_none_besides() {
    let host = FakeHost::new();
    host.set_configuration(&policy::placement(&policy::policy()).to_string());
    Role::configure(&host).unwrap();
    let listed: BTreeSet<String> = FAMILIES.iter().map(|f| String::from(f.name)).collect();
    assert_eq!(declared(&host).into_keys().collect::<BTreeSet<_>>(), listed);
}

#[test]
fn however_many_classes_and_substrates_there_are_a_metric_has_no_more_than_its_most_series() {
    let mut large = policy::policy();
    let (substrate, class) = (large["substrates"][1].clone(), large["classes"][0].clone());
    for n in 0..200 {
        let mut one = substrate.clone();
        one["name"] = format!("s{n}").into();
        one["cluster"] = format!("s{n}").into();
        large["substrates"].as_array_mut().unwrap().push(one);
    }
    for n in 0..60 {
        let mut one = class.clone();
        one["name"] = format!("c{n}").into();
        large["classes"].as_array_mut().unwrap().push(one);
    }
    let host = FakeHost::new();
    host.set_configuration(&policy::placement(&large).to_string());
    let mut role = Role::configure(&host).unwrap();
    for (name, count) in declared(&host) {
        assert!(count <= MOST_SERIES, "{name} has {count} series");
    }
    host.set_headers(MapKind::RequestHeaders, &[("x-tenant", "acme"), ("x-workload", "chat")]);
    role.on_request(&host);
    role.on_tick(&host);
    let told: i64 = host
        .metric_names()
        .iter()
        .filter(|name| name.starts_with("berth.decisions.class.all.substrate."))
        .map(|name| host.metric_value(name))
        .sum();
    assert_eq!(told, 1);
}

#[test]
fn what_the_host_does_not_take_now_is_told_with_the_next_tick() {
    let host = FakeHost::new();
    host.set_configuration(&policy::placement(&policy::policy()).to_string());
    let mut role = Role::configure(&host).unwrap();
    let placed = "berth.decisions.class.interactive.substrate.metal-fr.outcome.placed";
    host.set_headers(MapKind::RequestHeaders, &[("x-tenant", "acme"), ("x-workload", "chat")]);
    role.on_request(&host);
    host.fail_always("increment", berth::filter::HostError::Internal);
    role.on_tick(&host);
    role.on_request(&host);
    host.heal();
    role.on_tick(&host);
    assert_eq!(host.metric_value(placed), 2);
    role.on_tick(&host);
    assert_eq!(host.metric_value(placed), 2, "told once");
}

/// The rows of the table under a heading of the README, as cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = file("README.md");
    let after = text.split_once(&format!("# {heading}\n")).unwrap_or_else(|| panic!("no heading `{heading}`")).1;
    let rows = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| String::from(cell.trim())).collect();
    rows.skip(2).map(cells).collect()
}

fn row(family: &Family) -> Vec<String> {
    let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    vec![
        format!("`berth_{}`", family.name.replace('.', "_")),
        family.kind.into(),
        labels.join(", "),
        family.meaning.into(),
    ]
}

#[test]
fn the_readme_lists_every_metric() {
    assert_eq!(table("Metrics of the placement role"), FAMILIES.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_readme_lists_every_label_rule() {
    let text = file("README.md");
    for label in labels() {
        assert!(
            text.contains(&format!("tag_name: {label}, regex: '{}'", berth::model::metric::tag_rule(label))),
            "{label}"
        );
    }
}

#[test]
fn the_readme_describes_every_member_of_the_record_and_every_key() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = generate::case();
    let mut seen = BTreeSet::new();
    for _ in 0..3_000 {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        let policy = Policy::new(case.document, [0; 32]);
        let decision = place(&policy, case.snapshot.as_ref(), &case.local, &case.facts, build::NOW_MS, case.seed);
        // One that tries somebody is rare: what it says of itself is shown on all that were placed.
        let tried = Decision { trial: decision.outcome == Outcome::Placed, ..decision };
        for decision in [decision, tried] {
            let text = record(&policy, &decision);
            assert!(text.len() <= 1_024 && text.is_ascii(), "{text}");
            let line = Line::parse(&text).unwrap();
            seen.extend(line.names().map(String::from));
        }
    }
    let names = |rows: Vec<Vec<String>>| -> BTreeSet<String> {
        let cells = rows.into_iter().flat_map(|row| row[0].split(", ").map(String::from).collect::<Vec<_>>());
        cells.map(|cell| String::from(cell.trim_matches('`'))).collect()
    };
    assert_eq!(names(table("The decision")), seen);
    let keys: BTreeSet<String> = Key::ALL.iter().map(|key| String::from(key.state())).collect();
    assert_eq!(names(table("Single keys")), keys);
}

fn promtool(arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(root.join(".ci/tools")).arg("prometheus").output().unwrap();
    let prometheus = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    assert!(found.status.success(), "no Prometheus: {}", String::from_utf8_lossy(&found.stderr));
    let output =
        Command::new(prometheus.with_file_name("promtool")).args(arguments).current_dir(root).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_hold() {
    promtool(&["check", "rules", "envoy/rules/recording.yaml", "envoy/rules/alerts.yaml"]);
    promtool(&["test", "rules", "envoy/rules/tests.yaml"]);
}

#[test]
fn every_rule_is_tested() {
    let (tests, rules) = (file("rules/tests.yaml"), file("rules/recording.yaml") + &file("rules/alerts.yaml"));
    for line in rules.lines().map(str::trim) {
        let name = line.strip_prefix("- record: ").or_else(|| line.strip_prefix("- alert: "));
        if let Some(name) = name {
            assert!(tests.contains(name), "{name} is not tested");
        }
    }
}

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("berth_")).map(String::from).collect()
}

#[test]
fn rules_and_dashboard_look_at_metrics_that_there_are() {
    let host = FakeHost::new();
    host.set_configuration(&policy::telemetry(&policy::policy()).to_string());
    Role::configure(&host).unwrap();
    let plain = |name: &str| name.replace(['.', '-'], "_");
    let mut known: BTreeSet<String> = FAMILIES.iter().map(|f| plain(&format!("{PREFIX}{}", f.name))).collect();
    for series in host.metric_names() {
        let end = ["substrate", "reason"].iter().filter_map(|label| series.find(&format!(".{label}."))).min();
        known.insert(plain(&series[..end.unwrap_or(series.len())]));
    }
    for name in ["rules/recording.yaml", "rules/alerts.yaml", "rules/tests.yaml", "dashboard.json"] {
        let unknown: Vec<String> = named(&file(name)).into_iter().filter(|metric| !known.contains(metric)).collect();
        assert!(unknown.is_empty(), "{name} looks at {unknown:?}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let recorded = file("rules/recording.yaml");
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let words =
                target["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            for rule in words.filter(|word| word.starts_with("berth:")) {
                assert!(recorded.contains(&format!("record: {rule}\n")), "{rule} is recorded by no rule");
            }
        }
    }
}
