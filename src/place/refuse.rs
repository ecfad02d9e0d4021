//! What is said when nothing stands: the most hopeful answer wins.

use super::account::tie;
use super::table::{self, SHARE, Table, unfold, verdict};
use super::{Scene, reasons};
use crate::model::{Code, Codes, Dimension, Outcome, Reason, SubstrateId};

const WORKLOAD: u64 = Codes::all_of(Dimension::Workload).0;
/// To whom it is said, a share that is used up is one thing more that may pass by waiting.
const UNAVAILABLE: u64 = table::UNAVAILABLE | SHARE;
const PASSING: u64 = table::PASSING | SHARE;

/// Not now → 503; too dear, perhaps also not now, or shed on purpose, or nothing but the tenant's own share is in the
/// way → 429; not there → 422; else 403, and whether an approval would change that.
pub(crate) fn refuse(scene: &Scene, table: &mut Table) -> Outcome {
    unfold(scene, table);
    let table: &Table = table;
    let status = |status, id, codes| refused(scene, table, status, id, codes);
    if let Some(id) = best(scene, table, |codes| codes & !UNAVAILABLE == 0) {
        let codes = verdict(scene, table, id).0;
        return match codes & Codes::of(Code::Shed).0 {
            0 if codes == SHARE => status(429, id, SHARE),
            0 => status(503, id, UNAVAILABLE),
            shed => status(429, id, shed),
        };
    }
    if let Some(id) = best(scene, table, |codes| codes & !PASSING == 0) {
        return status(429, id, Codes::all_of(Dimension::Cost).0);
    }
    if let Some(id) = best(scene, table, |codes| codes & !(PASSING | WORKLOAD) == 0) {
        return status(422, id, WORKLOAD);
    }
    let approval = Codes::of(Code::NeedsApproval).0;
    if let Some(id) = best(scene, table, |codes| codes & !(PASSING | approval) == 0) {
        return status(403, id, approval);
    }
    best(scene, table, |_| true)
        .map_or(Outcome::Refused { status: 403, reason: reasons::nobody(), retry_after_s: None }, |id| {
            status(403, id, !(PASSING | WORKLOAD))
        })
}

fn best(scene: &Scene, table: &Table, hopeful: impl Fn(u64) -> bool) -> Option<SubstrateId> {
    let rows = (0..u16::MAX).zip(&table.whole);
    rows.filter(|(_, (codes, _))| hopeful(*codes))
        .max_by_key(|(id, (_, utility))| (*utility, tie(scene, *id)))
        .map(|(id, _)| id)
}

fn refused(scene: &Scene, table: &Table, status: u16, id: SubstrateId, among: u64) -> Outcome {
    let codes = verdict(scene, table, id).and(Codes(among));
    let reason = reasons::first_of(scene, table, id, codes).unwrap_or_else(reasons::nobody);
    let retry_after_s = matches!(status, 429 | 503).then(|| retry_after_s(scene, &reason));
    Outcome::Refused { status, reason, retry_after_s }
}

/// What the reason knows, or else the policy's hint; a minute at most.
fn retry_after_s(scene: &Scene, reason: &Reason) -> u32 {
    let hint = scene.policy.document().settings.shedding.retry_after_s;
    let wait_ms = match reason.code {
        Code::CircuitOpen => reason.needed.saturating_sub(i64::try_from(scene.picture.at_ms).unwrap_or(i64::MAX)),
        Code::RetryAfter => reason.needed,
        _ => return hint,
    };
    u32::try_from(wait_ms.max(0).saturating_add(999) / 1_000).unwrap_or(60).clamp(1, 60)
}
