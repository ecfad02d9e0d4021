//! The telemetry core: what was observed, pulled and pushed, folded into one snapshot. Pure: time and seeds come in
//! as arguments, and what was heard but not believed comes back as a count.

pub mod admission;
pub mod answer;
pub mod breaker;
mod checksum;
pub mod codec;
pub mod decimal;
pub mod drift;
pub mod ewma;
pub mod fold;
mod frame;
pub mod heard;
pub mod hosts;
pub mod inbox;
pub mod json;
mod keys;
pub(crate) mod members;
pub mod observe;
pub mod orca;
pub mod presets;
pub mod prometheus;
pub mod quantile;
pub mod query;
pub mod rates;
pub mod report;
pub mod slot;
pub mod spread;
mod substrate;

pub use codec::{decode, encode};
pub use fold::Fold;
pub use frame::{InvalidSnapshot, MOST_BYTES};
pub use observe::{Beginning, Ending, Meaning, Observation, Observer};
