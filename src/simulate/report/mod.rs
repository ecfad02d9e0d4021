//! What came out, as text, as a short report in Markdown, as JSON and as one self-contained page.

mod html;
mod json;
mod markdown;
mod parts;
mod svg;
mod text;

use super::experiment::{Results, Setup};
use super::goals::{Goal, goals};
use super::random::mix;
use crate::model::{Border, Tier};

/// One scenario and what came out.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What it was made of.
    pub setup: Setup,
    /// The digest of the scenario's file.
    pub scenario_digest: String,
    /// The policy's name, version and digest.
    pub policy: String,
    /// The files of it, by name: the policy and the scenario, as they were read.
    pub files: Vec<(String, String)>,
    /// What came out.
    pub results: Results,
}

impl Experiment {
    /// The goals that it shows.
    #[must_use]
    pub fn goals(&self) -> Vec<Goal> {
        goals(&self.setup, &self.results)
    }

    /// A number that differs where any figure does.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let text = format!("{:?}{:?}{:?}", self.results.runs, self.results.sweep, self.results.capacity);
        text.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)))
    }
}

/// All scenarios of one invocation.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order in which they were given.
    pub experiments: Vec<Experiment>,
}

impl Report {
    /// How many goals were missed.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.experiments.iter().flat_map(Experiment::goals).filter(|goal| !goal.met).count()
    }
}

/// Names of the columns of a run.
pub(super) const COLUMNS: [&str; 14] = [
    "router",
    "goodput",
    "in faults",
    "outside",
    "late",
    "refused",
    "failed",
    "¢ per 100 good",
    "off home",
    "quality",
    "p50 ms",
    "p99 ms",
    "max/mean",
    "swings/min",
];

/// One run as cells.
pub(super) fn cells(run: &super::experiment::Run) -> Vec<String> {
    use super::goals::{decimal, percent};
    let f = &run.figures;
    let uusd = u64::try_from(f.cost_per_good_uusd).unwrap_or(0);
    vec![
        run.variant.label(),
        percent(f.goodput_ppm),
        f.fault_ppm.map_or_else(|| "–".into(), percent),
        f.outside().to_string(),
        f.late.to_string(),
        f.refused.to_string(),
        f.failed.to_string(),
        decimal(uusd * 10_000, 2),
        percent(f.off_home_ppm),
        decimal(f.quality_ppm, 3),
        (f.p50_us / 1_000).to_string(),
        (f.p99_us / 1_000).to_string(),
        decimal(f.imbalance_ppm, 2),
        decimal(f.swings_ppm, 0),
    ]
}

/// Names of the columns that say of which class, tier and border: the classes that asked come first.
pub(super) fn parts(experiment: &Experiment) -> Vec<String> {
    let asked = asked(experiment).map(|(class, _)| format!("{class} in time"));
    let tiers = Tier::ALL.map(|tier| format!("shed {}", tier.as_str()));
    let borders = Border::ALL.map(|border| format!("over {}", border.as_str()));
    let head = ["router".into()].into_iter().chain(asked).chain(tiers);
    head.chain(borders).chain(["egress $".into(), "max/mean p95".into()]).collect()
}

fn asked(experiment: &Experiment) -> impl Iterator<Item = (&str, usize)> {
    let counts = experiment.results.runs.first().map_or(&[][..], |r| &r.figures.by_class);
    let classes = experiment.setup.document.classes.iter().zip(counts).zip(0..);
    classes.filter(|((_, n), _)| n.offered > 0).map(|((class, _), at)| (class.name.as_str(), at))
}

/// One run as those cells.
pub(super) fn parts_of(experiment: &Experiment, run: &super::experiment::Run) -> Vec<String> {
    use super::goals::{decimal, percent};
    let f = &run.figures;
    let share = |(_, at): (&str, usize)| {
        f.by_class.get(at).map_or_else(String::new, |n| percent(n.good * 1_000_000 / n.offered.max(1)))
    };
    let shed = f.shed.iter().map(u64::to_string);
    let spilled = f.spilled.iter().map(u64::to_string);
    let egress = decimal(u64::try_from(f.egress_uusd).unwrap_or(0), 4);
    let head = [run.variant.label()].into_iter().chain(asked(experiment).map(share));
    head.chain(shed).chain(spilled).chain([egress, decimal(f.imbalance_p95_ppm, 2)]).collect()
}

/// When it recovered, in words.
pub(super) fn recovered(run: &super::experiment::Run) -> String {
    match (run.figures.recovery_ms, run.figures.recovers) {
        (Some(ms), _) => format!("{} s", ms / 1_000),
        (None, true) => "–".into(),
        (None, false) => "never".into(),
    }
}
