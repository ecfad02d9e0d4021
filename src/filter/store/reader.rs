//! How a worker keeps its picture: a tiny read per tick, a decoding per change, and the last good one for ever.

use super::{EPOCH, Mark, SNAPSHOT};
use crate::filter::{Host, HostError};
use crate::health::{InvalidSnapshot, codec};
use crate::model::Snapshot;

/// The newest snapshot that could be read.
#[derive(Debug, Default)]
pub struct SnapshotReader {
    /// The last mark that was dealt with, taken or refused.
    seen: Option<Mark>,
    taken: Option<(Mark, Snapshot)>,
    refused: Option<InvalidSnapshot>,
    refusals: u64,
    torn: u64,
}

impl SnapshotReader {
    /// Looks whether there is a newer snapshot and takes it; says whether it did. What cannot be read is counted,
    /// and the last good one stays.
    pub fn poll<H: Host>(&mut self, host: &H) -> bool {
        let mark = match host.shared_get(EPOCH).map(|(bytes, _)| Mark::parse(&bytes)) {
            Ok(Some(mark)) => mark,
            Ok(None) => return self.refuse(InvalidSnapshot::Foreign),
            Err(HostError::NotFound) => return false,
            Err(_) => return self.tear(),
        };
        if self.seen == Some(mark) {
            return false;
        }
        match host.shared_get(SNAPSHOT) {
            // The writer was caught between its two writes: the next tick sees both.
            Ok((bytes, _)) if codec::carried_checksum(&bytes) != mark.checksum => self.tear(),
            Ok((bytes, _)) => {
                self.seen = Some(mark);
                self.take(mark, &bytes)
            }
            Err(_) => self.tear(),
        }
    }

    fn take(&mut self, mark: Mark, bytes: &[u8]) -> bool {
        match codec::decode(bytes) {
            Ok(snapshot) if (snapshot.writer, snapshot.epoch) == (mark.writer, mark.epoch) => {
                self.taken = Some((mark, snapshot));
                self.refused = None;
                true
            }
            Ok(_) => self.refuse(InvalidSnapshot::Foreign),
            Err(why) => self.refuse(why),
        }
    }

    fn refuse(&mut self, why: InvalidSnapshot) -> bool {
        self.refused = Some(why);
        self.refusals = self.refusals.saturating_add(1);
        false
    }

    fn tear(&mut self) -> bool {
        self.torn = self.torn.saturating_add(1);
        false
    }

    /// The last good snapshot, however old.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.taken.as_ref().map(|(_, snapshot)| snapshot)
    }

    /// Its identity.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.taken.as_ref().map(|(mark, _)| *mark)
    }

    /// Why the newest one was not taken; `None` if it was.
    #[must_use]
    pub const fn refused(&self) -> Option<InvalidSnapshot> {
        self.refused
    }

    /// How many were refused.
    #[must_use]
    pub const fn refusals(&self) -> u64 {
        self.refusals
    }

    /// How many polls found shared data unreadable or half written.
    #[must_use]
    pub const fn torn(&self) -> u64 {
        self.torn
    }
}
