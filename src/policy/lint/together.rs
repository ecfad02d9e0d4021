//! Envelopes that apply to one request together: each leaves its work a substrate, and both leave it none.
//!
//! Pairs are looked at. Three that only together leave nothing are not found: who wants to know of them writes a case.

use super::{Field, Item, Lint, Set, can_run, test_implies};
use crate::model::{Class, Envelope, FactName, Name, Predicate, Selector, Substrate, Test};
use crate::policy::{codes, permits::applies_to_class};

/// How often a pair is held against a class: 2,016 pairs of 64 envelopes with 2,000 classes. What comes after is not
/// looked at.
const MOST_COMPARED: usize = 1 << 22;
/// How many pairs are told apart; the rest is counted.
const MOST_TOLD: usize = 16;
/// How many names stand in one line.
const MOST_NAMED: usize = 4;

impl<'a> Lint<'a> {
    /// Every pair of envelopes that can apply together and leave a class nothing that each would leave it.
    pub(super) fn together(&mut self) {
        let document = self.document;
        let able: Vec<Set> =
            document.classes.iter().map(|c| Set::of(&document.substrates, |s| can_run(c, s))).collect();
        // Which classes each envelope speaks of.
        let speaks = |e: &Envelope| {
            Set::at(document.classes.len(), |c| document.classes.get(c).is_some_and(|c| applies_to_class(e, &c.name)))
        };
        let speaks: Vec<Set> = document.envelopes.iter().map(speaks).collect();
        let mut left = MOST_COMPARED;
        let mut pairs = 0_usize;
        for (j, second) in document.envelopes.iter().enumerate() {
            for (i, first) in document.envelopes.iter().enumerate().take(j) {
                let Some(rest) = left.checked_sub(document.classes.len()) else { return self.untold(pairs) };
                left = rest;
                let (Some(one), Some(other)) = (speaks.get(i), speaks.get(j)) else { continue };
                let classes = self.left_without((i, first), (j, second), &one.and(other), &able);
                if classes.is_empty() {
                    continue;
                }
                pairs += 1;
                if pairs <= MOST_TOLD {
                    self.tell((i, first), (j, second), &classes);
                }
            }
        }
        self.untold(pairs);
    }

    /// The classes that a pair leaves nothing.
    fn left_without(
        &mut self,
        a: (usize, &Envelope),
        b: (usize, &Envelope),
        spoken_of: &Set,
        able: &[Set],
    ) -> Vec<(&'a Class, Set)> {
        let (Some(one), Some(other)) = (self.permitted.get(a.0), self.permitted.get(b.0)) else { return Vec::new() };
        let both = one.and(other);
        let empty = |(at, (_, able)): &(usize, (&Class, &Set))| {
            spoken_of.contains(*at) && !both.meets(able) && one.meets(able) && other.meets(able)
        };
        let classes = &self.document.classes;
        let found: Vec<_> = classes.iter().zip(able).enumerate().filter(empty).collect();
        let joint = if found.is_empty() { None } else { Joint::of(&a.1.applies_to, &b.1.applies_to) };
        let Some(joint) = joint else { return Vec::new() };
        let default = &self.document.default_class;
        let steps = &mut self.steps;
        // The first class that takes every such request leaves none to those after it, nor to the default.
        let last = classes.iter().position(|class| joint.passes(&class.matches, steps).1);
        let mut reached = |at: usize, class: &Class| {
            let is_default = class.name == *default;
            // What matches nothing is reached by its name, unless it is there for what is left over.
            let named = !is_default && matches!(&class.matches, Predicate::Any(parts) if parts.is_empty());
            let left_over = is_default && last.is_none();
            named || left_over || (last.is_none_or(|last| at <= last) && joint.passes(&class.matches, steps).0)
        };
        let found = found.into_iter().filter(|(at, (class, _))| reached(*at, class));
        found.map(|(_, (class, able))| (class, able.clone())).collect()
    }

    fn tell(&mut self, a: (usize, &Envelope), b: (usize, &Envelope), classes: &[(&Class, Set)]) {
        let left = |at: usize| {
            let permits = |i| self.permitted.get(at).is_some_and(|set| set.contains(i));
            let runs = |i| classes.iter().any(|(_, able)| able.contains(i));
            let all = self.document.substrates.iter().enumerate();
            names(all.filter(|(i, _)| permits(*i) && runs(*i)).map(|(_, s)| placed(s)))
        };
        let expected = format!(
            "a substrate that both permit and that can run {}: `{}` leaves {}, `{}` leaves {}",
            names(classes.iter().map(|(class, _)| format!("`{}`", class.name))),
            a.1.name,
            left(a.0),
            b.1.name,
            left(b.0),
        );
        let found = format!("{} with {}", a.1.name, b.1.name);
        self.note(codes::NOTHING_TOGETHER, &[Field("envelopes"), Item(b.0)], found, &expected);
    }

    fn untold(&mut self, pairs: usize) {
        let Some(more @ 1..) = pairs.checked_sub(MOST_TOLD) else { return };
        let found = format!("{more} more pairs");
        self.note(codes::NOTHING_TOGETHER, &[Field("envelopes")], found, "a substrate that both of each pair permit");
    }
}

fn placed(substrate: &Substrate) -> String {
    format!("{} ({})", substrate.name, substrate.location.jurisdiction)
}

/// A few names and how many more there are.
fn names(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let few = all.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(MOST_NAMED) {
        Some(more @ 1..) => format!("{few} and {more} more"),
        _ => few,
    }
}

/// What a request says to which two envelopes apply: for each fact the values that both ask for.
struct Joint<'a> {
    tenants: Option<Vec<&'a str>>,
    data: Option<Vec<&'a str>>,
    regions: Option<Vec<&'a str>>,
}

impl<'a> Joint<'a> {
    /// None if no request says so: a fact has one value.
    fn of(a: &'a Selector, b: &'a Selector) -> Option<Self> {
        Some(Self {
            tenants: both(a.tenants.as_deref().map(texts), b.tenants.as_deref().map(texts))?,
            data: both(a.data.as_deref().map(texts), b.data.as_deref().map(texts))?,
            regions: both(a.regions.as_deref().map(words), b.regions.as_deref().map(words))?,
        })
    }

    /// Whether such a request may pass a condition, and whether it must, as far as the facts that are known of it say.
    /// A condition that is too long to be followed counts as one that it cannot pass: nothing is warned of that was
    /// not seen.
    fn passes(&self, condition: &Predicate, steps: &mut u32) -> (bool, bool) {
        let Some(left) = steps.checked_sub(1) else { return (false, true) };
        *steps = left;
        match condition {
            Predicate::All(parts) => parts.iter().fold((true, true), |(may, must), part| {
                let part = self.passes(part, steps);
                (may && part.0, must && part.1)
            }),
            Predicate::Any(parts) => parts.iter().fold((false, false), |(may, must), part| {
                let part = self.passes(part, steps);
                (may || part.0, must || part.1)
            }),
            Predicate::Not(part) => {
                let (may, must) = self.passes(part, steps);
                (!must, !may)
            }
            Predicate::Header(..) => (true, false),
            Predicate::Fact(fact, test) => self.of_fact(*fact).map_or((true, false), |values| {
                let passes = |value: &&str| test_implies(&Test::Is(String::from(*value)), test);
                (values.iter().any(passes), values.iter().all(passes))
            }),
        }
    }

    fn of_fact(&self, fact: FactName) -> Option<&[&'a str]> {
        match fact {
            FactName::Tenant => self.tenants.as_deref(),
            FactName::Data => self.data.as_deref(),
            FactName::Region => self.regions.as_deref(),
            _ => None,
        }
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn words(list: &[Name]) -> Vec<&str> {
    list.iter().map(Name::as_str).collect()
}

/// The values that both ask for, of a fact that one of them may not ask for; `None` where both do and share none.
fn both<'a>(a: Option<Vec<&'a str>>, b: Option<Vec<&'a str>>) -> Option<Option<Vec<&'a str>>> {
    let (Some(a), Some(b)) = (&a, &b) else { return Some(a.or(b)) };
    let shared: Vec<&str> = a.iter().copied().filter(|value| b.contains(value)).collect();
    (!shared.is_empty()).then_some(Some(shared))
}
