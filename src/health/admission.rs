//! Whether a substrate takes new work, by how near it is to the thresholds of its kind. Entering and leaving have
//! different thresholds, need several samples in a row and a least time in between, so that nothing flaps.

use super::heard::scale;
use crate::model::settings::{Breaking, Thresholds};
use crate::model::{Admission, Health, Reading, Signal, WHOLE_PPM};

/// The admission of one substrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    admission: Admission,
    bad: u8,
    good: u8,
    since_ms: u64,
    /// The newest reading that was judged: the same one twice is one sample.
    judged_ms: u64,
}

impl Gate {
    /// Goes on from what another VM had reached.
    #[must_use]
    pub const fn resumed(admission: Admission, since_ms: u64) -> Self {
        Self { admission, bad: 0, good: 0, since_ms, judged_ms: 0 }
    }

    /// The admission now.
    #[must_use]
    pub const fn admission(&self) -> Admission {
        self.admission
    }

    /// Judges by what is known now. Values past `hard_ms` are unknown, and the unknown closes nothing.
    pub fn judge(&mut self, health: &Health, limits: &Thresholds, rules: &Breaking, now_ms: u64, hard_ms: u64) {
        let Some((pressure, at_ms)) = pressure(health, limits, now_ms, hard_ms) else {
            if self.admission != Admission::All {
                self.turn(Admission::All, now_ms);
            }
            return;
        };
        if at_ms == self.judged_ms {
            return;
        }
        self.judged_ms = at_ms;
        let (enter, exit) = (i64::from(rules.enter_ppm), i64::from(rules.exit_ppm));
        self.bad = if pressure >= enter { self.bad.saturating_add(1) } else { 0 };
        self.good = if pressure < exit { self.good.saturating_add(1) } else { 0 };
        let worse = if pressure >= WHOLE_PPM { Admission::Closed } else { Admission::Existing };
        let least = if self.admission == Admission::Closed { rules.hold_down_ms } else { rules.dwell_ms };
        // A clock that jumped back makes no hold-down longer than it is.
        let rested = now_ms < self.since_ms || now_ms - self.since_ms >= u64::from(least);
        if self.bad >= rules.bad_samples.max(1) && worse > self.admission {
            self.turn(worse, now_ms);
        } else if self.good >= rules.good_samples.max(1) && self.admission != Admission::All && rested {
            self.turn(Admission::All, now_ms);
        }
    }

    const fn turn(&mut self, to: Admission, now_ms: u64) {
        (self.admission, self.since_ms, self.bad, self.good) = (to, now_ms, 0, 0);
    }
}

/// How near the nearest threshold is (the whole: reached), and the newest reading that counted. `None`: nothing known.
#[must_use]
pub fn pressure(health: &Health, limits: &Thresholds, now_ms: u64, hard_ms: u64) -> Option<(i64, u64)> {
    let most = [
        (Signal::QueueDepth, limits.queue_depth),
        (Signal::MemoryPressure, limits.memory_hard_ppm),
        (Signal::Interconnect, limits.interconnect_ppm),
        (Signal::RackCongestion, limits.rack_ppm),
        (Signal::EastWest, limits.east_west_ppm),
        (Signal::FailureRate, limits.failure_ppm),
    ];
    let least = [
        (Signal::PowerHeadroom, limits.power_headroom_ppm),
        (Signal::CoolingHeadroom, limits.cooling_headroom_ppm),
        (Signal::Link, limits.link_ppm),
        (Signal::RateRemaining, limits.rate_remaining),
    ];
    let known = |signal| health.reading(signal).filter(|r: &Reading| now_ms.saturating_sub(r.at_ms) < hard_ms);
    let near = |(signal, limit): (Signal, Option<u32>), turned: bool| {
        let (reading, limit) = (known(signal)?, i64::from(limit?));
        let (part, whole) = if turned { (limit, reading.value) } else { (reading.value, limit) };
        // Nothing left of what must be left, or anything at all where nothing may be: reached.
        let ppm = if whole <= 0 { WHOLE_PPM * i64::from(part > 0) } else { scale(part, WHOLE_PPM, whole) };
        Some((ppm, reading.at_ms))
    };
    let all = most.into_iter().filter_map(|m| near(m, false)).chain(least.into_iter().filter_map(|l| near(l, true)));
    all.reduce(|(a, at), (b, bt)| (a.max(b), at.max(bt)))
}
