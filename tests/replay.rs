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

/// A policy whose class asks this, with names that it uses without asking: an envelope's tenant and data, a budget's, a
/// share's and a reserve's tenant, a model.
fn asking(matches: Predicate) -> Policy {
    let (mut class, mut envelope, mut substrate) =
        (build::class("c", &[]), build::envelope("e"), build::substrate("s"));
    class.matches = matches;
    envelope.applies_to.tenants = Some(vec!["of-envelope".into(), "e".repeat(200)]);
    envelope.applies_to.data = Some(vec!["d".repeat(200)]);
    substrate.capacity.tenant_share_ppm = vec![("of-share".into(), 500_000)];
    substrate.capacity.keep_for_tenant_ppm = vec![("of-reserve".into(), 100_000)];
    let mut document = build::document(vec![substrate], vec![class], vec![envelope]);
    let budget =
        settings::Budget { tenant: "of-budget".into(), window_s: 60, most_uusd: 1, fleet_share_ppm: 1_000_000 };
    document.settings.budgets = vec![budget];
    document.settings.approvals =
        vec![settings::Approval { token: "sesame".into(), borders: Borders::ANY, until_ms: NOW_MS }];
    Policy::new(document, [7; 32])
}

/// What the facts are again after they were written and read under a policy.
fn back<T>(policy: &Policy, facts: &Facts, hashed: bool, look: impl FnOnce(&Facts) -> T) -> Result<T, Vec<String>> {
    let local = Local::default();
    let inputs = Inputs { policy, snapshot: None, local: &local, facts, now_ms: 5, seed: 255 };
    let mut text = String::new();
    write_replay(&inputs, hashed, &mut text);
    let resolved = Replay::parse(&text).unwrap().resolve(policy)?;
    let headers = resolved.headers();
    Ok(look(&resolved.facts(&headers)))
}

#[test]
fn the_beginning_of_a_long_value_does_unless_the_policy_looks_further() {
    let long = "v".repeat(300);
    // The first 128 bytes of a value are written.
    let (near, far) = ("v".repeat(128), "v".repeat(129));
    let tests = [
        (Test::Present, true),
        (Test::Is(near.clone()), true),
        (Test::Is(far.clone()), false),
        (Test::In(vec!["a".into(), near.clone()]), true),
        (Test::In(vec!["a".into(), far.clone()]), false),
        (Test::Prefix(near), true),
        (Test::Prefix(far), false),
        (Test::Range { min: Some(1), max: None }, false),
    ];
    let wrong = |what: &str| vec![format!("{what}: only its first 128 bytes are known, and a class looks further")];
    for (test, does) in tests {
        let fact = Fact::trusted(long.as_str());
        let headers = [("x-a", fact), ("x-b", Fact::claimed("short"))];
        let in_header = Facts { headers: &headers, ..Facts::default() };
        let begun = format!("{}…", "v".repeat(128));
        let seen = back(&asking(Predicate::Header("x-a".into(), test.clone())), &in_header, false, |facts| {
            (facts.header("x-a").unwrap().value.to_string(), facts.header("x-b").unwrap().value.to_string())
        });
        let expected = if does { Ok((begun.clone(), "short".into())) } else { Err(wrong("x-a")) };
        assert_eq!(seen, expected, "{test:?} of a header");
        // What is asked of another header is not asked of this one.
        let other = Predicate::Not(Box::new(Predicate::Header("x-b".into(), test.clone())));
        assert!(back(&asking(other), &in_header, false, |_| ()).is_ok(), "{test:?} of another");

        let in_path = Facts { path: Some(fact), ..Facts::default() };
        let asks = Predicate::All(vec![Predicate::Fact(FactName::Path, test.clone())]);
        let seen = back(&asking(asks), &in_path, false, |facts| facts.path.unwrap().value.to_string());
        assert_eq!(seen, if does { Ok(begun) } else { Err(wrong("path")) }, "{test:?} of a fact");
    }
    // The policy itself looks at the tenants and the data of its envelopes, and at nothing that is as long of models.
    let fact = Some(Fact::trusted(long.as_str()));
    let nothing = asking(Predicate::Any(vec![]));
    assert_eq!(back(&nothing, &Facts { tenant: fact, ..Facts::default() }, false, |_| ()), Err(wrong("tenant")));
    assert_eq!(back(&nothing, &Facts { data: fact, ..Facts::default() }, false, |_| ()), Err(wrong("data")));
    assert_eq!(back(&nothing, &Facts { model: fact, ..Facts::default() }, false, |_| ()), Ok(()));
}

#[test]
fn a_digest_is_the_policys_own_word_again_or_none_of_its_words() {
    let policy = asking(Predicate::Any(vec![
        Predicate::Fact(FactName::Tenant, Test::In(vec!["of-class".into()])),
        Predicate::Fact(FactName::Session, Test::Is("of-session".into())),
    ]));
    for tenant in ["of-envelope", "of-budget", "of-share", "of-reserve", "of-class"] {
        let facts = Facts { tenant: Some(Fact::claimed(tenant)), ..Facts::default() };
        let seen = back(&policy, &facts, true, |facts| facts.tenant.map(|f| (f.value.to_string(), f.trusted)));
        assert_eq!(seen, Ok(Some((tenant.to_string(), false))));
    }
    let facts = Facts {
        session: Some(Fact::trusted("of-session")),
        approval: Some(Fact::trusted("sesame")),
        tenant: Some(Fact::trusted("stranger")),
        ..Facts::default()
    };
    let seen = back(&policy, &facts, true, |facts| {
        let text = |fact: Option<Fact<&str>>| fact.unwrap().value.to_string();
        [text(facts.session), text(facts.approval), text(facts.tenant)]
    });
    let [session, approval, tenant] = seen.unwrap();
    assert_eq!((session.as_str(), approval.as_str()), ("of-session", "sesame"));
    assert!(tenant.starts_with('~') && tenant.len() == 17, "a stranger stays one: {tenant}");
}

#[test]
fn what_is_written_of_a_value_is_read_as_it_was() {
    let facts = |value: &'static str| Facts { path: Some(Fact::claimed(value)), ..Facts::default() };
    let local = Local { slot: 3, placed: vec![0, 2, 0, 5], probes: vec![1], ..Local::default() };
    let text = one(&facts("/a b;c=ü"), &local, false);
    assert_eq!(text, "r1;k07070707;t5;s00000000000000ff;P-/a%20b%3bc%3d%c3%bc;l3;q0:1;p1:2,3:5;.");
    let replay = Replay::parse(&text).unwrap();
    assert_eq!((replay.now_ms, replay.seed, &replay.local), (5, 255, &local));
    // A name is cut between characters: 127 bytes and half of one do not fit.
    let cut = format!("{}ü", "x".repeat(127));
    let cut = one(&Facts { path: Some(Fact::claimed(&cut)), ..Facts::default() }, &Local::default(), false);
    assert!(cut.contains(&format!(";P-{}*;", "x".repeat(127))), "{cut}");
}

/// One position where it has both, and nothing kept for one who only says to be the tenant.
#[test]
fn of_what_tenants_have_in_flight_the_tenants_own_is_written() {
    let mut substrates = ["s", "t"].map(build::substrate);
    substrates[0].capacity.tenant_share_ppm = vec![("b".into(), 500_000), ("a".into(), 500_000)];
    substrates[0].capacity.keep_for_tenant_ppm = vec![("a".into(), 100_000), ("b".into(), 100_000)];
    substrates[1].capacity.keep_for_tenant_ppm = vec![("b".into(), 100_000), ("a".into(), 100_000)];
    let policy = Policy::new(build::document(substrates.into(), vec![build::class("c", &[])], vec![]), [7; 32]);
    let local = Local { tenant_placed: vec![5, 6, 7, 8], ..Local::default() };
    let written = |tenant| {
        let facts = Facts { tenant: Some(tenant), ..Facts::default() };
        let mut text = String::new();
        let inputs = Inputs { policy: &policy, snapshot: None, local: &local, facts: &facts, now_ms: 5, seed: 255 };
        write_replay(&inputs, false, &mut text);
        text.split(';').find(|member| member.starts_with('u')).map(String::from)
    };
    let cases = [Fact::trusted("a"), Fact::claimed("a"), Fact::trusted("b"), Fact::trusted("c")].map(written);
    assert_eq!(cases.each_ref().map(Option::as_deref), [Some("u1:6,3:8"), Some("u1:6"), Some("u0:5,2:7"), None]);
}

#[test]
fn what_was_left_out_is_named_for_what_it_is() {
    let policy = asking(Predicate::Any(vec![]));
    for (letter, what) in [
        ("T", "tenant"),
        ("h", "headers"),
        ("p", "what was placed since the snapshot"),
        ("q", "what was probed since the snapshot"),
        ("m", "local values"),
        ("u", "local values"),
    ] {
        let replay = Replay::parse(&format!("r1;k07070707;t1;sff;!{letter};.")).unwrap();
        assert_eq!(replay.resolve(&policy).unwrap_err(), [format!("{what}: left out, the record was full")]);
    }
}

#[test]
fn another_version_is_named_as_such() {
    assert_eq!(Replay::parse("r2;k1;."), Err(Unreadable::Version("r2".into())));
    for text in ["v=1, id=\"00\";x", "r;.", "rx;.", "q1;k1;.", ""] {
        assert_eq!(Replay::parse(text), Err(Unreadable::Foreign), "{text}");
    }
    assert_eq!(Replay::parse("r1;k1;t1"), Err(Unreadable::Cut));
    let least = Replay::parse("r1;k1;.").unwrap();
    assert_eq!(
        (least.policy.as_str(), least.now_ms, least.seed, least.snapshot, least.local),
        ("1", 0, 0, None, Local::default())
    );
    for member in
        ["t-1", "sx", "w1.2", "T", "Tacme", "T+%4", "T+%zz", "T+#q", "p1", "p1:x", "p65536:1", "hx-a", "z1", "n300"]
    {
        assert_eq!(Replay::parse(&format!("r1;{member};.")), Err(Unreadable::Member(member.into())));
    }
    let long = |bytes: usize| format!("r1;k{};.", "1".repeat(bytes - 6));
    assert!(Replay::parse(&long(MOST_BYTES)).is_ok());
    assert_eq!(Replay::parse(&long(MOST_BYTES + 1)), Err(Unreadable::Member("2049 bytes".into())));
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
