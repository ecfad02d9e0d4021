//! What a request costs in entries into the VM and in host calls: the bill, whatever the machine.

use super::{FULL, PLACEMENT, policy};
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

/// What the SDK's dispatch adds to the one callback: it has to know streams by their ids.
const ENTRIES: [(&str, u64); 3] =
    [("proxy_on_context_create", 1), ("proxy_on_delete", 1), ("proxy_on_request_headers", 1)];

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
        let mut entries = counts(&ENTRIES);
        if module == FULL {
            // The observing role needs it; whoever only places takes the other module.
            entries.insert("proxy_on_done".into(), 1);
        }
        assert_eq!(bill, Bill { entries, upcalls: 1, calls: counts(&calls) }, "{module}");
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
    assert_eq!(bill, Bill { entries: counts(&ENTRIES), upcalls: 1, calls: counts(&calls) });
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
    assert_eq!(bill, Bill { entries: counts(&ENTRIES), upcalls: 1, calls: counts(&calls) });
}
