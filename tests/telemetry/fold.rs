//! The fold itself: circuits over many VMs, failure domains, ramps, take-over, shares, and anything thrown at it.

use crate::role::watch;
use berth::health::heard::{Drop, Heard};
use berth::health::slot::{Answers, Row, Said, SlotRecord, Sum, key_of};
use berth::health::{Fold, codec, orca, prometheus, query, report};
use berth::model::settings::Breaking;
use berth::model::{Circuit, Reading, Signal, Snapshot, Watch};
use proptest::prelude::*;

const T: u64 = 1_790_000_000_000;

/// The record of the `nth` VM, which began shortly before `T`.
fn slot(nth: u64, rows: &[(&str, Answers)]) -> SlotRecord {
    born(T - 1_000, nth, rows)
}

fn born(born_ms: u64, nth: u64, rows: &[(&str, Answers)]) -> SlotRecord {
    let incarnation = born_ms * 1_000_000 + nth;
    let row = |(name, answers): &(&str, Answers)| Row {
        substrate: key_of(name),
        placed: answers.good + answers.failed,
        answers: *answers,
        ..Row::default()
    };
    let mut rows: Vec<Row> = rows.iter().map(row).collect();
    rows.sort_by_key(|r| r.substrate);
    SlotRecord { incarnation, expires_ms: u64::MAX, places: true, rows }
}

fn failed(n: u64) -> Answers {
    Answers { failed: n, ..Answers::default() }
}

fn good(n: u64) -> Answers {
    Answers { good: n, ..Answers::default() }
}

fn started(watch: Watch) -> Fold {
    let mut fold = Fold::new(watch, None, 1, T);
    fold.fold(T);
    fold
}

fn circuit(fold: &Fold, name: &str, now_ms: u64) -> Circuit {
    fold.snapshot(1, now_ms).of(name).unwrap().circuit
}

#[test]
fn failures_seen_by_different_vms_open_one_circuit_and_a_probe_of_the_chosen_vm_closes_it() {
    let mut fold = started(watch(&["a", "b"]));
    for vm in 0..3 {
        fold.absorb(vm, slot(u64::from(vm) + 1, &[("a", failed(2)), ("b", good(9))]), T + 100);
    }
    assert!(fold.fold(T + 100));
    let Circuit::Open { until_ms } = circuit(&fold, "a", T) else { panic!("six failures in a row") };
    assert_eq!(circuit(&fold, "b", T), Circuit::Closed);

    fold.fold(until_ms);
    let Circuit::HalfOpen { slot: prober, probes, .. } = circuit(&fold, "a", T) else { panic!("time to probe") };
    assert!(prober < 3);
    assert_eq!(probes, 1);
    let seen = Answers { good: 1, failed: 2, ..Answers::default() };
    fold.absorb(prober, slot(u64::from(prober) + 1, &[("a", seen), ("b", good(9))]), until_ms + 50);
    fold.fold(until_ms + 50);
    assert_eq!(circuit(&fold, "a", T), Circuit::Closed);
    let snapshot = fold.snapshot(1, T);
    assert_eq!(snapshot.of("a").unwrap().since_ms, Some(until_ms + 50), "what comes back ramps");
    assert_eq!(snapshot.slots, 3);
    fold.fold(until_ms + 100);
    assert_eq!(circuit(&fold, "a", T), Circuit::Closed, "the failures that opened it are over");
}

#[test]
fn what_fails_in_several_members_of_a_failure_domain_takes_the_silent_ones_along_and_no_one_else() {
    let mut watched = watch(&["a", "b", "c", "d", "e"]);
    for at in 0..4 {
        watched.substrates[at].failure_domain = "rack-1".to_string();
    }
    watched.breaking = Breaking { consecutive: 1_000, ..watched.breaking };
    let mut fold = started(watched);
    let rows = [("a", failed(12)), ("b", failed(12)), ("d", good(1)), ("e", failed(1))];
    fold.absorb(0, slot(1, &rows), T + 100);
    fold.fold(T + 100);
    let open = |name: &str| matches!(circuit(&fold, name, T), Circuit::Open { .. });
    assert_eq!(["a", "b", "c", "d", "e"].map(open), [true, true, true, false, false]);
}

#[test]
fn counters_that_were_there_before_this_vm_led_are_not_counted_again() {
    let mut fold = Fold::new(watch(&["a"]), None, 1, T);
    fold.absorb(0, slot(1, &[("a", failed(500))]), T);
    fold.fold(T);
    assert_eq!(circuit(&fold, "a", T), Circuit::Closed);
    // A VM that has begun since counts in full; one that moved to another slot only with what is new.
    fold.absorb(1, slot(2, &[("a", failed(4))]), T + 100);
    fold.absorb(2, slot(1, &[("a", failed(500))]), T + 100);
    fold.fold(T + 100);
    assert_eq!(circuit(&fold, "a", T), Circuit::Closed);
    fold.absorb(2, slot(1, &[("a", failed(501))]), T + 200);
    fold.fold(T + 200);
    assert!(matches!(circuit(&fold, "a", T), Circuit::Open { .. }));
}

#[test]
fn a_vm_that_was_silent_for_long_is_not_counted_from_its_beginning_again() {
    let mut fold = started(watch(&["a"]));
    let failures = |fold: &Fold| matches!(circuit(fold, "a", T), Circuit::Open { .. });
    fold.absorb(0, slot(1, &[("a", good(500))]), T + 100);
    fold.fold(T + 100);
    // It stalls, or the clock jumps: what it said is forgotten, and of what it says then only what follows is new.
    fold.gone(0);
    let later = T + 90_000;
    fold.fold(later);
    let both = |failed| Answers { failed, ..good(500) };
    fold.absorb(0, slot(1, &[("a", both(4))]), later + 100);
    fold.fold(later + 1_000);
    assert_eq!(fold.snapshot(1, later).of("a").unwrap().share_ppm, 0, "nothing was placed since");
    assert!(!failures(&fold));
    fold.absorb(0, slot(1, &[("a", both(40))]), later + 1_100);
    fold.fold(later + 1_100);
    assert!(failures(&fold));
    // One that has begun meanwhile counts in full.
    fold.absorb(1, born(later + 1_900, 2, &[("a", good(7))]), later + 2_000);
    fold.fold(later + 2_000);
    assert_eq!(fold.snapshot(1, later).of("a").unwrap().share_ppm, 1_000_000);
}

#[test]
fn only_who_places_now_shares_the_capacity_and_is_asked_to_probe() {
    let mut fold = started(watch(&["a"]));
    // Three workers of the configuration before, three of the new one, a main thread of each.
    for vm in 0..6_u8 {
        fold.absorb(vm, slot(u64::from(vm) + 1, &[("a", good(9))]), T + 100);
    }
    for vm in [6, 7] {
        fold.absorb(vm, slot(u64::from(vm) + 1, &[]), T + 100);
    }
    fold.fold(T + 100);
    assert_eq!(fold.snapshot(1, T + 100).slots, 6);
    let mut placed = 9;
    let mut probers = std::collections::BTreeSet::new();
    for second in 1..=120 {
        let now_ms = T + second * 1_000;
        placed += 1;
        for vm in 0..8 {
            fold.keep(vm, now_ms);
        }
        for vm in 3..6_u8 {
            let answers = Answers { failed: placed - 9, ..good(9) };
            fold.absorb(vm, slot(u64::from(vm) + 1, &[("a", answers)]), now_ms);
        }
        fold.fold(now_ms);
        if second > 15 {
            let snapshot = fold.snapshot(1, now_ms);
            assert_eq!(snapshot.slots, 3, "after {second} s");
            if let Circuit::HalfOpen { slot, .. } = snapshot.of("a").unwrap().circuit {
                probers.insert(slot);
            }
        }
    }
    assert_eq!(probers.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
}

/// The lease of a half-open circuit of the only substrate: whose it is, and until when.
fn lease(fold: &Fold) -> (u8, u64) {
    match circuit(fold, "a", T) {
        Circuit::HalfOpen { slot, until_ms, .. } => (slot, until_ms),
        other => panic!("not half open: {other:?}"),
    }
}

#[test]
fn who_is_asked_first_after_a_rest_may_probe_with_the_next_picture_though_nobody_places_anything() {
    let mut fold = started(watch(&["a"]));
    // Slot 0 watches and never places.
    let watcher = SlotRecord { places: false, ..slot(7, &[]) };
    fold.absorb(0, watcher, T + 100);
    fold.absorb(1, slot(1, &[("a", failed(9))]), T + 100);
    fold.fold(T + 100);
    let Circuit::Open { until_ms } = circuit(&fold, "a", T) else { panic!("nine failures in a row") };
    // Nothing is asked for any more: the worker gives its slot back, and it is nobody's turn.
    fold.gone(1);
    fold.fold(until_ms);
    assert_eq!(lease(&fold).0, 0);
    let later = until_ms + 300_000;
    fold.keep(0, later);
    fold.fold(later);
    assert_eq!(lease(&fold).0, 0);
    // Two are asked, and all that they are asked is refused.
    fold.absorb(4, slot(2, &[]), later + 3_000);
    assert!(fold.fold(later + 3_000), "there is something to publish");
    assert_eq!(lease(&fold), (4, later + 13_000));
    fold.absorb(2, slot(3, &[]), later + 4_000);
    fold.fold(later + 4_000);
    assert_eq!(lease(&fold), (4, later + 13_000), "its turn lasts");
    // The one rests: it is the other's turn at once.
    fold.gone(4);
    fold.fold(later + 5_000);
    assert_eq!(lease(&fold), (2, later + 15_000));
    fold.absorb(2, slot(3, &[("a", good(1))]), later + 5_100);
    fold.fold(later + 5_100);
    assert_eq!(circuit(&fold, "a", T), Circuit::Closed);
}

#[test]
fn while_all_is_refused_whoever_is_asked_has_its_turn() {
    let mut fold = started(watch(&["a"]));
    fold.absorb(1, slot(1, &[("a", failed(9))]), T + 100);
    fold.absorb(2, slot(2, &[]), T + 100);
    fold.fold(T + 100);
    let Circuit::Open { until_ms } = circuit(&fold, "a", T) else { panic!("nine failures in a row") };
    let mut turns: Vec<u8> = (0..400)
        .map(|n| {
            let now_ms = until_ms.max(T + 20_000) + n * 100;
            fold.keep(1, now_ms);
            fold.keep(2, now_ms);
            fold.fold(now_ms);
            lease(&fold).0
        })
        .collect();
    turns.dedup();
    assert!(turns.windows(2).all(|two| two[0] != two[1]) && turns.len() >= 4, "{turns:?}");
    assert!(turns.iter().all(|slot| [1, 2].contains(slot)), "{turns:?}");
}

#[test]
fn who_is_refused_has_its_turn_though_others_place_elsewhere_all_the_time() {
    // Two circuits that fall due together, and three workers: the third is asked for what is refused alone.
    let mut fold = started(watch(&["a", "b", "c"]));
    for vm in 1..3_u8 {
        fold.absorb(vm, slot(u64::from(vm), &[("a", failed(9)), ("b", failed(9)), ("c", good(1))]), T + 100);
    }
    fold.absorb(3, slot(3, &[]), T + 100);
    fold.fold(T + 100);
    let (mut turns, mut placed) = ([Vec::new(), Vec::new()], 1);
    for second in 1..=120 {
        let now_ms = T + 20_000 + second * 1_000;
        placed += 1;
        for vm in 1..3_u8 {
            let rows = [("a", failed(9)), ("b", failed(9)), ("c", good(placed))];
            fold.absorb(vm, slot(u64::from(vm), &rows), now_ms);
        }
        fold.keep(3, now_ms);
        fold.fold(now_ms);
        for (name, turns) in ["a", "b"].into_iter().zip(&mut turns) {
            if let Circuit::HalfOpen { slot, .. } = circuit(&fold, name, now_ms) {
                turns.push(slot);
            }
        }
    }
    for mut turns in turns {
        turns.dedup();
        assert!(turns.len() >= 6, "{turns:?}");
        assert!(turns.windows(3).all(|three| (1..4).all(|slot| three.contains(&slot))), "{turns:?}");
    }
}

#[test]
fn a_worker_shares_from_the_first_picture_after_it_placed_and_not_before() {
    let mut fold = started(watch(&["a"]));
    let mut at = |ms: u64, placed: [u64; 2]| {
        for (vm, n) in (0..2_u8).zip(placed) {
            let rows = [("a", good(n))];
            fold.absorb(vm, slot(u64::from(vm) + 1, if n > 0 { &rows } else { &[] }), T + ms);
        }
        fold.fold(T + ms);
        fold.snapshot(1, T + ms).slots
    };
    // Two workers are there; which of them requests come to is not known before they have come.
    assert_eq!([at(1_000, [0, 0]), at(2_000, [5, 0]), at(3_000, [9, 4])], [1, 1, 2]);
    // One rests, and is back.
    assert_eq!([at(12_000, [20, 4]), at(13_100, [21, 4]), at(14_000, [22, 5])], [2, 1, 2]);
}

#[test]
fn a_clock_that_jumps_back_leaves_those_who_place_now() {
    let mut fold = started(watch(&["a"]));
    fold.absorb(0, slot(1, &[("a", good(9))]), T + 3_600_000);
    fold.absorb(1, slot(2, &[("a", good(9))]), T + 3_600_000);
    fold.fold(T + 3_600_000);
    for second in 1..30 {
        fold.absorb(1, slot(2, &[("a", good(9 + second))]), T + second * 1_000);
        fold.keep(0, T + second * 1_000);
        fold.fold(T + second * 1_000);
    }
    assert_eq!(fold.snapshot(1, T).slots, 1);
}

#[test]
fn whoever_takes_over_goes_on_where_the_last_one_was() {
    let mut fold = started(watch(&["a"]));
    let first = Sum { count: 10, sum_us: 3_000_000 };
    let mut record = slot(1, &[("a", failed(9))]);
    record.rows[0].first = first;
    fold.absorb(0, record, T + 100);
    fold.fold(T + 100);
    let before = fold.snapshot(1, T + 100);
    let mut next = Fold::new(watch(&["a", "new"]), Some(&before), 2, T + 200);
    next.fold(T + 200);
    let after = next.snapshot(2, T + 200);
    assert_eq!(after.of("a"), before.of("a"));
    assert_eq!(after.of("new").unwrap().since_ms, Some(T + 200), "one that is new among known ones ramps");
    let alone = started(watch(&["a"])).snapshot(1, T);
    assert_eq!(alone.of("a").unwrap().since_ms, None, "when all are new, nobody is");
}

/// Answers that took so long to begin, one a second, through one slot; the last drift that the snapshot shows.
fn drift_of(
    fold: &mut Fold,
    record: &mut SlotRecord,
    seconds: std::ops::Range<u64>,
    us: u64,
    queue: i64,
) -> Option<i64> {
    for second in seconds {
        let now_ms = T + second * 1_000;
        let said = Reading { value: queue, at_ms: now_ms };
        fold.hear(0, &Heard { readings: vec![(Signal::QueueDepth, said)], ..Heard::default() }, now_ms);
        record.rows[0].answers.good += 1;
        record.rows[0].first.count += 1;
        record.rows[0].first.sum_us += us;
        fold.absorb(0, record.clone(), now_ms);
        fold.fold(now_ms);
    }
    fold.snapshot(1, T).substrates[0].reading(Signal::Drift).map(|r| r.value)
}

#[test]
fn a_substrate_drifts_from_its_own_past_and_neither_a_queue_nor_a_new_leader_is_taken_for_it() {
    let mut fold = started(watch(&["a"]));
    let mut record = slot(1, &[("a", good(1))]);
    assert_eq!(drift_of(&mut fold, &mut record, 1..50, 400_000, 0), None, "it has no past yet");
    assert_eq!(drift_of(&mut fold, &mut record, 50..120, 400_000, 0), Some(0));
    assert_eq!(drift_of(&mut fold, &mut record, 120..180, 900_000, 7), Some(0), "the queue says why");
    let drifted = drift_of(&mut fold, &mut record, 180..210, 900_000, 0).unwrap();
    assert!(drifted > 500_000, "{drifted}");
    let before = fold.snapshot(1, T + 210_000);
    let mut next = Fold::new(watch(&["a"]), Some(&before), 2, T + 210_000);
    next.absorb(0, record.clone(), T + 210_000);
    next.fold(T + 210_000);
    let after = drift_of(&mut next, &mut record, 211..220, 900_000, 0).unwrap();
    assert!(after > 500_000, "{after} after {drifted}");
}

#[test]
fn shares_are_of_what_all_vms_placed_in_the_last_interval() {
    let mut fold = started(watch(&["a", "b"]));
    fold.absorb(0, slot(1, &[("a", good(30)), ("b", good(10))]), T + 500);
    fold.absorb(1, slot(2, &[("a", good(30)), ("b", good(30))]), T + 500);
    fold.fold(T + 1_000);
    let shares = |fold: &Fold| fold.snapshot(1, T).substrates.iter().map(|h| h.share_ppm).collect::<Vec<_>>();
    assert_eq!(shares(&fold), [600_000, 400_000]);
    fold.fold(T + 2_000);
    assert_eq!(shares(&fold), [0, 0]);
}

#[test]
fn nothing_new_is_not_worth_publishing() {
    let mut fold = started(watch(&["a"]));
    assert!(!fold.fold(T + 100));
    fold.absorb(0, slot(1, &[("a", good(1))]), T + 200);
    assert!(fold.fold(T + 200));
    fold.absorb(0, slot(1, &[("a", good(1))]), T + 300);
    assert!(!fold.fold(T + 300), "renewed and otherwise the same");
}

#[test]
fn what_proxies_measure_is_not_overruled_by_what_a_substrate_says_while_it_is_fresh() {
    let mut fold = started(watch(&["a"]));
    let mut record = slot(1, &[("a", good(1))]);
    record.rows[0].first = Sum { count: 1, sum_us: 400_000 };
    fold.absorb(0, record, T + 100);
    fold.fold(T + 100);
    // Latencies, and as well what is counted: failures, overload, what is in flight.
    let all = [Signal::FirstToken, Signal::FailureRate, Signal::OverloadRate, Signal::InFlight];
    let boast = |at_ms| Heard {
        readings: all.map(|signal| (signal, Reading { value: 1_000, at_ms })).into(),
        ..Heard::default()
    };
    let known = |fold: &Fold| {
        let health = fold.snapshot(1, T).substrates.remove(0);
        all.map(|signal| health.reading(signal).map(|r| r.value))
    };
    let before = known(&fold);
    assert_eq!(before[0], Some(400_000));
    assert_eq!(
        fold.measured(T + 200).map(|(_, signals)| signals.filter(|s| all.contains(s)).count()).sum::<usize>(),
        4
    );
    assert_eq!(fold.hear(0, &boast(T + 200), T + 200).of(Drop::Measured), 4);
    assert_eq!(known(&fold), before);
    assert_eq!(fold.hear(0, &boast(T + 5_000), T + 5_000).total(), 0);
    assert_eq!(known(&fold), [Some(1_000); 4]);
}

#[test]
fn what_is_older_than_what_is_known_is_dropped_and_counted() {
    let mut fold = started(watch(&["a"]));
    let at = |at_ms| Heard { readings: vec![(Signal::Running, Reading { value: 1, at_ms })], ..Heard::default() };
    assert_eq!(fold.hear(0, &at(T), T).total(), 0);
    assert_eq!(fold.hear(0, &at(1_000), T).of(Drop::Stale), 1);
    assert_eq!(fold.hear(0, &at(T), T).total(), 0, "the same again is no older");
}

#[test]
fn a_hint_rests_a_substrate_and_ends_by_itself() {
    let mut fold = started(watch(&["a"]));
    let mut record = slot(1, &[("a", Answers { overloaded: 1, ..Answers::default() })]);
    record.rows[0].retry_at_ms = T + 5_000;
    fold.absorb(0, record, T + 100);
    fold.fold(T + 100);
    assert_eq!(fold.snapshot(1, T).substrates[0].retry_at_ms, Some(T + 5_000));
    fold.fold(T + 5_000);
    assert_eq!(fold.snapshot(1, T).substrates[0].retry_at_ms, None);
}

fn any_slot() -> impl Strategy<Value = SlotRecord> {
    let row = (0..3_usize, any::<[u64; 8]>(), prop::collection::vec((any::<u8>(), any::<u32>()), 0..5), any::<i64>());
    let rows = prop::collection::vec(row, 0..4);
    (any::<u64>(), any::<u64>(), any::<bool>(), rows).prop_map(|(incarnation, expires_ms, places, rows)| {
        let row = |(name, n, buckets, value): (usize, [u64; 8], Vec<(u8, u32)>, i64)| Row {
            substrate: key_of(["a", "b", "c"][name]),
            placed: n[0],
            answers: Answers { good: n[1], failed: n[2], overloaded: n[3], refused: n[4] },
            in_flight: u32::MAX,
            first: Sum { count: n[5], sum_us: n[6] },
            total: Sum { count: n[6], sum_us: n[5] },
            per_token: Sum { count: 0, sum_us: n[7] },
            spread: Sum { count: 1, sum_us: n[7] },
            bytes: n[7],
            buckets,
            said: vec![Said { signal: Signal::QueueDepth, value, at_ms: n[0] }],
            retry_at_ms: n[7],
        };
        SlotRecord { incarnation, expires_ms, places, rows: rows.into_iter().map(row).collect() }
    })
}

fn is_sane(snapshot: &Snapshot) -> bool {
    let sane = |(signal, reading): (Signal, &Option<Reading>)| {
        reading.is_none_or(|r| (signal.bounds().0..=signal.bounds().1).contains(&r.value))
    };
    snapshot.substrates.iter().all(|h| Signal::ALL.into_iter().zip(&h.readings).all(sane) && h.share_ppm <= 1_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_slots_say_and_the_clock_does_the_snapshot_is_sane_and_can_be_sent(
        steps in prop::collection::vec((0..4_u8, any_slot(), any::<u64>()), 1..12),
    ) {
        let mut watched = watch(&["a", "b", "c"]);
        watched.substrates[1].failure_domain = "a".to_string();
        let mut fold = Fold::new(watched, None, 3, 5);
        for (number, record, now_ms) in steps {
            fold.absorb(number, record, now_ms);
            fold.fold(now_ms);
            let snapshot = fold.snapshot(1, now_ms);
            prop_assert!(is_sane(&snapshot), "{snapshot:?}");
            prop_assert_eq!(codec::decode(&codec::encode(&snapshot)), Ok(snapshot));
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
        let vllm = berth::health::presets::preset("vllm").unwrap();
        for body in [text.clone(), noisy(&text, &cut)] {
            let _ = report::parse(&body, T);
            let _ = query::parse(&body, &query::Labels::default(), T);
            let _ = orca::parse(&body);
            let _ = orca::parse(&[&b"JSON "[..], &body].concat());
            let _ = orca::parse(&[&b"BIN "[..], &body].concat());
            let _ = orca::parse_binary(&body);
            let _ = berth::health::decimal::parse(&body);
            let mut scrape = prometheus::Scrape::new(&vllm);
            scrape.feed(&body);
            let _ = scrape.finish(&mut prometheus::Before::new(), T);
        }
    }
}

/// Almost valid input: a good document with noise in the middle of it.
fn noisy(noise: &[u8], at: &prop::sample::Index) -> Vec<u8> {
    let good = concat!(
        r#"{"substrate":"a","signals":{"queue_depth":3,"link":{"value":0.5,"at_ms":1}},"attestation":{"jurisdiction":"FR","at_ms":1}}"#,
        "\nvllm:num_requests_waiting{a=\"b\"} 3 4\nvllm:kv_cache_usage_perc{} 0.5\n"
    );
    let at = at.index(good.len());
    [&good.as_bytes()[..at], noise, &good.as_bytes()[at..]].concat()
}

#[test]
fn of_very_many_vms_that_come_and_go_those_that_have_gone_are_forgotten() {
    let mut fold = started(watch(&["a"]));
    for vm in 0..2_000_u64 {
        fold.absorb(u8::try_from(vm % 128).unwrap(), slot(vm, &[("a", good(1))]), T + vm);
        if vm % 100 == 99 {
            let known = format!("{fold:?}").matches("Known {").count();
            assert!((vm as usize + 1).min(128) <= known && known <= 256, "{known} after {vm}");
        }
    }
    assert_eq!(fold.live(), 128, "and whoever is there is known");
}
