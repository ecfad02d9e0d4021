//! The decision as text: one RFC 9651 dictionary, the same in filter state, headers, logs and the tool.
//!
//! Every value is a token, an integer or a quoted string of characters that need no escape, because names are
//! validated where they enter; what is not a name never gets here.

use crate::model::contract::Key;
use crate::model::digits::{push_hex, push_number, push_signed};
use crate::model::{Borders, ClassSource, Decision, Freshness, Outcome, Plan, Regime, Spill, SubstrateId};
use crate::policy::Policy;

/// Writes the record of a decision into `out`, which is cleared first and can be used again.
pub fn write_record(policy: &Policy, decision: &Decision, out: &mut String) {
    out.clear();
    fields(policy, decision, out);
}

/// The record of a decision.
#[must_use]
pub fn record(policy: &Policy, decision: &Decision) -> String {
    let mut out = String::with_capacity(256);
    write_record(policy, decision, &mut out);
    out
}

/// Appends a single key's value; says whether there is one.
pub fn write_key(policy: &Policy, decision: &Decision, key: Key, out: &mut String) -> bool {
    match key {
        Key::Class => out.push_str(class_name(policy, decision)),
        Key::Substrate => match decision.plan.first() {
            Some(first) => out.push_str(name(policy, first.substrate)),
            None => return false,
        },
        Key::Binding => out.push_str(decision.binding.dimension.map_or("none", |d| d.as_str())),
        Key::Spill => match &decision.spill {
            Some(spill) if spill.crosses.is_empty() => out.push_str("none"),
            Some(spill) => joined(spill.crosses, out),
            None => return false,
        },
        Key::Attempts => {
            push_number(out, decision.plan.len() as u64);
        }
    }
    true
}

/// Few and long parts: each is a call and a copy.
fn fields(policy: &Policy, d: &Decision, out: &mut String) {
    out.push_str("v=1, id=\"");
    push_hex(out, d.id);
    write(out, &["\", class=", class_name(policy, d)]);
    match d.class_source {
        ClassSource::Trusted => {}
        ClassSource::Claimed => out.push_str(";by=claim"),
        ClassSource::Default => out.push_str(";by=default"),
    }
    match (&d.outcome, d.plan.first()) {
        (Outcome::Placed, Some(first)) => write(out, &[", substrate=", name(policy, first.substrate)]),
        (Outcome::Placed, None) => {}
        (Outcome::Refused { status, reason, .. }, _) => {
            out.push_str(", refused=");
            push_number(out, u64::from(*status));
            write(out, &[", reason=", reason.code.dimension().as_str(), "/", reason.code.as_str()]);
        }
    }
    binding(policy, d, out);
    out.push_str(", epoch=");
    push_number(out, d.epoch);
    write(out, &[", policy=\"", policy.label()]);
    out.push_str(match d.freshness {
        Freshness::Live => "\", fresh=live",
        Freshness::Uncertain => "\", fresh=uncertain",
        Freshness::Stale => "\", fresh=stale",
    });
    if !d.plan.is_empty() {
        plan(policy, &d.plan, out);
        out.push_str(if d.pace.hedge { ");hedge, cost=" } else { "), cost=" });
        push_signed(out, d.cost_uusd);
        write(out, &[";regime=", d.regime.map_or("none", Regime::as_str)]);
        if d.egress_uusd > 0 {
            out.push_str(";egress=");
            push_signed(out, d.egress_uusd);
        }
    }
    if let Some(spill) = &d.spill {
        spillover(policy, spill, out);
    }
    if d.last_resort {
        out.push_str(", last-resort");
    }
    if d.trial {
        out.push_str(", trial");
    }
}

/// From where, over which borders, why, and what that adds: less than nothing where it saves.
fn spillover(policy: &Policy, spill: &Spill, out: &mut String) {
    write(out, &[", spill=", name(policy, spill.from)]);
    crossings(spill.crosses, out);
    if let Some(why) = spill.why {
        write(out, &[";why=", why.code.as_str()]);
    }
    for (key, added) in [(";cost=", spill.cost_uusd), (";egress=", spill.egress_uusd), (";us=", spill.latency_us)] {
        out.push_str(key);
        push_signed(out, added);
    }
}

fn write(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

fn binding(policy: &Policy, d: &Decision, out: &mut String) {
    let Some(dimension) = d.binding.dimension else {
        out.push_str(", binding=none");
        return;
    };
    write(out, &[", binding=", dimension.as_str()]);
    if d.binding.joint {
        out.push_str(";joint");
    }
    if let Some(reason) = d.binding.reason {
        write(out, &[";by=", reason.code.as_str()]);
    }
    if let Some(unbound) = d.binding.unbound {
        write(out, &[", unbound=", name(policy, unbound)]);
    }
}

/// All but its closing parenthesis.
fn plan(policy: &Policy, plan: &Plan, out: &mut String) {
    let mut before = ", plan=(";
    for attempt in plan.iter() {
        write(out, &[before, name(policy, attempt.substrate)]);
        crossings(attempt.crosses, out);
        before = " ";
    }
}

/// `;x=region+account`: what is crossed, narrowest first; nothing where nothing is.
fn crossings(crosses: Borders, out: &mut String) {
    if !crosses.is_empty() {
        out.push_str(";x=");
        joined(crosses, out);
    }
}

fn joined(crosses: Borders, out: &mut String) {
    let mut rest = crosses;
    for border in crosses.iter() {
        out.push_str(border.as_str());
        rest = rest.minus(Borders::NONE.with(border));
        if !rest.is_empty() {
            out.push('+');
        }
    }
}

fn name(policy: &Policy, substrate: SubstrateId) -> &str {
    policy.substrate(substrate).map_or("unknown", |s| s.name.as_str())
}

fn class_name<'p>(policy: &'p Policy, d: &Decision) -> &'p str {
    policy.class(d.class).name.as_str()
}
