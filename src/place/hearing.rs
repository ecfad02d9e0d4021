//! What one substrate's record says at a moment: readings with their age, old ones forgotten.

use super::picture::{ELSEWHERE, PLENTY};
use crate::model::{Admission, Circuit, Country, Freshness, Health, Signal, WHOLE_PPM, settings::Ages};

/// A record at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearing<'a> {
    health: Option<&'a Health>,
    /// Whether the snapshot itself is young enough for states that carry no time of their own.
    live: bool,
    now_ms: u64,
    snapshot_age_ms: u64,
    ages: Ages,
}

impl<'a> Hearing<'a> {
    pub(crate) const fn new(health: Option<&'a Health>, live: bool, now_ms: u64, age_ms: u64, ages: Ages) -> Self {
        Self { health, live, now_ms, snapshot_age_ms: age_ms, ages }
    }

    /// A value that is not too old. One from the future counts as new: clocks differ.
    pub(crate) fn value(&self, signal: Signal) -> Option<i64> {
        self.aged(signal).map(|(value, _)| value)
    }

    /// A value that is not too old, and how certain it still is: wholly up to the soft age, not at all at the hard.
    pub(crate) fn aged(&self, signal: Signal) -> Option<(i64, i64)> {
        let reading = self.health.filter(|_| self.live)?.reading(signal)?;
        let age = self.now_ms.saturating_sub(reading.at_ms);
        let (low, high) = signal.bounds();
        (age < self.ages.hard_ms).then(|| (reading.value.clamp(low, high), self.certainty_ppm(age)))
    }

    /// Whether a value was heard, and too long ago to count.
    pub(crate) fn has_faded(&self, signal: Signal) -> bool {
        self.health.filter(|_| self.live).and_then(|health| health.reading(signal)).is_some()
            && self.aged(signal).is_none()
    }

    /// How certain what the snapshot says still is.
    pub(crate) fn snapshot_certainty_ppm(&self) -> i64 {
        if self.live { self.certainty_ppm(self.snapshot_age_ms) } else { 0 }
    }

    fn certainty_ppm(&self, age_ms: u64) -> i64 {
        let (soft, hard) = (self.ages.soft_ms, self.ages.hard_ms);
        if age_ms <= soft {
            return WHOLE_PPM;
        }
        let left = u128::from(hard.saturating_sub(age_ms)) * WHOLE_PPM as u128;
        i64::try_from(left / u128::from(hard.saturating_sub(soft).max(1))).unwrap_or(WHOLE_PPM).min(WHOLE_PPM)
    }

    /// Requests in flight: the larger of what proxies and the substrate count. What waits there is in flight too.
    pub(crate) fn in_flight(&self) -> Option<i64> {
        let waiting = self.value(Signal::QueueDepth).unwrap_or(0);
        self.value(Signal::InFlight).max(self.value(Signal::Running).map(|running| running.saturating_add(waiting)))
    }

    /// The share of what was in flight when that was heard that has ended since, if each takes the whole time that answers
    /// are measured to take.
    pub(crate) fn ended_ppm(&self) -> u32 {
        let heard = [Signal::InFlight, Signal::Running].map(|signal| self.health.and_then(|h| h.reading(signal)));
        let Some(at_ms) = heard.into_iter().flatten().map(|reading| reading.at_ms).max() else { return 0 };
        let Some(whole_us) = self.value(Signal::Total).filter(|us| *us > 0) else { return 0 };
        let passed = i128::from(self.now_ms.saturating_sub(at_ms)) * 1_000 * i128::from(WHOLE_PPM);
        u32::try_from((passed / i128::from(whole_us)).min(i128::from(WHOLE_PPM))).unwrap_or(0)
    }

    pub(crate) fn circuit(&self) -> Circuit {
        self.health.filter(|_| self.live).map_or(Circuit::Closed, |h| h.circuit)
    }

    pub(crate) fn admission(&self) -> Admission {
        self.health.filter(|_| self.live).map_or(Admission::All, |h| h.admission)
    }

    /// How long it still asks to be left alone.
    pub(crate) fn retry_in_ms(&self) -> u64 {
        let until = self.health.filter(|_| self.live).and_then(|h| h.retry_at_ms).unwrap_or(0);
        until.saturating_sub(self.now_ms)
    }

    /// The age of an attestation of the declared country. It carries its own time: the snapshot's age is no matter.
    pub(crate) fn attested_ms(&self, declared: Option<Country>) -> i64 {
        match self.health.and_then(|h| h.attestation) {
            Some(proof) if Some(proof.jurisdiction) == declared => age(self.now_ms, proof.at_ms).min(ELSEWHERE - 1),
            Some(_) => ELSEWHERE,
            None => PLENTY,
        }
    }

    /// The age of the newest reading, however old.
    pub(crate) fn newest_ms(&self) -> i64 {
        let newest = self.health.and_then(|h| h.readings.iter().flatten().map(|r| r.at_ms).max());
        newest.map_or(PLENTY, |at| age(self.now_ms, at))
    }

    /// How fresh the newest is that was said of it; where nobody says anything, that its answers showed. Its load and
    /// its hosts the proxies always know: they are no news of it.
    pub(crate) fn freshness(&self) -> Freshness {
        let readings = self.health.into_iter().flat_map(|h| Signal::ALL.into_iter().zip(&h.readings));
        let known = readings.filter_map(|(signal, reading)| Some((signal, reading.as_ref()?.at_ms)));
        let news = known.filter(|(signal, _)| !matches!(signal, Signal::InFlight | Signal::Hosts));
        let newest = news.map(|(signal, at_ms)| (!signal.is_measured(), at_ms)).max();
        newest.map_or(Freshness::Stale, |(_, at_ms)| self.ages.freshness(self.now_ms.saturating_sub(at_ms)))
    }

    /// The share of its weight that a new or recovered substrate gets.
    pub(crate) fn ramp_ppm(&self, ramp_ms: u32, floor_ppm: u32) -> u32 {
        let whole = WHOLE_PPM as u32;
        let Some(since) = self.health.filter(|_| self.live).and_then(|h| h.since_ms) else { return whole };
        let elapsed = self.now_ms.saturating_sub(since);
        if elapsed >= u64::from(ramp_ms) {
            return whole;
        }
        let floor = u64::from(floor_ppm.min(whole));
        let risen = (u64::from(whole) - floor) * elapsed / u64::from(ramp_ms.max(1));
        u32::try_from(floor + risen).unwrap_or(whole)
    }

    pub(crate) fn share_ppm(&self) -> u32 {
        self.health.filter(|_| self.live).map_or(0, |h| h.share_ppm.min(WHOLE_PPM as u32))
    }
}

fn age(now_ms: u64, at_ms: u64) -> i64 {
    i64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(PLENTY)
}
