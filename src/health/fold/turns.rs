//! Whose turn it is: who places, and who of them may probe a half-open circuit next.

use super::{Fold, Known};
use crate::health::breaker::Prober;
use crate::model::Circuit;

/// Who has placed nothing for so long, while others have, is passed over: a configuration that was replaced.
const RECENT_MS: u64 = 10_000;

/// The slots that may probe, in their order.
pub(super) struct Turns(Vec<u8>);

impl Turns {
    /// Who is next, after so many turns; slot 0 as long as nobody was asked for anything.
    pub(super) fn next(&self, turns: usize, circuit: Circuit) -> Prober {
        let at = turns.checked_rem(self.0.len()).unwrap_or(0);
        let lost = matches!(circuit, Circuit::HalfOpen { slot, .. } if !self.0.is_empty() && !self.0.contains(&slot));
        Prober { slot: self.0.get(at).copied().unwrap_or(0), lost }
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

    /// Those who place. Where nobody has for a while, since nothing is asked for or all is refused, those who are asked:
    /// a worker that is asked for nothing gives its slot back.
    pub(super) fn turns(&self, now_ms: u64) -> Turns {
        let placed = self.known.iter().filter_map(placed_ms).any(|ms| now_ms.saturating_sub(ms) < RECENT_MS);
        let asked = self.known.iter().filter(|k| k.live && k.record.places).map(|k| k.slot);
        let mut slots: Vec<u8> = if placed { self.placing().collect() } else { asked.collect() };
        slots.sort_unstable();
        Turns(slots)
    }
}

/// When somebody who lives was last seen to have placed something.
fn placed_ms(known: &Known) -> Option<u64> {
    known.placed_ms.filter(|_| known.live && known.record.places)
}
