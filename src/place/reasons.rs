//! The numbers behind a code: what was needed and what there was. Worked out only for the reasons that somebody
//! reads; the stages keep the codes alone.

use super::Scene;
use super::picture::ELSEWHERE;
use super::score::{rated, uusd};
use super::table::{Table, cell};
use crate::model::{Circuit, Code, Codes, Dimension, Reason, Signal, SubstrateId, WHOLE_PPM};
use crate::policy::index::positions;

/// The reason of a policy without any substrate.
pub(crate) const fn nobody() -> Reason {
    Reason { code: Code::NoEnvelope, needed: 0, has: 0 }
}

/// The first reason of a candidate among some of its codes: what policy says before what is measured.
pub(crate) fn first_of(scene: &Scene, table: &Table, id: SubstrateId, codes: Codes) -> Option<Reason> {
    let ordered = Dimension::PRECEDENCE.into_iter().flat_map(|d| codes.and(Codes::all_of(d)).iter());
    ordered.map(|code| reason(scene, table, id, code)).next()
}

/// A rejection with its numbers.
pub(crate) fn reason(scene: &Scene, table: &Table, id: SubstrateId, code: Code) -> Reason {
    let (needed, has) = match code.dimension() {
        Dimension::Workload => workload(scene, table, id, code),
        Dimension::Governance | Dimension::Sovereignty => law(scene, table, id, code),
        Dimension::Availability => availability(scene, table, id, code),
        Dimension::Cost => cost(scene, table, id, code),
    };
    Reason { code, needed, has }
}

fn workload(scene: &Scene, table: &Table, id: SubstrateId, code: Code) -> (i64, i64) {
    let (asked, columns) = (scene.asked, &scene.policy.columns);
    match code {
        Code::Context => (asked.input + asked.output, i64::from(cell(&table.ground.context, id))),
        Code::Feature => (i64::from(asked.features), i64::from(cell(&columns.features, id))),
        Code::Quality => (i64::from(asked.min_quality_ppm), i64::from(cell(&table.ground.quality_ppm, id))),
        Code::Slow => (asked.try_us, scene.unloaded_us(id, cell(&table.ground.path_us, id))),
        _ => (0, 0),
    }
}

fn law(scene: &Scene, table: &Table, id: SubstrateId, code: Code) -> (i64, i64) {
    let crosses = table.ground.crosses(id);
    let age = |ms: Option<u64>| ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
    match code {
        Code::Spillover | Code::BorderJurisdiction => {
            (i64::from(crosses.bits()), i64::from(scene.law.spillover.bits()))
        }
        Code::NeedsApproval => {
            let needed = crosses.bits() & scene.law.approval_for.bits();
            (i64::from(needed), i64::from(scene.asked.opened.bits()))
        }
        Code::Attestation => (age(scene.law.attested_ms), known(cell(&scene.picture.attested_ms, id))),
        Code::Unverified => (age(scene.law.heard_ms), known(cell(&scene.picture.heard_ms, id))),
        Code::Residency | Code::NoEnvelope | Code::Contradicted => (0, 0),
        _ => (envelope(scene, table, id, code), 0),
    }
}

/// −1 where nothing is known, −2 where another country is.
const fn known(age: i64) -> i64 {
    match age {
        i64::MAX => -1,
        ELSEWHERE => -2,
        age => age,
    }
}

/// The first applicable envelope that rejects by this code; −1 if the class does.
fn envelope(scene: &Scene, table: &Table, id: SubstrateId, code: Code) -> i64 {
    let rejects = |e: &usize| {
        let row = scene.policy.envelopes.rejects.get(*e);
        row.is_some_and(|row| Codes(cell(row, id)).contains(code))
    };
    positions(&table.ground.key.envelopes).find(rejects).map_or(-1, |e| i64::try_from(e).unwrap_or(i64::MAX))
}

fn availability(scene: &Scene, table: &Table, id: SubstrateId, code: Code) -> (i64, i64) {
    let thresholds = scene.thresholds(id);
    let most = |limit: Option<u32>| limit.map(i64::from);
    let heard = |signal| scene.heard(id, signal);
    let of = |limit: Option<u32>, signal| (most(limit).unwrap_or(0), heard(signal).unwrap_or(-1));
    let tokens = scene.asked.input + scene.asked.output;
    match code {
        Code::CircuitOpen => match scene.circuit(id) {
            Circuit::Open { until_ms } | Circuit::HalfOpen { until_ms, .. } => {
                (i64::try_from(until_ms).unwrap_or(i64::MAX), 0)
            }
            Circuit::Closed => (0, 0),
        },
        Code::QueueFull => {
            let limit = most(thresholds.queue_depth).into_iter().chain(scene.asked.max_queue).min();
            (limit.unwrap_or(0), heard(Signal::QueueDepth).unwrap_or(-1))
        }
        Code::MemoryFull => of(thresholds.memory_hard_ppm, Signal::MemoryPressure),
        Code::Congested => congested(scene, id),
        Code::Power if super::picture::under(heard(Signal::PowerHeadroom), thresholds.power_headroom_ppm) => {
            of(thresholds.power_headroom_ppm, Signal::PowerHeadroom)
        }
        Code::Power => of(thresholds.cooling_headroom_ppm, Signal::CoolingHeadroom),
        Code::Link => of(thresholds.link_ppm, Signal::Link),
        Code::RateLimited if tokens > cell(&scene.picture.tokens_left, id) => {
            (tokens, cell(&scene.picture.tokens_left, id))
        }
        Code::RateLimited => of(thresholds.rate_remaining, Signal::RateRemaining),
        Code::RetryAfter => (scene.retry_in_ms(id), 0),
        Code::Headroom => headroom(scene, id),
        Code::TenantShare => {
            scene.tenant_share(id).map_or((0, 0), |s| (i64::from(s.share_ppm), scene.tenant_use_ppm(s)))
        }
        Code::ContextRoom => (tokens, cell(&scene.picture.room, id)),
        Code::Failing => of(thresholds.failure_ppm, Signal::FailureRate),
        Code::Deadline => (scene.asked.try_us, rated(scene, &table.ground, id).need_us),
        Code::Shed => (table.shed_ppm, 0),
        _ => (0, 0),
    }
}

/// The fabric signal that is over its limit.
fn congested(scene: &Scene, id: SubstrateId) -> (i64, i64) {
    let t = scene.thresholds(id);
    let limits = [
        (t.interconnect_ppm, Signal::Interconnect),
        (t.rack_ppm, Signal::RackCongestion),
        (t.east_west_ppm, Signal::EastWest),
    ];
    let over = limits.into_iter().find(|(most, signal)| super::picture::over(scene.heard(id, *signal), *most));
    if let Some((most, signal)) = over {
        return (most.map_or(0, i64::from), scene.heard(id, signal).unwrap_or(-1));
    }
    let zone = cell(&scene.policy.columns.zone, id);
    let ceiling = scene.links().iter().find(|l| l.zone == zone).map_or(0, |l| l.ceiling_ppm);
    (ceiling, cell(&scene.picture.interconnect, id))
}

/// What this tier may use, and what is in use.
fn headroom(scene: &Scene, id: SubstrateId) -> (i64, i64) {
    (i64::from(scene.room(id).limit), i64::from(cell(&scene.picture.load, id)) + i64::from(scene.placed(id)))
}

fn cost(scene: &Scene, table: &Table, id: SubstrateId, code: Code) -> (i64, i64) {
    let cost = uusd(rated(scene, &table.ground, id).cost_pusd);
    let capacity = scene.policy.substrate(id).map(|s| &s.capacity);
    match code {
        Code::RequestCost => (cost, scene.asked.cost_limit_uusd.unwrap_or(0)),
        Code::TenantBudget => (cost, scene.budget_left_uusd().unwrap_or(0)),
        Code::ReservedFirst => (capacity.map_or(0, |c| i64::from(c.burst_after_ppm)), table.prepaid_ppm.unwrap_or(0)),
        Code::BurstCeiling => {
            let used = i64::from(cell(&scene.picture.load, id)) + i64::from(scene.placed(id));
            let whole = capacity.map_or(1, |c| i64::from(c.concurrency)).max(1);
            (capacity.map_or(0, |c| i64::from(c.burst_ceiling_ppm)), used * WHOLE_PPM / whole)
        }
        _ => (0, 0),
    }
}
