//! The short report that is checked in: one table a scenario with the routers that matter, and the goals.

use super::parts::parts;
use super::{Experiment, Report};
use crate::simulate::bounds::{Share, fluid};
use crate::simulate::experiment::Variant;
use crate::simulate::goals::{Goal, decimal, percent};
use crate::simulate::panel::{Entrant, Panel};
use crate::simulate::scenario::Scenario;

impl Report {
    /// The short report.
    #[must_use]
    pub fn markdown(&self) -> String {
        let all: Vec<String> = self.experiments.iter().map(Experiment::markdown).collect();
        self.goals() + &parts(&self.experiments) + &all.join("\n")
    }

    /// Scenarios by goals: met, or what is short. Nothing, where no goal can be seen.
    fn goals(&self) -> String {
        let all: Vec<(&str, Vec<Goal>)> =
            self.experiments.iter().map(|e| (e.setup.scenario.name.as_str(), e.goals())).collect();
        let mut columns: Vec<&str> = Vec::new();
        for goal in all.iter().flat_map(|(_, goals)| goals) {
            if !columns.contains(&goal.column) {
                columns.push(goal.column);
            }
        }
        if columns.is_empty() {
            return String::new();
        }
        let mut out =
            format!("### Goals\n\n| scenario | {} |\n| --- {}|\n", columns.join(" | "), "| --- ".repeat(columns.len()));
        for (name, goals) in &all {
            let cells: Vec<String> = columns.iter().map(|column| of(goals, column)).collect();
            out += &format!("| {name} | {} |\n", cells.join(" | "));
        }
        out + "\n"
    }
}

/// What became of the goals of one column.
fn of(goals: &[Goal], column: &str) -> String {
    let of: Vec<&Goal> = goals.iter().filter(|goal| goal.column == column).collect();
    let said = |goal: &&&Goal| {
        if goal.beyond { format!("out of reach: {}", goal.short) } else { format!("**{}**", goal.short) }
    };
    let missed: Vec<String> = of.iter().filter(|goal| !goal.met).map(|goal| said(&goal)).collect();
    match (of.len(), missed.len()) {
        (0, _) => "–".into(),
        (_, 0) => "met".into(),
        _ => missed.join(", "),
    }
}

impl Experiment {
    fn markdown(&self) -> String {
        let scenario = &self.setup.scenario;
        let panel = Panel::of(&self.results);
        let mut out = format!("### {}\n\n{}.", scenario.name, scenario.title);
        out += &format!(
            " Policy `{}`, scenario `{}`, tuned and written with seed {}.",
            self.policy, self.scenario_digest, scenario.seed
        );
        if self.results.seeds > 0 {
            let last = self.results.from + self.results.seeds - 1;
            out += &format!(" Means over the seeds {} to {last}.", self.results.from);
        }
        out += "\n\n| router | goodput | in faults | outside | $ per 1,000 good | p99 ms | queue p99 ms | max/mean | recovered |\n";
        out += "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        for entrant in panel.entrants.iter().filter(|e| tells(e.variant)) {
            out += &row(scenario, entrant);
        }
        out += &self.cells_of_the_sweep();
        out += &self.three_numbers();
        out += "\n";
        for goal in self.goals() {
            let (verdict, why) = match goal.met {
                true => (String::from("met"), String::new()),
                false => (format!("**{}**", goal.verdict()), format!(". {}", goal.why)),
            };
            out += &format!("* {verdict}: {} – {}{}\n", goal.wanted, goal.seen, why.trim_end_matches(". "));
        }
        out
    }

    fn cells_of_the_sweep(&self) -> String {
        let Some(first) = self.results.sweep.first() else { return String::new() };
        let names: Vec<&str> = first.runs.iter().map(|r| r.variant.router).collect();
        let mut out = format!(
            "\nMost loaded over the mean; computed: a fluid with a common picture, two choices and always the best:\n\n\
             | period | proxies | {} | *computed: two* | *computed: best* |\n",
            names.join(" | ")
        );
        out += &format!("| ---: | ---: {}| ---: | ---: |\n", "| ---: ".repeat(names.len()));
        for cell in &self.results.sweep {
            let ratios: Vec<String> = cell.runs.iter().map(|r| decimal(r.figures.imbalance_ppm, 2)).collect();
            let known = [Share::TwoChoices, Share::Best].map(|share| fluid(&self.setup, cell.period_ms, share));
            let [two, best] = known.map(|ppm| ppm.map_or_else(|| "–".into(), |ppm| decimal(ppm, 2)));
            let period = decimal(cell.period_ms * 1_000, 1);
            out += &format!("| {period} s | {} | {} | {two} | {best} |\n", cell.proxies, ratios.join(" | "));
        }
        out
    }

    fn three_numbers(&self) -> String {
        if self.results.capacity.is_empty() {
            return String::new();
        }
        let mut out = String::from("\n| router | floor ms | sustainable /s | recovers from three times, up to /s |\n");
        out += "| --- | ---: | ---: | ---: |\n";
        for c in &self.results.capacity {
            let rate = |mrps: u64| decimal(mrps * 1_000, 0);
            out += &format!(
                "| {} | {} | {} | {} |\n",
                c.variant.label(),
                c.floor_us / 1_000,
                rate(c.sustainable_mrps),
                rate(c.recovers_mrps)
            );
        }
        out
    }
}

/// Ours and its parts, each rival behind its list, the single-policy ones also as they are, and the ideal.
fn tells(variant: Variant) -> bool {
    variant.router.ends_with("-only") || variant.is_listed() || variant.tuning.is_none()
}

fn row(scenario: &Scenario, e: &Entrant) -> String {
    let cost = decimal(u64::try_from(e.cost_per_good_uusd()).unwrap_or(0) * 1_000, 3);
    let recovered = match (scenario.over_ms(), e.recovery_ms()) {
        (None, _) => "–".into(),
        (_, Some(ms)) => format!("{} s", ms / 1_000),
        (_, None) => "never".into(),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {recovered} |\n",
        e.variant.label(),
        percent(e.goodput_ppm()),
        e.fault_ppm().map_or_else(|| "–".into(), percent),
        e.outside(),
        cost,
        e.mean(|f| f.p99_us) / 1_000,
        e.mean(|f| f.queued_p99_us) / 1_000,
        decimal(e.mean(|f| f.imbalance_ppm), 2),
    )
}
