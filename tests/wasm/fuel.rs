//! How many instructions a request is, by the engine's count: the same on every machine, so a guard that needs no quiet.
//!
//! What is counted is all that one stream enters, with what the SDK's dispatch adds. The texts are golden: more than a
//! twentieth above them fails, and so does less than nine tenths, so that what was won is written down and kept.

use super::{FULL, PLACEMENT, policy, world};
use crate::fake_host::FakeHost;
use crate::wasm_host::{Built, Went};
use berth::filter::MapKind;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// What a count may grow by, in percent: what another release of the compiler may do.
const MORE: u64 = 5;
/// What it may fall by before somebody has to write that down.
const LESS: u64 = 10;

/// One request, after those that only the first ones pay for.
fn count(module: &str, configuration: &Value, headers: &[(&str, &str)]) -> u64 {
    let host = FakeHost::new();
    let (mut vm, taken) = Built::load(module).start(&host, &configuration.to_string()).unwrap();
    assert!(taken, "{:?}", vm.log());
    vm.tick().unwrap();
    let mut all = 0;
    for _ in 0..3 {
        host.set_headers(MapKind::RequestHeaders, headers);
        let before = vm.burnt();
        assert_eq!(vm.request().unwrap(), Went::On);
        all = vm.burnt() - before;
    }
    all
}

fn headers() -> Vec<(&'static str, &'static str)> {
    let own = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        ("x-request-id", "4f7c0e9a-0000-4000-8000-000000000001"),
    ];
    own.into_iter().chain(world::HEADERS).collect()
}

fn counts() -> Vec<(String, u64)> {
    let off = json!({"accounting": false});
    let default = json!({"attach": "full", "decision_upstream": true, "sample": 0});
    let mut counts = Vec::new();
    for (what, more) in [("accounting off, simple", &off), ("by default, full", &default)] {
        for size in [6, 64, 512] {
            let configuration = world::placement(size, more);
            counts.push((format!("{what}, {size} substrates"), count(PLACEMENT, &configuration, &headers())));
        }
    }
    let passthrough = json!({"mode": "passthrough"});
    counts.push(("passthrough".into(), count(PLACEMENT, &world::placement(6, &passthrough), &headers())));
    let mesh = policy::placement(&policy::policy());
    let chat = [("x-tenant", "acme"), ("x-workload", "chat"), ("x-model", "llama-3.3-70b")];
    counts.push(("both roles, the mesh of the tests".into(), count(FULL, &mesh, &chat)));
    counts
}

#[test]
fn a_request_takes_no_more_instructions_than_are_written_down() {
    let counts = counts();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/instructions.txt");
    let mut text = String::new();
    for (what, count) in &counts {
        writeln!(text, "{count:>8}  {what}").unwrap();
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let golden: Vec<(&str, u64)> = golden
        .lines()
        .filter_map(|line| line.trim_start().split_once("  "))
        .map(|(count, what)| (what, count.parse().unwrap()))
        .collect();
    println!("{text}");
    for (what, count) in &counts {
        let Some((_, before)) = golden.iter().find(|(golden, _)| golden == what) else {
            panic!("`{what}` is not in {}: BLESS=1 writes it", path.display());
        };
        let (most, least) = (before * (100 + MORE) / 100, before * (100 - LESS) / 100);
        assert!(*count <= most, "{what}: {count} instructions, {before} are written down");
        assert!(*count >= least, "{what}: only {count} instructions, {before} are written down: BLESS=1 keeps that");
    }
}
