//! The trust law: what anybody can write never opens anything. Adding or changing untrusted facts, over generated
//! policies and requests, never permits a candidate that was not permitted without them, and never raises tier, cost
//! limit, attempts or deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use berth::{
    model::{
        Attestation, Borders, Class, Code, Codes, Country, Dimension, Document, Envelope, Fact, FactName, Facts,
        Feature, Features, Health, Kind, Local, Name, Predicate, Reading, Selector, Signal, Snapshot, Terms,
        Test as Ask, Tier,
        class::{Attempts, Limits, Worth},
        envelope::Require,
        settings::Approval,
    },
    place::{Inspection, inspect},
    policy::{Policy, read_yaml},
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};
use std::sync::LazyLock;

const NOW_MS: u64 = 1_800_000_000_000;
/// What keeps a candidate from being permitted and able, whoever else there is.
const STANDING: u64 = Codes::all_of(Dimension::Workload).0
    | Codes::all_of(Dimension::Governance).0
    | Codes::all_of(Dimension::Sovereignty).0;

static LIBRARY: LazyLock<Document> =
    LazyLock::new(|| read_yaml(include_str!("../policies/agentic-production.yaml")).unwrap().document);

/// What depends on how the other candidates are: fewer permitted ones may lift it.
const RELIEVED: u64 = Codes::of(Code::QueueFull).0
    | Codes::of(Code::MemoryFull).0
    | Codes::of(Code::Congested).0
    | Codes::of(Code::Admission).0
    | Codes::of(Code::RateLimited).0
    | Codes::of(Code::Failing).0
    | Codes::of(Code::ReservedFirst).0
    | Codes::of(Code::Shed).0;

const TENANTS: [&str; 3] = ["acme", "globex", "nobody"];
const DATA: [&str; 3] = ["public", "personal", "special"];
const REGIONS: [&str; 2] = ["eu-west", "us-east"];
const CLASSES: [&str; 3] = ["first", "second", "third"];
const COUNTRIES: [&str; 5] = ["DE", "FR", "IE", "NL", "US"];
const HEADERS: [&str; 2] = ["x-workload", "x-team"];
const WORDS: [&str; 2] = ["a", "b"];

/// The words that each textual fact may say; numbers and flags are made of the same draw.
fn words(fact: FactName) -> &'static [&'static str] {
    match fact {
        FactName::Tenant => &TENANTS,
        FactName::Class => &CLASSES,
        FactName::Data => &DATA,
        FactName::Region => &REGIONS,
        FactName::Model => &["llama-3.3-70b", "llama-3.1-8b", "unknown"],
        FactName::Residency => &["EU", "US", "FR"],
        FactName::Zone => &["par-1", "fra-1"],
        FactName::Approval => &["emergency", "wrong"],
        FactName::Path => &["/v1/chat", "/v1/batches"],
        FactName::Method => &["GET", "POST"],
        FactName::Session => &["s1", "s2"],
        _ => &["-"],
    }
}

fn some(list: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<&'static str>>> {
    option::weighted(0.4, subsequence(list, 1..=list.len()))
}

fn names(list: Option<Vec<&str>>) -> Option<Vec<Name>> {
    list.map(|l| l.into_iter().map(|n| Name::parse(n).unwrap()).collect())
}

fn texts(list: Option<Vec<&str>>) -> Option<Vec<String>> {
    list.map(|l| l.into_iter().map(String::from).collect())
}

fn terms() -> impl Strategy<Value = Terms> {
    let kinds = option::weighted(0.2, subsequence(&Kind::ALL[..], 1..=7));
    (option::weighted(0.3, subsequence(&COUNTRIES[..], 1..=5)), kinds, some(&REGIONS)).prop_map(
        |(places, kinds, regions)| Terms {
            jurisdictions: places.map(|l| l.iter().map(|c| Country::parse(c).unwrap()).collect()),
            kinds,
            regions: names(regions),
            ..Terms::default()
        },
    )
}

fn envelopes() -> impl Strategy<Value = Vec<Envelope>> {
    let selector = (some(&TENANTS), some(&DATA), some(&CLASSES), some(&REGIONS));
    let require = (option::weighted(0.2, 1..900_000_u64), option::weighted(0.2, 1..900_000_u64), 0..8_u8, 0..32_u8);
    vec((selector, terms(), option::weighted(0.3, terms()), 0..32_u8, require), 1..6).prop_map(|all| {
        let one = |(i, ((tenants, data, classes, regions), permit, forbid, spillover, require)): (usize, _)| {
            let (attested, heard, gap, approval): (_, _, u8, u8) = require;
            let forbid: Option<Terms> = forbid;
            Envelope {
                name: Name::parse(&format!("e{i}")).unwrap(),
                applies_to: Selector {
                    tenants: texts(tenants),
                    data: texts(data),
                    classes: names(classes),
                    regions: names(regions),
                },
                permit,
                forbid: forbid.unwrap_or_default(),
                // Mostly everything may be crossed, so that something stands.
                spillover: if spillover % 2 == 0 { Borders::ANY } else { Borders::from_bits(spillover) },
                require: Require {
                    attestation_max_age_ms: attested,
                    health_max_age_ms: heard,
                    air_gapped: gap == 0,
                    approval_for: if approval % 4 == 0 { Borders::from_bits(approval) } else { Borders::NONE },
                },
            }
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

/// A condition on any fact or header, perhaps turned round.
fn predicate() -> impl Strategy<Value = Predicate> {
    let fact = (select(&FactName::ALL[..]), 0..6_usize).prop_map(|(fact, pick)| {
        let test = match fact {
            _ if pick == 0 => Ask::Present,
            FactName::InputTokens | FactName::OutputTokens | FactName::Deadline => {
                Ask::Range { min: Some(pick as i64 * 2_000), max: None }
            }
            FactName::Streaming => Ask::Is((pick % 2 == 0).to_string()),
            _ => Ask::Is(words(fact)[pick % words(fact).len()].into()),
        };
        Predicate::Fact(fact, test)
    });
    let header = (select(&HEADERS[..]), select(&WORDS[..]))
        .prop_map(|(name, word)| Predicate::Header(name.into(), Ask::Is(word.into())));
    prop_oneof![3 => fact, 1 => header].prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..3).prop_map(Predicate::All),
            vec(inner.clone(), 1..3).prop_map(Predicate::Any),
            inner.prop_map(|p| Predicate::Not(Box::new(p))),
        ]
    })
}

fn class(name: &'static str) -> impl Strategy<Value = Class> {
    let amounts = (0..30_000_i64, 0..3_000_i64, 0..60_000_i64);
    let limits = (option::of(1..800_i64), 0..850_000_u32, option::of(0..10_u32));
    let home = subsequence((0..LIBRARY.substrates.len()).collect::<Vec<_>>(), 1..4);
    let rest = (1..=3_u8, option::of(500..20_000_u32), 1..600_u32, 0..16_u8, 0..64_u8);
    (predicate(), select(&Tier::ALL[..]), home, 500..120_000_u32, amounts, limits, rest).prop_map(
        move |(matches, tier, home, deadline_ms, worth, limits, (most, per_try, output, flags, approval))| Class {
            name: Name::parse(name).unwrap(),
            matches,
            tier,
            home: home.into_iter().map(|i| LIBRARY.substrates[i].name.clone()).collect(),
            deadline_ms,
            attempts: Attempts { most, per_try_ms: per_try, repeatable: true, hedge: false },
            worth: Worth { answer_uusd: worth.0, second_uusd: worth.1, failure_uusd: worth.2 },
            limits: Limits { cost_uusd: limits.0, min_quality_ppm: limits.1, max_queue: limits.2 },
            needs: if flags & 3 == 0 { Features::default().with(Feature::Tools) } else { Features::default() },
            usual_output_tokens: output,
            synchronous: flags & 4 == 0,
            allow_throughput: flags & 8 == 0,
            air_gapped: flags == 1,
            approval_for: if approval < 4 { Borders::from_bits(0b111) } else { Borders::NONE },
        },
    )
}

/// A policy over the library's substrates.
fn policy() -> impl Strategy<Value = Document> {
    let classes = (class(CLASSES[0]), class(CLASSES[1]), class(CLASSES[2]));
    (envelopes(), classes, select(&CLASSES[..]), 0..32_u8).prop_map(|(envelopes, (a, b, c), default, opens)| {
        let mut document = LIBRARY.clone();
        document.envelopes = envelopes;
        document.classes = vec![a, b, c];
        document.default_class = Name::parse(default).unwrap();
        let borders = Borders::from_bits(opens);
        document.settings.approvals = vec![Approval { token: "emergency".into(), borders, until_ms: NOW_MS + 1 }];
        document
    })
}

/// A request: for each fact and header nothing, or a draw with its trust; what is asked for has none.
#[derive(Clone, Debug)]
struct Request {
    facts: Vec<Option<(usize, bool)>>,
    headers: Vec<Option<(usize, bool)>>,
}

fn request() -> impl Strategy<Value = Request> {
    let one = || option::weighted(0.6, (0..4_usize, any::<bool>()));
    (vec(one(), FactName::ALL.len()), vec(one(), HEADERS.len())).prop_map(|(facts, headers)| Request { facts, headers })
}

impl Request {
    /// Without what `keep` does not keep.
    fn only(&self, keep: impl Fn(usize, bool) -> bool) -> Self {
        let filter = |list: &[Option<(usize, bool)>], from: usize| {
            list.iter().enumerate().map(|(i, said)| said.filter(|(_, trusted)| keep(from + i, *trusted))).collect()
        };
        Self { facts: filter(&self.facts, 0), headers: filter(&self.headers, FactName::ALL.len()) }
    }

    /// With the stream believed: it says what the deadline is for (the first token or all of them), not who may.
    fn with_stream_believed(mut self) -> Self {
        let stream = &mut self.facts[FactName::Streaming as usize];
        *stream = stream.map(|(pick, _)| (pick, true));
        self
    }

    fn place(&self, policy: &Policy, snapshot: Option<&Snapshot>) -> Inspection {
        let said = |fact: FactName| self.facts[fact as usize];
        let text =
            |fact| said(fact).map(|(pick, trusted)| Fact { value: words(fact)[pick % words(fact).len()], trusted });
        let number =
            |fact, step: u32| said(fact).map(|(pick, trusted)| Fact { value: (pick as u32 + 1) * step, trusted });
        let headers: Vec<(&str, Fact<&str>)> = HEADERS
            .iter()
            .zip(&self.headers)
            .filter_map(|(name, said)| said.map(|(pick, trusted)| (*name, Fact { value: WORDS[pick % 2], trusted })))
            .collect();
        let facts = Facts {
            tenant: text(FactName::Tenant),
            class: text(FactName::Class),
            model: text(FactName::Model),
            input_tokens: number(FactName::InputTokens, 3_000),
            output_tokens: number(FactName::OutputTokens, 100),
            data: text(FactName::Data),
            residency: text(FactName::Residency),
            session: text(FactName::Session),
            deadline_ms: number(FactName::Deadline, 20_000),
            region: text(FactName::Region),
            zone: text(FactName::Zone),
            approval: text(FactName::Approval),
            streaming: said(FactName::Streaming).map(|(pick, trusted)| Fact { value: pick % 2 == 0, trusted }),
            method: text(FactName::Method),
            path: text(FactName::Path),
            headers: &headers,
            ..Facts::default()
        };
        inspect(policy, snapshot, &Local::default(), &facts, NOW_MS, 7)
    }
}

/// A picture in which everything was heard, and proved, some time ago, and some queues are long.
fn picture() -> impl Strategy<Value = Snapshot> {
    let queues = vec(prop_oneof![Just(3_i64), 0..2_000_i64], LIBRARY.substrates.len());
    (0..1_000_000_u64, queues).prop_map(|(age_ms, queues)| seen(age_ms, &queues))
}

fn seen(age_ms: u64, queues: &[i64]) -> Snapshot {
    let at_ms = NOW_MS - age_ms;
    let record = |(s, queue): (&berth::model::Substrate, &i64)| {
        let mut health = Health::unknown(s.name.as_str());
        health.set(Signal::QueueDepth, Reading { value: *queue, at_ms });
        health.attestation = Some(Attestation { jurisdiction: s.location.jurisdiction, at_ms });
        health
    };
    let substrates = LIBRARY.substrates.iter().zip(queues).map(record).collect();
    Snapshot { writer: 1, epoch: 1, at_ms, interval_ms: 1_000, slots: 1, substrates }
}

fn calm() -> Snapshot {
    seen(0, &[3; 64])
}

fn codes(seen: &Inspection) -> Vec<u64> {
    seen.rows.iter().map(|row| row.reasons.iter().fold(0, |bits, r| bits | Codes::of(r.code).0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn untrusted_facts_never_add_a_candidate(document in policy(), request in request()) {
        let policy = Policy::new(document, [0; 32]);
        let request = request.with_stream_believed();
        let with = request.place(&policy, None);
        let without = request.only(|_, trusted| trusted).place(&policy, None);
        for (id, (before, after)) in codes(&without).into_iter().zip(codes(&with)).enumerate() {
            let lost = Codes(before).iter().collect::<Vec<Code>>();
            prop_assert!(before == 0 || after != 0, "{} stands, without: {lost:?}", policy.substrate_name(id as u16));
        }
    }

    #[test]
    fn untrusted_facts_never_make_a_candidate_permitted_or_able(
        document in policy(), request in request(), picture in option::of(picture()),
    ) {
        let policy = Policy::new(document, [0; 32]);
        let request = request.with_stream_believed();
        let with = request.place(&policy, picture.as_ref());
        let without = request.only(|_, trusted| trusted).place(&policy, picture.as_ref());
        for (before, after) in codes(&without).into_iter().zip(codes(&with)) {
            let lost = Codes(before & STANDING).iter().collect::<Vec<Code>>();
            prop_assert!(lost.is_empty() || after & STANDING != 0, "taken away: {lost:?}");
            // What the others leave may relieve: that is the panic rule's, shedding's and reserved first's word.
            let held = Codes(before & !RELIEVED).iter().collect::<Vec<Code>>();
            prop_assert!(held.is_empty() || after != 0, "stands, without: {held:?}");
        }
    }

    #[test]
    fn untrusted_facts_never_raise_tier_deadline_attempts_or_cost_limit(document in policy(), request in request()) {
        let policy = Policy::new(document, [0; 32]);
        let snapshot = calm();
        let trusted = request.only(|_, trusted| trusted).place(&policy, Some(&snapshot));
        let seen = request.place(&policy, Some(&snapshot));
        prop_assert!(seen.tier <= trusted.tier);
        prop_assert!(seen.deadline_us <= trusted.deadline_us);
        let class = policy.class(trusted.decision.class);
        prop_assert!(seen.decision.plan.len() <= usize::from(class.attempts.most));
        for attempt in seen.decision.plan.iter() {
            prop_assert!(class.limits.cost_uusd.is_none_or(|most| attempt.cost_uusd <= most));
            prop_assert!(u64::from(attempt.per_try_ms) * 1_000 <= trusted.deadline_us.unsigned_abs());
        }
    }
}

mod examples {
    use super::*;

    fn production() -> Policy {
        Policy::new(LIBRARY.clone(), [0; 32])
    }

    fn place(facts: &Facts) -> Inspection {
        inspect(&production(), Some(&calm()), &Local::default(), facts, NOW_MS, 7)
    }

    fn standing(seen: &Inspection) -> Vec<&str> {
        seen.rows
            .iter()
            .filter(|row| row.reasons.is_empty())
            .map(|row| LIBRARY.substrates[usize::from(row.substrate)].name.as_str())
            .collect()
    }

    #[test]
    fn naming_another_s_envelope_permits_nothing() {
        let mine = place(&Facts { tenant: Some(Fact::trusted("acme")), ..Facts::default() });
        assert!(!standing(&mine).is_empty());
        let stranger = place(&Facts { tenant: Some(Fact::claimed("acme")), ..Facts::default() });
        assert_eq!(standing(&stranger), [""; 0]);
        assert!(stranger.rows.iter().all(|row| row.reasons.iter().any(|r| r.code == Code::NoEnvelope)));
    }

    #[test]
    fn nobody_escapes_an_envelope_of_their_own_by_claiming_other_data_or_another_class() {
        let facts =
            Facts { tenant: Some(Fact::trusted("globex")), data: Some(Fact::trusted("personal")), ..Facts::default() };
        let honest = place(&facts);
        for class in ["interactive", "batch", "long-context", "edge", "standard"] {
            let claims = Facts { class: Some(Fact::claimed(class)), region: Some(Fact::claimed("us-east")), ..facts };
            let clever = place(&claims);
            assert!(honest.envelopes.iter().all(|e| clever.envelopes.contains(e)));
            let before = standing(&honest);
            assert!(standing(&clever).iter().all(|name| before.contains(name)), "{class}");
        }
        let silent = place(&Facts { data: Some(Fact::claimed("public")), ..facts });
        assert!(standing(&silent).iter().all(|name| !name.starts_with("provider")));
    }

    #[test]
    fn claiming_critical_work_raises_neither_tier_nor_deadline_nor_what_may_be_spent() {
        let facts = Facts { tenant: Some(Fact::trusted("acme")), ..Facts::default() };
        let plain = place(&facts);
        let claimed = place(&Facts { class: Some(Fact::claimed("interactive")), ..facts });
        assert_eq!((plain.tier, claimed.tier), (Tier::Standard, Tier::Standard));
        assert!(claimed.deadline_us <= plain.deadline_us);
        let headers = [("x-workload", Fact::claimed("chat"))];
        let by_header = place(&Facts { headers: &headers, deadline_ms: Some(Fact::claimed(3_600_000)), ..facts });
        assert_eq!(by_header.tier, Tier::Standard);
        assert!(by_header.deadline_us <= plain.deadline_us);
        let believed = place(&Facts { class: Some(Fact::trusted("interactive")), ..facts });
        assert_eq!(believed.tier, Tier::Critical);
    }
}
