//! For a terminal.

use super::{COLUMNS, Experiment, Report, cells, recovered};
use crate::model::Border;
use crate::simulate::goals::{decimal, percent};

impl Report {
    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        self.experiments.iter().map(Experiment::text).collect::<Vec<_>>().join("\n")
    }
}

impl Experiment {
    fn text(&self) -> String {
        let scenario = &self.setup.scenario;
        let mut out = format!("{}: {}\n", scenario.name, scenario.title);
        out += &format!(
            "  scenario {} policy {} seed {} fingerprint {:016x}\n\n",
            self.scenario_digest,
            self.policy,
            scenario.seed,
            self.fingerprint()
        );
        let mut rows = vec![COLUMNS.iter().map(|c| String::from(*c)).chain(["recovered".into()]).collect::<Vec<_>>()];
        rows.extend(self.results.runs.iter().map(|r| cells(r).into_iter().chain([recovered(r)]).collect()));
        out += &table(&rows);
        out += &self.spillover();
        out += &self.fleets();
        out += &self.numbers();
        for goal in self.goals() {
            let verdict = if goal.met { "met".into() } else { goal.verdict().to_uppercase() };
            out += &format!("  {verdict:12} {}: {}\n", goal.wanted, goal.seen);
            if !goal.met && !goal.why.is_empty() {
                out += &format!("               {}\n", goal.why);
            }
        }
        out
    }

    fn spillover(&self) -> String {
        let Some(ours) = self.results.plain("berth") else { return String::new() };
        let crossed = Border::ALL.iter().zip(ours.spilled).map(|(b, n)| format!("{} {n}", b.as_str()));
        let whys = ours.whys.iter().map(|(why, n)| format!("{why} {n}"));
        let classes = self.setup.document.classes.iter().zip(&ours.by_class).filter(|(_, c)| c.offered > 0);
        let classes = classes.map(|(c, n)| format!("{} {}", c.name, percent(n.good * 1_000_000 / n.offered.max(1))));
        let [batch, standard, critical] = ours.shed;
        let join = |list: Vec<String>| list.join(", ");
        let mut out = format!("\n  berth: attempts across {}\n", join(crossed.collect()));
        out += &format!("  berth: goodput of {}\n", join(classes.collect()));
        out += &format!("  berth: refused batch {batch}, standard {standard}, critical {critical}");
        out += &format!(" ({})\n", if ours.whys.is_empty() { "none".into() } else { join(whys.collect()) });
        for (at_ms, substrate) in &ours.found {
            let name = self.setup.document.substrates.get(usize::from(*substrate)).map_or("?", |s| s.name.as_str());
            out += &format!("  berth: drift of {name} found from metrics after {} s\n", at_ms / 1_000);
        }
        out + "\n"
    }

    fn fleets(&self) -> String {
        let Some(first) = self.results.sweep.first() else { return String::new() };
        let head = |r: &crate::simulate::experiment::Run| r.variant.label();
        let mut rows =
            vec![["period s".into(), "proxies".into()].into_iter().chain(first.runs.iter().map(head)).collect()];
        for cell in &self.results.sweep {
            let ratios = cell.runs.iter().map(|r| decimal(r.figures.imbalance_ppm, 2));
            rows.push(
                [decimal(cell.period_ms * 1_000, 1), cell.proxies.to_string()].into_iter().chain(ratios).collect(),
            );
        }
        format!("  most loaded over the mean, by snapshot period and number of proxies\n{}\n", table(&rows))
    }

    fn numbers(&self) -> String {
        if self.results.capacity.is_empty() {
            return String::new();
        }
        let mut rows: Vec<Vec<String>> =
            vec!["router".into(), "floor ms".into(), "sustainable /s".into(), "recovers /s".into()]
                .into_iter()
                .collect::<Vec<String>>()
                .chunks(4)
                .map(<[String]>::to_vec)
                .collect();
        for c in &self.results.capacity {
            let rate = |mrps: u64| decimal(mrps * 1_000, 0);
            let floor = (c.floor_us / 1_000).to_string();
            rows.push(vec![c.variant.label(), floor, rate(c.sustainable_mrps), rate(c.recovers_mrps)]);
        }
        format!("  floor latency, sustainable throughput, recovery capacity\n{}\n", table(&rows))
    }
}

/// Columns as wide as they must be, the first to the left.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().filter_map(|r| r.get(at)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cell = |(at, (text, width)): (usize, (&String, &usize))| {
            if at == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
        };
        format!("  {}\n", cells.map(cell).collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
