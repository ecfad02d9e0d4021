//! Stage six: what was decided and why: what bound, who came next, what was crossed, what it costs.

use super::refuse::refuse;
use super::score::{is_affine, output_bytes, rated, uusd};
use super::table::{PASSING, Table, cell, unfold, utility, verdict};
use super::{Scene, reasons};
use crate::model::{Binding, Codes, Decision, Dimension, Dimensions, Outcome, Pace, Plan, Spill, SubstrateId};

/// The finished decision.
pub(crate) fn account(scene: &Scene, table: &mut Table, plan: Plan) -> Decision {
    let chosen = plan.first().map(|a| a.substrate);
    let worth = chosen.map_or(0, |id| utility(scene, table, id));
    let asked = scene.asked;
    Decision {
        id: scene.seed,
        outcome: if chosen.is_some() { Outcome::Placed } else { refuse(scene, table) },
        class: asked.class,
        class_source: asked.source,
        pace: pace(scene, &plan),
        plan,
        binding: binding(scene, table),
        utility_uusd: uusd(worth),
        runner_up: chosen.and_then(|id| runner_up(table, id, worth)),
        spill: chosen.and_then(|id| spill(scene, table, id)),
        expected_us: chosen.map_or(0, |id| rated(scene, &table.ground, id).total_us),
        cost_uusd: plan.first().map_or(0, |a| a.cost_uusd),
        egress_uusd: chosen.map_or(0, |id| uusd(cell(&table.ground.byte_pusd, id) * output_bytes(scene))),
        quality_ppm: chosen.map_or(0, |id| cell(&table.ground.quality_ppm, id)),
        regime: chosen.and_then(|id| scene.policy.substrate(id)).map(|s| s.cost.regime),
        freshness: scene.freshness(chosen),
        epoch: scene.picture.epoch,
        last_resort: chosen.is_some() && last_resort(table),
        trial: table.trial,
    }
}

/// Where work may not be begun twice, and its answer is bounded as a whole, only the deadline bounds a try.
fn pace(scene: &Scene, plan: &Plan) -> Pace {
    let asked = scene.asked;
    let part = plan.first().map_or(0, |a| a.per_try_ms);
    Pace {
        deadline_ms: u32::try_from(asked.deadline_us / 1_000).unwrap_or(u32::MAX),
        stream: asked.stream,
        repeatable: asked.repeatable,
        hedge: asked.hedge && elsewhere(scene, plan),
        per_try_ms: if asked.stream || asked.repeatable { part } else { 0 },
    }
}

/// The best candidate above all that stand that one dimension rejects; if every better one has several, the first of
/// them by precedence, from the best candidate that it rejects. Above all that stand, not above the chosen one: what
/// the spread among equals gave away, no dimension took.
fn binding(scene: &Scene, table: &mut Table) -> Binding {
    let mut search =
        Search { least: table.survey.best().map_or(i64::MIN, |(_, best)| best), found: None, several: false };
    if table.survey.standing < table.ground.open.len() {
        for (&id, (codes, &utility)) in table.ground.ids.iter().zip(table.codes.iter().zip(&table.utility_pusd)) {
            search.see(scene, id, utility, || Codes(*codes));
        }
    }
    let (input, output) = (scene.asked.input, scene.asked.output);
    let affine = is_affine(scene, &table.ground.most);
    for block in &table.ground.shut {
        if affine && block.most.of(input, output) < search.least {
            continue;
        }
        for &(worth, id) in block.rows.iter().take(block.len) {
            let utility = if affine { worth.of(input, output) } else { utility(scene, table, id) };
            search.see(scene, id, utility, || verdict(scene, table, id));
        }
    }
    match search {
        Search { found: Some((id, codes)), .. } => bound(scene, table, (id, codes), codes.dimensions().first(), false),
        Search { several: true, .. } => joint(scene, table),
        _ => Binding::default(),
    }
}

/// The best so far of those above a bar that exactly one dimension rejects.
struct Search {
    least: i64,
    found: Option<(SubstrateId, Codes)>,
    /// One above the bar is rejected by several.
    several: bool,
}

impl Search {
    /// Verdicts are asked only of those that would win, so of few.
    #[inline(always)]
    fn see(&mut self, scene: &Scene, id: SubstrateId, utility: i64, verdict: impl FnOnce() -> Codes) {
        let wins = match self.found {
            _ if utility > self.least => true,
            Some((best, _)) => utility == self.least && tie(scene, id) > tie(scene, best),
            None => false,
        };
        if wins {
            let codes = verdict();
            match codes.dimensions().len() {
                0 => {}
                1 => (self.least, self.found) = (utility, Some((id, codes))),
                _ => self.several = true,
            }
        }
    }
}

/// Every better one is rejected by several dimensions.
fn joint(scene: &Scene, table: &mut Table) -> Binding {
    unfold(scene, table);
    let bar = table.survey.best().map(|(_, best)| best);
    let better = || {
        let rows = (0..u16::MAX).zip(&table.whole);
        rows.filter(|(_, (codes, utility))| *codes != 0 && bar.is_none_or(|bar| *utility > bar))
            .map(|(id, (codes, utility))| (id, Codes(*codes).dimensions(), *utility))
    };
    let all = better().fold(Dimensions::default(), |all, (_, dims, _)| Dimensions(all.0 | dims.0));
    let Some(dimension) = all.first() else { return Binding::default() };
    let rejected = better().filter(|(_, dims, _)| dims.contains(dimension));
    rejected.max_by_key(|(id, _, utility)| (*utility, tie(scene, *id))).map_or(Binding::default(), |(id, ..)| {
        bound(scene, table, (id, verdict(scene, table, id)), Some(dimension), true)
    })
}

fn bound(
    scene: &Scene,
    table: &Table,
    (id, codes): (SubstrateId, Codes),
    dimension: Option<Dimension>,
    joint: bool,
) -> Binding {
    let reason = dimension.and_then(|d| reasons::first_of(scene, table, id, codes.and(Codes::all_of(d))));
    Binding { dimension, joint, unbound: Some(id), reason }
}

/// What decides between equal utilities: the name, not the place in the list.
pub(crate) fn tie(scene: &Scene, id: SubstrateId) -> u64 {
    cell(&scene.policy.columns.hash, id)
}

fn runner_up(table: &Table, chosen: SubstrateId, worth: i64) -> Option<(SubstrateId, i64)> {
    let (best, second) = (table.survey.best()?, table.survey.second());
    let (row, utility) = if table.row(chosen) == Some(best.0) { second? } else { best };
    Some((table.id(row), uusd(worth) - uusd(utility)))
}

/// Whether the second attempt runs in another failure domain than the first, so that both at once are of use.
fn elsewhere(scene: &Scene, plan: &Plan) -> bool {
    let mut domains = plan.iter().map(|attempt| cell(&scene.policy.columns.domain, attempt.substrate));
    let first = domains.next();
    domains.next().is_some_and(|second| Some(second) != first)
}

/// Where it went from the best home, why, and what that adds.
fn spill(scene: &Scene, table: &Table, to: SubstrateId) -> Option<Spill> {
    let class = scene.policy.classed(scene.asked.class);
    if class.is_home.contains(usize::from(to)) {
        return None;
    }
    let best = |&id: &SubstrateId| (utility(scene, table, id), tie(scene, id));
    let from = class.homes.iter().copied().max_by_key(best)?;
    let (there, home) = (rated(scene, &table.ground, to), rated(scene, &table.ground, from));
    let byte_pusd = cell(&table.ground.byte_pusd, to) - cell(&table.ground.byte_pusd, from);
    Some(Spill {
        from,
        to,
        why: reasons::first_of(scene, table, from, verdict(scene, table, from)),
        crosses: table.ground.crosses(to),
        egress_uusd: uusd(byte_pusd * output_bytes(scene)),
        cost_uusd: uusd(there.cost_pusd - home.cost_pusd),
        latency_us: there.total_us - home.total_us,
    })
}

/// The only one left of several, or one that stands by the panic rule alone.
fn last_resort(table: &Table) -> bool {
    let gone = |codes: &u64| *codes != 0 && codes & !PASSING == 0;
    table.survey.standing == 1 && (table.panic || table.codes.iter().any(gone))
}
