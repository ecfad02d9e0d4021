//! Stage four: what each candidate would take, cost and be worth. Utility is money in pico-dollars:
//! `quality × answer − seconds × second − cost − p(failure) × failure`. The bounds of the columns keep every sum
//! within 64 bits.

use super::Scene;
use super::classify::share_pusd;
use super::table::{Table, cell, refill};
use crate::model::{SubstrateId, WHOLE_PPM};
use crate::policy::index::MOST_US;

/// Bytes beyond this are not priced (a gigabyte).
const MOST_BYTES: i64 = 1 << 30;

/// Brings in what paths and bytes cost from where the caller is. What an untrusted caller says of its place can only
/// make things dearer.
fn paths(scene: &Scene, table: &mut Table) {
    let (columns, lookups) = (&scene.policy.columns, &scene.policy.lookups);
    table.byte_pusd.clone_from(&columns.egress_pusd);
    if let Some(region) = scene.facts.region {
        for &(id, price) in lookups.egress.get(region.value).into_iter().flatten() {
            if let Some(cell) = table.byte_pusd.get_mut(usize::from(id)) {
                *cell = if region.trusted { price } else { price.max(*cell) };
            }
        }
    }
    refill(&mut table.path_us, columns.len(), 0);
    for link in scene.links() {
        let rows = table.path_us.iter_mut().zip(&mut table.byte_pusd);
        for ((path, byte), _) in rows.zip(&columns.zone).filter(|(_, zone)| **zone == link.zone) {
            *path = link.latency_us;
            *byte += link.pusd_per_byte;
        }
    }
}

/// Times, costs and utilities of all candidates.
pub(crate) fn rate(scene: &Scene, table: &mut Table) {
    paths(scene, table);
    let asked = scene.asked;
    let (input, output, bytes) = (asked.input, asked.output, output_bytes(scene));
    let rows = scene.picture.forecast.figures.iter().zip(&scene.policy.columns.fixed_pusd);
    let paths = table.path_us.iter().zip(&table.byte_pusd).zip(&table.quality_ppm);
    let times = table.need_us.iter_mut().zip(&mut table.total_us);
    let money = table.cost_pusd.iter_mut().zip(&mut table.utility_pusd);
    for (((figures, fixed), ((path, byte), &quality)), ((need_us, total_us), (cost_pusd, utility_pusd))) in
        rows.zip(paths).zip(times.zip(money))
    {
        let first = (figures.first_us + path + figures.input_us * input).min(MOST_US);
        let total = (first + figures.output_us * output).min(MOST_US);
        let cost = fixed + figures.input_pusd * input + figures.output_pusd * output + byte * bytes;
        *need_us = if asked.stream { first } else { total };
        *total_us = total;
        *cost_pusd = cost;
        *utility_pusd = i64::from(quality) * asked.worth.answer_uusd
            - total * asked.worth.second_uusd
            - cost
            - i64::from(figures.risk_ppm) * asked.worth.failure_uusd;
    }
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
    let worth = scene.asked.worth;
    let risk = scene.picture.forecast.figures.get(usize::from(id)).map_or(0, |f| f.risk_ppm);
    let quality = share_pusd(worth.answer_uusd, cell(&table.quality_ppm, id));
    let after_time = quality - cell(&table.total_us, id) * worth.second_uusd;
    let after_cost = after_time - cell(&table.cost_pusd, id);
    let after_risk = after_cost - share_pusd(worth.failure_uusd, risk);
    let sums = [quality, after_time, after_cost, after_risk].map(uusd);
    let [quality_uusd, time, cost, whole] = sums;
    Terms { quality_uusd, time_uusd: time - quality_uusd, cost_uusd: cost - time, risk_uusd: whole - cost }
}

/// Pico-dollars as micro-dollars, to the nearest.
pub(crate) const fn uusd(pusd: i64) -> i64 {
    pusd.saturating_add(WHOLE_PPM / 2).div_euclid(WHOLE_PPM)
}
