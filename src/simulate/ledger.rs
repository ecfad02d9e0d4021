//! What became of each request, so that two routers can be compared over the very same ones.

use super::measure::End;
use super::random::mix;

/// What there is to say of an answer; nothing, where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    /// Until what the deadline is for.
    pub latency_us: u64,
    /// Until its last byte.
    pub whole_us: u64,
    /// From where.
    pub substrate: usize,
    /// How good.
    pub quality_ppm: u32,
}

/// One request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// All its attempts together, bytes out included.
    pub cost_pusd: u64,
    /// From the first asking to the last byte, where it was answered in time.
    pub whole_us: u32,
    /// Of the answer.
    pub quality_ppm: u32,
    /// Of which class it is.
    pub class: u16,
    /// Who answered.
    pub substrate: u16,
    /// When it arrived.
    pub at_ms: u32,
    /// How it ended.
    pub end: Option<End>,
    /// It arrived after the warm-up.
    pub counts: bool,
}

impl Entry {
    /// Answered in time.
    #[must_use]
    pub fn good(&self) -> bool {
        self.end == Some(End::Good)
    }
}

/// All requests by their number: the same of all routers that met the same arrivals.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ledger(Vec<Entry>);

/// Short, and different where any entry is.
impl core::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let entry = |sum: u64, e: &Entry| {
            let small = u64::from(e.whole_us) << 32 | u64::from(e.class) << 16 | u64::from(e.substrate);
            mix(mix(sum ^ e.cost_pusd) ^ small ^ (e.end.map_or(7, |end| end as u64)) << 60)
        };
        write!(f, "Ledger({}, {:016x})", self.0.len(), self.0.iter().fold(0, entry))
    }
}

impl Ledger {
    /// The entry of a request, whose numbers begin with one.
    fn of(&mut self, id: u64) -> Option<&mut Entry> {
        let at = usize::try_from(id.checked_sub(1)?).ok()?;
        if self.0.len() <= at {
            self.0.resize(at + 1, Entry::default());
        }
        self.0.get_mut(at)
    }

    pub(super) fn arrived(&mut self, id: u64, at_us: u64, class: usize) {
        if let Some(entry) = self.of(id) {
            (entry.class, entry.counts) = (u16::try_from(class).unwrap_or(u16::MAX), true);
            entry.at_ms = u32::try_from(at_us / 1_000).unwrap_or(u32::MAX);
        }
    }

    pub(super) fn paid(&mut self, id: u64, pusd: i128) {
        if let Some(entry) = self.of(id) {
            entry.cost_pusd = entry.cost_pusd.saturating_add(u64::try_from(pusd).unwrap_or(0));
        }
    }

    pub(super) fn ended(&mut self, id: u64, end: End, answered: &Answered) {
        if let Some(entry) = self.of(id) {
            entry.end = Some(end);
            entry.whole_us = u32::try_from(answered.whole_us).unwrap_or(u32::MAX);
            entry.substrate = u16::try_from(answered.substrate).unwrap_or(u16::MAX);
            entry.quality_ppm = answered.quality_ppm;
        }
    }

    /// Those that count.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(|e| e.counts)
    }

    /// Request by request beside another's, of those that count.
    pub fn beside<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Entry, &'a Entry)> {
        self.0.iter().zip(&other.0).filter(|(ours, theirs)| ours.counts && theirs.counts)
    }
}
