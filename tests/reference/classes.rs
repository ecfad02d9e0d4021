//! Which class, and what it demands: of two classes the harder demand and the smaller grant.

use super::{Bug, Question};
use berth::model::*;

pub(crate) struct Demand<'a> {
    pub(crate) base: &'a Class,
    pub(crate) claimed: &'a Class,
    pub(crate) tier: Tier,
    pub(crate) input: i128,
    pub(crate) output: i128,
    pub(crate) stream: bool,
    /// How long one attempt may take.
    pub(crate) try_us: i128,
    pub(crate) min_quality: u32,
    pub(crate) max_queue: Option<u32>,
    pub(crate) worth: class::Worth,
}

pub(crate) fn demand<'a>(q: &Question<'a>) -> Demand<'a> {
    let base = find(q, true);
    let claimed = find(q, false);
    let facts = q.facts;
    let estimated = facts.content_bytes.map_or(0, |b| b.div_ceil(u64::from(q.document.settings.bytes_per_token)));
    let usual = base.usual_output_tokens.max(claimed.usual_output_tokens);
    let output = match facts.output_tokens {
        Some(limit) if q.bug == Bug::SmallClaimCounts => limit.value,
        Some(limit) => limit.value.max(usual),
        None => usual,
    };
    let more = claimed.worth.answer_uusd > base.worth.answer_uusd
        || claimed.worth.second_uusd > base.worth.second_uusd
        || claimed.worth.failure_uusd > base.worth.failure_uusd;
    let deadline_ms = base.deadline_ms.min(claimed.deadline_ms).min(facts.deadline_ms.map_or(u32::MAX, |d| d.value));
    let per_try = [base.attempts.per_try_ms, claimed.attempts.per_try_ms].into_iter().flatten().min();
    let stream = facts.streaming.is_some_and(|f| f.value)
        || facts.features.contains(Feature::Streaming)
        || base.needs.contains(Feature::Streaming);
    let try_ms = per_try.filter(|_| stream).map_or(deadline_ms, |ms| ms.min(deadline_ms));
    let floors = [base.limits.min_quality_ppm, claimed.limits.min_quality_ppm];
    Demand {
        base,
        claimed,
        tier: if q.bug == Bug::ClaimedTierCounts { claimed.tier } else { base.tier.min(claimed.tier) },
        input: i128::from(estimated.max(facts.input_tokens.map_or(0, |f| u64::from(f.value)))),
        output: i128::from(output),
        stream,
        try_us: i128::from(if q.bug == Bug::BoundOfOneTryIgnored { deadline_ms } else { try_ms }) * 1_000,
        min_quality: if q.bug == Bug::QualityFloorOfOneClass { floors[1] } else { floors[0].max(floors[1]) },
        max_queue: [base.limits.max_queue, claimed.limits.max_queue].into_iter().flatten().min(),
        worth: if more { base.worth } else { claimed.worth },
    }
}

/// The class that is named, else the first that matches, else the default; by trusted facts or by all.
fn find<'a>(q: &Question<'a>, trusted_only: bool) -> &'a Class {
    let classes = &q.document.classes;
    let counts = |trusted: bool| trusted || !trusted_only;
    let named =
        q.facts.class.filter(|f| counts(f.trusted)).and_then(|f| classes.iter().find(|c| c.name.as_str() == f.value));
    let matching = || classes.iter().find(|c| holds(q, &c.matches, trusted_only));
    let default = || classes.iter().find(|c| c.name == q.document.default_class);
    named.or_else(matching).or_else(default).expect("a default class")
}

/// The predicates that the generators make.
fn holds(q: &Question, predicate: &Predicate, trusted_only: bool) -> bool {
    match predicate {
        Predicate::All(list) => list.iter().all(|p| holds(q, p, trusted_only)),
        Predicate::Any(list) => list.iter().any(|p| holds(q, p, trusted_only)),
        Predicate::Not(inner) => !holds(q, inner, trusted_only),
        Predicate::Fact(fact, test) => {
            let value = q.facts.text(*fact).filter(|f| f.trusted || !trusted_only).map(|f| f.value);
            match (value, test) {
                (Some(_), Test::Present) => true,
                (Some(value), Test::Is(wanted)) => value == wanted,
                (None, _) => false,
                (_, other) => panic!("the reference does not know {other:?}"),
            }
        }
        Predicate::Header(..) => panic!("the reference does not know headers"),
    }
}
