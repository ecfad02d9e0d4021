//! What no single alert shows: a substrate that slowly leaves its own past, whose answers spread, whose queue swings.

use super::ewma::Average;
use super::heard::scale;
use crate::model::WHOLE_PPM;

/// Follows what happens now; published as the smoothed value.
pub const FAST_MS: u64 = 3_000;
/// Remembers what used to be.
pub const SLOW_MS: u64 = 60_000;

/// A fast and a slow average of the same thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trend {
    fast: Average,
    slow: Average,
}

impl Trend {
    /// Goes on from a value that another VM had reached.
    #[must_use]
    pub const fn resumed(value: i64, at_ms: u64) -> Self {
        Self { fast: Average::resumed(value, at_ms), slow: Average::resumed(value, at_ms) }
    }

    /// Takes a sample, or the mean of several that came together.
    pub fn add(&mut self, sample: i64, now_ms: u64) {
        self.fast.add(sample, now_ms, FAST_MS);
        self.slow.add(sample, now_ms, SLOW_MS);
    }

    /// The value now.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        self.fast.value()
    }

    /// The value that is usual.
    #[must_use]
    pub fn usual(&self) -> Option<i64> {
        self.slow.value()
    }

    /// When the last sample came.
    #[must_use]
    pub const fn at_ms(&self) -> Option<u64> {
        self.fast.at_ms()
    }
}

/// Over which time what happens lately is averaged: long enough that a few long prompts are no drift.
const LATELY_MS: u64 = 15_000;
/// How far back what used to be reaches: a drift that takes half an hour must not become usual meanwhile.
const PAST_MS: u64 = 3_600_000;
/// With less of a past than this nothing can be said to have left it.
const LEAST_PAST_MS: u64 = 60_000;

/// How far a substrate has left its own past. A young past is the plain mean of all there is, so that its first sample
/// weighs no more than others; and it ages only while answers come, so that the first after a silence does not overrule it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    lately: Average,
    past: Average,
    /// For how long answers have come.
    seen_ms: u64,
}

impl Drift {
    /// Goes on from a value that another VM had reached, and from how far it had drifted there.
    #[must_use]
    pub fn resumed(value: i64, drift_ppm: i64, at_ms: u64) -> Self {
        let whole = WHOLE_PPM.saturating_add(drift_ppm).max(1);
        let past = Average::resumed(scale(value, WHOLE_PPM, whole), PAST_MS);
        Self { lately: Average::resumed(value, at_ms), past, seen_ms: PAST_MS }
    }

    /// Takes a sample, or the mean of several that came together.
    pub fn add(&mut self, sample: i64, now_ms: u64) {
        let passed_ms = self.lately.at_ms().map_or(0, |at_ms| now_ms.saturating_sub(at_ms)).min(LATELY_MS);
        self.seen_ms = self.seen_ms.saturating_add(passed_ms);
        self.lately.add(sample, now_ms, LATELY_MS);
        self.past.add(sample, self.seen_ms, self.seen_ms.clamp(LATELY_MS, PAST_MS));
    }

    /// How far lately is from the past, as a share of it: more is slower. `None` as long as there is hardly any past.
    #[must_use]
    pub fn ppm(&self) -> Option<i64> {
        let (lately, past) = (self.lately.value()?, self.past.value()?);
        (past > 0 && self.seen_ms >= LEAST_PAST_MS).then(|| scale(lately.saturating_sub(past), WHOLE_PPM, past))
    }
}

/// How much of a queue's movement is to and fro.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swing {
    last: Option<i64>,
    level: Average,
    moved: Average,
    gained: Average,
}

/// Over which time a queue's movement is judged.
const SWING_MS: u64 = 30_000;

impl Swing {
    /// Takes the queue's depth.
    pub fn add(&mut self, depth: i64, now_ms: u64) {
        let step = self.last.map_or(0, |last| depth.saturating_sub(last)).saturating_mul(1_000);
        self.level.add(depth.saturating_mul(1_000), now_ms, SWING_MS);
        self.moved.add(step.saturating_abs(), now_ms, SWING_MS);
        self.gained.add(step, now_ms, SWING_MS);
        self.last = Some(depth);
    }

    /// Movement that led nowhere, as a share of the depth: a queue that fills and empties by its whole depth each time it
    /// is looked at swings by the whole.
    #[must_use]
    pub fn ppm(&self) -> Option<i64> {
        let idle = self.moved.value()?.saturating_sub(self.gained.value()?.saturating_abs()).max(0);
        Some(scale(idle, WHOLE_PPM, self.level.value()?.saturating_add(1_000).max(1)).min(WHOLE_PPM))
    }
}

#[cfg(test)]
mod tests {
    use super::{Drift, Swing};

    /// A minute's history of a value, then so many seconds of another: the drift at the end.
    fn drift_after(drift: &mut Drift, at_s: &mut u64, value: impl Fn(u64) -> i64, seconds: u64) -> Option<i64> {
        for _ in 0..seconds {
            *at_s += 1;
            drift.add(value(*at_s), *at_s * 1_000);
        }
        drift.ppm()
    }

    #[test]
    fn nothing_drifts_before_it_has_a_past() {
        let (mut drift, mut at) = (Drift::default(), 0);
        assert_eq!(drift_after(&mut drift, &mut at, |s| 100_000 + i64::try_from(s).unwrap() * 5_000, 60), None);
        assert!(drift_after(&mut drift, &mut at, |_| 400_000, 1).is_some());
    }

    #[test]
    fn a_drift_of_half_an_hour_is_seen_all_the_time_and_fades_when_it_has_become_usual() {
        let (mut drift, mut at) = (Drift::default(), 0);
        assert_eq!(drift_after(&mut drift, &mut at, |_| 100_000, 600), Some(0));
        // A twelfth of a per cent a second: nobody sees it from one second to the next.
        let slower = |s: u64| 100_000 + i64::try_from(s - 600).unwrap() * 83;
        let seen = [300, 300, 600, 600].map(|s| drift_after(&mut drift, &mut at, slower, s).unwrap());
        assert!(seen.is_sorted() && seen[0] > 150_000 && seen[3] > 500_000, "{seen:?}");
        let far = |_| 350_000;
        assert!((0..10).all(|_| drift_after(&mut drift, &mut at, far, 60).unwrap() > 500_000), "it stays: an alert");
        assert!(drift_after(&mut drift, &mut at, far, 36_000).unwrap() < 10_000);
    }

    #[test]
    fn single_long_answers_are_no_drift() {
        let (mut drift, mut at) = (Drift::default(), 0);
        // One in five takes three times as long.
        let mixed = |s: u64| if s.is_multiple_of(5) { 300_000 } else { 100_000 };
        let seen: Vec<i64> = (0..540).filter_map(|_| drift_after(&mut drift, &mut at, mixed, 1)).collect();
        assert!(seen.len() > 400 && seen.iter().all(|ppm| ppm.abs() < 250_000), "{:?}", seen.iter().max());
    }

    #[test]
    fn one_answer_after_a_silence_does_not_overrule_the_past() {
        let (mut drift, mut at) = (Drift::default(), 0);
        assert_eq!(drift_after(&mut drift, &mut at, |_| 100_000, 300), Some(0));
        at += 7_200;
        assert!(drift_after(&mut drift, &mut at, |_| 200_000, 1).unwrap() > 800_000);
    }

    #[test]
    fn who_takes_the_lease_over_knows_how_far_it_had_drifted() {
        let mut drift = Drift::resumed(150_000, 500_000, 9_000_000);
        drift.add(150_000, 9_001_000);
        assert!((499_000..=500_000).contains(&drift.ppm().unwrap()), "{:?}", drift.ppm());
        for drift_ppm in [i64::MIN, -1_000_000, i64::MAX] {
            Drift::resumed(i64::MAX, drift_ppm, 0).add(i64::MIN, u64::MAX);
        }
    }

    #[test]
    fn a_queue_that_swings_is_told_from_one_that_grows_and_one_that_stands() {
        let swing = |depth: fn(u64) -> i64| {
            let mut swing = Swing::default();
            (0..120).for_each(|i| swing.add(depth(i), i * 1_000));
            swing.ppm().unwrap()
        };
        let (swings, grows, stands) =
            (swing(|i| if i % 2 == 0 { 0 } else { 40 }), swing(|i| i64::try_from(i).unwrap()), swing(|_| 20));
        assert!(swings > 900_000, "{swings}");
        assert!(grows < 10_000, "{grows}");
        assert_eq!(stands, 0);
    }
}
