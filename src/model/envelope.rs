//! A governance envelope: what is permitted for which work. People own it; nothing at run time can widen it.

use super::{Borders, Country, Kind, Name, Regime};

/// Which requests an envelope speaks about. An absent predicate matches everything; an absent fact matches only
/// an absent predicate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// One of these tenants.
    pub tenants: Option<Vec<String>>,
    /// One of these data classes.
    pub data: Option<Vec<String>>,
    /// One of these workload classes.
    pub classes: Option<Vec<Name>>,
    /// Callers in one of these regions.
    pub regions: Option<Vec<Name>>,
}

/// A list of places, by what they are. In `permit`, an absent line permits everything; in `forbid`, an absent
/// line forbids nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Substrates that stand in one of these countries. Named sets are expanded, sorted, without repeats.
    pub jurisdictions: Option<Vec<Country>>,
    /// `permit`: substrates that only these countries' law reaches. `forbid`: that one of these reaches.
    pub subject_to: Option<Vec<Country>>,
    /// Substrates of these kinds.
    pub kinds: Option<Vec<Kind>>,
    /// Substrates in these accounts.
    pub accounts: Option<Vec<Name>>,
    /// Substrates in these regions.
    pub regions: Option<Vec<Name>>,
    /// Substrates under these cost regimes.
    pub regimes: Option<Vec<Regime>>,
    /// These substrates.
    pub substrates: Option<Vec<Name>>,
}

/// What must be known of a substrate before it may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Require {
    /// An attestation not older than this, of the jurisdiction that the policy declares.
    pub attestation_max_age_ms: Option<u64>,
    /// Health not older than this.
    pub health_max_age_ms: Option<u64>,
    /// No path out.
    pub air_gapped: bool,
    /// Crossing one of these borders needs a valid approval.
    pub approval_for: Borders,
}

/// One envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Its name in policies, records and metrics.
    pub name: Name,
    /// Which requests it speaks about.
    pub applies_to: Selector,
    /// What it permits.
    pub permit: Terms,
    /// What it forbids: wins over every permit.
    pub forbid: Terms,
    /// The borders that a placement may cross.
    pub spillover: Borders,
    /// What must be known of a substrate.
    pub require: Require,
}
