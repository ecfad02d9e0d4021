//! The decision: classify → filter (capability) → gate → score → attempt → account.
//!
//! [`place`] is the whole of it, a pure and total function. [`Placer`] is the same with its memory kept: the filter
//! refreshes it with each snapshot and decides without allocating. Every stage sees every candidate, in policy order;
//! stages add to the codes that reject a candidate and never remove one, so that explaining a decision is printing
//! its table ([`inspect()`]).

mod account;
mod attempt;
mod availability;
mod capability;
mod choose;
mod classify;
mod cost;
mod forecast;
mod gate;
mod hearing;
pub mod inspect;
mod matcher;
mod picture;
mod reasons;
pub mod record;
mod refuse;
pub mod replay;
pub mod routers;
mod scene;
mod score;
mod spread;
mod table;
pub mod underway;

pub use inspect::{Inspection, Row, inspect};
pub(crate) use scene::Scene;
pub use score::Terms;
pub use underway::Underway;

use crate::model::{Decision, Facts, Local, Plan, Predicate, Snapshot};
use crate::policy::Policy;
use core::ops::Deref;
use picture::{Aligned, Picture};
use table::Table;

/// Decides where a request runs: the same inputs give the same decision, anywhere.
#[must_use]
pub fn place(
    policy: &Policy,
    snapshot: Option<&Snapshot>,
    local: &Local,
    facts: &Facts,
    now_ms: u64,
    seed: u64,
) -> Decision {
    let mut placer = Placer::new(policy);
    placer.refresh(snapshot, now_ms);
    placer.place(local, facts, now_ms, seed)
}

/// Whether a predicate holds for all that is known of a request, trusted or not; with `trusted`, by trusted facts
/// alone.
#[must_use]
pub fn matches(predicate: &Predicate, facts: &Facts, trusted: bool) -> bool {
    let holds = matcher::holds(predicate, facts);
    if trusted { holds.trusted } else { holds.claimed }
}

/// A policy with the memory of its decisions: the same decisions as [`place`], without its allocations.
#[derive(Clone, Debug)]
pub struct Placer<P> {
    policy: P,
    aligned: Aligned,
    picture: Picture,
    table: Table,
}

impl<P: Deref<Target = Policy>> Placer<P> {
    /// A placer that knows no snapshot yet.
    pub fn new(policy: P) -> Self {
        let mut aligned = Aligned::default();
        aligned.align(&policy, None);
        let mut picture = Picture::default();
        picture.develop(&policy, &aligned, 0);
        Self { policy, aligned, picture, table: Table::default() }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes a snapshot over. To be called when it has changed, not for every request.
    pub fn refresh(&mut self, snapshot: Option<&Snapshot>, now_ms: u64) {
        self.aligned.align(&self.policy, snapshot);
        self.picture.develop(&self.policy, &self.aligned, now_ms);
    }

    /// Decides where a request runs.
    pub fn place(&mut self, local: &Local, facts: &Facts, now_ms: u64, seed: u64) -> Decision {
        self.decide(local, facts, now_ms, seed, |_, _, decision| decision)
    }

    /// The pipeline; `then` sees what it was made of.
    fn decide<T>(
        &mut self,
        local: &Local,
        facts: &Facts,
        now_ms: u64,
        seed: u64,
        then: impl FnOnce(&Scene, &Table, Decision) -> T,
    ) -> T {
        if picture::step(now_ms) != self.picture.at_ms {
            self.picture.develop(&self.policy, &self.aligned, now_ms);
        }
        let (policy, table): (&Policy, _) = (&self.policy, &mut self.table);
        let asked = &classify::classify(policy, facts, now_ms, seed);
        let law = gate::select(policy, facts, asked, table);
        let (aligned, picture) = (&self.aligned, &self.picture);
        let scene = &Scene { policy, aligned, picture, local, facts, asked, law, seed };

        table.reset(policy.columns.len(), &local.placed);
        capability::offers(scene, table);
        score::rate(scene, table);
        capability::sift(scene, table);
        gate::gate(scene, table);
        availability::check(scene, table);
        availability::settle(scene, table);
        cost::check(scene, table);
        availability::relieve(scene, table);
        table.stand();
        let first = choose::choose(scene, table);
        let plan = first.map_or_else(Plan::default, |first| attempt::plan(scene, table, first));
        let decision = account::account(scene, table, plan);
        then(scene, table, decision)
    }
}
