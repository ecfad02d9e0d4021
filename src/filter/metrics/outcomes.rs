//! What placed requests came to, where they really went, and how many bytes that moved between zones.

use super::{BORDERS, Metrics};
use crate::filter::ends::{Awaited, End};
use crate::model::{Facts, SubstrateId};
use crate::policy::Policy;

/// Where the last attempt of a request went, against its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Went {
    First = 0,
    Later = 1,
    Lane = 2,
    Elsewhere = 3,
    Nowhere = 4,
}

/// The words used in metrics, in their order.
pub(super) const WENT: [&str; 5] = ["first", "later", "lane", "elsewhere", "nowhere"];

impl Metrics {
    /// Where the caller's zone stands among the origins.
    pub(in crate::filter) fn origin(&self, facts: &Facts<'_>) -> usize {
        self.ways.origin(facts)
    }

    /// A placed request has ended.
    pub(in crate::filter) fn ended(&mut self, policy: &Policy, lanes: &[String], awaited: &Awaited, end: &End) {
        // The router goes by the plan: whoever answered last, those before it were asked.
        let last = awaited.plan.iter().position(|attempt| ran_by(policy, attempt.substrate, &end.cluster));
        for attempt in awaited.plan.iter().take(last.map_or(0, |at| at + 1)) {
            let border = attempt.crosses.widest().map_or(BORDERS - 1, |border| border as usize);
            self.cells.add(self.crossed + border, 1);
        }
        let (went, ran) = destination(policy, lanes, awaited, &end.cluster);
        self.cells.add(self.went + went as usize, 1);
        // What went where nobody knows is counted under what was chosen; its bytes are nobody's.
        if let Some(on) = ran.or(awaited.plan.first().map(|attempt| attempt.substrate)) {
            self.runs.ended(&mut self.cells, awaited.class, on, end.came);
        }
        if let Some(ran) = ran {
            self.ways.moved(&mut self.cells, awaited.origin, ran, [end.sent, end.received]);
        }
    }
}

/// Whether a cluster leads to a substrate.
fn ran_by(policy: &Policy, id: SubstrateId, cluster: &[u8]) -> bool {
    policy.substrate(id).is_some_and(|s| s.cluster.as_bytes() == cluster)
}

/// Where it went against its plan, and on which substrate that was, as far as the policy knows.
fn destination(policy: &Policy, lanes: &[String], awaited: &Awaited, cluster: &[u8]) -> (Went, Option<SubstrateId>) {
    let leads = |id: SubstrateId| ran_by(policy, id, cluster);
    let mut planned = awaited.plan.iter().map(|attempt| attempt.substrate);
    let first = planned.next();
    match first {
        _ if cluster.is_empty() => (Went::Nowhere, None),
        Some(first) if leads(first) => (Went::First, Some(first)),
        // The proxy books a lane's attempts on the lane.
        first if lanes.iter().any(|lane| lane.as_bytes() == cluster) => (Went::Lane, first),
        _ => match planned.find(|id| leads(*id)) {
            Some(later) => (Went::Later, Some(later)),
            None => (Went::Elsewhere, (0..SubstrateId::MAX).take(policy.columns.len()).find(|id| leads(*id))),
        },
    }
}
