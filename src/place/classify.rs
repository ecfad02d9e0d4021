//! Stage one: which kind of work this is, and what it therefore asks for. A class is found twice, by trusted facts
//! and by all facts; where they differ, each demand is the harder of the two and each grant the smaller, so that
//! nobody gains by claiming.

use super::{matcher, replay::session_key};
use crate::model::{
    Borders, Class, ClassId, ClassSource, Facts, Feature, Tier, WHOLE_PPM, class::Worth, settings::Approval,
};
use crate::policy::Policy;
use crate::policy::index::{MOST_SECOND_UUSD, MOST_TOKENS, MOST_US, MOST_UUSD, with_streaming};

/// Everything that a request asks for, in the units of the columns.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The class whose preferences count.
    pub(crate) class: ClassId,
    /// The class by trusted facts alone.
    pub(crate) base: ClassId,
    pub(crate) source: ClassSource,
    pub(crate) tier: Tier,
    pub(crate) worth: Worth,
    pub(crate) input: i64,
    pub(crate) output: i64,
    pub(crate) stream: bool,
    pub(crate) features: u16,
    pub(crate) min_quality_ppm: u32,
    pub(crate) avoid_throughput: bool,
    pub(crate) air_gapped: bool,
    pub(crate) approval_for: Borders,
    /// What a valid approval opens.
    pub(crate) opened: Borders,
    pub(crate) max_queue: Option<i64>,
    pub(crate) cost_limit_uusd: Option<i64>,
    pub(crate) deadline_us: i64,
    /// How long one of several attempts may take.
    pub(crate) part_us: i64,
    /// How long one attempt may take: by that bound, or the deadline.
    pub(crate) try_us: i64,
    pub(crate) attempts: u8,
    /// Work that was begun may be begun again.
    pub(crate) repeatable: bool,
    pub(crate) hedge: bool,
    /// What spreads: the session, or else the request.
    pub(crate) key: u64,
    pub(crate) session: bool,
    pub(crate) trusted_session: bool,
}

/// Classifies a request.
pub(crate) fn classify(policy: &Policy, facts: &Facts, now_ms: u64, seed: u64) -> Asked {
    let (base, class, source) = find(policy, facts);
    let (a, b) = (policy.class(base), policy.class(class));
    let stream = facts.streaming.is_some_and(|f| f.value)
        || facts.features.contains(Feature::Streaming)
        || a.needs.contains(Feature::Streaming);
    let deadline_ms = [Some(a.deadline_ms), Some(b.deadline_ms), facts.deadline_ms.map(|f| f.value)];
    let deadline_us = (i64::from(deadline_ms.into_iter().flatten().min().unwrap_or(0)) * 1_000).min(MOST_US);
    let try_ms = least(a.attempts.per_try_ms, b.attempts.per_try_ms);
    let part_us = try_ms.map_or(deadline_us, |ms| deadline_us.min(i64::from(ms) * 1_000));
    let repeatable = (a.attempts.repeatable && b.attempts.repeatable) || may_be_done_twice(facts);
    Asked {
        class,
        base,
        source,
        tier: a.tier.min(b.tier),
        worth: worth(a, b),
        input: input_tokens(policy, facts),
        output: output_tokens(facts, a, b),
        stream,
        features: with_streaming(facts.features.0 | a.needs.0 | b.needs.0, stream),
        min_quality_ppm: a.limits.min_quality_ppm.max(b.limits.min_quality_ppm),
        avoid_throughput: [a, b].iter().any(|c| c.synchronous && !c.allow_throughput),
        air_gapped: a.air_gapped || b.air_gapped,
        approval_for: Borders::from_bits(a.approval_for.bits() | b.approval_for.bits()),
        opened: opened(&policy.document().settings.approvals, facts, now_ms),
        max_queue: least(a.limits.max_queue, b.limits.max_queue).map(i64::from),
        cost_limit_uusd: least(a.limits.cost_uusd, b.limits.cost_uusd),
        deadline_us,
        part_us,
        // A bound until the first byte: where the answer comes as a whole, its first byte is its last, and the only
        // attempt may take all the time.
        try_us: if stream { part_us } else { deadline_us },
        attempts: attempts(policy, facts, a, b),
        repeatable,
        // A hedge is done twice as much as a retry is.
        hedge: repeatable && a.attempts.hedge && b.attempts.hedge,
        key: facts.session.map_or(seed, |s| session_key(s.value)),
        session: facts.session.is_some(),
        trusted_session: facts.session.is_some_and(|s| s.trusted),
    }
}

/// The class by trusted facts, the class by all facts, and how the latter was found.
pub(super) fn find(policy: &Policy, facts: &Facts) -> (ClassId, ClassId, ClassSource) {
    let hint = facts.class.and_then(|f| policy.lookups.classes.get(f.value).map(|&id| (id, f.trusted)));
    let mut claimed = hint.map(|(id, _)| id);
    let mut trusted = hint.filter(|(_, trusted)| *trusted).map(|(id, _)| id);
    for (id, class) in (0..=ClassId::MAX).zip(&policy.document().classes) {
        if trusted.is_some() && claimed.is_some() {
            break;
        }
        let holds = matcher::holds(&class.matches, facts);
        trusted = trusted.or(holds.trusted.then_some(id));
        claimed = claimed.or(holds.claimed.then_some(id));
    }
    let source = match (trusted, claimed) {
        (None, None) => ClassSource::Default,
        (Some(t), Some(c)) if t == c => ClassSource::Trusted,
        _ => ClassSource::Claimed,
    };
    let or_default = |class: Option<ClassId>| class.unwrap_or(policy.default_class());
    (or_default(trusted), or_default(claimed), source)
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.into_iter().chain(b).min()
}

/// The claimed class's amounts, unless one of them is more than the trusted class would spend.
fn worth(base: &Class, claimed: &Class) -> Worth {
    let (a, b) = (base.worth, claimed.worth);
    let more = b.answer_uusd > a.answer_uusd || b.second_uusd > a.second_uusd || b.failure_uusd > a.failure_uusd;
    let worth = if more { a } else { b };
    Worth {
        answer_uusd: worth.answer_uusd.clamp(0, MOST_UUSD),
        second_uusd: worth.second_uusd.clamp(0, MOST_SECOND_UUSD),
        failure_uusd: worth.failure_uusd.clamp(0, MOST_UUSD),
    }
}

/// The larger of what is claimed and what the request's size suggests.
fn input_tokens(policy: &Policy, facts: &Facts) -> i64 {
    let per_token = u64::from(policy.document().settings.bytes_per_token.max(1));
    let estimated = facts.content_bytes.map_or(0, |bytes| bytes.div_ceil(per_token));
    let claimed = facts.input_tokens.map_or(0, |f| u64::from(f.value));
    i64::try_from(estimated.max(claimed)).unwrap_or(MOST_TOKENS).min(MOST_TOKENS)
}

/// The larger of the limit and what is usual: a small claim buys nothing.
fn output_tokens(facts: &Facts, base: &Class, claimed: &Class) -> i64 {
    let limit = facts.output_tokens.map_or(0, |f| f.value);
    i64::from(limit.max(base.usual_output_tokens).max(claimed.usual_output_tokens)).min(MOST_TOKENS)
}

/// At least the attempt that is being made.
fn attempts(policy: &Policy, facts: &Facts, base: &Class, claimed: &Class) -> u8 {
    let most = base.attempts.most.min(claimed.attempts.most).min(policy.document().settings.selection.plan);
    facts.attempts_left.map_or(most, |left| most.min(left)).clamp(1, 3)
}

/// By its method, as HTTP defines it, or because it says so. Whom to believe is no question: it is the caller's work.
fn may_be_done_twice(facts: &Facts) -> bool {
    let idempotent = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
    facts.idempotent || facts.method.is_some_and(|m| idempotent.contains(&m.value))
}

/// What the caller's approval opens: only from a trusted source, only while it is valid.
fn opened(approvals: &[Approval], facts: &Facts, now_ms: u64) -> Borders {
    let Some(held) = facts.approval.filter(|f| f.trusted) else { return Borders::NONE };
    let valid = approvals.iter().filter(|a| a.token == held.value && a.until_ms > now_ms);
    Borders::from_bits(valid.fold(0, |bits, a| bits | a.borders.bits()))
}

/// A share of an amount, in pico-dollars.
pub(crate) const fn share_pusd(uusd: i64, ppm: u32) -> i64 {
    uusd * if (ppm as i64) < WHOLE_PPM { ppm as i64 } else { WHOLE_PPM }
}
