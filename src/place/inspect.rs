//! The decision laid open: every candidate with every reason and every term, from the very table that decided.

use super::score::{Terms, rated, terms, uusd};
use super::table::{Table, utility, verdict};
use super::{Placer, Scene, reasons};
use crate::model::{Borders, Decision, Dimensions, Facts, Local, Reason, Snapshot, SubstrateId, Tier};
use crate::policy::Policy;
use crate::policy::index::positions;
use core::ops::Deref;

/// One candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which substrate.
    pub substrate: SubstrateId,
    /// Everything that rejects it; empty if it stands.
    pub reasons: Vec<Reason>,
    /// The dimensions of the reasons.
    pub dimensions: Dimensions,
    /// The terms of its utility.
    pub terms: Terms,
    /// Its utility, which orders candidates (pico-dollars, finer than the terms).
    pub utility_pusd: i64,
    /// Expected whole time.
    pub total_us: i64,
    /// Expected time that the deadline bounds.
    pub need_us: i64,
    /// Expected cost.
    pub cost_uusd: i64,
    /// The borders it lies behind.
    pub crosses: Borders,
    /// The session belongs there.
    pub affine: bool,
}

/// A decision and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The decision.
    pub decision: Decision,
    /// All candidates, in policy order.
    pub rows: Vec<Row>,
    /// The envelopes that apply, by their positions.
    pub envelopes: Vec<usize>,
    /// The tier that the request was given.
    pub tier: Tier,
    /// Input tokens reckoned with.
    pub input_tokens: i64,
    /// Output tokens reckoned with.
    pub output_tokens: i64,
    /// The deadline reckoned with.
    pub deadline_us: i64,
    /// The panic rule took marks back.
    pub panic: bool,
    /// The share of requests shed.
    pub shed_ppm: i64,
}

/// Decides as [`super::place`] does, and shows how.
#[must_use]
pub fn inspect(
    policy: &Policy,
    snapshot: Option<&Snapshot>,
    local: &Local,
    facts: &Facts,
    now_ms: u64,
    seed: u64,
) -> Inspection {
    let mut placer = Placer::new(policy);
    placer.refresh(snapshot, now_ms);
    placer.inspect(local, facts, now_ms, seed)
}

impl<P: Deref<Target = Policy>> Placer<P> {
    /// Decides as [`Placer::place`] does, and shows how.
    pub fn inspect(&mut self, local: &Local, facts: &Facts, now_ms: u64, seed: u64) -> Inspection {
        self.decide((local, facts), now_ms, seed, (false, |_| {}), |scene, table, decision| Inspection {
            decision,
            rows: (0..SubstrateId::MAX).take(scene.policy.columns.len()).map(|id| row(scene, table, id)).collect(),
            envelopes: positions(&table.ground.key.envelopes).collect(),
            tier: scene.asked.tier,
            input_tokens: scene.asked.input,
            output_tokens: scene.asked.output,
            deadline_us: scene.asked.deadline_us,
            panic: table.panic,
            shed_ppm: table.shed_ppm,
        })
    }
}

fn row(scene: &Scene, table: &Table, id: SubstrateId) -> Row {
    let (codes, rated) = (verdict(scene, table, id), rated(scene, &table.ground, id));
    Row {
        substrate: id,
        reasons: codes.iter().map(|code| reasons::reason(scene, table, id, code)).collect(),
        dimensions: codes.dimensions(),
        terms: terms(scene, table, id),
        utility_pusd: utility(scene, table, id),
        total_us: rated.total_us,
        need_us: rated.need_us,
        cost_uusd: uusd(rated.cost_pusd),
        crosses: table.ground.crosses(id),
        affine: table.affine == Some(id),
    }
}
