//! Counts over a sliding window: a ring of time buckets, so that a burst and the same failures spread out over the
//! window count the same, and nothing is counted for ever.

use super::slot::Answers;
use crate::model::WHOLE_PPM;

const BUCKETS: u64 = 10;

/// Answers over a sliding window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    buckets: [Answers; BUCKETS as usize],
    /// The bucket of the last count, numbered since the epoch of time.
    newest: u64,
}

impl Window {
    /// Counts answers that came now.
    pub fn add(&mut self, answers: &Answers, now_ms: u64, window_ms: u32) {
        self.turn(now_ms, window_ms);
        let at = usize::try_from(self.newest % BUCKETS).unwrap_or(0);
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.add(answers);
        }
    }

    /// All that came within the window.
    pub fn sum(&mut self, now_ms: u64, window_ms: u32) -> Answers {
        self.turn(now_ms, window_ms);
        let mut sum = Answers::default();
        self.buckets.iter().for_each(|bucket| sum.add(bucket));
        sum
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets = [Answers::default(); BUCKETS as usize];
    }

    /// Empties the buckets that have left the window. A clock that jumps either way empties all of them.
    fn turn(&mut self, now_ms: u64, window_ms: u32) {
        let width = (u64::from(window_ms) / BUCKETS).max(1);
        let now = now_ms / width;
        if now < self.newest || now - self.newest >= BUCKETS {
            self.clear();
        } else {
            for step in self.newest..now {
                let at = usize::try_from((step + 1) % BUCKETS).unwrap_or(0);
                if let Some(bucket) = self.buckets.get_mut(at) {
                    *bucket = Answers::default();
                }
            }
        }
        self.newest = now;
    }
}

impl Answers {
    /// Those of another count as well.
    pub fn add(&mut self, other: &Self) {
        self.good = self.good.saturating_add(other.good);
        self.failed = self.failed.saturating_add(other.failed);
        self.overloaded = self.overloaded.saturating_add(other.overloaded);
        self.refused = self.refused.saturating_add(other.refused);
    }

    /// What is new since an earlier count.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            good: self.good.saturating_sub(earlier.good),
            failed: self.failed.saturating_sub(earlier.failed),
            overloaded: self.overloaded.saturating_sub(earlier.overloaded),
            refused: self.refused.saturating_sub(earlier.refused),
        }
    }

    /// Answers that say whether the substrate works.
    #[must_use]
    pub const fn telling(&self) -> u64 {
        self.good.saturating_add(self.failed)
    }

    /// Failures among those; `None` if there were none to tell.
    #[must_use]
    pub fn failure_ppm(&self) -> Option<u32> {
        share(self.failed, self.telling())
    }

    /// The same of at least so many: of three answers, two failures are two of those that would tell, not two thirds.
    #[must_use]
    pub fn failure_ppm_of(&self, least: u32) -> Option<u32> {
        if self.telling() == 0 { None } else { share(self.failed, self.telling().max(u64::from(least))) }
    }

    /// Overload answers among all that the substrate had a part in.
    #[must_use]
    pub fn overload_ppm(&self) -> Option<u32> {
        share(self.overloaded, self.telling().saturating_add(self.overloaded))
    }
}

/// A part of a whole; `None` of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<u32> {
    let ppm = u128::from(part) * u128::from(WHOLE_PPM.unsigned_abs());
    ppm.checked_div(u128::from(whole)).and_then(|ppm| u32::try_from(ppm).ok())
}

#[cfg(test)]
mod tests {
    use super::Window;
    use crate::health::slot::Answers;

    const FAILED: Answers = Answers { good: 0, failed: 1, overloaded: 0, refused: 0 };

    #[test]
    fn answers_leave_the_window_after_its_length_and_not_before() {
        let mut window = Window::default();
        window.add(&FAILED, 100_000, 10_000);
        assert_eq!(window.sum(108_999, 10_000).failed, 1);
        assert_eq!(window.sum(110_000, 10_000).failed, 0);
    }

    #[test]
    fn a_burst_and_the_same_failures_spread_out_count_the_same() {
        let (mut burst, mut spread) = (Window::default(), Window::default());
        for i in 0..20 {
            burst.add(&FAILED, 105_000, 10_000);
            spread.add(&FAILED, 100_000 + i * 450, 10_000);
        }
        assert_eq!(burst.sum(109_000, 10_000), spread.sum(109_000, 10_000));
    }

    #[test]
    fn a_clock_that_jumps_empties_the_window() {
        for jump in [0, 50_000, 200_000, u64::MAX] {
            let mut window = Window::default();
            window.add(&FAILED, 100_000, 10_000);
            assert_eq!(window.sum(jump, 10_000).failed, 0);
        }
        Window::default().add(&FAILED, 5, 0);
    }

    #[test]
    fn overload_is_not_failure_and_a_bad_request_is_neither() {
        let answers = Answers { good: 6, failed: 2, overloaded: 8, refused: 84 };
        assert_eq!(answers.failure_ppm(), Some(250_000));
        assert_eq!(answers.failure_ppm_of(20), Some(100_000), "two of the twenty that it takes to tell");
        assert_eq!(answers.failure_ppm_of(4), Some(250_000));
        assert_eq!(answers.overload_ppm(), Some(500_000));
        let refused = Answers { refused: 9, ..Answers::default() };
        assert_eq!((refused.failure_ppm(), refused.failure_ppm_of(20)), (None, None));
    }
}
