//! The two role machines, generic over [`Host`] so that they run natively against a fake host.

mod account;
mod arm;
pub mod attempts;
pub mod body;
pub mod canary;
mod claimed;
pub mod config;
mod ends;
pub mod facts;
mod held;
pub mod hop;
pub mod host;
mod metrics;
pub mod observing;
pub mod placement;
mod probes;
mod purse;
mod refusal;
pub mod role;
pub mod store;
pub mod telemetry;
pub mod telemetry_config;
pub mod vm;
pub mod wire_struct;

pub use host::{Headers, Host, HostError, MapKind, MetricKind};
pub use observing::Attempt;
pub use placement::Verdict;
pub use role::{Kept, Role};
pub use telemetry::Visit;
pub use vm::{Vm, identity};

/// Whether this build has callbacks besides a request's headers and a tick: for bodies, answers and ends.
const CALLBACKS: bool = cfg!(feature = "telemetry");
