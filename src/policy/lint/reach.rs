//! Where the work of each class may run at all, whoever asks: for whoever reads a policy, not a warning. That a class
//! may not leave its country is what most envelopes are for.

use super::{Set, asks_nothing, can_run};
use crate::model::{Class, Country, Document, Name, Substrate};
use crate::policy::permits::{applies_to_class, permits};

/// The jurisdictions of a policy, as a request may name them: its named sets and the countries in which its
/// substrates stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The class.
    pub class: Name,
    /// Where some request of it may run.
    pub within: Vec<String>,
    /// Where none may.
    pub nowhere: Vec<String>,
}

/// Every class with every jurisdiction.
#[must_use]
pub fn reach(document: &Document) -> Vec<Reach> {
    let jurisdictions = jurisdictions(document);
    let of = |(class, allowed): (&Class, &Set)| {
        let reaches = |countries: &[Country]| {
            let stands = |s: &Substrate| countries.contains(&s.location.jurisdiction);
            document.substrates.iter().enumerate().any(|(i, s)| allowed.contains(i) && stands(s))
        };
        let (within, nowhere) = jurisdictions.iter().partition::<Vec<_>, _>(|(_, countries)| reaches(countries));
        let names = |list: Vec<&(String, Vec<Country>)>| list.into_iter().map(|(name, _)| name.clone()).collect();
        Reach { class: class.name.clone(), within: names(within), nowhere: names(nowhere) }
    };
    document.classes.iter().zip(&allowed(document)).map(of).collect()
}

/// For every substrate the classes of which some request may run there, in the policy's order.
#[must_use]
pub fn classes_of(document: &Document) -> Vec<Vec<&Class>> {
    let allowed = allowed(document);
    let of = |at| {
        let classes = document.classes.iter().zip(&allowed);
        classes.filter(|(_, allowed)| allowed.contains(at)).map(|(class, _)| class).collect()
    };
    (0..document.substrates.len()).map(of).collect()
}

/// Where some request of each class may run.
fn allowed(document: &Document) -> Vec<Set> {
    let permitted: Vec<Set> =
        document.envelopes.iter().map(|e| Set::of(&document.substrates, |s| permits(e, s))).collect();
    let of = |class: &Class| {
        let able = Set::of(&document.substrates, |s| can_run(class, s));
        let all = document.envelopes.iter().zip(&permitted);
        let applying: Vec<_> = all.filter(|(e, _)| applies_to_class(e, &class.name)).collect();
        let mut always = applying.iter().filter(|(e, _)| asks_nothing(e)).map(|(_, set)| *set).peekable();
        // What applies to every request narrows every request; without such an envelope one that applies must permit.
        if always.peek().is_some() {
            always.fold(able, |able, set| able.and(set))
        } else {
            let any = |s: usize| applying.iter().any(|(_, set)| set.contains(s));
            able.and(&Set::at(document.substrates.len(), any))
        }
    };
    document.classes.iter().map(of).collect()
}

fn jurisdictions(document: &Document) -> Vec<(String, Vec<Country>)> {
    let mut all = document.jurisdictions.clone();
    for country in document.substrates.iter().map(|s| s.location.jurisdiction) {
        if !all.iter().any(|(name, _)| name == country.as_str()) {
            all.push((country.to_string(), vec![country]));
        }
    }
    all.sort();
    all
}
