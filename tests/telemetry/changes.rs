//! What changes between two pictures is counted once, whoever publishes them.

use crate::fake_host::FakeHost;
use crate::policy;
use crate::role::TICK_MS;
use berth::filter::Role;

/// One tick of a role whose sources all answer that their queues are so deep.
fn turn(host: &FakeHost, role: &mut Role, depth: u64) {
    role.on_tick(host);
    for call in host.take_calls() {
        let body = format!(r#"{{"substrate":"{}","signals":{{"queue_depth":{depth}}}}}"#, call.cluster);
        let size = host.answer(&[(":status", "200")], body.as_bytes());
        role.on_call(host, call.token, size);
    }
    host.advance_ms(TICK_MS);
}

fn start(host: &FakeHost) -> Role {
    host.set_configuration(&policy::telemetry(&policy::policy()).to_string());
    Role::configure(host).unwrap()
}

/// How often the admission of a substrate became closed, and became open to all.
fn changes(host: &FakeHost) -> [i64; 2] {
    ["closed", "all"].map(|to| host.metric_value(&format!("berth.health.admission_changes.substrate.metal-fr.to.{to}")))
}

#[test]
fn an_admission_that_closes_and_opens_is_counted_once_each_and_not_again_by_the_next_leader() {
    let host = FakeHost::new();
    let (first, second) = (host.another_vm(), host.another_vm());
    let (mut one, mut other) = (start(&first), start(&second));
    (0..10).for_each(|_| turn(&first, &mut one, 0));
    assert_eq!(changes(&host), [0, 0]);
    (0..40).for_each(|_| turn(&first, &mut one, 500));
    assert_eq!(changes(&host), [1, 0]);
    drop(one);
    (0..30).for_each(|_| turn(&second, &mut other, 500));
    assert_eq!(
        (host.metric_value("berth.telemetry.leading"), changes(&host)),
        (1, [1, 0]),
        "the other one leads, whoever is gone"
    );
    (0..30).for_each(|_| turn(&second, &mut other, 0));
    assert_eq!(changes(&host), [1, 1]);
}
