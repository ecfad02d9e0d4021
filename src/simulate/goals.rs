//! What Berth sets out to reach, held against what came out.

use super::bills::bills;
use super::experiment::{Cell, Results, Run, Setup};
use super::figures::Figures;
use super::held::Held;
use super::scenario::What;
use super::why;

/// One goal and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    /// Its column in a table of all goals.
    pub column: &'static str,
    /// What is wanted.
    pub wanted: &'static str,
    /// Whether it was reached.
    pub met: bool,
    /// By how much.
    pub seen: String,
    /// In a word, what is short of it.
    pub short: String,
    /// The ideal does not reach it either: no router can.
    pub beyond: bool,
    /// Where it was missed, and why.
    pub why: String,
}

impl Goal {
    /// What became of it.
    #[must_use]
    pub const fn verdict(&self) -> &'static str {
        match (self.met, self.beyond) {
            (true, _) => "met",
            (false, true) => "out of reach",
            (false, false) => "missed",
        }
    }
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
        column: "envelope",
        wanted: "no attempt outside the envelope",
        met: ours.outside() == 0,
        short: ours.outside().to_string(),
        seen: format!("{} of {}", ours.outside(), ours.attempts),
        ..Goal::default()
    }];
    let ruled = setup.document.envelopes.len() > 1;
    goals.extend(ruled.then(|| singles(results)).flatten());
    goals.extend(goodput(setup, results, ours));
    goals.extend(faults(setup, results, ours));
    goals.extend(held(results));
    goals.extend(bills(results, ours));
    goals.extend(recovery(setup, results, ours));
    goals.extend(drift(setup, ours));
    goals.extend(results.sweep.iter().filter_map(staleness));
    goals
}

fn singles(results: &Results) -> Option<Goal> {
    let outside: Vec<(&str, u64)> =
        SINGLE.iter().filter_map(|name| Some((*name, results.plain(name)?.outside()))).collect();
    let said: Vec<String> = outside.iter().map(|(name, n)| format!("{name} {n}")).collect();
    let all = outside.iter().all(|(_, n)| *n > 0);
    (!outside.is_empty()).then(|| Goal {
        column: "singles break it",
        wanted: "every single-policy router as it is breaks the envelope",
        met: all,
        short: "not all".into(),
        seen: said.join(", "),
        ..Goal::default()
    })
}

/// Rivals behind an allow-list that kept the envelope.
pub(super) fn feasible(results: &Results) -> impl Iterator<Item = &Run> {
    results.runs.iter().filter(|r| r.variant.is_listed() && r.figures.outside() == 0)
}

/// Points of a percent that one share lacks of another.
fn points(ours: u64, theirs: u64) -> String {
    format!("−{}", decimal(theirs.saturating_sub(ours) * 100, 2))
}

fn goodput(setup: &Setup, results: &Results, ours: &Figures) -> Option<Goal> {
    let best = feasible(results).max_by_key(|r| r.figures.goodput_ppm)?;
    let theirs = best.figures.goodput_ppm;
    let ideal = results.plain("ideal").map(|f| format!(" The ideal: {}.", percent(f.goodput_ppm))).unwrap_or_default();
    let (luck, classes) = (why::luck(ours, &best.figures), why::classes(setup, ours, &best.figures));
    Some(Goal {
        column: "goodput",
        wanted: "goodput at least that of the best feasible rival",
        met: ours.goodput_ppm >= theirs,
        short: points(ours.goodput_ppm, theirs),
        seen: format!("{} against {} ({})", percent(ours.goodput_ppm), percent(theirs), best.variant.label()),
        why: format!("{luck} {classes}{ideal}"),
        ..Goal::default()
    })
}

/// The best of ten rivals on the seed that is judged is chosen after the fact, and luck is part of it. Over other seeds the
/// rival that was best while it was tuned is what somebody could have taken; the best in hindsight is said beside it.
fn held(results: &Results) -> Option<Goal> {
    let ours = results.held.iter().find(|h| h.variant.router == "berth")?;
    let rivals = || results.held.iter().filter(|h| h.variant.is_listed() && h.outside == 0);
    let taken: &Held = rivals().max_by_key(|h| h.trained_ppm)?;
    let hindsight = rivals().max_by_key(|h| h.goodput_ppm)?;
    Some(Goal {
        column: "other seeds",
        wanted: "over other seeds, goodput at least that of the rival that was best while it was tuned",
        met: ours.goodput_ppm >= taken.goodput_ppm,
        short: points(ours.goodput_ppm, taken.goodput_ppm),
        seen: format!(
            "{} against {} ({}), means of {} seeds; the best in hindsight: {} ({})",
            percent(ours.goodput_ppm),
            percent(taken.goodput_ppm),
            taken.variant.label(),
            results.seeds,
            percent(hindsight.goodput_ppm),
            hindsight.variant.label()
        ),
        why: ours.against(taken),
        ..Goal::default()
    })
}

/// Where the ideal is not so much better than the mesh either, nobody can be.
fn faults(setup: &Setup, results: &Results, all: &Figures) -> Option<Goal> {
    const WANTED: u64 = 1_300_000;
    let mesh = results.listed("locality-failover")?.fault_ppm?.max(1);
    let ours = all.fault_ppm?;
    let ratio = |ppm: u64| ppm * 1_000_000 / mesh;
    let times = |ratio: u64| decimal(ratio, 2);
    let ideal = results.plain("ideal");
    let best = ideal.and_then(|f| f.fault_ppm).map(ratio);
    let beyond = best.is_some_and(|best| best < WANTED);
    let said = best.map_or_else(String::new, |best| format!("; the ideal is {} times", times(best)));
    let why = match ideal {
        Some(_) if beyond => {
            format!("The mesh answers {}, and 1.3 times that is more than can be answered at all.", percent(mesh))
        }
        Some(ideal) => format!("Against the ideal, over the whole run: {}", why::classes(setup, all, ideal)),
        None => String::new(),
    };
    let beside = best.map_or_else(String::new, |best| format!(", ideal {}", times(best)));
    Some(Goal {
        column: "1.3 × mesh",
        wanted: "under faults, 1.3 times the goodput of the mesh's locality failover",
        met: ratio(ours) >= WANTED,
        beyond,
        short: format!("{}{beside}", times(ratio(ours))),
        seen: format!("{} times: {} against {}{said}", times(ratio(ours)), percent(ours), percent(mesh)),
        why,
    })
}

/// A second is the grain of recovery: what the ideal does in less counts as one.
fn recovery(setup: &Setup, results: &Results, ours: &Figures) -> Option<Goal> {
    setup.scenario.over_ms()?;
    let ideal = results.plain("ideal")?;
    let seconds = |f: &Figures| f.recovery_ms.map_or_else(|| "never".into(), |ms| format!("{} s", ms / 1_000));
    let limit = ideal.recovery_ms.map(|ms| ms.max(1_000) * 2);
    Some(Goal {
        column: "recovery",
        wanted: "recovered within twice the ideal's time",
        short: format!("{} / {}", seconds(ours), seconds(ideal)),
        met: ours.recovery_ms.zip(limit).is_some_and(|(ms, limit)| ms <= limit),
        seen: format!("{} against {}", seconds(ours), seconds(ideal)),
        why: format!("Against the ideal, over the whole run: {}", why::classes(setup, ours, ideal)),
        ..Goal::default()
    })
}

/// What metrics alone show of a drift: no alarm before it begins or where nothing drifts, then one that names it while it
/// goes on.
fn drift(setup: &Setup, ours: &Figures) -> Option<Goal> {
    let events = &setup.scenario.events;
    let drifting = events.iter().find(|e| e.what == What::Drift);
    let quiet = events.is_empty() && setup.scenario.duration_ms > 60_000;
    let name = |at: u16| setup.document.substrates.get(usize::from(at)).map_or("?", |s| s.name.as_str());
    let found = ours.found.map(|(at_ms, at)| (at_ms, name(at)));
    let said = found.map_or_else(|| "no alarm".into(), |(ms, name)| format!("{name} after {} s", ms / 1_000));
    let (met, seen) = match drifting {
        Some(event) => {
            let named = |name: &str| event.to.iter().any(|t| t.0.as_str() == name);
            let (from, until) = (event.from_ms, event.until_ms);
            let well = found.is_some_and(|(ms, name)| (from..until).contains(&ms) && named(name));
            let (from, until, by) = (from / 1_000, until / 1_000, decimal(event.by_ppm, 1));
            (well, format!("{said}; it becomes {by} times as slow from {from} s to {until} s"))
        }
        None if quiet => (found.is_none(), said.clone()),
        None => return None,
    };
    Some(Goal {
        column: "drift",
        wanted: "a drift is found from metrics alone while it goes on, and nothing else is",
        met,
        seen,
        short: said,
        ..Goal::default()
    })
}

/// Where always taking the best of an old picture piles up, spreading must not.
fn staleness(cell: &Cell) -> Option<Goal> {
    let of = |name: &str| cell.runs.iter().find(|r| r.variant.router == name).map(|r| r.figures.imbalance_ppm);
    let (ours, argmax) = (of("berth")?, of("scorers")?);
    (argmax > 3_000_000).then(|| Goal {
        column: "herd",
        wanted: "most loaded at most 1.5 times the mean, where always taking the best exceeds 3",
        short: decimal(ours, 2),
        met: ours <= 1_500_000,
        seen: format!(
            "{} against {} ({} proxies, a snapshot every {} s)",
            decimal(ours, 2),
            decimal(argmax, 2),
            cell.proxies,
            decimal(cell.period_ms * 1_000, 1)
        ),
        ..Goal::default()
    })
}
