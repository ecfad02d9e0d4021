//! One governance envelope.

use super::{MOST_WORDS, borders, flag};
use crate::model::{Border, Borders, Country, Envelope, Kind, Name, Regime, Selector, Terms, envelope::Require};
use crate::policy::{
    countries::{Places, sorted},
    forms::{Named, Text, Word, whole},
    source::{Source, one_to},
};

/// Named sets of countries.
pub type Sets = [(String, Vec<Country>)];

/// One envelope.
pub fn envelope<S: Source>(s: &mut S, sets: &Sets) -> Option<Envelope> {
    let name: Option<Name> = s.required("name", "Its name in policies, records and metrics.", Named);
    let applies_to = s.section_or_empty("applies_to", "Which requests it speaks about; without a line, all. An absent fact matches only an absent line. Lines selected by facts that cannot be trusted can only forbid.", selector);
    let permit = s.section(
        "permit",
        "What it permits: the substrates that pass every line. `permit: {}` permits all, and must be said.",
        |s| terms(s, sets),
    );
    let forbid = s.section_or_empty(
        "forbid",
        "What it forbids: the substrates that any line names. Wins over every permit of every envelope.",
        |s| terms(s, sets),
    );
    let spillover = spillover(s);
    let require = s.section_or_empty("require", "What must be known of a substrate before it may be used.", require);
    Some(Envelope {
        name: name?,
        applies_to: applies_to?,
        permit: permit?,
        forbid: forbid?,
        spillover,
        require: require?,
    })
}

#[inline(never)]
fn selector<S: Source>(s: &mut S) -> Option<Selector> {
    Some(Selector {
        tenants: s.list("tenants", "One of these tenants.", Text(128), one_to(MOST_WORDS)),
        data: s.list("data", "One of these data classes.", Text(128), one_to(MOST_WORDS)),
        classes: s.list("classes", "One of these workload classes.", Named, one_to(MOST_WORDS)),
        regions: s.list("regions", "Callers in one of these regions.", Named, one_to(MOST_WORDS)),
    })
}

/// The lines of `permit` and `forbid`.
pub fn terms<S: Source>(s: &mut S, sets: &Sets) -> Option<Terms> {
    let expand = |listed: Option<Vec<Vec<Country>>>| listed.map(|places| sorted(places.into_iter().flatten()));
    Some(Terms {
        jurisdictions: expand(s.list("jurisdictions", "Substrates that stand in one of these countries or sets.", Places(sets), one_to(MOST_WORDS))),
        subject_to: expand(s.list("subject_to", "`permit`: substrates that no other law reaches than that of these countries. `forbid`: substrates that the law of one of these reaches.", Places(sets), one_to(MOST_WORDS))),
        kinds: s.list("kinds", "Substrates of these kinds.", Word(&Kind::ALL, Kind::as_str), one_to(Kind::ALL.len())),
        accounts: s.list("accounts", "Substrates in these accounts.", Named, one_to(MOST_WORDS)),
        regions: s.list("regions", "Substrates in these regions.", Named, one_to(MOST_WORDS)),
        regimes: s.list("regimes", "Substrates under these cost regimes.", Word(&Regime::ALL, Regime::as_str), one_to(Regime::ALL.len())),
        substrates: s.list("substrates", "These substrates, by name.", Named, one_to(super::MOST_SUBSTRATES)),
    })
}

/// How far a placement may leave home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spillover {
    None,
    UpTo(Border),
    Any,
}

const SPILLOVERS: [Spillover; 5] = [
    Spillover::None,
    Spillover::UpTo(Border::Zone),
    Spillover::UpTo(Border::Region),
    Spillover::UpTo(Border::Jurisdiction),
    Spillover::Any,
];

const fn spillover_word(spillover: Spillover) -> &'static str {
    match spillover {
        Spillover::None => "none",
        Spillover::UpTo(border) => border.as_str(),
        Spillover::Any => "any",
    }
}

fn spillover<S: Source>(s: &mut S) -> Borders {
    let widest = s.or("spillover", "The widest border that a placement may cross, away from every home of its class, within what is permitted. `any` includes accounts and cost regimes.", Word(&SPILLOVERS, spillover_word), Spillover::None);
    let also = borders(
        s,
        "also_cross",
        "Further borders that may be crossed; accounts and cost regimes are crossed only if they are named here or by `any`.",
    );
    let up_to = match widest {
        Spillover::None => Borders::NONE,
        Spillover::UpTo(border) => Borders::up_to(border),
        Spillover::Any => Borders::ANY,
    };
    also.iter().fold(up_to, Borders::with)
}

#[inline(never)]
fn require<S: Source>(s: &mut S) -> Option<Require> {
    let attestation = s.optional(
        "attestation_max_age_s",
        "An attestation of the declared jurisdiction, not older than this.",
        whole::<u64>(1, 31_536_000),
    );
    let health = s.optional(
        "health_max_age_s",
        "News of its health that is not older than this: what it says itself; of one that says nothing, what its answers show. Its load and its hosts, which proxies know by themselves, are none. Without it, unknown health is no obstacle.",
        whole::<u64>(1, 86_400),
    );
    Some(Require {
        attestation_max_age_ms: attestation.map(|s| s.saturating_mul(1000)),
        health_max_age_ms: health.map(|s| s.saturating_mul(1000)),
        air_gapped: flag(s, "air_gapped", "Only substrates out of which no path leads."),
        approval_for: borders(s, "approval_for", "Crossing one of these borders needs a valid approval."),
    })
}
