//! What routers that look at one thing only would have chosen. Each is given every chance: among what it cannot tell
//! apart, it takes what is worth most.

use super::{Inspection, Row};
use crate::model::{Code, Facts, Substrate, SubstrateId};
use crate::policy::Policy;

/// A router that looks at one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// The fastest.
    Latency,
    /// The cheapest.
    Cost,
    /// In the caller's region, or else in that of the class's first home.
    Region,
    /// On the hardware of the class's first home.
    Sku,
    /// In the account of the class's first home.
    Account,
}

impl Router {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Latency, Self::Cost, Self::Region, Self::Sku, Self::Account];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency-only",
            Self::Cost => "cost-only",
            Self::Region => "region-only",
            Self::Sku => "sku-only",
            Self::Account => "account-only",
        }
    }
}

/// What such a router would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// Which router.
    pub router: Router,
    /// Its choice.
    pub choice: Option<SubstrateId>,
    /// What that would have broken.
    pub broken: Vec<Code>,
}

/// What each router of [`Router::ALL`] would have done, in that order.
#[must_use]
pub fn all(policy: &Policy, facts: &Facts, inspection: &Inspection) -> Vec<Routed> {
    let class = policy.class(inspection.decision.class);
    let home =
        class.home.first().and_then(|name| policy.substrate_id(name.as_str())).and_then(|id| policy.substrate(id));
    let alike = |router, s: &Substrate| match (router, home) {
        (Router::Region, _) if facts.region.is_some() => {
            facts.region.is_some_and(|region| region.value == s.location.region.as_str())
        }
        (Router::Region, Some(home)) => home.location.region == s.location.region,
        (Router::Sku, Some(home)) => sku(home) == sku(s),
        (Router::Account, Some(home)) => home.account == s.account,
        _ => true,
    };
    let routed = |router| {
        let rows = inspection.rows.iter().filter(|r| policy.substrate(r.substrate).is_some_and(|s| alike(router, s)));
        let row = match router {
            Router::Latency => rows.min_by_key(|r| (r.total_us, -r.utility_pusd)),
            Router::Cost => rows.min_by_key(|r| (r.cost_uusd, -r.utility_pusd)),
            Router::Region | Router::Sku | Router::Account => rows.max_by_key(|r| r.utility_pusd),
        };
        let broken = row.map_or_else(Vec::new, |row: &Row| row.reasons.iter().map(|r| r.code).collect());
        Routed { router, choice: row.map(|row| row.substrate), broken }
    };
    Router::ALL.into_iter().map(routed).collect()
}

/// What a buyer would call it: the hardware label, or else the kind.
fn sku(substrate: &Substrate) -> &str {
    let hardware = substrate.labels.iter().find(|(key, _)| key == "hardware");
    hardware.map_or(substrate.kind.as_str(), |(_, value)| value)
}
