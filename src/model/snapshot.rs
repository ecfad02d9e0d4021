//! The health of all substrates at one instant, as the telemetry role publishes it and the placement role reads it.

use super::{Country, Signal, signal::SIGNALS};

/// A value and when it was heard (Unix time).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// In the signal's unit.
    pub value: i64,
    /// When it was heard.
    pub at_ms: u64,
}

/// A circuit's state. `Open` and `HalfOpen` carry the time at which that state ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    /// Work flows.
    #[default]
    Closed,
    /// No work until then.
    Open {
        /// When probing may begin.
        until_ms: u64,
    },
    /// A bounded number of probes, by the slot that holds the lease.
    HalfOpen {
        /// The slot that may probe.
        slot: u8,
        /// Probes allowed.
        probes: u8,
        /// When the lease ends.
        until_ms: u64,
    },
}

/// Whether a substrate takes new work, with hysteresis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Everything.
    #[default]
    All,
    /// Only sessions that are already there.
    Existing,
    /// Nothing.
    Closed,
}

/// A proof of where a substrate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// Where it says it is.
    pub jurisdiction: Country,
    /// When it was made (Unix time).
    pub at_ms: u64,
}

/// The health of one substrate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The substrate's name: a snapshot may come from another version of the policy.
    pub name: String,
    /// What was heard, by [`Signal`]; missing is not zero.
    pub readings: [Option<Reading>; SIGNALS],
    /// Its circuit.
    pub circuit: Circuit,
    /// Whether it takes new work.
    pub admission: Admission,
    /// The last attestation.
    pub attestation: Option<Attestation>,
    /// When it last came back or first appeared: the start of its ramp.
    pub since_ms: Option<u64>,
    /// Overloaded until then, by its own `retry-after`.
    pub retry_at_ms: Option<u64>,
    /// The share of placements it had in the previous interval.
    pub share_ppm: u32,
}

impl Health {
    /// A record that knows nothing yet.
    #[must_use]
    pub fn unknown(name: &str) -> Self {
        Self {
            name: String::from(name),
            readings: [None; SIGNALS],
            circuit: Circuit::Closed,
            admission: Admission::All,
            attestation: None,
            since_ms: None,
            retry_at_ms: None,
            share_ppm: 0,
        }
    }

    /// What was last heard of a signal.
    #[must_use]
    pub fn reading(&self, signal: Signal) -> Option<Reading> {
        self.readings.get(signal as usize).copied().flatten()
    }

    /// When the newest was said of it; where nobody says anything, when its answers showed it. Its load and its hosts
    /// the proxies always know: they are no news of it.
    #[must_use]
    pub fn news_at_ms(&self) -> Option<u64> {
        let readings = Signal::ALL.into_iter().zip(&self.readings);
        let known = readings.filter_map(|(signal, reading)| Some((signal, reading.as_ref()?.at_ms)));
        let news = known.filter(|(signal, _)| !matches!(signal, Signal::InFlight | Signal::Hosts));
        news.map(|(signal, at_ms)| (!signal.is_measured(), at_ms)).max().map(|(_, at_ms)| at_ms)
    }

    /// Puts a reading in place.
    pub fn set(&mut self, signal: Signal, reading: Reading) {
        if let Some(slot) = self.readings.get_mut(signal as usize) {
            *slot = Some(reading);
        }
    }

    /// Takes a reading away: it is not known any more.
    pub fn forget(&mut self, signal: Signal) {
        if let Some(slot) = self.readings.get_mut(signal as usize) {
            *slot = None;
        }
    }
}

/// The health of all substrates at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Who wrote it: the incarnation of the lease holder.
    pub writer: u64,
    /// Counts up with every published snapshot of a writer.
    pub epoch: u64,
    /// When it was folded (Unix time).
    pub at_ms: u64,
    /// Seconds over which `share_ppm` was counted, in milliseconds.
    pub interval_ms: u32,
    /// How many VMs take part: the divisor of probes and of shares.
    pub slots: u16,
    /// One record a substrate, in the writer's order.
    pub substrates: Vec<Health>,
}

impl Snapshot {
    /// The record of a substrate.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Health> {
        self.substrates.iter().find(|h| h.name == name)
    }
}

/// What this VM has placed and spent since the snapshot: the correction for what the snapshot cannot know.
/// All lists are by policy order; a shorter list stands for zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// This VM's slot.
    pub slot: u8,
    /// Requests placed on each substrate since the snapshot that are probably still under way.
    pub placed: Vec<u32>,
    /// Probes sent to each half-open substrate since the snapshot.
    pub probes: Vec<u8>,
    /// Reserved against each tenant budget since its window began.
    pub spent_uusd: Vec<i64>,
    /// Requests of a tenant in flight on a substrate, by the order in which the policy's `tenant_share` lines stand
    /// (substrates in order, lines in order), then its `keep_for_tenant` lines of tenants without a share there.
    pub tenant_placed: Vec<u32>,
}
