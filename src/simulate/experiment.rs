//! An experiment: every router over one scenario, as it is and behind an allow-list with its parameters tuned, and what else
//! the scenario asks for.

use super::arrivals::Line;
use super::figures::Figures;
use super::held::Held;
use super::router::{Ideal, Make, Ours, Part, Rival, Router, Rule, Tuning, grid};
use super::scenario::{Event, Fleet, Scenario, Shape, What};
use super::{START_MS, run};
use crate::model::Document;

/// What an experiment is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The scenario.
    pub scenario: Scenario,
    /// The policy.
    pub document: Document,
    /// Its digest.
    pub digest: [u8; 32],
    /// The trace, where the scenario names one.
    pub trace: Vec<Line>,
    /// Search parameters by grid, or take them as shipped.
    pub tunes: bool,
}

/// One router and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name.
    pub router: &'static str,
    /// Behind an allow-list, and how tuned; `None` for those that need none.
    pub tuning: Option<Tuning>,
}

impl Variant {
    /// Its name in tables.
    #[must_use]
    pub fn label(&self) -> String {
        match self.tuning {
            Some(t) if t.listed => format!("{} + list", self.router),
            _ => String::from(self.router),
        }
    }

    /// Whether it is a rival behind an allow-list.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.tuning.is_some_and(|t| t.listed)
    }
}

/// One run of one router.
#[derive(Clone, Debug)]
pub struct Run {
    /// Which.
    pub variant: Variant,
    /// What came out.
    pub figures: Figures,
    /// Share answered in time on the seed that it was tuned on.
    pub trained_ppm: Option<u64>,
}

/// Three numbers of one router.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Which.
    pub variant: Variant,
    /// Half of all answers come sooner while there is hardly any load.
    pub floor_us: u64,
    /// Requests per second, in thousandths, at which nineteen of twenty are still answered in time.
    pub sustainable_mrps: u64,
    /// Requests per second, in thousandths, at which it still recovers by itself from three times as many.
    pub recovers_mrps: u64,
}

/// One cell of a sweep.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The snapshot period.
    pub period_ms: u64,
    /// The number of proxies.
    pub proxies: u32,
    /// The runs.
    pub runs: Vec<Run>,
}

/// What came out of an experiment.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The runs of all routers.
    pub runs: Vec<Run>,
    /// Other fleets.
    pub sweep: Vec<Cell>,
    /// Three numbers of each router.
    pub capacity: Vec<Capacity>,
    /// Other seeds, and how many.
    pub held: Vec<Held>,
    /// How many other seeds.
    pub seeds: u64,
    /// The first of them.
    pub from: u64,
}

impl Results {
    /// The run of a router as it is.
    #[must_use]
    pub fn plain(&self, router: &str) -> Option<&Figures> {
        self.runs.iter().find(|r| r.variant.router == router && !r.variant.is_listed()).map(|r| &r.figures)
    }

    /// The run of a rival behind an allow-list.
    #[must_use]
    pub fn listed(&self, router: &str) -> Option<&Figures> {
        self.runs.iter().find(|r| r.variant.router == router && r.variant.is_listed()).map(|r| &r.figures)
    }
}

const RULES: [(&str, Rule); 10] = [
    ("latency-only", Rule::Latency),
    ("cost-only", Rule::Cost),
    ("region-only", Rule::Region),
    ("sku-only", Rule::Sku),
    ("account-only", Rule::Account),
    ("round-robin", Rule::RoundRobin),
    ("least-request", Rule::LeastRequest),
    ("two-choices", Rule::TwoChoices),
    ("locality-failover", Rule::Locality),
    ("scorers", Rule::Scorers),
];

const PARTS: [(&str, Part); 5] = [
    ("berth", Part::Nothing),
    ("berth-no-spread", Part::Spread),
    ("berth-no-freshness", Part::Freshness),
    ("berth-no-hysteresis", Part::Hysteresis),
    ("berth-thrifty", Part::Time),
];

/// Told what is being done and how far it is, in millionths.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64);

impl Setup {
    fn router(&self, variant: Variant) -> Box<dyn Router> {
        let fleet = self.scenario.fleet;
        if let Some((_, part)) = PARTS.iter().find(|(name, _)| *name == variant.router) {
            let document = self.document.clone();
            let make = Make { document, digest: self.digest, part: *part, fleet, alarm_ms: self.scenario.alarm_ms };
            return Box::new(Ours::new(make, START_MS));
        }
        let rule = RULES.iter().find(|(name, _)| *name == variant.router);
        match rule {
            Some((_, rule)) => {
                let tuning = variant.tuning.unwrap_or(Tuning::SHIPPED);
                Box::new(Rival::new(*rule, tuning, fleet.proxies, self.document.substrates.len()))
            }
            None => Box::new(Ideal),
        }
    }

    /// One run.
    pub fn run(&self, variant: Variant, scale_ppm: u64, progress: Progress<'_>) -> Run {
        let label = variant.label();
        let mut told = |done| progress(&label, done);
        let router = self.router(variant);
        let figures = run(&self.scenario, &self.document, router, &self.trace, scale_ppm, &mut told);
        Run { variant, figures, trained_ppm: None }
    }

    fn wanted(&self, name: &str) -> bool {
        self.scenario.routers.is_empty() || self.scenario.routers.iter().any(|r| r == name)
    }

    /// The best of the grid over the same scenario with another seed (the most goodput, then the least cost), and its
    /// share there.
    fn tuned(&self, router: &'static str, progress: Progress<'_>) -> (Variant, Option<u64>) {
        let listed = Tuning { listed: true, ..Tuning::SHIPPED };
        if !self.tunes {
            return (Variant { router, tuning: Some(listed) }, None);
        }
        let mut training = self.clone();
        training.scenario.seed = self.scenario.seed.wrapping_add(1_000_003);
        let mut rate = |tuning: Tuning| {
            let run = training.run(Variant { router, tuning: Some(tuning) }, 1_000_000, progress);
            (run.figures.good, core::cmp::Reverse(run.figures.cost_uusd), run.figures.goodput_ppm)
        };
        let mut best = (rate(listed), listed);
        for tuning in grid() {
            let rated = rate(tuning);
            if rated > best.0 {
                best = (rated, tuning);
            }
        }
        (Variant { router, tuning: Some(best.1) }, Some(best.0.2))
    }

    /// Everything that the scenario asks for.
    pub fn all(&self, progress: Progress<'_>) -> Results {
        let mut runs = Vec::new();
        let plain = |router| Variant { router, tuning: None };
        for (router, _) in PARTS.iter().filter(|(name, _)| self.wanted(name)) {
            runs.push(self.run(plain(router), 1_000_000, progress));
        }
        for (router, _) in RULES.iter().filter(|(name, _)| self.wanted(name)) {
            let shipped = Variant { router, tuning: Some(Tuning::SHIPPED) };
            runs.push(self.run(shipped, 1_000_000, progress));
            let (tuned, trained_ppm) = self.tuned(router, progress);
            runs.push(Run { trained_ppm, ..self.run(tuned, 1_000_000, progress) });
        }
        if self.wanted("ideal") {
            runs.push(self.run(plain("ideal"), 1_000_000, progress));
        }
        let variants: Vec<Variant> = runs.iter().map(|r| r.variant).collect();
        let sweep = self.sweep(&variants, progress);
        let capacity = self.capacities(&variants, progress);
        Results { runs, sweep, capacity, ..Results::default() }
    }

    pub(super) fn sweep(&self, variants: &[Variant], progress: Progress<'_>) -> Vec<Cell> {
        let Some(sweep) = &self.scenario.sweep else { return Vec::new() };
        let mut cells = Vec::new();
        for (&period_ms, &proxies) in sweep.periods_ms.iter().flat_map(|p| sweep.proxies.iter().map(move |n| (p, n))) {
            let mut setup = self.clone();
            setup.scenario.fleet = Fleet { period_ms, proxies, ..self.scenario.fleet };
            let runs = variants.iter().filter(|v| !v.is_listed());
            let runs = runs.map(|v| setup.run(*v, 1_000_000, progress)).collect();
            cells.push(Cell { period_ms, proxies, runs });
        }
        cells
    }

    fn capacities(&self, variants: &[Variant], progress: Progress<'_>) -> Vec<Capacity> {
        if !self.scenario.capacity {
            return Vec::new();
        }
        let wanted = variants.iter().filter(|v| v.is_listed() || v.router == "berth" || v.router == "ideal");
        wanted.map(|v| self.capacity(*v, progress)).collect()
    }

    /// Searched by halving between a twentieth and four times the scenario's load, to a fiftieth of it.
    fn capacity(&self, variant: Variant, progress: Progress<'_>) -> Capacity {
        let mut calm = self.clone();
        calm.scenario.events.clear();
        calm.scenario.load.shape = Shape::Poisson;
        let mut storm = calm.clone();
        let third = self.scenario.duration_ms / 3;
        storm.scenario.events.push(Event {
            from_ms: third,
            until_ms: third + 10_000,
            what: What::Surge,
            to: Vec::new(),
            by_ppm: 3_000_000,
            country: None,
        });
        let rate = |scale: u64| self.scenario.load.rate_mrps * scale / 1_000_000;
        let well = |run: &Run| run.figures.goodput_ppm >= 950_000;
        let back = |run: &Run| run.figures.recovers;
        let mut highest = |setup: &Self, holds: &dyn Fn(&Run) -> bool, least: u64, most: u64| {
            let (mut low, mut high) = (least, most);
            while high - low > 20_000 {
                let middle = (low + high) / 2;
                if holds(&setup.run(variant, middle, progress)) { low = middle } else { high = middle }
            }
            low
        };
        let sustainable = highest(&calm, &well, 50_000, 4_000_000);
        let recovers = highest(&storm, &back, 50_000, sustainable + 40_000);
        let floor_us = calm.run(variant, 50_000, progress).figures.p50_us;
        let recovers_mrps = rate(recovers);
        Capacity { variant, floor_us, sustainable_mrps: rate(sustainable), recovers_mrps }
    }
}
