//! The built modules in a host that answers anything: nothing stops them, every request ends, and what a request
//! costs in entries and calls is what is written down.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "wasm/amplified.rs"]
mod amplified;
#[path = "wasm/budget.rs"]
mod budget;
#[path = "wasm/differential.rs"]
mod differential;
#[path = "support/fake_host.rs"]
mod fake_host;
#[path = "wasm/faults.rs"]
mod faults;
#[path = "wasm/fuel.rs"]
mod fuel;
#[path = "support/generated.rs"]
mod generated;
#[path = "wasm/hostile.rs"]
mod hostile;
#[path = "wasm/leading.rs"]
mod leading;
#[path = "wasm/lives.rs"]
mod lives;
#[path = "support/policy.rs"]
mod policy;
#[path = "support/random.rs"]
mod random;
#[path = "wasm/roots.rs"]
mod roots;
#[path = "wasm/series.rs"]
mod series;
mod wasm_host;
#[path = "../benches/envoy/world.rs"]
#[allow(dead_code, reason = "shared with the benchmark")]
mod world;

const FULL: &str = "berth.wasm";
const PLACEMENT: &str = "berth-placement.wasm";
