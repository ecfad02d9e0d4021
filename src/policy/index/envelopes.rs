//! The envelopes, compiled: for each an answer for every substrate, and for every value of a fact the set of
//! envelopes that it selects.

use super::{Bits, Positions};
use crate::model::{Code, Codes, Country, Document, Envelope, Name, Substrate, Terms, envelope::Require};
use hashbrown::HashMap;

/// Which envelopes a fact selects: those that do not ask for it, and those that ask for its value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selected {
    unasked: Bits,
    by_value: HashMap<String, Bits>,
}

impl Selected {
    fn new<'a>(document: &'a Document, asked: impl Fn(&'a Envelope) -> Option<Vec<&'a str>>) -> Self {
        let lists: Vec<_> = document.envelopes.iter().map(asked).collect();
        let unasked = Bits::collect(lists.len(), |e| lists.get(e).is_some_and(Option::is_none));
        let mut by_value = HashMap::new();
        for (e, values) in lists.iter().enumerate() {
            for value in values.iter().flatten() {
                by_value.entry(String::from(*value)).or_insert_with(|| unasked.clone()).insert(e);
            }
        }
        Self { unasked, by_value }
    }

    /// The envelopes that this value selects; of an absent fact, those that do not ask for it.
    pub(crate) fn by(&self, value: Option<&str>) -> &Bits {
        value.and_then(|v| self.by_value.get(v)).unwrap_or(&self.unasked)
    }
}

/// All envelopes of a policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelopes {
    /// For each envelope, by policy order of the substrates: why it rejects.
    pub(crate) rejects: Vec<Box<[u64]>>,
    pub(crate) tenants: Selected,
    pub(crate) data: Selected,
    pub(crate) classes: Selected,
    pub(crate) regions: Selected,
}

impl Envelopes {
    #[inline(never)]
    pub(crate) fn new(document: &Document, positions: &Positions) -> Self {
        Self {
            rejects: document.envelopes.iter().map(|e| row(document, e, positions)).collect(),
            tenants: Selected::new(document, |e| e.applies_to.tenants.as_deref().map(texts)),
            data: Selected::new(document, |e| e.applies_to.data.as_deref().map(texts)),
            classes: Selected::new(document, |e| e.applies_to.classes.as_deref().map(words)),
            regions: Selected::new(document, |e| e.applies_to.regions.as_deref().map(words)),
        }
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn words(list: &[Name]) -> Vec<&str> {
    list.iter().map(Name::as_str).collect()
}

fn row(document: &Document, envelope: &Envelope, positions: &Positions) -> Box<[u64]> {
    let permit = Listed::new(&envelope.permit, positions, document.substrates.len());
    let forbid = Listed::new(&envelope.forbid, positions, document.substrates.len());
    let verdict = |(at, s)| permit.misses(at, s).union(forbid.hits(at, s)).union(lacks(&envelope.require, s)).0;
    document.substrates.iter().enumerate().map(verdict).collect()
}

fn lacks(require: &Require, s: &Substrate) -> Codes {
    if require.air_gapped && !s.sovereignty.air_gapped { Codes::of(Code::AirGap) } else { Codes::default() }
}

/// A list of terms with its named substrates found.
struct Listed<'a> {
    terms: &'a Terms,
    substrates: Option<Bits>,
}

impl<'a> Listed<'a> {
    fn new(terms: &'a Terms, positions: &Positions, len: usize) -> Self {
        let substrates = terms.substrates.as_ref().map(|names| {
            let mut bits = Bits::none(len);
            names.iter().filter_map(|n| positions.get(n.as_str())).for_each(|&i| bits.insert(usize::from(i)));
            bits
        });
        Self { terms, substrates }
    }

    /// Where a line speaks of it, whether the substrate is on it.
    fn lines(&self, at: usize, s: &Substrate) -> [(Code, Option<bool>); 6] {
        let t = self.terms;
        [
            (Code::Jurisdiction, t.jurisdictions.as_ref().map(|l| has(l, s.location.jurisdiction))),
            (Code::Kind, t.kinds.as_ref().map(|l| l.contains(&s.kind))),
            (Code::Account, t.accounts.as_ref().map(|l| l.contains(&s.account))),
            (Code::Region, t.regions.as_ref().map(|l| l.contains(&s.location.region))),
            (Code::Regime, t.regimes.as_ref().map(|l| l.contains(&s.cost.regime))),
            (Code::Substrate, self.substrates.as_ref().map(|bits| bits.contains(at))),
        ]
    }

    /// As a permit: what it does not permit. A law that nobody named is not permitted, so all must be on the list.
    fn misses(&self, at: usize, s: &Substrate) -> Codes {
        let law = self.terms.subject_to.as_ref().map(|l| s.sovereignty.subject_to.iter().all(|&c| has(l, c)));
        self.codes(at, s, law, false)
    }

    /// As a prohibition: what it forbids. One law on the list is enough.
    fn hits(&self, at: usize, s: &Substrate) -> Codes {
        let law = self.terms.subject_to.as_ref().map(|l| s.sovereignty.subject_to.iter().any(|&c| has(l, c)));
        self.codes(at, s, law, true)
    }

    fn codes(&self, at: usize, s: &Substrate, law: Option<bool>, bad: bool) -> Codes {
        let lines = self.lines(at, s).into_iter().chain([(Code::SubjectTo, law)]);
        lines.filter(|(_, on)| *on == Some(bad)).fold(Codes::default(), |codes, (code, _)| codes.union(Codes::of(code)))
    }
}

fn has(list: &[Country], country: Country) -> bool {
    list.contains(&country)
}
