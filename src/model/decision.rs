//! The whole answer: enough to act and to explain.

use super::{Borders, ClassId, Dimension, Reason, Regime, SubstrateId};

/// How the class was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassSource {
    /// By trusted facts.
    Trusted,
    /// By facts that anybody can write: never better treated than the default class.
    Claimed,
    /// Nothing matched.
    Default,
}

/// How fresh what was known of the chosen substrate was, and the picture as a whole: the older of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Within the soft age.
    Live,
    /// Past the soft age: spread wider.
    Uncertain,
    /// Past the hard age or absent: declared values only.
    Stale,
}

impl Freshness {
    /// The word used in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Uncertain => "uncertain",
            Self::Stale => "stale",
        }
    }
}

/// One attempt of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where.
    pub substrate: SubstrateId,
    /// What it crosses.
    pub crosses: Borders,
    /// How long until its first byte.
    pub per_try_ms: u32,
    /// What it is expected to cost.
    pub cost_uusd: i64,
}

/// One to three attempts, in order; empty when refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    attempts: [Option<Attempt>; 3],
}

impl Plan {
    /// The most attempts that a plan holds.
    pub const MOST: usize = 3;

    /// Adds an attempt at the end; says whether there was room.
    #[inline]
    pub fn push(&mut self, attempt: Attempt) -> bool {
        for slot in &mut self.attempts {
            if slot.is_none() {
                *slot = Some(attempt);
                return true;
            }
        }
        false
    }

    /// The attempts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().flatten()
    }

    /// The first attempt.
    #[must_use]
    pub fn first(&self) -> Option<&Attempt> {
        self.iter().next()
    }

    /// How many attempts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What bound the choice: the best candidate above the chosen one, and why it was not to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The dimension; `None` if nothing better was rejected.
    pub dimension: Option<Dimension>,
    /// Every better candidate was rejected by several dimensions.
    pub joint: bool,
    /// The candidate that it cost.
    pub unbound: Option<SubstrateId>,
    /// That candidate's rejection in this dimension.
    pub reason: Option<Reason>,
}

/// A placement away from the class's home substrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spill {
    /// The best home by utility.
    pub from: SubstrateId,
    /// Where it went.
    pub to: SubstrateId,
    /// What made the best home unavailable; `None` if it stood and was only worth less.
    pub why: Option<Reason>,
    /// What it crossed.
    pub crosses: Borders,
    /// Bytes' cost added.
    pub egress_uusd: i64,
    /// Cost added in all.
    pub cost_uusd: i64,
    /// Expected time added.
    pub latency_us: i64,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The plan's first attempt.
    Placed,
    /// Nothing stands: the status, the reason of the most hopeful candidate, and when to try again.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The most telling reason.
        reason: Reason,
        /// The hint, where trying again can help.
        retry_after_s: Option<u32>,
    },
}

/// How the plan is to be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The time for the whole answer; for a stream, until its first byte.
    pub deadline_ms: u32,
    /// A stream is asked for: the deadline bounds its first byte, not its length.
    pub stream: bool,
    /// Work that was begun may be begun again: by its class, its method, or because the request says so.
    pub repeatable: bool,
    /// A late attempt may be left running while the next one starts, where a lane exists: its class says so, and the
    /// next one runs in another failure domain.
    pub hedge: bool,
    /// The most that one attempt may take until its first byte; 0 where only the deadline bounds it.
    pub per_try_ms: u32,
}

/// The whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The decision's id: the seed of every pseudo-random pick, by which it can be made again.
    pub id: u64,
    /// What was decided.
    pub outcome: Outcome,
    /// The class.
    pub class: ClassId,
    /// How the class was found.
    pub class_source: ClassSource,
    /// The attempts.
    pub plan: Plan,
    /// How they are carried out.
    pub pace: Pace,
    /// What bound.
    pub binding: Binding,
    /// The utility of the chosen one.
    pub utility_uusd: i64,
    /// The next best that stood, and by how much it lost.
    pub runner_up: Option<(SubstrateId, i64)>,
    /// Whether and how it left home.
    pub spill: Option<Spill>,
    /// How long it is expected to take on the first attempt.
    pub expected_us: i64,
    /// The estimated cost.
    pub cost_uusd: i64,
    /// What of it the answer's bytes cost.
    pub egress_uusd: i64,
    /// How good its answers are by what the policy declares; 0 where it declares nothing of the model.
    pub quality_ppm: u32,
    /// Under which cost regime.
    pub regime: Option<Regime>,
    /// How fresh the picture was.
    pub freshness: Freshness,
    /// The snapshot's epoch; 0 without one.
    pub epoch: u64,
    /// The only candidate that stood, and it did not stand well.
    pub last_resort: bool,
    /// Somebody who was slow is tried again, although others are worth more.
    pub trial: bool,
}
