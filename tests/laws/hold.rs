//! One law a test.

use super::agree::look;
use super::build::*;
use super::generate::{Case, case, envelope_};
use berth::model::*;
use berth::place::{Inspection, Placer, Row, place};
use berth::policy::Policy;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const POLICY: [Dimension; 2] = [Dimension::Governance, Dimension::Sovereignty];

/// Which candidates the policy permits, whatever their health.
fn permitted(inspection: &Inspection) -> Vec<bool> {
    inspection.rows.iter().map(|r| !POLICY.iter().any(|&d| r.dimensions.contains(d))).collect()
}

/// Nobody is in `more` who is not in `fewer`'s place too.
fn within(narrow: &[bool], wide: &[bool]) -> bool {
    narrow.iter().zip(wide).all(|(n, w)| !n || *w)
}

fn stands(row: &Row) -> bool {
    row.reasons.is_empty()
}

/// Somebody is new or has come back, and leaves a part to the next best.
fn ramps(case: &Case) -> bool {
    case.snapshot.iter().flat_map(|s| &s.substrates).any(|h| h.since_ms.is_some())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, max_global_rejects: 100_000, failure_persistence: None, ..ProptestConfig::default() }
}

/// The request without what anybody could have written.
fn vouched(facts: &Facts<'static>) -> Facts<'static> {
    fn kept<T>(fact: Option<Fact<T>>) -> Option<Fact<T>> {
        fact.filter(|f| f.trusted)
    }
    Facts {
        tenant: kept(facts.tenant),
        class: kept(facts.class),
        data: kept(facts.data),
        residency: kept(facts.residency),
        session: kept(facts.session),
        region: kept(facts.region),
        zone: kept(facts.zone),
        approval: kept(facts.approval),
        input_tokens: kept(facts.input_tokens),
        output_tokens: kept(facts.output_tokens),
        deadline_ms: kept(facts.deadline_ms),
        ..*facts
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn without_an_envelope_nothing_is_permitted(mut case in case()) {
        case.document.envelopes.clear();
        let seen = look(&case);
        prop_assert!(seen.decision.plan.is_empty());
        prop_assert!(permitted(&seen).iter().all(|p| !p));
    }

    #[test]
    fn one_envelope_more_never_permits_more_to_whom_one_speaks_already(case in case(), more in envelope_()) {
        let before = look(&case);
        prop_assume!(!before.rows.iter().any(|r| r.reasons.iter().any(|r| r.code == Code::NoEnvelope)));
        let mut wider = case.clone();
        wider.document.envelopes.push(more);
        prop_assert!(within(&permitted(&look(&wider)), &permitted(&before)));
    }

    #[test]
    fn forbid_beats_permit(mut case in case(), at in 0..6_usize) {
        let at = at % case.document.substrates.len();
        let called = case.document.substrates[at].name.clone();
        let mut forbids = envelope("e9");
        forbids.permit.substrates = Some(vec![called.clone()]);
        forbids.forbid.substrates = Some(vec![called]);
        case.document.envelopes.push(forbids);
        prop_assert!(!stands(&look(&case).rows[at]));
    }

    #[test]
    fn the_order_of_envelopes_and_their_repetition_change_nothing(case in case()) {
        let mut other = case.clone();
        other.document.envelopes.reverse();
        let again = other.document.envelopes.clone();
        other.document.envelopes.extend(again);
        let codes = |c: &Case| -> Vec<Vec<Code>> {
            look(c).rows.iter().map(|r| r.reasons.iter().map(|r| r.code).collect()).collect()
        };
        prop_assert_eq!(codes(&case), codes(&other));
        prop_assert_eq!(look(&case).decision.plan, look(&other).decision.plan);
    }

    #[test]
    fn the_order_of_substrates_does_not_choose(case in case()) {
        let mut other = case.clone();
        other.document.substrates.reverse();
        other.local.placed.clear();
        other.local.probes.clear();
        other.local.tenant_placed.clear();
        let mut case = case;
        case.local = other.local.clone();
        let name = |c: &Case| -> Vec<Name> {
            let plan = look(c).decision.plan;
            plan.iter().map(|a| c.document.substrates[usize::from(a.substrate)].name.clone()).collect()
        };
        prop_assert_eq!(name(&case), name(&other));
    }

    #[test]
    fn telemetry_never_permits_what_the_policy_alone_does_not(case in case()) {
        // Attestations and known health are asked for by the policy: the one thing that telemetry may bring.
        let seen = look(&case);
        let mut blind = case.clone();
        blind.snapshot = None;
        let proofs = [Code::Attestation, Code::Unverified];
        let alone: Vec<bool> = look(&blind).rows.iter().map(|r| {
            !r.reasons.iter().any(|r| POLICY.contains(&r.code.dimension()) && !proofs.contains(&r.code))
        }).collect();
        prop_assert!(within(&permitted(&seen), &alone));
    }

    #[test]
    fn what_proxies_know_by_themselves_makes_no_substrate_known(case in case(), at_ms in NOW_MS - 5_000..NOW_MS) {
        let mut busy = case.clone();
        for health in busy.snapshot.iter_mut().flat_map(|s| &mut s.substrates) {
            for signal in [Signal::InFlight, Signal::Hosts] {
                health.set(signal, Reading { value: 1, at_ms });
            }
        }
        let unverified = |c: &Case| -> Vec<bool> {
            look(c).rows.iter().map(|r| r.reasons.iter().any(|r| r.code == Code::Unverified)).collect()
        };
        prop_assert_eq!(unverified(&case), unverified(&busy));
    }

    #[test]
    fn an_envelope_that_asks_for_health_permits_nobody_of_whom_only_load_and_hosts_are_known(case in case(), at_ms in NOW_MS - 100..NOW_MS) {
        let mut case = case;
        case.document.envelopes.iter_mut().for_each(|e| e.require.health_max_age_ms = Some(86_400_000));
        for health in case.snapshot.iter_mut().flat_map(|s| &mut s.substrates) {
            health.readings = Health::unknown("s").readings;
            for signal in [Signal::InFlight, Signal::Hosts] {
                health.set(signal, Reading { value: 1, at_ms });
            }
        }
        for row in look(&case).rows {
            prop_assert!(row.dimensions.contains(Dimension::Governance), "{:?}", row.reasons);
        }
    }

    #[test]
    fn what_this_vm_placed_and_spent_never_makes_anybody_permitted(case in case()) {
        let mut idle = case.clone();
        idle.local = Local::default();
        prop_assert!(within(&permitted(&look(&case)), &permitted(&look(&idle))));
    }

    #[test]
    fn untrusted_facts_never_permit_and_never_make_cheap(case in case()) {
        let mut honest = case.clone();
        honest.facts = vouched(&case.facts);
        let (with, without) = (look(&case), look(&honest));
        prop_assert!(within(&permitted(&with), &permitted(&without)));
        prop_assert!(with.tier <= without.tier);
        prop_assert!(with.deadline_us <= without.deadline_us);
        for (a, b) in with.rows.iter().zip(&without.rows) {
            let has = |row: &Row, code| row.reasons.iter().any(|r| r.code == code);
            prop_assert!(has(a, Code::RequestCost) || !has(b, Code::RequestCost));
            for code in [Code::Context, Code::Quality, Code::Feature, Code::Throughput, Code::Slow] {
                prop_assert!(has(a, code) || !has(b, code), "{:?} is gone by a claim", code);
            }
        }
    }

    #[test]
    fn every_attempt_of_a_plan_stands_and_each_is_another(case in case()) {
        let seen = look(&case);
        let mut used = vec![];
        for attempt in seen.decision.plan.iter() {
            let row = &seen.rows[usize::from(attempt.substrate)];
            prop_assert!(stands(row), "{:?}", row.reasons);
            prop_assert!(!used.contains(&attempt.substrate));
            prop_assert_eq!(attempt.crosses, row.crosses);
            used.push(attempt.substrate);
        }
        prop_assert_eq!(seen.decision.plan.is_empty(), !seen.rows.iter().any(stands));
    }

    #[test]
    fn all_attempts_fit_into_the_deadline(case in case()) {
        let seen = look(&case);
        let (plan, pace) = (seen.decision.plan, seen.decision.pace);
        // Of a whole answer that may not be begun twice the router holds all tries to the deadline by itself.
        let cut = pace.repeatable || pace.stream;
        prop_assert_eq!(pace.per_try_ms, if cut { plan.first().map_or(0, |a| a.per_try_ms) } else { 0 });
        let total: i64 = plan.iter().map(|a| i64::from(a.per_try_ms) * 1_000).sum();
        prop_assert!(total <= seen.deadline_us || !cut);
        for (before, attempt) in plan.iter().enumerate() {
            prop_assert!(i64::from(attempt.per_try_ms) * 1_000 <= seen.deadline_us);
            // What follows the refusal of a whole answer has all the time, and keeps a third of it for the refusals.
            let spent = if cut { i64::from(attempt.per_try_ms) * 1_000 * before as i64 } else { 0 };
            let need = seen.rows[usize::from(attempt.substrate)].need_us;
            let left = seen.deadline_us - spent;
            prop_assert!(before == 0 || need + need / 2 <= left + 2_000, "{need} of {left}");
        }
    }

    #[test]
    fn worse_health_never_raises_a_utility(case in case(), at in 0..6_usize, signal in 0..28_usize, parts in (0..20_i64, 0..20_i64)) {
        let (signal, at) = (Signal::ALL[signal], at % case.document.substrates.len());
        let (low, high) = signal.bounds();
        let high = high.min(20_000_000);
        let value = |part: i64| low + (high - low) / 20 * part;
        let (least, most) = (value(parts.0.min(parts.1)), value(parts.0.max(parts.1)));
        let (good, bad) = if signal.more_is_better() { (most, least) } else { (least, most) };
        let with = |value: i64| {
            let mut case = case.clone();
            let called = case.document.substrates[at].name.as_str().to_string();
            let snapshot = case.snapshot.get_or_insert_with(|| snapshot(vec![]));
            let known = snapshot.substrates.iter().position(|h| h.name == called);
            let record = known.unwrap_or_else(|| {
                snapshot.substrates.push(Health::unknown(&called));
                snapshot.substrates.len() - 1
            });
            snapshot.substrates[record].set(signal, Reading { value, at_ms: NOW_MS - 500 });
            look(&case)
        };
        for (well, ill) in with(good).rows.iter().zip(with(bad).rows) {
            prop_assert!(ill.utility_pusd <= well.utility_pusd, "{signal:?} {good} {bad}");
        }
    }

    #[test]
    fn a_signal_that_grows_old_never_raises_a_utility(case in case(), at in 0..8_usize, age in 0..9_000_u64) {
        prop_assume!(case.snapshot.is_some());
        let mut fresh = case.clone();
        let snapshot = fresh.snapshot.as_mut().unwrap();
        snapshot.at_ms = NOW_MS;
        let at = at % snapshot.substrates.len();
        let all = |health: &mut Health, at_ms| {
            health.readings.iter_mut().flatten().for_each(|r| r.at_ms = at_ms);
        };
        all(&mut snapshot.substrates[at], NOW_MS);
        let mut old = fresh.clone();
        all(&mut old.snapshot.as_mut().unwrap().substrates[at], NOW_MS - age);
        for (fresh, old) in look(&fresh).rows.iter().zip(look(&old).rows) {
            prop_assert!(old.utility_pusd <= fresh.utility_pusd);
        }
    }

    #[test]
    fn the_terms_of_a_utility_add_up_to_it(case in case()) {
        for row in look(&case).rows {
            let rounded = (row.utility_pusd + 500_000).div_euclid(1_000_000);
            prop_assert_eq!(row.terms.sum_uusd(), rounded);
            prop_assert!(row.terms.time_uusd <= 0 && row.terms.cost_uusd <= 0 && row.terms.risk_uusd <= 0);
        }
    }

    #[test]
    fn without_what_bound_the_named_candidate_would_have_been_the_best(case in case()) {
        let seen = look(&case);
        let binding = seen.decision.binding;
        prop_assume!(binding.dimension.is_some() && !binding.joint);
        let (dimension, named) = (binding.dimension.unwrap(), binding.unbound.unwrap());
        let freed = |r: &&Row| r.reasons.iter().all(|r| r.code.dimension() == dimension);
        let best = seen.rows.iter().filter(freed).map(|r| r.utility_pusd).max();
        prop_assert_eq!(best, Some(seen.rows[usize::from(named)].utility_pusd));
        prop_assert!(seen.rows.iter().filter(|r| stands(r)).map(|r| r.utility_pusd).max() < best);
        prop_assert_eq!(binding.reason.map(|r| r.code.dimension()), Some(dimension));
    }

    #[test]
    fn the_choice_is_within_the_margin_of_the_best(mut case in case()) {
        case.document.settings.selection.affinity_ppm = 0;
        let seen = look(&case);
        prop_assume!(!seen.decision.plan.is_empty() && !seen.decision.trial && !ramps(&case));
        let best = seen.rows.iter().filter(|r| stands(r)).max_by_key(|r| r.utility_pusd).unwrap();
        let chosen = &seen.rows[usize::from(seen.decision.plan.first().unwrap().substrate)];
        // 5 % and 1 % for each second of age (10 at most), of the larger of the answer's worth and the utility.
        let scale = (best.terms.quality_uusd * 1_000_000).max(best.utility_pusd.abs());
        let age_s = case.snapshot.as_ref().map_or(0, |s| NOW_MS.saturating_sub(s.at_ms) / 1_000);
        let margin = scale / 100 * (5 + age_s.min(10) as i64);
        prop_assert!(chosen.utility_pusd >= best.utility_pusd - margin);
    }

    #[test]
    fn a_home_within_the_margin_of_the_best_is_never_left_across_a_border(mut case in case()) {
        case.document.settings.selection.affinity_ppm = 0;
        let seen = look(&case);
        prop_assume!(!seen.decision.plan.is_empty() && !seen.decision.trial && !ramps(&case));
        let best = seen.rows.iter().filter(|r| stands(r)).max_by_key(|r| r.utility_pusd).unwrap();
        let homes = seen.rows.iter().filter(|r| stands(r) && r.crosses.is_empty()).map(|r| r.utility_pusd);
        let home = homes.max().unwrap_or(i64::MIN);
        let chosen = &seen.rows[usize::from(seen.decision.plan.first().unwrap().substrate)];
        // The margin without what the snapshot's age adds: 5 % of what the best one's answer is worth, or of its utility.
        // Terms are told in whole micro-dollars.
        let margin = |row: &Row| (row.terms.quality_uusd * 1_000_000).max(row.utility_pusd.abs()) / 100 * 5 - 50_000;
        if home >= best.utility_pusd - margin(best) {
            prop_assert!(chosen.crosses.is_empty(), "left for a gain within the margin");
        }
        if !chosen.crosses.is_empty() {
            // Nobody is sent across a border to be worse off, whatever the margin is.
            prop_assert!(home < chosen.utility_pusd, "{home} {}", chosen.utility_pusd);
            // The best one is the gain itself; another of the equals may be less than a margin above the home.
            if chosen.utility_pusd == best.utility_pusd {
                prop_assert!(home < chosen.utility_pusd - margin(chosen));
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_decision_whoever_decided_before(case in case(), other in case()) {
        let policy = Policy::new(case.document.clone(), [0; 32]);
        let once = place(&policy, case.snapshot.as_ref(), &case.local, &case.facts, NOW_MS, case.seed);
        let mut placer = Placer::new(&policy);
        placer.refresh(other.snapshot.as_ref(), NOW_MS - 100_000);
        let _ = placer.place(&other.local, &other.facts, NOW_MS, other.seed);
        placer.refresh(case.snapshot.as_ref(), NOW_MS - 1_234);
        let _ = placer.place(&other.local, &other.facts, NOW_MS - 700, other.seed);
        prop_assert_eq!(placer.place(&case.local, &case.facts, NOW_MS, case.seed), once);
    }

    #[test]
    fn what_is_counted_of_many_requests_is_every_reason_that_each_candidate_of_each_had(case in case(), others in vec(case(), 1..4)) {
        let policy = Policy::new(case.document.clone(), [0; 32]);
        let mut placer = Placer::new(&policy);
        let mut expected = BTreeMap::<Code, u64>::new();
        let mut counted = BTreeMap::<Code, u64>::new();
        let all: Vec<&Case> = core::iter::once(&case).chain(&others).collect();
        for (round, pictured) in all.iter().enumerate() {
            placer.refresh(pictured.snapshot.as_ref(), NOW_MS);
            for (asked, seed) in all.iter().zip(0..).cycle().take(3 * all.len()) {
                let seed = asked.seed ^ seed << 40;
                for local in [&case.local, &asked.local] {
                    let decision = placer.place_counted(local, &asked.facts, NOW_MS, seed, |_| {});
                    // Somebody who only looks is not counted.
                    let seen = placer.inspect(local, &asked.facts, NOW_MS, seed);
                    prop_assert_eq!(&seen.decision, &decision);
                    for reason in seen.rows.iter().flat_map(|row| &row.reasons) {
                        *expected.entry(reason.code).or_default() += 1;
                    }
                }
            }
            if round % 2 == 0 {
                placer.rejections(|code, many| *counted.entry(code).or_default() += many);
            }
        }
        placer.rejections(|code, many| *counted.entry(code).or_default() += many);
        prop_assert_eq!(counted, expected);
        placer.rejections(|code, many| panic!("{code:?} {many} a second time"));
    }

    #[test]
    fn a_refusal_gives_the_most_hopeful_answer(case in case()) {
        let seen = look(&case);
        let Outcome::Refused { status, reason, retry_after_s } = seen.decision.outcome else { return Ok(()) };
        let only = |allowed: &[Dimension]| {
            seen.rows.iter().any(|r| r.reasons.iter().all(|r| allowed.contains(&r.code.dimension())))
        };
        use Dimension::{Availability, Cost, Workload};
        let expected = if only(&[Availability]) {
            // What is asked of the caller, not of the substrate.
            if matches!(reason.code, Code::Shed | Code::TenantShare) { 429 } else { 503 }
        } else if only(&[Availability, Cost]) {
            429
        } else if only(&[Availability, Cost, Workload]) {
            422
        } else {
            403
        };
        prop_assert_eq!(status, expected);
        prop_assert_eq!(retry_after_s.is_some(), matches!(status, 429 | 503));
    }

    #[test]
    fn any_document_and_any_moment_are_decided_without_panic(case in case(), now_ms: u64, big: i64, huge: u32) {
        let mut odd = case;
        odd.document.default_class = name("nowhere");
        for s in &mut odd.document.substrates {
            s.latency.us_per_token = big;
            s.cost.output_pusd_per_token = big;
            s.cost.request_uusd = big;
            s.capacity.concurrency = huge;
            s.capacity.keep_for_ppm = [huge; 3];
        }
        for c in &mut odd.document.classes {
            c.worth.answer_uusd = big;
            c.worth.second_uusd = big;
            c.usual_output_tokens = huge;
        }
        odd.document.settings.bytes_per_token = 0;
        odd.document.settings.ages = berth::model::settings::Ages { soft_ms: now_ms, hard_ms: now_ms / 2 };
        let policy = Policy::new(odd.document, [0; 32]);
        let _ = place(&policy, odd.snapshot.as_ref(), &odd.local, &odd.facts, now_ms, odd.seed);
    }
}

#[test]
fn who_is_tried_stands_behind_no_border_with_nothing_on_its_way() {
    let mut tried = 0;
    for mut case in super::agree::cases(4_000) {
        // Rare by itself: all that is known of times is too old, and nobody is an equal who is not the best, nor because a
        // session belongs there.
        case.seed = TRYING;
        case.document.settings.selection.affinity_ppm = 0;
        (case.document.settings.selection.margin_ppm, case.document.settings.adaptive.latency) = (0, true);
        let Some(snapshot) = &mut case.snapshot else { continue };
        for health in &mut snapshot.substrates {
            let old = NOW_MS - case.document.settings.ages.hard_ms;
            health.set(Signal::FirstToken, Reading { value: 5_000_000, at_ms: old });
        }
        let seen = look(&case);
        if !seen.decision.trial {
            continue;
        }
        tried += 1;
        let at = usize::from(seen.decision.plan.first().unwrap().substrate);
        let row = &seen.rows[at];
        assert!(stands(row) && row.crosses.is_empty());
        assert_eq!(case.local.placed.get(at).copied().unwrap_or(0), 0);
        assert!(seen.rows.iter().any(|r| stands(r) && r.utility_pusd > row.utility_pusd), "somebody is better");
    }
    println!("{tried} were tried");
    assert!(tried >= 20, "{tried}");
}
