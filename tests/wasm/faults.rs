//! Every host call answered with everything, at configuration, at a request and at a tick; answers of calls that are
//! late, doubled, out of order or for nobody.

use super::{FULL, PLACEMENT, policy};
use crate::fake_host::FakeHost;
use crate::wasm_host::{Answer, Built, Vm, Went, gives_bytes};
use berth::filter::MapKind;
use serde_json::{Value, json};

/// Every status of the ABI, success aside, and some that it does not have.
const STATUSES: [u32; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99, u32::MAX];

const REPORT: &[u8] = br#"{"substrate":"metal-fr","signals":{"queue_depth":1}}"#;

/// Everything that a host call can be answered with.
pub(crate) fn answers(import: &str) -> Vec<Answer> {
    let mut all: Vec<Answer> = STATUSES.into_iter().map(Answer::Status).collect();
    all.push(Answer::Nothing);
    if gives_bytes(import).is_some() {
        all.extend([Answer::Null(0), Answer::Null(64), Answer::Part(50), Answer::Part(99)]);
        let count_of = |n: u32, rest: &[u8]| Answer::Bytes([&n.to_le_bytes()[..], rest].concat());
        all.extend([
            Answer::Bytes(vec![0]),
            Answer::Bytes(vec![0xff; 4_096]),
            count_of(u32::MAX, &[0; 64]),
            count_of(1, &[0xff; 8]),
            count_of(2, &[1, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, b'a', 0, b'b', 0]),
        ]);
    }
    all
}

/// Every host call of the modules.
pub(crate) const CALLED: [&str; 19] = [
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

const CHAT: [(&str, &str); 5] = [
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    ("x-tenant", "acme"),
    ("x-workload", "chat"),
    ("x-placement-cluster", "trap"),
];
const NOBODY: [(&str, &str); 3] = [(":method", "GET"), (":path", "/"), ("x-tenant", "nobody")];

/// One request under a fault: it ends, and what cannot be had makes nothing permitted.
fn ask(vm: &mut Vm, host: &FakeHost, import: &str, answer: &Answer, headers: &[(&str, &str)]) {
    let context = || format!("{import} answered {answer:?}");
    host.set_headers(MapKind::RequestHeaders, headers);
    let before = host.responses().len();
    let went = vm.request().unwrap_or_else(|trap| panic!("{}: {trap}", context()));
    let answered = host.responses().len() - before;
    assert!(answered <= 1, "{}: answered {answered} times", context());
    let claimed = import == "proxy_send_local_response" && matches!(answer, Answer::Nothing);
    match went {
        Went::Stopped => assert!(answered == 1 || claimed, "{}: stopped and never answered", context()),
        Went::On => assert_eq!(answered, 0, "{}: answered and went on", context()),
    }
    let cluster = host.header(MapKind::RequestHeaders, "x-placement-cluster");
    assert_ne!(cluster.as_deref(), Some("provider-us"), "{}: outside the envelope", context());
    // A host that hides or keeps the client's header leaves it there; the route's own rule is for that.
    let handles_headers = import.contains("header_map");
    assert!(handles_headers || went == Went::Stopped || cluster.as_deref() != Some("trap"), "{}", context());
}

fn live(vm: &mut Vm, host: &FakeHost, import: &str, answer: &Answer) {
    let context = |trap| panic!("{import} answered {answer:?}: {trap}");
    host.advance_ms(300);
    vm.tick().unwrap_or_else(context);
    for sent in host.take_calls() {
        let size = host.answer(&[(":status", "200")], REPORT);
        vm.answered(sent.token, size).unwrap_or_else(context);
    }
    ask(vm, host, import, answer, &CHAT);
    ask(vm, host, import, answer, &NOBODY);
}

fn configurations() -> [(&'static str, Value); 3] {
    let policy = policy::policy();
    [(PLACEMENT, policy::placement(&policy)), (FULL, policy::placement(&policy)), (FULL, policy::telemetry(&policy))]
}

#[test]
fn no_answer_to_a_host_call_stops_a_configured_module() {
    for (module, configuration) in configurations() {
        let (host, built) = (FakeHost::new(), Built::load(module));
        let (mut vm, taken) = built.start(&host, &configuration.to_string()).unwrap();
        assert!(taken, "{:?}", vm.log());
        let mut tried = 0;
        for import in CALLED {
            for answer in answers(import) {
                vm.answer(import, answer.clone());
                if configuration["role"] == "placement" {
                    live(&mut vm, &host, import, &answer);
                } else {
                    watch(&mut vm, &host, import, &answer);
                }
                vm.heal();
                tried += 1;
            }
        }
        assert!(tried > 250, "{tried}");
        // And it works as before.
        host.advance_ms(300);
        vm.tick().unwrap();
        host.set_headers(MapKind::RequestHeaders, &CHAT);
        assert_eq!(vm.request().unwrap(), Went::On);
        if configuration["role"] == "placement" {
            assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster").as_deref(), Some("metal-fr"));
        }
    }
}

fn watch(vm: &mut Vm, host: &FakeHost, import: &str, answer: &Answer) {
    let context = |trap| panic!("{import} answered {answer:?}: {trap}");
    for _ in 0..2 {
        host.advance_ms(300);
        vm.tick().unwrap_or_else(context);
        for sent in host.take_calls() {
            let size = host.answer(&[(":status", "200")], REPORT);
            vm.answered(sent.token, size).unwrap_or_else(context);
        }
        host.set_headers(MapKind::RequestHeaders, &CHAT);
        vm.request().map(drop).unwrap_or_else(context);
    }
}

#[test]
fn no_answer_to_a_host_call_traps_a_module_that_is_being_configured() {
    for (module, configuration) in configurations() {
        let built = Built::load(module);
        for import in CALLED {
            for answer in answers(import) {
                let host = FakeHost::new();
                host.set_configuration(&configuration.to_string());
                let mut vm = built.vm(&host).unwrap();
                vm.answer(import, answer.clone());
                let context = |trap| panic!("{module}: {import} answered {answer:?}: {trap}");
                let taken = vm.configure(configuration.to_string().len()).unwrap_or_else(context);
                if taken {
                    vm.tick().unwrap_or_else(|trap| panic!("{module}: {import} answered {answer:?}: {trap}"));
                } else {
                    // The proxy keeps the configuration that was there before; what is wrong is said in one line.
                    let said = vm.log().iter().filter(|(level, _)| *level == 4).count();
                    assert!(said == 1 || import == "proxy_log", "{import} answered {answer:?}: {:?}", vm.log());
                }
            }
        }
    }
}

#[test]
fn a_module_without_a_configuration_lets_requests_pass_and_decides_nothing() {
    let host = FakeHost::new();
    let (mut vm, taken) = Built::load(PLACEMENT).start(&host, "{").unwrap();
    assert!(!taken);
    host.set_headers(MapKind::RequestHeaders, &NOBODY);
    vm.tick().unwrap();
    assert_eq!(vm.request().unwrap(), Went::On);
    assert!(host.responses().is_empty() && host.filter_state("placement").is_none());
}

#[test]
fn answers_that_are_late_doubled_out_of_order_or_for_nobody_are_borne() {
    let host = FakeHost::new();
    let configuration = policy::telemetry(&policy::policy()).to_string();
    let (mut vm, taken) = Built::load(FULL).start(&host, &configuration).unwrap();
    assert!(taken, "{:?}", vm.log());
    let mut kept = Vec::new();
    for round in 0..6 {
        host.advance_ms(400);
        vm.tick().unwrap();
        kept.extend(host.take_calls());
        if round % 2 == 1 {
            // The newest first, each of them twice.
            for sent in kept.drain(..).rev().flat_map(|sent| [sent.clone(), sent]) {
                let size = host.answer(&[(":status", "200")], REPORT);
                vm.answered(sent.token, size).unwrap();
            }
        }
    }
    for token in [0, 4_711, u32::MAX] {
        // What the host says of the size need not be so.
        for size in [0, 1, usize::try_from(u32::MAX).unwrap()] {
            vm.answered(token, size).unwrap();
        }
    }
    let before = host.metric_value("berth.telemetry.published");
    host.advance_ms(400);
    vm.tick().unwrap();
    assert!(host.metric_value("berth.telemetry.published") > before, "it goes on: {:?}", host.metric_names());
}

#[test]
fn streams_that_end_before_they_began_leave_nothing_behind() {
    let host = FakeHost::new();
    let (mut vm, _) = Built::load(FULL).start(&host, &policy::placement(&policy::policy()).to_string()).unwrap();
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    let open: Vec<u32> = (0..50).map(|_| vm.open(false).unwrap().0).collect();
    for id in open.iter().rev() {
        vm.body(*id, 10, false).unwrap();
        vm.close(*id).unwrap();
    }
    for _ in 0..2_000 {
        vm.request().unwrap();
    }
    let before = vm.memory();
    for _ in 0..10_000 {
        vm.request().unwrap();
    }
    assert_eq!(vm.memory(), before, "ten thousand requests left memory behind");
}

#[test]
fn a_clock_that_jumps_neither_traps_nor_makes_anything_fresh() {
    let host = FakeHost::new();
    let (mut vm, _) = Built::load(PLACEMENT).start(&host, &policy::placement(&policy::policy()).to_string()).unwrap();
    for now_ms in [FakeHost::START_MS, 0, 1, u64::MAX / 1_000_000, FakeHost::START_MS - 86_400_000] {
        host.set_now_ms(now_ms);
        vm.tick().unwrap();
        host.set_headers(MapKind::RequestHeaders, &CHAT);
        assert_eq!(vm.request().unwrap(), Went::On);
        let record = String::from_utf8(host.filter_state("placement").unwrap()).unwrap();
        assert!(record.contains("fresh=stale"), "{record}");
    }
}

#[test]
fn a_configuration_that_is_refused_is_said_in_one_line_without_its_values() {
    let host = FakeHost::new();
    let secret = "a-name-that-nobody-should-see-in-full".repeat(40);
    let configuration = json!({"role": "placement", "policy": {"berth": secret}}).to_string();
    let (vm, taken) = Built::load(PLACEMENT).start(&host, &configuration).unwrap();
    assert!(!taken);
    let log = vm.log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].1.len() < 400 && log[0].1.lines().count() == 1, "{log:?}");
}

/// It has no callback for them: each request would be held until its time is over, and counters would stay at nothing.
#[test]
fn the_file_that_sees_no_bodies_and_no_ends_refuses_to_wait_for_them() {
    for (field, value, said) in [
        ("body", json!({"headers_stop": true}), "body: this file sees no bodies"),
        ("outcomes", json!(16), "outcomes: this file sees no ends of requests"),
    ] {
        let mut configuration = policy::placement(&policy::policy());
        configuration[field] = value;
        for (module, takes) in [(PLACEMENT, false), (FULL, true)] {
            let (vm, taken) = Built::load(module).start(&FakeHost::new(), &configuration.to_string()).unwrap();
            assert_eq!(taken, takes, "{module}: {:?}", vm.log());
            assert_eq!(vm.log().iter().any(|(_, line)| line.contains(said)), !takes, "{module}");
        }
    }
}

/// Nobody tells that file of answers and ends, so what waited for them would wait for ever.
#[test]
fn the_file_that_hears_of_no_answers_keeps_nothing_for_them() {
    let mut configuration = policy::placement(&policy::policy());
    configuration["candidate"] = policy::policy();
    configuration["candidate"]["rollout"] = json!({"share": 0.5});
    let host = FakeHost::new();
    let (mut vm, taken) = Built::load(PLACEMENT).start(&host, &configuration.to_string()).unwrap();
    assert!(taken, "{:?}", vm.log());
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    let mut kept = |requests: usize| {
        (0..requests).for_each(|_| assert_eq!(vm.request().unwrap(), Went::On));
        vm.memory()
    };
    assert_eq!(kept(50), kept(5_000));
}
