//! What holds for every request that asks for the same, until the next picture: which candidates the law, the model
//! and the class leave, and what each would take and cost per token. Worked out for the first such request and kept
//! for the others; most traffic is of few kinds.
//!
//! Nothing of the single request is in here: not its tokens, its deadline, its tenant's budget and shares, its
//! session, nor what this VM has placed.

use super::classify::Asked;
use super::gate::Law;
use super::rows::{Open, Shut, Use};
use super::tally::{Stills, Tally};
use crate::model::{Borders, Facts, SubstrateId};
use crate::policy::Policy;
use crate::policy::index::Named;

/// A word that the request does not say.
const ABSENT: u32 = u32::MAX;
/// A word that the policy does not know.
const UNKNOWN: u32 = u32::MAX - 1;

/// Everything that a ground depends on besides the policy and the picture. Words are positions: two words that the
/// policy does not know mean the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    base: u16,
    class: u16,
    model: u32,
    residency: u32,
    region: (u32, bool),
    zone: u32,
    features: u16,
    opened: u8,
    stream: bool,
    /// The worker's slot: its turn at what does not divide.
    slot: u8,
    pub(crate) contradicted: bool,
    /// An envelope selected by trusted facts speaks for the request.
    pub(crate) spoken_for: bool,
    /// The envelopes that apply, as words of bits.
    pub(crate) envelopes: Vec<u64>,
}

impl Key {
    /// Becomes another one, in the memory that is there.
    pub(crate) fn copy(&mut self, other: &Self) {
        let mut envelopes = core::mem::take(&mut self.envelopes);
        envelopes.clone_from(&other.envelopes);
        *self = Self { envelopes, ..*other };
    }

    /// Takes over what is said besides the envelopes.
    pub(crate) fn set(&mut self, policy: &Policy, facts: &Facts, asked: &Asked, slot: u8) {
        self.slot = slot;
        let lookups = &policy.lookups;
        (self.base, self.class) = (asked.base, asked.class);
        self.model = facts.model.map_or(ABSENT, |f| known(&lookups.models, f.value));
        self.residency = facts.residency.map_or(ABSENT, |f| known(&lookups.residency, f.value));
        self.region = facts.region.map_or((ABSENT, false), |f| (known(&lookups.egress, f.value), f.trusted));
        self.zone = facts.zone.map_or(ABSENT, |f| known(&lookups.links, f.value));
        (self.features, self.opened, self.stream) = (asked.features, asked.opened.bits(), asked.stream);
        self.contradicted = facts.contradicted;
    }
}

fn known<T>(names: &Named<T>, word: &str) -> u32 {
    names.position(word).unwrap_or(UNKNOWN)
}

/// The largest figures of those that the law leaves: what no candidate exceeds need not be asked of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Most {
    pub(crate) first_us: i64,
    pub(crate) input_us: i64,
    pub(crate) output_us: i64,
    pub(crate) fixed_pusd: i64,
    pub(crate) input_pusd: i64,
    pub(crate) output_pusd: i64,
    pub(crate) byte_pusd: i64,
    /// Of burst capacity: how much of what is paid for must be in use first.
    pub(crate) after_ppm: u32,
    /// Any share of the previous interval.
    pub(crate) share_ppm: u32,
}

/// One kind of request against all substrates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    pub(crate) key: Key,
    /// The picture that it was made from; 0 before it was made.
    pub(crate) stamp: u64,
    pub(crate) law: Law,
    /// By policy order: everything that rejects whoever asks like this, as the bits of [`crate::model::Codes`].
    pub(crate) codes: Vec<u64>,
    pub(crate) quality_ppm: Vec<u32>,
    pub(crate) context: Vec<u32>,
    /// The borders that each lies behind, as the bits of [`Borders`].
    pub(crate) crosses: Vec<u8>,
    /// Price of each byte on its way back.
    pub(crate) byte_pusd: Vec<i64>,
    pub(crate) path_us: Vec<i64>,
    /// Of burst capacity: how much of what is paid for must be in use first.
    pub(crate) after_ppm: Vec<u32>,
    /// Where each is among the open ones.
    pub(crate) at: Vec<Option<u16>>,
    /// Those that availability and cost alone may still reject, in policy order, and their load.
    pub(crate) open: Vec<Open>,
    pub(crate) ids: Vec<SubstrateId>,
    /// Their names, hashed.
    pub(crate) hashes: Vec<u64>,
    pub(crate) uses: Vec<Use>,
    /// Those that will not stand: what they would be worth tells what bound.
    pub(crate) shut: Vec<Shut>,
    /// The same ones, as their rejections are counted.
    pub(crate) stills: Stills,
    pub(crate) most: Most,
}

impl Ground {
    /// Takes the rows away, not their memory.
    pub(crate) fn clear(&mut self) {
        self.at.clear();
        self.after_ppm.clear();
        self.open.clear();
        self.ids.clear();
        self.hashes.clear();
        self.uses.clear();
        self.shut.clear();
        self.stills.clear();
    }

    /// The borders that a substrate lies behind.
    pub(crate) fn crosses(&self, id: SubstrateId) -> Borders {
        Borders::from_bits(super::table::cell(&self.crosses, id))
    }
}

/// The grounds that are kept besides the present one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grounds {
    #[expect(clippy::vec_box, reason = "a ground and the present one change places by their pointers")]
    kept: Vec<Box<Ground>>,
    /// The one that gives way next.
    next: usize,
}

/// At most so many kinds of requests are kept, or so many rows of them, but a few in any case.
const MOST_KINDS: usize = 32;
const MOST_ROWS: usize = 16_384;
const LEAST_KINDS: usize = 4;

impl Grounds {
    /// Has every ground say what was decided on it.
    pub(crate) fn settle(&mut self, tally: &mut Tally) {
        self.kept.iter_mut().for_each(|ground| ground.stills.settle(tally));
    }

    /// Makes the ground of a kind the present one, if it is kept, or else one that may be laid anew.
    pub(crate) fn swap(&mut self, present: &mut Box<Ground>, wanted: &Key, stamp: u64, rows: usize) {
        let fits = |g: &Ground| g.stamp == stamp && g.key == *wanted;
        if fits(present) {
            return;
        }
        if let Some(found) = self.kept.iter_mut().find(|g| fits(g)) {
            core::mem::swap(present, found);
            return;
        }
        let most = (MOST_ROWS / rows.max(1)).clamp(LEAST_KINDS, MOST_KINDS);
        // One of an older picture gives way first, then each in turn.
        let old = self.kept.iter().position(|g| g.stamp != stamp);
        if present.stamp != stamp {
            return;
        }
        let at = match old {
            Some(at) => at,
            None if self.kept.len() < most => {
                self.kept.push(Box::default());
                self.kept.len() - 1
            }
            None => {
                self.next = (self.next + 1) % most;
                self.next
            }
        };
        if let Some(given) = self.kept.get_mut(at) {
            core::mem::swap(present, given);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Visits {
        grounds: Grounds,
        present: Box<Ground>,
        rows: usize,
    }

    impl Visits {
        /// Whether a kind's ground is found, which is laid otherwise.
        fn finds(&mut self, kind: u16, stamp: u64) -> bool {
            let key = Key { class: kind, ..Key::default() };
            self.grounds.swap(&mut self.present, &key, stamp, self.rows);
            let known = self.present.stamp == stamp && self.present.key == key;
            (self.present.stamp, self.present.key) = (stamp, key);
            known
        }

        fn found(&mut self, kinds: core::ops::Range<u16>, stamp: u64) -> usize {
            kinds.filter(|kind| self.finds(*kind, stamp)).count()
        }
    }

    /// As many besides the present one as is said, whatever comes by: their memory is bounded.
    #[test]
    fn so_many_kinds_are_found_again_and_beyond_that_each_gives_way_in_turn() {
        for (rows, most) in [(0, 32), (1, 32), (512, 32), (2_048, 8), (16_384, 4), (100_000, 4)] {
            let mut visits = Visits { rows, ..Visits::default() };
            let all = most as u16 + 1;
            assert_eq!(visits.found(0..all, 1), 0, "{rows} rows: none is known at first");
            assert_eq!(visits.found(0..all, 1), usize::from(all), "{rows} rows: then all");
            assert_eq!(visits.grounds.kept.len(), most);
            // As many new ones drive all of the old ones out.
            assert_eq!(visits.found(100..100 + all, 1), 0);
            assert_eq!(visits.found(100..100 + all, 1), usize::from(all), "{rows} rows: the new ones");
            assert_eq!(visits.grounds.kept.len(), most);
        }
    }

    #[test]
    fn grounds_of_an_older_picture_are_never_found_and_give_way_first() {
        let mut visits = Visits { rows: 1, ..Visits::default() };
        visits.found(0..20, 1);
        assert_eq!(visits.found(0..5, 2), 0, "another picture");
        assert_eq!(visits.found(0..5, 2), 5);
        // Nineteen were kept besides the present one: the memory of the old ones is used again.
        assert_eq!(visits.grounds.kept.len(), 19);
    }
}
