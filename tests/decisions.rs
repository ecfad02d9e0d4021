//! Golden decisions: requests under the policies of `policies/`, laid open as text that a person can review.
//! `BLESS=1` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "laws/build.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod build;

use berth::explain::Explanation;
use berth::model::*;
use berth::policy::{Policy, read_yaml};
use build::{NOW_MS, country, health, snapshot};
use std::path::Path;

/// One request in one state of the world.
struct Scenario {
    file: &'static str,
    policy: &'static str,
    snapshot: Option<Snapshot>,
    local: Local,
    facts: Facts<'static>,
}

const CHAT: &[(&str, Fact<&str>)] = &[("x-workload", Fact::trusted("chat"))];

fn chat() -> Facts<'static> {
    Facts {
        tenant: Some(Fact::trusted("acme")),
        model: Some(Fact::claimed("llama-3.3-70b")),
        input_tokens: Some(Fact::claimed(1_200)),
        streaming: Some(Fact::claimed(true)),
        headers: CHAT,
        ..Facts::default()
    }
}

/// Everybody was heard just now, with something in flight, and proves where it is.
fn well(document: &Document) -> Snapshot {
    let record = |s: &Substrate| {
        let mut record = health(s.name.as_str(), &[(Signal::InFlight, 8), (Signal::FailureRate, 2_000)]);
        record.attestation = Some(Attestation { jurisdiction: s.location.jurisdiction, at_ms: NOW_MS - 60_000 });
        record
    };
    snapshot(document.substrates.iter().map(record).collect())
}

fn read(policy: &str) -> (Document, [u8; 32]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(policy);
    let checked = read_yaml(&std::fs::read_to_string(path).unwrap()).unwrap();
    (checked.document, checked.digest.0)
}

fn with(mut snapshot: Snapshot, name: &str, change: impl FnOnce(&mut Health)) -> Snapshot {
    change(snapshot.substrates.iter_mut().find(|h| h.name == name).unwrap());
    snapshot
}

fn scenarios() -> Vec<Scenario> {
    const AGENTIC: &str = "agentic-production.yaml";
    let (document, _) = read(AGENTIC);
    let well = well(&document);
    let now = |value| Reading { value, at_ms: NOW_MS };
    let of = |file, snapshot, facts| Scenario { file, policy: AGENTIC, snapshot, local: Local::default(), facts };
    let personal = Facts { data: Some(Fact::claimed("personal")), ..chat() };
    let huge = Facts { input_tokens: Some(Fact::claimed(60_000)), ..chat() };
    let full = with(well.clone(), "silicon-us", |h| h.set(Signal::QueueDepth, now(40)));
    let mut lost = with(well.clone(), "metal-fr", |h| h.attestation = None);
    lost = with(lost, "onprem-de", |h| h.circuit = Circuit::Open { until_ms: NOW_MS + 7_000 });
    let mut moved = well.clone();
    moved.substrates.iter_mut().for_each(|h| {
        h.attestation = Some(Attestation { jurisdiction: country("GB"), at_ms: NOW_MS });
    });
    let away = Some(Attestation { jurisdiction: country("US"), at_ms: NOW_MS - 1_000 });
    let abroad = with(well.clone(), "onprem-de", |h| {
        h.attestation = away;
        h.set(Signal::Failover, now(600_000));
    });
    // Slower than it used to be, with a queue that swings and answers that spread; still within every limit.
    let unsteady = with(well.clone(), "silicon-us", |h| {
        h.set(Signal::Drift, now(1_500_000));
        h.set(Signal::Oscillation, now(900_000));
        h.set(Signal::Jitter, now(400_000));
    });
    let mut old = well.clone();
    old.at_ms = NOW_MS - 60_000;
    old.substrates.iter_mut().for_each(|h| h.readings.iter_mut().flatten().for_each(|r| r.at_ms = NOW_MS - 60_000));
    let busy = with(well.clone(), "metal-fr", |h| h.set(Signal::InFlight, now(42)));
    let mut spent = of("cost-budget", Some(well.clone()), Facts { tenant: Some(Fact::trusted("initech")), ..chat() });
    spent.local.spent_uusd = vec![0, 9_999_900];
    // What is kept for the tenant there is its own, whoever runs there; until it has it.
    let standard = Facts { tenant: Some(Fact::trusted("globex")), headers: &[], ..personal };
    let own = of("availability-kept-for-its-tenant", Some(busy.clone()), standard);
    let mut had = of("availability-kept-for-its-tenant-and-used", Some(busy.clone()), standard);
    had.local.tenant_placed = vec![12];
    vec![
        of("nothing-binds", Some(well.clone()), chat()),
        of("sovereignty-personal-data", Some(well.clone()), personal),
        of("availability-queue", Some(full), chat()),
        of("availability-kept-for-another", Some(busy), personal),
        own,
        had,
        of("workload-context", Some(well.clone()), huge),
        of("governance-nobody-speaks", Some(well.clone()), Facts { tenant: None, ..chat() }),
        of("governance-claimed-tenant", Some(well.clone()), Facts { tenant: Some(Fact::claimed("acme")), ..chat() }),
        of("refused-all-proofs-lost", Some(moved), personal),
        of("refused-circuit-and-attestation", Some(lost), personal),
        of("no-telemetry", None, chat()),
        of("stale-telemetry", Some(old), chat()),
        of("sovereignty-failed-over-abroad", Some(abroad), personal),
        of("availability-unsteady", Some(unsteady), chat()),
        of("session", Some(well), Facts { session: Some(Fact::claimed("s-42")), ..chat() }),
        spent,
    ]
}

#[test]
fn decisions_are_as_they_were_reviewed() {
    for scenario in scenarios() {
        let (document, digest) = read(scenario.policy);
        let policy = Policy::new(document, digest);
        let (snapshot, facts) = (scenario.snapshot.as_ref(), &scenario.facts);
        let explanation = Explanation::new(&policy, snapshot, &scenario.local, facts, NOW_MS, 42);
        // The policy's digest changes with every word of it: what is reviewed here is the decision.
        let text = explanation.text().replace(policy.short_digest(), "digest");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decisions");
        let path = golden.join(format!("{}.txt", scenario.file));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{} differs; BLESS=1 rewrites it", path.display());
    }
}

#[test]
fn the_json_says_what_the_text_says() {
    let (document, digest) = read("agentic-production.yaml");
    let policy = Policy::new(document, digest);
    let facts = chat();
    let explanation = Explanation::new(&policy, None, &Local::default(), &facts, NOW_MS, 42);
    let json = explanation.json();
    let chosen = json["plan"][0]["substrate"].as_str().unwrap();
    assert!(explanation.text().contains(&format!("> {chosen}")));
    assert_eq!(json["candidates"].as_array().unwrap().len(), policy.document().substrates.len());
    assert_eq!(json["routers"].as_array().unwrap().len(), 5);
}
