//! What becomes of a decision: the record, the cluster header, the plan for the router, or an answer at once.

use super::{Asked, Placement, Side, Verdict};
use crate::filter::arm::Arm;
use crate::filter::canary::Canary;
use crate::filter::config::{Attach, Mode};
use crate::filter::metrics::Cause;
use crate::filter::{Host, MapKind, attempts, refusal};
use crate::model::contract::{CLUSTER_HEADER, DECISION_HEADER, DECISION_STATE, SHADOW_HEADER};
use crate::model::{ClassSource, Decision, Facts, Kind, Outcome};
use crate::place::record::write_record;
use crate::place::trusted_class;

impl Placement {
    pub(super) fn act<H: Host>(&mut self, host: &H, asked: &Asked<'_>, decision: &Decision) -> Verdict {
        let side = asked.side;
        let policy = at_work(side, &self.current, self.canary.as_deref(), self.previous.as_deref()).policy();
        if self.config.accounting.on {
            write_record(policy, decision, &mut self.record);
            let _ = host.set_filter_state(DECISION_STATE, self.record.as_bytes());
            self.reporter.recent.keep(self.now_ms, self.config.mode == Mode::Enforce, &self.record);
        }
        if self.config.mode == Mode::Shadow {
            self.mirror(host, side, decision);
            return Verdict::Continue;
        }
        match (decision.outcome, decision.plan.first()) {
            (Outcome::Placed, Some(first)) => {
                self.count(asked, first.substrate, decision.expected_us);
                self.send(host, asked, decision, first.substrate)
            }
            _ => {
                if asked.tenant.is_none_or(|tenant| !tenant.trusted) {
                    refusal::coarse(decision, &mut self.record);
                }
                let told = self.config.decision_response.then_some(self.record.as_str());
                refusal::answer(host, decision, told, asked.grpc)
            }
        }
    }

    /// How long the request would have if only those were believed who are trusted; 0 where nobody holds it to its time.
    pub(super) fn own_ms(&self, side: Side, facts: &Facts<'_>, decision: &Decision) -> u32 {
        if !self.config.deadline_header {
            return 0;
        }
        let policy = at_work(side, &self.current, self.canary.as_deref(), self.previous.as_deref()).policy();
        let claimed = decision.class_source == ClassSource::Claimed;
        let class = if claimed { trusted_class(policy, facts) } else { decision.class };
        let trusted = facts.deadline_ms.filter(|fact| fact.trusted).map(|fact| fact.value);
        policy.class(class).deadline_ms.min(trusted.unwrap_or(u32::MAX))
    }

    /// Has a copy sent to where the request would have gone.
    #[inline(never)]
    fn mirror<H: Host>(&mut self, host: &H, side: Side, decision: &Decision) {
        let policy = at_work(side, &self.current, self.canary.as_deref(), self.previous.as_deref()).policy();
        let first = decision.plan.first().filter(|_| self.config.mirror);
        if let Some(substrate) = first.and_then(|attempt| policy.substrate(attempt.substrate))
            && host.set_header(MapKind::RequestHeaders, SHADOW_HEADER, &substrate.cluster).is_err()
        {
            self.current.account.undecided(Cause::Cluster);
        }
    }

    fn send<H: Host>(&mut self, host: &H, asked: &Asked<'_>, decision: &Decision, substrate: u16) -> Verdict {
        let policy = at_work(asked.side, &self.current, self.canary.as_deref(), self.previous.as_deref()).policy();
        let Some(substrate) = policy.substrate(substrate) else { return Verdict::Continue };
        let lane = attempts::lane(&self.config.lanes, policy, decision);
        let cluster = lane.map_or(&substrate.cluster, |lane| &lane.cluster);
        let tries = if self.config.attach == Attach::Full {
            decision.plan.len()
        } else {
            lane.map_or(1, |l| l.substrates.len())
        };
        if self.config.attach != Attach::Simple {
            asked.steering.end(host);
        }
        asked.claim.leave(host, decision, tries, &mut self.number);
        let bound = match self.config.deadline_header {
            true => attempts::bound(host, decision, tries, &mut self.number),
            false => Ok(()),
        };
        let left = match self.config.attach {
            Attach::Simple => Ok(()),
            // What is missing of a plan is not made up for: a retry without it finds no cluster.
            Attach::Full => attempts::leave(host, policy, decision, &mut self.number),
            Attach::Lanes => attempts::follow(host, lane, decision, &mut self.number),
        };
        let most = policy.class(decision.class).attempts.most;
        let told = self.config.hops.tell(host, decision, asked.told.left(tries, most), &mut self.number);
        let led = host.set_header(MapKind::RequestHeaders, CLUSTER_HEADER, cluster);
        if self.config.decision_upstream && substrate.kind != Kind::Provider {
            let _ = host.set_header(MapKind::RequestHeaders, DECISION_HEADER, &self.record);
        }
        if bound.and(left).and(told).is_err() {
            self.current.account.undecided(Cause::Plan);
        }
        if led.is_err() {
            self.current.account.undecided(Cause::Cluster);
        }
        Verdict::Continue
    }

    /// Counts a placement, for every policy at work: the substrates are the same.
    fn count(&mut self, asked: &Asked<'_>, substrate: u16, expected_us: i64) {
        let arm = at_work(asked.side, &self.current, self.canary.as_deref(), self.previous.as_deref());
        let Some(at) = arm.among_all(substrate) else { return };
        self.reporter.observer.placed(at);
        self.arms().for_each(|arm| arm.began(at, expected_us, asked.tenant));
    }
}

/// Whose decision it is.
fn at_work<'a>(side: Side, current: &'a Arm, canary: Option<&'a Canary>, previous: Option<&'a Arm>) -> &'a Arm {
    let other = match side {
        Side::Current => None,
        Side::Candidate => canary.map(|canary| &canary.arm),
        Side::Previous => previous,
    };
    other.unwrap_or(current)
}
