//! Stage two, the filter: can it run this work at all?

use super::Scene;
use super::table::{Table, bit, refill};
use crate::model::Code;
use crate::policy::index::THROUGHPUT;

/// Brings in what is offered of the model that was asked for.
pub(crate) fn offers(scene: &Scene, table: &mut Table) {
    let columns = &scene.policy.columns;
    let Some(model) = scene.facts.model else {
        table.quality_ppm.clone_from(&columns.quality_ppm);
        table.context.clone_from(&columns.context);
        return;
    };
    refill(&mut table.quality_ppm, columns.len(), 0);
    refill(&mut table.context, columns.len(), 0);
    refill(&mut table.codes, columns.len(), bit(Code::Model, true));
    for offer in scene.policy.lookups.models.get(model.value).into_iter().flatten() {
        let at = usize::from(offer.substrate);
        let cells = (table.quality_ppm.get_mut(at), table.context.get_mut(at), table.codes.get_mut(at));
        if let (Some(quality), Some(context), Some(codes)) = cells {
            (*quality, *context, *codes) = (offer.quality_ppm, offer.context, 0);
        }
    }
}

/// Context, features, quality, the kind of work it was built for, and time.
pub(crate) fn sift(scene: &Scene, table: &mut Table) {
    able(scene, table);
    reach(scene, table);
}

fn able(scene: &Scene, table: &mut Table) {
    let asked = scene.asked;
    let (tokens, columns) = (asked.input + asked.output, &scene.policy.columns);
    let rows = table.codes.iter_mut().zip(&table.context).zip(&table.quality_ppm);
    let offered = columns.features.iter().zip(&columns.flags);
    for (((codes, &context), &quality), (&features, &flags)) in rows.zip(offered) {
        // What is not served has no context and no quality to speak of.
        let served = *codes & bit(Code::Model, true) == 0;
        *codes |= bit(Code::Context, served && tokens > i64::from(context))
            | bit(Code::Quality, served && quality < asked.min_quality_ppm)
            | bit(Code::Feature, asked.features & !features != 0)
            | bit(Code::Throughput, asked.avoid_throughput && flags & THROUGHPUT != 0);
    }
}

/// Whether it can answer in time: now (availability), or at all, unloaded, as declared (workload).
fn reach(scene: &Scene, table: &mut Table) {
    let deadline = scene.asked.deadline_us;
    for (at, (codes, &need)) in (0..u16::MAX).zip(table.codes.iter_mut().zip(&table.need_us)) {
        if need > deadline {
            let unloaded = scene.unloaded_us(at, super::table::cell(&table.path_us, at));
            *codes |= bit(Code::Slow, unloaded > deadline) | bit(Code::Deadline, unloaded <= deadline);
        }
    }
}
