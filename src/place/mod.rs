//! The decision: classify → filter (capability) → gate → score → attempt → account.
//!
//! [`place`] is the whole of it, a pure and total function. [`Placer`] is the same with its memory kept: the filter
//! refreshes it with each snapshot and decides without allocating. Stages add to the codes that reject a candidate and
//! never remove one, so that explaining a decision is printing its table ([`inspect()`]).
//!
//! What is the same for all requests of a kind is worked out once a picture (`Ground`): the filter, the gate, health
//! and what each candidate is worth per token. A request itself then touches each candidate that is left about three
//! times.

mod account;
mod attempt;
mod availability;
mod capability;
mod choose;
mod classify;
mod cost;
mod forecast;
mod gate;
mod ground;
mod hearing;
pub mod inspect;
mod matcher;
mod picture;
mod reasons;
pub mod record;
mod refuse;
pub mod replay;
pub mod routers;
mod rows;
mod scene;
mod score;
mod spread;
pub mod stage;
mod table;
mod tally;
mod trial;
pub mod underway;

pub use inspect::{Inspection, Row, inspect};
pub(crate) use scene::Scene;
pub use score::Terms;
pub use underway::Underway;

use crate::model::{ClassId, Code, Decision, Facts, Local, Plan, Predicate, Snapshot};
use crate::policy::Policy;
use core::ops::Deref;
use ground::{Ground, Grounds, Key};
use picture::{Aligned, Picture};
use stage::Stage;
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

/// The class that a request is of by trusted facts alone; the default class if these match none.
#[must_use]
pub fn trusted_class(policy: &Policy, facts: &Facts) -> ClassId {
    classify::find(policy, facts).0
}

/// A policy with the memory of its decisions: the same decisions as [`place`], without its allocations.
#[derive(Clone, Debug)]
pub struct Placer<P> {
    policy: P,
    aligned: Aligned,
    picture: Picture,
    /// Counts pictures, so that a ground knows which one it was made from.
    stamp: u64,
    grounds: Grounds,
    /// The kind of the present request.
    key: Key,
    table: Table,
}

impl<P: Deref<Target = Policy>> Placer<P> {
    /// A placer that knows no snapshot yet.
    pub fn new(policy: P) -> Self {
        let mut aligned = Aligned::default();
        aligned.align(&policy, None);
        let mut placer = Self {
            policy,
            aligned,
            picture: Picture::default(),
            stamp: 0,
            grounds: Grounds::default(),
            key: Key::default(),
            table: Table::default(),
        };
        placer.develop(0);
        placer
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes a snapshot over. To be called when it has changed, not for every request.
    pub fn refresh(&mut self, snapshot: Option<&Snapshot>, now_ms: u64) {
        self.aligned.align(&self.policy, snapshot);
        self.develop(now_ms);
    }

    fn develop(&mut self, now_ms: u64) {
        self.picture.develop(&self.policy, &self.aligned, now_ms);
        self.stamp += 1;
    }

    /// Decides where a request runs.
    pub fn place(&mut self, local: &Local, facts: &Facts, now_ms: u64, seed: u64) -> Decision {
        self.decide((local, facts), now_ms, seed, (false, |_| {}), |_, _, decision| decision)
    }

    /// The same, and counts what rejected the candidates; `ended` is told as each stage ends, so that whoever has a clock
    /// can time them.
    pub fn place_counted(
        &mut self,
        local: &Local,
        facts: &Facts,
        now_ms: u64,
        seed: u64,
        ended: impl FnMut(Stage),
    ) -> Decision {
        self.decide((local, facts), now_ms, seed, (true, ended), |_, _, decision| decision)
    }

    /// How many candidates were rejected by each code in the decisions counted since it was asked: every reason that each
    /// had, as [`Placer::inspect`] shows them.
    pub fn rejections(&mut self, told: impl FnMut(Code, u64)) {
        let Table { ground, tally, .. } = &mut self.table;
        ground.stills.settle(tally);
        self.grounds.settle(tally);
        tally.tell(told);
    }

    /// The pipeline; `counted` adds to the rejections, `ended` is told of each stage, `then` sees what the decision was made of.
    fn decide<T>(
        &mut self,
        (local, facts): (&Local, &Facts),
        now_ms: u64,
        seed: u64,
        (counted, mut ended): (bool, impl FnMut(Stage)),
        then: impl FnOnce(&Scene, &Table, Decision) -> T,
    ) -> T {
        if picture::step(now_ms) != self.picture.at_ms {
            self.develop(now_ms);
        }
        let (policy, table): (&Policy, _) = (&self.policy, &mut self.table);
        let asked = &classify::classify(policy, facts, now_ms, seed);
        ended(Stage::Classify);
        gate::select(policy, facts, asked, &mut self.key);
        self.key.set(policy, facts, asked, local.slot);
        self.grounds.swap(&mut table.ground, &self.key, self.stamp, policy.columns.len());
        let (aligned, picture) = (&self.aligned, &self.picture);
        let known = table.ground.stamp == self.stamp && table.ground.key == self.key;
        let law = if known { table.ground.law } else { gate::law(policy, asked, &self.key) };
        let scene = &Scene::new(policy, aligned, picture, (local, facts), asked, law, seed);
        if !known {
            table.ground.stills.settle(&mut table.tally);
            table.ground.key.copy(&self.key);
            (table.ground.stamp, table.ground.law) = (self.stamp, law);
            lay(scene, &mut table.ground);
        }
        ended(Stage::Gate);
        table.reset();
        rows::fill(scene, table);
        availability::except(scene, table);
        availability::settle(scene, table);
        cost::check(scene, table);
        availability::relieve(scene, table);
        let first = choose::choose(scene, table);
        ended(Stage::Score);
        let plan = first.map_or_else(Plan::default, |first| attempt::plan(scene, table, first));
        ended(Stage::Attempt);
        let decision = account::account(scene, table, plan);
        if counted {
            tally::count(scene, table);
        }
        ended(Stage::Account);
        then(scene, table, decision)
    }
}

/// Lays the ground of a kind of request: the first half of the pipeline.
fn lay(scene: &Scene, ground: &mut Ground) {
    capability::offers(scene, ground);
    capability::sift(scene, ground);
    gate::gate(scene, ground);
    availability::health(scene, ground);
    score::paths(scene, ground);
    rows::lay(scene, ground);
}
