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

    /// The same, but the substrate's own count no further than it is certain beyond what proxies count.
    pub(crate) fn certain_in_flight(&self) -> Option<i64> {
        let own = self.value(Signal::InFlight);
        let Some((running, certainty_ppm)) = self.aged(Signal::Running) else { return own };
        let there = running.saturating_add(self.value(Signal::QueueDepth).unwrap_or(0));
        let beyond = there.saturating_sub(own.unwrap_or(0)).max(0).saturating_mul(certainty_ppm) / WHOLE_PPM;
        Some(own.unwrap_or(0).saturating_add(beyond))
    }

    /// How many of those in flight are probably still there: of each count, less what has ended since it was made, if each
    /// request takes the whole time that answers are measured to take. A count that is older than that says nothing of now.
    pub(crate) fn still_in_flight(&self) -> Option<i64> {
        let waiting = self.value(Signal::QueueDepth).unwrap_or(0);
        let own = self.value(Signal::InFlight).map(|n| self.left_of(n, Signal::InFlight));
        // Where nobody says what runs, what waits is in flight all the same.
        let queued = self.value(Signal::QueueDepth).map(|n| self.left_of(n, Signal::QueueDepth));
        let there = self.value(Signal::Running).map(|n| self.left_of(n.saturating_add(waiting), Signal::Running));
        own.max(there.or(queued))
    }

    fn left_of(&self, count: i64, signal: Signal) -> i64 {
        let at_ms = self.health.and_then(|h| h.reading(signal)).map_or(self.now_ms, |reading| reading.at_ms);
        let Some(whole_us) = self.value(Signal::Total).filter(|us| *us > 0) else { return count };
        let passed_us = i128::from(self.now_ms.saturating_sub(at_ms)) * 1_000;
        let ended = i128::from(count) * passed_us.min(i128::from(whole_us)) / i128::from(whole_us);
        count.saturating_sub(i64::try_from(ended).unwrap_or(count))
    }

    /// This proxy's part of what is in flight there; the whole where the substrate itself counts nothing.
    pub(crate) fn part_ppm(&self) -> u32 {
        let whole = WHOLE_PPM as u32;
        let (Some(own), Some(all)) = (self.value(Signal::InFlight), self.in_flight()) else { return whole };
        if self.value(Signal::Running).is_none() {
            return whole;
        }
        // One more on either side: who has nothing there yet may begin.
        let part = (i128::from(own) + 1) * i128::from(WHOLE_PPM) / (i128::from(all) + 1).max(1);
        u32::try_from(part).unwrap_or(whole).min(whole)
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

    /// The age of the newest news, however old.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.health.and_then(Health::news_at_ms).map_or(PLENTY, |at_ms| age(self.now_ms, at_ms))
    }

    /// How fresh the newest news is.
    pub(crate) fn freshness(&self) -> Freshness {
        let newest = self.health.and_then(Health::news_at_ms);
        newest.map_or(Freshness::Stale, |at_ms| self.ages.freshness(self.now_ms.saturating_sub(at_ms)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: Ages = Ages { soft_ms: 3_000, hard_ms: 10_000 };

    fn heard(health: &Health, now_ms: u64) -> Hearing<'_> {
        Hearing::new(Some(health), true, now_ms, 0, AGES)
    }

    #[test]
    fn a_share_grows_evenly_from_its_floor_to_the_whole() {
        let health = Health { since_ms: Some(1_000), ..Health::unknown("s") };
        let ramp = |now_ms| heard(&health, now_ms).ramp_ppm(10_000, 200_000);
        assert_eq!(
            [500, 1_000, 1_001, 6_000, 10_999, 11_000].map(ramp),
            [200_000, 200_000, 200_080, 600_000, 999_920, 1_000_000]
        );
        assert_eq!(heard(&health, 1_000).ramp_ppm(0, 200_000), 1_000_000, "no time to grow in");
        assert_eq!(heard(&health, 1_500).ramp_ppm(1_000, 2_000_000), 1_000_000, "a floor above the whole");
        assert_eq!(heard(&Health::unknown("s"), 0).ramp_ppm(10_000, 0), 1_000_000, "it was always there");
        assert_eq!(Hearing::new(Some(&health), false, 1_000, 0, AGES).ramp_ppm(10_000, 0), 1_000_000, "nobody knows");
    }

    #[test]
    fn what_is_said_grows_uncertain_between_the_two_ages_and_is_then_forgotten() {
        let mut health = Health::unknown("s");
        health.set(Signal::QueueDepth, crate::model::Reading { value: 7, at_ms: 20_000 });
        let said = |age_ms: u64| heard(&health, 20_000 + age_ms).aged(Signal::QueueDepth);
        let certain = [0, 3_000, 6_500, 9_999].map(said);
        assert_eq!(certain, [Some((7, 1_000_000)), Some((7, 1_000_000)), Some((7, 500_000)), Some((7, 142))]);
        assert_eq!((said(10_000), heard(&health, 30_000).has_faded(Signal::QueueDepth)), (None, true));
        assert!(!heard(&health, 29_999).has_faded(Signal::QueueDepth));
        assert!(!heard(&health, 30_000).has_faded(Signal::Running), "it was never said");
    }

    #[test]
    fn of_what_was_in_flight_as_much_has_ended_as_the_time_of_an_answer_has_passed() {
        let record = |readings: &[(Signal, i64, u64)]| {
            let mut health = Health::unknown("s");
            for (signal, value, at_ms) in readings {
                health.set(*signal, crate::model::Reading { value: *value, at_ms: *at_ms });
            }
            health
        };
        let still = |readings: &[(Signal, i64, u64)], now_ms| heard(&record(readings), now_ms).still_in_flight();
        let (busy, total) = ((Signal::InFlight, 1_000, 20_000), (Signal::Total, 2_000_000, 20_000));
        let all = [busy, total];
        let part = [20_000, 20_001, 20_500, 21_998, 22_000, 25_000].map(|now_ms| still(&all, now_ms));
        assert_eq!(part, [1_000, 1_000, 750, 1, 0, 0].map(Some));
        let there = [(Signal::Running, 1_500, 20_000), (Signal::QueueDepth, 500, 20_000)];
        assert_eq!(still(&[busy, total, there[0], there[1]], 21_000), Some(1_000), "what waits is there too");
        assert_eq!(
            still(&[(Signal::InFlight, 1_000, 21_000), total, there[0]], 21_500),
            Some(750),
            "each since it was counted"
        );
        assert_eq!(still(&all, 30_000), None, "what was in flight is forgotten");
        assert_eq!(still(&[busy], 21_000), Some(1_000), "nobody knows how long an answer takes");
        assert_eq!(still(&[busy, (Signal::Total, 0, 20_000)], 21_000), Some(1_000), "an answer that takes no time");
        assert_eq!(still(&[busy, (Signal::Total, 1, 20_000)], 20_001), Some(0));
        assert_eq!(still(&[total], 21_000), None, "nothing was in flight");
        assert_eq!(still(&[there[1]], 21_000), Some(500), "what waits is there whatever runs");
        let ppm = |readings: &[(Signal, i64, u64)]| heard(&record(readings), 20_000).part_ppm();
        assert_eq!(ppm(&[busy, (Signal::Running, 4_003, 20_000)]), 250_000, "with one more on either side");
        assert_eq!([ppm(&[busy]), ppm(&there), ppm(&[busy, (Signal::Running, 9, 20_000)])], [1_000_000; 3]);
        let certain = |readings: &[(Signal, i64, u64)], now_ms| heard(&record(readings), now_ms).certain_in_flight();
        let known = [(Signal::InFlight, 100, 23_500), there[0]];
        assert_eq!(certain(&known, 23_000), Some(1_500));
        assert_eq!(certain(&known, 26_500), Some(100 + 1_400 / 2), "half as certain");
        assert_eq!([certain(&known, 30_000), certain(&[busy], 20_000)], [Some(100), Some(1_000)]);
        let in_flight = |readings: &[(Signal, i64, u64)]| heard(&record(readings), 20_000).in_flight();
        assert_eq!(in_flight(&[busy]), Some(1_000));
        assert_eq!(in_flight(&[(Signal::QueueDepth, 7, 20_000)]), None, "a queue alone says nothing of what runs");
        assert_eq!(in_flight(&[busy, (Signal::Running, 1_005, 20_000), (Signal::QueueDepth, 7, 20_000)]), Some(1_012));
    }

    #[test]
    fn news_of_a_substrate_is_what_it_says_before_what_its_answers_show_and_never_its_load() {
        let fresh = |readings: &[(Signal, u64)]| {
            let mut health = Health::unknown("s");
            for (signal, age_ms) in readings {
                health.set(*signal, crate::model::Reading { value: 1, at_ms: 100_000 - age_ms });
            }
            (heard(&health, 100_000).freshness(), heard(&health, 100_000).newest_ms())
        };
        assert_eq!(fresh(&[]), (Freshness::Stale, PLENTY));
        assert_eq!(fresh(&[(Signal::QueueDepth, 100)]), (Freshness::Live, 100));
        assert_eq!(fresh(&[(Signal::QueueDepth, 5_000)]), (Freshness::Uncertain, 5_000));
        assert_eq!(fresh(&[(Signal::QueueDepth, 50_000), (Signal::FirstToken, 100)]), (Freshness::Stale, 50_000));
        assert_eq!(fresh(&[(Signal::FirstToken, 100)]), (Freshness::Live, 100));
        assert_eq!(fresh(&[(Signal::InFlight, 100), (Signal::Hosts, 100)]), (Freshness::Stale, PLENTY));
    }

    #[test]
    fn a_proof_is_as_old_as_it_is_and_one_of_elsewhere_is_none() {
        let here = Country::parse("FR");
        let proof = here.map(|jurisdiction| crate::model::Attestation { jurisdiction, at_ms: 5_000 });
        let health = Health { attestation: proof, ..Health::unknown("s") };
        assert_eq!(heard(&health, 7_000).attested_ms(here), 2_000);
        assert_eq!(heard(&health, 4_000).attested_ms(here), 0, "clocks differ");
        assert_eq!(heard(&health, 7_000).attested_ms(Country::parse("DE")), ELSEWHERE);
        assert_eq!(heard(&health, u64::MAX).attested_ms(here), ELSEWHERE - 1, "however old, it is of here");
        assert_eq!(heard(&Health::unknown("s"), 7_000).attested_ms(here), PLENTY);
    }

    #[test]
    fn where_nothing_is_in_flight_the_whole_is_ours_and_at_the_first_moment_nobody_is_to_be_left_alone() {
        let mut health = Health::unknown("s");
        for signal in [Signal::InFlight, Signal::Running] {
            health.set(signal, crate::model::Reading { value: 0, at_ms: 0 });
        }
        assert_eq!((heard(&health, 0).part_ppm(), heard(&health, 0).retry_in_ms()), (1_000_000, 0));
        health.retry_at_ms = Some(7);
        assert_eq!([0, 6, 7, 8].map(|now_ms| heard(&health, now_ms).retry_in_ms()), [7, 1, 0, 0]);
    }
}
