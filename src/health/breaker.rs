//! The circuit of a substrate. It opens after several failures in a row or too large a share of failures, stays open
//! for a time that doubles with each relapse and is jittered, then lets one VM at a time send a bounded number of probes.
//!
//! Overload is not failure, and a bad request is neither: a probe that is answered `429` found somebody alive.

use super::slot::Answers;
use crate::model::Circuit;
use crate::model::settings::Breaking;

/// How long one VM may probe before the next one is asked.
pub const PROBE_MS: u64 = 10_000;

/// What became of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opened.
    Opened,
    /// It is to be probed.
    Probing,
    /// It closed.
    Closed,
}

/// The circuit of one substrate, or of one failure domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    circuit: Circuit,
    /// Failures since the last good answer.
    streak: u64,
    /// How often it opened without having been closed for long.
    relapses: u8,
    closed_ms: u64,
}

/// What a circuit is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// Now.
    pub now_ms: u64,
    /// What came since the last look.
    pub fresh: Answers,
    /// What came within the window.
    pub window: Answers,
    /// Whatever differs from case to case: jitter comes of it.
    pub seed: u64,
    /// The VM that may probe next.
    pub prober: u8,
}

impl Breaker {
    /// Goes on from what another VM had reached.
    #[must_use]
    pub const fn resumed(circuit: Circuit) -> Self {
        let relapses = if matches!(circuit, Circuit::Closed) { 0 } else { 1 };
        Self { circuit, streak: 0, relapses, closed_ms: 0 }
    }

    /// The circuit now.
    #[must_use]
    pub const fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Judges by what has come since the last time; says what became of it.
    pub fn judge(&mut self, seen: &Evidence, rules: &Breaking) -> Option<Turn> {
        let Evidence { now_ms, fresh, .. } = *seen;
        match self.circuit {
            Circuit::Closed => {
                self.streak = if fresh.good > 0 { 0 } else { self.streak.saturating_add(fresh.failed) };
                self.is_tripped(&seen.window, rules).then(|| self.open(now_ms, seen.seed, rules))
            }
            Circuit::Open { until_ms } if now_ms < until_ms => {
                // Further away than it can have been set: the clock has jumped back.
                let most = longest(rules);
                if until_ms - now_ms > most {
                    self.circuit = Circuit::Open { until_ms: now_ms.saturating_add(most) };
                }
                None
            }
            Circuit::Open { .. } => Some(self.probe(now_ms, seen.prober, rules)),
            Circuit::HalfOpen { .. } if fresh.failed > 0 => Some(self.open(now_ms, seen.seed, rules)),
            Circuit::HalfOpen { .. } if fresh.good > 0 || fresh.overloaded > 0 => Some(self.close(now_ms)),
            Circuit::HalfOpen { until_ms, .. } => {
                // Nobody probed: somebody else's turn. Or the clock has jumped back: begin the turn again.
                let over = now_ms >= until_ms || until_ms - now_ms > PROBE_MS;
                over.then(|| self.probe(now_ms, seen.prober, rules))
            }
        }
    }

    fn is_tripped(&self, window: &Answers, rules: &Breaking) -> bool {
        let share = window.failure_ppm().is_some_and(|ppm| ppm >= rules.failure_ppm.max(1));
        self.streak >= u64::from(rules.consecutive.max(1))
            || (share && window.telling() >= u64::from(rules.least.max(1)))
    }

    /// Opens it, whatever it was.
    pub fn open(&mut self, now_ms: u64, seed: u64, rules: &Breaking) -> Turn {
        if matches!(self.circuit, Circuit::Closed) && now_ms.saturating_sub(self.closed_ms) > longest(rules) {
            self.relapses = 0;
        }
        let doubled = u64::from(rules.open_ms) << self.relapses.min(16);
        let cool = doubled.min(u64::from(rules.open_most_ms)).max(1);
        let jitter = cool.saturating_mul(u64::from(rules.jitter_ppm)) / 1_000_000;
        let jitter = mix(seed ^ now_ms).checked_rem(jitter.saturating_add(1)).unwrap_or(0);
        self.relapses = self.relapses.saturating_add(1);
        self.streak = 0;
        self.circuit = Circuit::Open { until_ms: now_ms.saturating_add(cool).saturating_add(jitter) };
        Turn::Opened
    }

    const fn probe(&mut self, now_ms: u64, slot: u8, rules: &Breaking) -> Turn {
        let probes = if rules.probes == 0 { 1 } else { rules.probes };
        self.circuit = Circuit::HalfOpen { slot, probes, until_ms: now_ms.saturating_add(PROBE_MS) };
        Turn::Probing
    }

    const fn close(&mut self, now_ms: u64) -> Turn {
        self.streak = 0;
        self.closed_ms = now_ms;
        self.circuit = Circuit::Closed;
        Turn::Closed
    }
}

/// The longest that a circuit stays open, jitter and all.
fn longest(rules: &Breaking) -> u64 {
    let most = u64::from(rules.open_most_ms);
    most.saturating_add(most.saturating_mul(u64::from(rules.jitter_ppm)) / 1_000_000)
}

/// A number that differs in every bit where its seed differs in one.
#[must_use]
pub fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
