//! The short report that is checked in: one table a scenario with the routers that matter, and the goals.

use super::{Experiment, Report, recovered};
use crate::simulate::experiment::Run;
use crate::simulate::goals::{decimal, percent};

impl Report {
    /// The short report.
    #[must_use]
    pub fn markdown(&self) -> String {
        self.experiments.iter().map(Experiment::markdown).collect::<Vec<_>>().join("\n")
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
            out += &format!("* {}: {} – {}\n", if goal.met { "met" } else { "**missed**" }, goal.wanted, goal.seen);
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
