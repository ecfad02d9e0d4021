//! What the telemetry core needs to know of a policy: whom to watch, and from where on something is wrong.

use super::settings::{Ages, Breaking, Thresholds};
use super::{Document, Kind};

/// The label that says in which layer of capacity a substrate stands.
const LAYER: &str = "capacity_layer";

/// What the telemetry core needs to know of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The substrates, in the policy's order.
    pub substrates: Vec<Watched>,
    /// When a signal is old.
    pub ages: Ages,
    /// Circuits and admission.
    pub breaking: Breaking,
}

/// One substrate to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// The proxy's cluster that leads to it.
    pub cluster: String,
    /// What fails together.
    pub failure_domain: String,
    /// What it is held against: others of its kind.
    pub kind: Kind,
    /// And elsewhere than in its region.
    pub region: String,
    /// The label `capacity_layer`; empty without one.
    pub layer: String,
    /// Where its kind is full.
    pub thresholds: Thresholds,
    /// Until the first token, as declared; 0 if nothing was.
    pub first_token_us: i64,
    /// Per output token, as declared.
    pub us_per_token: i64,
}

impl Watch {
    /// What is to be watched for a policy.
    #[must_use]
    pub fn of(document: &Document) -> Self {
        let settings = &document.settings;
        let watched = |substrate: &super::Substrate| Watched {
            name: String::from(substrate.name.as_str()),
            cluster: substrate.cluster.clone(),
            failure_domain: String::from(substrate.location.failure_domain.as_str()),
            kind: substrate.kind,
            region: String::from(substrate.location.region.as_str()),
            layer: substrate
                .labels
                .iter()
                .find(|(key, _)| key == LAYER)
                .map_or_else(String::new, |(_, text)| text.clone()),
            thresholds: settings.thresholds_of(substrate),
            first_token_us: substrate.latency.first_token_us,
            us_per_token: substrate.latency.us_per_token,
        };
        Self {
            substrates: document.substrates.iter().map(watched).collect(),
            ages: settings.ages,
            breaking: settings.breaking,
        }
    }

    /// The position of a substrate.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.substrates.iter().position(|s| s.name == name)
    }
}
