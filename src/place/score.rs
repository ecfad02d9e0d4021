//! Stage four: what each candidate would take, cost and be worth. Utility is money in pico-dollars:
//! `quality × answer − seconds × second − cost − p(failure) × failure`. The bounds of the columns keep every sum
//! within 64 bits.

use super::Scene;
use super::classify::share_pusd;
use super::ground::{Ground, Most};
use super::table::{Table, cell, refill};
use crate::model::{SubstrateId, WHOLE_PPM};
use crate::policy::index::MOST_US;

/// Bytes beyond this are not priced (a gigabyte).
const MOST_BYTES: i64 = 1 << 30;

/// Brings in what paths and bytes cost from where the caller is. What an untrusted caller says of its place can only
/// make things dearer.
pub(crate) fn paths(scene: &Scene, ground: &mut Ground) {
    let (columns, lookups) = (&scene.policy.columns, &scene.policy.lookups);
    ground.byte_pusd.clone_from(&columns.egress_pusd);
    if let Some(region) = scene.facts.region {
        for &(id, price) in lookups.egress.get(region.value).into_iter().flatten() {
            if let Some(cell) = ground.byte_pusd.get_mut(usize::from(id)) {
                *cell = if region.trusted { price } else { price.max(*cell) };
            }
        }
    }
    refill(&mut ground.path_us, columns.len(), 0);
    for link in scene.links() {
        let rows = ground.path_us.iter_mut().zip(&mut ground.byte_pusd);
        for ((path, byte), _) in rows.zip(&columns.zone).filter(|(_, zone)| **zone == link.zone) {
            *path = link.latency_us;
            *byte += link.pusd_per_byte;
        }
    }
}

/// What the utility of one candidate is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) quality_ppm: i64,
    pub(crate) risk_ppm: i64,
    /// With the path.
    pub(crate) first_us: i64,
    pub(crate) input_us: i64,
    pub(crate) output_us: i64,
    pub(crate) fixed_pusd: i64,
    pub(crate) input_pusd: i64,
    pub(crate) output_pusd: i64,
    pub(crate) byte_pusd: i64,
}

pub(crate) fn figures(scene: &Scene, ground: &Ground, id: SubstrateId) -> Figures {
    let f = scene.picture.forecast.of(id);
    Figures {
        quality_ppm: i64::from(cell(&ground.quality_ppm, id)),
        risk_ppm: i64::from(f.risk_ppm),
        first_us: f.first_us + cell(&ground.path_us, id),
        input_us: f.input_us,
        output_us: f.output_us,
        fixed_pusd: cell(&scene.policy.columns.fixed_pusd, id),
        input_pusd: f.input_pusd,
        output_pusd: f.output_pusd,
        byte_pusd: cell(&ground.byte_pusd, id),
    }
}

/// Time, cost and worth of one candidate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rated {
    /// Time that the deadline bounds: until the first token of a stream, else the whole.
    pub(crate) need_us: i64,
    pub(crate) total_us: i64,
    pub(crate) cost_pusd: i64,
    pub(crate) utility_pusd: i64,
}

pub(crate) fn rated(scene: &Scene, ground: &Ground, id: SubstrateId) -> Rated {
    let (f, asked) = (figures(scene, ground, id), scene.asked);
    let first = (f.first_us + f.input_us * asked.input).min(MOST_US);
    let total_us = (first + f.output_us * asked.output).min(MOST_US);
    let tokens = f.input_pusd * asked.input + f.output_pusd * asked.output;
    let cost_pusd = f.fixed_pusd + tokens + f.byte_pusd * output_bytes(scene);
    Rated {
        need_us: if asked.stream { first } else { total_us },
        total_us,
        cost_pusd,
        utility_pusd: f.quality_ppm * asked.worth.answer_uusd
            - total_us * asked.worth.second_uusd
            - cost_pusd
            - f.risk_ppm * asked.worth.failure_uusd,
    }
}

/// Whether nobody reaches a bound on times or bytes, so that times and utilities are affine in the tokens.
pub(crate) fn is_affine(scene: &Scene, most: &Most) -> bool {
    let (input, output) = (scene.asked.input, scene.asked.output);
    let bytes = output.saturating_mul(i64::from(scene.policy.document().settings.bytes_per_token.max(1)));
    most.first_us + most.input_us * input + most.output_us * output <= MOST_US && bytes <= MOST_BYTES
}

/// The most that any candidate costs.
pub(crate) fn most_pusd(scene: &Scene, most: &Most) -> i64 {
    let tokens = most.input_pusd * scene.asked.input + most.output_pusd * scene.asked.output;
    most.fixed_pusd + tokens + most.byte_pusd * output_bytes(scene)
}

/// Bytes of the answer, estimated.
pub(crate) fn output_bytes(scene: &Scene) -> i64 {
    let per_token = i64::from(scene.policy.document().settings.bytes_per_token.max(1));
    (scene.asked.output * per_token).min(MOST_BYTES)
}

/// The four terms of a utility in micro-dollars; they add up to it exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the answer is worth.
    pub quality_uusd: i64,
    /// What waiting costs, negative.
    pub time_uusd: i64,
    /// What it costs, negative.
    pub cost_uusd: i64,
    /// What failing costs, by its probability, negative.
    pub risk_uusd: i64,
}

impl Terms {
    /// The utility.
    #[must_use]
    pub const fn sum_uusd(&self) -> i64 {
        self.quality_uusd + self.time_uusd + self.cost_uusd + self.risk_uusd
    }
}

/// The terms of a candidate: partial sums are rounded, so that no rounding is lost between them.
pub(crate) fn terms(scene: &Scene, table: &Table, id: SubstrateId) -> Terms {
    let (worth, rated) = (scene.asked.worth, rated(scene, &table.ground, id));
    let quality = share_pusd(worth.answer_uusd, cell(&table.ground.quality_ppm, id));
    let after_time = quality - rated.total_us * worth.second_uusd;
    let after_cost = after_time - rated.cost_pusd;
    let after_risk = after_cost - share_pusd(worth.failure_uusd, scene.picture.forecast.of(id).risk_ppm);
    let sums = [quality, after_time, after_cost, after_risk].map(uusd);
    let [quality_uusd, time, cost, whole] = sums;
    Terms { quality_uusd, time_uusd: time - quality_uusd, cost_uusd: cost - time, risk_uusd: whole - cost }
}

/// Pico-dollars as micro-dollars, to the nearest.
pub(crate) const fn uusd(pusd: i64) -> i64 {
    pusd.saturating_add(WHOLE_PPM / 2).div_euclid(WHOLE_PPM)
}
