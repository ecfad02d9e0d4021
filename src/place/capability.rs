//! Stage two, the filter: can it run this work at all?

use super::Scene;
use super::ground::Ground;
use super::table::{bit, cell, refill};
use crate::model::{Code, SubstrateId};
use crate::policy::index::THROUGHPUT;

/// Brings in what is offered of the model that was asked for.
pub(crate) fn offers(scene: &Scene, ground: &mut Ground) {
    let columns = &scene.policy.columns;
    refill(&mut ground.codes, columns.len(), 0);
    let Some(model) = scene.facts.model else {
        ground.quality_ppm.clone_from(&columns.quality_ppm);
        ground.context.clone_from(&columns.context);
        return;
    };
    refill(&mut ground.quality_ppm, columns.len(), 0);
    refill(&mut ground.context, columns.len(), 0);
    refill(&mut ground.codes, columns.len(), bit(Code::Model, true));
    for offer in scene.policy.lookups.models.get(model.value).into_iter().flatten() {
        let at = usize::from(offer.substrate);
        let cells = (ground.quality_ppm.get_mut(at), ground.context.get_mut(at), ground.codes.get_mut(at));
        if let (Some(quality), Some(context), Some(codes)) = cells {
            (*quality, *context, *codes) = (offer.quality_ppm, offer.context, 0);
        }
    }
}

/// Features, quality, and the kind of work it was built for.
pub(crate) fn sift(scene: &Scene, ground: &mut Ground) {
    let (asked, columns) = (scene.asked, &scene.policy.columns);
    let rows = ground.codes.iter_mut().zip(&ground.quality_ppm);
    let offered = columns.features.iter().zip(&columns.flags);
    for ((codes, &quality), (&features, &flags)) in rows.zip(offered) {
        // What is not served has no quality to speak of.
        let served = *codes & bit(Code::Model, true) == 0;
        *codes |= bit(Code::Quality, served && quality < asked.min_quality_ppm)
            | bit(Code::Feature, asked.features & !features != 0)
            | bit(Code::Throughput, asked.avoid_throughput && flags & THROUGHPUT != 0);
    }
}

/// Whether the request's tokens fit, and whether one attempt can answer in time: now (availability), or at all,
/// unloaded, as declared (workload).
pub(crate) fn now(scene: &Scene, ground: &Ground, id: SubstrateId, need_us: i64) -> u64 {
    // What is not served has no context to speak of either.
    let served = cell(&ground.codes, id) & bit(Code::Model, true) == 0;
    let tokens = scene.asked.input + scene.asked.output;
    let context = bit(Code::Context, served && tokens > i64::from(cell(&ground.context, id)));
    let deadline = scene.asked.try_us;
    if need_us <= deadline {
        return context;
    }
    let unloaded = scene.unloaded_us(id, cell(&ground.path_us, id));
    context | bit(Code::Slow, unloaded > deadline) | bit(Code::Deadline, unloaded <= deadline)
}
