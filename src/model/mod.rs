//! The vocabulary: plain values and their constructors, no decisions.
//!
//! Every number is an integer with its unit in the name, so that the same inputs give the same bytes natively
//! and in wasm. Units: `_ms` and `_us` (milli- and microseconds), `_uusd` and `_pusd` (micro- and pico-dollars),
//! `_ppm` (parts per million: every ratio, share, probability and quality). One dollar per million tokens is
//! 1,000,000 pUSD per token; one dollar per gigabyte is 1,000 pUSD per byte; one dollar per second is
//! 1,000,000 pUSD per microsecond.

pub mod class;
pub mod codes;
pub mod contract;
pub mod decision;
pub mod digits;
pub mod document;
pub mod envelope;
pub mod facts;
pub mod feature;
pub mod geography;
pub mod metric;
pub mod name;
pub mod order;
pub mod reason;
pub mod settings;
pub mod signal;
pub mod snapshot;
pub mod substrate;
pub mod watch;

pub use class::{Class, FactName, Predicate, Test, Tier};
pub use codes::Codes;
pub use decision::{Attempt, Binding, ClassSource, Decision, Freshness, Outcome, Pace, Plan, Spill};
pub use document::{Document, Identity};
pub use envelope::{Envelope, Selector, Terms};
pub use facts::{Fact, Facts};
pub use feature::{Feature, Features};
pub use geography::{Border, Borders, Country, Location};
pub use name::Name;
pub use reason::{Code, Dimension, Dimensions, Reason};
pub use signal::{Signal, Unit};
pub use snapshot::{Admission, Attestation, Circuit, Health, Local, Reading, Snapshot};
pub use substrate::{Kind, Offer, Regime, Substrate};
pub use watch::{Watch, Watched};

/// One million parts: the whole, for every `_ppm` value.
pub const WHOLE_PPM: i64 = 1_000_000;

/// A substrate's position in its policy's list. Positions, not names, so that no order depends on hashing.
pub type SubstrateId = u16;
/// A class's position in its policy's list.
pub type ClassId = u16;
