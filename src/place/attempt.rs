//! Stage five: the plan. Every attempt passed the same gates; later ones prefer other failure domains.
//!
//! One bound per try lets all of them fit into what is left of the deadline, since the router has one for all and begins
//! it anew with each. Where work may not be begun twice nothing follows a late try, only a refusal: then there are as many
//! tries as leave each far more time than it is expected to take, so that the bound costs hardly an answer. A whole answer
//! of such work is bounded by the deadline alone, over all its tries: then each has all the time, and a part of it is kept
//! for the refusals before it.

use super::Scene;
use super::account::tie;
use super::score::{Rated, rated, uusd};
use super::table::{Table, cell};
use crate::model::{Attempt, Plan, SubstrateId, WHOLE_PPM};
use core::cell::Cell;

/// A try that is cut short for others, though none of them would follow it when it is late, has so many times the time
/// that it is expected to take. Simulated with less, what is cut off is more than refusals that are followed bring in.
const AMPLE: i64 = 4;

/// Plans from the first choice on: as many attempts as are allowed, fit and are to be had.
pub(crate) fn plan(scene: &Scene, table: &Table, first: SubstrateId) -> Plan {
    let most = usize::from(scene.asked.attempts).min(table.survey.standing).max(1);
    (1..=most).rev().find_map(|tries| of(scene, table, first, tries)).unwrap_or_default()
}

/// A plan of exactly so many tries, or `None` if they do not all fit.
fn of(scene: &Scene, table: &Table, first: SubstrateId, tries: usize) -> Option<Plan> {
    let (per_try_us, spent_us) = bounds(scene, tries);
    let cut_for_nothing = !scene.asked.repeatable && per_try_us < scene.asked.try_us;
    let times = if cut_for_nothing { AMPLE } else { 1 };
    let rated = rated(scene, &table.ground, first);
    if tries > 1 && rated.need_us * times > per_try_us {
        return None;
    }
    let mut plan = Plan::default();
    plan.push(attempt(scene, table, (first, rated), per_try_us));
    for before in 1..tries {
        let left = scene.asked.deadline_us - spent_us * before as i64;
        let next = next(scene, table, &plan, per_try_us, left)?;
        plan.push(attempt(scene, table, next, per_try_us));
    }
    Some(plan)
}

/// How long a try may take, and how long one that failed took: the class's bound, or an equal part of the deadline if that
/// is less, is both. Only of a whole answer that may not be begun twice does the router hold all tries to the deadline.
fn bounds(scene: &Scene, tries: usize) -> (i64, i64) {
    let asked = scene.asked;
    if !asked.repeatable && !asked.stream {
        return (asked.try_us, 0);
    }
    let bound_us = if tries > 1 { asked.part_us } else { asked.try_us };
    let part_us = (asked.deadline_us / tries.max(1) as i64).min(bound_us);
    (part_us, part_us)
}

/// The next of those that can finish: in another failure domain if there is one, an equal of the first if there is
/// one, else the best.
fn next(scene: &Scene, table: &Table, plan: &Plan, per_try_us: i64, left_us: i64) -> Option<(SubstrateId, Rated)> {
    let factor = i64::from(scene.policy.document().settings.selection.finish_factor_ppm);
    // Of those that are asked, the last one that fits is picked.
    let fitted = Cell::new(Rated::default());
    let fits = |id| {
        let rated = rated(scene, &table.ground, id);
        let fits = rated.need_us <= per_try_us && rated.need_us / 1_000 * factor <= left_us / 1_000 * WHOLE_PPM;
        if fits {
            fitted.set(rated);
        }
        fits
    };
    let domain = |id| cell(&scene.policy.columns.domain, id);
    let elsewhere = |id| plan.iter().all(|a| domain(a.substrate) != domain(id)) && fits(id);
    let other = |id| plan.iter().all(|a| a.substrate != id) && fits(id);
    let pick = |wanted: &dyn Fn(SubstrateId) -> bool| table.luckiest.pick(&table.equals, wanted);
    pick(&elsewhere)
        .or_else(|| best(scene, table, elsewhere))
        .or_else(|| pick(&other))
        .or_else(|| best(scene, table, other))
        .map(|id| (id, fitted.get()))
}

/// The best by utility alone. Eligibility is asked only of one that would win, so of few.
fn best(scene: &Scene, table: &Table, eligible: impl Fn(SubstrateId) -> bool) -> Option<SubstrateId> {
    // Mostly it is among the few that the survey remembers. Whoever has the same utility as the next one might be its
    // equal, or that of somebody who is not remembered: then all are asked.
    for pair in table.survey.top.windows(2) {
        let [Some((row, utility)), Some((_, next))] = *pair else { break };
        if utility == next {
            break;
        }
        if eligible(table.id(row)) {
            return Some(table.id(row));
        }
    }
    let mut best: Option<(i64, SubstrateId)> = None;
    for (id, utility) in table.standing() {
        let wins = best.is_none_or(|(most, at)| utility > most || utility == most && tie(scene, id) >= tie(scene, at));
        if wins && eligible(id) {
            best = Some((utility, id));
        }
    }
    best.map(|(_, id)| id)
}

fn attempt(scene: &Scene, table: &Table, (id, rated): (SubstrateId, Rated), per_try_us: i64) -> Attempt {
    debug_assert!(scene.policy.substrate(id).is_some());
    Attempt {
        substrate: id,
        crosses: table.ground.crosses(id),
        per_try_ms: u32::try_from(per_try_us / 1_000).unwrap_or(u32::MAX),
        cost_uusd: uusd(rated.cost_pusd),
    }
}
