//! Stage three, cost: the request's limit, the tenant's budget, what is paid for first.

use super::Scene;
use super::rows::Use;
use super::score::{most_pusd, rated};
use super::table::{PASSING, Table, UNAVAILABLE, bit, cell};
use crate::model::{Code, SubstrateId, WHOLE_PPM};
use crate::policy::index::PREPAID;

/// Marks what is over budget, and finds whether burst capacity has to wait.
pub(crate) fn check(scene: &Scene, table: &mut Table) {
    // Where even the dearest is within the budget, nobody has to be asked.
    if most_pusd(scene, &table.ground.most) > scene.limit_pusd.min(scene.left_pusd) {
        let Table { ground, codes, changed, .. } = table;
        for (codes, &id) in codes.iter_mut().zip(&ground.ids) {
            *codes |= now(scene, rated(scene, ground, id).cost_pusd);
        }
        *changed = true;
    }
    let last_ppm = table.ground.most.after_ppm;
    table.prepaid_ppm = (last_ppm > 0).then(|| prepaid_ppm(scene, table)).flatten();
    if table.prepaid_ppm.is_some_and(|used| used < i64::from(last_ppm)) {
        let Table { ground, codes, prepaid_ppm, changed, .. } = table;
        codes.iter_mut().zip(&ground.uses).for_each(|(codes, usage)| *codes |= waits(*prepaid_ppm, usage.after_ppm));
        *changed = true;
    }
}

/// Whether a cost is within the request's limit and the tenant's budget.
pub(crate) fn now(scene: &Scene, cost_pusd: i64) -> u64 {
    bit(Code::RequestCost, cost_pusd > scene.limit_pusd) | bit(Code::TenantBudget, cost_pusd > scene.left_pusd)
}

/// Whether burst capacity has to wait until what is paid for is used to its threshold.
pub(crate) const fn waits(prepaid_ppm: Option<i64>, after_ppm: u32) -> u64 {
    match prepaid_ppm {
        Some(used) => bit(Code::ReservedFirst, used < after_ppm as i64),
        None => 0,
    }
}

/// How many may be placed since the snapshot before burst capacity is at its ceiling.
pub(crate) fn most_places(scene: &Scene, id: SubstrateId) -> u32 {
    let prepaid = cell(&scene.policy.columns.flags, id) & PREPAID != 0;
    match cell(&scene.picture.burst_free, id) {
        free if !prepaid && free != i32::MAX => free.max(0).unsigned_abs(),
        _ => u32::MAX,
    }
}

/// Whether burst capacity is at its ceiling.
pub(crate) fn ceiling(scene: &Scene, id: SubstrateId) -> u64 {
    bit(Code::BurstCeiling, scene.placed(id) >= most_places(scene, id))
}

/// How much of the prepaid capacity that could do this work is in use; what is not available counts as used, what
/// nobody has measured does not count.
fn prepaid_ppm(scene: &Scene, table: &Table) -> Option<i64> {
    let (mut used, mut capacity) = (0, 0);
    let rows = table.ground.open.iter().zip(&table.ground.ids);
    for (&codes, ((row, &id), usage)) in table.codes.iter().zip(rows.zip(&table.ground.uses)) {
        let whole = i64::from(row.concurrency);
        match prepaid(usage, codes) {
            Some(Prepaid::Gone) => (used, capacity) = (used + whole, capacity + whole),
            Some(Prepaid::Used(n)) => {
                used += (i64::from(n) + i64::from(scene.placed(id))).min(whole);
                capacity += whole;
            }
            None => {}
        }
    }
    (capacity > 0).then(|| used * WHOLE_PPM / capacity)
}

enum Prepaid {
    Gone,
    Used(i32),
}

const fn prepaid(usage: &Use, codes: u64) -> Option<Prepaid> {
    let Some(measured) = usage.prepaid else { return None };
    if codes & !PASSING != 0 {
        None
    } else if codes & UNAVAILABLE != 0 {
        Some(Prepaid::Gone)
    } else if measured >= 0 {
        Some(Prepaid::Used(measured))
    } else {
        None
    }
}
