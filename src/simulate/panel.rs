//! What goals are judged on: every router over the same seeds. Where seeds were held back those count, which nobody was tuned,
//! chosen or written on; otherwise the scenario's own.

use super::experiment::{Results, Variant};
use super::figures::Figures;
use super::goals::decimal;

/// One router over all seeds, in the same order as everybody.
#[derive(Clone, Debug)]
pub(super) struct Entrant<'a> {
    pub(super) variant: Variant,
    pub(super) trained_ppm: Option<u64>,
    pub(super) runs: Vec<&'a Figures>,
}

impl<'a> Entrant<'a> {
    /// A sum over all seeds.
    pub(super) fn sum(&self, of: impl Fn(&Figures) -> u64) -> u64 {
        self.runs.iter().map(|f| of(f)).sum()
    }

    pub(super) fn mean(&self, of: impl Fn(&Figures) -> u64) -> u64 {
        self.sum(of) / (self.runs.len() as u64).max(1)
    }

    pub(super) fn outside(&self) -> u64 {
        self.sum(Figures::outside)
    }

    pub(super) fn goodput_ppm(&self) -> u64 {
        self.sum(|f| f.good) * 1_000_000 / self.sum(|f| f.offered).max(1)
    }

    /// While faults last: the mean of the seeds.
    pub(super) fn fault_ppm(&self) -> Option<u64> {
        let all: Option<Vec<u64>> = self.runs.iter().map(|f| f.fault_ppm).collect();
        all.map(|all| all.iter().sum::<u64>() / (all.len() as u64).max(1))
    }

    pub(super) fn cost_uusd(&self) -> i64 {
        self.runs.iter().map(|f| f.cost_uusd).sum()
    }

    pub(super) fn cost_per_good_uusd(&self) -> i64 {
        self.cost_uusd() / i64::try_from(self.sum(|f| f.good).max(1)).unwrap_or(i64::MAX)
    }

    /// Half of the seeds are back sooner; those that never are come last.
    pub(super) fn recovery_ms(&self) -> Option<u64> {
        let mut all: Vec<u64> = self.runs.iter().map(|f| f.recovery_ms.unwrap_or(u64::MAX)).collect();
        all.sort_unstable();
        all.get(all.len().saturating_sub(1) / 2).copied().filter(|ms| *ms < u64::MAX)
    }

    /// Seed by seed beside another.
    pub(super) fn beside<'b>(&'b self, other: &'b Self) -> impl Iterator<Item = (&'a Figures, &'a Figures)> + 'b {
        self.runs.iter().copied().zip(other.runs.iter().copied())
    }

    /// The difference of something between this and another, seed by seed.
    pub(super) fn less(&self, other: &Self, of: impl Fn(&Figures) -> u64) -> Difference {
        let signed = |f: &Figures| i64::try_from(of(f)).unwrap_or(i64::MAX);
        Difference::of(&self.beside(other).map(|(a, b)| signed(a) - signed(b)).collect::<Vec<_>>())
    }
}

/// Everybody.
#[derive(Clone, Debug)]
pub(super) struct Panel<'a> {
    pub(super) entrants: Vec<Entrant<'a>>,
}

impl<'a> Panel<'a> {
    pub(super) fn of(results: &'a Results) -> Self {
        let held = results.held.iter().map(|h| Entrant {
            variant: h.variant,
            trained_ppm: h.trained_ppm,
            runs: h.figures.iter().collect(),
        });
        let own = results.runs.iter().map(|r| Entrant {
            variant: r.variant,
            trained_ppm: r.trained_ppm,
            runs: vec![&r.figures],
        });
        Self { entrants: if results.held.is_empty() { own.collect() } else { held.collect() } }
    }

    /// How many seeds.
    pub(super) fn seeds(&self) -> usize {
        self.entrants.first().map_or(0, |e| e.runs.len())
    }

    /// A router as it is.
    pub(super) fn plain(&self, router: &str) -> Option<&Entrant<'a>> {
        self.entrants.iter().find(|e| e.variant.router == router && !e.variant.is_listed())
    }

    /// A rival behind an allow-list.
    pub(super) fn listed(&self, router: &str) -> Option<&Entrant<'a>> {
        self.entrants.iter().find(|e| e.variant.router == router && e.variant.is_listed())
    }

    /// Rivals behind an allow-list that kept the envelope with every seed.
    pub(super) fn feasible(&self) -> impl Iterator<Item = &Entrant<'a>> {
        self.entrants.iter().filter(|e| e.variant.is_listed() && e.outside() == 0)
    }
}

/// Student's t for an interval of 95 %, in thousandths, by degrees of freedom from one on.
const STUDENT: [u64; 30] = [
    12_706, 4_303, 3_182, 2_776, 2_571, 2_447, 2_365, 2_306, 2_262, 2_228, 2_201, 2_179, 2_160, 2_145, 2_131, 2_120,
    2_110, 2_101, 2_093, 2_086, 2_080, 2_074, 2_069, 2_064, 2_060, 2_056, 2_052, 2_048, 2_045, 2_042,
];

/// The mean of differences over seeds, whose arrivals are the same for both, and how far the truth may be from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) mean: i64,
    /// Half the interval that holds the true mean nineteen times of twenty; `None` of one seed.
    pub(super) half: Option<u64>,
}

impl Difference {
    fn of(all: &[i64]) -> Self {
        let n = i64::try_from(all.len()).unwrap_or(i64::MAX).max(1);
        let mean = all.iter().sum::<i64>() / n;
        let degrees = all.len().saturating_sub(1);
        let Some(last) = degrees.checked_sub(1) else { return Self { mean, half: None } };
        let t = STUDENT.get(last).copied().unwrap_or(2_000);
        let squares: u128 = all.iter().map(|d| u128::from(d.abs_diff(mean)).pow(2)).sum();
        // The deviation of the mean: squares over the degrees of freedom and over the number.
        let error = (squares * 1_000_000 / degrees as u128 / all.len() as u128).isqrt();
        Self { mean, half: Some(u64::try_from(error).unwrap_or(u64::MAX) / 1_000 * t / 1_000 + 1) }
    }

    /// Whether it is told apart from nothing.
    pub(super) fn is_sure(&self) -> bool {
        self.half.is_some_and(|half| self.mean.unsigned_abs() > half)
    }

    /// In hundredths, of millionths.
    pub(super) fn points(&self) -> String {
        let sign = if self.mean < 0 { '−' } else { '+' };
        let half = self.half.map_or_else(String::new, |half| format!(" ± {}", decimal(half * 100, 2)));
        format!("{sign}{}{half}", decimal(self.mean.unsigned_abs() * 100, 2))
    }
}

#[cfg(test)]
mod tests {
    use super::Difference;

    #[test]
    fn an_interval_is_students() {
        // Mean 3, deviation 1.5811, of the mean 0.7071, t of four degrees 2.776.
        let of = Difference::of(&[1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
        assert_eq!(of.mean, 3_000_000);
        assert!(of.half.unwrap().abs_diff(1_962_930) < 3_000, "{of:?}");
        assert!(of.is_sure());
        assert!(!Difference::of(&[1, -1, 2, -2]).is_sure());
        assert_eq!(Difference::of(&[7]), Difference { mean: 7, half: None });
    }
}
