//! A replay record holds all that a decision was made of: decided again from it, the same bytes come out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "laws/build.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod build;
#[path = "laws/generate.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod generate;

use berth::health::codec;
use berth::model::*;
use berth::place::place;
use berth::place::record::record;
use berth::place::replay::{Identity, Inputs, MOST_BYTES, Replay, Unreadable, write_replay};
use berth::policy::Policy;
use build::NOW_MS;
use generate::{Case, case};
use proptest::prelude::*;
use proptest::sample::select;

/// Values that somebody could send: ordinary ones, ones that logs trip over, long ones.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec!["chat", "batch", "", "a b", "x;y", "50%", "#1", "a*", "\"q\"", "zürich", "~00ff"]).prop_map(String::from),
        1 => "\\PC{0,40}",
        1 => (100..300_usize).prop_map(|n| "chat-ü".repeat(n / 6)),
    ]
}

#[derive(Clone, Debug)]
struct Said {
    workload: Option<(String, bool)>,
    path: Option<(String, bool)>,
    session: Option<(String, bool)>,
    hashed: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let one = || proptest::option::weighted(0.6, (odd(), any::<bool>()));
    (one(), one(), one(), any::<bool>()).prop_map(|(workload, path, session, hashed)| Said {
        workload,
        path,
        session,
        hashed,
    })
}

#[allow(clippy::ref_option, reason = "what the struct holds")]
fn fact(said: &Option<(String, bool)>) -> Option<Fact<&str>> {
    said.as_ref().map(|(value, trusted)| Fact { value: value.as_str(), trusted: *trusted })
}

/// Has the classes look at what was said, in every way that looks at a text.
fn look(document: &mut Document) {
    let tests = [
        Predicate::Header("x-workload".into(), Test::Prefix("chat".into())),
        Predicate::Fact(FactName::Path, Test::In(vec!["a b".into(), "50%".into()])),
        Predicate::Fact(FactName::Session, Test::Is("zürich".into())),
    ];
    for (class, test) in document.classes.iter_mut().zip(tests) {
        class.matches = Predicate::Any(vec![test, class.matches.clone()]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decided_again_from_its_record_a_decision_is_the_same_bytes(case in case(), said in said()) {
        let Case { mut document, snapshot, local, facts, seed } = case;
        look(&mut document);
        let policy = Policy::new(document, [7; 32]);
        let workload = fact(&said.workload);
        let headers: Vec<_> = workload.iter().map(|f| ("x-workload", *f)).collect();
        let facts = Facts { headers: &headers, path: fact(&said.path), session: fact(&said.session).or(facts.session), ..facts };
        let first = place(&policy, snapshot.as_ref(), &local, &facts, NOW_MS, seed);

        let identity = snapshot.as_ref().map(|s| Identity { writer: s.writer, epoch: s.epoch, checksum: codec::carried_checksum(&codec::encode(s)) });
        let mut text = String::new();
        let inputs = Inputs { policy: &policy, snapshot: identity, local: &local, facts: &facts, now_ms: NOW_MS, seed };
        write_replay(&inputs, said.hashed, &mut text);
        prop_assert!(text.len() <= MOST_BYTES);
        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\' ".contains(&b)), "{text}");

        let replay = Replay::parse(&text).unwrap();
        prop_assert_eq!(replay.snapshot, identity);
        let resolved = replay.resolve(&policy).unwrap();
        let headers = resolved.headers();
        let again = place(&policy, snapshot.as_ref(), &replay.local, &resolved.facts(&headers), replay.now_ms, replay.seed);
        prop_assert_eq!(&again, &first, "{}", text);
        prop_assert_eq!(record(&policy, &again), record(&policy, &first));
    }

    #[test]
    fn bytes_that_are_no_record_are_refused_and_never_a_panic(text in "r1;\\PC{0,80}", cut in 0..200_usize) {
        let _ = Replay::parse(&text);
        let whole = "r1;k07070707;t1;s00000000000000ff;w1.2.00000003;T+acme;l255;.";
        let cut = &whole[..cut.min(whole.len() - 1)];
        prop_assert!(Replay::parse(cut).is_err(), "{cut}");
    }
}

fn one(facts: &Facts, local: &Local, hashed: bool) -> String {
    let policy =
        Policy::new(build::document(vec![build::substrate("s")], vec![build::class("c", &[])], vec![]), [7; 32]);
    let mut text = String::new();
    let inputs = Inputs { policy: &policy, snapshot: None, local, facts, now_ms: 5, seed: 255 };
    write_replay(&inputs, hashed, &mut text);
    text
}

#[test]
fn tenants_are_digests_where_asked_approvals_and_sessions_always() {
    let secret = |value| Some(Fact::trusted(value));
    let facts =
        Facts { tenant: secret("acme"), approval: secret("let-me-in"), session: secret("cookie"), ..Facts::default() };
    let plain = one(&facts, &Local::default(), false);
    assert!(plain.contains(";T+acme;") && !plain.contains("let-me-in") && !plain.contains("cookie"), "{plain}");
    let hashed = one(&facts, &Local::default(), true);
    assert!(!hashed.contains("acme") && hashed.contains(";T+#"), "{hashed}");
}

#[test]
fn what_does_not_fit_is_named_and_then_nothing_is_decided_from_the_rest() {
    let local = Local { placed: vec![123_456; 4_096], ..Local::default() };
    let text = one(&Facts::default(), &local, false);
    assert!(text.len() <= MOST_BYTES && text.ends_with(";!p;."), "{text}");
    let policy = Policy::new(build::document(vec![build::substrate("s")], vec![], vec![]), [7; 32]);
    let missing = Replay::parse(&text).unwrap().resolve(&policy).unwrap_err();
    assert_eq!(missing, ["what was placed since the snapshot: left out, the record was full"]);
}

#[test]
fn a_digest_that_a_class_looks_into_cannot_be_decided_again() {
    let mut class = build::class("c", &[]);
    class.matches = Predicate::Fact(FactName::Tenant, Test::Prefix("acme-".into()));
    let policy = Policy::new(build::document(vec![build::substrate("s")], vec![class], vec![]), [7; 32]);
    let text = one(&Facts { tenant: Some(Fact::trusted("acme-x")), ..Facts::default() }, &Local::default(), true);
    let missing = Replay::parse(&text).unwrap().resolve(&policy).unwrap_err();
    assert_eq!(missing, ["tenant: only its digest is known, and a class looks inside"]);
}

#[test]
fn another_version_is_named_as_such() {
    assert_eq!(Replay::parse("r2;k1;."), Err(Unreadable::Version("r2".into())));
    assert_eq!(Replay::parse("v=1, id=\"00\";x"), Err(Unreadable::Foreign));
}

/// The letters of the table of members in the documentation.
fn documented() -> std::collections::BTreeSet<char> {
    let page = include_str!("../envoy/README.md");
    let table = page.split("### The replay record").nth(1).unwrap();
    let table = table.split("| member | meaning |").nth(1).unwrap().trim_start_matches("\n| --- | --- |\n");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let letters = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    letters.map(|letter| letter.chars().next().unwrap()).collect()
}

#[test]
fn every_member_that_can_be_written_is_in_the_documentation_and_none_besides() {
    let mut class = build::class("c", &[]);
    class.matches = Predicate::Header("x-workload".into(), Test::Present);
    let mut substrate = build::substrate("s");
    substrate.capacity.tenant_share_ppm = vec![("a".into(), 500_000)];
    let mut document = build::document(vec![substrate], vec![class], vec![]);
    document.settings.budgets =
        vec![settings::Budget { tenant: "a".into(), window_s: 60, most_uusd: 1, fleet_share_ppm: 1_000_000 }];
    let policy = Policy::new(document, [7; 32]);
    let text = || Some(Fact::trusted("a"));
    let number = || Some(Fact::trusted(1_u32));
    let headers = [("x-workload", Fact::trusted("chat"))];
    let facts = Facts {
        tenant: text(),
        class: text(),
        model: text(),
        data: text(),
        residency: text(),
        region: text(),
        zone: text(),
        session: text(),
        approval: text(),
        method: text(),
        path: text(),
        streaming: Some(Fact::trusted(true)),
        input_tokens: number(),
        output_tokens: number(),
        deadline_ms: number(),
        features: Feature::ALL.into_iter().fold(Features::default(), Features::with),
        content_bytes: Some(1),
        idempotent: true,
        contradicted: true,
        attempts_left: Some(2),
        headers: &headers,
    };
    let local = Local { slot: 1, placed: vec![1], probes: vec![1], spent_uusd: vec![1], tenant_placed: vec![1] };
    let snapshot = Some(Identity { writer: 1, epoch: 2, checksum: 3 });
    let mut written = String::new();
    let inputs = Inputs { policy: &policy, snapshot, local: &local, facts: &facts, now_ms: 5, seed: 255 };
    write_replay(&inputs, false, &mut written);
    let crowded = one(&Facts::default(), &Local { placed: vec![123_456; 4_096], ..Local::default() }, false);
    let members = [written.as_str(), crowded.as_str()].into_iter().flat_map(|text| text.split(';'));
    let letters = members.filter(|member| !matches!(*member, "r1" | ".")).map(|member| member.chars().next().unwrap());
    assert_eq!(letters.collect::<std::collections::BTreeSet<_>>(), documented(), "{written}");
}
