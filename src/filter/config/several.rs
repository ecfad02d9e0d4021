//! Several policies may decide in one VM, and all of them see what any of them asks for.

use super::{PlacementConfig, refuse};
use crate::filter::facts::{MOST_PREDICATES, Sources};
use crate::model::Substrate;
use crate::policy::Policy;

/// Has the headers read that the policy and the candidate ask for.
pub(super) fn ask_for_all(sources: &mut Sources, policy: &Policy, candidate: Option<&Policy>) -> Result<(), String> {
    for (place, policy) in [("policy", Some(policy)), ("candidate", candidate)] {
        let asked = policy.map_or(Ok(()), |policy| sources.ask_for(policy.wanted_headers()));
        asked.map_err(|count| too_many_headers(place, count))?;
    }
    Ok(())
}

fn too_many_headers(place: &str, count: usize) -> String {
    refuse(&format!("{place}: with its predicates, {count} headers are looked at, expected at most {MOST_PREDICATES}"))
}

impl PlacementConfig {
    /// Whether the policy before this one can rule again: every substrate of it is one of the current policy's, and it
    /// sees all that it asks for.
    pub(in crate::filter) fn leads_back_to(&mut self, before: &Policy) -> bool {
        self.reaches_all_of(before) && self.shows_all_to(before)
    }

    /// The proxy has clusters for the current policy's substrates, and telemetry watches these: whether another one's
    /// cluster is still there nobody knows, and requests would find out.
    fn reaches_all_of(&self, before: &Policy) -> bool {
        let known = |name: &str| self.policy.substrate_id(name).and_then(|id| self.policy.substrate(id));
        let there = |s: &Substrate| known(s.name.as_str()).is_some_and(|known| known.cluster == s.cluster);
        let gone = before.document().substrates.iter().find(|s| !there(s));
        if let Some(gone) = gone {
            let (before, name, cluster) = (before.label(), gone.name.as_str(), &gone.cluster);
            log::warn!(
                "berth: no way back to {before}: the current policy has no substrate {name} with cluster {cluster}"
            );
        }
        gone.is_none()
    }

    /// Whether the policy before this one sees all that it asks for: to go back to it blind would not bind it.
    fn shows_all_to(&mut self, before: &Policy) -> bool {
        let asked = self.sources.ask_for(before.wanted_headers());
        if let Err(count) = asked {
            log::warn!("berth: no way back to {}: {count} headers would have to be looked at", before.label());
        }
        asked.is_ok()
    }
}

impl Sources {
    /// Has the headers read that a policy's predicates ask for, beside those of the policies before it. All policies
    /// that may decide see the same: what one of them could not see would fail to bind it.
    ///
    /// # Errors
    /// How many there would be, when that is more than [`MOST_PREDICATES`]; nothing is changed then.
    fn ask_for(&mut self, wanted: &[String]) -> Result<(), usize> {
        let known = |name: &&String| self.predicates.iter().all(|(known, _)| known != *name);
        let more: Vec<_> = wanted.iter().filter(known).map(|h| (h.clone(), self.trusted.contains(h))).collect();
        let count = self.predicates.len().saturating_add(more.len());
        if count > MOST_PREDICATES {
            return Err(count);
        }
        self.predicates.extend(more);
        Ok(())
    }
}
