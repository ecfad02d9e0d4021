//! Stage three, availability: what health, load and tier leave.
//!
//! The panic rule, when few of those that are permitted and able are available (below `panic_ppm`), or have less capacity
//! than is in flight on all:
//!
//! | mark | few are available | the rest cannot carry it | none is |
//! | --- | --- | --- | --- |
//! | it fails too often | ignored | holds | ignored: a last resort |
//! | queue, memory, fabric, admission | ignored: rather all than the last one | ignored | ignored: shed in proportion |
//! | rate limit nearly used | ignored | ignored | holds: 503 |
//! | circuit, hosts, retry-after, power, link, headroom, room, deadline, a class's own queue limit | holds | holds | holds |
//!
//! So marks of load alone never refuse everything: all of them at once are what old news looks like. What is more than
//! fits is shed, the lowest tier first, and the limit of each holds.

use super::Scene;
use super::ground::Ground;
use super::rows::{self, Survey};
use super::scene::Room;
use super::spread::draw;
use super::table::{PASSING, Table, bit, cell};
use crate::model::{Code, Codes, SubstrateId, WHOLE_PPM};
use crate::policy::index::Share;

/// What load leaves behind, and what may be wrong about it.
const PRESSED: Codes = Codes::of(Code::QueueFull)
    .union(Codes::of(Code::MemoryFull))
    .union(Codes::of(Code::Congested))
    .union(Codes::of(Code::Admission));
const LOAD: Codes = PRESSED.union(Codes::of(Code::RateLimited));
const SUSPECT: Codes = Codes::of(Code::Failing);

/// Marks what is not available to anybody who asks like this.
pub(crate) fn health(scene: &Scene, ground: &mut Ground) {
    let picture = scene.picture;
    ground.codes.iter_mut().zip(&picture.codes).for_each(|(codes, health)| *codes |= health);
    if let Some(most) = scene.asked.max_queue {
        for (codes, &queue) in ground.codes.iter_mut().zip(&picture.queue) {
            *codes |= bit(Code::QueueFull, queue > most);
        }
    }
    // Paths from the caller's zone that are too busy.
    for link in scene.links() {
        let rows = scene.policy.columns.zone.iter().zip(&picture.interconnect);
        for (codes, (&zone, &busy)) in ground.codes.iter_mut().zip(rows) {
            *codes |= bit(Code::Congested, zone == link.zone && busy > link.ceiling_ppm);
        }
    }
}

/// How many tokens fit: into the context that is free now, and into the provider's quota.
pub(crate) fn most_tokens(scene: &Scene, id: SubstrateId) -> i64 {
    cell(&scene.picture.room, id).min(cell(&scene.picture.tokens_left, id))
}

/// How many this worker may place since the snapshot before what this tier may use is full. The others know of the same
/// room: each takes its even part of what is this proxy's, in turn where it does not divide. Only what lay below half of the
/// limit when it was counted is everybody's, so that a burst at one worker is not turned away from where hardly anything ran.
pub(crate) fn most_places(scene: &Scene, id: SubstrateId, Room { limit, free }: Room) -> u32 {
    let (picture, Some(free)) = (scene.picture, free) else { return u32::MAX };
    let counted = scene.free_when_counted(id, limit).min(free);
    // Twice what was free: requests do not come evenly, and who refuses while the others have room is worse than one too
    // many. What is free by now because those that ran there have probably ended is there once: as long as nobody has
    // counted again, all workers believe in it.
    let (all, both) = (i64::from(free), i64::from(free) + i64::from(counted));
    let ours = ours(scene, id, both, all);
    let slots = i64::from(picture.slots.max(1));
    let turn = i64::from(scene.local.slot) + (picture.epoch % u64::from(picture.slots.max(1))) as i64;
    let even = ours / slots + i64::from(turn % slots < ours % slots);
    u32::try_from(even.max(i64::from(counted - limit / 2)).min(all)).unwrap_or(0)
}

/// What this proxy may use of what it shares with others: its part, and a quarter of what there is at least. Who has had
/// nothing there yet must not be turned away from what stands empty.
fn ours(scene: &Scene, id: SubstrateId, most: i64, all: i64) -> i64 {
    let part_ppm = i64::from(cell(&scene.picture.part_ppm, id)).min(WHOLE_PPM);
    (most * part_ppm / WHOLE_PPM).max((all + 3) / 4)
}

/// This worker's even part of what is kept for a tenant, rounded up. All have as much, so of one proxy's they exceed the
/// whole by less than one each.
pub(crate) fn even_part(scene: &Scene, id: SubstrateId, all: i64) -> i64 {
    let slots = i64::from(scene.picture.slots.max(1));
    (ours(scene, id, 2 * all, all).min(all) + slots - 1) / slots
}

/// What this request's size and what was placed since the snapshot leave.
pub(crate) fn now(scene: &Scene, id: SubstrateId) -> u64 {
    let tokens = scene.asked.input + scene.asked.output;
    bit(Code::Headroom, is_full(scene, id))
        | bit(Code::ContextRoom, tokens > cell(&scene.picture.room, id))
        | bit(Code::RateLimited, tokens > cell(&scene.picture.tokens_left, id))
}

/// Whether it is full for the tier, and for the tenant, which has what is its own there whoever else runs.
fn is_full(scene: &Scene, id: SubstrateId) -> bool {
    scene.placed(id) >= most_places(scene, id, scene.room(id)) && (scene.reserves.is_empty() || scene.kept(id) == 0)
}

/// The few exceptions: half-open circuits that this VM may try, and tenants that have their share.
pub(crate) fn except(scene: &Scene, table: &mut Table) {
    for probe in &scene.picture.probes {
        if may_probe(scene, probe.substrate) {
            table.clear(probe.substrate, Codes::of(Code::CircuitOpen));
        }
    }
    for share in scene.shares.iter().filter(|share| tenant_share(scene, share)) {
        table.mark(share.substrate, Codes::of(Code::TenantShare));
    }
}

/// Whether a tenant has its share of a substrate, by what this VM has in flight for it.
pub(crate) fn tenant_share(scene: &Scene, share: &Share) -> bool {
    scene.tenant_use_ppm(share) >= i64::from(share.share_ppm)
}

/// The slot that holds the lease may try a half-open circuit, as often as the lease says.
pub(crate) fn may_probe(scene: &Scene, id: SubstrateId) -> bool {
    let sent = scene.local.probes.get(usize::from(id)).copied().unwrap_or(0);
    let lease = scene.picture.probes.iter().find(|probe| probe.substrate == id);
    lease.is_some_and(|probe| probe.slot == scene.local.slot && sent < probe.probes)
}

/// Finds where the session belongs: by its key among all that are permitted and able, whatever their health. Where
/// only sessions that are already there are admitted, a trusted one that belongs there is.
pub(crate) fn settle(scene: &Scene, table: &mut Table) {
    if !scene.asked.session {
        return;
    }
    let mut luck = (0, None);
    for (&codes, (&id, &hash)) in table.codes.iter().zip(table.ground.ids.iter().zip(&table.ground.hashes)) {
        let draw = draw(scene.asked.key, hash);
        if codes & !PASSING == 0 && (draw, Some(id)) >= luck {
            luck = (draw, Some(id));
        }
    }
    table.affine = luck.1;
    if let Some(id) = table.affine.filter(|id| scene.asked.trusted_session && scene.picture.existing.contains(id)) {
        table.clear(id, Codes::of(Code::Admission));
    }
}

/// The panic rule, then shedding in proportion, the lowest tier first.
pub(crate) fn relieve(scene: &Scene, table: &mut Table) {
    if table.changed {
        rows::survey(scene, table);
    }
    let pool = table.survey;
    let available = pool.standing as i64;
    let settings = &scene.policy.document().settings;
    let few = available * WHOLE_PPM < i64::from(settings.selection.panic_ppm) * pool.able;
    match available {
        0 => calm(scene, table, PRESSED.union(SUSPECT)),
        _ if few => calm(scene, table, LOAD.union(SUSPECT)),
        _ if pool.left < pool.load => calm(scene, table, LOAD),
        _ => {}
    }
    table.shed_ppm = shed_ppm(scene, pool);
    let draw = || i64::try_from(draw(scene.seed, u64::from(scene.asked.tier as u8)) % WHOLE_PPM as u64).unwrap_or(0);
    table.shed = table.shed_ppm > 0 && draw() < table.shed_ppm;
    if table.shed {
        table.codes.iter_mut().for_each(|codes| *codes |= bit(Code::Shed, true));
    }
    if table.panic || table.shed {
        rows::survey(scene, table);
    }
}

/// Takes back soft marks where nothing else stands against a candidate.
fn calm(scene: &Scene, table: &mut Table, ignored: Codes) {
    let tokens = scene.asked.input + scene.asked.output;
    for (codes, &id) in table.codes.iter_mut().zip(&table.ground.ids) {
        // A class's own queue limit is its word, and a quota that does not hold the request is a fact.
        let own = scene.asked.max_queue.is_some_and(|most| cell(&scene.picture.queue, id) > most)
            || tokens > cell(&scene.picture.tokens_left, id);
        if *codes != 0 && *codes & !ignored.0 == 0 && !own {
            *codes = 0;
            table.panic = true;
        }
    }
}

/// The share to shed: none up to where the tier's shedding begins, then growing with the square.
fn shed_ppm(scene: &Scene, pool: Survey) -> i64 {
    let shedding = &scene.policy.document().settings.shedding;
    let tier = scene.asked.tier as usize;
    let part = |list: &[u32; 3]| i64::from(list.get(tier).copied().unwrap_or(0)).min(WHOLE_PPM);
    let (from, most) = (part(&shedding.from_ppm), part(&shedding.most_ppm));
    let used = pool.load * WHOLE_PPM / pool.capacity.max(1);
    if used <= from {
        return 0;
    }
    let over = (used - from) * WHOLE_PPM / (WHOLE_PPM - from).max(1);
    let over = over.min(WHOLE_PPM);
    most * (over * over / WHOLE_PPM) / WHOLE_PPM
}
