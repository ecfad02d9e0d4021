//! The telemetry role and what it stands on, natively against a fake host: bytes, shared data, sources, races.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test; clippy exempts only the tests themselves"
)]

#[path = "support/breaking.rs"]
mod breaking;
#[path = "support/fake_host.rs"]
mod fake_host;
#[path = "support/policy.rs"]
mod policy;

#[path = "telemetry/changes.rs"]
mod changes;
#[path = "telemetry/codec.rs"]
mod codec;
#[path = "telemetry/config.rs"]
mod config;
#[path = "telemetry/desk.rs"]
mod desk;
#[path = "telemetry/fell.rs"]
mod fell;
#[path = "telemetry/fold.rs"]
mod fold;
#[path = "telemetry/observing.rs"]
mod observing;
#[path = "telemetry/role.rs"]
mod role;
#[path = "telemetry/spread.rs"]
mod spread;
#[path = "telemetry/store.rs"]
mod store;
#[path = "telemetry/tool.rs"]
mod tool;
