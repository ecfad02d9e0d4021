//! A candidate policy on a share of the traffic. Each proxy judges it alone; when it does worse than the current policy
//! by what the configuration says, all workers go back to the current one and stay there until another candidate comes.

pub mod judge;

use super::Host;
use super::arm::Arm;
use super::store::{Recall, recalls};
use crate::model::settings::Rollout;
use crate::model::{ClassId, Decision, Dimension, Facts, Outcome, Plan, SubstrateId};
use crate::place::{matches, trusted_class};
use crate::policy::Policy;
use hashbrown::HashMap;
use judge::{Judge, LOOK_EVERY, Trigger, Worse};
use std::rc::Rc;

/// What decides on which side a request is: all of one of these are on the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SplitBy {
    /// The tenant.
    Tenant,
    /// The session, or else the request.
    #[default]
    Session,
    /// The request.
    Request,
}

/// The candidate as it is configured.
#[derive(Clone, Debug)]
pub struct CanaryConfig {
    /// The candidate.
    pub policy: Rc<Policy>,
    /// Its share, and of which requests.
    pub rollout: Rollout,
    /// What decides on which side a request is.
    pub by: SplitBy,
    /// When it goes back.
    pub trigger: Trigger,
}

/// A decided request whose answer is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    class: usize,
    candidate: bool,
    begun_ns: u64,
}

/// The requests whose answers are awaited, by their streams.
#[derive(Debug, Default)]
pub(super) struct Tickets(HashMap<u32, Ticket>);

/// The most that are awaited; the answers of others are not counted.
const MOST_TICKETS: usize = 4_096;

impl Tickets {
    pub(super) fn keep(&mut self, context: u32, ticket: Ticket) {
        if self.0.len() < MOST_TICKETS {
            self.0.insert(context, ticket);
        }
    }

    /// The ticket of a stream, which then has none any more.
    pub(super) fn take(&mut self, context: u32) -> Option<Ticket> {
        if self.0.is_empty() { None } else { self.0.remove(&context) }
    }
}

/// The candidate at work.
#[derive(Debug)]
pub(super) struct Canary {
    pub(super) arm: Arm,
    config: CanaryConfig,
    judge: Judge,
    /// The current policy's class for each of the candidate's, by name.
    classes: Vec<usize>,
    /// The candidate's classes that it is tried on, where it is not tried on all.
    tried: Option<Vec<ClassId>>,
    back: bool,
}

impl Canary {
    #[inline(never)]
    pub(super) fn new(config: CanaryConfig, arm: Arm, current: &Policy) -> Self {
        let known = &current.document().classes;
        let tried = config.rollout.classes.as_ref().map(|tried| {
            let own = (0..=ClassId::MAX).zip(&config.policy.document().classes);
            own.filter(|(_, class)| tried.contains(&class.name)).map(|(id, _)| id).collect()
        });
        let classes = config.policy.document().classes.iter();
        let classes =
            classes.map(|class| known.iter().position(|k| k.name == class.name).unwrap_or(known.len())).collect();
        // One place more, for classes that the current policy does not have.
        let judge = Judge::new(config.trigger, known.len() + 1);
        Self { arm, config, judge, classes, tried, back: false }
    }

    /// Whether it decides this request.
    #[inline(never)]
    pub(super) fn takes(&self, facts: &Facts<'_>, seed: u64) -> bool {
        if self.back || !self.compares(facts) {
            return false;
        }
        let text = match self.config.by {
            SplitBy::Tenant => facts.tenant.map(|f| f.value),
            SplitBy::Session => facts.session.map(|f| f.value),
            SplitBy::Request => None,
        };
        let key = text.map_or(seed, |text| text.bytes().fold(FNV, |h, b| (h ^ u64::from(b)).wrapping_mul(FNV_PRIME)));
        // The candidate's digest, so that the next candidate is tried on others.
        let digest = self.config.policy.digest_word();
        mixed(key ^ digest) % 1_000_000 < u64::from(self.config.rollout.share_ppm)
    }

    /// Whether a request is one of those that either side may get: others are not compared with the candidate's. The
    /// candidate is asked for the class, since the list is its own: it may name what the current policy does not know.
    pub(super) fn compares(&self, facts: &Facts<'_>) -> bool {
        matches(&self.config.rollout.only, facts, true)
            && self.tried.as_ref().is_none_or(|tried| tried.contains(&trusted_class(&self.config.policy, facts)))
    }

    /// Counts a decision of either side, and says what its answer is to be counted as.
    #[inline(never)]
    pub(super) fn decided(&mut self, decision: &Decision, candidate: bool, now_ns: u64) -> Option<Ticket> {
        if self.back {
            return None;
        }
        let class = usize::from(decision.class);
        let class = if candidate { self.classes.get(class).copied().unwrap_or(usize::MAX) } else { class };
        let tally = self.judge.of(class, candidate)?;
        tally.asked += 1;
        if decision.outcome != Outcome::Placed {
            tally.shed += 1;
            return None;
        }
        tally.placed(u64::try_from(decision.cost_uusd).unwrap_or(0));
        Some(Ticket { class, candidate, begun_ns: now_ns })
    }

    /// Whether this decision of the candidate is one of those that are held against the current policy.
    pub(super) fn looks(&self, decision: &Decision) -> bool {
        self.config.trigger.outside_ppm.is_some() && decision.id.is_multiple_of(LOOK_EVERY)
    }

    /// Holds a plan of the candidate against the current policy.
    #[inline(never)]
    pub(super) fn look(&mut self, current: &mut Arm, facts: &Facts<'_>, decision: &Decision, now_ms: u64) {
        let class = self.classes.get(usize::from(decision.class)).copied().unwrap_or(usize::MAX);
        let forbidden = |id: SubstrateId, current: &mut Arm| {
            let name = self.arm.policy().substrate(id).map(|s| s.name.clone());
            let inspection = current.placer.inspect(&current.local, facts, now_ms, decision.id);
            let at = name.and_then(|name| current.policy().substrate_id(name.as_str()));
            let row = at.and_then(|at| inspection.rows.get(usize::from(at)));
            // What the current policy does not know it does not permit.
            row.is_none_or(|row| row.reasons.iter().any(|reason| governed(reason.code.dimension())))
        };
        let outside = planned(&decision.plan).any(|id| forbidden(id, current));
        if let Some(tally) = self.judge.of(class, true) {
            tally.looked += 1;
            tally.outside += u64::from(outside);
        }
    }

    /// An answer has come.
    #[inline(never)]
    pub(super) fn answered(&mut self, ticket: Ticket, failed: bool, now_ns: u64) {
        if let Some(tally) = self.judge.of(ticket.class, ticket.candidate) {
            tally.answered(failed, now_ns.saturating_sub(ticket.begun_ns) / 1_000);
        }
    }

    /// Once a tick: whether others, or this VM itself, have called the candidate back.
    #[inline(never)]
    pub(super) fn watch<H: Host>(&mut self, host: &H, current: &Policy, now_ms: u64) {
        let digest = self.config.policy.digest_word();
        let recalled = recalls(host).iter().any(|recall| recall.digest == digest);
        if self.back && recalled {
            return;
        }
        if recalled {
            self.back = true;
            log::warn!(
                "berth: candidate {} was called back; {} decides alone",
                self.config.policy.label(),
                current.label()
            );
            return;
        }
        self.back = false;
        if let Some(worse) = self.judge.verdict(now_ms) {
            let why = self.words(current, worse);
            log::warn!("berth: candidate {} is called back: {why}", self.config.policy.label());
            let recall = Recall { digest, at_ms: now_ms, why };
            // Should the host refuse, the judge says so again on the next tick.
            self.back = recall.tell(host).is_ok();
        }
    }

    fn words(&self, current: &Policy, worse: Worse) -> String {
        let class = current.document().classes.get(worse.class).map_or("other", |class| class.name.as_str());
        let Worse { measure, current, candidate, .. } = worse;
        format!("class={class} {}={candidate} current={current}", measure.as_str())
    }

    /// Whether it was called back.
    pub(super) const fn is_back(&self) -> bool {
        self.back
    }
}

/// What people permit, and not what a substrate can do at the moment.
const fn governed(dimension: Dimension) -> bool {
    matches!(dimension, Dimension::Governance | Dimension::Sovereignty)
}

fn planned(plan: &Plan) -> impl Iterator<Item = SubstrateId> {
    plan.iter().map(|attempt| attempt.substrate)
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

const fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::{MOST_TICKETS, Ticket, Tickets};

    #[test]
    fn answers_beyond_the_most_that_are_awaited_are_not_counted() {
        let mut tickets = Tickets::default();
        let ticket = Ticket { class: 0, candidate: true, begun_ns: 1 };
        (0..=MOST_TICKETS as u32).for_each(|context| tickets.keep(context, ticket));
        assert_eq!(tickets.0.len(), MOST_TICKETS);
        assert!(tickets.take(MOST_TICKETS as u32).is_none() && tickets.take(0).is_some());
        tickets.keep(9_999, ticket);
        assert!(tickets.take(9_999).is_some(), "there is room again");
    }
}
