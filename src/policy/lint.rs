//! What is legal, but suspicious: looked for by evaluating the envelopes as written, without an index, a request or
//! the state of anything.

mod reach;
mod reserve;
mod together;
mod worth;

pub use reach::{Reach, classes_of, reach};

use super::{
    codes::{self, Code},
    error::InvalidPolicy,
    path::{Path, Step},
    permits::{applies_to_class, permits},
    tree::Node,
};
use crate::model::{Class, Document, Envelope, Name, Predicate, Substrate, Terms, Test};
use std::collections::BTreeMap;

/// Everything suspicious about a document.
#[must_use]
pub fn lint(document: &Document, root: &Node, base: &str) -> Vec<InvalidPolicy> {
    let positions = document.substrates.iter().enumerate().map(|(i, s)| (&s.name, i)).collect();
    let permitted = document.envelopes.iter().map(|e| Set::of(&document.substrates, |s| permits(e, s))).collect();
    let mut lint = Lint { document, root, base, positions, permitted, found: Vec::new(), steps: MOST_FOLLOWED };
    lint.classes();
    lint.substrates();
    lint.names();
    lint.reserves();
    lint.together();
    lint.found.sort_by_key(|w| w.at);
    lint.found
}

struct Lint<'a> {
    document: &'a Document,
    root: &'a Node,
    base: &'a str,
    positions: BTreeMap<&'a Name, usize>,
    /// What each envelope permits.
    permitted: Vec<Set>,
    found: Vec<InvalidPolicy>,
    /// How much of the classes' conditions may still be held against pairs of envelopes.
    steps: u32,
}

use Step::{Field, Item};

impl<'a> Lint<'a> {
    fn note(&mut self, code: Code, steps: &[Step<'_>], found: String, expected: &str) {
        let path = Path { base: self.base, steps };
        self.found.push(InvalidPolicy::new(code, path, path.position(self.root), found, String::from(expected)));
    }

    /// The envelopes that may apply to a class, with what they permit.
    fn applying(&self, class: &Class) -> Vec<(usize, &'a Envelope, Set)> {
        let all = self.document.envelopes.iter().zip(&self.permitted).enumerate();
        let applying = all.filter(|(_, (e, _))| applies_to_class(e, &class.name));
        applying.map(|(i, (e, set))| (i, e, set.clone())).collect()
    }

    fn named(&self, name: &Name) -> Option<(usize, &'a Substrate)> {
        let index = *self.positions.get(name)?;
        Some((index, self.document.substrates.get(index)?))
    }

    fn classes(&mut self) {
        for (i, class) in self.document.classes.iter().enumerate() {
            let at = [Field("classes"), Item(i)];
            let name = class.name.to_string();
            self.worth(class, i);
            if class.attempts.hedge && (!class.attempts.repeatable || class.attempts.most < 2) {
                let steps = [&at[..], &[Field("attempts"), Field("hedge")]].concat();
                self.note(codes::IDLE_HEDGE, &steps, name.clone(), "`repeatable: true` and more than one attempt");
            }
            // What matches nothing, as the default class may, is taken from by nobody.
            let never = matches!(&class.matches, Predicate::Any(parts) if parts.is_empty());
            let earlier = self.document.classes.iter().take(if never { 0 } else { i }).find(|e| {
                let mut steps = MOST_STEPS;
                implies(&class.matches, &e.matches, &mut steps)
            });
            if let Some(earlier) = earlier {
                let steps = [&at[..], &[Field("match")]].concat();
                let expected = format!("requests that the earlier class `{}` does not take", earlier.name);
                self.note(codes::SHADOWED_CLASS, &steps, name.clone(), &expected);
            }
            let applying = self.applying(class);
            self.homes(class, i, &applying);
            self.candidates(class, i, &applying);
        }
    }

    /// Homes that are of no use, or all fail together.
    fn homes(&mut self, class: &'a Class, index: usize, applying: &[(usize, &Envelope, Set)]) {
        let home = [Field("classes"), Item(index), Field("home")];
        for (j, name) in class.home.iter().enumerate() {
            let Some((position, _)) = self.named(name) else { continue };
            if !applying.is_empty() && !applying.iter().any(|(_, _, set)| set.contains(position)) {
                let steps = [&home[..], &[Item(j)]].concat();
                self.note(
                    codes::HOME_OUTSIDE,
                    &steps,
                    name.to_string(),
                    "a home that an envelope of the class permits",
                );
            }
        }
        let mut domains: Vec<&Name> =
            class.home.iter().filter_map(|n| Some(&self.named(n)?.1.location.failure_domain)).collect();
        domains.dedup();
        if let ([domain], true) = (domains.as_slice(), class.home.len() > 1) {
            self.note(codes::ONE_DOMAIN, &home, domain.to_string(), "homes in more than one failure domain");
        }
        let first = class.home.first().and_then(|n| self.named(n));
        let (true, Some((position, first))) = (class.name == self.document.default_class, first) else { return };
        // Unknown requests carry no facts: only envelopes that ask for none apply to them.
        let unsafe_for = applying.iter().find(|(_, e, set)| asks_nothing(e) && !set.contains(position));
        if let Some((_, envelope, _)) = unsafe_for {
            let expected = format!("a first home of the default class that `{}` permits", envelope.name);
            let steps = [&home[..], &[Item(0)]].concat();
            self.note(codes::UNSAFE_DEFAULT, &steps, first.name.to_string(), &expected);
        }
    }

    fn candidates(&mut self, class: &Class, index: usize, applying: &[(usize, &Envelope, Set)]) {
        let at = [Field("classes"), Item(index)];
        if applying.is_empty() {
            self.note(codes::NO_ENVELOPE, &at, class.name.to_string(), "an envelope that can apply to the class");
        }
        let able = Set::of(&self.document.substrates, |s| can_run(class, s));
        for (i, envelope, set) in applying {
            if !set.meets(&able) {
                let expected =
                    format!("a substrate that `{}` permits and that can run `{}`", envelope.name, class.name);
                let found = format!("{} under {}", class.name, envelope.name);
                self.note(codes::NO_CANDIDATE, &[Field("envelopes"), Item(*i)], found, &expected);
            }
        }
    }

    fn substrates(&mut self) {
        for (i, substrate) in self.document.substrates.iter().enumerate() {
            if !self.permitted.iter().any(|set| set.contains(i)) {
                let steps = [Field("substrates"), Item(i)];
                self.note(codes::UNUSED_SUBSTRATE, &steps, substrate.name.to_string(), "an envelope that permits it");
            }
        }
    }

    /// Accounts, regions, regimes and kinds that no substrate has.
    fn names(&mut self) {
        for (i, envelope) in self.document.envelopes.iter().enumerate() {
            for (section, terms) in [("permit", &envelope.permit), ("forbid", &envelope.forbid)] {
                for (line, j, text) in idle(terms, &self.document.substrates) {
                    let steps = [Field("envelopes"), Item(i), Field(section), Field(line), Item(j)];
                    self.note(codes::IDLE_NAME, &steps, text, "something that a substrate of this policy has");
                }
            }
        }
    }
}

/// A set of substrates, by their positions.
#[derive(Clone, Debug)]
struct Set(Vec<u64>);

impl Set {
    fn of(substrates: &[Substrate], holds: impl Fn(&Substrate) -> bool) -> Self {
        Self::at(substrates.len(), |at| substrates.get(at).is_some_and(&holds))
    }

    fn at(len: usize, holds: impl Fn(usize) -> bool) -> Self {
        let word = |of: usize| (0..64).fold(0, |word, bit| word | (u64::from(holds(of * 64 + bit)) << bit));
        Self((0..len.div_ceil(64)).map(word).collect())
    }

    fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word & (1 << (position % 64)) != 0)
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }
}

/// How long one comparison of two conditions may take: what is nested deeper is not warned of.
const MOST_STEPS: u32 = 20_000;
/// And all conditions that are held against pairs of envelopes.
const MOST_FOLLOWED: u32 = 10_000_000;

/// Whether whatever passes `narrow` passes `wide`, too, as far as it can be seen without trying values.
fn implies(narrow: &Predicate, wide: &Predicate, steps: &mut u32) -> bool {
    let Some(left) = steps.checked_sub(1) else { return false };
    *steps = left;
    match (narrow, wide) {
        (_, Predicate::All(parts)) => parts.iter().all(|part| implies(narrow, part, steps)),
        (Predicate::Any(parts), _) => parts.iter().all(|part| implies(part, wide, steps)),
        (Predicate::Fact(a, narrow), Predicate::Fact(b, wide)) if a == b => test_implies(narrow, wide),
        (Predicate::Header(a, narrow), Predicate::Header(b, wide)) if a == b => test_implies(narrow, wide),
        (Predicate::Not(narrow), Predicate::Not(wide)) => implies(wide, narrow, steps),
        _ => {
            let one_of = matches!(wide, Predicate::Any(parts) if parts.iter().any(|part| implies(narrow, part, steps)));
            one_of || matches!(narrow, Predicate::All(parts) if parts.iter().any(|part| implies(part, wide, steps)))
        }
    }
}

fn test_implies(narrow: &Test, wide: &Test) -> bool {
    match (narrow, wide) {
        (_, Test::Present) => true,
        (Test::In(values), _) => values.iter().all(|value| test_implies(&Test::Is(value.clone()), wide)),
        (Test::Is(value), Test::Is(other)) => value == other,
        (Test::Is(value), Test::In(others)) => others.contains(value),
        (Test::Is(value) | Test::Prefix(value), Test::Prefix(begin)) => value.starts_with(begin.as_str()),
        (Test::Range { min, max }, Test::Range { min: least, max: most }) => {
            least.is_none_or(|least| min.is_some_and(|min| min >= least))
                && most.is_none_or(|most| max.is_some_and(|max| max <= most))
        }
        _ => false,
    }
}

fn asks_nothing(envelope: &Envelope) -> bool {
    let asked = &envelope.applies_to;
    asked.tenants.is_none() && asked.data.is_none() && asked.regions.is_none()
}

/// Whether a substrate could ever run work of a class.
fn can_run(class: &Class, substrate: &Substrate) -> bool {
    let capabilities = &substrate.capabilities;
    class.needs.missing_from(capabilities.features).is_empty()
        && (!capabilities.throughput_only || !class.synchronous || class.allow_throughput)
        && (!class.air_gapped || substrate.sovereignty.air_gapped)
        && capabilities.models.iter().any(|m| m.quality_ppm >= class.limits.min_quality_ppm)
}

fn idle(terms: &Terms, substrates: &[Substrate]) -> Vec<(&'static str, usize, String)> {
    let mut found = Vec::new();
    let names = |list: &Option<Vec<Name>>, line, of: fn(&Substrate) -> &Name, found: &mut Vec<_>| {
        for (j, name) in list.iter().flatten().enumerate() {
            if !substrates.iter().any(|s| of(s) == name) {
                found.push((line, j, name.to_string()));
            }
        }
    };
    names(&terms.accounts, "accounts", |s| &s.account, &mut found);
    names(&terms.regions, "regions", |s| &s.location.region, &mut found);
    for (j, kind) in terms.kinds.iter().flatten().enumerate() {
        if !substrates.iter().any(|s| s.kind == *kind) {
            found.push(("kinds", j, String::from(kind.as_str())));
        }
    }
    for (j, regime) in terms.regimes.iter().flatten().enumerate() {
        if !substrates.iter().any(|s| s.cost.regime == *regime) {
            found.push(("regimes", j, String::from(regime.as_str())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{MOST_STEPS, Predicate, Test, implies};
    use crate::model::FactName::{InputTokens, Path, Tenant};

    fn path(prefix: &str) -> Predicate {
        Predicate::Fact(Path, Test::Prefix(prefix.into()))
    }

    fn tenant(names: &[&str]) -> Predicate {
        Predicate::Fact(Tenant, Test::In(names.iter().map(|n| String::from(*n)).collect()))
    }

    fn from(min: i64) -> Predicate {
        Predicate::Fact(InputTokens, Test::Range { min: Some(min), max: None })
    }

    #[test]
    fn what_an_earlier_condition_takes_is_seen_and_nothing_else() {
        let is = |name: &str| Predicate::Fact(Tenant, Test::Is(name.into()));
        let all = |parts: &[Predicate]| Predicate::All(parts.to_vec());
        let any = |parts: &[Predicate]| Predicate::Any(parts.to_vec());
        let not = |part: Predicate| Predicate::Not(Box::new(part));
        let there = Predicate::Fact(Tenant, Test::Present);
        for (narrow, wide, expected) in [
            (path("/v1/chat/x"), path("/v1/chat"), true),
            (path("/v1/chat"), path("/v1/chat/x"), false),
            (is("a"), tenant(&["a", "b"]), true),
            (tenant(&["a", "b"]), is("a"), false),
            (tenant(&["a", "b"]), tenant(&["b", "c", "a"]), true),
            (is("a"), there.clone(), true),
            (there.clone(), is("a"), false),
            (from(20), from(10), true),
            (from(10), from(20), false),
            (all(&[is("a"), path("/x")]), path("/"), true),
            (all(&[is("a"), path("/x")]), all(&[path("/"), there.clone()]), true),
            (any(&[is("a"), is("b")]), tenant(&["a", "b"]), true),
            (any(&[is("a"), path("/")]), there.clone(), false),
            (is("a"), any(&[path("/"), is("a")]), true),
            (not(path("/v1")), not(path("/v1/chat")), true),
            (not(path("/v1/chat")), not(path("/v1")), false),
            (is("a"), path("a"), false),
            (is("a"), all(&[]), true),
            (all(&[]), is("a"), false),
        ] {
            assert_eq!(implies(&narrow, &wide, &mut MOST_STEPS.clone()), expected, "{narrow:?} / {wide:?}");
        }
    }

    #[test]
    fn the_most_contrived_conditions_take_no_longer_than_they_may() {
        let deep = |of: fn(Vec<Predicate>) -> Predicate, leaf: &str| {
            (0..60).fold(path(leaf), |inner, _| of(vec![inner, path(leaf), path(leaf)]))
        };
        let (narrow, wide) = (deep(Predicate::All, "/a"), deep(Predicate::Any, "/b"));
        let mut steps = MOST_STEPS;
        assert!(!implies(&narrow, &wide, &mut steps));
        assert_eq!(steps, 0, "it gave up");
    }
}
