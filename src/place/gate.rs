//! Stage three, the gate: what the envelopes, the borders, the law and the proofs permit. Nothing that is measured
//! can widen it; a proof or a reading can only be missing.

use super::Scene;
use super::classify::Asked;
use super::ground::{Ground, Key};
use super::picture::ELSEWHERE;
use super::table::bit;
use crate::model::{Borders, Code, Envelope, Facts};
use crate::policy::Policy;
use crate::policy::index::{AIR_GAPPED, ATTESTED, Bits, positions};

/// What the applicable envelopes ask for together.
#[derive(Clone, Copy, Debug, Default)]
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
pub(crate) fn select(policy: &Policy, facts: &Facts, asked: &Asked, key: &mut Key) {
    let envelopes = &policy.envelopes;
    let class = |id| envelopes.classes.by(Some(policy.class(id).name.as_str()));
    let classes = both(class(asked.base), asked.base == asked.class, || class(asked.class));
    let [tenants, data, regions] =
        [(&envelopes.tenants, facts.tenant), (&envelopes.data, facts.data), (&envelopes.regions, facts.region)].map(
            |(selected, fact)| {
                // What a trusted fact selects is looked up once: it selects the same among all facts.
                let trusted = selected.by(fact.filter(|f| f.trusted).map(|f| f.value));
                both(trusted, fact.is_none_or(|f| f.trusted), || selected.by(fact.map(|f| f.value)))
            },
        );
    let words = |list: &[(&[u64], &[u64])], at: usize| {
        let word = |words: &[u64]| words.get(at).copied().unwrap_or(0);
        list.iter().fold((u64::MAX, u64::MAX), |(t, a), (trusted, all)| (t & word(trusted), a & word(all)))
    };
    key.spoken_for = false;
    key.envelopes.clear();
    for at in 0..classes.0.len() {
        let (trusted, all) = words(&[tenants, data, regions, classes], at);
        key.spoken_for |= trusted != 0;
        key.envelopes.push(trusted | all);
    }
}

/// The words of what trusted facts select and of what all facts do.
fn both<'a>(trusted: &'a Bits, same: bool, all: impl FnOnce() -> &'a Bits) -> (&'a [u64], &'a [u64]) {
    (trusted.words(), if same { trusted.words() } else { all().words() })
}

/// What the applicable envelopes ask for together.
pub(crate) fn law(policy: &Policy, asked: &Asked, key: &Key) -> Law {
    let documents = &policy.document().envelopes;
    let applicable = positions(&key.envelopes).filter_map(|e| documents.get(e));
    let none = Law {
        spoken_for: key.spoken_for,
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

/// Marks what is not permitted.
pub(crate) fn gate(scene: &Scene, ground: &mut Ground) {
    let Ground { codes, key, .. } = ground;
    for envelope in positions(&key.envelopes) {
        if let Some(row) = scene.policy.envelopes.rejects.get(envelope) {
            codes.iter_mut().zip(row.iter()).for_each(|(codes, rejects)| *codes |= rejects);
        }
    }
    // Of two values one is the stricter. Whoever added the other must not be rid of it.
    if key.contradicted {
        codes.iter_mut().for_each(|codes| *codes |= bit(Code::Contradicted, true));
    }
    if !scene.law.spoken_for {
        codes.iter_mut().for_each(|codes| *codes |= bit(Code::NoEnvelope, true));
    }
    borders(scene, ground);
    proofs(scene, ground);
    residency(scene, ground);
}

/// Strict: a border may be crossed only where every applicable envelope lets it be, from the homes of both classes.
fn borders(scene: &Scene, ground: &mut Ground) {
    let (law, Ground { codes, crosses, .. }) = (&scene.law, ground);
    let (base, claimed) = (scene.policy.classed(scene.asked.base), scene.policy.classed(scene.asked.class));
    crosses.clear();
    crosses.extend(base.crosses.iter().zip(&claimed.crosses).map(|(a, b)| a | b));
    let jurisdiction = Borders::NONE.with(crate::model::Border::Jurisdiction);
    let closed = Borders::ANY.minus(law.spillover);
    let (foreign, other) = (closed.bits() & jurisdiction.bits(), closed.minus(jurisdiction).bits());
    let unapproved = law.approval_for.minus(scene.asked.opened).bits();
    for (codes, crosses) in codes.iter_mut().zip(crosses) {
        *codes |= bit(Code::BorderJurisdiction, *crosses & foreign != 0)
            | bit(Code::Spillover, *crosses & other != 0)
            | bit(Code::NeedsApproval, *crosses & unapproved != 0);
    }
}

/// Air gap, attestation, known health. What is not known is not there: without a snapshot, a substrate that needs an
/// attestation is forbidden. One that attests another country than it declares has moved (a failover, perhaps): nobody
/// asked where it was declared to be, so it is forbidden to everybody until it is back or the policy says so.
fn proofs(scene: &Scene, ground: &mut Ground) {
    let known = scene.picture.attested_ms.iter().zip(&scene.picture.heard_ms);
    let most = |age: Option<u64>| age.map_or(i64::MAX, |ms| i64::try_from(ms).unwrap_or(i64::MAX - 1));
    let (attested_most, heard_most) = (most(scene.law.attested_ms), most(scene.law.heard_ms));
    let rows = scene.policy.columns.flags.iter().zip(known);
    for (codes, (flags, (&attested, &heard))) in ground.codes.iter_mut().zip(rows) {
        let absent = attested == i64::MAX && flags & ATTESTED != 0;
        let elsewhere = attested == ELSEWHERE;
        *codes |= bit(Code::Attestation, absent || elsewhere || attested > attested_most)
            | bit(Code::Unverified, heard > heard_most)
            | bit(Code::AirGap, scene.asked.air_gapped && flags & AIR_GAPPED == 0);
    }
}

/// Whoever says it, data that must stay somewhere stay there; a place that nobody knows is nowhere.
fn residency(scene: &Scene, ground: &mut Ground) {
    let Some(place) = scene.facts.residency else { return };
    let within = scene.policy.lookups.residency.get(place.value);
    for (at, codes) in ground.codes.iter_mut().enumerate() {
        *codes |= bit(Code::Residency, within.is_none_or(|set| !set.contains(at)));
    }
}
