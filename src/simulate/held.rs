//! Other seeds: what routers do on arrivals that nobody was tuned on, and by which nobody was chosen.

use super::experiment::{Progress, Results, Run, Setup, Variant};
use super::goals::decimal;

/// How far the other seeds lie apart: nobody tries one of them by the way while writing a policy.
pub const FAR: u64 = 1_000;

/// One router over seeds that nobody was tuned or chosen on.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which.
    pub variant: Variant,
    /// Share answered in time on the seed that it was tuned on.
    pub trained_ppm: Option<u64>,
    /// The mean over the seeds of the share answered in time.
    pub goodput_ppm: u64,
    /// The same, seed by seed.
    pub each_ppm: Vec<u64>,
    /// The same of what one good answer costs.
    pub cost_per_good_uusd: i64,
    /// Attempts outside the envelope, on all of them.
    pub outside: u64,
}

impl Held {
    /// By how much it is better than another, seed by seed: where signs differ, neither is.
    #[must_use]
    pub fn against(&self, other: &Self) -> String {
        let each = self.each_ppm.iter().zip(&other.each_ppm).map(|(a, b)| {
            let sign = if a < b { '−' } else { '+' };
            format!("{sign}{}", decimal(a.abs_diff(*b) * 100, 2))
        });
        format!("Seed by seed, in points: {}.", each.collect::<Vec<_>>().join(", "))
    }
}

impl Setup {
    /// Plays ours, the tuned rivals and the ideal again with so many other seeds: who was best on one may have been lucky.
    pub fn hold(&self, results: &mut Results, seeds: u64, progress: Progress<'_>) {
        let counts = |r: &&Run| r.variant.is_listed() || matches!(r.variant.router, "berth" | "ideal");
        let runs: Vec<(Variant, Option<u64>)> =
            results.runs.iter().filter(counts).map(|r| (r.variant, r.trained_ppm)).collect();
        results.seeds = seeds;
        results.held =
            runs.into_iter().map(|(variant, trained)| self.held(variant, trained, seeds, progress)).collect();
    }

    fn held(&self, variant: Variant, trained_ppm: Option<u64>, seeds: u64, progress: Progress<'_>) -> Held {
        let mut other = self.clone();
        let (mut each_ppm, mut cost, mut outside) = (Vec::new(), 0, 0);
        for seed in 1..=seeds {
            other.scenario.seed = self.scenario.seed.wrapping_add(FAR * seed);
            let figures = other.run(variant, 1_000_000, progress).figures;
            each_ppm.push(figures.goodput_ppm);
            cost += figures.cost_per_good_uusd;
            outside += figures.outside();
        }
        let parts = seeds.max(1);
        Held {
            variant,
            trained_ppm,
            goodput_ppm: each_ppm.iter().sum::<u64>() / parts,
            each_ppm,
            cost_per_good_uusd: cost / i64::try_from(parts).unwrap_or(1),
            outside,
        }
    }
}
