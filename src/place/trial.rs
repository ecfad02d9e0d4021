//! Who is tried although somebody else is worth more, so that one who was slow and has recovered is found again.
//!
//! What is measured of a substrate that nobody is sent to grows too old to count, and what it declares then stands
//! against what the others were measured to be. Where they were measured to be better than that, it would never be sent
//! anything again, and nothing of it ever measured. The same holds for one whose circuit waits for a probe.

use super::Scene;
use super::account::tie;
use super::availability::may_probe;
use super::spread::draw;
use super::table::{Table, cell, utility};
use crate::model::SubstrateId;

/// One request in so many may be one.
const RARELY: u64 = 32;
/// Which of the seed's pseudo-random draws says so.
const SALT: u64 = 0x0074_7269_616c;

/// The substrate that this request tries, if it tries one: permitted and able as any other, over no border, with
/// nothing on its way there from here. The answer brings a measurement, and with it the end of this.
pub(crate) fn trial(scene: &Scene, table: &Table) -> Option<SubstrateId> {
    let picture = scene.picture;
    let nobody = picture.faded.is_empty() && picture.probes.is_empty();
    if nobody || !draw(scene.seed, SALT).is_multiple_of(RARELY) {
        return None;
    }
    let waiting = picture.probes.iter().map(|probe| probe.substrate).filter(|id| may_probe(scene, *id));
    let idle = |id: &SubstrateId| scene.placed(*id) == 0 && cell(&picture.load, *id) == 0;
    let stands = |id: &SubstrateId| table.row(*id).and_then(|row| table.codes.get(row)) == Some(&0);
    let equal = |id: &SubstrateId| table.equals.iter().any(|ticket| ticket.candidate == *id);
    let faded = picture.faded.iter().copied().chain(waiting);
    faded
        .filter(|id| stands(id) && idle(id) && !equal(id) && table.ground.crosses(*id).is_empty())
        .max_by_key(|id| (utility(scene, table, *id), tie(scene, *id)))
}
