//! One self-contained page: no script, no request, readable in light and dark.

use super::svg::{Line, bars, lines};
use super::{COLUMNS, Experiment, Report, cells, parts, parts_of, recovered};
use crate::simulate::experiment::Run;
use crate::simulate::goals::{decimal, percent};
use crate::simulate::panel::Panel;
use std::fmt::Write;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2330;--paper:#fdfdfb;--faint:#d9dbe0;--fault:#f3e3d3;--bad:#b3261e;--good:#1b6e3c;
--c0:#0b57d0;--c1:#c2410c;--c2:#1b6e3c;--c3:#7c3aed;--c4:#a16207;--c5:#6b7280}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ec;--paper:#14171c;--faint:#343a44;--fault:#3a2c20;--bad:#ff8a80;--good:#7bd69b;
--c0:#8ab4f8;--c1:#ffab70;--c2:#7bd69b;--c3:#c4a7ff;--c4:#e5c46b;--c5:#9aa3b2}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:3rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem;display:block;overflow-x:auto}
th,td{padding:.2rem .55rem;border-bottom:1px solid var(--faint);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}tr.ours{font-weight:600}
svg{max-width:46rem;width:100%;display:block;margin:1rem 0}svg text{fill:var(--ink);font:11px system-ui,sans-serif}
.grid{stroke:var(--faint)}.fault{fill:var(--fault)}.line{fill:none;stroke-width:2}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}
.bar{stroke:none}.bar.c0{fill:var(--c0)}.bar.c5{fill:var(--c5)}
pre{overflow-x:auto;font-size:.8rem}
.met{color:var(--good)}.missed{color:var(--bad);font-weight:600}code{font-size:.85em}
";

impl Report {
    /// One self-contained page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut out = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        out += "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">";
        let _ = write!(
            out,
            "<title>Berth: simulation</title><style>{STYLE}</style></head><body><h1>Berth: simulation</h1>"
        );
        let _ = write!(
            out,
            "<p>berth {}; {} scenarios, {} goals missed. Made again with <code>berth simulate FILE … --report OUT</code>: the \
             same files and seeds give the same bytes.</p>",
            env!("CARGO_PKG_VERSION"),
            self.experiments.len(),
            self.missed()
        );
        self.experiments.iter().for_each(|e| e.html(&mut out));
        out + "</body></html>\n"
    }
}

impl Experiment {
    fn html(&self, out: &mut String) {
        let scenario = &self.setup.scenario;
        let fleet = scenario.fleet;
        let _ = write!(out, "<h2>{}</h2><p>{}</p>", scenario.name, escaped(&scenario.title));
        let _ = write!(
            out,
            "<p><small>scenario <code>{}</code>, policy <code>{}</code>, seed {}, {} s of which {} s warm-up, {} proxies of {} \
             workers, a snapshot every {} ms heard {} ms late, {} requests per second ({}), fingerprint \
             <code>{:016x}</code></small></p>",
            self.scenario_digest,
            escaped(&self.policy),
            scenario.seed,
            scenario.duration_ms / 1_000,
            scenario.warmup_ms / 1_000,
            fleet.proxies,
            fleet.workers,
            fleet.period_ms,
            fleet.delay_ms,
            decimal(scenario.load.rate_mrps * 1_000, 1),
            scenario.load.shape.as_str(),
            self.fingerprint()
        );
        out.push_str("<ul>");
        for goal in self.goals() {
            let class = if goal.met { "met" } else { "missed" };
            let why = if goal.met { "" } else { &goal.why };
            let _ = write!(
                out,
                "<li><span class=\"{class}\">{}</span> {}: {}<br><small>{}</small></li>",
                goal.verdict(),
                goal.wanted,
                escaped(&goal.seen),
                escaped(why)
            );
        }
        out.push_str("</ul>");
        self.plots(out);
        self.runs(out);
        self.sweep(out);
        self.capacity(out);
        self.held(out);
        self.parameters(out);
        self.files(out);
    }

    fn plots(&self, out: &mut String) {
        let shown = ["berth", "locality-failover", "scorers", "least-request", "sku-only", "ideal"];
        let of = |name: &&'static str| {
            let figures = self.results.listed(name).or(self.results.plain(name))?;
            Some(Line { name, values: &figures.timeline_ppm })
        };
        let found: Vec<Line<'_>> = shown.iter().filter_map(of).collect();
        let last = self.setup.scenario.duration_ms;
        let faults: Vec<(u64, u64)> =
            self.setup.scenario.events.iter().map(|e| (e.from_ms / 1_000, e.until_ms.min(last) / 1_000)).collect();
        out.push_str(
            "<h3>Answered in time, over time</h3><p><small>Rivals behind their allow-list; faults shaded.</small></p>",
        );
        out.push_str(&lines(&found, &faults));
        let ours = |name: &str| name.starts_with("berth");
        let row = |r: &Run| (r.variant.label(), r.figures.goodput_ppm, percent(r.figures.goodput_ppm));
        out.push_str("<h3>Answered in time</h3>");
        out.push_str(&bars(&self.results.runs.iter().map(row).collect::<Vec<_>>(), ours));
        let row = |r: &Run| (r.variant.label(), r.figures.outside(), r.figures.outside().to_string());
        out.push_str("<h3>Attempts outside the envelope</h3>");
        out.push_str(&bars(&self.results.runs.iter().map(row).collect::<Vec<_>>(), ours));
    }

    fn runs(&self, out: &mut String) {
        let head = COLUMNS.iter().map(|c| String::from(*c)).chain(["recovered".into()]);
        let rows = self.results.runs.iter().map(|r| cells(r).into_iter().chain([recovered(r)]).collect());
        table(out, &head.collect::<Vec<_>>(), rows);
        out.push_str("<h3>By class, tier and border</h3>");
        table(out, &parts(self), self.results.runs.iter().map(|r| parts_of(self, r)));
    }

    fn held(&self, out: &mut String) {
        if self.results.held.is_empty() {
            return;
        }
        out.push_str("<h3>Other seeds, which nobody was tuned or chosen on: goals are judged on these</h3>");
        let head = ["router", "tuned on", "mean", "seed by seed", "¢ per 100 good", "outside"].map(String::from);
        let panel = Panel::of(&self.results);
        let rows = panel.entrants.iter().map(|e| {
            let each: Vec<String> = e.runs.iter().map(|f| percent(f.goodput_ppm)).collect();
            let cost = decimal(u64::try_from(e.cost_per_good_uusd()).unwrap_or(0) * 10_000, 2);
            let trained = e.trained_ppm.map_or_else(|| "–".into(), percent);
            vec![e.variant.label(), trained, percent(e.goodput_ppm()), each.join(", "), cost, e.outside().to_string()]
        });
        table(out, &head, rows);
    }

    /// All that it takes to make it again.
    fn files(&self, out: &mut String) {
        for (name, text) in &self.files {
            let _ = write!(out, "<details><summary>{}</summary><pre>{}</pre></details>", escaped(name), escaped(text));
        }
    }

    fn sweep(&self, out: &mut String) {
        let Some(first) = self.results.sweep.first() else { return };
        out.push_str("<h3>Most loaded over the mean, by the age of snapshots and the number of proxies</h3>");
        let names = first.runs.iter().map(|r| r.variant.label());
        let head: Vec<String> = ["period s".into(), "proxies".into()].into_iter().chain(names).collect();
        let row = |c: &crate::simulate::experiment::Cell| {
            let ratios = c.runs.iter().map(|r| decimal(r.figures.imbalance_ppm, 2));
            [decimal(c.period_ms * 1_000, 1), c.proxies.to_string()].into_iter().chain(ratios).collect()
        };
        table(out, &head, self.results.sweep.iter().map(row));
    }

    fn capacity(&self, out: &mut String) {
        if self.results.capacity.is_empty() {
            return;
        }
        out.push_str("<h3>Floor latency, sustainable throughput, recovery capacity</h3>");
        let head = ["router", "floor ms", "sustainable /s", "recovers /s"].map(String::from);
        let rows = self.results.capacity.iter().map(|c| {
            let rate = |mrps: u64| decimal(mrps * 1_000, 0);
            vec![c.variant.label(), (c.floor_us / 1_000).to_string(), rate(c.sustainable_mrps), rate(c.recovers_mrps)]
        });
        table(out, &head, rows);
    }

    fn parameters(&self, out: &mut String) {
        out.push_str("<h3>Parameters found by grid search</h3>");
        let listed = self.results.runs.iter().filter(|r| r.variant.is_listed());
        let row = |r: &Run| {
            let (cool, taste) = r.variant.tuning.map_or((0, 0), |t| (t.cool_ms, t.taste));
            vec![r.variant.label(), cool.to_string(), taste.to_string()]
        };
        table(out, &["router", "cool-down ms", "taste"].map(String::from), listed.map(row));
    }
}

fn table(out: &mut String, head: &[String], rows: impl Iterator<Item = Vec<String>>) {
    out.push_str("<table><tr>");
    head.iter().for_each(|c| out.push_str(&format!("<th>{}</th>", escaped(c))));
    out.push_str("</tr>");
    for row in rows {
        let ours = row.first().is_some_and(|name| name.starts_with("berth"));
        out.push_str(if ours { "<tr class=\"ours\">" } else { "<tr>" });
        row.iter().for_each(|c| out.push_str(&format!("<td>{}</td>", escaped(c))));
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
