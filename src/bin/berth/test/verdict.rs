//! What was expected against what was decided, line by line.

use berth::{
    model::{Code, Decision, Dimension, Outcome},
    place::{Inspection, Row},
    policy::{
        Policy,
        cases::{Because, Expected},
    },
};

/// One line of an expectation that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) got: String,
}

/// Everything that came out differently.
pub(super) fn compare(policy: &Policy, seen: &Inspection, expect: &Expected) -> Vec<Difference> {
    let decision = &seen.decision;
    let mut found = Vec::new();
    let mut line = |what: &str, expected: Option<String>, got: String| {
        found.extend(expected.filter(|e| *e != got).map(|expected| Difference {
            what: what.to_owned(),
            expected,
            got,
        }));
    };
    let plan: Vec<&str> = decision.plan.iter().map(|a| policy.substrate_name(a.substrate)).collect();
    let words = |names: &[berth::model::Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let refusal = || summary(policy, decision);
    line("class", expect.class.as_ref().map(ToString::to_string), policy.class(decision.class).name.to_string());
    line("tier", expect.tier.map(|t| t.as_str().into()), seen.tier.as_str().into());
    let first = plan.first().map_or_else(refusal, |first| (*first).to_owned());
    line("substrate", expect.substrate.as_ref().map(ToString::to_string), first);
    let all = if plan.is_empty() { refusal() } else { plan.join(", ") };
    line("plan", expect.plan.as_deref().map(words), all);
    let unbound = decision.binding.unbound.map_or("none", |id| policy.substrate_name(id));
    line("unbound", expect.unbound.as_ref().map(ToString::to_string), unbound.into());
    let (status, reason) = match decision.outcome {
        Outcome::Placed => (None, None),
        Outcome::Refused { status, reason, .. } => (Some(status), Some(reason.code)),
    };
    line("status", expect.status.map(|s| s.to_string()), status.map_or_else(refusal, |s| s.to_string()));
    found.extend(because("reason", expect.reason.map(Some), reason.map(Code::dimension), reason, refusal));
    let (bound, by) = (decision.binding.dimension, decision.binding.reason.map(|r| r.code));
    found.extend(because("binding", expect.binding, bound, by, || "none".into()));
    rows(policy, seen, expect, &mut found);
    found
}

/// A reason, as far as it was named.
fn because(
    what: &str,
    expected: Option<Option<Because>>,
    dimension: Option<Dimension>,
    code: Option<Code>,
    nothing: impl FnOnce() -> String,
) -> Option<Difference> {
    let expected = expected?;
    let fits = match expected {
        None => dimension.is_none(),
        Some(b) => dimension == Some(b.dimension) && b.code.is_none_or(|wanted| code == Some(wanted)),
    };
    let got = || dimension.map_or_else(nothing, |d| written(d, code));
    let expected = expected.map_or_else(|| "none".into(), |b| written(b.dimension, b.code));
    (!fits).then(|| Difference { what: what.into(), expected, got: got() })
}

/// Candidates that should be rejected, and that should stand.
fn rows(policy: &Policy, seen: &Inspection, expect: &Expected, found: &mut Vec<Difference>) {
    let row = |name: &str| seen.rows.iter().find(|row| policy.substrate_name(row.substrate) == name);
    for (name, reasons) in &expect.rejected {
        let Some(row) = row(name.as_str()) else { continue };
        let has = |b: &Because| {
            row.reasons.iter().any(|r| r.code.dimension() == b.dimension && b.code.is_none_or(|c| c == r.code))
        };
        if !reasons.iter().all(has) {
            let expected = reasons.iter().map(|b| written(b.dimension, b.code)).collect::<Vec<_>>().join(", ");
            found.push(Difference { what: format!("rejected {name}"), expected, got: rejections(row) });
        }
    }
    for name in expect.standing.iter().flatten() {
        if let Some(row) = row(name.as_str()).filter(|row| !row.reasons.is_empty()) {
            let what = format!("standing {name}");
            found.push(Difference { what, expected: "stands".into(), got: rejections(row) });
        }
    }
}

fn rejections(row: &Row) -> String {
    let all: Vec<String> = row.reasons.iter().map(|r| written(r.code.dimension(), Some(r.code))).collect();
    if all.is_empty() { "stands".into() } else { all.join(", ") }
}

fn written(dimension: Dimension, code: Option<Code>) -> String {
    code.map_or_else(|| dimension.as_str().into(), |code| format!("{}/{}", dimension.as_str(), code.as_str()))
}

/// Where it went, or why it was refused, in a few words.
pub(super) fn summary(policy: &Policy, decision: &Decision) -> String {
    match (decision.outcome, decision.plan.first()) {
        (Outcome::Refused { status, reason, .. }, _) => {
            format!("{status} {}", written(reason.code.dimension(), Some(reason.code)))
        }
        (Outcome::Placed, first) => first.map_or("-", |a| policy.substrate_name(a.substrate)).to_owned(),
    }
}
