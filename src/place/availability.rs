//! Stage three, availability: what health, load and tier leave.
//!
//! The panic rule, when few of those that are permitted and able are available (below `panic_ppm`):
//!
//! | mark | some are available | none is |
//! | --- | --- | --- |
//! | it fails too often | ignored | ignored: a last resort |
//! | queue, memory, fabric, admission, rate limit nearly used | ignored: rather all than the last one | holds: 503 |
//! | circuit, hosts, retry-after, power, link, headroom, room, deadline, a class's own queue limit | holds | holds |

use super::Scene;
use super::spread::draw;
use super::table::{PASSING, Table, bit};
use crate::model::{Code, Codes, Dimension, WHOLE_PPM};

/// What load leaves behind, and what may be wrong about it.
const LOAD: Codes = Codes::of(Code::QueueFull)
    .union(Codes::of(Code::MemoryFull))
    .union(Codes::of(Code::Congested))
    .union(Codes::of(Code::Admission))
    .union(Codes::of(Code::RateLimited));
const SUSPECT: Codes = Codes::of(Code::Failing);

/// Marks what is not available to this request.
pub(crate) fn check(scene: &Scene, table: &mut Table) {
    let picture = scene.picture;
    let Some(free) = picture.free.get(scene.asked.tier as usize) else { return };
    let rows = picture.codes.iter().zip(free).zip(&table.placed);
    for (codes, ((health, &free), &placed)) in table.codes.iter_mut().zip(rows) {
        *codes |= health | bit(Code::Headroom, placed >= free && free != i32::MAX);
    }
    if let Some(most) = scene.asked.max_queue {
        for (codes, &queue) in table.codes.iter_mut().zip(&picture.queue) {
            *codes |= bit(Code::QueueFull, queue > most);
        }
    }
    room(scene, table);
    links(scene, table);
    probes(scene, table);
}

/// Room in the context and in the provider's token quota, now.
fn room(scene: &Scene, table: &mut Table) {
    let tokens = scene.asked.input + scene.asked.output;
    let rooms = scene.picture.room.iter().zip(&scene.picture.tokens_left);
    for (codes, (&room, &left)) in table.codes.iter_mut().zip(rooms) {
        *codes |= bit(Code::ContextRoom, tokens > room) | bit(Code::RateLimited, tokens > left);
    }
}

/// Paths from the caller's zone that are too busy.
fn links(scene: &Scene, table: &mut Table) {
    for link in scene.links() {
        let rows = scene.policy.columns.zone.iter().zip(&scene.picture.interconnect);
        for (codes, (&zone, &busy)) in table.codes.iter_mut().zip(rows) {
            *codes |= bit(Code::Congested, zone == link.zone && busy > link.ceiling_ppm);
        }
    }
}

/// The slot that holds the lease may try a half-open circuit, as often as the lease says.
fn probes(scene: &Scene, table: &mut Table) {
    for probe in &scene.picture.probes {
        let sent = scene.local.probes.get(usize::from(probe.substrate)).copied().unwrap_or(0);
        if probe.slot == scene.local.slot && sent < probe.probes {
            table.clear(probe.substrate, Codes::of(Code::CircuitOpen));
        }
    }
}

/// Finds where the session belongs: by its key among all that are permitted and able, whatever their health. Where
/// only sessions that are already there are admitted, a trusted one that belongs there is.
pub(crate) fn settle(scene: &Scene, table: &mut Table) {
    if !scene.asked.session {
        return;
    }
    let rows = (0..u16::MAX).zip(table.codes.iter().zip(&scene.policy.columns.hash));
    let able = rows.filter(|(_, (codes, _))| **codes & !PASSING == 0);
    table.affine = able.map(|(id, (_, &hash))| (draw(scene.asked.key, hash), id)).max().map(|(_, id)| id);
    if let Some(id) = table.affine.filter(|id| scene.asked.trusted_session && scene.picture.existing.contains(id)) {
        table.clear(id, Codes::of(Code::Admission));
    }
}

/// How many are permitted and able, how many of them are available, and how loaded they are together.
#[derive(Clone, Copy, Debug, Default)]
struct Pool {
    able: i64,
    available: i64,
    load: i64,
    capacity: i64,
}

fn pool(scene: &Scene, table: &Table) -> Pool {
    let rows = table.codes.iter().zip(&scene.picture.load).zip(&table.placed);
    let mut pool = Pool::default();
    let unavailable = Codes::all_of(Dimension::Availability).0;
    for (((codes, &load), &placed), &capacity) in rows.zip(&scene.policy.columns.concurrency) {
        let able = i64::from(codes & !unavailable == 0);
        pool.able += able;
        pool.available += i64::from(*codes == 0);
        pool.load += able * (i64::from(load) + i64::from(placed)).min(i64::from(capacity));
        pool.capacity += able * i64::from(capacity);
    }
    pool
}

/// The panic rule, then shedding in proportion, the lowest tier first.
pub(crate) fn relieve(scene: &Scene, table: &mut Table) {
    let pool = pool(scene, table);
    let settings = &scene.policy.document().settings;
    let few = pool.available * WHOLE_PPM < i64::from(settings.selection.panic_ppm) * pool.able;
    if few {
        let ignored = if pool.available > 0 { LOAD.union(SUSPECT) } else { SUSPECT };
        calm(scene, table, ignored);
    }
    table.shed_ppm = shed_ppm(scene, pool);
    let draw = i64::try_from(draw(scene.seed, u64::from(scene.asked.tier as u8)) % WHOLE_PPM as u64).unwrap_or(0);
    if draw < table.shed_ppm {
        table.codes.iter_mut().for_each(|codes| *codes |= bit(Code::Shed, true));
    }
}

/// Takes back soft marks where nothing else stands against a candidate.
fn calm(scene: &Scene, table: &mut Table, ignored: Codes) {
    let tokens = scene.asked.input + scene.asked.output;
    let readings = scene.picture.queue.iter().zip(&scene.picture.tokens_left);
    for (codes, (&queue, &left)) in table.codes.iter_mut().zip(readings) {
        // A class's own queue limit is its word, and a quota that does not hold the request is a fact.
        let own = scene.asked.max_queue.is_some_and(|most| queue > most) || tokens > left;
        if *codes != 0 && *codes & !ignored.0 == 0 && !own {
            *codes = 0;
            table.panic = true;
        }
    }
}

/// The share to shed: none up to where the tier's shedding begins, then growing with the square.
fn shed_ppm(scene: &Scene, pool: Pool) -> i64 {
    let shedding = &scene.policy.document().settings.shedding;
    let tier = scene.asked.tier as usize;
    let part = |list: &[u32; 3]| i64::from(list.get(tier).copied().unwrap_or(0)).min(WHOLE_PPM);
    let (from, most) = (part(&shedding.from_ppm), part(&shedding.most_ppm));
    let used = pool.load * WHOLE_PPM / pool.capacity.max(1);
    let over = (used - from).max(0) * WHOLE_PPM / (WHOLE_PPM - from).max(1);
    let over = over.min(WHOLE_PPM);
    most * (over * over / WHOLE_PPM) / WHOLE_PPM
}
