//! One workload class.

use super::{MOST_WORDS, borders, flag, ordered, predicate::predicate, substrate::features};
use crate::model::{
    Class, Name, Predicate, Tier,
    class::{Attempts, Limits, Worth},
};
use crate::policy::{
    forms::{Flag, Named, Word, ratio, usd, whole},
    source::{Source, must_to},
};

/// One class.
#[inline(never)]
pub fn class<S: Source>(s: &mut S) -> Option<Class> {
    let name: Option<Name> = s.required("name", "Its name in policies, records and metrics.", Named);
    let matches = s.section_if("match", "Which requests are of this class: the first class that matches wins. Without it, only those that match no other, if this is the default class.", predicate);
    let tier = s.or(
        "tier",
        "Who gives way first under load: batch, then standard, then critical.",
        Word(&Tier::ALL, Tier::as_str),
        Tier::Standard,
    );
    let home = s.list(
        "home",
        "The substrates where this work belongs, best first. What is placed elsewhere is spillover.",
        Named,
        must_to(MOST_WORDS),
    );
    let deadline_ms = s.required(
        "deadline_ms",
        "The whole time for the answer; for a stream, until its first byte.",
        whole::<u32>(1, 86_400_000),
    );
    let attempts = s.section_or_empty("attempts", "How many attempts, and what may be repeated.", attempts);
    let worth = s.section_or_empty(
        "worth",
        "What answers, seconds and failures are worth: the weights of the utility, in dollars.",
        worth,
    );
    let limits = s.section_or_empty("limits", "What a request may not exceed or fall below.", limits);
    let needs = features(s, "needs", "Features that every request of the class needs.");
    let usual = s.or(
        "usual_output_tokens",
        "Output tokens that are usual, where the request names no limit.",
        whole(1, 10_000_000),
        256,
    );
    let synchronous = s.or("synchronous", "A caller waits for the answer.", Flag, true);
    let allow_throughput =
        flag(s, "allow_throughput", "May go to a substrate that is built for throughput although a caller waits.");
    let air_gapped = flag(s, "air_gapped", "Never leaves air-gapped substrates.");
    let approval_for = borders(s, "approval_for", "Crossing one of these borders needs a valid approval.");
    let (attempts, deadline_ms) = (attempts?, deadline_ms?);
    ordered(
        s,
        attempts.per_try_ms.unwrap_or(0),
        deadline_ms,
        "attempts",
        "a `per_try_ms` that is not above the class's `deadline_ms`",
    );
    Some(Class {
        name: name?,
        matches: matches.unwrap_or(Predicate::Any(Vec::new())),
        tier,
        home: home?,
        deadline_ms,
        attempts,
        worth: worth?,
        limits: limits?,
        needs,
        usual_output_tokens: usual,
        synchronous,
        allow_throughput,
        air_gapped,
        approval_for,
    })
}

#[inline(never)]
fn attempts<S: Source>(s: &mut S) -> Option<Attempts> {
    Some(Attempts {
        most: s.or("most", "Attempts in all.", whole(1, 3), 3),
        per_try_ms: s.optional("per_try_ms", "The most that one attempt of a stream may take until its first byte; without it, what is left of the deadline divided by the attempts that are planned.", whole(1, 86_400_000)),
        repeatable: flag(s, "repeatable", "Work that was begun may be begun again elsewhere."),
        hedge: flag(s, "hedge", "May be hedged, where a lane exists: what is `repeatable`, or of an idempotent method."),
    })
}

#[inline(never)]
fn worth<S: Source>(s: &mut S) -> Option<Worth> {
    Some(Worth {
        answer_uusd: s.or("answer_usd", "An answer of perfect quality.", usd(10_000), 10_000),
        second_uusd: s.or("second_usd", "One second of waiting.", usd(10_000), 1_000),
        failure_uusd: s.or("failure_usd", "A failure.", usd(10_000), 20_000),
    })
}

#[inline(never)]
fn limits<S: Source>(s: &mut S) -> Option<Limits> {
    Some(Limits {
        cost_uusd: s.optional(
            "cost_usd",
            "The most that one request may cost; without it, any cost that its utility bears.",
            usd(10_000),
        ),
        min_quality_ppm: s.or("min_quality", "The least quality that is acceptable.", ratio(), 0),
        max_queue: s.optional(
            "max_queue",
            "The deepest queue that this class joins, where the threshold of the substrate's kind does not refuse it sooner.",
            whole(0, 1_000_000),
        ),
    })
}
