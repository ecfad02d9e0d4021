//! The explanation as text.

use super::Explanation;
use super::words::{borders, code, ms, numbers, percent, usd};
use crate::model::{ClassSource, Decision, Fact, FactName, Outcome, Reason, SubstrateId};
use crate::place::Row;
use core::fmt::Write;

/// Writes everything, section by section. Writing to a string cannot fail.
pub(crate) fn of(explanation: &Explanation) -> String {
    let mut out = String::new();
    let _ = head(explanation, &mut out);
    let _ = candidates(explanation, &mut out);
    let _ = answer(explanation, &mut out);
    let _ = routers(explanation, &mut out);
    out
}

fn head(e: &Explanation, out: &mut String) -> core::fmt::Result {
    let (inspection, decision) = (&e.inspection, &e.inspection.decision);
    writeln!(out, "policy    {}", e.policy.label())?;
    writeln!(out, "request   {}", facts(e))?;
    let source = match decision.class_source {
        ClassSource::Trusted => "by trusted facts",
        ClassSource::Claimed => "by a claim: never better treated than without it",
        ClassSource::Default => "by default: nothing matched",
    };
    let class = e.policy.class(decision.class);
    writeln!(
        out,
        "class     {} ({source}), tier {}, {} + {} tokens, within {}",
        class.name,
        inspection.tier.as_str(),
        inspection.input_tokens,
        inspection.output_tokens,
        ms(inspection.deadline_us)
    )?;
    let envelopes = &e.policy.document().envelopes;
    let named: Vec<&str> =
        inspection.envelopes.iter().filter_map(|&at| envelopes.get(at)).map(|x| x.name.as_str()).collect();
    let named = if named.is_empty() { String::from("none applies") } else { named.join(", ") };
    writeln!(out, "envelopes {named}")?;
    writeln!(out, "health    {}, epoch {}\n", decision.freshness.as_str(), decision.epoch)
}

fn facts(e: &Explanation) -> String {
    let word = |name: FactName| {
        let text = e.facts.text(name).map(|f| (f.value.to_string(), f.trusted));
        let number = e.facts.number(name).map(|f: Fact<u32>| (f.value.to_string(), f.trusted));
        let (value, trusted) = text.or(number)?;
        Some(format!("{}={value}{}", name.as_str(), if trusted { "" } else { " (claimed)" }))
    };
    let list: Vec<String> = FactName::ALL.into_iter().filter_map(word).collect();
    if list.is_empty() { String::from("nothing known") } else { list.join(", ") }
}

/// The table: what orders first, then why not.
fn candidates(e: &Explanation, out: &mut String) -> core::fmt::Result {
    let name = |row: &Row| e.policy.substrate_name(row.substrate);
    let wide = e.inspection.rows.iter().map(|r| name(r).len()).max().unwrap_or(0).max(9);
    let far = e.inspection.rows.iter().map(|r| borders(r.crosses).len()).max().unwrap_or(0).max(7);
    writeln!(
        out,
        "  {:wide$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {:far$} verdict (money in micro-dollars)",
        "candidate", "utility", "quality", "time", "cost", "risk", "expected", "crosses"
    )?;
    let mut rows: Vec<&Row> = e.inspection.rows.iter().collect();
    rows.sort_by_key(|r| (core::cmp::Reverse(r.utility_pusd), r.substrate));
    for row in rows {
        let t = row.terms;
        let chosen = e.inspection.decision.plan.first().is_some_and(|a| a.substrate == row.substrate);
        write!(
            out,
            "{} {:wide$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {:far$} ",
            if chosen { '>' } else { ' ' },
            name(row),
            t.sum_uusd(),
            t.quality_uusd,
            t.time_uusd,
            t.cost_uusd,
            t.risk_uusd,
            ms(row.need_us),
            borders(row.crosses)
        )?;
        writeln!(out, "{}", verdict(e, row, chosen))?;
    }
    if e.inspection.panic {
        writeln!(out, "  Few were available: marks of load were taken back rather than pile onto the rest.")?;
    }
    if e.inspection.shed_ppm > 0 {
        writeln!(out, "  {} of this tier is shed now.", percent(e.inspection.shed_ppm))?;
    }
    writeln!(out)
}

fn verdict(e: &Explanation, row: &Row, chosen: bool) -> String {
    let affine = if row.affine { ", the session's own" } else { "" };
    if row.reasons.is_empty() {
        return format!("{}{affine}", if chosen { "chosen" } else { "stands" });
    }
    let list: Vec<String> = row.reasons.iter().map(|r| with_numbers(e, row.substrate, r)).collect();
    format!("{}{affine}", list.join("; "))
}

fn with_numbers(e: &Explanation, id: SubstrateId, reason: &Reason) -> String {
    let numbers = numbers(e, id, reason);
    if numbers.is_empty() { code(reason.code) } else { format!("{} ({numbers})", code(reason.code)) }
}

fn answer(e: &Explanation, out: &mut String) -> core::fmt::Result {
    let decision = &e.inspection.decision;
    let name = |id| e.policy.substrate_name(id);
    match &decision.outcome {
        Outcome::Placed => placed(e, decision, out)?,
        Outcome::Refused { status, reason, retry_after_s } => {
            write!(out, "answer    {status}: {}, {}", code(reason.code), meaning(reason))?;
            match retry_after_s {
                Some(s) => writeln!(out, "; try again in {s} s")?,
                None => writeln!(out)?,
            }
        }
    }
    if let Some((id, by)) = decision.runner_up {
        let (by, rest) = if by < 0 { (-by, "more: equals are spread") } else { (by, "less") };
        writeln!(out, "runner-up {}, worth {} {rest}", name(id), usd(by))?;
    }
    if let Some(s) = decision.spill {
        let crossed = borders(s.crosses);
        let why = s.why.map_or("worth less", |reason| reason.code.as_str());
        write!(out, "spillover from {} ({why}) to {}, crosses {crossed}; ", name(s.from), name(s.to))?;
        writeln!(out, "egress {}, cost {}, time {}", usd(s.egress_uusd), usd(s.cost_uusd), ms(s.latency_us))?;
    }
    writeln!(out, "binding   {}\n", binding(e, decision))
}

fn placed(e: &Explanation, decision: &Decision, out: &mut String) -> core::fmt::Result {
    let standing = e.inspection.rows.iter().filter(|r| r.reasons.is_empty()).count();
    let chosen = decision.plan.first().map_or("-", |a| e.policy.substrate_name(a.substrate));
    let resort = if decision.last_resort { ", a last resort" } else { "" };
    let trial = if decision.trial { ", tried to see whether it has recovered" } else { "" };
    let regime = decision.regime.map_or("-", |r| r.as_str());
    let cost = usd(decision.cost_uusd);
    let egress = match decision.egress_uusd {
        0 => String::new(),
        uusd => format!(", {} of it egress", usd(uusd)),
    };
    writeln!(out, "choice    {chosen}, one of {standing} that stand{resort}{trial}; {cost}{egress} ({regime})")?;
    for (n, a) in (1..).zip(decision.plan.iter()) {
        let name = e.policy.substrate_name(a.substrate);
        let crosses = borders(a.crosses);
        writeln!(out, "attempt {n} {name}, up to {} ms, {}, crosses {crosses}", a.per_try_ms, usd(a.cost_uusd))?;
    }
    Ok(())
}

fn meaning(reason: &Reason) -> String {
    let text = reason.code.meaning().trim();
    let end = text.find(" (").or_else(|| text.find('.')).unwrap_or(text.len());
    let short: String = text.chars().take(text.get(..end).map_or(0, |s| s.chars().count())).collect();
    let mut letters = short.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn binding(e: &Explanation, decision: &Decision) -> String {
    let binding = decision.binding;
    let (Some(dimension), Some(id)) = (binding.dimension, binding.unbound) else {
        return String::from("nothing: no better candidate was rejected");
    };
    let reason = binding.reason.map_or_else(String::new, |r| with_numbers(e, id, &r));
    let lost = e.inspection.rows.iter().find(|r| r.substrate == id).map_or(0, |r| r.terms.sum_uusd());
    let among = if binding.joint { " (among others)" } else { "" };
    let name = e.policy.substrate_name(id);
    if decision.plan.is_empty() {
        return format!("{}{among}: it kept {name} away, {reason}", dimension.as_str());
    }
    let more = usd(lost - decision.utility_uusd);
    format!("{}{among}: {name} would have been worth {more} more, but {reason}", dimension.as_str())
}

fn routers(e: &Explanation, out: &mut String) -> core::fmt::Result {
    writeln!(out, "routers that look at one thing only")?;
    let wide = e.routed.iter().filter_map(|r| r.choice).map(|id| e.policy.substrate_name(id).len()).max().unwrap_or(1);
    for routed in &e.routed {
        let choice = routed.choice.map_or("-", |id| e.policy.substrate_name(id));
        let broken: Vec<String> = routed.broken.iter().map(|c| code(*c)).collect();
        let same = routed.choice.is_some() && routed.choice == e.inspection.decision.plan.first().map(|a| a.substrate);
        let said = match (routed.choice, broken.is_empty(), same) {
            (None, ..) => String::from("finds nothing"),
            (_, false, _) => format!("breaks {}", broken.join(", ")),
            (_, _, true) => String::from("the same"),
            (Some(id), ..) => worse(e, id),
        };
        writeln!(out, "  {:12} {choice:wide$}  {said}", routed.router.as_str())?;
    }
    Ok(())
}

fn worse(e: &Explanation, id: SubstrateId) -> String {
    let worth = e.inspection.rows.iter().find(|r| r.substrate == id).map_or(0, |r| r.terms.sum_uusd());
    let lost = e.inspection.decision.utility_uusd - worth;
    if lost > 0 {
        format!("breaks nothing, worth {} less", usd(lost))
    } else {
        String::from("breaks nothing, an equal")
    }
}
