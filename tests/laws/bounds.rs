//! What is exactly at a bound: the last microsecond, token, place and pico-dollar, and the first one beyond it.

use super::build::*;
use berth::model::settings::{Approval, Budget, Link, Thresholds};
use berth::model::*;
use berth::place::record::record;
use berth::place::replay::{Inputs, MOST_BYTES, Replay, write_replay};
use berth::place::{Inspection, Placer, inspect, place};
use berth::policy::{Policy, permits};

/// So many substrates that differ by nothing but their names; a request takes 1.2 seconds, 200 ms until its first token.
fn alike(count: usize) -> Document {
    let mut substrates: Vec<Substrate> = (0..count).map(|n| substrate(&format!("s{n}"))).collect();
    substrates.iter_mut().for_each(|substrate| substrate.latency.prefill_us_per_token = 0);
    document(substrates, vec![class("chat", &["s0"])], vec![envelope("open")])
}

/// Ten tokens, and a hundred back by the class.
fn ten() -> Facts<'static> {
    Facts { input_tokens: Some(Fact::trusted(10)), ..Facts::default() }
}

fn within(deadline_ms: u32) -> Facts<'static> {
    Facts { deadline_ms: Some(Fact::trusted(deadline_ms)), ..ten() }
}

fn look(document: &Document, known: Option<&Snapshot>, local: &Local, facts: &Facts, seed: u64) -> Inspection {
    inspect(&Policy::new(document.clone(), [0; 32]), known, local, facts, NOW_MS, seed)
}

fn codes(seen: &Inspection, at: usize) -> Vec<Code> {
    seen.rows[at].reasons.iter().map(|reason| reason.code).collect()
}

/// Why the only one is rejected.
fn alone(document: &Document, readings: &[(Signal, i64)], facts: &Facts) -> Vec<Code> {
    codes(&look(document, Some(&snapshot(vec![health("s0", readings)])), &Local::default(), facts, 1), 0)
}

#[test]
fn a_deadline_is_kept_to_its_last_microsecond() {
    let mut small = alike(1);
    small.substrates[0].capabilities.context_tokens = 109;
    assert_eq!(alone(&small, &[], &within(1_200)), [Code::Context]);
    assert_eq!(alone(&small, &[], &within(1_199)), [Code::Context, Code::Slow]);
    // As declared it is quick enough, as measured it is not.
    let measured = [(Signal::FirstToken, 300_000)];
    assert_eq!(alone(&alike(1), &measured, &within(1_300)), []);
    assert_eq!(alone(&alike(1), &measured, &within(1_200)), [Code::Deadline]);
    assert_eq!(alone(&alike(1), &measured, &within(1_199)), [Code::Slow]);
}

/// Memory is full everywhere: marks of load are ignored, but for a class's own word and a quota that does not hold it.
#[test]
fn a_queue_as_long_as_the_class_bears_is_borne_and_a_quota_of_as_many_tokens_holds_them() {
    let mut document = alike(4);
    document.classes[0].limits.max_queue = Some(5);
    document.settings.thresholds = [Thresholds { memory_hard_ppm: Some(900_000), ..Thresholds::default() }; 7];
    for (signal, value, stand) in [
        (Signal::QueueDepth, 5, 4),
        (Signal::QueueDepth, 6, 0),
        (Signal::QueueDepth, 7, 0),
        (Signal::TokensRemaining, 110, 4),
        (Signal::TokensRemaining, 109, 0),
    ] {
        let readings = [(signal, value), (Signal::MemoryPressure, 950_000)];
        let known = snapshot((0..4).map(|n| health(&format!("s{n}"), &readings)).collect());
        let seen = look(&document, Some(&known), &Local::default(), &ten(), 1);
        let standing = seen.rows.iter().filter(|row| row.reasons.is_empty()).count();
        assert_eq!((standing, seen.panic), (stand, stand > 0), "{signal:?} {value}");
    }
}

/// How many a worker may place: of four that are free where hardly anything is ours, a quarter.
#[test]
fn who_has_had_nothing_there_may_place_a_quarter() {
    let places = |slots, running| {
        let mut known = snapshot(vec![health("s0", &[(Signal::InFlight, 0), (Signal::Running, running)])]);
        known.slots = slots;
        let full = |placed: u32| {
            let local = Local { placed: vec![placed], ..Local::default() };
            codes(&look(&alike(1), Some(&known), &local, &ten(), 1), 0).contains(&Code::Headroom)
        };
        (0..100).find(|placed| full(*placed)).unwrap()
    };
    // Its limit is 38. Up to half of that is everybody's.
    assert_eq!([38, 37, 36, 34, 33, 30, 29, 26].map(|running| places(1, running)), [0, 1, 1, 1, 2, 2, 3, 3]);
    assert_eq!([29, 19, 18, 0].map(|running| places(1, running)), [3, 5, 5, 38]);
}

/// All of one place is in use.
#[test]
fn one_place_is_all_of_it_and_what_is_shed_is_so_to_the_draw() {
    let mut document = alike(1);
    document.substrates[0].capacity.concurrency = 1;
    let known = snapshot(vec![health("s0", &[(Signal::InFlight, 1)])]);
    let mut seen = |most_ppm, seed| {
        document.settings.shedding.most_ppm[1] = most_ppm;
        let seen = look(&document, Some(&known), &Local::default(), &ten(), seed);
        assert_eq!(seen.shed_ppm, i64::from(most_ppm));
        codes(&seen, 0).contains(&Code::Shed)
    };
    // What a seed draws stays what it is, or nothing could be replayed: 139,053 of a million, and nothing.
    assert_eq!([500_000, 139_054, 139_053, 0].map(|most| seen(most, 2)), [true, true, false, false]);
    assert_eq!([1, 0].map(|most| seen(most, 1_147_168)), [true, false]);
}

#[test]
fn of_those_that_wait_one_by_one_the_time_is_counted_for_each() {
    let mut document = alike(1);
    document.substrates[0].capacity.concurrency = 1;
    let total = |queue| {
        let known = snapshot(vec![health("s0", &[(Signal::QueueDepth, queue)])]);
        look(&document, Some(&known), &Local::default(), &ten(), 1).rows[0].total_us
    };
    assert_eq!([0, 1, 2].map(total), [1_200_000, 1_400_000, 1_600_000]);
}

/// A second one that is worse by so many micro-dollars, and by so many pico-dollars for each of ten tokens.
fn worse(document: &mut Document, at: usize, uusd: i64, pusd: i64) {
    let cost = &mut document.substrates[at].cost;
    (cost.request_uusd, cost.input_pusd_per_token) = (uusd, 100_000 + pusd);
}

/// Whom some of many seeds choose.
fn chosen(document: &Document, known: &Snapshot) -> Vec<SubstrateId> {
    let policy = Policy::new(document.clone(), [0; 32]);
    let mut placer = Placer::new(&policy);
    placer.refresh(Some(known), NOW_MS);
    let first = |seed| placer.place(&Local::default(), &ten(), NOW_MS, seed).plan.first().unwrap().substrate;
    let mut all: Vec<_> = (0..400).map(first).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What the answer is worth is 16,000 micro-dollars, the margin 5 % of it, and 1 % more for each whole second.
#[test]
fn whoever_is_worse_by_the_margin_is_an_equal_and_by_a_pico_dollar_more_is_none() {
    let of = |age_ms, uusd, pusd| {
        let mut document = alike(2);
        worse(&mut document, 1, uusd, pusd);
        let mut known = snapshot(vec![]);
        known.at_ms = NOW_MS - age_ms;
        chosen(&document, &known)
    };
    assert_eq!([of(0, 800, 0), of(999, 800, 0), of(1_000, 960, 0)], [[0, 1], [0, 1], [0, 1]]);
    assert_eq!([of(0, 800, 1), of(999, 800, 1), of(999, 801, 0), of(1_000, 960, 1)], [[0], [0], [0], [0]]);
    // Of who knows nothing any more the age is no reason.
    assert_eq!(of(60_000, 800, 0), [0, 1]);
    assert_eq!(of(60_000, 800, 1), [0]);
}

/// The best grows from a share that the seed's own draw is compared with.
#[test]
fn who_has_grown_to_a_share_takes_the_draws_below_it() {
    let first = |floor: u32, uusd: i64, seed: u64| {
        let mut document = alike(3);
        document.settings.selection.ramp_floor_ppm = floor;
        worse(&mut document, 1, 5_000, 0);
        worse(&mut document, 2, 5_000 + uusd, 0);
        let mut known = snapshot(vec![health("s0", &[])]);
        known.substrates[0].since_ms = Some(NOW_MS);
        look(&document, Some(&known), &Local::default(), &ten(), seed).decision.plan.first().unwrap().substrate
    };
    // The draw of this seed is 52,667.
    assert_eq!([52_668, 52_667].map(|floor| first(floor, 4_000, 2)), [0, 1]);
    // Next are the best of the others and their equals.
    let next = |uusd| (0..100).map(|seed| first(0, uusd, seed)).collect::<std::collections::BTreeSet<_>>();
    assert_eq!((next(800), next(801)), ([1, 2].into(), [1].into()));
}

/// Measured too long ago, and worth less: now and then it is tried, also where somebody grows.
#[test]
fn few_requests_try_somebody_and_those_that_give_way_to_who_grows_do_not() {
    let mut document = alike(2);
    worse(&mut document, 1, 5_000, 0);
    let mut known = snapshot(vec![health("s0", &[]), health("s1", &[])]);
    known.substrates[1].set(Signal::FirstToken, Reading { value: 100_000, at_ms: NOW_MS - 60_000 });
    let trial = |document: &Document, known: &Snapshot, seed| {
        look(document, Some(known), &Local::default(), &ten(), seed).decision.trial
    };
    let tried = (0..640).filter(|seed| trial(&document, &known, *seed)).count();
    assert!((5..60).contains(&tried), "{tried} of 640");
    assert!(trial(&document, &known, TRYING));
    known.substrates[0].since_ms = Some(NOW_MS);
    // The draw of this seed is 442,053.
    for (floor, there) in [(442_054, true), (442_053, false)] {
        document.settings.selection.ramp_floor_ppm = floor;
        assert_eq!(trial(&document, &known, TRYING), there, "{floor}");
    }
    // Nobody has grown that it could give way to.
    known.substrates[1].since_ms = Some(NOW_MS);
    assert!(trial(&document, &known, TRYING));
    // Nor is somebody else tried where a third one is who gives the others a rest.
    let mut document = alike(3);
    worse(&mut document, 1, 5_000, 0);
    worse(&mut document, 2, 9_000, 0);
    let mut known = snapshot(vec![health("s0", &[]), health("s1", &[]), health("s2", &[])]);
    known.substrates[0].since_ms = Some(NOW_MS);
    known.substrates[2].set(Signal::FirstToken, Reading { value: 100_000, at_ms: NOW_MS - 60_000 });
    let first = |floor, document: &mut Document| {
        document.settings.selection.ramp_floor_ppm = floor;
        look(document, Some(&known), &Local::default(), &ten(), TRYING).decision.plan.first().unwrap().substrate
    };
    assert_eq!([442_054, 442_053].map(|floor| first(floor, &mut document)), [2, 1]);
}

/// A session's home counts for a twentieth of what an answer is worth more: 1,000 micro-dollars, where the margin is 800. So
/// who is better by 200 is its equal, and by a pico-dollar less is none, however much more there is free.
#[test]
fn a_session_s_home_is_left_only_for_who_is_better_by_all_that_it_counts_more() {
    let to = |uusd: i64, pusd: i64| {
        let mut document = alike(2);
        worse(&mut document, 0, uusd, pusd);
        document.substrates[0].capacity.concurrency = 1;
        document.settings.headroom_ppm = 0;
        let mut all = Vec::new();
        for session in (0..200).map(|n| n.to_string()) {
            let facts = Facts {
                session: Some(Fact::trusted(&session)),
                input_tokens: Some(Fact::trusted(1)),
                ..Facts::default()
            };
            let seen = look(&document, None, &Local::default(), &facts, 1);
            if seen.rows[0].affine {
                all.push(seen.decision.plan.first().unwrap().substrate);
            }
        }
        assert!(all.len() > 50, "{all:?}");
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!([to(0, 0), to(100, 0), to(199, 999_999)], [[0], [0], [0]]);
    assert_eq!([to(200, 0), to(1_000, 0)], [[0, 1], [0, 1]]);
}

/// What the class and an envelope both ask for is not there, as it is not where one of them asks.
#[test]
fn an_air_gap_that_two_ask_for_is_asked_for() {
    for (class, envelope) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut document = alike(1);
        (document.classes[0].air_gapped, document.envelopes[0].require.air_gapped) = (class, envelope);
        let expected = if class || envelope { vec![Code::AirGap] } else { vec![] };
        assert_eq!(alone(&document, &[], &ten()), expected, "{class} {envelope}");
    }
}

#[test]
fn who_asks_to_be_left_alone_is_so_for_its_last_millisecond() {
    let reasons = |ahead| {
        let mut known = snapshot(vec![health("s0", &[])]);
        known.substrates[0].retry_at_ms = Some(NOW_MS + ahead);
        look(&alike(1), Some(&known), &Local::default(), &ten(), 1).rows[0].reasons.clone()
    };
    assert_eq!(reasons(0), []);
    assert_eq!(reasons(1), [Reason { code: Code::RetryAfter, needed: 1, has: 0 }]);
}

/// A part of a million that was had in the last interval, and none may have more than that.
#[test]
fn the_smallest_share_is_one() {
    let mut document = alike(2);
    document.settings.selection.max_shift_ppm = 0;
    let mut known = snapshot(vec![health("s0", &[]), health("s1", &[])]);
    assert_eq!(chosen(&document, &known), [0, 1]);
    known.substrates[0].share_ppm = 1;
    assert_eq!(chosen(&document, &known), [0]);
}

#[test]
fn tries_share_the_deadline_to_its_last_microsecond() {
    let tries = |factor, deadline_ms, slow_us: &[i64]| {
        let mut document = alike(1 + slow_us.len());
        document.classes[0].attempts.repeatable = true;
        document.settings.selection.finish_factor_ppm = factor;
        for (n, us) in slow_us.iter().enumerate() {
            worse(&mut document, n + 1, 5_000, 0);
            document.substrates[n + 1].latency.first_token_us = *us;
        }
        for substrate in &mut document.substrates {
            substrate.latency.us_per_token = 0;
        }
        look(&document, None, &Local::default(), &within(deadline_ms), 1).decision.plan.len()
    };
    assert_eq!([600_000, 601_000].map(|us| tries(1_000_000, 1_200, &[us])), [2, 1]);
    assert_eq!([1_200_000, 1_201_000].map(|us| tries(1_000_000, 2_400, &[us])), [2, 1]);
    assert_eq!([600_000, 601_000].map(|us| tries(1_000_000, 1_800, &[us, us])), [3, 2]);
    // With half as much again: not in what two tries before it leave, but in what one does.
    assert_eq!(tries(1_500_000, 1_800, &[600_000, 600_000]), 2);
    assert_eq!(tries(1_500_000, 1_800, &[400_000, 400_000]), 3);
    // 1,999.5 and 2,001 of 2,000 ms that are left.
    assert_eq!([1_333_000, 1_334_000].map(|us| tries(1_500_000, 4_000, &[us])), [2, 1]);
}

#[test]
fn what_the_request_and_the_class_both_need_is_needed_and_what_two_approvals_open_is_open() {
    let mut document = alike(1);
    document.substrates[0].capabilities.features = Features::default().with(Feature::Streaming);
    document.classes[0].needs = Features::default().with(Feature::Tools);
    document.classes.push(class("other", &["s0"]));
    let facts =
        Facts { features: Features::default().with(Feature::Tools), class: Some(Fact::claimed("other")), ..ten() };
    assert_eq!(alone(&document, &[], &facts), [Code::Feature]);
    // So it is where the class that is claimed needs it too, and where none is claimed.
    document.classes[1].needs = document.classes[0].needs;
    assert_eq!(alone(&document, &[], &facts), [Code::Feature]);
    assert_eq!(alone(&document, &[], &ten()), [Code::Feature]);
    let mut document = alike(1);
    document.substrates.push(substrate("home"));
    document.substrates[0].location.region = name("far");
    document.classes[0].home = vec![name("home")];
    document.envelopes[0].require.approval_for = Borders::NONE.with(Border::Region);
    let approval =
        Approval { token: "t".into(), borders: Borders::NONE.with(Border::Region), until_ms: NOW_MS + 60_000 };
    let facts = Facts { approval: Some(Fact::trusted("t")), ..ten() };
    for (many, closed) in [(0, true), (1, false), (2, false)] {
        document.settings.approvals = vec![approval.clone(); many];
        let seen = look(&document, None, &Local::default(), &facts, 1);
        assert_eq!(codes(&seen, 0).contains(&Code::NeedsApproval), closed, "{many}");
    }
}

#[test]
fn burst_capacity_of_one_waits_for_the_only_one_that_is_paid_for() {
    let mut document = alike(2);
    document.settings.headroom_ppm = 0;
    for substrate in &mut document.substrates {
        (substrate.capacity.concurrency, substrate.capacity.keep_for_ppm) = (1, [0; 3]);
    }
    (document.substrates[1].cost.regime, document.substrates[1].capacity.burst_after_ppm) = (Regime::OnDemand, 1);
    let reasons = |prepaid, burst| {
        let busy = |n, value| health(n, &[(Signal::InFlight, value)]);
        let known = snapshot(vec![busy("s0", prepaid), busy("s1", burst)]);
        look(&document, Some(&known), &Local::default(), &ten(), 1).rows[1].reasons.clone()
    };
    assert_eq!(reasons(0, 0), [Reason { code: Code::ReservedFirst, needed: 1, has: 0 }]);
    assert_eq!(reasons(1, 0), []);
    let full = Reason { code: Code::BurstCeiling, needed: 1_000_000, has: 1_000_000 };
    assert!(reasons(1, 1).contains(&full), "{:?}", reasons(1, 1));
    // Fuller than full, and by more than a column holds.
    for over in [2, i64::from(i32::MAX) + 1, i64::from(u32::MAX)] {
        let codes: Vec<Code> = reasons(1, over).iter().map(|reason| reason.code).collect();
        assert!(codes.contains(&Code::BurstCeiling) && codes.contains(&Code::Headroom), "{over}: {codes:?}");
        let headroom = reasons(1, over).into_iter().find(|reason| reason.code == Code::Headroom).unwrap();
        assert_eq!(headroom.has, over.min(i64::from(i32::MAX)), "as much as a column holds");
    }
}

/// Two in one zone, one in another; the path from the caller's zone to the first bears half.
#[test]
fn a_path_that_is_as_busy_as_it_may_be_is_taken_and_a_busier_one_is_not() {
    let mut document = alike(3);
    document.substrates[2].location.zone = name("eu-b");
    let (from, to) = (name("office"), name("eu-a"));
    document.settings.links = vec![Link { from, to, latency_us: 0, pusd_per_byte: 0, ceiling_ppm: 500_000 }];
    let from = Facts { zone: Some(Fact::trusted("office")), ..ten() };
    let busy = |n, ppm| health(n, &[(Signal::Interconnect, ppm)]);
    let known = snapshot(vec![busy("s0", 500_000), busy("s1", 500_001), busy("s2", 900_000)]);
    let seen = look(&document, Some(&known), &Local::default(), &from, 1);
    let congested = Reason { code: Code::Congested, needed: 500_000, has: 500_001 };
    assert_eq!([0, 1, 2].map(|at| seen.rows[at].reasons.clone()), [vec![], vec![congested], vec![]]);
    assert_eq!(codes(&look(&document, Some(&known), &Local::default(), &ten(), 1), 1), [], "from nowhere known");
}

#[test]
fn a_budget_pays_for_what_costs_all_of_it_also_where_somebody_is_dearer() {
    for (most_uusd, first) in [(41, vec![]), (40, vec![Code::TenantBudget])] {
        let mut document = alike(2);
        worse(&mut document, 1, 1, 0);
        let budget = Budget { tenant: "acme".into(), window_s: 60, most_uusd, fleet_share_ppm: 1_000_000 };
        document.settings.budgets = vec![budget];
        let facts = Facts { tenant: Some(Fact::trusted("acme")), ..ten() };
        let seen = look(&document, None, &Local::default(), &facts, 1);
        assert_eq!((codes(&seen, 0), codes(&seen, 1)), (first, vec![Code::TenantBudget]), "{most_uusd}");
    }
}

#[test]
fn more_envelopes_than_bits_in_a_word_speak_for_a_request_and_names_that_are_said_twice_count() {
    let mut document = alike(1);
    document.envelopes = (0..70).map(|n| envelope(&format!("e{n}"))).collect();
    assert_eq!(alone(&document, &[], &ten()), []);
    let mut document = alike(1);
    document.envelopes[0].applies_to.tenants = Some(vec!["acme".into(), "acme".into()]);
    document.substrates[0].capacity.tenant_share_ppm = vec![("acme".into(), 100_000), ("acme".into(), 100_000)];
    let facts = Facts { tenant: Some(Fact::trusted("acme")), ..ten() };
    let codes = |used| {
        let local = Local { tenant_placed: vec![used; 2], ..Local::default() };
        codes(&look(&document, None, &local, &facts, 1), 0)
    };
    assert_eq!((codes(0), codes(64)), (vec![], vec![Code::TenantShare]));
}

/// More kinds than are kept, some of words that the policy knows and some of others.
#[test]
fn requests_of_many_kinds_in_turn_are_decided_as_each_by_itself() {
    let mut document = alike(2);
    for n in 0..50 {
        let offer = Offer { model: format!("m{n}"), quality_ppm: 800_000, context_tokens: None, revision: None };
        document.substrates[n % 2].capabilities.models.push(offer);
    }
    let policy = Policy::new(document, [0; 32]);
    let models: Vec<String> = (0..52).map(|n| format!("m{n}")).collect();
    let mut placer = Placer::new(&policy);
    placer.refresh(None, NOW_MS);
    for model in models.iter().chain(models.iter().rev()).chain(&models) {
        let facts = Facts { model: Some(Fact::trusted(model)), ..ten() };
        let alone = place(&policy, None, &Local::default(), &facts, NOW_MS, 1);
        assert_eq!(placer.place(&Local::default(), &facts, NOW_MS, 1), alone, "{model}");
    }
}

/// One that nobody may use has one place left, which was taken since.
#[test]
fn a_single_decision_is_counted_with_all_its_reasons_and_one_that_is_not_counted_is_not() {
    let mut document = alike(2);
    document.envelopes[0].permit.jurisdictions = Some(vec![country("FR")]);
    document.substrates[1].location.jurisdiction = country("DE");
    let known = snapshot(vec![health("s0", &[]), health("s1", &[(Signal::InFlight, 37)])]);
    let policy = Policy::new(document, [0; 32]);
    let mut placer = Placer::new(&policy);
    placer.refresh(Some(&known), NOW_MS);
    for placed in [0, 1] {
        let local = Local { placed: vec![0, placed], ..Local::default() };
        let seen = placer.inspect(&local, &ten(), NOW_MS, 1);
        placer.place(&local, &ten(), NOW_MS, 1);
        placer.rejections(|code, many| panic!("{code:?} {many}"));
        placer.place_counted(&local, &ten(), NOW_MS, 1, |_| {});
        let mut counted = Vec::new();
        placer.rejections(|code, many| counted.push((code, many)));
        let reasons: Vec<_> = seen.rows.iter().flat_map(|row| &row.reasons).map(|reason| (reason.code, 1)).collect();
        assert_eq!(counted, reasons);
        assert_eq!(counted.contains(&(Code::Headroom, 1)), placed > 0);
    }
}

#[test]
fn without_a_snapshot_nothing_is_fresh_and_nobody_asks_to_be_left_alone_at_any_time() {
    let policy = Policy::new(alike(1), [0; 32]);
    for now_ms in [0, 1, 249, 250, NOW_MS] {
        let seen = inspect(&policy, None, &Local::default(), &ten(), now_ms, 1);
        assert_eq!((seen.decision.freshness, codes(&seen, 0)), (Freshness::Stale, vec![]), "{now_ms}");
        let refused = inspect(&policy, None, &Local::default(), &within(1), now_ms, 1).decision;
        assert_eq!((refused.freshness, refused.plan.len()), (Freshness::Stale, 0), "{now_ms}");
        let mut known = Snapshot { at_ms: now_ms, ..snapshot(vec![Health::unknown("s0")]) };
        known.substrates[0].set(Signal::QueueDepth, Reading { value: 0, at_ms: now_ms });
        assert_eq!(codes(&inspect(&policy, Some(&known), &Local::default(), &ten(), now_ms, 1), 0), [], "{now_ms}");
    }
}

/// What is said in two ways: of the provider's requests too few are left, and of its tokens.
#[test]
fn a_rate_limit_that_holds_twice_holds_whatever_the_size_and_wherever_it_may_run() {
    for (output, jurisdiction) in [(100, "FR"), (1 << 24, "FR"), (100, "DE"), (1 << 24, "DE")] {
        let mut document = alike(1);
        document.settings.thresholds = [Thresholds { rate_remaining: Some(10), ..Thresholds::default() }; 7];
        document.settings.bytes_per_token = 65;
        document.envelopes[0].permit.jurisdictions = Some(vec![country("FR")]);
        document.substrates[0].location.jurisdiction = country(jurisdiction);
        document.substrates[0].capabilities.context_tokens = u32::MAX;
        document.substrates[0].latency.us_per_token = 0;
        let facts = Facts { output_tokens: Some(Fact::trusted(output)), ..ten() };
        for (requests, tokens, limited) in [(5, 5, true), (5, 1 << 30, true), (50, 5, true), (50, 1 << 30, false)] {
            let readings = [(Signal::RateRemaining, requests), (Signal::TokensRemaining, tokens)];
            let seen = alone(&document, &readings, &facts);
            assert_eq!(seen.contains(&Code::RateLimited), limited, "{output} {jurisdiction} {requests} {tokens}");
            assert_eq!(seen.is_empty(), !limited && jurisdiction == "FR", "{seen:?}");
        }
    }
}

/// What takes longer than is told apart, by one of its three parts, is worth what that bound says.
#[test]
fn a_utility_is_bounded_with_its_time_and_its_bytes() {
    const MOST_US: i64 = 1 << 37;
    for (first_us, input, output) in [(0, 1 << 18, 1), (0, 1, 1 << 18), (MOST_US, 1, 1), (0, 1 << 17, 1)] {
        let mut document = alike(1);
        document.classes[0].worth = class::Worth { answer_uusd: 0, second_uusd: 1, failure_uusd: 0 };
        document.classes[0].usual_output_tokens = 1;
        document.substrates[0].latency =
            substrate::Latency { first_token_us: first_us, prefill_us_per_token: 1 << 20, us_per_token: 1 << 20 };
        let facts = Facts {
            input_tokens: Some(Fact::trusted(input)),
            output_tokens: Some(Fact::trusted(output)),
            ..Facts::default()
        };
        let row = &look(&document, None, &Local::default(), &facts, 1).rows[0];
        let cost = 100_000 * i64::from(input) + 400_000 * i64::from(output);
        let time = (first_us + ((i64::from(input) + i64::from(output)) << 20)).min(MOST_US);
        assert_eq!((row.total_us, row.utility_pusd), (time, -time - cost), "{first_us} {input} {output}");
    }
    const PRICE: i64 = 1 << 27;
    for (per_token, output, bytes) in [(0, 7, 7), (1, 7, 7), (2, 7, 14), (64, 1 << 24, 1 << 30), (65, 1 << 24, 1 << 30)]
    {
        let mut document = alike(1);
        document.classes[0].worth = class::Worth { answer_uusd: 0, second_uusd: 0, failure_uusd: 0 };
        document.classes[0].usual_output_tokens = 1;
        document.settings.bytes_per_token = per_token;
        document.substrates[0].latency.us_per_token = 0;
        document.substrates[0].cost.egress = vec![substrate::Egress { to_region: None, pusd_per_byte: PRICE }];
        let facts = Facts { output_tokens: Some(Fact::trusted(output)), ..ten() };
        let row = &look(&document, None, &Local::default(), &facts, 1).rows[0];
        let cost = 1_000_000 + 400_000 * i64::from(output) + PRICE * bytes;
        assert_eq!((row.utility_pusd, row.cost_uusd), (-cost, (cost + 500_000) / 1_000_000), "{per_token} {output}");
    }
}

/// No document that was checked says so. The core divides by it nowhere all the same.
#[test]
fn who_has_no_place_at_all_is_divided_by_nowhere() {
    let mut document = alike(1);
    document.substrates[0].capacity.concurrency = 0;
    document.substrates[0].capacity.tenant_share_ppm = vec![("acme".into(), 100_000)];
    document.substrates[0].cost.regime = Regime::OnDemand;
    let known = snapshot(vec![health("s0", &[(Signal::InFlight, 1), (Signal::QueueDepth, 2)])]);
    let local = Local { tenant_placed: vec![1], ..Local::default() };
    let facts = Facts { tenant: Some(Fact::trusted("acme")), ..ten() };
    let seen = look(&document, Some(&known), &local, &facts, 1);
    assert_eq!(seen.rows[0].total_us, 600_000 + 1_000_000);
    for (code, has) in [(Code::TenantShare, 2_000_000), (Code::BurstCeiling, 1_000_000)] {
        assert!(
            seen.rows[0].reasons.iter().any(|reason| (reason.code, reason.has) == (code, has)),
            "{code:?} {seen:?}"
        );
    }
}

/// However old a proof may be, it must be there.
#[test]
fn a_proof_of_any_age_is_a_proof_and_none_is_none() {
    for most in [60_000, u64::MAX] {
        let mut document = alike(1);
        document.envelopes[0].require.attestation_max_age_ms = Some(most);
        assert_eq!(alone(&document, &[], &ten()), [Code::Attestation], "{most}");
        let mut known = snapshot(vec![health("s0", &[])]);
        known.substrates[0].attestation = Some(Attestation { jurisdiction: country("FR"), at_ms: NOW_MS });
        assert_eq!(codes(&look(&document, Some(&known), &Local::default(), &ten(), 1), 0), [], "{most}");
    }
}

/// All that are better are rejected by several dimensions; one that is worth as much as the chosen one is not better.
#[test]
fn what_bound_together_is_asked_of_those_that_are_better() {
    let mut document = alike(3);
    document.envelopes[0].permit.jurisdictions = Some(vec![country("FR")]);
    let features = document.substrates[0].capabilities.features;
    document.substrates[0].capabilities.features = features.with(Feature::JsonSchema);
    document.substrates[2].location.jurisdiction = country("DE");
    worse(&mut document, 0, 2, 0);
    worse(&mut document, 2, 2, 0);
    let mut known = snapshot(vec![health("s1", &[])]);
    known.substrates[0].circuit = Circuit::Open { until_ms: NOW_MS + 60_000 };
    let facts = Facts { features: Features::default().with(Feature::JsonSchema), ..ten() };
    let binding = look(&document, Some(&known), &Local::default(), &facts, 1).decision.binding;
    assert_eq!((binding.dimension, binding.joint, binding.unbound), (Some(Dimension::Workload), true, Some(1)));
}

#[test]
fn a_quality_is_at_most_the_whole_and_none_where_no_model_is_named() {
    let worth = |offers: &[u32], model| {
        let mut document = alike(1);
        document.classes[0].worth = class::Worth { answer_uusd: 20_000, second_uusd: 0, failure_uusd: 0 };
        let offer = |quality_ppm: &u32| Offer {
            model: "m".into(),
            quality_ppm: *quality_ppm,
            context_tokens: None,
            revision: None,
        };
        document.substrates[0].capabilities.models = offers.iter().map(offer).collect();
        let facts = Facts { model, ..ten() };
        look(&document, None, &Local::default(), &facts, 1).rows[0].utility_pusd + 41_000_000
    };
    assert_eq!(worth(&[], None), 0);
    for model in [None, Some(Fact::trusted("m"))] {
        for (offered, quality) in [(999_999, 999_999), (1_000_000, 1_000_000), (1_000_001, 1_000_000)] {
            assert_eq!(worth(&[offered], model), 20_000 * quality, "{offered}");
        }
    }
}

#[test]
fn who_is_of_no_class_has_one_try() {
    let mut document = alike(1);
    document.classes.clear();
    document.default_class = name("none");
    let decision = look(&document, None, &Local::default(), &ten(), 1).decision;
    assert_eq!((decision.class, decision.pace.repeatable, decision.pace.hedge), (0, false, false));
}

/// A line of a `forbid`: its name, and how to have it name the substrate or another.
type Line = (&'static str, fn(&mut Terms, bool));

/// Each line of a `forbid` forbids alone, and one that is not there nothing.
#[test]
fn one_line_that_forbids_is_enough() {
    let here = substrate("s0");
    let forbids: [Line; 7] = [
        ("jurisdictions", |t, on| t.jurisdictions = Some(vec![country(if on { "FR" } else { "DE" })])),
        ("subject_to", |t, on| t.subject_to = Some(vec![country(if on { "FR" } else { "DE" })])),
        ("kinds", |t, on| t.kinds = Some(if on { vec![Kind::Gpu] } else { vec![] })),
        ("accounts", |t, on| t.accounts = Some(vec![name(if on { "acme" } else { "globex" })])),
        ("regions", |t, on| t.regions = Some(vec![name(if on { "eu" } else { "us" })])),
        ("regimes", |t, on| t.regimes = Some(vec![if on { Regime::Reserved } else { Regime::Spot }])),
        ("substrates", |t, on| t.substrates = Some(vec![name(if on { "s0" } else { "s1" })])),
    ];
    assert!(!permits::forbidden(&Terms::default(), &here));
    for (line, set) in forbids {
        for on in [true, false] {
            let mut terms = Terms::default();
            forbids.iter().for_each(|(_, other)| other(&mut terms, false));
            set(&mut terms, on);
            assert_eq!(permits::forbidden(&terms, &here), on, "{line}");
        }
    }
}

/// Four hundred bytes on their way back.
#[test]
fn the_record_says_what_the_way_back_costs_from_a_micro_dollar_on() {
    for (pusd_per_byte, said) in [(0, ""), (1_249, ""), (1_250, ";egress=1"), (5_000, ";egress=2")] {
        let mut document = alike(1);
        document.substrates[0].cost.egress = vec![substrate::Egress { to_region: None, pusd_per_byte }];
        let decision = look(&document, None, &Local::default(), &ten(), 1).decision;
        let text = record(&Policy::new(document, [0; 32]), &decision);
        assert!(text.ends_with(&format!(";regime=reserved{said}")), "{pusd_per_byte}: {text}");
    }
}

#[test]
fn a_stage_has_the_word_of_the_metrics() {
    let words = berth::place::stage::Stage::ALL.map(berth::place::stage::Stage::as_str);
    assert_eq!(words, ["classify", "gate", "score", "attempt", "account"]);
}

fn written(policy: &Policy, facts: &Facts) -> String {
    let (mut text, local) = (String::new(), Local::default());
    let inputs = Inputs { policy, snapshot: None, local: &local, facts, now_ms: NOW_MS, seed: 1 };
    write_replay(&inputs, false, &mut text);
    text
}

/// The end and the names of what is missing have 32 bytes: what is written before them may take all others.
#[test]
fn a_replay_record_is_filled_to_its_last_byte() {
    let policy = Policy::new(alike(1), [0; 32]);
    let long = "x".repeat(128);
    let with = |many: usize, last: usize| {
        let mut headers = vec![("x-a", Fact::trusted(long.as_str())); many];
        headers.push(("x-b", Fact::trusted(&long[..last])));
        written(&policy, &Facts { headers: &headers, ..ten() })
    };
    let (whole, room) = (with(14, 0).len(), MOST_BYTES - 32);
    // The only slot's member and the end are written after the headers.
    let after = ";l0;.".len();
    for last in 0..=128 {
        let text = with(14, last);
        assert_eq!(text.len() == whole + last, whole - after + last <= room, "{last}: {}", text.len());
        assert!(text.len() <= MOST_BYTES);
    }
    let fits = (0..=128).filter(|last| with(14, *last).len() == whole + last).count();
    assert!((1..128).contains(&fits), "the bound lies among them: {fits}");
}

#[test]
fn a_beginning_of_a_model_does_unless_the_policy_names_one_that_is_longer() {
    let long = "m".repeat(200);
    for (offered, known) in [(long.as_str(), false), ("m", true)] {
        let mut document = alike(1);
        document.substrates[0].capabilities.models[0].model = offered.into();
        let policy = Policy::new(document, [0; 32]);
        let replay = Replay::parse(&written(&policy, &Facts { model: Some(Fact::trusted(&long)), ..ten() })).unwrap();
        assert_eq!(replay.resolve(&policy).is_ok(), known, "{}", offered.len());
    }
    let policy = Policy::new(alike(1), [0; 32]);
    let text = written(&policy, &Facts { model: Some(Fact::trusted("a b")), ..ten() });
    assert!(text.contains("a%20b") && Replay::parse(&text).is_ok());
    for digits in ["%g0", "%0g", "%2-", "%zz"] {
        assert!(Replay::parse(&text.replace("%20", digits)).is_err(), "{digits}");
    }
}

/// Two equals stand behind the first: whoever comes next is one of them, and not the worst, which is asked before them.
#[test]
fn of_equals_one_is_next_and_never_the_worst() {
    let mut document = alike(4);
    document.settings.selection.margin_ppm = 0;
    document.settings.selection.margin_per_second_ppm = 0;
    for (substrate, uusd) in document.substrates.iter_mut().zip([3_000, 0, 1_000, 1_000]) {
        (substrate.cost.regime, substrate.cost.request_uusd) = (Regime::Provider, uusd);
    }
    let policy = Policy::new(document, [0; 32]);
    for seed in 0..64 {
        let plan = place(&policy, None, &Local::default(), &ten(), NOW_MS, seed << 17).plan;
        let order: Vec<_> = plan.iter().map(|attempt| attempt.substrate).collect();
        assert!(matches!(order[..], [1, 2, 3] | [1, 3, 2]), "{order:?}");
    }
}
