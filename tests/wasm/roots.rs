//! The placement module is told of roots by their configuration and ticks alone, and of streams by their first headers
//! alone: it has to find out by itself whose a stream is, and that a root has ended.

use super::faults::answers;
use super::{PLACEMENT, policy};
use crate::fake_host::FakeHost;
use crate::wasm_host::{Answer, Built, ROOT, Vm, Went};
use berth::filter::{Host, MapKind};

const CHAT: [(&str, &str); 4] =
    [(":method", "POST"), (":path", "/v1/chat/completions"), ("x-tenant", "acme"), ("x-workload", "chat")];
/// No longer than a root may be silent.
const TICK_MS: u64 = 100;

/// Configures another root, whose policy has this version.
fn configure(vm: &mut Vm, host: &FakeHost, root: u32, version: u32) {
    assert_eq!(offer(vm, host, root, version), Some(1), "{:?}", vm.log());
}

fn offer(vm: &mut Vm, host: &FakeHost, root: u32, version: u32) -> Option<u32> {
    let mut policy = policy::policy();
    policy["policy"]["version"] = version.into();
    let configuration = policy::placement(&policy).to_string();
    host.set_configuration(&configuration);
    let size = u32::try_from(configuration.len()).unwrap();
    vm.enter("proxy_on_configure", &[root, size]).unwrap()
}

fn start() -> (FakeHost, Vm) {
    let host = FakeHost::new();
    let mut vm = Built::load(PLACEMENT).vm(&host).unwrap();
    configure(&mut vm, &host, ROOT, 1);
    (host, vm)
}

/// A stream of this root; gives the version of the policy that decided it.
fn ask(vm: &mut Vm, host: &FakeHost, (stream, root): (u32, u32)) -> Option<u32> {
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    host.set_filter_state("placement", b"").unwrap();
    vm.enter("proxy_on_context_create", &[stream, root]).unwrap();
    assert_eq!(vm.enter("proxy_on_request_headers", &[stream, 4, 1]).unwrap(), Some(0));
    let record = String::from_utf8(host.filter_state("placement").unwrap()).unwrap();
    record.split_once('@')?.1.split_once('#')?.0.parse().ok()
}

fn tick(vm: &mut Vm, host: &FakeHost, roots: &[u32], times: usize) {
    for _ in 0..times {
        host.advance_ms(TICK_MS);
        for root in roots {
            vm.enter("proxy_on_tick", &[*root]).unwrap();
        }
    }
}

#[test]
fn a_stream_is_decided_by_the_root_that_it_belongs_to() {
    let (host, mut vm) = start();
    let foreign = |vm: &Vm| vm.calls().get("proxy_call_foreign_function").copied();
    assert_eq!(ask(&mut vm, &host, (10, ROOT)), Some(1));
    assert_eq!(foreign(&vm), None, "the only root need not be asked for");
    // The first has not ticked since there are others.
    configure(&mut vm, &host, 20, 2);
    assert_eq!([(11, ROOT), (12, 20)].map(|of| ask(&mut vm, &host, of)), [Some(1), Some(2)]);
    configure(&mut vm, &host, 30, 3);
    assert_eq!([(31, ROOT), (32, 20), (33, 30)].map(|of| ask(&mut vm, &host, of)), [Some(1), Some(2), Some(3)]);
    tick(&mut vm, &host, &[ROOT, 20, 30], 500);
    assert_eq!([(41, ROOT), (42, 20), (43, 30)].map(|of| ask(&mut vm, &host, of)), [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_proxy_that_keeps_nothing_by_root_has_the_newest_rule() {
    for answer in [Answer::Status(1), Answer::Status(12)] {
        let (host, mut vm) = start();
        vm.answer("proxy_call_foreign_function", answer);
        configure(&mut vm, &host, 20, 2);
        tick(&mut vm, &host, &[ROOT, 20], 3);
        assert_eq!([(11, ROOT), (12, 20)].map(|of| ask(&mut vm, &host, of)), [Some(2), Some(2)]);
    }
}

#[test]
fn where_streams_cannot_be_told_apart_a_second_filter_is_refused_and_the_first_goes_on() {
    for answer in [Answer::Status(1), Answer::Status(12)] {
        let (host, mut vm) = start();
        host.set_property(&["plugin_name"], b"another");
        vm.answer("proxy_call_foreign_function", answer.clone());
        assert_eq!(offer(&mut vm, &host, 20, 2), Some(0));
        assert!(vm.log().iter().any(|(_, line)| line.contains("another placement filter")), "{:?}", vm.log());
        assert_eq!(ask(&mut vm, &host, (11, ROOT)), Some(1));
        vm.heal();
        configure(&mut vm, &host, 30, 3);
        // Configured again, it has not lost its mark.
        configure(&mut vm, &host, 30, 4);
        assert_eq!([(12, ROOT), (13, 30)].map(|of| ask(&mut vm, &host, of)), [Some(1), Some(4)]);
        // Told apart no longer: nobody's policy decides for another's stream. (That it keeps nothing for this root is what a
        // proxy says of the first one, which came when there was nobody else.)
        vm.answer("proxy_call_foreign_function", Answer::Status(12));
        assert_eq!(ask(&mut vm, &host, (14, 30)), None);
    }
}

#[test]
fn whatever_the_proxy_says_of_a_root_nothing_traps() {
    for answer in answers("proxy_call_foreign_function") {
        let (host, mut vm) = start();
        configure(&mut vm, &host, 20, 2);
        vm.answer("proxy_call_foreign_function", answer);
        configure(&mut vm, &host, 30, 3);
        tick(&mut vm, &host, &[ROOT, 20, 30], 3);
        for (stream, root) in [(41, ROOT), (42, 20), (43, 30), (44, 99)] {
            ask(&mut vm, &host, (stream, root));
        }
        vm.heal();
        assert_eq!(ask(&mut vm, &host, (50, 20)), Some(2));
    }
}

#[test]
fn what_a_root_counted_last_is_told_by_another_s_ticks() {
    let (host, mut vm) = start();
    host.set_headers(MapKind::RequestHeaders, &[(":method", "GET"), (":path", "/"), ("x-tenant", "nobody")]);
    for _ in 0..5 {
        assert_eq!(vm.request().unwrap(), Went::Stopped);
    }
    let refused = || host.metric_value("berth.refusals.class.standard.dimension.governance.reason.no-envelope");
    configure(&mut vm, &host, 20, 2);
    assert_eq!(refused(), 0, "a request makes no host call for it");
    // Its own ticks may have ended, and the VM may go with the next configuration.
    tick(&mut vm, &host, &[20], 3);
    assert_eq!(refused(), 5);
    tick(&mut vm, &host, &[ROOT, 20], 200);
    assert_eq!(refused(), 5, "and once");
}

#[test]
fn a_root_that_ticks_no_more_has_ended() {
    let (host, mut vm) = start();
    // While there are two, the proxy is asked whose a stream is.
    let several = |vm: &mut Vm| {
        vm.reset();
        assert_eq!(ask(vm, &host, (60, 20)), Some(2));
        vm.calls().contains_key("proxy_call_foreign_function")
    };
    configure(&mut vm, &host, 20, 2);
    tick(&mut vm, &host, &[20], 50);
    assert!(several(&mut vm), "it may be late");
    // A clock that jumps is no sign of it.
    host.advance_ms(3_600_000);
    tick(&mut vm, &host, &[20], 10);
    assert!(several(&mut vm));
    tick(&mut vm, &host, &[20], 50);
    assert!(!several(&mut vm));
}

#[test]
fn a_root_that_comes_late_is_not_taken_for_ended_and_many_that_ended_end_together() {
    let (host, mut vm) = start();
    tick(&mut vm, &host, &[ROOT], 300);
    for (root, version) in [(20, 2), (30, 3), (40, 4)] {
        configure(&mut vm, &host, root, version);
        // The one before ticks once more.
        tick(&mut vm, &host, &[ROOT], 1);
        assert_eq!(ask(&mut vm, &host, (root + 1, root)), Some(version));
    }
    // However many have ended, it takes one of them no longer.
    tick(&mut vm, &host, &[40], 110);
    vm.reset();
    assert_eq!(ask(&mut vm, &host, (50, 40)), Some(4));
    assert_eq!(vm.calls().get("proxy_call_foreign_function"), None, "it is the only one");
}

#[test]
fn a_root_that_ticks_seldom_is_not_taken_for_ended() {
    let host = FakeHost::new();
    let mut vm = Built::load(PLACEMENT).vm(&host).unwrap();
    let mut slow = policy::placement(&policy::policy());
    slow["refresh_ms"] = 60_000.into();
    host.set_configuration(&slow.to_string());
    let size = u32::try_from(slow.to_string().len()).unwrap();
    assert_eq!(vm.enter("proxy_on_configure", &[ROOT, size]).unwrap(), Some(1), "{:?}", vm.log());
    configure(&mut vm, &host, 20, 2);
    for _ in 0..5 {
        tick(&mut vm, &host, &[20], 600);
        tick(&mut vm, &host, &[ROOT], 1);
    }
    assert_eq!(ask(&mut vm, &host, (61, ROOT)), Some(3), "the version of the policy as it is written");
}
