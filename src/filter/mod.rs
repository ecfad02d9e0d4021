//! The two role machines, generic over [`Host`] so that they run natively against a fake host.

pub mod host;
pub mod store;
pub mod telemetry;
pub mod telemetry_config;

pub use host::{Headers, Host, HostError, Level, MapKind, MetricKind};
