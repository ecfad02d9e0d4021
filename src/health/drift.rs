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

    /// How far now is from usual, as a share of usual: more is slower.
    #[must_use]
    pub fn drift_ppm(&self) -> Option<i64> {
        let (now, usual) = (self.now()?, self.usual()?);
        (usual > 0).then(|| scale(now.saturating_sub(usual), WHOLE_PPM, usual))
    }

    /// When the last sample came.
    #[must_use]
    pub const fn at_ms(&self) -> Option<u64> {
        self.fast.at_ms()
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
    use super::{Swing, Trend};

    #[test]
    fn slow_degradation_shows_as_drift_and_fades_when_it_becomes_usual() {
        let mut trend = Trend::default();
        let mut at = 0;
        let mut run = |trend: &mut Trend, value: i64, seconds: u64| {
            for _ in 0..seconds {
                at += 1_000;
                trend.add(value, at);
            }
        };
        run(&mut trend, 100_000, 60);
        assert_eq!(trend.drift_ppm(), Some(0));
        run(&mut trend, 150_000, 15);
        let drift = trend.drift_ppm().unwrap();
        assert!((250_000..450_000).contains(&drift), "{drift}");
        run(&mut trend, 150_000, 600);
        assert!(trend.drift_ppm().unwrap() < 1_000);
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
