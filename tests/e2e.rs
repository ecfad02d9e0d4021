//! The filter in a real Envoy, with real upstreams, over HTTP/1 and HTTP/2.
#![allow(unreachable_pub, missing_docs, reason = "a test, not a library")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod support;

#[path = "../examples/substrate/server.rs"]
#[allow(dead_code, reason = "a server of the examples")]
mod server;

#[path = "../examples/demo/story.rs"]
mod story;
#[path = "../examples/demo/world.rs"]
#[allow(dead_code, reason = "the demo's own")]
mod world;

#[path = "e2e/account.rs"]
mod account;
#[path = "e2e/attempts.rs"]
mod attempts;
#[path = "e2e/body.rs"]
mod body;
#[path = "e2e/canary.rs"]
mod canary;
#[path = "e2e/clusters.rs"]
mod clusters;
#[path = "e2e/desk.rs"]
mod desk;
#[path = "e2e/doctor.rs"]
mod doctor;
#[path = "e2e/examples.rs"]
mod examples;
#[path = "e2e/fallbacks.rs"]
mod fallbacks;
#[path = "e2e/few.rs"]
mod few;
#[path = "e2e/flood.rs"]
mod flood;
#[path = "e2e/forged.rs"]
mod forged;
#[path = "e2e/harness.rs"]
mod harness;
#[path = "e2e/hops.rs"]
mod hops;
#[path = "e2e/hurry.rs"]
mod hurry;
#[path = "e2e/identity.rs"]
mod identity;
#[path = "e2e/istio.rs"]
mod istio;
#[path = "e2e/kept.rs"]
mod kept;
#[path = "e2e/kinds.rs"]
mod kinds;
#[path = "e2e/lanes.rs"]
mod lanes;
#[path = "e2e/life.rs"]
mod life;
#[path = "e2e/loops.rs"]
mod loops;
#[path = "e2e/many.rs"]
mod many;
#[path = "e2e/markers.rs"]
mod markers;
#[path = "e2e/memory.rs"]
mod memory;
#[path = "e2e/mesh.rs"]
mod mesh;
#[path = "e2e/modes.rs"]
mod modes;
#[path = "e2e/observed.rs"]
mod observed;
#[path = "e2e/openai.rs"]
mod openai;
#[path = "e2e/page.rs"]
mod page;
#[path = "e2e/patched.rs"]
mod patched;
#[path = "e2e/prometheus.rs"]
mod prometheus;
#[path = "e2e/properties.rs"]
mod properties;
#[path = "e2e/ramp.rs"]
mod ramp;
#[path = "e2e/rendered.rs"]
mod rendered;
#[path = "e2e/same.rs"]
mod same;
#[path = "e2e/shedding.rs"]
mod shedding;
#[path = "e2e/singleton.rs"]
mod singleton;
#[path = "e2e/slice.rs"]
mod slice;
#[path = "e2e/soak.rs"]
mod soak;
#[path = "e2e/sources.rs"]
mod sources;
#[path = "e2e/takeover.rs"]
mod takeover;
#[path = "e2e/traces.rs"]
mod traces;
#[path = "e2e/traps.rs"]
mod traps;
#[path = "e2e/untrusted.rs"]
mod untrusted;
#[path = "e2e/upgrade.rs"]
mod upgrade;
#[path = "e2e/values.rs"]
mod values;
