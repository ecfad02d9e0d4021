//! The judge: whether a placement lies in the envelope, worked out a second time from the policy's document and the true state
//! of the world, with none of the code that decides. Slow and plain on purpose; it is asked once a kind of request.

use crate::model::substrate::Attested;
use crate::model::{Border, Borders, Class, Document, Envelope, Facts, Substrate, Terms};

/// What the law says of one kind of request and one substrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// Nothing that stands written forbids it.
    pub permitted: bool,
    /// It must have been proved to be where it says, no longer ago than this.
    pub proof_ms: Option<u64>,
    /// The borders behind which it lies, seen from the homes of the class.
    pub crosses: Borders,
    /// It serves the model, with the context and the features.
    pub able: bool,
}

/// Rules on one kind of request and one substrate.
#[must_use]
pub fn rule(document: &Document, class: &Class, facts: &Facts, substrate: &Substrate) -> Ruling {
    let applicable: Vec<&Envelope> = document.envelopes.iter().filter(|e| speaks(e, class, facts)).collect();
    let crosses = crossed(document, class, substrate);
    let well = |e: &&&Envelope| {
        let permits = holds(&e.permit, substrate, true) && !holds(&e.forbid, substrate, false);
        let gap = !e.require.air_gapped || substrate.sovereignty.air_gapped;
        permits && gap && crosses.minus(e.spillover).is_empty() && nothing_of(crosses, e.require.approval_for)
    };
    let residency = facts.residency.is_none_or(|place| {
        let here = substrate.location.jurisdiction;
        let named = document.jurisdictions.iter().find(|(name, _)| name == place.value);
        here.as_str() == place.value || named.is_some_and(|(_, countries)| countries.contains(&here))
    });
    let gap = !class.air_gapped || substrate.sovereignty.air_gapped;
    let written = !applicable.is_empty() && applicable.iter().filter(well).count() == applicable.len();
    let ages = applicable.iter().filter_map(|e| e.require.attestation_max_age_ms);
    let always = matches!(substrate.sovereignty.attestation, Attested::Required).then_some(u64::MAX);
    Ruling {
        permitted: written && residency && gap && nothing_of(crosses, class.approval_for),
        proof_ms: ages.chain(always).min(),
        crosses,
        able: able(class, facts, substrate),
    }
}

/// Approvals are not simulated: where one is needed, nobody has it.
fn nothing_of(crosses: Borders, asked: Borders) -> bool {
    crosses.bits() & asked.bits() == 0
}

fn speaks(envelope: &Envelope, class: &Class, facts: &Facts) -> bool {
    let to = &envelope.applies_to;
    let one = |list: &Option<Vec<String>>, said: Option<&str>| {
        list.as_ref().is_none_or(|list| said.is_some_and(|said| list.iter().any(|l| l == said)))
    };
    let region = facts.region.map(|f| f.value);
    one(&to.tenants, facts.tenant.map(|f| f.value))
        && one(&to.data, facts.data.map(|f| f.value))
        && to.classes.as_ref().is_none_or(|list| list.contains(&class.name))
        && to.regions.as_ref().is_none_or(|list| region.is_some_and(|r| list.iter().any(|l| l.as_str() == r)))
}

/// Whether every line that is there holds (`permit`), or any of them (`forbid`).
fn holds(terms: &Terms, s: &Substrate, permit: bool) -> bool {
    let laws = &s.sovereignty.subject_to;
    let lines = [
        terms.jurisdictions.as_ref().map(|l| l.contains(&s.location.jurisdiction)),
        terms
            .subject_to
            .as_ref()
            .map(|l| if permit { laws.iter().all(|c| l.contains(c)) } else { laws.iter().any(|c| l.contains(c)) }),
        terms.kinds.as_ref().map(|l| l.contains(&s.kind)),
        terms.accounts.as_ref().map(|l| l.contains(&s.account)),
        terms.regions.as_ref().map(|l| l.contains(&s.location.region)),
        terms.regimes.as_ref().map(|l| l.contains(&s.cost.regime)),
        terms.substrates.as_ref().map(|l| l.contains(&s.name)),
    ];
    let mut lines = lines.into_iter().flatten();
    if permit { lines.all(|line| line) } else { lines.any(|line| line) }
}

fn crossed(document: &Document, class: &Class, s: &Substrate) -> Borders {
    let homes = || document.substrates.iter().filter(|h| class.home.contains(&h.name));
    let shares = |border: Border| {
        homes().any(|h| match border {
            Border::Zone => h.location.zone == s.location.zone,
            Border::Region => h.location.region == s.location.region,
            Border::Jurisdiction => h.location.jurisdiction == s.location.jurisdiction,
            Border::Account => h.account == s.account,
            Border::Regime => h.cost.regime == s.cost.regime,
        })
    };
    Border::ALL.into_iter().filter(|b| !shares(*b)).fold(Borders::NONE, Borders::with)
}

fn able(class: &Class, facts: &Facts, s: &Substrate) -> bool {
    let offered = &s.capabilities;
    let serves = facts.model.is_none_or(|model| offered.models.iter().any(|o| o.model == model.value));
    let wanted = |f: &crate::model::Feature| facts.features.contains(*f) || class.needs.contains(*f);
    let features = crate::model::Feature::ALL.iter().filter(|f| wanted(f)).all(|f| offered.features.contains(*f));
    let waits = class.synchronous && offered.throughput_only && !class.allow_throughput;
    serves && features && !waits
}
