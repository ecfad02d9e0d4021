//! The short report that is checked in: one table a scenario with the routers that matter, and the goals.

use super::{Experiment, Report, recovered};
use crate::simulate::experiment::Run;
use crate::simulate::goals::{Goal, decimal, percent};

impl Report {
    /// The short report.
    #[must_use]
    pub fn markdown(&self) -> String {
        let all: Vec<String> = self.experiments.iter().map(Experiment::markdown).collect();
        self.goals() + &all.join("\n")
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
        let mut out = format!("### {}\n\n{}.", scenario.name, scenario.title);
        out += &format!(" Seed {}, policy `{}`, scenario `{}`.\n\n", scenario.seed, self.policy, self.scenario_digest);
        out += "| router | goodput | in faults | outside | $ per 1,000 good | p99 ms | max/mean | recovered |\n";
        out += "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        for run in self.telling() {
            out += &row(run);
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

    /// Ours and its parts, each rival behind its list, the single-policy ones also as they are, and the ideal.
    fn telling(&self) -> impl Iterator<Item = &Run> {
        self.results.runs.iter().filter(|r| {
            let single = r.variant.router.ends_with("-only");
            single || r.variant.is_listed() || r.variant.tuning.is_none()
        })
    }

    fn cells_of_the_sweep(&self) -> String {
        let Some(first) = self.results.sweep.first() else { return String::new() };
        let names: Vec<&str> = first.runs.iter().map(|r| r.variant.router).collect();
        let mut out = format!("\nMost loaded over the mean:\n\n| period | proxies | {} |\n", names.join(" | "));
        out += &format!("| ---: | ---: {}|\n", "| ---: ".repeat(names.len()));
        for cell in &self.results.sweep {
            let ratios: Vec<String> = cell.runs.iter().map(|r| decimal(r.figures.imbalance_ppm, 2)).collect();
            out +=
                &format!("| {} s | {} | {} |\n", decimal(cell.period_ms * 1_000, 1), cell.proxies, ratios.join(" | "));
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

fn row(run: &Run) -> String {
    let f = &run.figures;
    let cost = decimal(u64::try_from(f.cost_per_good_uusd).unwrap_or(0) * 1_000, 3);
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
        run.variant.label(),
        percent(f.goodput_ppm),
        f.fault_ppm.map_or_else(|| "–".into(), percent),
        f.outside(),
        cost,
        f.p99_us / 1_000,
        decimal(f.imbalance_ppm, 2),
        recovered(run),
    )
}
