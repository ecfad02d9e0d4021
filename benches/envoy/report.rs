//! The record of a run: what was measured in which circumstances, and how it stands to the goals.

use crate::beside::Streams;
use crate::rounds::{Effort, Measured, Setting};
use crate::start::Starts;
use crate::stats::{Figure, difference, median, paired, quantile, ratio};
use crate::table::Table;
use crate::variants::Variant;

/// Everything of one run.
pub(crate) struct Run<'a> {
    pub(crate) variants: &'a [Variant],
    pub(crate) measured: Measured,
    pub(crate) effort: Effort,
    pub(crate) starts: Starts,
    pub(crate) pushes: Table,
    pub(crate) streams: Streams,
    pub(crate) telemetry: Table,
    /// What it ran on and with.
    pub(crate) envelope: Vec<(&'static str, String)>,
    /// Bytes of the placement module.
    pub(crate) module: u64,
}

/// One bar of the chart.
pub(crate) struct Bar {
    pub(crate) label: &'static str,
    pub(crate) tax: Figure,
}

impl Run<'_> {
    fn pairs(&self, id: &str, setting: Setting) -> Vec<Vec<f64>> {
        let variant = self.variants.iter().find(|v| v.id == id).unwrap();
        let series = |id| &self.measured[&(id, setting)];
        paired(series(variant.id), series(variant.base()))
    }

    /// The taxes without a hop.
    pub(crate) fn bars(&self) -> Vec<Bar> {
        let shown = self.variants.iter().filter(|v| v.id != v.base() && v.settings.contains(&Setting::NoHop));
        shown.map(|v| Bar { label: v.label, tax: difference(&self.pairs(v.id, Setting::NoHop)) }).collect()
    }

    fn requests(&self, setting: Setting) -> Table {
        let mut table = Table::new(&["variant", "CPU, µs", "quartiles", "tax, µs", "90 %", "alone p50, µs", "p99"]);
        for v in self.variants {
            let Some(series) = self.measured.get(&(v.id, setting)) else { continue };
            let all = series.sessions.concat();
            let Figure { value, low, high } = difference(&self.pairs(v.id, setting));
            let alone = |share| match quantile(&series.alone, share) {
                us if us.is_finite() => format!("{us:.0}"),
                _ => String::new(),
            };
            let beside = median(&series.beside.concat());
            let beside = if beside > 0.0 { format!(" + {beside:.1}") } else { String::new() };
            table.row(vec![
                v.label.into(),
                format!("{:.1}{beside}", median(&all)),
                format!("{:.1} to {:.1}", quantile(&all, 0.25), quantile(&all, 0.75)),
                if v.id == v.base() { "0".into() } else { format!("{value:.1}") },
                if v.id == v.base() { String::new() } else { format!("{low:.1} to {high:.1}") },
                alone(0.5),
                alone(0.99),
            ]);
        }
        table
    }

    fn goals(&self) -> Table {
        let mut table = Table::new(&["goal", "wanted", "measured", "90 %", "verdict"]);
        let mut most = |what: &str, figure: Figure, goal: f64, unit: &str| {
            judge(&mut table, what, figure, goal, unit, true);
        };
        use Setting::{NoHop, Proxied};
        let over = |a, b, setting| ratio(&self.pairs(a, setting), &self.pairs(b, setting));
        most("Berth by default ÷ Lua, equal outputs", over("default", "lua-equal", NoHop), 1.0, "");
        most("cluster header only ÷ Lua, bare decision", over("bare", "lua-bare", NoHop), 1.25, "");
        most("cluster header only ÷ SDK no-op", over("bare", "sdk", NoHop), 1.5, "");
        most("Berth by default ÷ SDK no-op", over("default", "sdk", NoHop), 2.2, "");
        most("512 substrates over 6", self.between("default-512", "default"), 6.0, " µs");
        most("live state over a static table", self.between("live", "default"), 0.5, " µs");
        let exact = |value| Figure { value, low: value, high: value };
        most("bytes of berth-placement.wasm", exact(self.module as f64 / 1e3), 300.0, " KB");
        most("memory over no filter, 1 worker", exact(self.starts.first_mib), 27.0, " MiB");
        most("memory of each further worker", exact(self.starts.further_mib), 4.0, " MiB");
        let percent = |us: f64| us / 10.0 / self.streams.whole_ms;
        let share = |f: Figure| Figure { value: percent(f.value), low: percent(f.low), high: percent(f.high) };
        most("a stream of 1,000 events, added", share(self.streams.berth), 1.0, " %");
        most("the same over a filter that makes its calls", share(self.streams.over), 1.0, " %");
        // What is left without accounting is what it does not cost: at most 35 % of the tax.
        judge(
            &mut table,
            "accounting off, full ÷ Berth by default",
            over("off-full", "default", NoHop),
            0.65,
            "",
            false,
        );
        for (what, setting, goal) in [("ext_proc ÷ Berth by default", NoHop, 7.0), ("the same, proxied", Proxied, 5.0)]
        {
            judge(&mut table, what, over("ext-proc", "default", setting), goal, "", false);
        }
        let alone = |id: &'static str| median(&self.measured[&(id, Proxied)].alone);
        let later = exact(alone("ext-proc") - alone("default"));
        judge(&mut table, "ext_proc's p50 alone over Berth's", later, 200.0, " µs", false);
        table
    }

    /// What one adds to another.
    fn between(&self, over: &'static str, under: &'static str) -> Figure {
        let series = |id| &self.measured[&(id, Setting::NoHop)];
        difference(&paired(series(over), series(under)))
    }

    /// The record as Markdown.
    pub(crate) fn text(&self) -> String {
        let e = self.effort;
        let envelope: String = self.envelope.iter().map(|(what, is)| format!("* {what}: {is}\n")).collect();
        format!(
            "# What a placement costs on a real Envoy\n\n\
             Written by `make bench-envoy`; [README.md](README.md) says what is measured and how to read it.\n\n\
             ![Taxes of all variants](envoy.svg)\n\n\
             {envelope}* {} sessions of {} rounds (proxied: {} sessions), {} requests of each variant a round, {} kept connections\n\n\
             ## Goals\n\n{}\n\
             ## A request that the proxy answers itself\n\n{}\n\
             ## A request with a hop\n\n{}\n\
             ## Start\n\n{}\n{}\n\
             ## A stream of 1,000 events\n\n\
             {}\n\
             ## Telemetry\n\n{}",
            e.sessions,
            e.rounds,
            e.proxied_sessions,
            e.requests,
            e.connections,
            self.goals(),
            self.requests(Setting::NoHop),
            self.requests(Setting::Proxied),
            self.starts.table,
            self.pushes,
            self.streams.text(),
            self.telemetry,
        )
    }
}

/// A line about a goal. Where the interval reaches over it, that is said.
fn judge(table: &mut Table, what: &str, figure: Figure, goal: f64, unit: &str, at_most: bool) {
    let Figure { value, low, high } = figure;
    let holds = |value: f64| if at_most { value <= goal } else { value >= goal };
    let verdict = match (holds(value), holds(low) == holds(high)) {
        (true, true) => "met",
        (true, false) => "met, not surely",
        (false, true) => "missed",
        (false, false) => "missed, not surely",
    };
    let digits = if unit == " KB" || value.abs() >= 100.0 { 0 } else { 2 };
    let range = if low == high { String::new() } else { format!("{low:.digits$} to {high:.digits$}") };
    table.row(vec![
        what.into(),
        format!("{} {goal}{unit}", if at_most { "≤" } else { "≥" }),
        format!("{value:.digits$}{unit}"),
        range,
        verdict.into(),
    ]);
}
