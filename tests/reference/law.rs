//! Governance and sovereignty.

use super::classes::Demand;
use super::{Bug, Question};
use berth::model::substrate::Attested;
use berth::model::*;
use std::collections::BTreeSet;

pub(crate) fn of(q: &Question, demand: &Demand, at: usize, s: &Substrate) -> BTreeSet<Code> {
    let mut codes = BTreeSet::new();
    let envelopes = &q.document.envelopes;
    let trusted: Vec<&Envelope> = envelopes.iter().filter(|e| selected(q, &e.applies_to, demand.base, true)).collect();
    let claimed: Vec<&Envelope> =
        envelopes.iter().filter(|e| selected(q, &e.applies_to, demand.claimed, false)).collect();
    let speaks = match q.bug {
        Bug::NobodySpeaksForIt => true,
        Bug::UntrustedPermits => !trusted.is_empty() || !claimed.is_empty(),
        _ => !trusted.is_empty(),
    };
    if q.facts.contradicted && q.bug != Bug::ContradictionIgnored {
        codes.insert(Code::Contradicted);
    }
    if !speaks {
        codes.insert(Code::NoEnvelope);
    }
    let narrowing = if q.bug == Bug::UntrustedDoesNotNarrow { vec![] } else { claimed };
    let all: Vec<&Envelope> = envelopes.iter().filter(|e| trusted.contains(e) || narrowing.contains(e)).collect();

    let mut missed: Vec<BTreeSet<Code>> = all.iter().map(|e| not_permitted(q, &e.permit, s)).collect();
    if q.bug == Bug::OnePermitIsEnough && missed.iter().any(BTreeSet::is_empty) {
        missed.clear();
    }
    codes.extend(missed.into_iter().flatten());
    if q.bug != Bug::ForbidIgnored {
        codes.extend(all.iter().flat_map(|e| forbidden(&e.forbid, s)));
    }
    let gapped = demand.base.air_gapped || demand.claimed.air_gapped || all.iter().any(|e| e.require.air_gapped);
    if gapped && !s.sovereignty.air_gapped {
        codes.insert(Code::AirGap);
    }
    for border in Border::ALL.into_iter().filter(|&b| crosses(q, demand, s, b)) {
        if all.iter().any(|e| !e.spillover.contains(border)) {
            match border {
                Border::Jurisdiction if q.bug == Bug::ForeignBorderOpen => {}
                Border::Account if q.bug == Bug::AccountBorderOpen => {}
                Border::Jurisdiction => {
                    codes.insert(Code::BorderJurisdiction);
                }
                _ => {
                    codes.insert(Code::Spillover);
                }
            }
        }
        let asks = demand.base.approval_for.contains(border)
            || demand.claimed.approval_for.contains(border)
            || all.iter().any(|e| e.require.approval_for.contains(border));
        if asks && !approved(q, border) {
            codes.insert(Code::NeedsApproval);
        }
    }
    codes.extend(proofs(q, &all, s));
    if let Some(place) = q.facts.residency.filter(|f| f.trusted || q.bug != Bug::ClaimedResidencyIgnored) {
        let here = s.location.jurisdiction;
        let named = q.document.jurisdictions.iter().find(|(n, _)| n == place.value);
        if !(here.as_str() == place.value || named.is_some_and(|(_, list)| list.contains(&here))) {
            codes.insert(Code::Residency);
        }
    }
    if let Some(share) = tenant_share(q, s) {
        let workers = i128::from(q.snapshot.map_or(1, |s| s.slots.max(1)));
        let used = workers * q.facts.tenant.map_or(0, |tenant| super::health::counted(q, at, tenant.value));
        if used * 1_000_000 / i128::from(s.capacity.concurrency.max(1)) >= i128::from(share) {
            codes.insert(Code::TenantShare);
        }
    }
    codes
}

fn tenant_share(q: &Question, s: &Substrate) -> Option<u32> {
    let tenant = q.facts.tenant?.value;
    s.capacity.tenant_share_ppm.iter().find(|(t, _)| t == tenant).map(|(_, ppm)| *ppm)
}

fn selected(q: &Question, selector: &Selector, class: &Class, trusted_only: bool) -> bool {
    let value = |fact: Option<Fact<&'_ str>>| fact.filter(|f| f.trusted || !trusted_only).map(|f| f.value.to_string());
    let one = |list: &Option<Vec<String>>, fact| match (list, value(fact)) {
        (None, _) => true,
        (Some(list), Some(value)) => list.contains(&value),
        (Some(_), None) => false,
    };
    let regions = selector.regions.as_ref().map(|l| l.iter().map(|n| n.as_str().to_string()).collect());
    one(&selector.tenants, q.facts.tenant)
        && one(&selector.data, q.facts.data)
        && one(&regions, q.facts.region)
        && selector.classes.as_ref().is_none_or(|list| list.contains(&class.name))
}

fn not_permitted(q: &Question, permit: &Terms, s: &Substrate) -> BTreeSet<Code> {
    let mut codes = BTreeSet::new();
    let mut need = |code, on: bool| {
        if !on {
            codes.insert(code);
        }
    };
    need(Code::Jurisdiction, permit.jurisdictions.as_ref().is_none_or(|l| l.contains(&s.location.jurisdiction)));
    need(
        Code::SubjectTo,
        permit.subject_to.as_ref().is_none_or(|l| {
            let mut laws = s.sovereignty.subject_to.iter();
            if q.bug == Bug::OneKnownLawIsEnough { laws.any(|c| l.contains(c)) } else { laws.all(|c| l.contains(c)) }
        }),
    );
    need(Code::Kind, permit.kinds.as_ref().is_none_or(|l| l.contains(&s.kind)));
    need(Code::Account, permit.accounts.as_ref().is_none_or(|l| l.contains(&s.account)));
    need(Code::Region, permit.regions.as_ref().is_none_or(|l| l.contains(&s.location.region)));
    need(Code::Regime, permit.regimes.as_ref().is_none_or(|l| l.contains(&s.cost.regime)));
    need(Code::Substrate, permit.substrates.as_ref().is_none_or(|l| l.contains(&s.name)));
    codes
}

fn forbidden(forbid: &Terms, s: &Substrate) -> BTreeSet<Code> {
    let mut codes = BTreeSet::new();
    let mut on = |code, on: bool| {
        if on {
            codes.insert(code);
        }
    };
    on(Code::Jurisdiction, forbid.jurisdictions.as_ref().is_some_and(|l| l.contains(&s.location.jurisdiction)));
    on(
        Code::SubjectTo,
        forbid.subject_to.as_ref().is_some_and(|l| s.sovereignty.subject_to.iter().any(|c| l.contains(c))),
    );
    on(Code::Kind, forbid.kinds.as_ref().is_some_and(|l| l.contains(&s.kind)));
    on(Code::Account, forbid.accounts.as_ref().is_some_and(|l| l.contains(&s.account)));
    on(Code::Region, forbid.regions.as_ref().is_some_and(|l| l.contains(&s.location.region)));
    on(Code::Regime, forbid.regimes.as_ref().is_some_and(|l| l.contains(&s.cost.regime)));
    on(Code::Substrate, forbid.substrates.as_ref().is_some_and(|l| l.contains(&s.name)));
    codes
}

/// A placement crosses a border when no home of its class shares that value; of two classes, either.
fn crosses(q: &Question, demand: &Demand, s: &Substrate, border: Border) -> bool {
    let same = |home: &Substrate| match border {
        Border::Zone => home.location.zone == s.location.zone,
        Border::Region => home.location.region == s.location.region,
        Border::Jurisdiction => home.location.jurisdiction == s.location.jurisdiction,
        Border::Account => home.account == s.account,
        Border::Regime => home.cost.regime == s.cost.regime,
    };
    [demand.base, demand.claimed].into_iter().any(|class| {
        let mut homes = q.document.substrates.iter().filter(|h| class.home.contains(&h.name));
        if q.bug == Bug::EveryHomeMustShare { homes.any(|h| !same(h)) } else { !homes.any(same) }
    })
}

fn approved(q: &Question, border: Border) -> bool {
    let Some(held) = q.facts.approval.filter(|f| f.trusted || q.bug == Bug::ClaimedApprovalCounts) else {
        return false;
    };
    q.document.settings.approvals.iter().any(|a| {
        let valid = a.until_ms > q.now_ms || q.bug == Bug::ExpiredApprovalCounts;
        a.token == held.value && valid && a.borders.contains(border)
    })
}

/// What is not known is not there.
fn proofs(q: &Question, all: &[&Envelope], s: &Substrate) -> BTreeSet<Code> {
    let mut codes = BTreeSet::new();
    let health = q.snapshot.and_then(|snapshot| snapshot.of(s.name.as_str()));
    // To the end of the step of time in which pictures are made: a proof that runs out within it does not count.
    let now = q.now_ms - q.now_ms % 250;
    let age = |at_ms: u64| now.saturating_sub(at_ms) + 249;
    let proof = health
        .and_then(|h| h.attestation)
        .filter(|a| a.jurisdiction == s.location.jurisdiction || q.bug == Bug::AttestationOfAnyCountry)
        .map(|a| age(a.at_ms));
    let needed = s.sovereignty.attestation == Attested::Required && q.bug != Bug::AttestationNotNeeded;
    let moved = health.and_then(|h| h.attestation).is_some_and(|a| a.jurisdiction != s.location.jurisdiction);
    let moved = moved && !matches!(q.bug, Bug::ProofOfElsewhereIgnored | Bug::AttestationOfAnyCountry);
    let old = |most: u64| proof.is_none_or(|age| age > most);
    if (needed && proof.is_none()) || moved || all.iter().filter_map(|e| e.require.attestation_max_age_ms).any(old) {
        codes.insert(Code::Attestation);
    }
    let heard = health.and_then(|h| news(q, h)).map(age);
    if all.iter().filter_map(|e| e.require.health_max_age_ms).any(|most| heard.is_none_or(|age| age > most)) {
        codes.insert(Code::Unverified);
    }
    codes
}

/// When it last said something; of one that never does, when its answers last showed something. What the proxies know by
/// themselves is no news.
fn news(q: &Question, health: &Health) -> Option<u64> {
    let newest = |counts: &dyn Fn(Signal) -> bool| {
        let counted = Signal::ALL.into_iter().filter(|signal| counts(*signal));
        counted.filter_map(|signal| health.reading(signal)).map(|reading| reading.at_ms).max()
    };
    if q.bug == Bug::LoadIsNews {
        return newest(&|_| true);
    }
    let shown = |signal: Signal| signal.is_measured() && !matches!(signal, Signal::InFlight | Signal::Hosts);
    newest(&|signal| !signal.is_measured()).or_else(|| newest(&shown))
}
