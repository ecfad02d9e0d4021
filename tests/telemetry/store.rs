//! Shared data among several VMs: one leads, everybody reads, nobody overwrites what he has not seen.

use crate::codec::sample;
use crate::fake_host::{EVERY_ERROR, FakeHost};
use berth::filter::HostError;
use berth::filter::store::{
    EPOCH, GENERATION, Generation, LEASE, Lease, SNAPSHOT, SlotKeeper, SlotReader, SlotState, SnapshotReader, Standing,
    Unpublished, Unslotted, publish, slot_key,
};
use berth::health::InvalidSnapshot;
use berth::health::slot::SlotRecord;

const LASTS_MS: u64 = 1_500;

/// A VM that has published once.
fn publisher(host: &FakeHost, me: u64) -> Lease {
    let mut lease = Lease::new(LASTS_MS);
    assert!(lease.acquire(host, me, host.now_ms()));
    write(host, &mut lease, me).unwrap();
    lease
}

fn write(host: &FakeHost, lease: &mut Lease, me: u64) -> Result<u64, Unpublished> {
    let mut snapshot = sample();
    snapshot.writer = me;
    publish(host, lease, host.now_ms(), &mut snapshot).map(|mark| mark.epoch)
}

#[test]
fn a_worker_reads_the_epoch_on_each_tick_and_the_snapshot_only_when_it_changed() {
    let host = FakeHost::new();
    let mut lease = publisher(&host, 7);
    let worker = host.another_vm();
    let mut reader = SnapshotReader::default();
    assert!(reader.poll(&worker));
    assert_eq!((reader.snapshot().unwrap().epoch, reader.snapshot().unwrap().writer), (1, 7));
    worker.reset_counts();
    assert!(!reader.poll(&worker));
    assert_eq!(worker.count("shared_get"), 1);
    write(&host, &mut lease, 7).unwrap();
    assert!(reader.poll(&worker));
    assert_eq!(reader.snapshot().unwrap().epoch, 2);
}

#[test]
fn a_damaged_snapshot_is_refused_once_counted_and_the_last_good_one_stays() {
    let host = FakeHost::new();
    let mut lease = publisher(&host, 7);
    let mut reader = SnapshotReader::default();
    reader.poll(&host);
    write(&host, &mut lease, 7).unwrap();
    let mut bytes = host.shared(SNAPSHOT).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    host.plant(SNAPSHOT, &bytes);
    for _ in 0..3 {
        assert!(!reader.poll(&host));
    }
    assert_eq!((reader.refused(), reader.refusals()), (Some(InvalidSnapshot::Checksum), 1));
    assert_eq!(reader.snapshot().unwrap().epoch, 1);
    write(&host, &mut lease, 7).unwrap();
    assert!(reader.poll(&host));
    assert_eq!(reader.refused(), None);
}

#[test]
fn a_snapshot_caught_between_the_writers_two_writes_is_read_at_the_next_tick() {
    let host = FakeHost::new();
    let mut lease = publisher(&host, 7);
    let mut reader = SnapshotReader::default();
    reader.poll(&host);
    let old_epoch = host.shared(EPOCH).unwrap();
    write(&host, &mut lease, 7).unwrap();
    let new_epoch = host.shared(EPOCH).unwrap();
    host.plant(EPOCH, &old_epoch);
    assert!(!reader.poll(&host), "the old epoch was seen before");
    host.plant(EPOCH, &new_epoch);
    assert!(reader.poll(&host));

    let bytes = host.shared(SNAPSHOT).unwrap();
    write(&host, &mut lease, 7).unwrap();
    let newest = host.shared(SNAPSHOT).unwrap();
    host.plant(SNAPSHOT, &bytes);
    assert!(!reader.poll(&host));
    assert_eq!((reader.torn(), reader.refusals()), (1, 0));
    host.plant(SNAPSHOT, &newest);
    assert!(reader.poll(&host));
}

#[test]
fn a_foreign_epoch_key_and_a_newer_format_degrade_to_the_last_good_one() {
    let host = FakeHost::new();
    let mut reader = SnapshotReader::default();
    host.plant(EPOCH, b"hello");
    assert!(!reader.poll(&host));
    assert_eq!((reader.refused(), reader.snapshot()), (Some(InvalidSnapshot::Foreign), None));

    host.forget_shared();
    publisher(&host, 7);
    let mut bytes = host.shared(SNAPSHOT).unwrap();
    bytes[4] = 9;
    host.plant(SNAPSHOT, &bytes);
    assert!(!reader.poll(&host));
    assert_eq!(reader.refused(), Some(InvalidSnapshot::Newer(9)));
}

#[test]
fn of_vms_that_start_at_once_exactly_one_leads() {
    let host = FakeHost::new();
    let vms: Vec<_> = (0..4).map(|_| host.another_vm()).collect();
    let mut leases: Vec<_> = vms.iter().map(|_| Lease::new(LASTS_MS)).collect();
    for _ in 0..5 {
        let held = vms
            .iter()
            .zip(&mut leases)
            .zip(1..)
            .filter_map(|((vm, lease), me)| lease.acquire(vm, me, host.now_ms()).then_some(me));
        assert_eq!(held.collect::<Vec<u64>>(), [1]);
        host.advance_ms(100);
    }
}

#[test]
fn a_vm_that_seeds_late_does_not_wipe_out_the_holder() {
    let (host, late) = (FakeHost::new(), FakeHost::new());
    let late = {
        drop(late);
        host.another_vm()
    };
    // Between the late one's look at the missing key and its seed, another VM seeds and takes the lease.
    let first = host.clone();
    let mut done = false;
    late.meddle(move |_, call, key| {
        if call == "shared_set" && key == LEASE && !done {
            done = true;
            assert!(Lease::new(LASTS_MS).acquire(&first, 1, first.now_ms()));
        }
    });
    assert!(!Lease::new(LASTS_MS).acquire(&late, 2, late.now_ms()));
    assert!(Lease::new(LASTS_MS).renew(&host, 1, host.now_ms()));
}

#[test]
fn a_dead_holder_is_followed_when_its_lease_ends_and_a_living_one_is_not() {
    let host = FakeHost::new();
    let mut holder = publisher(&host, 1);
    let mut other = Lease::new(LASTS_MS);
    for _ in 0..30 {
        host.advance_ms(100);
        assert!(holder.acquire(&host, 1, host.now_ms()));
        assert!(!other.acquire(&host, 2, host.now_ms()));
    }
    host.advance_ms(LASTS_MS - 1);
    assert!(!other.acquire(&host, 2, host.now_ms()));
    host.advance_ms(1);
    assert!(other.acquire(&host, 2, host.now_ms()));
    assert!(!holder.acquire(&host, 1, host.now_ms()));
}

#[test]
fn a_lease_given_back_is_free_at_once() {
    let host = FakeHost::new();
    publisher(&host, 1).release(&host, 1);
    assert!(Lease::new(LASTS_MS).acquire(&host, 2, host.now_ms()));
}

#[test]
fn a_lease_written_before_the_clock_jumped_back_binds_nobody() {
    let host = FakeHost::new();
    publisher(&host, 1);
    host.set_now_ms(FakeHost::START_MS - 3_600_000);
    assert!(Lease::new(LASTS_MS).acquire(&host, 2, host.now_ms()));
}

#[test]
fn a_holder_that_was_stalled_cannot_overwrite_its_successor() {
    // The stall may fall between any two calls of a publication.
    for stall_at in 0..8 {
        let host = FakeHost::new();
        let mut stalled = publisher(&host, 1);
        let other = host.another_vm();
        let mut calls = 0;
        host.meddle(move |_, _, _| {
            if calls == stall_at {
                other.advance_ms(10_000);
                publisher(&other, 2);
            }
            calls += 1;
        });
        let outcome = write(&host, &mut stalled, 1);
        host.leave_alone();
        let mut reader = SnapshotReader::default();
        assert!(reader.poll(&host), "stalled before call {stall_at}: {outcome:?}");
        if stall_at < 6 {
            assert_eq!(outcome, Err(Unpublished::Fenced), "stalled before call {stall_at}");
            assert_eq!(reader.snapshot().unwrap().writer, 2, "stalled before call {stall_at}");
        }
    }
}

#[test]
fn a_storm_of_writers_ends_after_three_tries() {
    let host = FakeHost::new();
    publisher(&host, 1);
    host.advance_ms(10_000);
    let stormy = host.another_vm();
    stormy.meddle(|host, call, key| {
        if call == "shared_set" {
            host.plant(key, b"storm");
        }
    });
    assert!(!Lease::new(LASTS_MS).acquire(&stormy, 2, stormy.now_ms()));
    assert_eq!((stormy.count("shared_get"), stormy.count("shared_set")), (3, 3));
    stormy.reset_counts();
    let mut keeper = SlotKeeper::new(1, LASTS_MS);
    assert_eq!(keeper.publish(&stormy, stormy.now_ms(), &mut SlotRecord::default()), Err(Unslotted::Busy));
    assert_eq!(stormy.count("shared_set"), 3);
}

#[test]
fn vms_born_at_the_same_instant_get_different_slots_and_incarnations() {
    let host = FakeHost::new();
    let mut seen = Vec::new();
    for expected in 0..128 {
        let mut keeper = SlotKeeper::new(host.now_ms() * 1_000_000, LASTS_MS);
        let slot = keeper.publish(&host.another_vm(), host.now_ms(), &mut SlotRecord::default()).unwrap();
        assert_eq!(slot, expected);
        seen.push(keeper.incarnation().unwrap());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 128);
    let mut late = SlotKeeper::new(1, LASTS_MS);
    assert_eq!(late.publish(&host, host.now_ms(), &mut SlotRecord::default()), Err(Unslotted::Full));
    host.advance_ms(LASTS_MS);
    assert_eq!(late.publish(&host, host.now_ms(), &mut SlotRecord::default()), Ok(0));
}

#[test]
fn two_vms_that_claim_the_same_slot_at_once_get_one_each() {
    let host = FakeHost::new();
    let other = host.another_vm();
    let mut first = SlotKeeper::new(1, LASTS_MS);
    let mut done = false;
    host.meddle(move |_, call, _| {
        if call == "shared_set" && !done {
            done = true;
            let mut quick = SlotKeeper::new(1, LASTS_MS);
            assert_eq!(quick.publish(&other, other.now_ms(), &mut SlotRecord::default()), Ok(0));
        }
    });
    assert_eq!(first.publish(&host, host.now_ms(), &mut SlotRecord::default()), Ok(1));
}

#[test]
fn a_slot_is_renewed_in_place_keeps_its_incarnation_when_lost_and_is_read_once_per_change() {
    let host = FakeHost::new();
    let mut keeper = SlotKeeper::new(1 << 20, LASTS_MS);
    let mut record = SlotRecord { places: true, ..SlotRecord::default() };
    keeper.publish(&host, host.now_ms(), &mut record).unwrap();
    let mut reader = SlotReader::default();
    assert!(matches!(reader.look(&host, 0, host.now_ms()), SlotState::Record(r) if r == record));
    assert!(matches!(reader.look(&host, 0, host.now_ms()), SlotState::Unchanged));
    host.advance_ms(LASTS_MS);
    assert!(matches!(reader.look(&host, 0, host.now_ms()), SlotState::Empty));

    let mut thief = SlotKeeper::new(2 << 20, LASTS_MS);
    assert_eq!(thief.publish(&host.another_vm(), host.now_ms(), &mut SlotRecord::default()), Ok(0));
    let born = keeper.incarnation();
    assert_eq!(keeper.publish(&host, host.now_ms(), &mut record), Ok(1));
    assert_eq!(keeper.incarnation(), born);
    host.plant(&slot_key(1), b"rubbish");
    assert!(matches!(reader.look(&host, 1, host.now_ms()), SlotState::Unreadable));
    keeper.publish(&host, host.now_ms(), &mut record).unwrap();
    keeper.release(&host);
    assert!(matches!(reader.look(&host, 1, host.now_ms()), SlotState::Empty));
}

#[test]
fn a_replaced_configuration_falls_silent_and_a_canary_that_never_ticks_replaces_nobody() {
    let host = FakeHost::new();
    let mut old = Generation::new(&host, 1);
    assert_eq!(old.check(&host), Standing::Current);
    let mut old_elsewhere = Generation::new(&host.another_vm(), 1);
    host.advance_ms(10);
    let _canary = Generation::new(&host, 2);
    assert_eq!((old.check(&host), old_elsewhere.check(&host)), (Standing::Current, Standing::Current));

    let mut new = Generation::new(&host, 2);
    let mut new_elsewhere = Generation::new(&host.another_vm(), 2);
    assert_eq!((new.check(&host), new_elsewhere.check(&host)), (Standing::Current, Standing::Current));
    assert_eq!((old.check(&host), old_elsewhere.check(&host)), (Standing::Replaced, Standing::Replaced));
    assert_eq!((new.check(&host), new_elsewhere.check(&host)), (Standing::Current, Standing::Current));

    // Back to the first configuration: the roots that fell silent stay silent, the new ones take over.
    host.advance_ms(10);
    let mut again = Generation::new(&host, 1);
    assert_eq!((again.check(&host), new.check(&host)), (Standing::Current, Standing::Replaced));
    assert_eq!(old.check(&host), Standing::Replaced);
}

#[test]
fn a_new_configuration_wins_though_the_clock_has_jumped_back() {
    let host = FakeHost::new();
    let mut old = Generation::new(&host, 1);
    old.check(&host);
    host.set_now_ms(FakeHost::START_MS - 86_400_000);
    let mut new = Generation::new(&host, 2);
    assert_eq!((new.check(&host), old.check(&host)), (Standing::Current, Standing::Replaced));
}

#[test]
fn no_status_of_any_call_makes_a_panic_or_a_false_claim() {
    for call in ["shared_get", "shared_set"] {
        for error in EVERY_ERROR {
            let host = FakeHost::new();
            host.fail_always(call, error);
            let now = host.now_ms();
            assert!(!Lease::new(LASTS_MS).acquire(&host, 1, now) || error == HostError::NotFound, "{call}: {error}");
            let mut lease = Lease::new(LASTS_MS);
            assert!(write(&host, &mut lease, 1).is_err(), "{call}: {error}");
            assert!(!SnapshotReader::default().poll(&host), "{call}: {error}");
            let _ = SlotKeeper::new(1, LASTS_MS).publish(&host, now, &mut SlotRecord::default());
            let _ = Generation::new(&host, 1).check(&host);
            let _ = SlotReader::default().look(&host, 0, now);
            host.heal();
            // Whatever was left behind, a healed host serves.
            assert!(Lease::new(LASTS_MS).acquire(&host, 9, now + LASTS_MS), "{call}: {error}");
        }
    }
}

#[test]
fn the_set_of_keys_is_fixed() {
    let host = FakeHost::new();
    publisher(&host, 1);
    Generation::new(&host, 1).check(&host);
    for i in 0..200 {
        let _ = SlotKeeper::new(i << 7, LASTS_MS).publish(&host, host.now_ms(), &mut SlotRecord::default());
    }
    let keys = host.shared_keys();
    assert_eq!(keys.len(), 128 + 4);
    for key in [EPOCH, SNAPSHOT, LEASE, GENERATION, "berth/1/slot/0", "berth/1/slot/99", "berth/1/slot/127"] {
        assert!(keys.iter().any(|k| k == key), "{key}");
    }
}
