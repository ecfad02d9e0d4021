//! Several VMs of the built module over one shared map: who leads when they start at once, when the one that leads is
//! gone, and when the clock jumps.

use super::{FULL, policy};
use crate::fake_host::FakeHost;
use crate::wasm_host::{Built, Vm};
use berth::filter::store::{LEASE, SnapshotReader};
use berth::model::Snapshot;

const TICK_MS: u64 = 50;
/// The longest time between two snapshots, and how long a lease lasts without renewal.
const PERIOD_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;

/// A VM of the module and the host that it sees.
struct Member {
    host: FakeHost,
    vm: Vm,
}

impl Member {
    fn start(built: &Built, world: &FakeHost) -> Self {
        let host = world.another_vm();
        let (vm, taken) = built.start(&host, &policy::telemetry(&policy::policy()).to_string()).unwrap();
        assert!(taken, "{:?}", vm.log());
        Self { host, vm }
    }

    fn tick(&mut self) {
        self.vm.tick().unwrap();
        for sent in self.host.take_calls() {
            let report = format!(r#"{{"substrate":"{}","signals":{{"queue_depth":1}}}}"#, sent.cluster);
            let size = self.host.answer(&[(":status", "200")], report.as_bytes());
            self.vm.answered(sent.token, size).unwrap();
        }
    }

    fn asked(&self) -> u64 {
        self.vm.calls().get("proxy_http_call").copied().unwrap_or(0)
    }
}

fn start(world: &FakeHost, members: usize) -> Vec<Member> {
    let built = Built::load(FULL);
    (0..members).map(|_| Member::start(&built, world)).collect()
}

/// Lets so much time pass; gives all that was published meanwhile.
fn pass(world: &FakeHost, members: &mut [Member], ms: u64) -> Vec<Snapshot> {
    let (mut reader, mut seen) = (SnapshotReader::default(), Vec::new());
    reader.poll(world);
    for _ in 0..ms / TICK_MS {
        world.advance_ms(TICK_MS);
        for member in &mut *members {
            member.tick();
            if reader.poll(world) {
                seen.extend(reader.snapshot().cloned());
            }
        }
    }
    seen
}

/// All were written by one, each under the next epoch.
fn of_one_writer(seen: &[Snapshot]) -> u64 {
    assert!(!seen.is_empty(), "nothing was published");
    for pair in seen.windows(2) {
        assert_eq!((pair[1].writer, pair[1].epoch), (pair[0].writer, pair[0].epoch + 1));
    }
    seen[0].writer
}

#[test]
fn of_modules_that_start_at_once_one_asks_and_publishes() {
    let world = FakeHost::new();
    let mut members = start(&world, 4);
    let seen = pass(&world, &mut members, 5 * PERIOD_MS);
    of_one_writer(&seen);
    assert!(seen.len() >= 5, "{}", seen.len());
    assert_eq!(members.iter().filter(|member| member.asked() > 0).count(), 1);
    assert_eq!(world.metric_value("berth.telemetry.leading"), 1);
    assert_eq!(world.metric_value("berth.telemetry.members"), 4);
}

#[test]
fn of_two_modules_at_the_same_step_one_wins_wherever_the_other_comes_between() {
    // Before the first access to the lease, the second, and so on: as far as there is one.
    for step in 0..8 {
        let world = FakeHost::new();
        let mut members = start(&world, 2);
        world.advance_ms(TICK_MS);
        let (mut second, first) = (members.pop().unwrap(), members.pop().unwrap());
        let second_host = second.host.clone();
        let mut accesses = 0;
        first.host.meddle(move |_, _, key| {
            if key == LEASE {
                if accesses == step {
                    second.tick();
                }
                accesses += 1;
            }
        });
        let mut first = [first];
        first[0].tick();
        assert_eq!(world.metric_value("berth.telemetry.published"), 1, "at step {step}");
        assert_eq!(second_host.count("call") > 0, first[0].asked() == 0, "one of the two asks, at step {step}");
        first[0].host.leave_alone();
        of_one_writer(&pass(&world, &mut first, 4 * PERIOD_MS));
    }
}

#[test]
fn when_the_module_that_leads_is_gone_another_publishes_within_two_periods() {
    let world = FakeHost::new();
    let mut members = start(&world, 3);
    let before = pass(&world, &mut members, 3 * PERIOD_MS);
    let (old, last_ms) = (of_one_writer(&before), before.last().unwrap().at_ms);
    let leader = members.iter().position(|member| member.asked() > 0).unwrap();
    // Gone without a word, as a VM that is killed.
    drop(members.remove(leader));
    let after = pass(&world, &mut members, 4 * PERIOD_MS);
    assert_ne!(of_one_writer(&after), old);
    let silent_ms = after[0].at_ms - last_ms;
    assert!(silent_ms <= 2 * PERIOD_MS, "nothing for {silent_ms} ms");
    assert!(after[0].epoch > before.last().unwrap().epoch, "epochs go on");
    let known = |snapshot: &Snapshot| snapshot.of("metal-fr").unwrap().readings.iter().flatten().count();
    assert!(known(&after[0]) > 0, "what the one before had heard is not forgotten");
    assert_eq!(world.metric_value("berth.telemetry.leading"), 1);
}

#[test]
fn when_the_clock_jumps_the_modules_publish_on_and_one_of_them_leads() {
    let world = FakeHost::new();
    let mut members = start(&world, 3);
    of_one_writer(&pass(&world, &mut members, 2 * PERIOD_MS));
    for jump in [DAY_MS, 3 * PERIOD_MS, 200, 7 * DAY_MS] {
        for now_ms in [world.now_ms() + jump, world.now_ms() - jump] {
            world.set_now_ms(now_ms);
            let seen = pass(&world, &mut members, 4 * PERIOD_MS);
            let first = seen.first().expect("nothing was published");
            assert!(first.at_ms.abs_diff(now_ms) <= 2 * PERIOD_MS, "after a jump of {jump} nothing for too long");
            // By whoever was first after the jump; from then on by the same.
            of_one_writer(&seen[seen.len() / 2..]);
            let last = seen.last().unwrap();
            let future =
                last.substrates.iter().flat_map(|s| s.readings.iter().flatten()).filter(|r| r.at_ms > last.at_ms);
            assert_eq!(future.count(), 0, "nothing is from the future");
        }
    }
}
