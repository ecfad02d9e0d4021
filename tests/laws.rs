//! Laws of the decision, on policies, snapshots and requests at random; and the decision against its reference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "laws/amounts.rs"]
mod amounts;
#[path = "laws/build.rs"]
mod build;
#[path = "laws/generate.rs"]
mod generate;
#[path = "reference/mod.rs"]
mod reference;

#[path = "laws/agree.rs"]
mod agree;
#[path = "laws/bounds.rs"]
mod bounds;
#[path = "laws/choice.rs"]
mod choice;
#[path = "laws/compiled.rs"]
mod compiled;
#[path = "laws/hold.rs"]
mod hold;
#[path = "laws/kept.rs"]
mod kept;
#[path = "laws/queues.rs"]
mod queues;
#[path = "laws/scarce.rs"]
mod scarce;
#[path = "laws/small.rs"]
mod small;
#[path = "laws/still.rs"]
mod still;
