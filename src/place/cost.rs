//! Stage three, cost: the request's limit, the tenant's budget, what is paid for first.

use super::Scene;
use super::table::{PASSING, Table, bit, cell};
use crate::model::{Code, Codes, Dimension, WHOLE_PPM};

/// Marks what is over budget.
pub(crate) fn check(scene: &Scene, table: &mut Table) {
    let limit = scene.asked.cost_limit_uusd.map_or(i64::MAX, |uusd| uusd.saturating_mul(WHOLE_PPM));
    let left = scene.budget_left_uusd().map_or(i64::MAX, |uusd| uusd.saturating_mul(WHOLE_PPM));
    for (codes, &cost) in table.codes.iter_mut().zip(&table.cost_pusd) {
        *codes |= bit(Code::RequestCost, cost > limit) | bit(Code::TenantBudget, cost > left);
    }
    burst(scene, table);
}

/// Burst capacity waits until what is paid for is used to its threshold, and never exceeds its ceiling.
fn burst(scene: &Scene, table: &mut Table) {
    let lookups = &scene.policy.lookups;
    table.prepaid_ppm = prepaid_ppm(scene, table);
    for &id in &lookups.burst {
        let after = i64::from(cell(&scene.policy.columns.burst_after_ppm, id));
        let free = cell(&scene.picture.burst_free, id);
        let waits = table.prepaid_ppm.is_some_and(|used| used < after);
        let full = free != i32::MAX && cell(&table.placed, id) >= free;
        let bits = bit(Code::ReservedFirst, waits) | bit(Code::BurstCeiling, full);
        table.mark(id, Codes(bits));
    }
}

/// How much of the prepaid capacity that could do this work is in use; what is not available counts as used, what
/// nobody has measured does not count.
fn prepaid_ppm(scene: &Scene, table: &Table) -> Option<i64> {
    let unavailable = Codes::all_of(Dimension::Availability).0;
    let (mut used, mut capacity) = (0, 0);
    for &id in &scene.policy.lookups.prepaid {
        let codes = cell(&table.codes, id);
        if codes & !PASSING != 0 {
            continue;
        }
        let whole = i64::from(cell(&scene.policy.columns.concurrency, id));
        let measured = cell(&scene.picture.prepaid, id);
        if codes & unavailable != 0 {
            used += whole;
            capacity += whole;
        } else if measured >= 0 {
            used += (measured + i64::from(cell(&table.placed, id))).min(whole);
            capacity += whole;
        }
    }
    (capacity > 0).then(|| used * WHOLE_PPM / capacity)
}
