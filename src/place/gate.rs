//! Stage three, the gate: what the envelopes, the borders, the law and the proofs permit. Nothing that is measured
//! can widen it; a proof or a reading can only be missing.

use super::Scene;
use super::classify::Asked;
use super::table::{Table, bit};
use crate::model::{Borders, Code, Codes, Envelope, Fact, Facts};
use crate::policy::Policy;
use crate::policy::index::{AIR_GAPPED, ATTESTED, positions};

/// What the applicable envelopes ask for together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Law {
    /// An envelope selected by trusted facts speaks for the request.
    pub(crate) spoken_for: bool,
    pub(crate) spillover: Borders,
    pub(crate) approval_for: Borders,
    pub(crate) attested_ms: Option<u64>,
    pub(crate) heard_ms: Option<u64>,
}

/// Finds the envelopes that apply: selected by trusted facts, or by all facts; either kind narrows, only the first
/// kind permits.
pub(crate) fn select(policy: &Policy, facts: &Facts, asked: &Asked, table: &mut Table) -> Law {
    let envelopes = &policy.envelopes;
    let class = |id| Some(policy.class(id).name.as_str());
    let set = |tenant, data, region, class| {
        let (t, d) = (envelopes.tenants.by(tenant).words(), envelopes.data.by(data).words());
        let (r, c) = (envelopes.regions.by(region).words(), envelopes.classes.by(class).words());
        t.iter().zip(d).zip(r.iter().zip(c)).map(|((t, d), (r, c))| t & d & r & c)
    };
    let by_trusted = set(trusted(facts.tenant), trusted(facts.data), trusted(facts.region), class(asked.base));
    let by_all = set(said(facts.tenant), said(facts.data), said(facts.region), class(asked.class));
    let mut spoken_for = false;
    table.envelopes.clear();
    table.envelopes.extend(by_trusted.zip(by_all).map(|(trusted, all)| {
        spoken_for |= trusted != 0;
        trusted | all
    }));
    let documents = &policy.document().envelopes;
    let applicable = positions(&table.envelopes).filter_map(|e| documents.get(e));
    let none = Law {
        spoken_for,
        spillover: Borders::ANY,
        approval_for: asked.approval_for,
        attested_ms: None,
        heard_ms: None,
    };
    applicable.fold(none, Law::with)
}

impl Law {
    /// One envelope more: what may be crossed shrinks, what is required grows.
    fn with(self, envelope: &Envelope) -> Self {
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self {
            spoken_for: self.spoken_for,
            spillover: Borders::from_bits(self.spillover.bits() & envelope.spillover.bits()),
            approval_for: Borders::from_bits(self.approval_for.bits() | envelope.require.approval_for.bits()),
            attested_ms: least(self.attested_ms, envelope.require.attestation_max_age_ms),
            heard_ms: least(self.heard_ms, envelope.require.health_max_age_ms),
        }
    }
}

fn said(fact: Option<Fact<&str>>) -> Option<&str> {
    fact.map(|f| f.value)
}

fn trusted(fact: Option<Fact<&str>>) -> Option<&str> {
    fact.filter(|f| f.trusted).map(|f| f.value)
}

/// Marks what is not permitted.
pub(crate) fn gate(scene: &Scene, table: &mut Table) {
    let law = &scene.law;
    for envelope in positions(&table.envelopes) {
        if let Some(row) = scene.policy.envelopes.rejects.get(envelope) {
            table.codes.iter_mut().zip(row.iter()).for_each(|(codes, rejects)| *codes |= rejects);
        }
    }
    if !law.spoken_for {
        table.codes.iter_mut().for_each(|codes| *codes |= bit(Code::NoEnvelope, true));
    }
    borders(scene, law, table);
    proofs(scene, law, table);
    residency(scene, table);
    tenant_share(scene, table);
}

/// Strict: a border may be crossed only where every applicable envelope lets it be, from the homes of both classes.
fn borders(scene: &Scene, law: &Law, table: &mut Table) {
    let (base, claimed) = (scene.policy.classed(scene.asked.base), scene.policy.classed(scene.asked.class));
    table.crosses.clear();
    table.crosses.extend(base.crosses.iter().zip(&claimed.crosses).map(|(a, b)| a | b));
    let jurisdiction = Borders::NONE.with(crate::model::Border::Jurisdiction);
    let closed = Borders::ANY.minus(law.spillover);
    let (foreign, other) = (closed.bits() & jurisdiction.bits(), closed.minus(jurisdiction).bits());
    let unapproved = law.approval_for.minus(scene.asked.opened).bits();
    for (codes, crosses) in table.codes.iter_mut().zip(&table.crosses) {
        *codes |= bit(Code::BorderJurisdiction, crosses & foreign != 0)
            | bit(Code::Spillover, crosses & other != 0)
            | bit(Code::NeedsApproval, crosses & unapproved != 0);
    }
}

/// Air gap, attestation, known health. What is not known is not there: without a snapshot, a substrate that needs an
/// attestation is forbidden.
fn proofs(scene: &Scene, law: &Law, table: &mut Table) {
    let known = scene.picture.attested_ms.iter().zip(&scene.picture.heard_ms);
    let most = |age: Option<u64>| age.map_or(i64::MAX, |ms| i64::try_from(ms).unwrap_or(i64::MAX - 1));
    let (attested_most, heard_most) = (most(law.attested_ms), most(law.heard_ms));
    let rows = scene.policy.columns.flags.iter().zip(known);
    for (codes, (flags, (&attested, &heard))) in table.codes.iter_mut().zip(rows) {
        let absent = attested == i64::MAX && flags & ATTESTED != 0;
        *codes |= bit(Code::Attestation, absent || attested > attested_most)
            | bit(Code::Unverified, heard > heard_most)
            | bit(Code::AirGap, scene.asked.air_gapped && flags & AIR_GAPPED == 0);
    }
}

/// Whoever says it, data that must stay somewhere stay there; a place that nobody knows is nowhere.
fn residency(scene: &Scene, table: &mut Table) {
    let Some(place) = scene.facts.residency else { return };
    let within = scene.policy.lookups.residency.get(place.value);
    for (at, codes) in table.codes.iter_mut().enumerate() {
        *codes |= bit(Code::Residency, within.is_none_or(|set| !set.contains(at)));
    }
}

/// A tenant's share of a substrate, by what this VM has in flight for it.
fn tenant_share(scene: &Scene, table: &mut Table) {
    let Some(tenant) = scene.facts.tenant else { return };
    for share in scene.policy.lookups.shares.get(tenant.value).into_iter().flatten() {
        if scene.tenant_use_ppm(share) >= i64::from(share.share_ppm) {
            table.mark(share.substrate, Codes::of(Code::TenantShare));
        }
    }
}
