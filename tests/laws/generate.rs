//! Policies, snapshots and requests at random, from small pools, so that they meet: every rule of the decision is
//! reached by some of them. Any test may use them.

use super::build::*;
use berth::model::class::Limits;
use berth::model::envelope::Require;
use berth::model::settings::{Approval, Budget, Link, Thresholds};
use berth::model::substrate::{Attested, Egress};
use berth::model::*;
use proptest::collection::vec;
use proptest::option::{self, of, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const COUNTRIES: [&str; 3] = ["FR", "DE", "US"];
const ZONES: [(&str, &str); 3] = [("eu", "eu-a"), ("eu", "eu-b"), ("us", "us-a")];
const ACCOUNTS: [&str; 2] = ["acme", "trial"];
const TENANTS: [&str; 3] = ["acme", "globex", "nobody"];
const DATA: [&str; 2] = ["personal", "public"];
const MODELS: [&str; 3] = ["m", "n", "absent"];
pub(crate) const SUBSTRATES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
const CLASSES: [&str; 3] = ["chat", "bulk", "agent"];

/// One whole case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) document: Document,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) local: Local,
    pub(crate) facts: Facts<'static>,
    pub(crate) seed: u64,
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    let world = (document_with(1..=6), weighted(0.8, snapshot_()), local(), facts(), any::<u64>());
    (world, any::<bool>()).prop_map(|((mut document, mut snapshot, local, mut facts, seed), gentle)| {
        if gentle {
            permit(&mut document, &mut facts);
            // Nobody proves to be elsewhere either.
            snapshot.iter_mut().flat_map(|s| &mut s.substrates).for_each(|h| h.attestation = None);
        }
        Case { document, snapshot, local, facts, seed }
    })
}

/// Lets almost everything through the policy and the capabilities, so that health, cost and choice come to the fore.
fn permit(document: &mut Document, facts: &mut Facts) {
    document.envelopes = vec![envelope("e0")];
    for class in &mut document.classes {
        class.limits.min_quality_ppm = 0;
        (class.needs, class.air_gapped, class.approval_for) = (Features::default(), false, Borders::NONE);
        class.deadline_ms += 5_000;
    }
    for substrate in &mut document.substrates {
        substrate.sovereignty.attestation = Attested::None;
        substrate.capabilities.throughput_only = false;
        substrate.capabilities.context_tokens = 32_000;
    }
    (facts.model, facts.residency, facts.features) = (None, None, Features::default());
    (facts.output_tokens, facts.streaming) = (None, None);
}

pub(crate) fn document_with(size: core::ops::RangeInclusive<usize>) -> impl Strategy<Value = Document> {
    let parts = (vec(substrate_(), size), vec(class_(), 1..=3), vec(envelope_(), 0..=3), thresholds(), extras());
    parts.prop_map(|(mut substrates, mut classes, mut envelopes, thresholds, extras)| {
        substrates.iter_mut().zip(SUBSTRATES).for_each(|(s, called)| s.name = name(called));
        classes.iter_mut().zip(CLASSES).for_each(|(c, called)| c.name = name(called));
        envelopes.iter_mut().zip(["e0", "e1", "e2"]).for_each(|(e, called)| e.name = name(called));
        let mut document = document(substrates, classes, envelopes);
        document.settings.thresholds = [thresholds; 7];
        let (panic, plan, headroom, budget) = extras;
        document.settings.selection.panic_ppm = panic;
        document.settings.selection.plan = plan;
        document.settings.headroom_ppm = headroom;
        document.settings.budgets = budget;
        let approval =
            |token: &str, bits, until_ms| Approval { token: token.into(), borders: Borders::from_bits(bits), until_ms };
        document.settings.approvals = vec![approval("valid", 0b1_1111, NOW_MS + 1), approval("late", 0b1_1111, NOW_MS)];
        document.settings.links = vec![Link {
            from: name("eu-b"),
            to: name("us-a"),
            latency_us: 80_000,
            pusd_per_byte: 20_000,
            ceiling_ppm: 500_000,
        }];
        document
    })
}

fn extras() -> impl Strategy<Value = (u32, u8, u32, Vec<Budget>)> {
    let budget = (0..40_i64, select(vec![500_000_u32, 1_000_000])).prop_map(|(most, share)| Budget {
        tenant: "acme".into(),
        window_s: 60,
        most_uusd: most * 20,
        fleet_share_ppm: share,
    });
    (select(vec![0_u32, 300_000, 500_000]), 1..=3_u8, select(vec![0_u32, 150_000]), vec(budget, 0..=1))
}

fn ppm() -> impl Strategy<Value = u32> {
    (0..=10_u32).prop_map(|n| n * 100_000)
}

fn thresholds() -> impl Strategy<Value = Thresholds> {
    let one = || option::weighted(0.5, ppm());
    ((of(0..8_u32), one(), one(), one(), one()), (one(), of(0..8_u32), one(), one())).prop_map(
        |((queue_depth, soft, hard, interconnect_ppm, rack_ppm), (power, rate_remaining, failure_ppm, link_ppm))| {
            Thresholds {
                queue_depth,
                // Sizes differ as well as kinds.
                queue_share_ppm: link_ppm,
                memory_soft_ppm: soft,
                memory_hard_ppm: hard,
                cpu_ppm: hard,
                accelerator_ppm: soft,
                interconnect_ppm,
                rack_ppm,
                east_west_ppm: rack_ppm,
                power_headroom_ppm: power,
                cooling_headroom_ppm: power,
                link_ppm,
                rate_remaining,
                failure_ppm,
            }
        },
    )
}

fn substrate_() -> impl Strategy<Value = Substrate> {
    let place = (select(&COUNTRIES), select(&ZONES), select(&ACCOUNTS), subsequence(&COUNTRIES, 1..=2));
    let kind =
        (select(&Kind::ALL), select(&Regime::ALL), any::<bool>(), weighted(0.2, Just(())), weighted(0.2, Just(())));
    let can = (1..=10_u32, select(vec![1_000_u32, 8_000, 32_000]), 0..4_u16, subsequence(&MODELS[..2], 1..=2));
    let price = (0..8_i64, 0..8_i64, 0..4_i64, 0..3_i64);
    let reserves = subsequence(&TENANTS[..2], 0..=2).prop_flat_map(|tenants| {
        let parts = vec(select(vec![125_000_u32, 250_000]), tenants.len());
        parts.prop_map(move |parts| tenants.iter().map(|t| (*t).to_string()).zip(parts).collect::<Vec<_>>())
    });
    let kept = (select(vec![0_u32, 250_000, 500_000]), prop_oneof![1 => Just(vec![]), 1 => reserves]);
    let fit = (1..=4_u32, kept, of(ppm()), select(vec![0_u32, 500_000, 1_000_000]), ppm());
    (place, kind, can, price, fit).prop_map(|(place, kind, can, price, fit)| {
        let mut s = substrate("s");
        let ((region, zone), laws) = (place.1, place.3);
        s.location.jurisdiction = country(place.0);
        (s.location.region, s.location.zone) = (name(region), name(zone));
        s.location.failure_domain = s.location.zone.clone();
        s.account = name(place.2);
        s.sovereignty.subject_to = laws.into_iter().map(country).collect();
        s.sovereignty.subject_to.sort();
        (s.kind, s.cost.regime, s.sovereignty.air_gapped) = (kind.0, kind.1, kind.2);
        s.sovereignty.attestation = if kind.3.is_some() { Attested::Required } else { Attested::None };
        s.capabilities.throughput_only = kind.4.is_some();
        let (quality, context, features, models) = can;
        s.capabilities.context_tokens = context;
        s.capabilities.features = Features(features);
        let offer = |m: &str| Offer {
            model: m.into(),
            quality_ppm: quality * 100_000,
            context_tokens: (m == "n").then_some(context / 2),
            revision: None,
        };
        s.capabilities.models = models.into_iter().map(offer).collect();
        s.cost.input_pusd_per_token = price.0 * 100_000;
        s.cost.output_pusd_per_token = price.1 * 400_000;
        s.latency.first_token_us = 50_000 + price.2 * 2_000_000;
        let egress = |to_region, price| Egress { to_region, pusd_per_byte: price };
        s.cost.egress = vec![egress(Some(name("us")), price.3 * 50_000), egress(None, price.3 * 90_000)];
        let (concurrency, keep, share, after, ceiling) = fit;
        s.capacity.concurrency = concurrency * 4;
        s.capacity.keep_for_ppm = [0, 0, keep.0];
        s.capacity.keep_for_tenant_ppm = keep.1;
        s.capacity.tenant_share_ppm = share.into_iter().map(|ppm| ("acme".to_string(), ppm)).collect();
        (s.capacity.burst_after_ppm, s.capacity.burst_ceiling_ppm) = (after, ceiling);
        s
    })
}

fn borders() -> impl Strategy<Value = Borders> {
    prop_oneof![2 => Just(Borders::ANY), 2 => (0..32_u8).prop_map(Borders::from_bits)]
}

fn class_() -> impl Strategy<Value = Class> {
    let matches = prop_oneof![
        Just(Predicate::Any(vec![])),
        select(&TENANTS).prop_map(|t| Predicate::Fact(FactName::Tenant, Test::Is(t.into()))),
        select(&DATA).prop_map(|d| Predicate::Fact(FactName::Data, Test::Is(d.into()))),
        Just(Predicate::Not(Box::new(Predicate::Fact(FactName::Session, Test::Present)))),
    ];
    let who = (matches, select(&Tier::ALL), subsequence(&SUBSTRATES, 0..=3), 1..10_u32);
    let limits = (of(0..200_i64), 0..=6_u32, weighted(0.2, 0..6_u32));
    let wants = (0..2_u16, any::<bool>(), any::<bool>(), weighted(0.1, Just(())), weighted(0.2, 0..32_u8));
    let worth = (1..4_i64, 0..4_i64, 0..4_i64, 1..=3_u8, weighted(0.3, 500..4_000_u32));
    (who, limits, wants, worth).prop_map(|(who, limits, wants, worth)| {
        let mut c = class("c", &[]);
        (c.matches, c.tier) = (who.0, who.1);
        c.home = who.2.into_iter().map(name).collect();
        c.deadline_ms = who.3 * 1_000;
        c.limits =
            Limits { cost_uusd: limits.0.map(|c| c * 5), min_quality_ppm: limits.1 * 100_000, max_queue: limits.2 };
        (c.needs, c.synchronous, c.allow_throughput) = (Features(wants.0), wants.1, wants.2);
        c.air_gapped = wants.3.is_some();
        c.approval_for = Borders::from_bits(wants.4.unwrap_or(0));
        c.worth.answer_uusd = worth.0 * 10_000;
        c.worth.second_uusd = worth.1 * 1_000;
        c.worth.failure_uusd = worth.2 * 20_000;
        (c.attempts.most, c.attempts.per_try_ms) = (worth.3, worth.4);
        c
    })
}

fn terms(usually: f64) -> impl Strategy<Value = Terms> {
    let names = |pool: &'static [&'static str]| weighted(usually, subsequence(pool, 1..=pool.len().min(4)));
    let lists = (names(&COUNTRIES), names(&COUNTRIES), names(&ACCOUNTS), names(&["eu", "us"]), names(&SUBSTRATES));
    let sets = (weighted(usually, subsequence(&Kind::ALL, 2..=6)), weighted(usually, subsequence(&Regime::ALL, 1..=4)));
    (lists, sets).prop_map(|(lists, (kinds, regimes))| {
        let countries = |list: Option<Vec<&str>>| {
            list.map(|l| {
                let mut l: Vec<_> = l.into_iter().map(country).collect();
                l.sort();
                l
            })
        };
        let all = |list: Option<Vec<&str>>| list.map(|l| l.into_iter().map(name).collect());
        Terms {
            jurisdictions: countries(lists.0),
            subject_to: countries(lists.1),
            kinds,
            accounts: all(lists.2),
            regions: all(lists.3),
            regimes,
            substrates: all(lists.4),
        }
    })
}

pub(crate) fn envelope_() -> impl Strategy<Value = Envelope> {
    let some = |pool: &'static [&'static str]| weighted(0.3, subsequence(pool, 1..pool.len()));
    let selector = (some(&TENANTS), some(&DATA), some(&CLASSES), some(&["eu", "us"]));
    let require =
        (weighted(0.1, 0..8_000_u64), weighted(0.1, 0..8_000_u64), weighted(0.1, Just(())), weighted(0.2, 0..32_u8));
    (selector, terms(0.2), terms(0.06), borders(), require).prop_map(
        |(selector, permit, forbid, spillover, require)| {
            let strings = |l: Option<Vec<&str>>| l.map(|l| l.into_iter().map(String::from).collect());
            let names = |l: Option<Vec<&str>>| l.map(|l| l.into_iter().map(name).collect());
            let mut e = envelope("e");
            e.applies_to = Selector {
                tenants: strings(selector.0),
                data: strings(selector.1),
                classes: names(selector.2),
                regions: names(selector.3),
            };
            (e.permit, e.forbid, e.spillover) = (permit, forbid, spillover);
            e.require = Require {
                attestation_max_age_ms: require.0,
                health_max_age_ms: require.1,
                air_gapped: require.2.is_some(),
                approval_for: Borders::from_bits(require.3.unwrap_or(0)),
            };
            e
        },
    )
}

/// A time around now: mostly fresh, sometimes old, sometimes from the future.
fn heard_at() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0..3_000_u64).prop_map(|age| NOW_MS - age),
        2 => (3_000..14_000_u64).prop_map(|age| NOW_MS - age),
        1 => (0..3_000_u64).prop_map(|ahead| NOW_MS + ahead),
    ]
}

fn value(signal: Signal) -> BoxedStrategy<i64> {
    match signal {
        Signal::Hosts => (0..20_i64).boxed(),
        Signal::TokensRemaining | Signal::ContextRoom => (0..20_i64).prop_map(|n| n * 1_000).boxed(),
        Signal::PerToken => (0..40_i64).prop_map(|n| n * 1_000).boxed(),
        Signal::SpeedFactor => (5..40_i64).prop_map(|n| n * 100_000).boxed(),
        Signal::FailureRate | Signal::OverloadRate => (0..7_i64).prop_map(|n| n * n * 20_000).boxed(),
        _ => match signal.unit() {
            Unit::Count => (0..14_i64).boxed(),
            Unit::Ppm => ppm().prop_map(i64::from).boxed(),
            Unit::Micros => (0..40_i64).prop_map(|n| n * 50_000).boxed(),
            Unit::PicoUsd => (0..10_i64).prop_map(|n| n * 100_000).boxed(),
        },
    }
}

fn reading() -> impl Strategy<Value = (Signal, Reading)> {
    let common = select(&[Signal::InFlight, Signal::ReservedUse, Signal::QueueDepth, Signal::FirstToken][..]);
    (prop_oneof![2 => select(&Signal::ALL), 1 => common], heard_at())
        .prop_flat_map(|(signal, at_ms)| value(signal).prop_map(move |value| (signal, Reading { value, at_ms })))
}

fn circuit() -> impl Strategy<Value = Circuit> {
    prop_oneof![
        8 => Just(Circuit::Closed),
        1 => Just(Circuit::Open { until_ms: NOW_MS + 5_000 }),
        1 => (0..2_u8, 0..3_u8, any::<bool>()).prop_map(|(slot, probes, over)| Circuit::HalfOpen {
            slot,
            probes,
            until_ms: if over { NOW_MS } else { NOW_MS + 1 },
        }),
    ]
}

pub(crate) fn health_() -> impl Strategy<Value = Health> {
    let states = (circuit(), weighted(0.1, Just(())), weighted(0.1, Just(())), weighted(0.1, heard_at()), ppm());
    let proof = weighted(0.6, (select(&COUNTRIES), heard_at()));
    (vec(reading(), 0..8), states, proof, select(&SUBSTRATES), weighted(0.2, heard_at())).prop_map(
        |(readings, (circuit, closed, existing, retry_at_ms, share_ppm), proof, of, since_ms)| {
            let mut health = Health::unknown(of);
            readings.into_iter().for_each(|(signal, reading)| health.set(signal, reading));
            health.circuit = circuit;
            health.admission = match (closed, existing) {
                (Some(()), _) => Admission::Closed,
                (_, Some(())) => Admission::Existing,
                _ => Admission::All,
            };
            health.attestation = proof.map(|(c, at_ms)| Attestation { jurisdiction: country(c), at_ms });
            (health.retry_at_ms, health.share_ppm, health.since_ms) = (retry_at_ms, share_ppm, since_ms);
            health
        },
    )
}

pub(crate) fn snapshot_() -> impl Strategy<Value = Snapshot> {
    (vec(health_(), 1..=8), heard_at()).prop_map(|(substrates, at_ms)| Snapshot { at_ms, ..snapshot(substrates) })
}

fn local() -> impl Strategy<Value = Local> {
    let counts = (vec(0..6_u32, 0..6), vec(0..3_u8, 0..6), vec(0..400_i64, 0..2), vec(0..8_u32, 0..14));
    (counts, 0..2_u8).prop_map(|((placed, probes, spent_uusd, tenant_placed), slot)| Local {
        slot,
        placed,
        probes,
        spent_uusd,
        tenant_placed,
    })
}

fn fact(pool: &'static [&'static str]) -> impl Strategy<Value = Option<Fact<&'static str>>> {
    weighted(0.6, (select(pool), any::<bool>()).prop_map(|(value, trusted)| Fact { value, trusted }))
}

/// Facts of a request. Sessions are claimed, not trusted: where a trusted one belongs is the hash's word alone.
pub(crate) fn facts() -> impl Strategy<Value = Facts<'static>> {
    let words = (fact(&TENANTS), fact(&CLASSES), fact(&MODELS), fact(&DATA), fact(&["FR", "EU", "XX", "US"]));
    let place = (
        fact(&["eu", "us"]),
        fact(&["eu-b", "us-a"]),
        fact(&["valid", "late", "false"]),
        weighted(0.3, Just("session")),
    );
    let number = || weighted(0.3, (0..12_000_u32, any::<bool>()).prop_map(|(value, trusted)| Fact { value, trusted }));
    let sizes = (number(), number(), number(), weighted(0.3, 0..60_000_u64), weighted(0.3, any::<bool>()));
    (words, place, sizes, 0..4_u16, weighted(0.2, 0..4_u8)).prop_map(|(words, place, sizes, features, left)| {
        let rarely = |fact: Option<Fact<&'static str>>, on: bool| fact.filter(|_| on);
        Facts {
            tenant: words.0,
            class: words.1,
            model: words.2,
            data: words.3,
            residency: rarely(words.4, features == 3),
            session: place.3.map(Fact::claimed),
            region: place.0,
            zone: place.1,
            approval: place.2,
            input_tokens: sizes.0,
            output_tokens: sizes.1,
            deadline_ms: sizes.2,
            content_bytes: sizes.3,
            streaming: sizes.4.map(Fact::claimed),
            features: Features(features % 2),
            idempotent: false,
            contradicted: left == Some(3) && features == 1,
            attempts_left: left,
            ..Facts::default()
        }
    })
}
