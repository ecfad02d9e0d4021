//! Averages that forget with time, not with the number of samples: after one time constant without a word, what came
//! before weighs a third.
//!
//! The weight of a new sample is `1 − e^(−Δt/τ)`, in parts per million, by integers only: `e^(−x) = 2^(−x·log₂e)`, whole halvings
//! as shifts and the rest by a cubic polynomial. The error is below 200 ppm of the whole (a test compares).

use super::heard::scale;
use crate::model::WHOLE_PPM;

/// Fraction bits of the exponent of two.
const Q: u32 = 20;
/// log₂e in that many bits.
const LOG2_E: u64 = 1_512_775;
/// Values are kept in 256ths, so that small differences are not lost to rounding.
const FINE: i64 = 256;

/// The weight of a sample that comes `dt_ms` after the last, for a time constant of `tau_ms`.
#[must_use]
pub fn weight_ppm(dt_ms: u64, tau_ms: u64) -> i64 {
    let tau = tau_ms.max(1);
    // Past twenty time constants nothing is left of the past.
    let dt = dt_ms.min(tau.saturating_mul(20));
    let exponent = u128::from(dt) * u128::from(LOG2_E) / u128::from(tau);
    let exponent = i64::try_from(exponent).unwrap_or(i64::MAX);
    let (halvings, f) = (exponent >> Q, exponent & ((1 << Q) - 1));
    // 2^(−f) for f in 0..1 as 1 − a·f + b·f² − c·f³, with 2^(−1) met exactly.
    let (a, b, c) = (692_900, 234_659, 41_759);
    let f1 = |k: i64| (k * f) >> Q;
    let power = WHOLE_PPM - f1(a - f1(b - f1(c)));
    let rest = if halvings >= 40 { 0 } else { power >> halvings };
    (WHOLE_PPM - rest).clamp(0, WHOLE_PPM)
}

/// An average that forgets with time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Average {
    fine: i64,
    at_ms: Option<u64>,
}

impl Average {
    /// An average that goes on from a value known from before.
    #[must_use]
    pub const fn resumed(value: i64, at_ms: u64) -> Self {
        Self { fine: value.saturating_mul(FINE), at_ms: Some(at_ms) }
    }

    /// Takes a sample, or the mean of several that came together.
    pub fn add(&mut self, sample: i64, now_ms: u64, tau_ms: u64) {
        let sample = sample.saturating_mul(FINE);
        match self.at_ms {
            None => self.fine = sample,
            Some(at_ms) => {
                let weight = weight_ppm(now_ms.saturating_sub(at_ms), tau_ms);
                let step = scale(sample.saturating_sub(self.fine), weight, WHOLE_PPM);
                self.fine = self.fine.saturating_add(step);
            }
        }
        self.at_ms = Some(now_ms);
    }

    /// The average; `None` before the first sample.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        self.at_ms.map(|_| scale(self.fine, 1, FINE))
    }

    /// When the last sample came.
    #[must_use]
    pub const fn at_ms(&self) -> Option<u64> {
        self.at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::{Average, weight_ppm};

    #[test]
    fn the_weight_is_within_200_ppm_of_the_exponential() {
        let mut worst: f64 = 0.0;
        for tau in [1_u64, 7, 1_000, 3_000, 60_000] {
            for dt in (0..tau * 25).step_by(usize::try_from(tau / 97 + 1).unwrap()) {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let exact = (1.0 - (-(dt as f64) / tau as f64).exp()) * 1e6;
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let error = (weight_ppm(dt, tau) as f64 - exact).abs();
                worst = worst.max(error);
            }
        }
        assert!(worst < 200.0, "off by {worst} ppm");
    }

    #[test]
    fn the_weight_is_total_and_grows_with_time() {
        assert_eq!(weight_ppm(0, 1_000), 0);
        assert_eq!(weight_ppm(u64::MAX, 0), 1_000_000);
        assert_eq!(weight_ppm(u64::MAX, u64::MAX), weight_ppm(1, 1));
        let weights: Vec<i64> = (0..20_000).map(|dt| weight_ppm(dt, 1_000)).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn an_average_follows_a_step_by_its_time_constant_however_often_it_is_fed() {
        for every in [10_u64, 100, 500] {
            let mut average = Average::default();
            average.add(100_000, 0, 3_000);
            for at in (every..=3_000).step_by(usize::try_from(every).unwrap()) {
                average.add(200_000, at, 3_000);
            }
            let value = average.value().unwrap();
            assert!((162_500..163_900).contains(&value), "every {every} ms: {value}");
        }
    }

    #[test]
    fn a_clock_that_jumps_back_holds_the_average_and_one_that_jumps_ahead_forgets_it() {
        let mut average = Average::resumed(100, 10_000);
        average.add(900, 5_000, 1_000);
        assert_eq!(average.value(), Some(100));
        average.add(900, 5_000_000, 1_000);
        assert_eq!(average.value(), Some(900));
        average.add(i64::MAX, 9_000_000, 1_000);
        average.add(i64::MIN, 9_000_001, 1_000);
    }
}
