//! What a digest or a beginning means: the policy knows, because nothing else than its own words can make a difference.

use super::read::{Form, Word};
use super::{KEY, pseudonym};
use crate::model::{FactName, Predicate, Test};
use crate::policy::Policy;
use crate::policy::index::hash_text;

impl Word {
    /// Finds the policy's word behind a digest. None of its words: then it is as good as any other that is none.
    pub(super) fn mean(&mut self, fact: &str, asked: &Asked, name: FactName, policy: &Policy) -> Result<(), String> {
        let named = named(policy, name);
        let Form::Hashed(hash) = self.form else { return self.begun(fact, asked, &named) };
        let hashed = |word: &str| if name == FactName::Session { hash_text(word) } else { pseudonym(word) };
        let known = asked.words.iter().copied().chain(named).find(|word| hashed(word) == hash);
        if let Some(word) = known {
            self.value = word.into();
            return Ok(());
        }
        self.value = format!("{KEY}{hash:016x}");
        if asked.looks_inside {
            Err(format!("{fact}: only its digest is known, and a class looks inside"))
        } else {
            Ok(())
        }
    }

    /// A beginning does unless the policy looks further.
    pub(super) fn begun(&mut self, fact: &str, asked: &Asked, named: &[&str]) -> Result<(), String> {
        if self.form != Form::Begun {
            return Ok(());
        }
        if asked.words.iter().chain(&asked.prefixes).chain(named).any(|word| word.len() > self.value.len())
            || asked.range
        {
            return Err(format!(
                "{fact}: only its first {} bytes are known, and a class looks further",
                self.value.len()
            ));
        }
        self.value.push('…');
        Ok(())
    }
}

/// What the classes ask of one fact or header.
#[derive(Debug, Default)]
pub(super) struct Asked<'p> {
    words: Vec<&'p str>,
    prefixes: Vec<&'p str>,
    range: bool,
    looks_inside: bool,
}

impl<'p> Asked<'p> {
    pub(super) fn of(policy: &'p Policy, wanted: &dyn Fn(&Predicate) -> bool) -> Self {
        let mut asked = Self::default();
        let mut todo: Vec<&Predicate> = policy.document().classes.iter().map(|c| &c.matches).collect();
        while let Some(predicate) = todo.pop() {
            match predicate {
                Predicate::All(list) | Predicate::Any(list) => todo.extend(list),
                Predicate::Not(inner) => todo.push(inner),
                Predicate::Fact(_, test) | Predicate::Header(_, test) if wanted(predicate) => asked.test(test),
                _ => {}
            }
        }
        asked.looks_inside = asked.range || !asked.prefixes.is_empty();
        asked
    }

    fn test(&mut self, test: &'p Test) {
        match test {
            Test::Is(word) => self.words.push(word),
            Test::In(list) => self.words.extend(list.iter().map(String::as_str)),
            Test::Prefix(start) => self.prefixes.push(start),
            Test::Range { .. } => self.range = true,
            Test::Present => {}
        }
    }
}

/// The names that a policy itself uses where it does not say so by a predicate.
fn named(policy: &Policy, name: FactName) -> Vec<&str> {
    let document = policy.document();
    match name {
        FactName::Approval => document.settings.approvals.iter().map(|a| a.token.as_str()).collect(),
        FactName::Tenant => {
            let envelopes = document.envelopes.iter().filter_map(|e| e.applies_to.tenants.as_ref()).flatten();
            let budgets = document.settings.budgets.iter().map(|b| &b.tenant);
            let capacities = document.substrates.iter().map(|s| &s.capacity);
            let shares =
                capacities.flat_map(|c| c.tenant_share_ppm.iter().chain(&c.keep_for_tenant_ppm)).map(|(t, _)| t);
            envelopes.chain(budgets).chain(shares).map(String::as_str).collect()
        }
        FactName::Model => {
            let offers = document.substrates.iter().flat_map(|s| &s.capabilities.models);
            offers.map(|offer| offer.model.as_str()).collect()
        }
        FactName::Data => {
            let data = document.envelopes.iter().filter_map(|e| e.applies_to.data.as_ref()).flatten();
            data.map(String::as_str).collect()
        }
        // The others are names, and names are short.
        _ => Vec::new(),
    }
}
