//! The explanation as JSON.

use super::Explanation;
use super::words::{borders, code, numbers};
use crate::model::{ClassSource, Outcome, Reason, SubstrateId};
use crate::place::Row;
use serde_json::{Value, json};

pub(crate) fn of(e: &Explanation) -> Value {
    let decision = &e.inspection.decision;
    let name = |id: SubstrateId| e.policy.substrate_name(id);
    let envelopes = &e.policy.document().envelopes;
    let applied: Vec<&str> =
        e.inspection.envelopes.iter().filter_map(|&at| envelopes.get(at)).map(|x| x.name.as_str()).collect();
    let plan: Vec<Value> = decision
        .plan
        .iter()
        .map(|a| {
            json!({"substrate": name(a.substrate), "per_try_ms": a.per_try_ms, "cost_uusd": a.cost_uusd,
                   "crosses": borders(a.crosses)})
        })
        .collect();
    json!({
        "policy": e.policy.label(),
        "class": e.policy.class(decision.class).name.as_str(),
        "class_source": match decision.class_source {
            ClassSource::Trusted => "trusted",
            ClassSource::Claimed => "claimed",
            ClassSource::Default => "default",
        },
        "tier": e.inspection.tier.as_str(),
        "input_tokens": e.inspection.input_tokens,
        "output_tokens": e.inspection.output_tokens,
        "deadline_us": e.inspection.deadline_us,
        "envelopes": applied,
        "fresh": decision.freshness.as_str(),
        "epoch": decision.epoch,
        "panic": e.inspection.panic,
        "shed_ppm": e.inspection.shed_ppm,
        "outcome": outcome(e),
        "plan": plan,
        "utility_uusd": decision.utility_uusd,
        "cost_uusd": decision.cost_uusd,
        "egress_uusd": decision.egress_uusd,
        "regime": decision.regime.map(|r| r.as_str()),
        "last_resort": decision.last_resort,
        "trial": decision.trial,
        "binding": json!({
            "dimension": decision.binding.dimension.map_or("none", |d| d.as_str()),
            "joint": decision.binding.joint,
            "unbound": decision.binding.unbound.map(name),
            "reason": decision.binding.reason.zip(decision.binding.unbound).map(|(r, id)| reason(e, id, &r)),
        }),
        "runner_up": decision.runner_up.map(|(id, by)| json!({"substrate": name(id), "behind_uusd": by})),
        "spill": decision.spill.map(|s| json!({
            "from": name(s.from), "why": s.why.map(|r| reason(e, s.from, &r)), "to": name(s.to), "crosses": borders(s.crosses),
            "egress_uusd": s.egress_uusd, "cost_uusd": s.cost_uusd, "latency_us": s.latency_us,
        })),
        "candidates": e.inspection.rows.iter().map(|row| candidate(e, row)).collect::<Vec<_>>(),
        "routers": e.routed.iter().map(|r| json!({
            "router": r.router.as_str(),
            "choice": r.choice.map(name),
            "breaks": r.broken.iter().map(|c| code(*c)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn outcome(e: &Explanation) -> Value {
    match e.inspection.decision.outcome {
        Outcome::Placed => json!("placed"),
        Outcome::Refused { status, reason, retry_after_s } => {
            json!({"status": status, "reason": code(reason.code), "needed": reason.needed, "has": reason.has,
                   "retry_after_s": retry_after_s})
        }
    }
}

fn candidate(e: &Explanation, row: &Row) -> Value {
    json!({
        "substrate": e.policy.substrate_name(row.substrate),
        "reasons": row.reasons.iter().map(|r| reason(e, row.substrate, r)).collect::<Vec<_>>(),
        "utility_uusd": row.terms.sum_uusd(),
        "terms": json!({
            "quality_uusd": row.terms.quality_uusd, "time_uusd": row.terms.time_uusd,
            "cost_uusd": row.terms.cost_uusd, "risk_uusd": row.terms.risk_uusd,
        }),
        "expected_us": row.need_us,
        "total_us": row.total_us,
        "cost_uusd": row.cost_uusd,
        "crosses": borders(row.crosses),
        "affine": row.affine,
    })
}

fn reason(e: &Explanation, id: SubstrateId, reason: &Reason) -> Value {
    json!({"code": code(reason.code), "needed": reason.needed, "has": reason.has, "says": numbers(e, id, reason)})
}
