//! Each VM tells the others what it has seen through one of a fixed number of slots, claimed by compare-and-swap and
//! renewed as long as it lives.

use super::{TRIES, read, slot_key};
use crate::filter::{Host, HostError};
use crate::health::{codec, slot::SlotRecord};

/// How many slots there are: two roles in sixty-odd workers. A VM without one decides and serves; what it sees is lost,
/// and counted.
pub const SLOTS: u8 = 128;
/// The longest that a record may claim to last: one that ends further away was written before the clock jumped back.
const MOST_LASTS_MS: u64 = 600_000;
/// The low bits of an incarnation: the slot it began in, which no two VMs can share, however equal their clocks.
const SLOT_BITS: u64 = 127;

/// Why this VM has not told the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unslotted {
    /// All slots are taken.
    Full,
    /// Others wrote in between, again and again.
    Busy,
    /// The host failed.
    Host(HostError),
}

/// This VM's slot.
#[derive(Debug)]
pub struct SlotKeeper {
    born_ns: u64,
    lasts_ms: u64,
    incarnation: Option<u64>,
    slot: Option<u8>,
    key: String,
    /// What we wrote last: if something else is there now, the slot is no longer ours.
    written: Vec<u8>,
    /// Another root of this VM does what ours did.
    succeeded: bool,
}

impl SlotKeeper {
    /// A VM that began at `born_ns` and gives its slot up when it has not renewed it for so long.
    #[must_use]
    pub fn new(born_ns: u64, lasts_ms: u64) -> Self {
        let lasts_ms = lasts_ms.min(MOST_LASTS_MS);
        Self {
            born_ns,
            lasts_ms,
            incarnation: None,
            slot: None,
            key: String::new(),
            written: Vec::new(),
            succeeded: false,
        }
    }

    /// The slot, once one is claimed.
    #[must_use]
    pub const fn slot(&self) -> Option<u8> {
        self.slot
    }

    /// Which life of which VM this is, once a slot was claimed. Never 0.
    #[must_use]
    pub const fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    /// Writes this VM's record into its slot, claiming one first if it has none.
    ///
    /// # Errors
    /// Why it could not; the next tick may.
    pub fn publish<H: Host>(&mut self, host: &H, now_ms: u64, record: &mut SlotRecord) -> Result<u8, Unslotted> {
        record.expires_ms = now_ms.saturating_add(self.lasts_ms);
        if let Some(slot) = self.slot {
            match read(host, &self.key).map_err(Unslotted::Host)? {
                (Some(bytes), token) if bytes == self.written => return self.write(host, slot, record, token),
                // Taken over after a stall, or gone with all shared data.
                _ => self.slot = None,
            }
        }
        self.claim(host, now_ms, record)
    }

    fn claim<H: Host>(&mut self, host: &H, now_ms: u64, record: &mut SlotRecord) -> Result<u8, Unslotted> {
        let mut races = 0;
        for slot in 0..SLOTS {
            self.key = slot_key(slot);
            let (bytes, token) = read(host, &self.key).map_err(Unslotted::Host)?;
            if bytes.is_some_and(|bytes| is_taken(&bytes, now_ms)) {
                continue;
            }
            match self.write(host, slot, record, token) {
                // Somebody was quicker here; the next slot may be free.
                Err(Unslotted::Busy) => races += 1,
                done => return done,
            }
            if races >= TRIES {
                return Err(Unslotted::Busy);
            }
        }
        Err(Unslotted::Full)
    }

    fn write<H: Host>(&mut self, host: &H, slot: u8, record: &mut SlotRecord, token: u32) -> Result<u8, Unslotted> {
        let born = self.incarnation.unwrap_or((self.born_ns & !SLOT_BITS).max(SLOT_BITS + 1) | u64::from(slot));
        record.incarnation = born;
        let bytes = codec::encode_slot(record);
        match host.shared_set(&self.key, &bytes, Some(token)) {
            Ok(()) => {
                (self.slot, self.incarnation, self.written) = (Some(slot), Some(born), bytes);
                Ok(slot)
            }
            Err(HostError::CasMismatch) => {
                self.slot = None;
                Err(Unslotted::Busy)
            }
            Err(error) => Err(Unslotted::Host(error)),
        }
    }

    /// Frees the slot of a root that was replaced: it may have ended without having been told so. Where it has not, it
    /// takes another one if it is still asked.
    pub(in crate::filter) fn succeed<H: Host>(&mut self, host: &H) {
        self.succeeded = true;
        self.release(host);
    }

    /// Whether that has happened since this was last asked.
    pub(super) const fn was_succeeded(&mut self) -> bool {
        core::mem::replace(&mut self.succeeded, false)
    }

    /// Frees the slot, so that its owner counts as gone at once.
    pub fn release<H: Host>(&mut self, host: &H) {
        if self.slot.take().is_none() {
            return;
        }
        if let Ok((Some(bytes), token)) = read(host, &self.key)
            && bytes == self.written
        {
            let _ = host.shared_set(&self.key, &[], Some(token));
        }
    }
}

fn is_taken(bytes: &[u8], now_ms: u64) -> bool {
    codec::decode_slot(bytes).is_ok_and(|record| is_alive(record.expires_ms, now_ms))
}

/// Whether a slot's owner lives.
const fn is_alive(expires_ms: u64, now_ms: u64) -> bool {
    now_ms < expires_ms && expires_ms - now_ms <= MOST_LASTS_MS
}

/// What a look at a slot gave.
#[derive(Debug)]
pub enum SlotState {
    /// Nobody is there, or nobody any more.
    Empty,
    /// Its owner lives and has said nothing new.
    Unchanged,
    /// Something new.
    Record(SlotRecord),
    /// Bytes that are not a slot's, or none to be had.
    Unreadable,
}

/// Reads all slots; decodes only those that were written since.
#[derive(Debug)]
pub struct SlotReader {
    /// By slot: the token of what was read last, and when that expires.
    seen: Vec<(u32, u64)>,
}

impl Default for SlotReader {
    fn default() -> Self {
        Self { seen: vec![(0, 0); usize::from(SLOTS)] }
    }
}

impl SlotReader {
    /// Looks at one slot.
    pub fn look<H: Host>(&mut self, host: &H, slot: u8, now_ms: u64) -> SlotState {
        let Some(seen) = self.seen.get_mut(usize::from(slot)) else { return SlotState::Empty };
        let (bytes, token) = match read(host, &slot_key(slot)) {
            Ok((Some(bytes), token)) => (bytes, token),
            Ok((None, _)) => return SlotState::Empty,
            _ => return SlotState::Unreadable,
        };
        if seen.0 == token {
            let alive = is_alive(seen.1, now_ms);
            return if alive { SlotState::Unchanged } else { SlotState::Empty };
        }
        *seen = (token, 0);
        if bytes.is_empty() {
            return SlotState::Empty;
        }
        match codec::decode_slot(&bytes) {
            Ok(record) => {
                seen.1 = record.expires_ms;
                let alive = is_alive(record.expires_ms, now_ms);
                if alive { SlotState::Record(record) } else { SlotState::Empty }
            }
            Err(_) => SlotState::Unreadable,
        }
    }

    /// Forgets what was seen, so that every slot counts as new: for a VM that begins to lead.
    pub fn forget(&mut self) {
        self.seen.iter_mut().for_each(|seen| *seen = (0, 0));
    }
}
