//! Laws of the choice, of the plan and of giving way.

use super::agree::look;
use super::build::*;
use super::generate::case;
use berth::model::*;
use berth::place::{Inspection, Placer, inspect, record::record};
use berth::policy::Policy;
use proptest::prelude::*;

/// Substrates that differ by nothing but their names: all are equals.
fn alike(count: usize) -> Document {
    let names: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
    let mut chat = class("chat", &["s0"]);
    chat.attempts.most = 1;
    document(names.iter().map(|n| substrate(n)).collect(), vec![chat], vec![envelope("open")])
}

/// Records of everybody with little to do.
fn idle(count: usize) -> Snapshot {
    snapshot((0..count).map(|n| health(&format!("s{n}"), &[(Signal::InFlight, 1)])).collect())
}

/// The share of requests that each substrate gets, of many.
fn shares(document: &Document, snapshot: &Snapshot, now_ms: u64) -> Vec<f64> {
    const MANY: u64 = 20_000;
    let policy = Policy::new(document.clone(), [0; 32]);
    let mut placer = Placer::new(&policy);
    placer.refresh(Some(snapshot), now_ms);
    let mut counts = vec![0.0; document.substrates.len()];
    for seed in 0..MANY {
        let decision = placer.place(&Local::default(), &Facts::default(), now_ms, seed.wrapping_mul(0x9e37_79b9));
        let first = decision.plan.first().expect("somebody stands");
        counts[usize::from(first.substrate)] += 1.0 / MANY as f64;
    }
    counts
}

fn decide(document: &Document, snapshot: &Snapshot, facts: &Facts, seed: u64) -> Inspection {
    let policy = Policy::new(document.clone(), [0; 32]);
    inspect(&policy, Some(snapshot), &Local::default(), facts, NOW_MS, seed)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_global_rejects: 100_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn no_share_grows_by_more_than_the_bound_in_an_interval(
        before in prop::collection::vec(0..10_u32, 2..=4), most in 1..5_u32, loads in prop::collection::vec(0..30_i64, 4)
    ) {
        let sum: u32 = before.iter().sum();
        prop_assume!(sum > 0);
        let mut document = alike(before.len());
        document.settings.selection.max_shift_ppm = most * 100_000;
        let mut snapshot = idle(before.len());
        for ((health, part), load) in snapshot.substrates.iter_mut().zip(&before).zip(loads) {
            health.set(Signal::InFlight, Reading { value: load, at_ms: NOW_MS });
            health.share_ppm = part * 1_000_000 / sum;
        }
        let shares = shares(&document, &snapshot, NOW_MS);
        for (share, &part) in shares.iter().zip(&before) {
            let bound = f64::from(part) / f64::from(sum) + f64::from(most) / 10.0;
            prop_assert!(*share <= bound + 0.02, "{shares:?} after {before:?}, {most}");
        }
    }

    #[test]
    fn a_recovered_substrate_gets_more_from_moment_to_moment_until_it_has_its_whole_share(step in 1..9_u64) {
        let document = alike(2);
        let at = |elapsed: u64| {
            let mut snapshot = idle(2);
            snapshot.substrates[0].since_ms = Some(NOW_MS - elapsed);
            shares(&document, &snapshot, NOW_MS)[0]
        };
        let (fresh, midway, whole) = (at(0), at(step * 1_000), at(10_000));
        // A tenth of its weight at first: 0.1 of 1.1. Then evenly to the whole: a half.
        prop_assert!((fresh - 0.1 / 1.1).abs() < 0.02, "{fresh}");
        let weight = 0.1 + 0.9 * step as f64 / 10.0;
        prop_assert!((midway - weight / (1.0 + weight)).abs() < 0.02, "{midway}");
        prop_assert!((whole - 0.5).abs() < 0.02, "{whole}");
    }

    #[test]
    fn the_best_by_far_takes_what_it_has_ramped_to_and_the_next_take_the_rest(step in 0..=10_u64, worse in 20..60_i64) {
        let mut document = alike(3);
        document.settings.selection.affinity_ppm = 0;
        document.substrates[1].cost.request_uusd = worse * 160;
        document.substrates[2].cost.request_uusd = worse * 160 * 3;
        let ramping = |which: &[usize]| {
            let mut snapshot = idle(3);
            for &at in which {
                snapshot.substrates[at].since_ms = Some(NOW_MS - step * 1_000);
            }
            shares(&document, &snapshot, NOW_MS)
        };
        let (share, rest) = (0.1 + 0.9 * step as f64 / 10.0, ramping(&[0]));
        prop_assert!((rest[0] - share).abs() < 0.02, "{:?} for {}", rest, share);
        prop_assert!((rest[1] - (1.0 - share)).abs() < 0.02 && rest[2] == 0.0, "{:?}", rest);
        let third = ramping(&[0, 1]);
        prop_assert!((third[0] - share).abs() < 0.02 && third[1] == 0.0, "who ramps too relieves nobody: {:?}", third);
        prop_assert!((ramping(&[0, 1, 2])[0] - 1.0).abs() < 0.000_1, "there is nobody else");
    }

    #[test]
    fn the_older_the_snapshot_the_more_are_equals(worse in 1..12_i64, age_s in 0..9_u64) {
        // One is worse by so many percent of what the answer is worth: 5 % are equals at once, 1 % more a second.
        let mut document = alike(2);
        document.settings.ages = settings::Ages { soft_ms: 20_000, hard_ms: 60_000 };
        document.settings.selection.affinity_ppm = 0;
        document.substrates[1].cost.request_uusd = worse * 160;
        let mut snapshot = idle(2);
        snapshot.at_ms = NOW_MS - age_s * 1_000;
        let share = shares(&document, &snapshot, NOW_MS)[1];
        prop_assert_eq!(share > 0.0, worse <= 5 + age_s as i64, "{}", share);
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn shedding_begins_at_its_threshold_and_grows_with_the_square_batch_first_critical_last(used in 0..=64_i64) {
        let mut document = alike(1);
        document.settings.headroom_ppm = 0;
        document.substrates[0].capacity.keep_for_ppm = [0; 3];
        let full = snapshot(vec![health("s0", &[(Signal::InFlight, used)])]);
        let shed = Tier::ALL.map(|tier| {
            document.classes[0].tier = tier;
            decide(&document, &full, &Facts::default(), 1).shed_ppm
        });
        let load = used * 1_000_000 / 64;
        for ((tier, shed), (from, most)) in
            Tier::ALL.into_iter().zip(shed).zip([(850_000, 800_000), (900_000, 500_000), (950_000, 0)])
        {
            let over = (load - from).max(0) as f64 / (1_000_000 - from) as f64;
            let expected = over * over * most as f64;
            prop_assert!((shed as f64 - expected).abs() <= 3.0, "{tier:?} at {load}: {shed}, not {expected}");
        }
        prop_assert!(shed[0] >= shed[1] && shed[1] >= shed[2] && shed[2] == 0, "{shed:?}");
    }

    #[test]
    fn as_many_are_shed_as_is_said(seeds in 0..1_000_000_u64) {
        let mut document = alike(1);
        document.settings.headroom_ppm = 0;
        document.substrates[0].capacity.keep_for_ppm = [0; 3];
        document.classes[0].tier = Tier::Batch;
        let full = snapshot(vec![health("s0", &[(Signal::InFlight, 63)])]);
        let said = decide(&document, &full, &Facts::default(), 0).shed_ppm;
        let refused = (0..200).filter(|n| {
            let seed = (seeds + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let outcome = decide(&document, &full, &Facts::default(), seed).decision.outcome;
            matches!(outcome, Outcome::Refused { status: 429, .. })
        });
        let share = refused.count() as i64 * 1_000_000 / 200;
        prop_assert!((share - said).abs() < 200_000, "{share} of {said}");
    }

    #[test]
    fn a_trusted_session_stays_where_only_existing_ones_are_admitted(session in 0..1_000_u32, trusted: bool) {
        let document = alike(4);
        let name = session.to_string();
        let fact = Fact { value: name.as_str(), trusted };
        let facts = Facts { session: Some(fact), ..Facts::default() };
        let mut snapshot = idle(4);
        let home = decide(&document, &snapshot, &facts, 1).rows.iter().position(|r| r.affine).unwrap();
        snapshot.substrates.iter_mut().for_each(|h| h.admission = Admission::Existing);
        let mut document = document;
        document.settings.selection.panic_ppm = 0;
        let seen = decide(&document, &snapshot, &facts, 1);
        for (at, row) in seen.rows.iter().enumerate() {
            // Whose session is nowhere goes anywhere: that all are too full for new ones refuses nobody.
            prop_assert_eq!(row.reasons.is_empty(), !trusted || at == home, "s{}", at);
        }
        prop_assert_eq!(seen.panic, !trusted);
    }

    #[test]
    fn every_attempt_can_finish_within_the_bound_of_one_try(mut case in case(), bound in 100..4_000_u32) {
        for class in &mut case.document.classes {
            class.attempts.per_try_ms = Some(bound);
        }
        let seen = look(&case);
        prop_assume!(seen.decision.pace.stream);
        for attempt in seen.decision.plan.iter() {
            let need = seen.rows[usize::from(attempt.substrate)].need_us;
            prop_assert!(attempt.per_try_ms <= bound);
            prop_assert!(need <= i64::from(bound) * 1_000, "{need}");
        }
    }

    #[test]
    fn what_may_be_hedged_is_so_by_its_class_may_be_done_twice_and_goes_elsewhere(mut case in case(), again: bool) {
        for class in &mut case.document.classes {
            (class.attempts.hedge, class.attempts.repeatable) = (case.seed % 2 == 0, again);
        }
        let decision = look(&case).decision;
        let domain = |a: &Attempt| {
            case.document.substrates[usize::from(a.substrate)].location.failure_domain.clone()
        };
        let domains: Vec<Name> = decision.plan.iter().map(domain).collect();
        let elsewhere = domains.len() > 1 && domains[0] != domains[1];
        let twice = again || case.facts.idempotent
            || case.facts.method.is_some_and(|m| ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&m.value));
        prop_assert_eq!(decision.pace.hedge, case.seed % 2 == 0 && twice && elsewhere);
    }

    #[test]
    fn every_placement_says_what_it_costs_and_what_of_it_is_egress(case in case()) {
        let seen = look(&case);
        let policy = Policy::new(case.document.clone(), [0; 32]);
        let (decision, text) = (&seen.decision, record(&policy, &seen.decision));
        let Some(first) = decision.plan.first() else {
            prop_assert!(decision.egress_uusd == 0 && !text.contains("cost="), "{text}");
            return Ok(());
        };
        let (cost, regime) = (decision.cost_uusd, decision.regime.unwrap().as_str());
        prop_assert_eq!(cost, first.cost_uusd);
        prop_assert!((0..=cost).contains(&decision.egress_uusd), "{text}");
        let egress = if decision.egress_uusd > 0 { format!(";egress={}", decision.egress_uusd) } else { String::new() };
        let said = format!(", cost={cost};regime={regime}{egress}");
        prop_assert!(text.ends_with(&said) || text.contains(&format!("{said}, ")), "{text} without {said}");
    }

    #[test]
    fn a_spillover_says_what_its_best_home_was_rejected_for_and_what_it_adds(case in case()) {
        let seen = look(&case);
        let Some(spill) = seen.decision.spill else { return Ok(()) };
        let home = &seen.rows[usize::from(spill.from)];
        prop_assert_eq!(spill.why.is_none(), home.reasons.is_empty());
        let added = format!(";cost={};egress={};us={}", spill.cost_uusd, spill.egress_uusd, spill.latency_us);
        let text = record(&Policy::new(case.document.clone(), [0; 32]), &seen.decision);
        prop_assert!(text.contains(&added), "{text} without {added}");
        prop_assert_eq!(spill.latency_us, seen.rows[usize::from(spill.to)].total_us - home.total_us);
        if let Some(why) = spill.why {
            prop_assert!(home.reasons.contains(&why), "{why:?} is not of {:?}", home.reasons);
            let policy = Policy::new(case.document.clone(), [0; 32]);
            let said = format!(";why={}", why.code.as_str());
            prop_assert!(record(&policy, &seen.decision).contains(&said));
        }
    }

    #[test]
    fn what_is_unsteady_is_risky(mut case in case(), sign in 0..4_usize, more in 1..=10_i64) {
        let signal = [Signal::Drift, Signal::Jitter, Signal::Oscillation, Signal::Failover][sign];
        let called = case.document.substrates[0].name.as_str().to_string();
        let mut calm = snapshot(vec![health(&called, &[(signal, 0)])]);
        (case.snapshot, case.local) = (Some(calm.clone()), Local::default());
        let before = look(&case);
        // A tenth of the whole; of jitter, a tenth of the declared time of the first token.
        let full = if signal == Signal::Jitter { case.document.substrates[0].latency.first_token_us } else { 1_000_000 };
        calm.substrates[0].set(signal, Reading { value: full / 10 * more, at_ms: NOW_MS });
        case.snapshot = Some(calm);
        let after = look(&case);
        let lost = before.rows[0].utility_pusd - after.rows[0].utility_pusd;
        let worth = &case.document.classes;
        prop_assert!(lost >= 0);
        prop_assert!(lost > 0 || worth.iter().any(|c| c.worth.failure_uusd == 0), "{signal:?} costs nothing");
    }

    #[test]
    fn who_proves_to_be_elsewhere_is_nowhere(case in case()) {
        let seen = look(&case);
        for (row, s) in seen.rows.iter().zip(&case.document.substrates) {
            let record = case.snapshot.as_ref().and_then(|snapshot| snapshot.of(s.name.as_str()));
            if record.and_then(|h| h.attestation).is_some_and(|a| a.jurisdiction != s.location.jurisdiction) {
                prop_assert!(row.dimensions.contains(Dimension::Sovereignty));
            }
        }
    }
}

/// Three that would have a third each. The newest may have a tenth; the others get the rest, each by how much more it may have.
#[test]
fn what_one_may_not_take_yet_goes_to_the_others_by_how_much_more_they_may_have() {
    let mut document = alike(3);
    document.settings.selection.max_shift_ppm = 100_000;
    let mut snapshot = idle(3);
    for (health, share) in snapshot.substrates.iter_mut().zip([600_000, 400_000, 0]) {
        health.share_ppm = share;
    }
    let third = 1.0 / 3.0;
    let (first, second) = (0.7 - third, 0.5 - third);
    let rest = 1.0 - 2.0 * third - 0.1;
    let wanted = [third + first / (first + second) * rest, third + second / (first + second) * rest, 0.1];
    let shares = shares(&document, &snapshot, NOW_MS);
    for (share, wanted) in shares.iter().zip(wanted) {
        assert!((share - wanted).abs() < 0.02, "{shares:?}, {wanted}");
    }
}

/// Two homes that differ by their names; every second is dear, so that nobody is an equal of who is slower.
fn impatient() -> Document {
    let mut document = alike(2);
    document.classes[0].home = vec![name("s0"), name("s1")];
    document.classes[0].worth.second_uusd = 20_000;
    document.settings.adaptive.latency = true;
    document
}

/// The first was measured to be so slow so long ago, the second has just been measured to be faster than declared.
fn one_was_slow(ago_ms: u64) -> Snapshot {
    let slow = Reading { value: 20_000_000, at_ms: NOW_MS - ago_ms };
    let mut first = health("s0", &[(Signal::QueueDepth, 0)]);
    first.set(Signal::FirstToken, slow);
    snapshot(vec![first, health("s1", &[(Signal::QueueDepth, 0), (Signal::FirstToken, 1_000)])])
}

#[test]
fn who_was_slow_is_tried_again_once_that_is_too_old_to_count_now_and_then_and_one_at_a_time() {
    let document = impatient();
    let policy = Policy::new(document.clone(), [0; 32]);
    let hard_ms = document.settings.ages.hard_ms;
    let tries = |snapshot: &Snapshot, local: &Local| {
        let mut placer = Placer::new(&policy);
        placer.refresh(Some(snapshot), NOW_MS);
        let seeds = (0..10_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let decisions = seeds.map(|seed| placer.place(local, &Facts::default(), NOW_MS, seed));
        let to_first = decisions.filter(|decision| {
            assert_eq!(decision.trial, decision.plan.first().unwrap().substrate == 0, "it says so");
            assert_eq!(record(&policy, decision).ends_with(", trial"), decision.trial);
            decision.trial
        });
        to_first.count()
    };
    let idle = Local::default();
    assert_eq!(tries(&one_was_slow(hard_ms - 1_000), &idle), 0, "it is known to be slow");
    let tried = tries(&one_was_slow(hard_ms + 1_000), &idle);
    assert!((200..440).contains(&tried), "one in 32 of 10,000, and not {tried}");
    let on_its_way = Local { placed: vec![1, 0], ..Local::default() };
    assert_eq!(tries(&one_was_slow(hard_ms + 1_000), &on_its_way), 0, "one at a time");
    let mut busy = one_was_slow(hard_ms + 1_000);
    busy.substrates[0].set(Signal::InFlight, Reading { value: 1, at_ms: NOW_MS });
    assert_eq!(tries(&busy, &idle), 0, "somebody else's is on its way");
    // Who was never measured was never slow, and has what it declares.
    let mut never = one_was_slow(0);
    never.substrates[0].forget(Signal::FirstToken);
    assert_eq!(tries(&never, &idle), 0);
}

#[test]
fn nobody_is_tried_over_a_border_or_while_it_does_not_stand() {
    let hard_ms = impatient().settings.ages.hard_ms;
    let tried = |document: &Document, snapshot: &Snapshot| {
        let policy = Policy::new(document.clone(), [0; 32]);
        let mut placer = Placer::new(&policy);
        placer.refresh(Some(snapshot), NOW_MS);
        let seeds = (0..2_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        seeds.filter(|seed| placer.place(&Local::default(), &Facts::default(), NOW_MS, *seed).trial).count()
    };
    assert!(tried(&impatient(), &one_was_slow(hard_ms + 1)) > 0);
    let mut abroad = impatient();
    abroad.classes[0].home = vec![name("s1")];
    abroad.substrates[0].location.region = name("elsewhere");
    abroad.substrates[0].location.zone = name("elsewhere-1");
    assert_eq!(tried(&abroad, &one_was_slow(hard_ms + 1)), 0);
    let mut open = one_was_slow(hard_ms + 1);
    open.substrates[0].circuit = Circuit::Open { until_ms: NOW_MS + 1_000 };
    assert_eq!(tried(&impatient(), &open), 0);
}

#[test]
fn a_circuit_that_waits_for_a_probe_gets_one_though_others_are_worth_more() {
    let policy = Policy::new(impatient(), [0; 32]);
    let mut half = one_was_slow(0);
    half.substrates[0].forget(Signal::FirstToken);
    half.substrates[0].circuit = Circuit::HalfOpen { slot: 3, probes: 2, until_ms: NOW_MS + 5_000 };
    let mut placer = Placer::new(&policy);
    placer.refresh(Some(&half), NOW_MS);
    for (slot, sent, expected) in [(3, 0, true), (3, 2, false), (4, 0, false)] {
        let local = Local { slot, probes: vec![sent, 0], ..Local::default() };
        let probed = (0..2_000_u64).any(|n| placer.place(&local, &Facts::default(), NOW_MS, n << 32).trial);
        assert_eq!(probed, expected, "slot {slot}, {sent} sent");
    }
}

/// A measurement that only one term listens to moves requests away from who is measured, and nothing once that term
/// alone is switched off.
#[test]
fn each_adaptive_term_can_be_switched_off_alone() {
    type Switch = fn(&mut settings::Adaptive) -> &mut bool;
    let rows: [(&str, Switch, Signal, i64); 4] = [
        ("latency", |on| &mut on.latency, Signal::FirstToken, 6_000_000),
        ("cost", |on| &mut on.cost, Signal::OutputPrice, 100_000_000),
        ("risk", |on| &mut on.risk, Signal::FailureRate, 400_000),
        ("shares", |on| &mut on.shares, Signal::InFlight, 30),
    ];
    let usual = shares(&alike(2), &idle(2), NOW_MS);
    for (term, switch, signal, value) in rows {
        let mut document = alike(2);
        let mut measured = idle(2);
        measured.substrates[0].set(signal, Reading { value, at_ms: NOW_MS });
        let moved = shares(&document, &measured, NOW_MS);
        assert!(moved[0] < usual[0] - 0.1, "{term} on: {moved:?} after {usual:?}");
        *switch(&mut document.settings.adaptive) = false;
        assert_eq!(shares(&document, &measured, NOW_MS), usual, "{term} off");
    }
}
