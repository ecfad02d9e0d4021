//! The telemetry core: what was observed, pulled and pushed, folded into one snapshot. Pure: time and seeds come in
//! as arguments, and what was heard but not believed comes back as a count.

pub mod codec;
mod frame;
pub mod report;
pub mod slot;

pub use codec::{decode, encode};
pub use frame::{InvalidSnapshot, MOST_BYTES};
