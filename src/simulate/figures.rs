//! The figures of one run, when it is over.

use super::ledger::Ledger;
use crate::model::Tier;

/// Counts of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByClass {
    /// Requests.
    pub offered: u64,
    /// Answered in time.
    pub good: u64,
}

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests.
    pub offered: u64,
    /// Answered in time.
    pub good: u64,
    /// Not answered in time.
    pub late: u64,
    /// Refused by the router.
    pub refused: u64,
    /// Failed at every attempt.
    pub failed: u64,
    /// Share answered in time.
    pub goodput_ppm: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts at substrates that what stands written forbids.
    pub outside_written: u64,
    /// Attempts at substrates that are not proved to be where they must be.
    pub outside_proof: u64,
    /// Refused, by [`Tier`].
    pub shed: [u64; 3],
    /// Refused, by reason.
    pub whys: Vec<(&'static str, u64)>,
    /// What it cost.
    pub cost_uusd: i64,
    /// What one good answer cost.
    pub cost_per_good_uusd: i64,
    /// Bytes out, of that.
    pub egress_uusd: i64,
    /// Attempts across each border.
    pub spilled: [u64; 5],
    /// Share of attempts across any border.
    pub off_home_ppm: u64,
    /// Quality of good answers.
    pub quality_ppm: u64,
    /// Half of all good answers came sooner.
    pub p50_us: u64,
    /// All but one in a hundred.
    pub p99_us: u64,
    /// Load of the most loaded over the mean, over time.
    pub imbalance_ppm: u64,
    /// The same in the worst twentieth of the time.
    pub imbalance_p95_ppm: u64,
    /// The most in flight anywhere at any moment, as a share of the slots there.
    pub peak_ppm: u64,
    /// Swings of shares per minute.
    pub swings_ppm: u64,
    /// From the end of the last fault.
    pub recovery_ms: Option<u64>,
    /// Goodput until the first fault.
    pub before_ppm: u64,
    /// Goodput from the first fault to the last.
    pub fault_ppm: Option<u64>,
    /// When an alert fired that a substrate drifts, and which, in this order: of those that look.
    pub found: Vec<(u64, u16)>,
    /// It did recover, or had nothing to recover from.
    pub recovers: bool,
    /// Goodput, second by second.
    pub timeline_ppm: Vec<u64>,
    /// Attempts by substrate.
    pub placed: Vec<u64>,
    /// By class.
    pub by_class: Vec<ByClass>,
    /// All but one in a hundred that were begun had waited for less at their substrate.
    pub queued_p99_us: u64,
    /// Request by request.
    pub ledger: Ledger,
}

impl Figures {
    /// Attempts outside the envelope.
    #[must_use]
    pub const fn outside(&self) -> u64 {
        self.outside_written + self.outside_proof
    }

    /// Refused of a tier.
    #[must_use]
    pub fn shed_of(&self, tier: Tier) -> u64 {
        self.shed.get(tier as usize).copied().unwrap_or(0)
    }
}
