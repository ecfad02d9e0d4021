//! What Berth sets out to reach, held against what came out.

use super::experiment::{Cell, Results, Run, Setup};
use super::figures::Figures;

/// One goal and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// What is wanted.
    pub wanted: &'static str,
    /// Whether it was reached.
    pub met: bool,
    /// By how much.
    pub seen: String,
}

/// A number of millionths with so many places.
#[must_use]
pub fn decimal(ppm: u64, places: u32) -> String {
    let unit = 10_u64.pow(6_u32.saturating_sub(places));
    let rounded = (ppm + unit / 2) / unit;
    let one = 10_u64.pow(places);
    match places {
        0 => rounded.to_string(),
        _ => format!("{}.{:0width$}", rounded / one, rounded % one, width = places as usize),
    }
}

/// A share in percent.
#[must_use]
pub fn percent(ppm: u64) -> String {
    format!("{} %", decimal(ppm * 100, 1))
}

/// What is compared: a policy that several countries and accounts are under breaks rules; equals have none to break.
const SINGLE: [&str; 5] = ["latency-only", "cost-only", "region-only", "sku-only", "account-only"];

/// All goals that a scenario can show.
#[must_use]
pub fn goals(setup: &Setup, results: &Results) -> Vec<Goal> {
    let Some(ours) = results.plain("berth") else { return Vec::new() };
    let mut goals = vec![Goal {
        wanted: "no attempt outside the envelope",
        met: ours.outside() == 0,
        seen: format!("{} of {}", ours.outside(), ours.attempts),
    }];
    let ruled = setup.document.envelopes.len() > 1;
    goals.extend(ruled.then(|| singles(results)).flatten());
    goals.extend(goodput(results, ours));
    goals.extend(faults(results, ours));
    goals.extend(cost(results, ours));
    goals.extend(recovery(setup, results, ours));
    goals.extend(results.sweep.iter().filter_map(staleness));
    goals
}

fn singles(results: &Results) -> Option<Goal> {
    let outside: Vec<(&str, u64)> =
        SINGLE.iter().filter_map(|name| Some((*name, results.plain(name)?.outside()))).collect();
    let said: Vec<String> = outside.iter().map(|(name, n)| format!("{name} {n}")).collect();
    let all = outside.iter().all(|(_, n)| *n > 0);
    (!outside.is_empty()).then(|| Goal {
        wanted: "every single-policy router as it is breaks the envelope",
        met: all,
        seen: said.join(", "),
    })
}

/// Rivals behind an allow-list that kept the envelope.
fn feasible(results: &Results) -> impl Iterator<Item = &Run> {
    results.runs.iter().filter(|r| r.variant.is_listed() && r.figures.outside() == 0)
}

fn goodput(results: &Results, ours: &Figures) -> Option<Goal> {
    let best = feasible(results).max_by_key(|r| r.figures.goodput_ppm)?;
    Some(Goal {
        wanted: "goodput at least that of the best feasible rival",
        met: ours.goodput_ppm >= best.figures.goodput_ppm,
        seen: format!(
            "{} against {} ({})",
            percent(ours.goodput_ppm),
            percent(best.figures.goodput_ppm),
            best.variant.label()
        ),
    })
}

fn faults(results: &Results, ours: &Figures) -> Option<Goal> {
    let mesh = results.listed("locality-failover")?.fault_ppm?;
    let (ours, mesh) = (ours.fault_ppm?, mesh.max(1));
    let ratio = ours * 1_000_000 / mesh;
    Some(Goal {
        wanted: "under faults, 1.3 times the goodput of the mesh's locality failover",
        met: ratio >= 1_300_000,
        seen: format!("{} times: {} against {}", decimal(ratio, 2), percent(ours), percent(mesh)),
    })
}

fn cost(results: &Results, ours: &Figures) -> Option<Goal> {
    let cheapest = feasible(results).min_by_key(|r| r.figures.cost_per_good_uusd)?;
    Some(Goal {
        wanted: "a good answer costs at most what it costs the cheapest that keeps the envelope",
        met: ours.cost_per_good_uusd <= cheapest.figures.cost_per_good_uusd,
        seen: format!(
            "{} against {} micro-dollars ({}, goodput {})",
            ours.cost_per_good_uusd,
            cheapest.figures.cost_per_good_uusd,
            cheapest.variant.label(),
            percent(cheapest.figures.goodput_ppm)
        ),
    })
}

/// A second is the grain of recovery: what the ideal does in less counts as one.
fn recovery(setup: &Setup, results: &Results, ours: &Figures) -> Option<Goal> {
    setup.scenario.over_ms()?;
    let ideal = results.plain("ideal")?;
    let seconds = |f: &Figures| f.recovery_ms.map_or_else(|| "never".into(), |ms| format!("{} s", ms / 1_000));
    let limit = ideal.recovery_ms.map(|ms| ms.max(1_000) * 2);
    Some(Goal {
        wanted: "recovered within twice the ideal's time",
        met: ours.recovery_ms.zip(limit).is_some_and(|(ms, limit)| ms <= limit),
        seen: format!("{} against {}", seconds(ours), seconds(ideal)),
    })
}

/// Where always taking the best of an old picture piles up, spreading must not.
fn staleness(cell: &Cell) -> Option<Goal> {
    let of = |name: &str| cell.runs.iter().find(|r| r.variant.router == name).map(|r| r.figures.imbalance_ppm);
    let (ours, argmax) = (of("berth")?, of("scorers")?);
    (argmax > 3_000_000).then(|| Goal {
        wanted: "most loaded at most 1.5 times the mean, where always taking the best exceeds 3",
        met: ours <= 1_500_000,
        seen: format!(
            "{} against {} ({} proxies, a snapshot every {} s)",
            decimal(ours, 2),
            decimal(argmax, 2),
            cell.proxies,
            decimal(cell.period_ms * 1_000, 1)
        ),
    })
}
