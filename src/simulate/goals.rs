//! What Berth sets out to reach, held against what came out.

use super::bills::bills;
use super::experiment::{Cell, Results, Setup};
use super::figures::Figures;
use super::panel::{Entrant, Panel};
use super::scenario::{Event, What};
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
    let panel = Panel::of(results);
    let Some(ours) = panel.plain("berth") else { return Vec::new() };
    let mut goals = vec![Goal {
        column: "envelope",
        wanted: "no attempt outside the envelope",
        met: ours.outside() == 0,
        short: ours.outside().to_string(),
        seen: format!("{} of {}", ours.outside(), ours.sum(|f| f.attempts)),
        ..Goal::default()
    }];
    let ruled = setup.document.envelopes.len() > 1;
    goals.extend(ruled.then(|| singles(&panel)).flatten());
    goals.extend(goodput(setup, &panel, ours));
    goals.extend(faults(setup, &panel, ours));
    goals.extend(bills(setup, &panel, ours));
    goals.extend(recovery(setup, &panel, ours));
    goals.extend(drift(setup, ours));
    goals.extend(results.sweep.iter().filter_map(staleness));
    goals
}

fn singles(panel: &Panel) -> Option<Goal> {
    let each = |name: &&'static str| Some((*name, panel.plain(name)?.runs.iter().map(|f| f.outside()).min()?));
    let least: Vec<(&str, u64)> = SINGLE.iter().filter_map(each).collect();
    let said: Vec<String> = least.iter().map(|(name, n)| format!("{name} {n}")).collect();
    (!least.is_empty()).then(|| Goal {
        column: "singles break it",
        wanted: "every single-policy router as it is breaks the envelope, with every seed",
        met: least.iter().all(|(_, n)| *n > 0),
        short: "not all".into(),
        seen: format!("at least {}", said.join(", ")),
        ..Goal::default()
    })
}

/// The best in hindsight is chosen on what it is judged by: nobody could have known. It is the harder one to reach.
fn goodput(setup: &Setup, panel: &Panel, ours: &Entrant) -> Option<Goal> {
    let best = panel.feasible().max_by_key(|e| e.goodput_ppm())?;
    let (own, theirs) = (ours.goodput_ppm(), best.goodput_ppm());
    let less = ours.less(best, |f| f.goodput_ppm);
    let ideal = panel.plain("ideal").map(|e| format!(" The ideal: {}.", percent(e.goodput_ppm()))).unwrap_or_default();
    let taken = panel.feasible().filter(|e| e.trained_ppm.is_some()).max_by_key(|e| e.trained_ppm);
    let taken = taken.filter(|e| e.variant != best.variant).map(|e| {
        let (name, share) = (e.variant.label(), percent(e.goodput_ppm()));
        format!("; best while it was tuned: {name}, {share}")
    });
    Some(Goal {
        column: "goodput",
        wanted: "goodput at least that of the best feasible rival",
        met: own >= theirs,
        short: less.points(),
        seen: format!(
            "{} against {} ({}){}",
            percent(own),
            percent(theirs),
            best.variant.label(),
            taken.unwrap_or_default()
        ),
        why: format!("{} {}{ideal}", why::luck(ours, best), why::classes(setup, ours, best)),
        ..Goal::default()
    })
}

/// Where the ideal is not so much better than the mesh either, nobody can be.
fn faults(setup: &Setup, panel: &Panel, all: &Entrant) -> Option<Goal> {
    const WANTED: u64 = 1_300_000;
    let mesh = panel.listed("locality-failover")?.fault_ppm()?.max(1);
    let ours = all.fault_ppm()?;
    let ratio = |ppm: u64| ppm * 1_000_000 / mesh;
    let times = |ratio: u64| decimal(ratio, 2);
    let ideal = panel.plain("ideal");
    let best = ideal.and_then(Entrant::fault_ppm).map(ratio);
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

/// A second is the grain of recovery: what the ideal does in less counts as one. Of several seeds, the middle one.
fn recovery(setup: &Setup, panel: &Panel, ours: &Entrant) -> Option<Goal> {
    setup.scenario.over_ms()?;
    let ideal = panel.plain("ideal")?;
    let seconds = |ms: Option<u64>| ms.map_or_else(|| "never".into(), |ms| format!("{} s", ms / 1_000));
    let twice = |ms: u64| ms.max(1_000) * 2;
    let (own, best) = (ours.recovery_ms(), ideal.recovery_ms());
    let well = |f: &Figures, i: &Figures| f.recovery_ms.zip(i.recovery_ms).is_some_and(|(ms, i)| ms <= twice(i));
    let times = ours.beside(ideal).filter(|(f, i)| well(f, i)).count();
    let of = if panel.seeds() > 1 {
        format!(", medians; within it {times} times of {}", panel.seeds())
    } else {
        String::new()
    };
    Some(Goal {
        column: "recovery",
        wanted: "recovered within twice the ideal's time",
        short: format!("{} / {}", seconds(own), seconds(best)),
        met: own.zip(best).is_some_and(|(ms, best)| ms <= twice(best)),
        seen: format!("{} against {}{of}", seconds(own), seconds(best)),
        why: why::recovery(setup, ours, ideal),
        ..Goal::default()
    })
}

/// What the alert that ships makes of a drift that lasts for long enough: silent before it begins or where nothing drifts, then
/// it names it while it goes on. With every seed. Neighbours that take over its load become slower too, and may be named.
fn drift(setup: &Setup, ours: &Entrant) -> Option<Goal> {
    let (scenario, alarm_ms) = (&setup.scenario, setup.scenario.alarm_ms);
    let event = scenario.events.iter().find(|e| e.what == What::Drift && e.until_ms - e.from_ms > alarm_ms);
    let quiet = scenario.events.is_empty() && scenario.duration_ms > 2 * alarm_ms;
    let name = |at: u16| setup.document.substrates.get(usize::from(at)).map_or("?", |s| s.name.as_str());
    let meant = |event: &Event, at: u16| event.to.iter().any(|t| t.0.as_str() == name(at));
    let names = |f: &&Figures| match event {
        Some(event) => {
            let early = f.found.first().is_some_and(|(ms, _)| *ms < event.from_ms);
            let on = |(ms, at): &(u64, u16)| *ms < event.until_ms && meant(event, *at);
            !early && f.found.iter().any(on)
        }
        None => f.found.is_empty(),
    };
    let times = ours.runs.iter().copied().filter(names).count();
    let first = ours.runs.first()?;
    let found = first.found.iter().map(|(ms, at)| format!("{} after {} s", name(*at), ms / 1_000));
    let found: Vec<String> = found.collect();
    let said = if found.is_empty() { "no alert".into() } else { found.join(", ") };
    let how = event.map_or_else(String::new, |event| {
        format!(
            "; it becomes {} times as slow from {} s to {} s, and {} are answered in time meanwhile, {} before",
            decimal(event.by_ppm, 1),
            event.from_ms / 1_000,
            event.until_ms / 1_000,
            percent(ours.fault_ppm().unwrap_or(0)),
            percent(ours.mean(|f| f.before_ppm))
        )
    });
    (event.is_some() || quiet).then(|| Goal {
        column: "drift",
        wanted: "the alert that ships names a drift while it goes on, from metrics alone, and is silent before",
        met: times == ours.runs.len(),
        seen: format!("{times} times of {}; with the first seed {said}{how}", ours.runs.len()),
        short: format!("{times} of {}", ours.runs.len()),
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
