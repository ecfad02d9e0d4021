//! Stage six: what was decided and why: what bound, who came next, what was crossed, what it costs.

use super::refuse::refuse;
use super::score::{output_bytes, uusd};
use super::table::{PASSING, Table, cell};
use super::{Scene, reasons};
use crate::model::{Binding, Codes, Decision, Dimension, Dimensions, Outcome, Pace, Plan, Spill, SubstrateId};

/// The finished decision.
pub(crate) fn account(scene: &Scene, table: &Table, plan: Plan) -> Decision {
    let chosen = plan.first().map(|a| a.substrate);
    let utility = chosen.map(|id| cell(&table.utility_pusd, id));
    let asked = scene.asked;
    Decision {
        id: scene.seed,
        outcome: if chosen.is_some() { Outcome::Placed } else { refuse(scene, table) },
        class: asked.class,
        class_source: asked.source,
        pace: pace(scene, &plan),
        plan,
        binding: binding(scene, table),
        utility_uusd: uusd(utility.unwrap_or(0)),
        runner_up: chosen.and_then(|id| runner_up(table, id)),
        spill: chosen.and_then(|id| spill(scene, table, id)),
        expected_us: chosen.map_or(0, |id| cell(&table.total_us, id)),
        cost_uusd: plan.first().map_or(0, |a| a.cost_uusd),
        regime: chosen.and_then(|id| scene.policy.substrate(id)).map(|s| s.cost.regime),
        freshness: scene.freshness(chosen),
        epoch: scene.picture.epoch,
        last_resort: chosen.is_some() && last_resort(table),
    }
}

/// A try that is cut short and not followed by another only loses: where work may not be begun twice, and its answer is
/// bounded as a whole, a try has the bound that its class sets and no part of the deadline.
fn pace(scene: &Scene, plan: &Plan) -> Pace {
    let asked = scene.asked;
    let part = plan.first().map_or(0, |a| a.per_try_ms);
    let own = if asked.per_try_ms == u32::MAX { 0 } else { asked.per_try_ms };
    Pace {
        deadline_ms: u32::try_from(asked.deadline_us / 1_000).unwrap_or(u32::MAX),
        stream: asked.stream,
        repeatable: asked.repeatable,
        hedge: asked.hedge,
        per_try_ms: if asked.stream || asked.repeatable { part } else { own },
    }
}

/// The best candidate above all that stand that one dimension rejects; if every better one has several, the first of
/// them by precedence, from the best candidate that it rejects. Above all that stand, not above the chosen one: what
/// the spread among equals gave away, no dimension took.
fn binding(scene: &Scene, table: &Table) -> Binding {
    let bar = table.standing.iter().map(|&id| cell(&table.utility_pusd, id)).max();
    let better = || {
        let rows = (0..u16::MAX).zip(table.codes.iter().zip(&table.utility_pusd));
        rows.filter(move |(_, (codes, utility))| **codes != 0 && bar.is_none_or(|bar| **utility > bar))
            .map(|(id, (codes, utility))| (id, Codes(*codes).dimensions(), *utility))
    };
    let best = |wanted: &dyn Fn(Dimensions) -> bool| {
        better().filter(|(_, dims, _)| wanted(*dims)).max_by_key(|(id, _, utility)| (*utility, tie(scene, *id)))
    };
    if let Some((id, dims, _)) = best(&|dims| dims.len() == 1) {
        return bound(scene, table, id, dims.first(), false);
    }
    let all = better().fold(Dimensions::default(), |all, (_, dims, _)| Dimensions(all.0 | dims.0));
    let Some(dimension) = all.first() else { return Binding::default() };
    best(&|dims| dims.contains(dimension))
        .map_or(Binding::default(), |(id, ..)| bound(scene, table, id, Some(dimension), true))
}

fn bound(scene: &Scene, table: &Table, id: SubstrateId, dimension: Option<Dimension>, joint: bool) -> Binding {
    let reason = dimension.and_then(|d| reasons::first_of(scene, table, id, Codes::all_of(d)));
    Binding { dimension, joint, unbound: Some(id), reason }
}

/// What decides between equal utilities: the name, not the place in the list.
pub(crate) fn tie(scene: &Scene, id: SubstrateId) -> u64 {
    cell(&scene.policy.columns.hash, id)
}

fn runner_up(table: &Table, chosen: SubstrateId) -> Option<(SubstrateId, i64)> {
    let others = table.standing.iter().copied().filter(|&id| id != chosen);
    let next = others.max_by_key(|&id| cell(&table.utility_pusd, id))?;
    Some((next, uusd(cell(&table.utility_pusd, chosen)) - uusd(cell(&table.utility_pusd, next))))
}

/// Where it went from the best home, and what that adds.
fn spill(scene: &Scene, table: &Table, to: SubstrateId) -> Option<Spill> {
    let class = scene.policy.classed(scene.asked.class);
    if class.is_home.contains(usize::from(to)) {
        return None;
    }
    let from = class.homes.iter().copied().max_by_key(|&id| (cell(&table.utility_pusd, id), tie(scene, id)))?;
    let delta = |column: &[i64]| cell(column, to) - cell(column, from);
    Some(Spill {
        from,
        to,
        crosses: crate::model::Borders::from_bits(cell(&table.crosses, to)),
        egress_uusd: uusd(delta(&table.byte_pusd) * output_bytes(scene)),
        cost_uusd: uusd(delta(&table.cost_pusd)),
        latency_us: delta(&table.total_us),
    })
}

/// The only one left of several, or one that stands by the panic rule alone.
fn last_resort(table: &Table) -> bool {
    let gone = |codes: &u64| *codes != 0 && codes & !PASSING == 0;
    table.standing.len() == 1 && (table.panic || table.codes.iter().any(gone))
}
