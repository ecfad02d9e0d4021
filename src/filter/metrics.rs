//! The role's metrics: declared once at configuration from the policy's own lists, so that their number is bounded.
//! The request path adds in this VM's memory; the tick tells the host. What a VM has counted since its last tick is
//! lost when the VM is.

mod budgets;
mod cells;
mod declare;
mod outcomes;
mod runs;
mod times;

use super::Host;
use super::store::SnapshotReader;
use crate::model::{
    Border, ClassId, ClassSource, Code, Decision, Dimension, Facts, Freshness, Outcome, Plan, Reason, Regime, Spill,
};
use crate::place::routers::Routed;
use crate::policy::Policy;
use budgets::Budgets;
use cells::Cells;
pub(super) use cells::define;
pub(super) use declare::word;
use runs::{Runs, Ways};
pub(super) use times::Stopwatch;

/// Why a request was left to the route without a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its headers could not be read.
    Headers,
    /// The plan could not be left for the route.
    Plan,
    /// The cluster header could not be set.
    Cluster,
}

const CAUSES: [&str; 3] = ["headers", "plan", "cluster"];
const SOURCES: [&str; 3] = ["trusted", "claim", "default"];
const FRESH: [Freshness; 3] = [Freshness::Live, Freshness::Uncertain, Freshness::Stale];
const ATTEMPTS: [&str; Plan::MOST] = ["1", "2", "3"];
const VERDICTS: [&str; 4] = ["same", "other", "breach", "nothing"];
/// One place more than there are borders, for placements that left home and crossed none.
const BORDERS: usize = Border::ALL.len() + 1;

/// Where the series of each metric begin.
#[derive(Debug)]
pub(super) struct Metrics {
    cells: Cells,
    placed: usize,
    /// How many classes and substrates are told apart; 1 where there would be too many series.
    classes: usize,
    substrates: usize,
    refused: usize,
    refusals: usize,
    refusal_classes: usize,
    binding: usize,
    spilled: usize,
    spill_classes: usize,
    egress_added: usize,
    cost_added: usize,
    cost_saved: usize,
    time_added: usize,
    time_saved: usize,
    fresh: usize,
    classified: usize,
    planned: usize,
    last_resort: usize,
    undecided: usize,
    unslotted: usize,
    late: usize,
    cost: usize,
    cost_classes: usize,
    runs: Runs,
    ways: Ways,
    went: usize,
    crossed: usize,
    timed: usize,
    stages: usize,
    sampled: usize,
    rejected: usize,
    routers: usize,
    breaches: usize,
    unreadable: usize,
    torn: usize,
    seen: (u64, u64),
    aside: bool,
    epoch: Option<u32>,
    age_ms: Option<u32>,
    canary: Option<u32>,
    budgets: Budgets,
}

impl Metrics {
    pub(super) fn decided(&mut self, decision: &Decision, facts: &Facts<'_>) {
        let class = usize::from(decision.class).min(self.classes.saturating_sub(1));
        match (decision.outcome, decision.plan.first()) {
            (Outcome::Placed, Some(first)) => {
                let substrate = usize::from(first.substrate).min(self.substrates.saturating_sub(1));
                self.cells.add(self.placed + class * self.substrates + substrate, 1);
                self.cells.add(self.planned + decision.plan.len().clamp(1, Plan::MOST) - 1, 1);
                self.cost(decision);
                self.placed_on(decision, facts, first.substrate);
            }
            (Outcome::Refused { reason, .. }, _) => {
                self.cells.add(self.refused + class, 1);
                let class = usize::from(decision.class).min(self.refusal_classes.saturating_sub(1));
                self.cells.add(self.refusals + class * Code::ALL.len() + reason.code as usize, 1);
            }
            (Outcome::Placed, None) => {}
        }
        let bound = decision.binding.reason.map_or(Code::ALL.len(), |Reason { code, .. }| code as usize);
        self.cells.add(self.binding + bound, 1);
        self.cells.add(self.fresh + FRESH.iter().position(|f| *f == decision.freshness).unwrap_or(0), 1);
        let source = match decision.class_source {
            ClassSource::Trusted => 0,
            ClassSource::Claimed => 1,
            ClassSource::Default => 2,
        };
        self.cells.add(self.classified + source, 1);
        self.cells.add(self.last_resort, u64::from(decision.last_resort));
        if let Some(spill) = &decision.spill {
            self.spill(decision.class, spill);
        }
    }

    fn cost(&mut self, decision: &Decision) {
        let class = usize::from(decision.class).min(self.cost_classes.saturating_sub(1));
        let regime = decision.regime.map_or(0, |r| r as usize);
        self.cells.add(self.cost + class * Regime::ALL.len() + regime, amount(decision.cost_uusd));
    }

    fn spill(&mut self, class: ClassId, spill: &Spill) {
        let class = usize::from(class).min(self.spill_classes.saturating_sub(1));
        let border = spill.crosses.widest().map_or(BORDERS - 1, |b| b as usize);
        self.cells.add(self.spilled + class * BORDERS + border, 1);
        self.cells.add(self.egress_added + border, amount(spill.egress_uusd));
        self.cells.add(self.cost_added + border, amount(spill.cost_uusd));
        self.cells.add(self.cost_saved + border, amount(spill.cost_uusd.saturating_neg()));
        self.cells.add(self.time_added + border, amount(spill.latency_us));
        self.cells.add(self.time_saved + border, amount(spill.latency_us.saturating_neg()));
    }

    /// So many candidates were rejected by this code.
    pub(super) fn rejected(&mut self, code: Code, many: u64) {
        self.cells.add(self.rejected + code as usize, many);
    }

    /// A decision that was looked at closely: what others would have done.
    #[inline(never)]
    pub(super) fn sampled(&mut self, decision: &Decision, routed: &[Routed]) {
        self.cells.add(self.sampled, 1);
        let chosen = decision.plan.first().map(|a| a.substrate);
        for (at, routed) in routed.iter().enumerate() {
            let verdict = match routed.choice {
                None => 3,
                Some(_) if !routed.broken.is_empty() => 2,
                choice => usize::from(choice != chosen),
            };
            self.cells.add(self.routers + at * VERDICTS.len() + verdict, 1);
            let broken = routed.broken.iter().fold(0_u8, |bits, code| bits | 1 << code.dimension() as u8);
            for dimension in Dimension::ALL.into_iter().filter(|d| broken & 1 << *d as u8 != 0) {
                self.cells.add(self.breaches + at * Dimension::ALL.len() + dimension as usize, 1);
            }
        }
    }

    /// A held request was decided without its body.
    pub(super) fn late(&mut self) {
        self.cells.add(self.late, 1);
    }

    /// A tick found no slot to tell the others through.
    pub(super) fn unslotted(&mut self) {
        self.cells.add(self.unslotted, 1);
    }

    pub(super) fn undecided(&mut self, cause: Cause) {
        self.cells.add(self.undecided + cause as usize, 1);
    }

    /// How the candidate does.
    pub(super) fn canary<H: Host>(&self, host: &H, state: u64) {
        set(host, self.canary, state);
    }

    /// What tenants have spent of their budgets, in the order of the policy, as it was known so long ago.
    pub(super) fn spent<H: Host>(&mut self, host: &H, policy: &Policy, spent: (&[i64], u64), now_ms: u64) {
        self.budgets.show(host, policy, spent, now_ms);
    }

    /// What was counted since the last tick, where there may be no other.
    pub(super) fn flush<H: Host>(&mut self, host: &H) {
        self.cells.flush(host);
    }

    /// There will be no other tick: gauges that only a configuration with the same tenants would set again are let go.
    pub(super) fn leave<H: Host>(&mut self, host: &H) {
        self.cells.flush(host);
        self.budgets.leave(host);
    }

    /// What was counted since the last tick, what this VM knows of the substrates, and how old that is.
    pub(super) fn tell<H: Host>(&mut self, host: &H, reader: &SnapshotReader, now_ms: u64) {
        if self.aside {
            self.cells.flush(host);
            return;
        }
        let (refusals, torn) = (reader.refusals(), reader.torn());
        self.cells.add(self.unreadable, refusals.saturating_sub(self.seen.0));
        self.cells.add(self.torn, torn.saturating_sub(self.seen.1));
        self.seen = (refusals, torn);
        self.cells.flush(host);
        let Some(snapshot) = reader.snapshot() else { return };
        set(host, self.epoch, snapshot.epoch);
        set(host, self.age_ms, now_ms.saturating_sub(snapshot.at_ms));
    }
}

fn amount(uusd: i64) -> u64 {
    u64::try_from(uusd).unwrap_or(0)
}

fn set<H: Host>(host: &H, id: Option<u32>, value: u64) {
    if let Some(id) = id {
        let _ = host.record(id, value);
    }
}
