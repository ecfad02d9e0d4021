//! Lanes: composite clusters that were made beforehand, for proxies that cannot look a plan up at each attempt.

use super::raw::RawLane;
use super::{Attach, refuse};
use crate::model::Plan;
use crate::policy::Policy;
use crate::policy::tree::shorten;

/// A composite cluster: its attempts go to these substrates, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The composite cluster.
    pub cluster: String,
    /// What it consists of.
    pub substrates: Vec<String>,
}

/// The lanes, by the policy's substrates.
#[inline(never)]
pub(super) fn lanes(raw: &[RawLane], attach: Attach, policy: &Policy) -> Result<Vec<Lane>, String> {
    if raw.is_empty() == (attach == Attach::Lanes) {
        return Err(refuse("lanes: expected some with `attach: lanes`, and none otherwise"));
    }
    let known = |lane: usize, at: usize, name: &String| {
        let found = policy.document().substrates.iter().any(|s| s.name.as_str() == name);
        let unknown = || refuse(&format!("lanes[{lane}].substrates[{at}]: unknown substrate `{}`", shorten(name)));
        found.then(|| name.clone()).ok_or_else(unknown)
    };
    let lane = |(at, lane): (usize, &RawLane)| {
        if !(2..=Plan::MOST).contains(&lane.substrates.len()) {
            let found = lane.substrates.len();
            return Err(refuse(&format!("lanes[{at}].substrates: found {found}, expected 2 to {}", Plan::MOST)));
        }
        let names = lane.substrates.iter().enumerate().map(|(i, name)| known(at, i, name)).collect::<Result<_, _>>()?;
        Ok(Lane { cluster: lane.cluster.clone(), substrates: names })
    };
    raw.iter().enumerate().map(lane).collect()
}
