//! Stage four, the choice: those within a margin of the best are equals, and the key of the request spreads over
//! them by what they have free.

use super::Scene;
use super::account::tie;
use super::classify::share_pusd;
use super::ground::Ground;
use super::rows::{self, Use};
use super::spread::{Luckiest, Ticket, draw};
use super::table::{Table, cell};
use super::trial::trial;
use crate::model::{SubstrateId, WHOLE_PPM};

/// Weights count in sixteenths of a request, so that a ramp does not round a small substrate away.
const GRAIN: i64 = 16;

/// Which of a key's pseudo-random draws says whether it goes to who ramps.
const EASES: u64 = 0x6561_7365;

/// Chooses among those that stand. Those within the margin stay in `table.equals` with their draws. Now and then
/// somebody else is tried.
pub(crate) fn choose(scene: &Scene, table: &mut Table) -> Option<SubstrateId> {
    table.equals.clear();
    let affine = table.affine.and_then(|id| table.row(id));
    let bonus = share_pusd(scene.asked.worth.answer_uusd, scene.policy.document().settings.selection.affinity_ppm);
    let (best, worth) = best(table, affine, bonus)?;
    let least = worth.saturating_sub(margin_pusd(scene, table, table.id(best), worth));
    let Table { ground, codes, utility_pusd, equals, survey, .. } = table;
    let mut add = |at: usize| {
        let row = (ground.ids.get(at), ground.hashes.get(at), ground.uses.get(at));
        if let (Some(&id), Some(&hash), Some(usage)) = row {
            equals.push(Ticket::new(scene.asked.key, id, hash, weight(scene, id, usage), usage.share_ppm));
        }
    };
    match (affine, survey.best(), survey.second()) {
        // The usual case where one stands out: nobody else need be looked at.
        (None, Some((at, _)), second) if second.is_none_or(|(_, second)| second < least) => add(at),
        _ => {
            for (at, (&codes, &utility)) in codes.iter().zip(&*utility_pusd).enumerate() {
                let bonus = if affine == Some(at) { bonus } else { 0 };
                if codes == 0 && utility.saturating_add(bonus) >= least {
                    add(at);
                }
            }
        }
    }
    if equals.len() > 1 {
        stay(ground, equals);
    }
    if ground.most.share_ppm > 0 {
        bound_shift(scene, equals);
    }
    let eased = ease(scene, table);
    table.luckiest = Luckiest::of(&table.equals);
    let tried = if eased { None } else { trial(scene, table) };
    table.trial = tried.is_some();
    tried.or_else(|| table.luckiest.pick(&table.equals, |_| true))
}

/// A home is not left for its equals across a border: what they are worth is no more than the margin, and that is no
/// reason to cross one.
fn stay(ground: &Ground, equals: &mut Vec<Ticket>) {
    let at_home = |ticket: &Ticket| ground.crosses(ticket.candidate).is_empty();
    if equals.iter().any(at_home) {
        equals.retain(at_home);
    }
}

/// While all that are best ramp, they take the share of requests that the furthest of them has grown to. The rest goes to
/// the next best of those that stand and need not ramp; if there is none, the best take all. Says whether this one goes
/// to the next.
fn ease(scene: &Scene, table: &mut Table) -> bool {
    let grown = |ticket: &Ticket| u64::from(cell(&scene.picture.ramp_ppm, ticket.candidate));
    let whole = WHOLE_PPM as u64;
    let Some(share) = table.equals.iter().map(grown).max().filter(|share| *share < whole) else { return false };
    if draw(scene.asked.key, EASES) % whole < share {
        return false;
    }
    let steady = |id: &SubstrateId| cell(&scene.picture.ramp_ppm, *id) as u64 == whole;
    let next = table.standing().filter(|(id, _)| steady(id));
    let Some((best, worth)) = next.max_by_key(|&(id, utility)| (utility, tie(scene, id))) else { return false };
    let least = worth.saturating_sub(margin_pusd(scene, table, best, worth));
    let mut next = core::mem::take(&mut table.equals);
    next.clear();
    let rows = table.standing().filter(|(id, utility)| steady(id) && *utility >= least);
    next.extend(rows.filter_map(|(id, _)| {
        let row = table.row(id)?;
        let (hash, usage) = (table.ground.hashes.get(row)?, table.ground.uses.get(row)?);
        Some(Ticket::new(scene.asked.key, id, *hash, weight(scene, id, usage), usage.share_ppm))
    }));
    stay(&table.ground, &mut next);
    table.equals = next;
    true
}

/// The best that stands, with the bonus of the substrate where the session belongs; the later of equals.
fn best(table: &Table, affine: Option<usize>, bonus: i64) -> Option<(usize, i64)> {
    let stands = |row: &usize| table.codes.get(*row) == Some(&0);
    let affine = affine.filter(stands).and_then(|row| Some((row, table.utility_pusd.get(row)?.saturating_add(bonus))));
    table.survey.best().into_iter().chain(affine).max_by_key(|&(row, worth)| (worth, row))
}

/// How far below the best one is still its equal: a share of what the answer is worth there, or of its utility if
/// that is more. The older the snapshot, the less is known of who is best.
pub(crate) fn margin_pusd(scene: &Scene, table: &Table, best: SubstrateId, utility: i64) -> i64 {
    let selection = &scene.policy.document().settings.selection;
    let seconds_ppm = (scene.picture.age_ms / 1_000).saturating_mul(u64::from(selection.margin_per_second_ppm));
    let known = scene.picture.freshness != Some(crate::model::Freshness::Stale);
    let aged = if known { i64::try_from(seconds_ppm).unwrap_or(WHOLE_PPM) } else { 0 };
    let share = i64::from(selection.margin_ppm).saturating_add(aged).min(WHOLE_PPM);
    let value = share_pusd(scene.asked.worth.answer_uusd, cell(&table.ground.quality_ppm, best));
    let scale = value.max(utility.saturating_abs());
    scale / WHOLE_PPM * share
}

/// What is free for this request, less what this VM has placed since; declared capacity where nobody measures.
#[inline(always)]
fn weight(scene: &Scene, id: SubstrateId, usage: &Use) -> u64 {
    let placed = scene.placed(id);
    if scene.reserves.is_empty() { weigh(usage, placed) } else { own_weight(scene, id, usage, placed) }
}

/// Of a tenant for whom a part is kept: by all that it may use.
#[inline(never)]
fn own_weight(scene: &Scene, id: SubstrateId, usage: &Use, placed: u32) -> u64 {
    let (room, shrinks) = rows::weighed(scene, scene.room(id));
    let left = i32::try_from(scene.kept(id)).unwrap_or(i32::MAX);
    let room = if shrinks { room.max(left.saturating_add_unsigned(placed)) } else { room };
    weigh(&Use { room, shrinks, ..*usage }, placed)
}

/// New and recovered substrates ramp.
#[inline(always)]
fn weigh(usage: &Use, placed: u32) -> u64 {
    let less = if usage.shrinks { placed } else { 0 };
    let base = i64::from(usage.room).saturating_sub(i64::from(less));
    let grains = (base.max(1) * GRAIN).min(1 << 24);
    let ramped = grains * i64::from(usage.ramp_ppm) / WHOLE_PPM;
    u64::try_from(ramped).unwrap_or(1).max(1)
}

/// A share grows by a bounded amount per interval over what it was, counted among those who are equals now; what one
/// may not take goes to the others, within their own bounds. Nobody's share is bounded while none of them had any.
fn bound_shift(scene: &Scene, equals: &mut [Ticket]) {
    let most = u64::from(scene.policy.document().settings.selection.max_shift_ppm);
    let weights: u64 = equals.iter().map(|ticket| ticket.weight).sum();
    let shares: u64 = equals.iter().map(|ticket| u64::from(ticket.share_ppm)).sum();
    if equals.len() < 2 || shares == 0 || weights == 0 {
        return;
    }
    let (wanted, had) = (Shares::of(weights), Shares::of(shares));
    let allowed = |ticket: &Ticket| had.ppm(u64::from(ticket.share_ppm)) + most;
    let (mut taken, mut slack) = (0, 0);
    for ticket in equals.iter_mut() {
        let allowed = allowed(ticket);
        ticket.weight = wanted.ppm(ticket.weight).min(allowed).max(1);
        taken += ticket.weight;
        slack += allowed.saturating_sub(ticket.weight);
    }
    let left = (WHOLE_PPM as u64).saturating_sub(taken);
    // Rounding alone leaves less than one each.
    if left > equals.len() as u64 && slack > 0 {
        let rooms = Shares::of(slack);
        for ticket in equals {
            let room = allowed(ticket).saturating_sub(ticket.weight);
            ticket.weight += rooms.ppm(room) * left / WHOLE_PPM as u64;
        }
    }
}

/// Shares of a total in parts per million, rounded down: a division once, products after that.
struct Shares {
    total: u64,
    /// A million divided by the total, rounded up, in 40 fractional bits.
    each: u64,
}

impl Shares {
    const fn of(total: u64) -> Self {
        Self { total, each: ((WHOLE_PPM as u64) << 40).div_ceil(total) }
    }

    /// Of a part that is within the total, which is below 2^40: so the estimate is never more than one too large.
    #[inline(always)]
    const fn ppm(&self, part: u64) -> u64 {
        let estimate = (part * self.each) >> 40;
        if estimate * self.total > part * WHOLE_PPM as u64 { estimate - 1 } else { estimate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::index::mix;

    #[test]
    fn a_weight_is_what_is_free_in_sixteenths_and_never_nothing() {
        let of = |room, shrinks, ramp_ppm, placed| {
            weigh(&Use { after_ppm: 0, prepaid: None, room, shrinks, ramp_ppm, share_ppm: 0 }, placed)
        };
        assert_eq!(of(4, false, 1_000_000, 3), 64, "declared: what was placed is no matter");
        assert_eq!([0, 3, 4, 9].map(|placed| of(4, true, 1_000_000, placed)), [64, 16, 16, 16], "one at least");
        assert_eq!([0, -5].map(|room| of(room, true, 1_000_000, 0)), [16, 16]);
        assert_eq!([0, 1, 250_000].map(|ramp_ppm| of(4, true, ramp_ppm, 0)), [1, 1, 16]);
        let most = 1 << 24;
        assert_eq!(
            [(1 << 20) - 1, 1 << 20, i32::MAX].map(|room| of(room, true, 1_000_000, 0)),
            [most - 16, most, most]
        );
    }

    #[test]
    fn shares_are_those_that_a_division_gives() {
        for i in 0..50_000_u64 {
            let total = (mix(i) >> (24 + i % 40)).max(1);
            for part in [0, 1, total / 2, total - 1, total, mix(i + 1) % (total + 1)] {
                let divided = u128::from(part) * 1_000_000 / u128::from(total);
                assert_eq!(u128::from(Shares::of(total).ppm(part)), divided, "{part} of {total}");
            }
        }
    }

    /// As the text says it, by divisions.
    fn bounded(most: u64, equals: &[(u64, u64)]) -> Vec<u64> {
        let parts = |of: &dyn Fn(&(u64, u64)) -> u64| {
            let total: u64 = equals.iter().map(of).sum();
            equals.iter().map(|one| of(one) * 1_000_000 / total).collect::<Vec<_>>()
        };
        let allowed: Vec<u64> = parts(&|one| one.1).iter().map(|had| had + most).collect();
        let weights: Vec<u64> =
            parts(&|one| one.0).iter().zip(&allowed).map(|(wanted, allowed)| *wanted.min(allowed).max(&1)).collect();
        let rooms = allowed.iter().zip(&weights).map(|(allowed, weight)| allowed.saturating_sub(*weight));
        let (left, slack) = (1_000_000_u64.saturating_sub(weights.iter().sum()), rooms.clone().sum::<u64>());
        let given =
            |room: u64| if left > equals.len() as u64 { room * 1_000_000 / slack * left / 1_000_000 } else { 0 };
        weights.iter().zip(rooms).map(|(weight, room)| weight + given(room)).collect()
    }

    #[test]
    fn what_one_may_not_take_goes_to_the_others_to_the_last_part_but_for_what_rounding_leaves() {
        let text = include_str!("../../policies/starter.yaml");
        let mut document = crate::policy::read_yaml(text).unwrap().document;
        let mut of = |most: u32, equals: &[(u64, u64)]| {
            document.settings.selection.max_shift_ppm = most;
            let policy = crate::policy::Policy::new(document.clone(), [0; 32]);
            let (local, facts) = (crate::model::Local::default(), crate::model::Facts::default());
            let asked = super::super::classify::classify(&policy, &facts, 0, 1);
            let (aligned, picture) = Default::default();
            let scene = Scene::new(
                &policy,
                &aligned,
                &picture,
                (&local, &facts),
                &asked,
                super::super::gate::Law::default(),
                1,
            );
            let ticket = |(id, one): (u16, &(u64, u64))| Ticket::new(1, id, u64::from(id), one.0, one.1 as u32);
            let mut tickets: Vec<Ticket> = (0..).zip(equals).map(ticket).collect();
            bound_shift(&scene, &mut tickets);
            tickets.iter().map(|ticket| ticket.weight).collect::<Vec<_>>()
        };
        assert_eq!(of(0, &[(1, 499_998), (1, 500_002)]), [499_998, 500_000], "two of two are what rounding may leave");
        assert_eq!(of(0, &[(1, 499_997), (1, 500_003)]), [499_997, 500_003]);
        assert_eq!(of(1_000_000, &[(1, 1), (1 << 24, 1)]), [1, 999_999], "nobody has nothing");
        assert_eq!(of(200_000, &[(3, 0), (1, 1)]), [200_000, 800_000]);
        assert_eq!((of(0, &[(7, 9)]), of(0, &[(7, 0), (7, 0)])), (vec![7], vec![7, 7]), "nobody to compare with");
        for i in 0..400 {
            let number = |n: u64, below: u64| mix(i * 64 + n) % below;
            let equals: Vec<(u64, u64)> =
                (0..2 + number(0, 4)).map(|n| (1 + number(8 + n, 900), number(16 + n, 4) * 1_000 + 1)).collect();
            let most = [0, 1, 2, 1_000, 200_000][number(1, 5) as usize];
            assert_eq!(of(most, &equals), bounded(u64::from(most), &equals), "{most} {equals:?}");
        }
    }
}
