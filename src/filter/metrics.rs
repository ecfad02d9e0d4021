//! The role's metrics: declared once at configuration from the policy's own lists, so that their number is bounded
//! and the request path only adds to an id. A metric that the host refuses is left out, never fatal.

use super::store::SnapshotReader;
use super::{Host, MetricKind};
use crate::model::{Decision, Dimension, Outcome};
use crate::policy::Policy;

/// The ids of what is counted.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    placed: Vec<Option<u32>>,
    refused: [Option<u32>; Dimension::ALL.len()],
    binding: [Option<u32>; Dimension::ALL.len()],
    spilled: Option<u32>,
    undecided: Option<u32>,
    hastened: Option<u32>,
    epoch: Option<u32>,
    age_ms: Option<u32>,
}

impl Metrics {
    pub(super) fn declare<H: Host>(host: &H, policy: &Policy) -> Self {
        let counter = |name: &str| host.define_metric(MetricKind::Counter, name).ok();
        let gauge = |name: &str| host.define_metric(MetricKind::Gauge, name).ok();
        let by_dimension =
            |stem: &str| Dimension::ALL.map(|d| counter(&format!("berth.{stem}.dimension.{}", d.as_str())));
        if let Some(version) = gauge(&format!("berth.policy.digest.{}", policy.short_digest())) {
            let _ = host.record(version, u64::from(policy.document().identity.version));
        }
        Self {
            placed: policy
                .document()
                .substrates
                .iter()
                .map(|s| counter(&format!("berth.placed.substrate.{}", s.name)))
                .collect(),
            refused: by_dimension("refused"),
            binding: by_dimension("binding"),
            spilled: counter("berth.spilled"),
            undecided: counter("berth.undecided"),
            hastened: counter("berth.body.late"),
            epoch: gauge("berth.snapshot.epoch"),
            age_ms: gauge("berth.snapshot.age_ms"),
        }
    }

    pub(super) fn decided<H: Host>(&self, host: &H, decision: &Decision) {
        let id = match (decision.outcome, decision.plan.first()) {
            (Outcome::Placed, Some(first)) => self.placed.get(usize::from(first.substrate)),
            (Outcome::Placed, None) => None,
            (Outcome::Refused { reason, .. }, _) => self.refused.get(reason.code.dimension() as usize),
        };
        add(host, id.copied().flatten());
        if let Some(dimension) = decision.binding.dimension {
            add(host, self.binding.get(dimension as usize).copied().flatten());
        }
        if decision.spill.is_some() {
            add(host, self.spilled);
        }
    }

    pub(super) fn undecided<H: Host>(&self, host: &H) {
        add(host, self.undecided);
    }

    /// A request was decided before its body said what it had to say.
    pub(super) fn hastened<H: Host>(&self, host: &H) {
        add(host, self.hastened);
    }

    /// What this VM knows of the substrates, and how old that is.
    pub(super) fn picture<H: Host>(&self, host: &H, reader: &SnapshotReader, now_ms: u64) {
        let Some(snapshot) = reader.snapshot() else { return };
        set(host, self.epoch, snapshot.epoch);
        set(host, self.age_ms, now_ms.saturating_sub(snapshot.at_ms));
    }
}

fn add<H: Host>(host: &H, id: Option<u32>) {
    if let Some(id) = id {
        let _ = host.increment(id, 1);
    }
}

fn set<H: Host>(host: &H, id: Option<u32>, value: u64) {
    if let Some(id) = id {
        let _ = host.record(id, value);
    }
}
