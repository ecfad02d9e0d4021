//! Where reports wait that were handed in at any VM, for the VM that leads. A fixed number of trays, each written by
//! compare-and-swap, so that the order of a substrate's reports holds over all workers.

use super::{TRIES, read};
use crate::filter::{Host, HostError};
use crate::health::heard::Heard;
use crate::health::inbox::{Entry, NotNewer, Overtaken, Tray};
use crate::health::slot::key_of;
use crate::model::Attestation;
use std::collections::BTreeMap;

/// How many trays there are.
pub const TRAYS: u8 = 64;

/// The key of a tray.
#[must_use]
pub fn tray_key(tray: u8) -> String {
    ["berth/1/inbox/", &tray.to_string()].concat()
}

/// The tray of a substrate's key.
#[must_use]
pub fn tray_of(key: u64) -> u8 {
    u8::try_from(key % u64::from(TRAYS)).unwrap_or(0)
}

/// Why a report was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// Replayed or overtaken.
    NotNewer(NotNewer),
    /// Others wrote in between, again and again.
    Busy,
    /// The host failed.
    Host(HostError),
}

/// Puts a report where whoever leads finds it; says what of it was no news.
///
/// # Errors
/// Why it is not there; nothing of it is.
pub fn deliver<H: Host>(
    host: &H,
    substrate: &str,
    sequence: u64,
    heard: &Heard,
    attestation: Option<Attestation>,
    now_ms: u64,
) -> Result<Overtaken, Undelivered> {
    let key = key_of(substrate);
    let place = tray_key(tray_of(key));
    for _ in 0..TRIES {
        let (bytes, token) = read(host, &place).map_err(Undelivered::Host)?;
        // What is no tray was written by nobody.
        let mut tray = bytes.and_then(|bytes| Tray::parse(&bytes).ok()).unwrap_or_default();
        let overtaken = tray.take(key, sequence, heard, attestation, now_ms).map_err(Undelivered::NotNewer)?;
        match host.shared_set(&place, &tray.to_bytes(), Some(token)) {
            Ok(()) => return Ok(overtaken),
            Err(HostError::CasMismatch) => {}
            Err(error) => return Err(Undelivered::Host(error)),
        }
    }
    Err(Undelivered::Busy)
}

/// What whoever leads knows of the trays.
#[derive(Debug)]
pub struct InboxReader {
    /// By tray: the token of what was read last.
    seen: Vec<u32>,
    /// By substrate: the last sequence that was taken.
    taken: BTreeMap<u64, u64>,
}

/// What a look into a tray gave.
#[derive(Debug)]
pub enum TrayState {
    /// Nothing new.
    Unchanged,
    /// Written since: each entry, after the sequence that was taken last, if one was.
    Entries(Vec<(Option<u64>, Entry)>),
    /// Bytes that are no tray, or none to be had.
    Unreadable,
}

impl Default for InboxReader {
    fn default() -> Self {
        Self { seen: vec![0; usize::from(TRAYS)], taken: BTreeMap::new() }
    }
}

impl InboxReader {
    /// Looks into one tray, and takes what is new in it.
    pub fn look<H: Host>(&mut self, host: &H, tray: u8) -> TrayState {
        let Some(seen) = self.seen.get_mut(usize::from(tray)) else { return TrayState::Unchanged };
        let (bytes, token) = match read(host, &tray_key(tray)) {
            Ok((Some(bytes), token)) => (bytes, token),
            Ok((None, _)) => return TrayState::Unchanged,
            Err(_) => return TrayState::Unreadable,
        };
        if core::mem::replace(seen, token) == token {
            return TrayState::Unchanged;
        }
        let Ok(tray) = Tray::parse(&bytes) else { return TrayState::Unreadable };
        let taken = &mut self.taken;
        let with_last = |entry: Entry| {
            let last = taken.insert(entry.key, entry.sequence);
            // A sequence that fell back is a writer that begins again, in a tray that had forgotten him.
            (last != Some(entry.sequence)).then(|| (last.filter(|last| *last < entry.sequence), entry))
        };
        TrayState::Entries(tray.entries.into_iter().filter_map(with_last).collect())
    }

    /// Forgets what was taken: for a VM that begins to lead.
    pub fn forget(&mut self) {
        self.seen.iter_mut().for_each(|seen| *seen = 0);
        self.taken.clear();
    }
}
