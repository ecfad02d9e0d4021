//! Workload and cost by the request alone, and what a candidate is worth.

use super::classes::Demand;
use super::health::Heard;
use super::{Bug, Judged, Question};
use berth::model::*;
use std::collections::BTreeSet;

pub(crate) fn of(q: &Question, demand: &Demand, at: usize, s: &Substrate) -> Judged {
    let mut codes = BTreeSet::new();
    let offer = q.facts.model.map(|m| s.capabilities.models.iter().find(|o| o.model == m.value));
    let best = s.capabilities.models.iter().map(|o| o.quality_ppm).max().unwrap_or(0);
    let (quality, context) = match offer {
        None => (best, Some(s.capabilities.context_tokens)),
        Some(None) => (0, None),
        Some(Some(o)) => (o.quality_ppm, Some(o.context_tokens.unwrap_or(s.capabilities.context_tokens))),
    };
    let tokens = if q.bug == Bug::ContextOfInputOnly { demand.input } else { demand.input + demand.output };
    match context {
        None => {
            codes.insert(Code::Model);
        }
        Some(context) => {
            if tokens > i128::from(context) {
                codes.insert(Code::Context);
            }
            if quality < demand.min_quality {
                codes.insert(Code::Quality);
            }
        }
    }
    let mut asked = q.facts.features.union(demand.base.needs).union(demand.claimed.needs);
    if demand.stream {
        asked = asked.with(Feature::Streaming);
    }
    if !asked.missing_from(s.capabilities.features).is_empty() {
        codes.insert(Code::Feature);
    }
    let refuses = |c: &Class| c.synchronous && !c.allow_throughput;
    if s.capabilities.throughput_only && (refuses(demand.base) || refuses(demand.claimed)) {
        codes.insert(Code::Throughput);
    }
    let link = q.facts.zone.and_then(|zone| {
        let ends = |l: &&settings::Link| l.from.as_str() == zone.value && l.to == s.location.zone;
        q.document.settings.links.iter().find(ends)
    });
    let path = link.map_or(0, |l| i128::from(l.latency_us));
    let figures = Heard::of(q, s).figures(q, s);
    let time = |first: i128, input: i128, output: i128| {
        let first = first + path + input * demand.input;
        let total = first + output * demand.output;
        (if demand.stream { first } else { total }, total)
    };
    let (need_us, total_us) = time(figures.first_us, figures.input_us, figures.output_us);
    let declared = &s.latency;
    let (unloaded, _) = time(
        i128::from(declared.first_token_us),
        i128::from(declared.prefill_us_per_token),
        i128::from(declared.us_per_token),
    );
    if need_us > demand.try_us {
        codes.insert(if unloaded > demand.try_us { Code::Slow } else { Code::Deadline });
    }
    let bytes = demand.output * i128::from(q.document.settings.bytes_per_token);
    let byte = egress(q, s) + link.map_or(0, |l| i128::from(l.pusd_per_byte));
    let byte = if q.bug == Bug::EgressIsFree { 0 } else { byte };
    let cost_pusd = i128::from(s.cost.request_uusd) * 1_000_000
        + figures.input_pusd * demand.input
        + figures.output_pusd * demand.output
        + byte * bytes;
    let limit = [demand.base.limits.cost_uusd, demand.claimed.limits.cost_uusd].into_iter().flatten().min();
    if limit.is_some_and(|uusd| cost_pusd > i128::from(uusd) * 1_000_000) {
        codes.insert(Code::RequestCost);
    }
    if budget_left(q).is_some_and(|uusd| cost_pusd > uusd * 1_000_000) {
        codes.insert(Code::TenantBudget);
    }
    let _ = at;
    let worth = demand.worth;
    let risk = if q.bug == Bug::RiskForgotten { 0 } else { figures.risk_ppm };
    let utility_pusd = i128::from(quality) * i128::from(worth.answer_uusd)
        - total_us * i128::from(worth.second_uusd)
        - cost_pusd
        - risk * i128::from(worth.failure_uusd);
    Judged { codes, utility_pusd, cost_pusd, egress_pusd: byte * bytes, need_us, total_us }
}

/// By the caller's region; one that nobody vouches for can only make it dearer.
fn egress(q: &Question, s: &Substrate) -> i128 {
    let of = |region: Option<&str>| {
        let found = s.cost.egress.iter().find(|e| e.to_region.as_ref().map(Name::as_str) == region);
        found.map(|e| i128::from(e.pusd_per_byte))
    };
    let default = of(None).unwrap_or(0);
    match q.facts.region {
        None => default,
        Some(region) if region.trusted => of(Some(region.value)).unwrap_or(default),
        Some(region) => of(Some(region.value)).unwrap_or(default).max(default),
    }
}

fn budget_left(q: &Question) -> Option<i128> {
    let tenant = q.facts.tenant?.value;
    let at = q.document.settings.budgets.iter().position(|b| b.tenant == tenant)?;
    let budget = &q.document.settings.budgets[at];
    let share = if q.bug == Bug::WholeFleetsBudget { 1_000_000 } else { i128::from(budget.fleet_share_ppm) };
    let spent = q.local.spent_uusd.get(at).copied().unwrap_or(0);
    Some((i128::from(budget.most_uusd) * share / 1_000_000 - i128::from(spent)).max(0))
}
