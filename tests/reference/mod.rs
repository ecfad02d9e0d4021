//! The decision once more, so small and slow that it is obviously right: no bit sets, no columns, no positions, one
//! candidate after the other, numbers too wide to overflow. It reads the documentation's words in their order and
//! imports only `model`.
//!
//! `Bug` makes one rule wrong, to show that the comparison with the real decision would notice.

mod classes;
mod health;
mod law;
mod value;

use berth::model::*;
use std::collections::BTreeSet;

/// One rule made wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    ForbidIgnored,
    OnePermitIsEnough,
    NobodySpeaksForIt,
    UntrustedPermits,
    UntrustedDoesNotNarrow,
    OneKnownLawIsEnough,
    AccountBorderOpen,
    EveryHomeMustShare,
    ContextOfInputOnly,
    SmallClaimCounts,
    OldReadingsCount,
    AttestationOfAnyCountry,
    AttestationNotNeeded,
    PlacedForgotten,
    ReserveOpenToAll,
    QueueAtLimitIsFull,
    ClaimedTierCounts,
    ClaimedResidencyIgnored,
    ContradictionIgnored,
    ClaimedApprovalCounts,
    ExpiredApprovalCounts,
    EgressIsFree,
    WholeFleetsBudget,
    BrokenPrepaidCountsAsFree,
    PanicForgivesCircuits,
    RiskForgotten,
    QualityFloorOfOneClass,
    ForgetsQueueInTime,
    AnySlotProbes,
    ForeignBorderOpen,
    CeilingIgnored,
    BoundOfOneTryIgnored,
    UnsteadinessIgnored,
    ProofOfElsewhereIgnored,
    LoadIsNews,
    TenantsReserveOpenToAll,
    ClaimedTenantHasItsReserve,
    ReserveKeptFromItsTenant,
    ReserveYieldsToOthers,
    ReserveBeyondTheWhole,
    OwnUseForgotten,
}

impl Bug {
    pub(crate) const ALL: [Self; 41] = [
        Self::ForbidIgnored,
        Self::OnePermitIsEnough,
        Self::NobodySpeaksForIt,
        Self::UntrustedPermits,
        Self::UntrustedDoesNotNarrow,
        Self::OneKnownLawIsEnough,
        Self::AccountBorderOpen,
        Self::EveryHomeMustShare,
        Self::ContextOfInputOnly,
        Self::SmallClaimCounts,
        Self::OldReadingsCount,
        Self::AttestationOfAnyCountry,
        Self::AttestationNotNeeded,
        Self::PlacedForgotten,
        Self::ReserveOpenToAll,
        Self::QueueAtLimitIsFull,
        Self::ClaimedTierCounts,
        Self::ClaimedResidencyIgnored,
        Self::ContradictionIgnored,
        Self::ClaimedApprovalCounts,
        Self::ExpiredApprovalCounts,
        Self::EgressIsFree,
        Self::WholeFleetsBudget,
        Self::BrokenPrepaidCountsAsFree,
        Self::PanicForgivesCircuits,
        Self::RiskForgotten,
        Self::QualityFloorOfOneClass,
        Self::ForgetsQueueInTime,
        Self::AnySlotProbes,
        Self::ForeignBorderOpen,
        Self::CeilingIgnored,
        Self::BoundOfOneTryIgnored,
        Self::UnsteadinessIgnored,
        Self::ProofOfElsewhereIgnored,
        Self::LoadIsNews,
        Self::TenantsReserveOpenToAll,
        Self::ClaimedTenantHasItsReserve,
        Self::ReserveKeptFromItsTenant,
        Self::ReserveYieldsToOthers,
        Self::ReserveBeyondTheWhole,
        Self::OwnUseForgotten,
    ];
}

/// The question.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) document: &'a Document,
    pub(crate) snapshot: Option<&'a Snapshot>,
    pub(crate) local: &'a Local,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) now_ms: u64,
    pub(crate) bug: Bug,
}

/// What the reference says of a candidate. Shedding is left to a law of its own: who is shed is the hash's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) codes: BTreeSet<Code>,
    pub(crate) utility_pusd: i128,
    pub(crate) cost_pusd: i128,
    pub(crate) egress_pusd: i128,
    pub(crate) need_us: i128,
    pub(crate) total_us: i128,
}

/// Judges every candidate.
pub(crate) fn judge(question: &Question) -> Vec<Judged> {
    let demand = classes::demand(question);
    let mut judged: Vec<Judged> = question
        .document
        .substrates
        .iter()
        .enumerate()
        .map(|(at, substrate)| {
            let mut judged = value::of(question, &demand, at, substrate);
            judged.codes.extend(law::of(question, &demand, at, substrate));
            judged.codes.extend(health::of(question, &demand, at, substrate));
            judged
        })
        .collect();
    health::burst(question, &mut judged);
    health::panic(question, &demand, &mut judged);
    judged
}
