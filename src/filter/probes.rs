//! How often this VM has tried a half-open circuit: as often as a lease allows, however many snapshots come meanwhile.

use crate::model::{Circuit, Snapshot};
use crate::policy::Policy;

/// The leases of the last snapshot, by policy order: when each ends, 0 where there is none.
#[derive(Debug, Default)]
pub(super) struct Probes(Vec<u64>);

impl Probes {
    /// A snapshot came: what was sent on a lease that is over no longer counts.
    pub(super) fn renew(&mut self, policy: &Policy, snapshot: Option<&Snapshot>, sent: &mut Vec<u8>) {
        let most = policy.document().substrates.len();
        self.0.resize(most, 0);
        sent.resize(most, 0);
        let mut leases = vec![0; most];
        for record in snapshot.iter().flat_map(|s| &s.substrates) {
            let Circuit::HalfOpen { until_ms, .. } = record.circuit else { continue };
            let at = policy.substrate_id(&record.name).map(usize::from);
            if let Some(lease) = at.and_then(|at| leases.get_mut(at)) {
                *lease = until_ms;
            }
        }
        let was = core::mem::replace(&mut self.0, leases);
        for (sent, (old, new)) in sent.iter_mut().zip(was.iter().zip(&self.0)) {
            if old != new {
                *sent = 0;
            }
        }
    }

    /// A request was placed: if its circuit is half open, it is a probe.
    pub(super) fn placed(&self, at: usize, sent: &mut [u8]) {
        let leased = self.0.get(at).is_some_and(|until_ms| *until_ms > 0);
        if let Some(sent) = sent.get_mut(at).filter(|_| leased) {
            *sent = sent.saturating_add(1);
        }
    }
}
