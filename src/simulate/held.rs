//! Other seeds: what routers do on arrivals that nobody was tuned, chosen or written on.

use super::experiment::{Progress, Results, Setup, Variant};
use super::figures::Figures;

/// Where the seeds that are held back begin.
pub const FROM: u64 = 1_001;

/// One router over seeds that nobody was tuned or chosen on.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which.
    pub variant: Variant,
    /// Share answered in time on the seed that it was tuned on.
    pub trained_ppm: Option<u64>,
    /// Seed by seed.
    pub figures: Vec<Figures>,
}

impl Setup {
    /// Plays all again with so many other seeds, from one on: who was best on one may have been lucky. Rivals that are no
    /// single-policy ones are judged behind their lists only.
    pub fn hold(&self, results: &mut Results, seeds: u64, from: u64, progress: Progress<'_>) {
        let counts = |v: &Variant| v.is_listed() || v.tuning.is_none() || v.router.ends_with("-only");
        let mut other = self.clone();
        let mut held = |variant: Variant, trained_ppm| {
            let figures = (from..from.saturating_add(seeds)).map(|seed| {
                other.scenario.seed = seed;
                other.run(variant, 1_000_000, progress).figures
            });
            Held { variant, trained_ppm, figures: figures.collect() }
        };
        let runs = results.runs.iter().filter(|r| counts(&r.variant));
        results.held = runs.map(|r| held(r.variant, r.trained_ppm)).collect();
        (results.seeds, results.from) = (seeds, from);
        if self.scenario.sweep.is_some() {
            other.scenario.seed = from;
            let variants: Vec<Variant> = results.runs.iter().map(|r| r.variant).collect();
            results.sweep = other.sweep(&variants, progress);
        }
    }
}
