//! What goes wrong in a scenario, when, and whom it meets.

use crate::model::{Country, Name, Substrate};

/// What goes wrong, and when.
#[derive(Clone, Debug)]
pub struct Event {
    /// From when on.
    pub from_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// What happens.
    pub what: What,
    /// To whom; all, where it is empty.
    pub to: Vec<Target>,
    /// How much: a factor or a share, in parts per million.
    pub by_ppm: u64,
    /// Where to.
    pub country: Option<Country>,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Connections are refused.
    Down,
    /// Everything takes `by` times as long.
    Slow,
    /// It becomes slower little by little, up to `by` times.
    Drift,
    /// A share of answers are failures.
    Errors,
    /// The uplink drops: connections fail, what runs is lost.
    Cut,
    /// Prices are `by` times as high.
    Price,
    /// Out of service for a tenth of the time, then served from another country.
    Failover,
    /// No new proof of where it is.
    Lapse,
    /// Proxies hear nothing from substrates.
    Silence,
    /// What proxies hear is older, by `by` seconds.
    Delay,
    /// `by` times as many requests.
    Surge,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Down,
        Self::Slow,
        Self::Drift,
        Self::Errors,
        Self::Cut,
        Self::Price,
        Self::Failover,
        Self::Lapse,
        Self::Silence,
        Self::Delay,
        Self::Surge,
    ];

    /// The word used in scenarios.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Slow => "slow",
            Self::Drift => "drift",
            Self::Errors => "errors",
            Self::Cut => "cut",
            Self::Price => "price",
            Self::Failover => "failover",
            Self::Lapse => "lapse",
            Self::Silence => "silence",
            Self::Delay => "delay",
            Self::Surge => "surge",
        }
    }
}

/// Whom an event meets: a substrate, or all in a region or in a failure domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(pub Name);

impl Event {
    /// Whether it meets a substrate.
    #[must_use]
    pub fn meets(&self, s: &Substrate) -> bool {
        self.to.is_empty() || self.to.iter().any(|t| t.is(s))
    }
}

impl Target {
    /// Whether it is this substrate, or where it is.
    #[must_use]
    pub fn is(&self, s: &Substrate) -> bool {
        let at = &s.location;
        [&s.name, &at.region, &at.zone, &at.failure_domain].contains(&&self.0)
    }
}
