//! Laws of queues, of old counts, and of what may follow an attempt.

use super::build::*;
use berth::model::*;
use berth::place::{Inspection, Placer, inspect};
use berth::policy::Policy;
use proptest::prelude::*;

/// Two that differ by nothing but their names, both at home.
fn two() -> Document {
    document(vec![substrate("s0"), substrate("s1")], vec![class("chat", &["s0", "s1"])], vec![envelope("open")])
}

fn decide(document: &Document, snapshot: &Snapshot, facts: &Facts) -> Inspection {
    let policy = Policy::new(document.clone(), [0; 32]);
    inspect(&policy, Some(snapshot), &Local::default(), facts, NOW_MS, 1)
}

fn need_us(readings: &[(Signal, i64)]) -> i64 {
    let seen = decide(&two(), &snapshot(vec![health("s0", readings), health("s1", &[])]), &Facts::default());
    seen.rows[0].need_us
}

/// How many each of so many workers may place on the first before it is full for it.
fn places(in_flight: i64, running: Option<i64>, slots: u16, epoch: u64) -> Vec<u32> {
    places_later(in_flight, running, slots, epoch, 0)
}

/// The same so long after it was counted, where an answer takes two seconds.
fn places_later(in_flight: i64, running: Option<i64>, slots: u16, epoch: u64, ago_ms: u64) -> Vec<u32> {
    let mut readings = vec![(Signal::InFlight, in_flight)];
    readings.extend(running.map(|n| (Signal::Running, n)));
    readings.push((Signal::Total, 2_000_000));
    let mut document = two();
    document.settings.headroom_ppm = 0;
    document.substrates.iter_mut().for_each(|s| s.capacity.keep_for_ppm = [0; 3]);
    let mut counted = health("s0", &readings);
    counted.readings.iter_mut().flatten().for_each(|reading| reading.at_ms -= ago_ms);
    let snapshot = Snapshot { slots, epoch, ..snapshot(vec![counted, health("s1", &[])]) };
    let policy = Policy::new(document, [0; 32]);
    let full = |slot: u8, placed: u32| {
        let local = Local { slot, placed: vec![placed], ..Local::default() };
        let seen = inspect(&policy, Some(&snapshot), &local, &Facts::default(), NOW_MS, 1);
        seen.rows[0].reasons.iter().any(|r| r.code == Code::Headroom)
    };
    (0..u8::try_from(slots).unwrap()).map(|slot| (0..=64).find(|placed| full(slot, *placed)).unwrap()).collect()
}

/// The concurrency is 64.
#[test]
fn all_workers_together_place_no_more_than_twice_what_is_free_where_half_is_in_use() {
    for slots in [1, 2, 3, 8, 16, 40] {
        for (in_flight, free) in [(32, 32), (48, 16), (61, 3), (63, 1), (64, 0), (90, 0)] {
            let all: u32 = places(in_flight, None, slots, 7).iter().sum();
            assert!(all <= 2 * free, "{slots} workers, {in_flight} in flight: {all}");
            assert!(all >= free, "nobody leaves what is free: {slots} workers, {in_flight} in flight: {all}");
        }
        assert_eq!(places(16, None, slots, 7).iter().min(), Some(&(96 / u32::from(slots)).clamp(16, 48)));
    }
    // What is left goes round.
    let turns: Vec<_> = (0..4).map(|epoch| places(63, None, 4, epoch)).collect();
    for slot in 0..4 {
        assert_eq!(turns.iter().map(|turn| turn[slot]).sum::<u32>(), 2, "{turns:?}");
    }
    // A quarter of what the substrate says it works on is this proxy's.
    assert_eq!(places(11, Some(47), 1, 0), [8], "of 17 that are free");
}

/// What has ended since it was counted, as far as anybody knows, all workers believe in: it is given once, what was free then
/// twice, and to any one worker only what lay below half of the limit then.
#[test]
fn all_workers_together_place_no_more_than_what_was_free_and_what_is_free_by_now() {
    for slots in [1, 2, 3, 8, 16, 40] {
        for (in_flight, ago_ms, then, now) in
            [(32, 1_000, 32, 48), (48, 1_000, 16, 40), (64, 1_000, 0, 32), (64, 2_000, 0, 64), (90, 2_000, 0, 64)]
        {
            let each = places_later(in_flight, None, slots, 7, ago_ms);
            let all: u32 = each.iter().sum();
            assert!(all <= then + now, "{slots} workers, {in_flight} in flight {ago_ms} ms ago: {all}");
            assert!(all >= now, "{slots} workers, {in_flight} in flight {ago_ms} ms ago: {all}");
        }
    }
    assert_eq!(places_later(16, None, 40, 7, 2_000).iter().min(), Some(&16), "a burst where hardly anything ran");
}

/// The share of requests that the first gets.
fn share(snapshot: &Snapshot) -> f64 {
    const MANY: u64 = 20_000;
    let policy = Policy::new(two(), [0; 32]);
    let mut placer = Placer::new(&policy);
    placer.refresh(Some(snapshot), NOW_MS);
    let seeds = (0..MANY).map(|seed| seed.wrapping_mul(0x9e37_79b9));
    let first = |seed: &u64| {
        let decision = placer.place(&Local::default(), &Facts::default(), NOW_MS, *seed);
        decision.plan.first().is_some_and(|attempt| attempt.substrate == 0)
    };
    seeds.filter(first).count() as f64 / MANY as f64
}

#[test]
fn a_queue_is_waited_for_though_the_answers_that_were_measured_stood_in_none() {
    let measured = [(Signal::FirstToken, 200_000), (Signal::Total, 2_000_000)];
    let with = |queue: i64| need_us(&[&measured[..], &[(Signal::QueueDepth, queue)]].concat());
    // Sixteen wait behind the 48 others of 64 that may be there: a third of two seconds.
    assert_eq!(with(16) - with(0), 2_000_000 * 16 / 48);
    // Answers that were measured to stand in a longer one count as they are.
    let slow = [(Signal::FirstToken, 3_000_000), (Signal::Total, 2_000_000), (Signal::QueueDepth, 16)];
    assert_eq!(need_us(&slow) - with(0), 2_800_000);
}

/// As many run as may be there less what waits, half of them at least, and one at least.
#[test]
fn the_wait_is_a_whole_answer_for_each_that_waits_by_how_many_run() {
    let need = |concurrency: u32, queue: i64, total_us: i64| {
        let mut document = two();
        document.substrates[0].capacity.concurrency = concurrency;
        let readings = [(Signal::FirstToken, 0), (Signal::Total, total_us), (Signal::QueueDepth, queue)];
        let known = snapshot(vec![health("s0", &readings), health("s1", &[])]);
        decide(&document, &known, &Facts::default()).rows[0].need_us
    };
    let wait = |concurrency, queue, total_us| need(concurrency, queue, total_us) - need(concurrency, 0, total_us);
    for (concurrency, queue, waited) in [
        (8, 2, 60_000 * 2 / 6),
        (8, 4, 60_000),
        (8, 7, 60_000 * 7 / 4),
        (1, 1, 60_000),
        (1, 3, 180_000),
        (3, 2, 120_000),
    ] {
        assert_eq!(wait(concurrency, queue, 60_000), waited, "{queue} wait for {concurrency}");
    }
    assert_eq!(wait(8, 4, 0), 0, "nobody knows how long one takes");
}

/// Each of the four signs counts half a percent at its full.
#[test]
fn risk_grows_by_what_is_unsteady_up_to_half_a_percent_a_sign() {
    let risk_pusd = |readings: &[(Signal, i64)]| {
        let mut document = two();
        document.classes[0].worth = class::Worth { answer_uusd: 0, second_uusd: 0, failure_uusd: 1_000_000 };
        let terms = decide(&document, &snapshot(vec![health("s0", readings), health("s1", &[])]), &Facts::default());
        -terms.rows[0].terms.risk_uusd
    };
    let calm = risk_pusd(&[(Signal::Drift, 0)]);
    let more = |signal, value| risk_pusd(&[(signal, value)]) - calm;
    assert_eq!(calm, 10_000, "the prior of one percent");
    for signal in [Signal::Drift, Signal::Oscillation, Signal::Failover] {
        assert_eq!([0, 500_000, 1_000_000].map(|ppm| more(signal, ppm)), [0, 2_500, 5_000], "{signal:?}");
    }
    // As a part of the declared time to the first token, 200 ms.
    assert_eq!([0, 100_000, 200_000, 400_000].map(|us| more(Signal::Jitter, us)), [0, 2_500, 5_000, 5_000]);
    let mut instant = two();
    instant.substrates[0].latency.first_token_us = 0;
    let known = |readings: &[(Signal, i64)]| snapshot(vec![health("s0", readings), health("s1", &[])]);
    let terms = |us| decide(&instant, &known(&[(Signal::Jitter, us)]), &Facts::default()).rows[0].terms.risk_uusd;
    assert_eq!(terms(0) - terms(1), 250, "of one that is declared to take no time, any spread is its whole");
    assert_eq!([0, 30_000].map(|ppm| more(Signal::OverloadRate, ppm)), [0, 30_000]);
    assert_eq!(more(Signal::FailureRate, 50_000), 40_000, "measured, worse than the prior");
    // Memory between its two limits counts up to a quarter.
    let pressed = |hard_ppm, value| {
        let mut document = two();
        document.classes[0].worth = class::Worth { answer_uusd: 0, second_uusd: 0, failure_uusd: 1_000_000 };
        let limits = settings::Thresholds {
            memory_soft_ppm: Some(600_000),
            memory_hard_ppm: Some(hard_ppm),
            ..settings::Thresholds::default()
        };
        document.settings.thresholds = [limits; 7];
        let known = snapshot(vec![health("s0", &[(Signal::MemoryPressure, value)]), health("s1", &[])]);
        -decide(&document, &known, &Facts::default()).rows[0].terms.risk_uusd - calm
    };
    let between = [500_000, 600_000, 700_000, 800_000, 999_999].map(|value| pressed(1_000_000, value));
    assert_eq!(between, [0, 0, 62_500, 125_000, 249_999]);
    assert_eq!([600_000, 600_001].map(|value| pressed(600_000, value)), [0, 250_000], "where nothing is between");
}

/// What is left of context and quota holds to the last token, whatever else stands against it; and two reasons of one
/// code are one.
#[test]
fn what_is_left_is_left_to_the_last_token() {
    let reasons = |deadline_ms: u32, readings: &[(Signal, i64)]| {
        let mut document = two();
        document.classes[0].deadline_ms = deadline_ms;
        document.settings.thresholds = [settings::Thresholds { rate_remaining: Some(10), ..Default::default() }; 7];
        let known = snapshot(vec![health("s0", readings), health("s1", &[])]);
        let facts = Facts { input_tokens: Some(Fact::trusted(20)), ..Facts::default() };
        let numbers = |reason: &Reason| (reason.code, reason.needed, reason.has);
        decide(&document, &known, &facts).rows[0].reasons.iter().map(numbers).collect::<Vec<_>>()
    };
    // The request has 120 tokens.
    let (enough, few, asks) = (120, 119, 8_000);
    assert_eq!(reasons(asks, &[(Signal::ContextRoom, enough), (Signal::TokensRemaining, enough)]), []);
    assert_eq!(reasons(asks, &[(Signal::ContextRoom, few)]), [(Code::ContextRoom, 120, 119)]);
    assert_eq!(reasons(asks, &[(Signal::TokensRemaining, few)]), [(Code::RateLimited, 120, 119)]);
    let late = reasons(1, &[(Signal::ContextRoom, enough), (Signal::TokensRemaining, enough)]);
    assert_eq!(late.iter().map(|(code, ..)| *code).collect::<Vec<_>>(), [Code::Slow]);
    let (scarce, both) = ((Signal::RateRemaining, 9), (Signal::TokensRemaining, few));
    assert_eq!(reasons(asks, &[scarce]), [(Code::RateLimited, 10, 9)]);
    assert_eq!(reasons(asks, &[scarce, both]), [(Code::RateLimited, 120, 119)]);
    assert_eq!(reasons(asks, &[scarce, (Signal::TokensRemaining, enough)]), [(Code::RateLimited, 10, 9)]);
}

#[test]
fn what_waits_is_in_flight_too() {
    let mut full = two();
    full.substrates.iter_mut().for_each(|s| s.capacity.keep_for_ppm = [0; 3]);
    let busy = health("s0", &[(Signal::Running, 40), (Signal::QueueDepth, 24)]);
    let seen = decide(&full, &snapshot(vec![busy, health("s1", &[])]), &Facts::default());
    assert!(seen.rows[0].reasons.iter().any(|reason| reason.code == Code::Headroom), "{:?}", seen.rows[0].reasons);
}

#[test]
fn who_was_full_for_longer_than_an_answer_takes_is_no_longer_told_apart_by_it() {
    let told = |ago_ms: u64| {
        let mut busy = health("s0", &[(Signal::Total, 1_000_000)]);
        let mut idle = health("s1", &[(Signal::Total, 1_000_000)]);
        busy.set(Signal::InFlight, Reading { value: 30, at_ms: NOW_MS - ago_ms });
        idle.set(Signal::InFlight, Reading { value: 2, at_ms: NOW_MS - ago_ms });
        share(&snapshot(vec![busy, idle]))
    };
    assert!(told(0) < 0.25, "{}", told(0));
    assert!((0.25..0.45).contains(&told(500)), "{}", told(500));
    assert!((told(1_000) - 0.5).abs() < 0.02, "{}", told(1_000));
}

#[test]
fn a_stream_that_may_not_be_begun_twice_has_no_more_tries_than_leave_each_four_times_what_it_takes() {
    let known = snapshot(vec![health("s0", &[]), health("s1", &[])]);
    let told = |repeatable: bool, bound: Option<u32>, first_token_us: i64| {
        let mut document = two();
        (document.classes[0].attempts.repeatable, document.classes[0].attempts.per_try_ms) = (repeatable, bound);
        for substrate in &mut document.substrates {
            substrate.latency = substrate::Latency { first_token_us, prefill_us_per_token: 0, us_per_token: 0 };
        }
        let facts = Facts { streaming: Some(Fact::trusted(true)), ..Facts::default() };
        let decision = decide(&document, &known, &facts).decision;
        (decision.plan.len(), decision.pace.per_try_ms)
    };
    assert_eq!(told(true, None, 1_000_001), (2, 4_000), "what is late is followed");
    assert_eq!(told(false, None, 1_000_000), (2, 4_000));
    assert_eq!(told(false, None, 1_000_001), (1, 8_000), "what is late would be lost");
    assert_eq!(told(false, Some(3_000), 1_000_001), (2, 3_000), "the class cuts it anyway");
    assert_eq!(told(false, Some(3_000), 3_000_001), (0, 0), "and what cannot begin within that has no place");
    assert_eq!(told(false, Some(5_000), 1_000_001), (1, 5_000));
}

#[test]
fn what_follows_a_refusal_is_planned_though_two_whole_answers_would_not_fit() {
    let mut document = two();
    // One answer takes about 3.4 seconds of eight: two fit by their need, not with the reserve that is kept.
    document.classes[0].usual_output_tokens = 480;
    let known = snapshot(vec![health("s0", &[]), health("s1", &[])]);
    let tries = |document: &Document| decide(document, &known, &Facts::default()).decision.plan.len();
    assert_eq!(tries(&document), 2);
    document.classes[0].attempts.repeatable = true;
    assert_eq!(tries(&document), 1);
    // To the last millisecond: half as much again as an answer takes is kept for the second.
    document.classes[0].attempts.repeatable = false;
    document.classes[0].usual_output_tokens = 1;
    for substrate in &mut document.substrates {
        substrate.latency = substrate::Latency { first_token_us: 0, prefill_us_per_token: 0, us_per_token: 600_000 };
    }
    let with = |deadline_ms: u32| {
        let mut document = document.clone();
        document.classes[0].deadline_ms = deadline_ms;
        tries(&document)
    };
    assert_eq!([899, 900].map(with), [1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_longer_queue_never_looks_faster(total in 0..20_000_000_i64, first in 0..5_000_000_i64, queues in (0..200_i64, 0..200_i64)) {
        let with = |queue: i64| {
            need_us(&[(Signal::FirstToken, first), (Signal::Total, total), (Signal::QueueDepth, queue)])
        };
        prop_assert!(with(queues.0.min(queues.1)) <= with(queues.0.max(queues.1)));
    }
}
