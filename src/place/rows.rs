//! The rows of a ground: what one request's arithmetic reads of each candidate, side by side in memory, so that the
//! loop over thousands of them touches one line of cache each.
//!
//! Columns instead of rows would let a compiler work on several candidates at once; but the work is a handful of
//! 64-bit products, which neither SSE2 nor WebAssembly's plain instructions multiply side by side.

use super::ground::{Ground, Most};
use super::scene::Room;
use super::score::{self, Figures};
use super::table::{PASSING, Table, UNAVAILABLE, cell};
use super::{Scene, availability, capability, cost, tally};
use crate::model::SubstrateId;
use crate::policy::index::PREPAID;

/// A candidate that the law and the class leave. Its utility and its time are affine in the tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// What rejects it whoever asks like this.
    codes: u64,
    worth: Affine,
    /// The time that the deadline bounds: so much, and so much per token.
    need_us: i64,
    need_input_us: u32,
    need_output_us: u32,
    /// Requests of more tokens than this fail on something there.
    tokens: u32,
    /// Placing as many as this since the snapshot fills something there, unless a part of it is kept for the tenant.
    places: u32,
    load: i32,
    pub(crate) concurrency: i32,
}

/// `fixed + input × tokens + output × tokens`, in pico-dollars. Partial sums may pass the ends of 64 bits and come
/// back; the whole never does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    fixed: i64,
    input: i64,
    output: i64,
}

impl Affine {
    /// One that is at least both, whatever the tokens.
    fn most(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.max(other.fixed),
            input: self.input.max(other.input),
            output: self.output.max(other.output),
        }
    }

    #[inline(always)]
    pub(crate) const fn of(&self, input: i64, output: i64) -> i64 {
        self.fixed.wrapping_add(self.input.wrapping_mul(input)).wrapping_add(self.output.wrapping_mul(output))
    }
}

/// What is read of an open one only now and then: whether it has to wait, and how it is weighed among equals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    /// Of burst capacity: how much of what is paid for must be in use first.
    pub(crate) after_ppm: u32,
    /// Of prepaid capacity: how much of it is in use, negative if nobody knows.
    pub(crate) prepaid: Option<i32>,
    /// What its weight comes from, and whether what was placed since counts against it.
    pub(crate) room: i32,
    pub(crate) shrinks: bool,
    pub(crate) ramp_ppm: u32,
    pub(crate) share_ppm: u32,
}

/// A few candidates that will not stand, and a worth that none of them exceeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shut {
    pub(crate) most: Affine,
    pub(crate) rows: [(Affine, SubstrateId); SHUT],
    pub(crate) len: usize,
}

/// How many of the best are remembered.
const TOP: usize = 4;

/// How many shut ones are passed over at once.
pub(crate) const SHUT: usize = 8;

/// Lays the rows of a ground whose columns are filled.
pub(crate) fn lay(scene: &Scene, ground: &mut Ground) {
    ground.clear();
    let mut most = Most::default();
    for id in (0..SubstrateId::MAX).take(ground.codes.len()) {
        let figures = score::figures(scene, ground, id);
        let (worth, usage) = (affine(scene, &figures), usage(scene, id));
        ground.after_ppm.push(usage.after_ppm);
        most.take(&figures);
        most.after_ppm = most.after_ppm.max(usage.after_ppm);
        if cell(&ground.codes, id) & !PASSING != 0 {
            ground.at.push(None);
            shut(&mut ground.shut, worth, id);
            tally::keep(scene, ground, id, &figures, &usage);
            continue;
        }
        most.include(&figures, &usage);
        ground.at.push(u16::try_from(ground.open.len()).ok());
        ground.open.push(open(scene, ground, id, &figures, worth));
        ground.ids.push(id);
        ground.hashes.push(cell(&scene.policy.columns.hash, id));
        ground.uses.push(usage);
    }
    ground.most = most;
}

fn shut(blocks: &mut Vec<Shut>, worth: Affine, id: SubstrateId) {
    if let Some(block) = blocks.last_mut()
        && let Some(row) = block.rows.get_mut(block.len)
    {
        (*row, block.most) = ((worth, id), block.most.most(worth));
        block.len += 1;
        return;
    }
    blocks.push(Shut { most: worth, rows: [(worth, id); SHUT], len: 1 });
}

fn affine(scene: &Scene, f: &Figures) -> Affine {
    let worth = scene.asked.worth;
    let per_token = i64::from(scene.policy.document().settings.bytes_per_token.max(1));
    let fixed = (f.quality_ppm * worth.answer_uusd)
        .wrapping_sub(f.first_us.wrapping_mul(worth.second_uusd))
        .wrapping_sub(f.fixed_pusd)
        .wrapping_sub(f.risk_ppm * worth.failure_uusd);
    let price = |us: i64, pusd: i64| us.wrapping_mul(worth.second_uusd).wrapping_add(pusd).wrapping_neg();
    Affine {
        fixed,
        input: price(f.input_us, f.input_pusd),
        output: price(f.output_us, f.output_pusd.wrapping_add(f.byte_pusd.wrapping_mul(per_token))),
    }
}

fn open(scene: &Scene, ground: &Ground, id: SubstrateId, f: &Figures, worth: Affine) -> Open {
    let narrow = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Open {
        codes: cell(&ground.codes, id),
        worth,
        need_us: f.first_us,
        need_input_us: narrow(f.input_us),
        need_output_us: if scene.asked.stream { 0 } else { narrow(f.output_us) },
        tokens: narrow(i64::from(cell(&ground.context, id)).min(availability::most_tokens(scene, id))),
        places: availability::most_places(scene, id, scene.common(id)).min(cost::most_places(scene, id)),
        load: cell(&scene.picture.load, id),
        concurrency: cell(&scene.policy.columns.concurrency, id),
    }
}

fn usage(scene: &Scene, id: SubstrateId) -> Use {
    let (picture, columns) = (scene.picture, &scene.policy.columns);
    let (room, shrinks) = weighed(scene, scene.common(id));
    let prepaid = cell(&columns.flags, id) & PREPAID != 0;
    Use {
        after_ppm: if prepaid { 0 } else { cell(&columns.burst_after_ppm, id) },
        prepaid: prepaid.then(|| i32::try_from(cell(&picture.prepaid, id)).unwrap_or(i32::MAX)),
        room,
        shrinks,
        ramp_ppm: cell(&picture.ramp_ppm, id),
        share_ppm: cell(&picture.share_ppm, id),
    }
}

/// What the weight of one among equals comes from: what is free there, or what it holds where nobody knows or nothing
/// adapts; and which of both it is.
pub(crate) fn weighed(scene: &Scene, Room { limit, free }: Room) -> (i32, bool) {
    let free = free.filter(|_| scene.policy.document().settings.adaptive.shares);
    (free.unwrap_or(limit), free.is_some())
}

impl Most {
    /// Times, of everybody.
    fn take(&mut self, f: &Figures) {
        self.first_us = self.first_us.max(f.first_us);
        self.input_us = self.input_us.max(f.input_us);
        self.output_us = self.output_us.max(f.output_us);
    }

    /// Prices.
    pub(crate) fn include(&mut self, f: &Figures, usage: &Use) {
        self.fixed_pusd = self.fixed_pusd.max(f.fixed_pusd);
        self.input_pusd = self.input_pusd.max(f.input_pusd);
        self.output_pusd = self.output_pusd.max(f.output_pusd);
        self.byte_pusd = self.byte_pusd.max(f.byte_pusd);
        self.share_ppm = self.share_ppm.max(usage.share_ppm);
    }
}

/// Fills the table of the open ones: what rejects each, and its utility; and surveys them.
pub(crate) fn fill(scene: &Scene, table: &mut Table) {
    let Table { ground, codes, utility_pusd, survey, .. } = table;
    codes.resize(ground.open.len(), 0);
    utility_pusd.resize(ground.open.len(), 0);
    *survey = Survey::default();
    let cells = codes.iter_mut().zip(utility_pusd.iter_mut());
    let rows = ground.open.iter().zip(&ground.ids).zip(cells);
    let (input, output, deadline) = (scene.asked.input, scene.asked.output, scene.asked.try_us);
    let tokens = input + output;
    if !score::is_affine(scene, &ground.most) {
        for ((row, &id), (codes, utility)) in rows {
            let rated = score::rated(scene, ground, id);
            *codes = row.codes | pressed(scene, ground, id, rated.need_us);
            *utility = rated.utility_pusd;
            survey.see(row, *codes, *utility, scene.placed(id));
        }
        return;
    }
    for ((row, &id), (codes, utility)) in rows {
        let need = row.need_us + i64::from(row.need_input_us) * input + i64::from(row.need_output_us) * output;
        let placed = scene.placed(id);
        *utility = row.worth.of(input, output);
        *codes = row.codes;
        if (need > deadline) | (tokens > i64::from(row.tokens)) | (placed >= row.places) {
            *codes |= pressed(scene, ground, id, score::rated(scene, ground, id).need_us);
        }
        survey.see(row, *codes, *utility, placed);
    }
}

/// Surveys the open ones again, because codes have changed.
pub(crate) fn survey(scene: &Scene, table: &mut Table) {
    let Table { ground, codes, utility_pusd, survey, .. } = table;
    *survey = Survey::default();
    for ((row, &id), (codes, utility)) in ground.open.iter().zip(&ground.ids).zip(codes.iter().zip(&*utility_pusd)) {
        survey.see(row, *codes, *utility, scene.placed(id));
    }
}

/// How many are permitted and able, how loaded they are together, and the best of those that stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Survey {
    pub(crate) able: i64,
    pub(crate) load: i64,
    pub(crate) capacity: i64,
    /// Capacity of those that stand.
    pub(crate) left: i64,
    pub(crate) standing: usize,
    /// Rows and utilities of the best few, the later of equals first: of the best one and its runner-up, and enough for
    /// a plan whose first choice it is.
    pub(crate) top: [Option<(usize, i64)>; TOP],
    /// Above the last of them nobody is passed over.
    bar: Option<i64>,
    row: usize,
}

impl Survey {
    /// Counts one more, from first to last.
    #[inline(always)]
    fn see(&mut self, row: &Open, codes: u64, utility: i64, placed: u32) {
        let able = i64::from(codes & !UNAVAILABLE == 0);
        let whole = i64::from(row.concurrency);
        self.able += able;
        self.load += able * (i64::from(row.load) + i64::from(placed)).min(whole);
        self.capacity += able * whole;
        if codes == 0 {
            self.standing += 1;
            self.left += whole;
            if self.bar.is_none_or(|bar| utility >= bar) {
                self.rank(utility);
            }
        }
        self.row += 1;
    }

    fn rank(&mut self, utility: i64) {
        let at = self.top.iter().position(|one| one.is_none_or(|(_, known)| utility >= known)).unwrap_or(TOP);
        if let Some(lower) = self.top.get_mut(at..) {
            lower.rotate_right(1);
            if let Some(place) = lower.first_mut() {
                *place = Some((self.row, utility));
            }
        }
        self.bar = self.top.last().copied().flatten().map(|(_, last)| last);
    }

    /// The best one.
    pub(crate) const fn best(&self) -> Option<(usize, i64)> {
        let [best, ..] = self.top;
        best
    }

    /// The one after it.
    pub(crate) const fn second(&self) -> Option<(usize, i64)> {
        let [_, second, ..] = self.top;
        second
    }
}

/// What rejects a candidate for this request's size, its deadline and what was placed since the snapshot.
pub(crate) fn pressed(scene: &Scene, ground: &Ground, id: SubstrateId, need_us: i64) -> u64 {
    capability::now(scene, ground, id, need_us) | availability::now(scene, id) | cost::ceiling(scene, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Code, Codes};

    #[test]
    fn the_best_few_are_remembered_in_order_and_the_rest_counted() {
        let worth = Affine { fixed: 0, input: 0, output: 0 };
        let open = |load| Open {
            codes: 0,
            worth,
            need_us: 0,
            need_input_us: 0,
            need_output_us: 0,
            tokens: 0,
            places: 0,
            load,
            concurrency: 10,
        };
        let mut survey = Survey::default();
        // Of equals the later comes first; who is rejected has a row and no place.
        for (codes, utility, load) in
            [(0, 5, 1), (Codes::of(Code::Model).0, 99, 1), (0, 7, 2), (0, 5, 20), (0, 1, 0), (0, 6, 0), (0, 9, 0)]
        {
            survey.see(&open(load), codes, utility, 3);
        }
        assert_eq!(survey.top, [Some((6, 9)), Some((2, 7)), Some((5, 6)), Some((3, 5))]);
        assert_eq!((survey.best(), survey.second()), (Some((6, 9)), Some((2, 7))));
        assert_eq!(survey.standing, 6);
        assert_eq!((survey.able, survey.capacity), (6, 60));
        // What runs there and what was placed since, as much as it holds at most.
        assert_eq!(survey.load, 4 + 5 + 10 + 3 + 3 + 3);
    }
}
