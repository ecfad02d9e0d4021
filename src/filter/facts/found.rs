//! What the headers and the body say, and what counts of it.

use super::{Found, MOST_LISTED, MOST_PREDICATES};
use crate::model::facts::number_of;
use crate::model::{Fact, FactName, Facts, Feature};

impl<'a> Found<'a> {
    pub(super) fn put(&mut self, fact: FactName, value: &'a str, trusted: bool) {
        let Some(slot) = self.text.get_mut(fact as usize) else { return };
        match slot {
            Some(old) if old.value != value => self.ambiguous |= 1 << fact as u32,
            _ => *slot = Some(Fact { value, trusted }),
        }
    }

    /// So many bytes of the body have come: it has no fewer.
    pub(in crate::filter) fn weighs(&mut self, bytes: usize) {
        self.content_bytes = self.content_bytes.max(u64::try_from(bytes).ok());
    }

    /// What the body says of a fact: less than a trusted source, more than a claim elsewhere.
    pub(in crate::filter) fn instead(&mut self, fact: FactName, value: Option<&'a str>) {
        let Some(value) = value else { return };
        let Some(slot) = self.text.get_mut(fact as usize) else { return };
        if slot.is_none_or(|old| !old.trusted) {
            *slot = Some(Fact::claimed(value));
            self.ambiguous &= !(1 << fact as u32);
        }
    }

    /// A list of features that the request needs.
    pub(super) fn list(&mut self, words: &str) {
        self.listed = self.listed.saturating_add(words.len());
        if self.listed > MOST_LISTED {
            // Left unread it could only permit more; asked for everything, it permits less.
            Feature::ALL.into_iter().for_each(|f| self.features = self.features.with(f));
            return;
        }
        for word in words.split(',').map(str::trim) {
            if let Some(feature) = Feature::ALL.into_iter().find(|f| f.as_str() == word) {
                self.features = self.features.with(feature);
            }
        }
    }

    /// Another feature that the request needs.
    pub(in crate::filter) fn need(&mut self, feature: Feature) {
        self.features = self.features.with(feature);
    }

    pub(super) fn keep(&mut self, at: usize, key: &'a str, fact: Fact<&'a str>) {
        let bit = 1u64 << (at % MOST_PREDICATES);
        match self.kept.iter().position(|(kept, _)| *kept == key) {
            Some(old) if self.kept.get(old).is_some_and(|(_, f)| f.value == fact.value) => {}
            Some(old) => {
                self.kept.swap_remove(old);
                self.cancelled |= bit;
            }
            None if self.cancelled & bit == 0 => self.kept.push((key, fact)),
            None => {}
        }
    }

    /// Somebody on the way waits no longer than this; 0 means for ever.
    pub(super) fn hurry(&mut self, ms: Option<u32>) {
        let ms = ms.filter(|ms| *ms > 0);
        self.deadline_ms = self.deadline_ms.into_iter().chain(ms).min();
    }

    /// The shortest of what anybody said: a deadline only ever shortens, so whom to believe is no question.
    fn deadline(&self) -> Option<Fact<u32>> {
        let said = self.number(FactName::Deadline);
        match (said, self.deadline_ms) {
            (Some(said), Some(ms)) if said.value <= ms => Some(said),
            (_, Some(ms)) => Some(Fact::claimed(ms)),
            (said, None) => said,
        }
    }

    fn text(&self, fact: FactName) -> Option<Fact<&'a str>> {
        let ambiguous = self.ambiguous & (1 << fact as u32) != 0;
        self.text.get(fact as usize).copied().flatten().filter(|f| !ambiguous && !f.value.is_empty())
    }

    /// A number; what is not one counts as absent.
    fn number(&self, fact: FactName) -> Option<Fact<u32>> {
        let text = self.text(fact)?;
        Some(Fact { value: number_of(text.value.trim())?, trusted: text.trusted })
    }

    /// The facts.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            tenant: self.text(FactName::Tenant),
            class: self.text(FactName::Class),
            model: self.text(FactName::Model),
            input_tokens: self.number(FactName::InputTokens),
            output_tokens: self
                .number(FactName::OutputTokens)
                .filter(|f| f.trusted)
                .or(self.output_tokens)
                .or(self.number(FactName::OutputTokens)),
            features: self.features,
            data: self.text(FactName::Data),
            residency: self.text(FactName::Residency),
            session: self.text(FactName::Session),
            deadline_ms: self.deadline(),
            region: self.text(FactName::Region),
            zone: self.text(FactName::Zone),
            approval: self.text(FactName::Approval),
            streaming: self
                .text(FactName::Streaming)
                .map(|f| Fact { value: f.value == "true", trusted: f.trusted })
                .or(self.takes_events.then_some(Fact::claimed(true))),
            method: louder(self.text(FactName::Method), self.method),
            path: louder(self.text(FactName::Path), self.path),
            content_bytes: self.content_bytes,
            headers: &self.kept,
            idempotent: self.idempotent,
            contradicted: self.ambiguous != 0 || self.cancelled != 0,
            attempts_left: None,
        }
    }
}

/// A trusted source speaks louder than a claim; of equals, the one that the configuration names.
fn louder<'a>(named: Option<Fact<&'a str>>, own: Option<Fact<&'a str>>) -> Option<Fact<&'a str>> {
    match (named, own) {
        (Some(named), Some(own)) if own.trusted && !named.trusted => Some(own),
        (named, own) => named.or(own),
    }
}
