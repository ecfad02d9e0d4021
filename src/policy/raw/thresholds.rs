//! When a substrate of some kind is too full for new work: one section a kind, because each kind has its own
//! governing constraint. The defaults are what public schedulers ship, where they ship one.

use crate::model::{Kind, settings::Thresholds};
use crate::policy::{
    codes,
    forms::{Decimal, OrNone, ratio, whole},
    source::Source,
};

/// Thresholds of every kind, by [`Kind`] order.
#[inline(never)]
pub fn thresholds<S: Source>(s: &mut S) -> Option<[Thresholds; Kind::ALL.len()]> {
    let mut all = Kind::ALL.map(defaults);
    for (slot, kind) in all.iter_mut().zip(Kind::ALL) {
        if let Some(read) = s.section_or_empty(kind.as_str(), doc(kind), |s| of_kind(s, defaults(kind))) {
            *slot = read;
        }
    }
    Some(all)
}

const fn doc(kind: Kind) -> &'static str {
    match kind {
        Kind::Gpu => "Batching GPU clusters: memory pressure and interconnect govern.",
        Kind::Silicon => "Low-latency inference silicon: queue depth governs.",
        Kind::GiantContext => "Giant-context processors: context room and memory govern.",
        Kind::Provider => "Provider APIs: the rate limit governs.",
        Kind::Sovereign => "Sovereign bare metal: like GPU clusters.",
        Kind::Edge => "Edge nodes: power, cooling and the link govern.",
        Kind::Cpu => "General-purpose processors: queue depth governs.",
    }
}

/// A fifth of what may be in flight may wait: the twenty of a substrate of a hundred, and as much of a larger one.
const QUEUE_SHARE_PPM: u32 = 200_000;

/// What holds for a kind unless the policy says otherwise.
#[must_use]
pub const fn defaults(kind: Kind) -> Thresholds {
    const NONE: Thresholds = Thresholds {
        queue_depth: None,
        queue_share_ppm: None,
        memory_soft_ppm: None,
        memory_hard_ppm: None,
        // Work that is done on processors alone has all of them in use as soon as there is any.
        cpu_ppm: None,
        accelerator_ppm: None,
        interconnect_ppm: None,
        rack_ppm: None,
        east_west_ppm: None,
        power_headroom_ppm: None,
        cooling_headroom_ppm: None,
        link_ppm: None,
        rate_remaining: None,
        failure_ppm: Some(500_000),
    };
    let cluster = Thresholds {
        queue_depth: Some(20),
        queue_share_ppm: Some(QUEUE_SHARE_PPM),
        memory_soft_ppm: Some(800_000),
        memory_hard_ppm: Some(900_000),
        interconnect_ppm: Some(900_000),
        rack_ppm: Some(900_000),
        east_west_ppm: Some(900_000),
        power_headroom_ppm: Some(50_000),
        cooling_headroom_ppm: Some(50_000),
        ..NONE
    };
    let short = Thresholds { queue_depth: Some(5), queue_share_ppm: Some(QUEUE_SHARE_PPM), ..NONE };
    match kind {
        Kind::Gpu | Kind::Sovereign => cluster,
        Kind::Silicon => Thresholds { power_headroom_ppm: Some(50_000), ..short },
        Kind::GiantContext => Thresholds { queue_depth: Some(5), ..cluster },
        Kind::Provider => Thresholds { rate_remaining: Some(1), ..NONE },
        Kind::Edge => Thresholds {
            power_headroom_ppm: Some(100_000),
            cooling_headroom_ppm: Some(100_000),
            link_ppm: Some(500_000),
            ..short
        },
        Kind::Cpu => Thresholds {
            queue_depth: Some(20),
            memory_soft_ppm: Some(900_000),
            memory_hard_ppm: Some(950_000),
            ..short
        },
    }
}

fn of_kind<S: Source>(s: &mut S, d: Thresholds) -> Option<Thresholds> {
    const SHARE: OrNone<Decimal<u32>> = OrNone(ratio());
    const COUNT: OrNone<Decimal<u32>> = OrNone(whole(0, 1_000_000));
    let read = Thresholds {
        queue_share_ppm: s.or(
            "queue_share",
            "Requests waiting, at most, as a share of the substrate's `concurrency`; the larger of this and `queue_depth` holds. Left out beside a `queue_depth`: `none`.",
            SHARE,
            d.queue_share_ppm.filter(|_| !s.has("queue_depth")),
        ),
        queue_depth: s.or("queue_depth", "Requests waiting, at most.", COUNT, d.queue_depth),
        memory_soft_ppm: s.or("memory_soft", "Memory in use: from here on it is demoted.", SHARE, d.memory_soft_ppm),
        memory_hard_ppm: s.or("memory_hard", "Memory in use: from here on it is refused.", SHARE, d.memory_hard_ppm),
        cpu_ppm: s.or(
            "cpu_use",
            "Processors in use, at most. Near it, admission closes; it rejects nothing by itself.",
            SHARE,
            d.cpu_ppm,
        ),
        accelerator_ppm: s.or(
            "accelerator_use",
            "Accelerators in use, at most. Near it, admission closes; it rejects nothing by itself.",
            SHARE,
            d.accelerator_ppm,
        ),
        interconnect_ppm: s.or("interconnect", "Interconnect saturation, at most.", SHARE, d.interconnect_ppm),
        rack_ppm: s.or("rack_congestion", "Rack congestion, at most.", SHARE, d.rack_ppm),
        east_west_ppm: s.or("east_west", "East-west load, at most.", SHARE, d.east_west_ppm),
        power_headroom_ppm: s.or("power_headroom", "Power headroom, at least.", SHARE, d.power_headroom_ppm),
        cooling_headroom_ppm: s.or("cooling_headroom", "Cooling headroom, at least.", SHARE, d.cooling_headroom_ppm),
        link_ppm: s.or("link", "Uplink quality, at least.", SHARE, d.link_ppm),
        rate_remaining: s.or(
            "rate_remaining",
            "Requests left before the provider's limit, at least.",
            COUNT,
            d.rate_remaining,
        ),
        failure_ppm: s.or("failure", "Failure rate, at most.", SHARE, d.failure_ppm),
    };
    if matches!((read.memory_soft_ppm, read.memory_hard_ppm), (Some(soft), Some(hard)) if soft > hard) {
        s.wrong("memory_soft", codes::CONTRADICTION, "a `memory_soft` that is not above `memory_hard`");
    }
    Some(read)
}
