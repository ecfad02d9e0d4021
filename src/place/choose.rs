//! Stage four, the choice: those within a margin of the best are equals, and the key of the request spreads over
//! them by what they have free.

use super::Scene;
use super::classify::share_pusd;
use super::spread::{self, Ticket};
use super::table::{Table, cell};
use crate::model::{SubstrateId, WHOLE_PPM};

/// Weights count in sixteenths of a request, so that a ramp does not round a small substrate away.
const GRAIN: i64 = 16;

/// Chooses among those that stand. Those within the margin stay in `table.equals` with their draws.
pub(crate) fn choose(scene: &Scene, table: &mut Table) -> Option<SubstrateId> {
    let standing = core::mem::take(&mut table.standing);
    let mut equals = core::mem::take(&mut table.equals);
    equals.clear();
    let rated = || standing.iter().map(|&id| (id, worth(scene, table, id)));
    if let Some((best, utility)) = rated().max_by_key(|(_, utility)| *utility) {
        let least = utility.saturating_sub(margin_pusd(scene, table, best, utility));
        for (id, _) in rated().filter(|(_, utility)| *utility >= least) {
            let hash = cell(&scene.policy.columns.hash, id);
            equals.push(Ticket::new(scene.asked.key, id, hash, weight(scene, table, id)));
        }
    }
    bound_shift(scene, &mut equals);
    (table.standing, table.equals) = (standing, equals);
    spread::pick(table.equals.iter())
}

/// The next of the equals that is eligible, in the order of their draws: where the first choice's keys go when it is
/// gone.
pub(crate) fn next_equal(table: &Table, eligible: impl Fn(&Table, SubstrateId) -> bool) -> Option<SubstrateId> {
    spread::pick(table.equals.iter().filter(|ticket| eligible(table, ticket.candidate)))
}

/// The utility with the bonus of the substrate where the session belongs.
fn worth(scene: &Scene, table: &Table, id: SubstrateId) -> i64 {
    let affinity = scene.policy.document().settings.selection.affinity_ppm;
    let bonus = if table.affine == Some(id) { share_pusd(scene.asked.worth.answer_uusd, affinity) } else { 0 };
    cell(&table.utility_pusd, id).saturating_add(bonus)
}

/// How far below the best one is still its equal: a share of what the answer is worth there, or of its utility if
/// that is more. The older the snapshot, the less is known of who is best.
pub(crate) fn margin_pusd(scene: &Scene, table: &Table, best: SubstrateId, utility: i64) -> i64 {
    let selection = &scene.policy.document().settings.selection;
    let seconds_ppm = (scene.picture.age_ms / 1_000).saturating_mul(u64::from(selection.margin_per_second_ppm));
    let known = scene.picture.freshness != Some(crate::model::Freshness::Stale);
    let aged = if known { i64::try_from(seconds_ppm).unwrap_or(WHOLE_PPM) } else { 0 };
    let share = i64::from(selection.margin_ppm).saturating_add(aged).min(WHOLE_PPM);
    let value = share_pusd(scene.asked.worth.answer_uusd, cell(&table.quality_ppm, best));
    let scale = value.max(utility.saturating_abs());
    scale / WHOLE_PPM * share
}

/// What is free for this tier, less what this VM has placed since; declared capacity where nobody measures. New and
/// recovered substrates ramp.
fn weight(scene: &Scene, table: &Table, id: SubstrateId) -> u64 {
    let tier = scene.asked.tier as usize;
    let of = |columns: &[Vec<i32>]| columns.get(tier).map_or(0, |column| cell(column, id));
    let (free, limit) = (of(&scene.picture.free), of(&scene.policy.columns.limit));
    let adaptive = scene.policy.document().settings.adaptive.shares;
    let base = if adaptive && free != i32::MAX { free.saturating_sub(cell(&table.placed, id)) } else { limit };
    let grains = (i64::from(base.max(1)) * GRAIN).min(1 << 24);
    let ramped = grains * i64::from(cell(&scene.picture.ramp_ppm, id)) / WHOLE_PPM;
    u64::try_from(ramped).unwrap_or(1).max(1)
}

/// A share grows by a bounded amount per interval over what it was, counted among those who are equals now; nobody's
/// share is bounded while none of them had any.
fn bound_shift(scene: &Scene, equals: &mut [Ticket]) {
    let most = u64::from(scene.policy.document().settings.selection.max_shift_ppm);
    let whole = WHOLE_PPM as u64;
    let before = |id: u16| u64::from(cell(&scene.picture.share_ppm, id));
    let weights: u64 = equals.iter().map(|ticket| ticket.weight).sum();
    let shares: u64 = equals.iter().map(|ticket| before(ticket.candidate)).sum();
    if equals.len() < 2 || shares == 0 || weights == 0 {
        return;
    }
    for ticket in equals {
        let wanted = ticket.weight * whole / weights;
        let allowed = before(ticket.candidate) * whole / shares + most;
        ticket.weight = wanted.min(allowed).max(1);
    }
}
