//! What an envelope says of a substrate, evaluated as written: for the lints and as the plain counterpart of the
//! bit sets. Short enough to be obviously right.

use crate::model::{Envelope, Name, Substrate, Terms};

/// Whether an envelope may speak about requests of a class.
#[must_use]
pub fn applies_to_class(envelope: &Envelope, class: &Name) -> bool {
    envelope.applies_to.classes.as_ref().is_none_or(|classes| classes.contains(class))
}

/// Whether an envelope, alone, permits a substrate and does not forbid it.
#[must_use]
pub fn permits(envelope: &Envelope, substrate: &Substrate) -> bool {
    permitted(&envelope.permit, substrate)
        && !forbidden(&envelope.forbid, substrate)
        && (!envelope.require.air_gapped || substrate.sovereignty.air_gapped)
}

/// Whether a substrate passes every line of a `permit`.
#[must_use]
pub fn permitted(terms: &Terms, substrate: &Substrate) -> bool {
    let laws = &substrate.sovereignty.subject_to;
    terms.jurisdictions.as_ref().is_none_or(|l| l.contains(&substrate.location.jurisdiction))
        && terms.subject_to.as_ref().is_none_or(|l| laws.iter().all(|law| l.contains(law)))
        && terms.kinds.as_ref().is_none_or(|l| l.contains(&substrate.kind))
        && terms.accounts.as_ref().is_none_or(|l| l.contains(&substrate.account))
        && terms.regions.as_ref().is_none_or(|l| l.contains(&substrate.location.region))
        && terms.regimes.as_ref().is_none_or(|l| l.contains(&substrate.cost.regime))
        && terms.substrates.as_ref().is_none_or(|l| l.contains(&substrate.name))
}

/// Whether any line of a `forbid` names a substrate.
#[must_use]
pub fn forbidden(terms: &Terms, substrate: &Substrate) -> bool {
    let laws = &substrate.sovereignty.subject_to;
    terms.jurisdictions.as_ref().is_some_and(|l| l.contains(&substrate.location.jurisdiction))
        || terms.subject_to.as_ref().is_some_and(|l| laws.iter().any(|law| l.contains(law)))
        || terms.kinds.as_ref().is_some_and(|l| l.contains(&substrate.kind))
        || terms.accounts.as_ref().is_some_and(|l| l.contains(&substrate.account))
        || terms.regions.as_ref().is_some_and(|l| l.contains(&substrate.location.region))
        || terms.regimes.as_ref().is_some_and(|l| l.contains(&substrate.cost.regime))
        || terms.substrates.as_ref().is_some_and(|l| l.contains(&substrate.name))
}
