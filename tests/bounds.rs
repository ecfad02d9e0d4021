//! Every queue, table and buffer of the module has a bound and says what it does there: the table of envoy/faults.md is
//! held against the constants of the code, and what no other test shows is shown here.

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

use berth::filter::store::{Claim, MOST_KEPT, Recall, SNAPSHOT, exchange, keep, kept, recalls};
use berth::filter::{HostError, MapKind, Role, Verdict};
use berth::health::query::{self, Labels};
use berth::health::{Observer, orca};
use berth::model::Snapshot;
use berth::policy::read_json;
use fake_host::FakeHost;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Constants that bound no queue, table or buffer: how large a number may be, or how long a text within something that is
/// in the table itself.
const NUMBERS: [(&str, &str); 37] = [
    ("src/filter/metrics/budgets.rs", "MOST_AGE_MS"),
    ("src/filter/store/recall.rs", "MOST_WORDS"),
    ("src/filter/store/recent.rs", "MOST_BYTES"),
    ("src/filter/store/slots.rs", "MOST_LASTS_MS"),
    ("src/filter/telemetry/ingest.rs", "MOST_SEQUENCE"),
    ("src/filter/telemetry/notes.rs", "MOST_BYTES"),
    ("src/filter/telemetry_config/desk.rs", "MOST_TOKEN"),
    ("src/filter/wire_struct.rs", "MOST_DEEP"),
    ("src/health/decimal.rs", "MOST_DIGITS"),
    ("src/health/hosts.rs", "MOST_DEEP"),
    ("src/health/report.rs", "MOST_NAME"),
    ("src/model/contract.rs", "MOST_RETRIES"),
    ("src/model/facts.rs", "MOST_DIGITS"),
    ("src/place/ground.rs", "MOST_ROWS"),
    ("src/place/replay.rs", "MOST_VALUE"),
    ("src/place/score.rs", "MOST_BYTES"),
    ("src/place/spread.rs", "MOST_WEIGHT"),
    ("src/policy/double.rs", "MOST_DIGITS"),
    ("src/policy/double.rs", "MOST_POWER"),
    ("src/policy/index/columns.rs", "MOST_FIXED_PUSD"),
    ("src/policy/index/columns.rs", "MOST_PUSD_PER_BYTE"),
    ("src/policy/index/columns.rs", "MOST_PUSD_PER_TOKEN"),
    ("src/policy/index/columns.rs", "MOST_SECOND_UUSD"),
    ("src/policy/index/columns.rs", "MOST_TOKENS"),
    ("src/policy/index/columns.rs", "MOST_US"),
    ("src/policy/index/columns.rs", "MOST_US_PER_TOKEN"),
    ("src/policy/index/columns.rs", "MOST_UUSD"),
    // What the tool looks at when it lints, and in how many words it says so.
    ("src/policy/lint.rs", "MOST_FOLLOWED"),
    ("src/policy/lint.rs", "MOST_STEPS"),
    ("src/policy/lint/together.rs", "MOST_COMPARED"),
    ("src/policy/lint/together.rs", "MOST_NAMED"),
    ("src/policy/lint/together.rs", "MOST_TOLD"),
    ("src/policy/raw/cases.rs", "MOST_SEED"),
    ("src/policy/raw/predicate.rs", "MOST"),
    ("src/policy/reading.rs", "MOST_REPORTED"),
    ("src/policy/template.rs", "MOST_ADDED"),
    ("src/policy/tree.rs", "MOST_EXACT"),
];
/// Bounds that are called otherwise than `MOST`.
const OTHERS: [&str; 4] = ["SLOTS", "TRAYS", "LAST", "PREFIX_BYTES"];

/// What stands behind a constant's name in a source.
fn constant<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = source.split_once(&format!("const {name}: "))?;
    Some(rest.split_once(" = ")?.1.split_once(';')?.0)
}

/// A constant's value: numbers, shifts, products, quotients, the upper end of a range, or another constant.
fn value(expression: &str, source: &str) -> Option<u64> {
    let of = |text: &str| value(text, source);
    let expression = expression.trim();
    for (sign, act) in [
        ("..=", (|_, b| Some(b)) as fn(u64, u64) -> Option<u64>),
        (" * ", u64::checked_mul),
        (" / ", u64::checked_div),
        (" << ", |a, b| a.checked_shl(u32::try_from(b).ok()?)),
    ] {
        if let Some((left, right)) = expression.split_once(sign) {
            return act(of(left)?, of(right)?);
        }
    }
    if let Some(name) = expression.strip_prefix("metric::") {
        let source = fs::read_to_string(root().join("src/model/metric.rs")).unwrap();
        return value(constant(&source, name)?, &source);
    }
    expression.replace('_', "").parse().ok().or_else(|| of(constant(source, expression)?))
}

/// `1,024`, `64 KiB`, `4 MiB`: what a cell begins with.
fn written(cell: &str) -> Option<u64> {
    let mut words = cell.split(' ');
    let number: u64 = words.next()?.replace(',', "").parse().ok()?;
    Some(match words.next() {
        Some("KiB") => number << 10,
        Some("MiB") => number << 20,
        _ => number,
    })
}

/// The rows of the table, as cells.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("envoy/faults.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| what is bounded |"));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect()).collect()
}

/// The file and the name that a cell gives: `` `src/a.rs` `MOST` ``.
fn named(cell: &str) -> (String, String) {
    let quoted: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    let [file, name] = quoted[..] else { panic!("{cell}: expected a file and a constant") };
    (file.into(), name.into())
}

#[test]
fn every_bound_in_the_table_is_the_constant_in_the_code() {
    let rows = rows();
    assert!(rows.len() > 40, "{} rows", rows.len());
    for row in &rows {
        let [what, most, cell, behaviour, tests] = &row[..] else { panic!("{row:?}") };
        let (file, name) = named(cell);
        let source = fs::read_to_string(root().join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let expression = constant(&source, &name).unwrap_or_else(|| panic!("{file} has no constant `{name}`"));
        let real = value(expression, &source).unwrap_or_else(|| panic!("{file} {name}: `{expression}`"));
        assert_eq!(written(most), Some(real), "{what}: {file} {name}");
        // That the tests are there is seen to by `claims.rs`.
        assert!(!behaviour.is_empty() && (tests.contains(".rs::") || tests.starts_with("*residual:*")), "{what}");
    }
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_bound_in_the_code_is_in_the_table() {
    let mut files = Vec::new();
    for room in ["model", "place", "policy", "health", "filter", "edge"] {
        sources(&root().join("src").join(room), &mut files);
    }
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_string();
        let constants = text.lines().filter_map(|line| line.trim().split_once("const ")?.1.split_once(": "));
        let bounds = constants
            .map(|(name, _)| name)
            .filter(|name| *name == "MOST" || name.starts_with("MOST_") || OTHERS.contains(name));
        found.extend(bounds.map(|bound| (name.clone(), bound.to_string())));
    }
    let told: Vec<_> = rows().iter().map(|row| named(&row[2])).collect();
    let besides = NUMBERS.map(|(file, name)| (file.to_string(), name.to_string()));
    let told: BTreeSet<_> = told.into_iter().chain(besides).filter(|(file, _)| !file.starts_with("src/bin")).collect();
    let missing: Vec<_> = found.difference(&told).collect();
    assert!(missing.is_empty(), "in no row of envoy/faults.md: {missing:?}");
    let gone: Vec<_> = told.difference(&found).collect();
    assert!(gone.is_empty(), "no longer in the code: {gone:?}");
}

#[test]
fn bounds_are_read_as_they_are_written() {
    let source =
        "const MOST: usize = 2 << 10;\nconst TWICE: usize = MOST * 2;\nconst RANGE: RangeInclusive<u32> = 1..=65_536;";
    let of = |name: &str| value(constant(source, name).unwrap(), source);
    assert_eq!([of("MOST"), of("TWICE"), of("RANGE")], [Some(2_048), Some(4_096), Some(65_536)]);
    assert_eq!(value("metric::MOST_SERIES / 4", ""), Some(256));
    assert_eq!([written("1,024"), written("64 KiB a line"), written("none")], [Some(1_024), Some(65_536), None]);
}

fn start(host: &FakeHost, configuration: &Value) -> Role {
    host.set_configuration(&configuration.to_string());
    Role::configure(host).unwrap_or_else(|line| panic!("{line}"))
}

const CHAT: [(&str, &str); 3] = [("x-tenant", "acme"), ("x-workload", "chat"), ("x-model", "llama-3.3-70b")];

#[test]
fn who_finds_no_room_to_wait_for_its_body_is_decided_by_its_headers() {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["body"] = json!({"headers_stop": true, "hold_ms": 1_000});
    let mut role = start(&host, &configuration);
    host.set_headers(MapKind::RequestHeaders, &[&CHAT[..2], &[("content-type", "application/json")]].concat());
    for context in 0..1_024 {
        assert_eq!(role.arrive(&host, context, false).0, Verdict::Held, "{context}");
    }
    assert_eq!(host.filter_state("placement"), None);
    assert_eq!(role.arrive(&host, 1_024, false).0, Verdict::Continue);
    assert!(host.filter_state("placement").is_some());
    // Room again.
    role.forget(7);
    assert_eq!(role.arrive(&host, 1_025, false).0, Verdict::Held);
}

#[test]
fn ends_beyond_the_most_that_are_awaited_are_not_looked_at() {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["outcomes"] = 1.into();
    let mut role = start(&host, &configuration);
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    for context in 0..4_100 {
        assert_eq!(role.arrive(&host, context, true).0, Verdict::Continue);
    }
    host.set_property(&["xds", "cluster_name"], b"metal-fr");
    host.set_property(&["response", "code"], &200_u64.to_le_bytes());
    for context in 0..4_100 {
        role.on_done(&host, context);
        role.forget(context);
    }
    role.on_tick(&host);
    let sum = |stem: &str| {
        let names = host.metric_names().into_iter().filter(|name| name.starts_with(stem));
        names.map(|name| host.metric_value(&name)).sum::<i64>()
    };
    assert_eq!((sum("berth.decisions."), sum("berth.answers.")), (4_100, 4_096));
    // There is room again.
    role.arrive(&host, 1, true);
    role.on_done(&host, 1);
    role.on_tick(&host);
    assert_eq!(sum("berth.answers."), 4_097);
}

#[test]
fn a_tenant_that_the_ledger_has_no_room_for_is_counted_by_each_worker_for_itself() {
    let host = FakeHost::new();
    let claim = |tenant| Claim { tenant, window_ms: 60_000, fresh_uusd: 5, ..Claim::default() };
    let mut all: Vec<Claim> = (1..=4_096).map(claim).collect();
    exchange(&host, &mut all, 120_000).unwrap();
    assert!(all.iter().all(|claim| (claim.fresh_uusd, claim.spent_uusd) == (0, 5)));
    let mut late = [claim(9_999)];
    exchange(&host, &mut late, 120_000).unwrap();
    assert_eq!((late[0].fresh_uusd, late[0].spent_uusd), (5, 5), "it still counts here");
    host.reset_counts();
    late[0].fresh_uusd += 2;
    exchange(&host, &mut late, 130_000).unwrap();
    assert_eq!((late[0].fresh_uusd, late[0].spent_uusd), (7, 7), "and what is spent later with it");
    assert_eq!(host.count("shared_set"), 0, "a ledger that did not change is not written");
    let mut elsewhere = [Claim { fresh_uusd: 0, ..claim(9_999) }];
    exchange(&host.another_vm(), &mut elsewhere, 120_000).unwrap();
    assert_eq!(elsewhere[0].spent_uusd, 0);
    // With the next window there is room: for what was spent since, not for what was spent in the one that is over.
    late[0].fresh_uusd += 3;
    exchange(&host, &mut late, 180_000).unwrap();
    assert_eq!((late[0].fresh_uusd, late[0].spent_uusd), (0, 3));
    exchange(&host.another_vm(), &mut elsewhere, 180_000).unwrap();
    assert_eq!(elsewhere[0].spent_uusd, 3);
}

#[test]
fn what_could_not_be_shared_is_shared_later_within_its_window_and_forgotten_with_it() {
    let host = FakeHost::new();
    for (later_ms, spent_uusd) in [(130_000, 5), (240_000, 0)] {
        let mut claims = [Claim { tenant: later_ms, window_ms: 60_000, fresh_uusd: 5, ..Claim::default() }];
        host.fail_always("shared_set", berth::filter::HostError::Internal);
        assert!(exchange(&host, &mut claims, 120_000).is_err());
        host.heal();
        exchange(&host, &mut claims, later_ms).unwrap();
        assert_eq!((claims[0].fresh_uusd, claims[0].spent_uusd), (0, spent_uusd), "at {later_ms}");
    }
}

#[test]
fn of_many_candidates_that_were_called_back_the_first_gives_way() {
    let host = FakeHost::new();
    for digest in 0..17 {
        Recall { digest, at_ms: digest, why: "x".repeat(1_000) }.tell(&host).unwrap();
    }
    let known = recalls(&host);
    assert_eq!(known.iter().map(|recall| recall.digest).collect::<Vec<_>>(), (1..17).collect::<Vec<_>>());
    assert!(known.iter().all(|recall| recall.why.len() == 256), "and the beginning of a long reason is kept");
}

#[test]
fn a_kept_snapshot_gives_way_to_the_one_that_is_so_many_newer_and_no_more_are_configured() {
    let host = FakeHost::new();
    for epoch in 1..=10 {
        keep(&host, &Snapshot { epoch, ..Snapshot::default() }, 4);
    }
    assert_eq!((1..=10).filter(|&epoch| kept(&host, epoch, 4).is_some()).collect::<Vec<_>>(), [7, 8, 9, 10]);
    let keys = host.shared_keys().into_iter().filter(|key| key.starts_with(SNAPSHOT)).count();
    assert_eq!(keys, 4);
    let mut configuration = policy::telemetry(&policy::policy());
    configuration["listener"] = json!({"headers_stop": true, "read": "anyone", "keep_snapshots": MOST_KEPT + 1});
    host.set_configuration(&configuration.to_string());
    let refused = Role::configure(&host).unwrap_err();
    assert!(refused.contains("listener.keep_snapshots") && refused.contains("4096"), "{refused}");
}

/// The policy with so many substrates.
fn substrates(count: usize) -> Value {
    let mut policy = policy::policy();
    let one = policy["substrates"][1].clone();
    let all = policy["substrates"].as_array_mut().unwrap();
    for n in all.len()..count {
        let mut next = one.clone();
        next["name"] = format!("s{n}").into();
        next["cluster"] = format!("s{n}").into();
        all.push(next);
    }
    policy
}

#[test]
fn of_more_substrates_than_can_be_shown_none_is_and_all_are_published() {
    let shown = |count: usize| {
        let host = FakeHost::new();
        let mut role = start(&host, &policy::telemetry(&substrates(count)));
        for _ in 0..30 {
            host.advance_ms(100);
            role.on_tick(&host);
        }
        assert!(host.shared_keys().contains(&SNAPSHOT.to_string()), "{count}");
        let count = |stem: &str| host.metric_names().iter().filter(|name| name.starts_with(stem)).count();
        [count("berth.health.circuit.substrate."), count("berth.health.circuit_changes.substrate.")]
    };
    assert_eq!([shown(256), shown(257)], [[256, 3 * 256], [0, 3 * 257]]);
    assert_eq!([shown(341), shown(342)], [[0, 3 * 341], [0, 0]]);
}

#[test]
fn sources_beyond_those_that_are_noted_are_asked_and_only_counted() {
    let host = FakeHost::new();
    let mut configuration = policy::telemetry(&policy::policy());
    let source = configuration["sources"][0].clone();
    configuration["sources"] = vec![source; 1_025].into();
    let mut role = start(&host, &configuration);
    for _ in 0..30 {
        host.advance_ms(100);
        role.on_tick(&host);
    }
    assert!(host.calls().len() >= 1_025, "{} questions", host.calls().len());
    let noted: Value = serde_json::from_slice(&host.shared("berth/1/sources").unwrap()).unwrap();
    assert_eq!((noted["sources"].as_array().unwrap().len(), &noted["besides"]), (1_024, &json!(1)));
}

#[test]
fn what_a_source_answers_is_fetched_up_to_the_bound_of_its_format_and_not_beyond() {
    for (format, most) in [("berth", 1 << 20), ("vllm", 8 << 20), ("query", 4 << 20), ("clusters", 16 << 20)] {
        let host = FakeHost::new();
        let mut configuration = policy::telemetry(&policy::policy());
        let (named, mut source) = (!matches!(format, "query" | "clusters"), configuration["sources"][0].clone());
        source["format"] = format.into();
        if !named {
            source.as_object_mut().unwrap().remove("substrate");
        }
        configuration["sources"] = json!([source]);
        let mut role = start(&host, &configuration);
        let mut answer = |size: usize| {
            host.advance_ms(1_000);
            (0..3).for_each(|_| role.on_tick(&host));
            let call = host.take_calls().pop().unwrap_or_else(|| panic!("{format}: nobody was asked"));
            host.answer(&[(":status", "200")], &vec![b' '; size.min(64)]);
            host.reset_counts();
            role.on_call(&host, call.token, size);
            (host.count("call_body") > 0, host.metric_value("berth.telemetry.failed.reason.oversized"))
        };
        assert_eq!([answer(most), answer(most + 1)], [(true, 0), (false, 1)], "{format}");
    }
}

#[test]
fn clusters_beyond_the_most_that_a_vm_keeps_account_of_are_not_observed() {
    let mut observer = Observer::new(core::iter::empty());
    for key in 1..=8_192 {
        assert!(observer.know(key).is_some());
    }
    assert_eq!((observer.know(9_999), observer.know(1)), (None, Some(0)), "those that are known stay so");
}

#[test]
fn a_load_report_that_is_too_long_says_nothing_and_beyond_so_many_metrics_no_more() {
    let long = format!("TEXT cpu_utilization=0.5,{}", "x=1,".repeat(4_000));
    let heard = orca::parse(long.as_bytes());
    assert!(heard.said.is_empty() && heard != orca::parse(b""), "{} bytes say nothing, and are counted", long.len());
    let at = |before: usize| {
        let text = format!("TEXT {}mem_utilization=0.5", "x=1,".repeat(before));
        orca::parse(text.as_bytes()) != orca::parse(b"TEXT x=1")
    };
    assert_eq!([at(0), at(255), at(256)], [true, true, false]);
}

#[test]
fn samples_of_a_query_beyond_the_most_are_left_out() {
    let labels = Labels { substrate: "substrate".into(), signal: "signal".into() };
    let of = |before: usize| {
        let sample = |substrate: &str| {
            format!(r#"{{"metric": {{"substrate": "{substrate}", "signal": "queue_depth"}}, "value": [1, "3"]}}"#)
        };
        let samples = vec![sample("a"); before].join(",") + "," + &sample("last");
        let body = format!(r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{samples}]}}}}"#);
        let (heard, _) = query::parse(body.as_bytes(), &labels, 10_000).unwrap();
        heard.iter().any(|(name, _)| name == "last")
    };
    assert_eq!([of(65_535), of(65_536)], [true, false]);
}

#[test]
fn a_policy_with_more_substrates_items_or_words_than_there_may_be_is_refused_with_the_number() {
    let refused = |policy: &Value| {
        let errors = read_json(policy.to_string().as_bytes()).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(refused(&substrates(4_096)), "");
    assert!(refused(&substrates(4_097)).contains("4096"), "{}", refused(&substrates(4_097)));
    let mut policy = policy::policy();
    let named = |n: usize| {
        let mut envelope = policy["envelopes"][1].clone();
        envelope["name"] = format!("e{n}").into();
        envelope
    };
    policy["envelopes"] = (0..1_025).map(named).collect();
    assert!(refused(&policy).contains("1024"), "{}", refused(&policy));
    let mut policy = policy::policy();
    policy["envelopes"][0]["applies_to"]["tenants"] = (0..257).map(|n| Value::from(format!("t{n}"))).collect();
    assert!(refused(&policy).contains("256"), "{}", refused(&policy));
}

#[test]
fn more_writers_or_mappings_than_there_may_be_are_refused_with_the_number() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut configuration = policy::telemetry(&policy::policy());
        change(&mut configuration);
        let host = FakeHost::new();
        host.set_configuration(&configuration.to_string());
        Role::configure(&host).map(|_| ()).unwrap_err()
    };
    let writers = refused(&|configuration| {
        let writer = |n: usize| json!({"name": format!("w{n}"), "token": format!("{n:032}"), "reports": ["*"]});
        let writers: Vec<Value> = (0..1_025).map(writer).collect();
        configuration["listener"] = json!({"headers_stop": true, "writers": writers});
    });
    assert!(writers.contains("listener.writers") && writers.contains("1024"), "{writers}");
    let mappings = refused(&|configuration| {
        configuration["sources"][0]["format"] = "prometheus".into();
        let mapping = json!({"signal": "queue_depth", "metric": "my_waiting", "aggregate": "sum"});
        configuration["sources"][0]["mappings"] = vec![mapping; 65].into();
    });
    assert!(mappings.contains("mappings") && mappings.contains("64"), "{mappings}");
}

#[test]
fn without_room_in_shared_data_a_placement_goes_on() {
    let host = FakeHost::new();
    let mut role = start(&host, &policy::placement(&policy::policy()));
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    role.on_request(&host);
    host.fail_always("shared_set", HostError::Internal);
    (0..2).for_each(|_| role.on_tick(&host));
    assert!(host.metric_value("berth.unslotted") > 0);
    assert_eq!(role.on_request(&host), Verdict::Continue);
}
