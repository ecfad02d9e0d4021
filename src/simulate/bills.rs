//! What it cost, against those who keep the envelope: for each request answered in time; for the same requests; and among
//! those who answer as many. Who answers fewer leaves the dear ones, so no one of the three says everything.

use super::experiment::Setup;
use super::goals::{Goal, percent};
use super::pairs::Pair;
use super::panel::{Entrant, Panel};

/// The goals of cost that a scenario can show.
pub(super) fn bills(setup: &Setup, panel: &Panel, ours: &Entrant) -> Vec<Goal> {
    [cost(panel, ours), same(setup, panel, ours), worth(panel, ours), thrifty(panel)].into_iter().flatten().collect()
}

/// How much a second is worth is the policy's word. Where it is worth nothing, only the price is left to choose by.
fn thrifty(panel: &Panel) -> Option<Goal> {
    let ours = panel.plain("berth-thrifty")?;
    let cheapest = panel.feasible().min_by_key(|e| e.cost_per_good_uusd())?;
    let (own, theirs) = (ours.cost_per_good_uusd(), cheapest.cost_per_good_uusd());
    Some(Goal {
        column: "cost, thrifty",
        wanted: "where the policy says that time is worth nothing, the same holds of the cost of a request answered in time",
        met: own <= theirs,
        short: more(ratio_ppm(own, theirs)),
        seen: format!(
            "{own} against {theirs} micro-dollars ({}), goodput {} against {}",
            cheapest.variant.label(),
            percent(ours.goodput_ppm()),
            percent(cheapest.goodput_ppm())
        ),
        ..Goal::default()
    })
}

/// Percent more, or less.
fn more(ppm: i64) -> String {
    format!("{}{}", if ppm < 0 { '−' } else { '+' }, percent(ppm.unsigned_abs()))
}

fn ratio_ppm(ours: i64, theirs: i64) -> i64 {
    (ours - theirs) * 1_000_000 / theirs.max(1)
}

fn cost(panel: &Panel, ours: &Entrant) -> Option<Goal> {
    let cheapest = panel.feasible().min_by_key(|e| e.cost_per_good_uusd())?;
    let (own, theirs) = (ours.cost_per_good_uusd(), cheapest.cost_per_good_uusd());
    let (all, offered) = (ratio_ppm(ours.cost_uusd(), cheapest.cost_uusd()), cheapest.sum(|f| f.offered));
    let lost = offered - cheapest.sum(|f| f.good);
    Some(Goal {
        column: "cost",
        wanted: "a request answered in time costs at most what it costs the cheapest that keeps the envelope",
        met: own <= theirs,
        short: more(ratio_ppm(own, theirs)),
        seen: format!(
            "{own} against {theirs} micro-dollars ({}, goodput {})",
            cheapest.variant.label(),
            percent(cheapest.goodput_ppm())
        ),
        why: format!(
            "It leaves {lost} of {offered} unanswered, and Berth {}. The whole bill is {} of its. Like with like stands under \
             the same requests.",
            ours.sum(|f| f.offered) - ours.sum(|f| f.good),
            more(all)
        ),
        ..Goal::default()
    })
}

/// Like with like: what both answer in time. Against whom ours is dearest there.
fn same(setup: &Setup, panel: &Panel, ours: &Entrant) -> Option<Goal> {
    let pairs = panel.feasible().map(|e| (Pair::of(ours.beside(e)), e)).filter(|(pair, _)| pair.both() > 0);
    let (pair, cheapest) = pairs.max_by_key(|(pair, _)| pair.dearer_ppm())?;
    let (own, theirs) = pair.each_uusd();
    Some(Goal {
        column: "cost of the same",
        wanted: "what both answer in time costs at most what it costs the cheapest that keeps the envelope",
        met: pair.dearer_ppm() <= 0,
        short: more(pair.dearer_ppm()),
        seen: format!(
            "{own} against {theirs} micro-dollars a request, over {} that both answer ({})",
            pair.both(),
            cheapest.variant.label()
        ),
        why: pair.why(setup),
        ..Goal::default()
    })
}

/// Who answers fewer has cheaper ones left. Who answers as many, and for less, is better.
fn worth(panel: &Panel, ours: &Entrant) -> Option<Goal> {
    panel.feasible().next()?;
    let as_many = panel.feasible().filter(|e| e.goodput_ppm() >= ours.goodput_ppm());
    let cheapest = as_many.min_by_key(|e| e.cost_per_good_uusd());
    let better = cheapest.filter(|e| e.cost_per_good_uusd() < ours.cost_per_good_uusd());
    let said = |e: &Entrant| {
        let (label, cost) = (e.variant.label(), e.cost_per_good_uusd());
        format!("{} against {cost} micro-dollars ({label})", ours.cost_per_good_uusd())
    };
    Some(Goal {
        column: "cost of as many",
        wanted: "nobody who keeps the envelope answers as many for less",
        met: better.is_none(),
        short: better.map_or_else(String::new, |e| e.variant.label()),
        seen: cheapest.map_or_else(|| "nobody answers as many".into(), said),
        ..Goal::default()
    })
}
