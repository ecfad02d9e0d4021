//! The numbers that tune a policy.

use super::{MOST_ITEMS, MOST_WORDS, borders, ordered, predicate::predicate};
use crate::model::{
    Name, Tier,
    settings::{Adaptive, Ages, Approval, Breaking, Budget, Link, Rollout, Selection, Shedding},
};
use crate::policy::{
    forms::{Flag, Named, Text, decimal, ratio, usd, usd_per_gb, whole},
    source::{Source, one_to, up_to},
    time::Moment,
};

#[inline(never)]
pub(super) fn selection<S: Source>(s: &mut S) -> Option<Selection> {
    Some(Selection {
        margin_ppm: s.or("margin", "Candidates whose utility is within this share of the best one's are equals.", ratio(), 50_000),
        margin_per_second_ppm: s.or("margin_per_second", "How much the margin widens per second of the snapshot's age.", ratio(), 10_000),
        max_shift_ppm: s.or("max_shift", "The most that a substrate's share may grow per interval, among those that are equals. One that is better by more than the margin is bounded by its ramp alone.", ratio(), 200_000),
        affinity_ppm: s.or("affinity", "The bonus of the substrate where the session already is, as a share of the answer's worth.", ratio(), 50_000),
        ramp_ms: s.or("ramp_ms", "How long a new or recovered substrate ramps up. While all that are best ramp, the next best that stand take the rest.", whole(0, 3_600_000), 10_000),
        ramp_floor_ppm: s.or("ramp_floor", "Its share of capacity at the start of the ramp.", ratio(), 100_000),
        panic_ppm: s.or("panic", "If a smaller share of candidates than this is not overloaded, overload is ignored rather than piled onto the rest; so it is, whatever this says, where none is left or those that are have less capacity than is in flight.", ratio(), 300_000),
        finish_factor_ppm: s.or("finish_factor", "A further attempt must have this many times its expected time left.", decimal(6, 0, 10_000_000, ""), 1_500_000),
        plan: s.or("plan", "How many attempts a plan holds, at most.", whole(1, 3), 3),
    })
}

#[inline(never)]
pub(super) fn shedding<S: Source>(s: &mut S) -> Option<Shedding> {
    let from = s.section_or_empty("from", "The saturation at which a tier begins to give way.", |s| {
        by_tier(s, [850_000, 920_000, 1_000_000])
    });
    let most = s
        .section_or_empty("most", "The most of a tier that is shed on purpose.", |s| by_tier(s, [800_000, 500_000, 0]));
    let retry_after_s = s.or("retry_after_s", "The hint to callers.", whole(1, 3600), 15);
    let from_ppm: [u32; 3] = from?;
    if !from_ppm.is_sorted() {
        ordered(s, 1, 0, "from", "batch to give way first and critical last");
    }
    Some(Shedding { from_ppm, most_ppm: most?, retry_after_s })
}

fn by_tier<S: Source>(s: &mut S, defaults: [u32; 3]) -> Option<[u32; 3]> {
    let mut values = defaults;
    let docs = ["Batch work.", "Standard work.", "Critical work."];
    for ((slot, tier), doc) in values.iter_mut().zip(Tier::ALL).zip(docs) {
        *slot = s.or(tier.as_str(), doc, ratio(), *slot);
    }
    Some(values)
}

#[inline(never)]
pub(super) fn ages<S: Source>(s: &mut S) -> Option<Ages> {
    let ages = Ages {
        soft_ms: s.or("soft_ms", "A signal is uncertain from here on.", decimal(0, 1, 3_600_000, "ms"), 3_000),
        hard_ms: s.or(
            "hard_ms",
            "A signal is unknown from here on: declared values only.",
            decimal(0, 1, 86_400_000, "ms"),
            10_000,
        ),
    };
    ordered(s, ages.soft_ms, ages.hard_ms, "soft_ms", "a `soft_ms` that is not above `hard_ms`");
    Some(ages)
}

#[inline(never)]
pub(super) fn breaking<S: Source>(s: &mut S) -> Option<Breaking> {
    let ms = || whole(1, 86_400_000);
    let read = Breaking {
        consecutive: s.or("consecutive", "Failures in a row that open a circuit.", whole(1, 10_000), 5),
        failure_ppm: s.or("failure", "The share of failures that opens it.", ratio(), 500_000),
        least: s.or("least", "Only once this many answers were seen in the window.", whole(1, 1_000_000), 20),
        window_ms: s.or("window_ms", "The window.", ms(), 10_000),
        open_ms: s.or("open_ms", "The first time open; doubles each time.", ms(), 5_000),
        open_most_ms: s.or("open_most_ms", "The longest time open.", ms(), 60_000),
        jitter_ppm: s.or("jitter", "Jitter on every cool-down.", ratio(), 200_000),
        probes: s.or("probes", "Probes when half open.", whole(1, 100), 1),
        enter_ppm: s.or("enter", "Admission closes above this saturation.", ratio(), 850_000),
        exit_ppm: s.or("exit", "Admission opens again below this saturation.", ratio(), 700_000),
        bad_samples: s.or("bad_samples", "Bad samples until it closes.", whole(1, 100), 2),
        good_samples: s.or("good_samples", "Good samples until it opens.", whole(1, 100), 3),
        dwell_ms: s.or("dwell_ms", "The least time in a state, and jitter on top.", ms(), 1_000),
        hold_down_ms: s.or("hold_down_ms", "The least time closed, and jitter on top.", ms(), 1_000),
    };
    ordered(s, read.open_ms, read.open_most_ms, "open_ms", "an `open_ms` that is not above `open_most_ms`");
    ordered(s, read.exit_ppm, read.enter_ppm, "exit", "an `exit` that is not above `enter`: else admission flaps");
    Some(read)
}

#[inline(never)]
pub(super) fn budget<S: Source>(s: &mut S) -> Option<Budget> {
    let tenant = s.required("tenant", "The tenant, as the fact names it.", Text(128));
    let most = s.required("most_usd", "At most this much per window, in the whole fleet.", usd(1_000_000_000));
    let window_s = s.or("window_s", "The window.", whole(1, 31_536_000), 86_400);
    let fleet_share_ppm = s.or("fleet_share", "This proxy's part of it.", ratio(), 1_000_000);
    Some(Budget { tenant: tenant?, window_s, most_uusd: most?, fleet_share_ppm })
}

#[inline(never)]
pub(super) fn link<S: Source>(s: &mut S) -> Option<Link> {
    let from: Option<Name> = s.required("from", "The caller's zone.", Named);
    let to = s.required("to", "The substrate's zone.", Named);
    let latency_us = s.or("latency_ms", "Time added.", decimal(3, 0, 60_000_000, "ms"), 0);
    let price = s.or("usd_per_gb", "Price of bytes on it, both ways.", usd_per_gb(), 0);
    let ceiling = s.or("ceiling", "Interconnect saturation above which it is not used.", ratio(), 900_000);
    Some(Link { from: from?, to: to?, latency_us, pusd_per_byte: price, ceiling_ppm: ceiling })
}

#[inline(never)]
pub(super) fn adaptive<S: Source>(s: &mut S) -> Option<Adaptive> {
    Some(Adaptive {
        latency: s.or("latency", "Measured latency replaces the declared one.", Flag, true),
        cost: s.or("cost", "Measured prices replace the declared ones.", Flag, true),
        risk: s.or("risk", "Measured failure rates count as risk.", Flag, true),
        shares: s.or("shares", "Shares follow headroom.", Flag, true),
    })
}

#[inline(never)]
pub(super) fn approval<S: Source>(s: &mut S) -> Option<Approval> {
    let token = s.required("token", "What the approval fact says.", Text(256));
    let opens = borders(s, "borders", "The borders that it opens.");
    let until = s.required("until", "Valid until then, such as `2026-12-31T00:00:00Z`.", Moment);
    Some(Approval { token: token?, borders: opens, until_ms: until?.unix_ms })
}

#[inline(never)]
pub(super) fn rollout<S: Source>(s: &mut S) -> Option<Rollout> {
    let share = s.required("share", "The share of traffic, by a hash of the request.", ratio());
    let only = s.section_if("only", "Only these requests, by trusted facts; without it, all.", predicate);
    let classes = s.list(
        "classes",
        "Only requests that the candidate puts into one of these classes, by trusted facts; without it, all.",
        Named,
        one_to(MOST_WORDS),
    );
    Some(Rollout { share_ppm: share?, only: only.unwrap_or(crate::model::Predicate::All(Vec::new())), classes })
}

/// Any list of settings.
pub(super) const COUNT: crate::policy::source::Count = up_to(MOST_ITEMS);
