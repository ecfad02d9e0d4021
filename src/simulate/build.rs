//! How a substrate is built: as its policy declares it, but for what the scenario says.

use super::scenario::Physics;
use crate::model::{Kind, Substrate};

/// A whole, in millionths.
const WHOLE: u64 = 1_000_000;

/// How a substrate is built.
#[derive(Clone, Debug)]
pub struct Build {
    pub(super) kind: Kind,
    pub(super) slots: u32,
    pub(super) queue: u32,
    pub(super) memory_tokens: u64,
    pub(super) batch_ppm: u64,
    pub(super) rate_mrps: u64,
    pub(super) jitter_ppm: u64,
    pub(super) slowness_ppm: u64,
    /// Works on when nobody waits for the answer any more.
    pub finishes: bool,
    pub(super) first_us: u64,
    pub(super) input_us: u64,
    pub(super) output_us: u64,
}

impl Build {
    /// As declared, except for what the scenario says.
    #[must_use]
    pub fn of(substrate: &Substrate, physics: &Physics) -> Self {
        let kind = substrate.kind;
        let slots = physics.slots.unwrap_or(substrate.capacity.concurrency).max(1);
        // Queue, tokens of memory per slot, slowdown of a full batch, spread of times.
        let (queue, memory, batch_ppm, jitter_ppm) = match kind {
            Kind::Gpu | Kind::Sovereign => (slots, 6_000, 600_000, 100_000),
            Kind::Silicon => (slots / 4 + 2, 0, 0, 0),
            Kind::GiantContext => (slots, 200_000, 100_000, 50_000),
            Kind::Provider => (0, 0, 0, 300_000),
            Kind::Edge => (slots / 2 + 2, 0, 200_000, 100_000),
            Kind::Cpu => (slots * 4, 0, 300_000, 100_000),
        };
        let us = |us: i64| u64::try_from(us).unwrap_or(0);
        Self {
            kind,
            slots,
            queue: physics.queue.unwrap_or(queue),
            memory_tokens: physics.memory_tokens.unwrap_or(memory * u64::from(slots)),
            batch_ppm: physics.batch_ppm.unwrap_or(batch_ppm),
            rate_mrps: physics.rate_mrps.unwrap_or(0),
            jitter_ppm: physics.jitter_ppm.unwrap_or(jitter_ppm),
            slowness_ppm: physics.slowness_ppm.unwrap_or(WHOLE),
            finishes: physics.finishes,
            first_us: us(substrate.latency.first_token_us),
            input_us: us(substrate.latency.prefill_us_per_token),
            output_us: us(substrate.latency.us_per_token),
        }
    }
}
