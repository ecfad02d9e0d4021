//! What a request costs in entries into the VM and in host calls: the bill, whatever the machine.

use super::{FULL, PLACEMENT, policy, world};
use crate::fake_host::FakeHost;
use crate::wasm_host::{Built, Vm, Went};
use berth::filter::MapKind;
use serde_json::Value;
use std::collections::BTreeMap;

const CHAT: [(&str, &str); 6] = [
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    ("x-request-id", "4f7c0e9a-0000-4000-8000-000000000001"),
    ("x-tenant", "acme"),
    ("x-workload", "chat"),
    ("x-model", "llama-3.3-70b"),
];

fn headers(id: &str) -> Vec<(&str, &str)> {
    CHAT.into_iter().map(|(name, value)| (name, if name == "x-request-id" { id } else { value })).collect()
}

/// Everything by default: only what has no default is said.
fn by_default() -> Value {
    let mut it = policy::placement(&policy::policy());
    for field in ["decision_upstream", "decision_response"] {
        it.as_object_mut().unwrap().remove(field);
    }
    it
}

/// One request's bill.
#[derive(Debug, PartialEq, Eq)]
struct Bill {
    entries: BTreeMap<String, u64>,
    upcalls: u64,
    calls: BTreeMap<String, u64>,
}

fn bill(module: &str, configuration: &Value, headers: &[(&str, &str)]) -> (Bill, Went) {
    let host = FakeHost::new();
    let (mut vm, taken) = Built::load(module).start(&host, &configuration.to_string()).unwrap();
    assert!(taken, "{:?}", vm.log());
    vm.tick().unwrap();
    let mut last = None;
    // The second request: what only the first one costs is not the price.
    for _ in 0..2 {
        vm.reset();
        host.set_headers(MapKind::RequestHeaders, headers);
        last = Some(vm.request().unwrap());
    }
    (read(&vm), last.unwrap())
}

fn read(vm: &Vm) -> Bill {
    Bill { entries: vm.entries(), upcalls: vm.upcalls(), calls: vm.calls() }
}

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, n)| ((*name).to_string(), *n)).collect()
}

/// The module that only places is told of nothing but the request. Of the other one the SDK's dispatch has to know streams
/// by their ids, and the observing role their ends.
fn entries(module: &str) -> BTreeMap<String, u64> {
    let request = ("proxy_on_request_headers", 1);
    let more = [("proxy_on_context_create", 1), ("proxy_on_delete", 1), ("proxy_on_done", 1)];
    let more = if module == FULL { &more[..] } else { &[] };
    counts(&[&[request], more].concat())
}

#[test]
fn a_placed_request_costs_one_callback_one_upcall_and_four_calls() {
    for module in [PLACEMENT, FULL] {
        let (bill, went) = bill(module, &by_default(), &CHAT);
        assert_eq!(went, Went::On);
        let calls = [
            ("proxy_get_header_map_pairs", 1),
            // The cluster, and the deadline.
            ("proxy_replace_header_map_value", 2),
            ("proxy_set_property", 1),
        ];
        assert_eq!(bill, Bill { entries: entries(module), upcalls: 1, calls: counts(&calls) }, "{module}");
    }
}

/// What accounting costs in the default setting: nothing else than one write of filter state. How much time that and
/// the text of it are, only a real proxy says.
#[test]
fn without_accounting_there_is_one_call_less_and_nothing_else_changes() {
    let mut configuration = by_default();
    configuration["accounting"] = false.into();
    for module in [PLACEMENT, FULL] {
        let (with, _) = bill(module, &by_default(), &CHAT);
        let (without, went) = bill(module, &configuration, &CHAT);
        assert_eq!(went, Went::On);
        assert_eq!((&with.entries, with.upcalls), (&without.entries, without.upcalls), "{module}");
        assert_eq!(without.calls, counts(&[("proxy_get_header_map_pairs", 1), ("proxy_replace_header_map_value", 2)]));
        let more: Vec<_> = with.calls.iter().filter(|(name, n)| without.calls.get(*name) != Some(n)).collect();
        assert_eq!(more, [(&String::from("proxy_set_property"), &1)], "{module}");
    }
}

/// Of the work that the module does itself for a request, in the engine's own count of instructions. Host calls come on
/// top: one of four is the account's, and the cheaper kind, since it gives nothing back.
#[test]
fn accounting_is_at_most_a_third_of_the_instructions_of_a_request() {
    let spent = |configuration: &Value| {
        let host = FakeHost::new();
        let (mut vm, _) = Built::load(PLACEMENT).start(&host, &configuration.to_string()).unwrap();
        vm.tick().unwrap();
        let mut sum = 0;
        for n in 0..1_100 {
            host.set_headers(MapKind::RequestHeaders, &headers(&format!("4f7c0e9a-0000-4000-8000-{n:012}")));
            vm.request().unwrap();
            // The first ones lay the ground.
            sum += if n < 100 { 0 } else { vm.spent() };
        }
        sum / 1_000
    };
    let mut without = by_default();
    without["accounting"] = false.into();
    let (with, without) = (spent(&by_default()), spent(&without));
    println!("instructions of a request: {with}, without accounting {without}");
    assert!((with - without) * 3 <= with, "{with} with accounting, {without} without");
}

#[test]
fn with_everything_off_a_request_is_one_read_and_one_header() {
    let mut configuration = by_default();
    configuration["accounting"] = false.into();
    configuration["deadline_header"] = false.into();
    let (bill, went) = bill(PLACEMENT, &configuration, &CHAT);
    assert_eq!(went, Went::On);
    let calls = [("proxy_get_header_map_pairs", 1), ("proxy_replace_header_map_value", 1)];
    assert_eq!(bill, Bill { entries: entries(PLACEMENT), upcalls: 1, calls: counts(&calls) });
}

/// What asking for more costs: each is off by default.
#[test]
fn what_is_asked_for_besides_is_paid_for_by_the_call() {
    let upcalls = |configuration: &Value| bill(FULL, configuration, &CHAT).0.upcalls;
    for (field, value, call, more) in [
        ("replay", Value::from(true), "proxy_set_property", 1),
        ("keys", serde_json::json!(["substrate", "class"]), "proxy_set_property", 2),
        ("outcomes", Value::from(1), "proxy_get_property", 5),
        ("outcomes", Value::from(1), "proxy_get_current_time_nanoseconds", 2),
    ] {
        let mut configuration = by_default();
        configuration[field] = value;
        let calls = |configuration: &Value| bill(FULL, configuration, &CHAT).0.calls.get(call).copied().unwrap_or(0);
        assert_eq!(calls(&configuration) - calls(&by_default()), more, "{field}: {call}");
        // The fake host has none of these properties, so none of them has to be copied.
        assert_eq!(upcalls(&configuration), 1, "{field}");
    }
}

#[test]
fn a_timed_decision_asks_six_times_for_the_time() {
    let mut configuration = by_default();
    configuration["time_sample"] = 1.into();
    let (bill, _) = bill(PLACEMENT, &configuration, &CHAT);
    let calls = [
        ("proxy_get_current_time_nanoseconds", 6),
        ("proxy_get_header_map_pairs", 1),
        ("proxy_replace_header_map_value", 2),
        ("proxy_set_property", 1),
    ];
    assert_eq!(bill, Bill { entries: entries(PLACEMENT), upcalls: 1, calls: counts(&calls) });
}

/// What `benches/` calls "Berth by default", and `noop/floor.rs` there makes without deciding.
#[test]
fn the_default_of_the_benchmark_is_ten_calls() {
    let more = serde_json::json!({"attach": "full", "decision_upstream": true, "sample": 0});
    // Its requests have no body, so they can be done again.
    let own = [(":method", "GET"), (":path", "/direct"), ("x-request-id", "4f7c0e9a-0000-4000-8000-000000000001")];
    let headers: Vec<_> = own.into_iter().chain(world::HEADERS).collect();
    let (bill, went) = bill(PLACEMENT, &world::placement(6, &more), &headers);
    assert_eq!(went, Went::On);
    let calls = [
        ("proxy_get_header_map_pairs", 1),
        // The deadline and an attempt's part of it, how many more attempts and after what, the cluster, the decision.
        ("proxy_replace_header_map_value", 6),
        // The decision, the second attempt and the third.
        ("proxy_set_property", 3),
    ];
    assert_eq!(bill, Bill { entries: entries(PLACEMENT), upcalls: 1, calls: counts(&calls) });
    // With a body, which nobody said may be sent twice, neither what is tried again nor a part of the time is said.
    let post: Vec<_> = [(":method", "POST")].into_iter().chain(headers.into_iter().skip(1)).collect();
    let (bill, _) = self::bill(PLACEMENT, &world::placement(6, &more), &post);
    assert_eq!((bill.upcalls, bill.calls.values().sum::<u64>()), (1, 8));
    let floor = include_str!("../../benches/noop/floor.rs");
    assert!(floor.contains("const STATES: [(&str, &str); 3]") && floor.contains("const HEADERS: [(&str, &str); 6]"));
}

#[test]
fn a_plan_of_three_for_the_router_costs_a_few_calls_more() {
    let mut configuration = by_default();
    configuration["attach"] = "full".into();
    configuration["policy"]["classes"][0]["attempts"] = serde_json::json!({"most": 3});
    // Long enough for two attempts to fit in.
    configuration["policy"]["classes"][0]["deadline_ms"] = 60_000.into();
    let (bill, went) = bill(PLACEMENT, &configuration, &CHAT);
    assert_eq!(went, Went::On);
    let calls = [
        ("proxy_get_header_map_pairs", 1),
        // The cluster, the deadline, and how many more attempts.
        ("proxy_replace_header_map_value", 3),
        // The decision, and the second attempt: the policy has two substrates that this tenant may use.
        ("proxy_set_property", 2),
    ];
    assert_eq!(bill, Bill { entries: entries(PLACEMENT), upcalls: 1, calls: counts(&calls) });
}
