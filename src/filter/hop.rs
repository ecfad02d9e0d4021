//! Two hops of one mesh are one request: the second is told what is left of time and attempts and under which id the
//! first decided. It believes that only of peers it was told to trust, by their certificate, and it may only narrow.

use super::{Host, HostError, MapKind};
use crate::model::contract::BUDGET_HEADER;
use crate::model::{Decision, Facts};
use core::fmt::Write;

/// What this hop does about others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hops {
    /// Tells the next hop what is left.
    pub tell: bool,
    /// Identities (URI names in certificates) of hops before this one that are believed.
    pub trust: Vec<String>,
}

/// What the hop before told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What is left of the time, in milliseconds.
    pub ms: Option<u32>,
    /// What is left of the attempts.
    pub attempts: Option<u8>,
    /// The id under which it decided.
    pub id: Option<u64>,
}

impl Told {
    /// Reads `ms=600, attempts=1, id="00f1"`; what is not understood is not there.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut told = Self::default();
        for (key, value) in text.split(',').take(8).filter_map(|member| member.trim().split_once('=')) {
            match key {
                "ms" => told.ms = value.parse().ok(),
                "attempts" => told.attempts = value.parse().ok(),
                "id" => told.id = u64::from_str_radix(value.trim_matches('"'), 16).ok(),
                _ => {}
            }
        }
        told
    }

    /// Narrows the facts to what was told. Nothing left is still the attempt that is being made.
    pub fn narrow(&self, facts: &mut Facts<'_>) {
        if let Some(ms) = self.ms {
            let shorter = facts.deadline_ms.is_none_or(|own| ms < own.value);
            if shorter {
                facts.deadline_ms = Some(crate::model::Fact::claimed(ms.max(1)));
            }
        }
        if let Some(attempts) = self.attempts {
            facts.attempts_left = Some(facts.attempts_left.map_or(attempts, |own| own.min(attempts)));
        }
    }

    /// How many attempts the next hop may make where this one makes up to `tries`: over all hops of a request never
    /// more than the first one had. Only where this one does not try again itself is what it was left passed on.
    pub(super) fn left(&self, tries: usize, most: u8) -> u8 {
        if tries > 1 { 1 } else { self.attempts.map_or(most, |left| left.min(most)) }
    }
}

impl Hops {
    /// What the hop before told, if it is one that is believed. The connection is only asked when somebody told
    /// something and somebody is trusted.
    pub(super) fn hear<H: Host>(&self, host: &H, header: Option<&str>) -> Told {
        let Some(text) = header.filter(|_| !self.trust.is_empty()) else { return Told::default() };
        let peer = host.property(&["connection", "uri_san_peer_certificate"]).unwrap_or_default();
        let trusted = self.trust.iter().any(|identity| identity.as_bytes() == peer);
        if trusted { Told::read(text) } else { Told::default() }
    }

    /// Tells the next hop what is left for it.
    pub(super) fn tell<H: Host>(
        &self,
        host: &H,
        decision: &Decision,
        attempts: u8,
        text: &mut String,
    ) -> Result<(), HostError> {
        if !self.tell {
            return Ok(());
        }
        let pace = decision.pace;
        let ms = if pace.per_try_ms > 0 { pace.per_try_ms } else { pace.deadline_ms };
        text.clear();
        // Writing to a String cannot fail.
        let _ = write!(text, "ms={ms}, attempts={attempts}, id=\"{:016x}\"", decision.id);
        host.set_header(MapKind::RequestHeaders, BUDGET_HEADER, text)
    }
}

#[cfg(test)]
mod tests {
    use super::Told;
    use crate::model::{Fact, Facts};

    #[test]
    fn what_is_told_is_read_and_what_is_not_understood_is_not_there() {
        let told = Told::read("ms=600, attempts=1, id=\"00000000000000ff\"");
        assert_eq!(told, Told { ms: Some(600), attempts: Some(1), id: Some(255) });
        assert_eq!(Told::read("ms=-1, attempts=many, id=xyz, then=some"), Told::default());
        assert_eq!(Told::read(""), Told::default());
    }

    #[test]
    fn however_many_hops_there_are_they_try_no_more_often_than_the_first_might() {
        for first in 1..=3_u8 {
            // Each hop tries as often as it may, or leaves it to the others.
            for eager in 0..16_u32 {
                let (mut told, mut all) = (Told::default(), 1);
                for hop in 0..4 {
                    let may = told.attempts.unwrap_or(first).max(1);
                    let tries = if eager >> hop & 1 == 1 { may } else { 1 };
                    all *= u32::from(tries);
                    told.attempts = Some(told.left(tries.into(), 3.min(if hop == 0 { first } else { 3 })));
                }
                assert!(all <= u32::from(first), "{all} attempts of {first}, {eager:04b}");
            }
        }
    }

    #[test]
    fn a_hop_only_narrows() {
        let mut facts = Facts { deadline_ms: Some(Fact::trusted(500)), attempts_left: Some(1), ..Facts::default() };
        Told { ms: Some(900), attempts: Some(3), id: None }.narrow(&mut facts);
        assert_eq!((facts.deadline_ms, facts.attempts_left), (Some(Fact::trusted(500)), Some(1)));
        Told { ms: Some(200), attempts: Some(0), id: None }.narrow(&mut facts);
        assert_eq!((facts.deadline_ms, facts.attempts_left), (Some(Fact::claimed(200)), Some(0)));
    }
}
