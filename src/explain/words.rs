//! Reasons in words, with the numbers that made them.

use super::Explanation;
use crate::model::{Border, Borders, Code, Features, Reason, SubstrateId};

/// A dimension and code, such as `workload/context`.
pub(crate) fn code(code: Code) -> String {
    format!("{}/{}", code.dimension().as_str(), code.as_str())
}

/// Borders as a list, or `-`.
pub(crate) fn borders(borders: Borders) -> String {
    let list: Vec<&str> = borders.iter().map(Border::as_str).collect();
    if list.is_empty() { String::from("-") } else { list.join("+") }
}

/// The numbers of a reason, in its own units; empty where there are none to tell.
pub(crate) fn numbers(explanation: &Explanation, id: SubstrateId, reason: &Reason) -> String {
    let (needed, has) = (reason.needed, reason.has);
    let envelope = || envelope(explanation, needed);
    let most = |unit: &str| format!("{has} {unit}, at most {needed}");
    let least = |unit: &str| format!("{has} {unit}, at least {needed}");
    match reason.code {
        Code::Context | Code::ContextRoom => format!("needs {needed} tokens, has {has}"),
        Code::Feature => missing(needed, has),
        Code::Quality => format!("{}, at least {}", percent(has), percent(needed)),
        Code::Slow | Code::Deadline => format!("{}, within {}", ms(has), ms(needed)),
        Code::Contradicted | Code::NoEnvelope => String::new(),
        Code::Model | Code::Throughput | Code::NoHost | Code::Admission => String::new(),
        Code::Residency => {
            explanation.facts.residency.map_or_else(String::new, |f| format!("must stay in {}", f.value))
        }
        Code::Jurisdiction => format!("{}, by {}", country(explanation, id), envelope()),
        Code::SubjectTo => format!("{}, by {}", laws(explanation, id), envelope()),
        Code::Kind | Code::Account | Code::Region | Code::Regime | Code::Substrate => format!("by {}", envelope()),
        Code::AirGap => format!("asked by {}", envelope()),
        Code::Spillover | Code::BorderJurisdiction => {
            format!("crosses {}, may cross {}", borders(bits(needed)), borders(bits(has)))
        }
        Code::NeedsApproval => format!("to cross {}", borders(bits(needed))),
        Code::Unverified | Code::Attestation => age(needed, has),
        Code::TenantShare | Code::BurstCeiling => format!("{} used, at most {}", percent(has), percent(needed)),
        Code::ReservedFirst => format!("paid capacity {} used, first {}", percent(has), percent(needed)),
        Code::CircuitOpen => format!("until {needed}"),
        Code::QueueFull => most("waiting"),
        Code::MemoryFull | Code::Congested | Code::Failing => format!("{}, at most {}", percent(has), percent(needed)),
        Code::Power | Code::Link => format!("{}, at least {}", percent(has), percent(needed)),
        Code::RateLimited => least("left"),
        Code::RetryAfter => format!("for {needed} ms"),
        Code::Headroom => format!("{}{}", most("in flight for this tier"), kept(explanation, id)),
        Code::Shed => format!("{} shed", percent(needed)),
        Code::RequestCost | Code::TenantBudget => format!("costs {}, left {}", usd(needed), usd(has)),
    }
}

fn bits(bits: i64) -> Borders {
    Borders::from_bits(u8::try_from(bits).unwrap_or(u8::MAX))
}

fn envelope(explanation: &Explanation, at: i64) -> String {
    let envelopes = &explanation.policy.document().envelopes;
    let envelope = usize::try_from(at).ok().and_then(|at| envelopes.get(at));
    envelope.map_or_else(|| String::from("the class"), |e| e.name.to_string())
}

fn country(explanation: &Explanation, id: SubstrateId) -> String {
    let substrate = explanation.policy.substrate(id);
    substrate.map_or_else(String::new, |s| format!("stands in {}", s.location.jurisdiction))
}

fn laws(explanation: &Explanation, id: SubstrateId) -> String {
    let laws = explanation.policy.substrate(id).map(|s| s.sovereignty.subject_to.as_slice()).unwrap_or_default();
    let list: Vec<&str> = laws.iter().map(|c| c.as_str()).collect();
    format!("under the law of {}", list.join("+"))
}

/// What is kept there for the tenant, of which nothing is left either, and for others.
fn kept(explanation: &Explanation, id: SubstrateId) -> String {
    let own = explanation.facts.tenant.filter(|fact| fact.trusted).map(|fact| fact.value);
    let all = explanation.policy.substrate(id).map(|s| s.capacity.keep_for_tenant_ppm.as_slice()).unwrap_or_default();
    let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|(tenant, _)| Some(tenant.as_str()) == own);
    let part = |ppm: &u32| percent(i64::from(*ppm));
    let own: String = own.iter().map(|(_, ppm)| format!("; nothing left of its own {}", part(ppm))).collect();
    let list: Vec<String> = others.iter().map(|(tenant, ppm)| format!("{} for {tenant}", part(ppm))).collect();
    if list.is_empty() { own } else { format!("{own}; kept {}", list.join(", ")) }
}

fn missing(needed: i64, has: i64) -> String {
    let features = |bits: i64| Features(u16::try_from(bits).unwrap_or(0));
    let list: Vec<&str> = features(needed).missing_from(features(has)).iter().map(|f| f.as_str()).collect();
    format!("lacks {}", list.join(", "))
}

fn age(needed: i64, has: i64) -> String {
    if has == -2 {
        String::from("names another country")
    } else if has < 0 {
        String::from("none known")
    } else {
        format!("{} old, at most {}", ms(has * 1_000), ms(needed * 1_000))
    }
}

/// Microseconds as milliseconds.
pub(crate) fn ms(us: i64) -> String {
    format!("{} ms", us / 1_000)
}

/// Parts per million as per cent, with a decimal only where there is one.
pub(crate) fn percent(ppm: i64) -> String {
    let tenths = ppm / 1_000;
    if tenths % 10 == 0 { format!("{} %", tenths / 10) } else { format!("{}.{} %", tenths / 10, tenths.abs() % 10) }
}

/// Micro-dollars as dollars.
pub(crate) fn usd(uusd: i64) -> String {
    let sign = if uusd < 0 { "-" } else { "" };
    let whole = uusd.unsigned_abs();
    format!("{sign}${}.{:06}", whole / 1_000_000, whole % 1_000_000)
}
