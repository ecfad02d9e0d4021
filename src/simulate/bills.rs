//! What it cost, against those who keep the envelope: for each request answered in time, for each request at all, and among
//! those who answer as many. Who answers fewer spends less, so no one of the three says everything.

use super::experiment::{Results, Run};
use super::figures::Figures;
use super::goals::{Goal, feasible, percent};
use super::why;

/// The goals of cost that a scenario can show.
pub(super) fn bills(results: &Results, ours: &Figures) -> Vec<Goal> {
    [cost(results, ours), spent(results, ours), worth(results, ours)].into_iter().flatten().collect()
}

fn cost(results: &Results, ours: &Figures) -> Option<Goal> {
    let cheapest = feasible(results).min_by_key(|r| r.figures.cost_per_good_uusd)?;
    let why = why::marginal(ours, &cheapest.figures);
    let (ours, theirs) = (ours.cost_per_good_uusd, cheapest.figures.cost_per_good_uusd);
    let more = u64::try_from((ours - theirs).max(0) * 1_000_000 / theirs.max(1)).unwrap_or(0);
    Some(Goal {
        column: "cost",
        wanted: "a request answered in time costs at most what it costs the cheapest that keeps the envelope",
        met: ours <= theirs,
        short: format!("+{}", percent(more)),
        seen: format!(
            "{ours} against {theirs} micro-dollars ({}, goodput {})",
            cheapest.variant.label(),
            percent(cheapest.figures.goodput_ppm)
        ),
        why,
        ..Goal::default()
    })
}

/// The same over all requests, answered or not: who refuses spends least.
fn spent(results: &Results, ours: &Figures) -> Option<Goal> {
    let cheapest = feasible(results).min_by_key(|r| r.figures.cost_uusd)?;
    let (own, theirs) = why::each(ours, &cheapest.figures);
    let more = u64::try_from((own - theirs).max(0) * 1_000_000 / theirs.max(1)).unwrap_or(0);
    let (label, goodput) = (cheapest.variant.label(), percent(cheapest.figures.goodput_ppm));
    Some(Goal {
        column: "cost of all",
        wanted: "a request, answered in time or not, costs at most what it costs whoever spends least and keeps the envelope",
        met: own <= theirs,
        short: format!("+{}", percent(more)),
        seen: format!("{own} against {theirs} micro-dollars ({label}, goodput {goodput})"),
        why: why::marginal(ours, &cheapest.figures),
        ..Goal::default()
    })
}

/// Who answers fewer has cheaper ones left. Who answers as many, and for less, is better.
fn worth(results: &Results, ours: &Figures) -> Option<Goal> {
    feasible(results).next()?;
    let as_many = feasible(results).filter(|r| r.figures.goodput_ppm >= ours.goodput_ppm);
    let cheapest = as_many.min_by_key(|r| r.figures.cost_per_good_uusd);
    let better = cheapest.filter(|r| r.figures.cost_per_good_uusd < ours.cost_per_good_uusd);
    let said = |r: &Run| {
        let (label, cost) = (r.variant.label(), r.figures.cost_per_good_uusd);
        format!("{} against {cost} micro-dollars ({label})", ours.cost_per_good_uusd)
    };
    Some(Goal {
        column: "cost of as many",
        wanted: "nobody who keeps the envelope answers as many for less",
        met: better.is_none(),
        short: better.map_or_else(String::new, |r| r.variant.label()),
        seen: cheapest.map_or_else(|| "nobody answers as many".into(), said),
        ..Goal::default()
    })
}
