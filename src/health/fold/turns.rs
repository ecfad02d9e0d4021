//! Whose turn it is: who places, and who of them may probe a half-open circuit next.

use super::{Fold, Known};
use crate::health::breaker::Prober;
use crate::model::Circuit;

/// Who has placed nothing for so long, while others have, is passed over: a configuration that was replaced.
const RECENT_MS: u64 = 10_000;

/// The slots that may probe, each list in the order of slots.
pub(super) struct Turns {
    /// Who places: whoever is asked for this substrate is probably among them.
    placing: Vec<u8>,
    /// Who is asked at all: all whose requests are refused are among them, whatever others place elsewhere.
    asked: Vec<u8>,
}

impl Turns {
    /// Who is next, the first after so many turns; slot 0 as long as nobody was asked for anything. Where nobody probed,
    /// the turn goes round among all who are asked: each circuit by itself, so that each of them has it some time.
    pub(super) fn next(&self, turns: usize, circuit: Circuit) -> Prober {
        if let Circuit::HalfOpen { slot: held, .. } = circuit {
            let above = self.asked.iter().find(|slot| **slot > held);
            let lost = !self.asked.is_empty() && !self.asked.contains(&held);
            return Prober { slot: above.or(self.asked.first()).copied().unwrap_or(0), lost };
        }
        let first = if self.placing.is_empty() { &self.asked } else { &self.placing };
        let at = turns.checked_rem(first.len()).unwrap_or(0);
        Prober { slot: first.get(at).copied().unwrap_or(0), lost: false }
    }
}

impl Fold {
    /// The slots that requests come to, about as late as to any. A proxy also runs the role where none ever do, on its
    /// main thread, and where none do any more, in a configuration that was replaced.
    pub(super) fn placing(&self) -> impl Iterator<Item = u8> {
        let last_ms = self.known.iter().filter_map(placed_ms).max().unwrap_or(0);
        let recently = move |k: &&Known| placed_ms(k).is_some_and(|ms| last_ms - ms < RECENT_MS);
        self.known.iter().filter(recently).map(|k| k.slot)
    }

    /// Who may probe. A worker that is asked for nothing gives its slot back after a while.
    pub(super) fn turns(&self, now_ms: u64) -> Turns {
        let recent = self.known.iter().filter_map(placed_ms).any(|ms| now_ms.saturating_sub(ms) < RECENT_MS);
        let asked = self.known.iter().filter(|k| k.live && k.record.places).map(|k| k.slot);
        let mut turns = Turns { placing: self.placing().filter(|_| recent).collect(), asked: asked.collect() };
        turns.placing.sort_unstable();
        turns.asked.sort_unstable();
        turns
    }
}

/// When somebody who lives was last seen to have placed something.
fn placed_ms(known: &Known) -> Option<u64> {
    known.placed_ms.filter(|_| known.live && known.record.places)
}
