//! What the built modules ask of the proxy, and which callbacks the proxy will enter them for: each costs, and each
//! import is a right that an operator has to grant. A change of these lists is a change of the product.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::{collections::BTreeSet, fs, path::Path};

use berth::manifest::module::{Cut, exports, imports};
use berth::manifest::rights::{SYSTEM, called};

/// Host functions that the SDK's traits name and nobody calls; not granted, they are answered with an error.
const NAMED: [&str; 10] = [
    "env.proxy_close_stream",
    "env.proxy_dequeue_shared_queue",
    "env.proxy_done",
    "env.proxy_enqueue_shared_queue",
    "env.proxy_get_header_map_value",
    "env.proxy_get_status",
    "env.proxy_grpc_cancel",
    "env.proxy_grpc_close",
    "env.proxy_register_shared_queue",
    "env.proxy_set_header_map_pairs",
];

/// Those of them that come with the telemetry role or the SDK's streams only.
const OF_TELEMETRY: [&str; 2] = ["env.proxy_close_stream", "env.proxy_set_header_map_pairs"];

const PLACEMENT: [&str; 7] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_tick",
];

/// What `berth.wasm` has besides.
const TELEMETRY: [&str; 10] = [
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_done",
    "proxy_on_http_call_response",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_vm_start",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn module(name: &str) -> Vec<u8> {
    let path = root().join("dist").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `make wasm`", path.display()))
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let set: BTreeSet<&str> = names.into_iter().collect();
    set.into_iter().collect()
}

#[test]
fn the_placement_module_exports_only_what_a_header_filter_needs() {
    assert_eq!(sorted(exports(&module("berth-placement.wasm")).unwrap()), PLACEMENT);
}

#[test]
fn the_full_module_exports_what_both_roles_need_and_nothing_more() {
    assert_eq!(sorted(exports(&module("berth.wasm")).unwrap()), sorted(PLACEMENT.into_iter().chain(TELEMETRY)));
}

#[test]
fn both_modules_import_only_what_is_written_here() {
    for name in ["berth.wasm", "berth-placement.wasm"] {
        let module = module(name);
        let found = imports(&module).unwrap();
        let found: Vec<String> = found.iter().map(|import| format!("{}.{}", import.module, import.name)).collect();
        let cut = if name == "berth.wasm" { Cut::Full } else { Cut::Placement };
        let called = called(cut).map(|call| format!("env.{call}"));
        let system = SYSTEM.iter().map(|call| format!("wasi_snapshot_preview1.{call}"));
        let named = NAMED.into_iter().filter(|import| cut == Cut::Full || !OF_TELEMETRY.contains(import));
        let written: Vec<String> = called.chain(named.map(String::from)).chain(system).collect();
        assert_eq!(sorted(found.iter().map(String::as_str)), sorted(written.iter().map(String::as_str)), "{name}");
    }
}

/// A callback that the edge implements and the build drops would silently never be called.
#[test]
fn every_callback_that_the_edge_implements_is_exported() {
    let read = |name: &str| fs::read_to_string(root().join("src/edge").join(name)).unwrap();
    let source = [read("mod.rs"), read("streams.rs"), read("attempt.rs")].concat();
    let module = module("berth.wasm");
    let exported = exports(&module).unwrap();
    let implemented: Vec<&str> = source.split("fn on_").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    assert!(implemented.contains(&"configure"), "the callbacks were found");
    for name in implemented {
        let callback = format!("proxy_on_{}", name.strip_prefix("http_re").map_or(name.into(), |n| format!("re{n}")));
        let callback = if name == "call" { "proxy_on_http_call_response" } else { &callback };
        assert!(exported.contains(&callback), "{callback} is implemented and not exported");
    }
}
