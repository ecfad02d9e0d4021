//! Reports that were handed in and wait for whoever leads: the VM that receives one need not be the VM that folds.
//!
//! A tray holds an entry a substrate with its last sequence and, by signal, the latest value with the sequence under
//! which it came. So nothing is lost when two reports come between two ticks, and nothing is taken twice: whoever leads
//! takes what came under a later sequence than the last that he took.

use super::frame::{self, InvalidSnapshot};
use super::heard::{Heard, is_stale};
use crate::model::signal::SIGNALS;
use crate::model::{Attestation, Country, Reading, Signal};

const MAGIC: [u8; 4] = *b"BINB";
const FORMAT: u16 = 1;
/// The most substrates in one tray; the one that has been silent longest makes room.
pub const MOST_ENTRIES: usize = 128;

/// What was handed in of one substrate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The substrate, as in slots.
    pub key: u64,
    /// The sequence of the last report.
    pub sequence: u64,
    /// When that came.
    pub at_ms: u64,
    /// The latest values, each with its sequence.
    pub said: Vec<(Signal, Reading, u64)>,
    /// The latest proof of where it is, with its sequence.
    pub attestation: Option<(Attestation, u64)>,
}

impl Entry {
    /// What came under a later sequence than that; all of it if nothing was taken yet.
    #[must_use]
    pub fn since(&self, taken: Option<u64>) -> (Heard, Option<Attestation>) {
        let is_later = |sequence: u64| taken.is_none_or(|taken| sequence > taken);
        let later = self.said.iter().filter(|(_, _, under)| is_later(*under));
        let readings = later.map(|(signal, reading, _)| (*signal, *reading)).collect();
        let attestation = self.attestation.filter(|(_, under)| is_later(*under)).map(|(attestation, _)| attestation);
        (Heard { readings, ..Heard::default() }, attestation)
    }

    /// Says whether that was news: a later report may speak of an earlier time.
    fn say(&mut self, signal: Signal, reading: Reading, now_ms: u64) -> bool {
        let said = (signal, reading, self.sequence);
        match self.said.iter_mut().find(|(known, _, _)| *known == signal) {
            Some((_, known, _)) if is_stale(known.at_ms, reading.at_ms, now_ms) => return false,
            Some(known) => *known = said,
            None => self.said.push(said),
        }
        true
    }

    fn prove(&mut self, attestation: Attestation, now_ms: u64) -> bool {
        let stale = |known: Attestation| is_stale(known.at_ms, attestation.at_ms, now_ms);
        let news = !self.attestation.is_some_and(|(known, _)| stale(known));
        if news {
            self.attestation = Some((attestation, self.sequence));
        }
        news
    }
}

/// Some of the substrates' entries: as many as fit one value of shared data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tray {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// A report that is not newer than the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNewer {
    /// The sequence of the last one.
    pub last: u64,
}

/// What of a report was older than what had come before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overtaken {
    /// These signals.
    pub signals: Vec<Signal>,
    /// The proof of where it is.
    pub attestation: bool,
}

impl Tray {
    /// Takes a report into the entry of its substrate; says what of it was no news.
    ///
    /// # Errors
    /// When its sequence is not after the last one: it was replayed, or has been overtaken.
    pub fn take(
        &mut self,
        key: u64,
        sequence: u64,
        heard: &Heard,
        attestation: Option<Attestation>,
        now_ms: u64,
    ) -> Result<Overtaken, NotNewer> {
        let at = match self.entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None => {
                self.make_room();
                self.entries.push(Entry { key, ..Entry::default() });
                self.entries.len() - 1
            }
        };
        let Some(entry) = self.entries.get_mut(at) else { return Ok(Overtaken::default()) };
        // A report may begin at 0; an entry that is new has no time yet.
        if sequence <= entry.sequence && entry.at_ms != 0 {
            return Err(NotNewer { last: entry.sequence });
        }
        (entry.sequence, entry.at_ms) = (sequence, now_ms);
        let mut overtaken = Overtaken::default();
        for (signal, reading) in &heard.readings {
            if !entry.say(*signal, *reading, now_ms) {
                overtaken.signals.push(*signal);
            }
        }
        overtaken.attestation = attestation.is_some_and(|attestation| !entry.prove(attestation, now_ms));
        Ok(overtaken)
    }

    fn make_room(&mut self) {
        if self.entries.len() < MOST_ENTRIES {
            return;
        }
        let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.at_ms).map(|(at, _)| at);
        if let Some(oldest) = oldest {
            self.entries.swap_remove(oldest);
        }
    }

    /// As bytes for shared data.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = frame::begin();
        for entry in self.entries.iter().take(MOST_ENTRIES) {
            for word in [entry.key, entry.sequence, entry.at_ms] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            let nowhere = (*b"--", 0, 0);
            let (letters, at_ms, sequence) = entry.attestation.map_or(nowhere, |(a, sequence)| {
                (a.jurisdiction.as_str().as_bytes().first_chunk().copied().unwrap_or(*b"--"), a.at_ms, sequence)
            });
            out.extend_from_slice(&letters);
            out.extend_from_slice(&at_ms.to_le_bytes());
            out.extend_from_slice(&sequence.to_le_bytes());
            out.push(u8::try_from(entry.said.len()).unwrap_or(u8::MAX));
            for (signal, reading, sequence) in entry.said.iter().take(usize::from(u8::MAX)) {
                out.push(*signal as u8);
                out.extend_from_slice(&reading.value.to_le_bytes());
                out.extend_from_slice(&reading.at_ms.to_le_bytes());
                out.extend_from_slice(&sequence.to_le_bytes());
            }
        }
        frame::close(&mut out, MAGIC, FORMAT);
        out
    }

    /// The tray of bytes that may be anything.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidSnapshot> {
        let (_format, mut rest) = frame::open(bytes, MAGIC, FORMAT, FORMAT)?;
        let mut entries = Vec::new();
        while !rest.is_empty() && entries.len() < MOST_ENTRIES {
            entries.push(entry(&mut rest).ok_or(InvalidSnapshot::Malformed)?);
        }
        if rest.is_empty() { Ok(Self { entries }) } else { Err(InvalidSnapshot::Trailing) }
    }
}

fn entry(rest: &mut &[u8]) -> Option<Entry> {
    let (key, sequence, at_ms) = (word(rest)?, word(rest)?, word(rest)?);
    let letters: [u8; 2] = take(rest)?;
    let (attested_ms, under) = (word(rest)?, word(rest)?);
    let country = core::str::from_utf8(&letters).ok().and_then(Country::parse);
    let attestation = country.map(|jurisdiction| (Attestation { jurisdiction, at_ms: attested_ms }, under));
    let [count] = take(rest)?;
    let mut said = Vec::with_capacity(usize::from(count).min(SIGNALS));
    for _ in 0..count {
        let [signal] = take(rest)?;
        let (value, at_ms, sequence) = (word(rest)?.cast_signed(), word(rest)?, word(rest)?);
        // A signal of a later version is skipped: the rest is still good.
        if let Some(signal) = Signal::ALL.get(usize::from(signal)) {
            said.push((*signal, Reading { value, at_ms }, sequence));
        }
    }
    Some(Entry { key, sequence, at_ms, said, attestation })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn word(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::{MOST_ENTRIES, NotNewer, Overtaken, Tray};
    use crate::health::heard::Heard;
    use crate::model::{Attestation, Country, Reading, Signal};

    fn heard(pairs: &[(Signal, i64)]) -> Heard {
        let readings = pairs.iter().map(|(s, value)| (*s, Reading { value: *value, at_ms: 7 })).collect();
        Heard { readings, ..Heard::default() }
    }

    fn attested() -> Option<Attestation> {
        Some(Attestation { jurisdiction: Country::parse("FR").unwrap(), at_ms: 5 })
    }

    #[test]
    fn two_reports_between_two_looks_are_both_there_and_each_value_is_taken_once() {
        let mut tray = Tray::default();
        tray.take(1, 10, &heard(&[(Signal::QueueDepth, 3), (Signal::Hosts, 2)]), attested(), 100).unwrap();
        tray.take(1, 11, &heard(&[(Signal::QueueDepth, 4)]), None, 101).unwrap();
        let entry = &tray.entries[0];
        let (all, proof) = entry.since(None);
        assert_eq!(all.readings.len(), 2);
        assert_eq!(proof, attested());
        let (later, proof) = entry.since(Some(10));
        assert_eq!(later.readings, [(Signal::QueueDepth, Reading { value: 4, at_ms: 7 })]);
        assert_eq!((proof, entry.since(Some(11)).0.readings.len()), (None, 0));
    }

    #[test]
    fn what_was_replayed_or_overtaken_is_refused_and_changes_nothing() {
        let mut tray = Tray::default();
        tray.take(1, 0, &heard(&[(Signal::QueueDepth, 3)]), None, 100).unwrap();
        tray.take(1, 10, &heard(&[(Signal::QueueDepth, 4)]), None, 100).unwrap();
        let before = tray.clone();
        for sequence in [0, 9, 10] {
            let taken = tray.take(1, sequence, &heard(&[(Signal::QueueDepth, 9)]), None, 102);
            assert_eq!(taken, Err(NotNewer { last: 10 }));
        }
        assert_eq!(tray, before);
        assert!(tray.take(2, 1, &heard(&[]), None, 102).is_ok(), "another substrate counts for itself");
    }

    #[test]
    fn an_older_value_does_not_replace_a_newer_one_that_nobody_has_taken_yet() {
        let at =
            |value, at_ms| Heard { readings: vec![(Signal::QueueDepth, Reading { value, at_ms })], ..Heard::default() };
        let proof = |at_ms| Some(Attestation { at_ms, ..attested().unwrap() });
        let mut tray = Tray::default();
        assert_eq!(tray.take(1, 1, &at(50, 90), proof(80), 100), Ok(Overtaken::default()));
        let older = Overtaken { signals: vec![Signal::QueueDepth], attestation: true };
        assert_eq!(tray.take(1, 2, &at(7, 10), proof(9), 101), Ok(older));
        let (heard, kept) = tray.entries[0].since(None);
        assert_eq!((heard.readings[0].1.value, kept), (50, proof(80)));
        // What was said before the clock jumped back is from the future, and no measure.
        assert_eq!(tray.take(1, 3, &at(8, 10), proof(9), 11), Ok(Overtaken::default()));
    }

    #[test]
    fn a_tray_is_bounded_and_the_longest_silent_makes_room() {
        let mut tray = Tray::default();
        for key in 0..500_u64 {
            tray.take(key, 1, &heard(&[(Signal::QueueDepth, 1)]), None, 1_000 + key).unwrap();
        }
        assert_eq!(tray.entries.len(), MOST_ENTRIES);
        assert!(tray.entries.iter().all(|entry| entry.key >= 500 - MOST_ENTRIES as u64));
    }

    #[test]
    fn bytes_are_read_back_and_any_damage_is_an_error() {
        let mut tray = Tray::default();
        tray.take(u64::MAX, 1 << 52, &heard(&[(Signal::Drift, -4), (Signal::Total, 9)]), attested(), 100).unwrap();
        tray.take(2, 1, &heard(&[]), None, 100).unwrap();
        let bytes = tray.to_bytes();
        assert_eq!(Tray::parse(&bytes), Ok(tray));
        for length in 0..bytes.len() {
            assert!(Tray::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Tray::parse(&damaged).is_err(), "byte {at}");
        }
    }
}
