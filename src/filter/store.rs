//! What the VMs of one proxy share: a fixed set of keys in the host's shared data, written by compare-and-swap only.
//!
//! * `berth/1/epoch`: twenty bytes that say which snapshot is the newest; what every worker reads on every tick.
//! * `berth/1/snapshot`: the snapshot itself; read when the epoch changed.
//! * `berth/1/snapshot/N`: the last ones, where that is asked for.
//! * `berth/1/lease`: who folds and publishes.
//! * `berth/1/slot/0` to `/127`: what each VM has seen.
//! * `berth/1/inbox/0` to `/63`: reports that were handed in and wait for whoever leads.
//! * `berth/1/rollout`: the operator's switch.
//! * `berth/1/recall`: the candidate policies that were called back.
//! * `berth/1/sources`: how the sources do, as whoever leads sees it; text for people.
//! * `berth/1/recent/0` to `/127`: the last decisions of each VM; for people.
//! * `berth/1/ledger`: what tenants have spent.
//! * `berth/1/generation`: which configuration is the newest, so that a replaced one falls silent.
//!
//! The host's rules: tokens come from one counter and are never 0; a set on a missing key wins with any token. So a
//! missing key is seeded with a token that nothing can have: whoever was quicker keeps what he wrote.

mod generation;
mod inbox;
mod kept;
mod lease;
mod ledger;
mod publish;
mod reader;
mod recall;
mod recent;
mod reporter;
mod rollout;
mod slots;

pub use generation::{Generation, Standing, fingerprint};
pub use inbox::{InboxReader, TRAYS, TrayState, Undelivered, deliver, tray_key, tray_of};
pub use kept::{MOST_KEPT, keep, kept};
pub use lease::Lease;
pub use ledger::{Claim, LEDGER, exchange};
pub use publish::{Unpublished, publish};
pub use reader::SnapshotReader;
pub use recall::{RECALL, Recall, recalls};
pub use recent::{Decided, LAST, Recent, recent, recent_key};
pub use reporter::Reporter;
pub use rollout::{NotThrown, ROLLOUT, Rollout, RolloutReader, Switch, rollout, throw};
pub use slots::{SLOTS, SlotKeeper, SlotReader, SlotState, Unslotted};

use super::{Host, HostError};

/// Which snapshot is the newest.
pub const EPOCH: &str = "berth/1/epoch";
/// The newest snapshot.
pub const SNAPSHOT: &str = "berth/1/snapshot";
/// Who folds and publishes.
pub const LEASE: &str = "berth/1/lease";
/// Which configuration is the newest.
pub const GENERATION: &str = "berth/1/generation";

/// How often a lost race is run again before the matter waits for the next tick.
const TRIES: u8 = 3;
/// The token for keys that are missing: the host counts up from 1, so no value has it, and a key that somebody else
/// has seeded meanwhile is left as it is.
const SEED: u32 = u32::MAX;

/// The key of a slot.
#[must_use]
pub fn slot_key(slot: u8) -> String {
    let mut key = String::from("berth/1/slot/");
    let (hundreds, tens, ones) = (slot / 100, slot / 10 % 10, slot % 10);
    if hundreds > 0 {
        key.push(char::from(b'0' + hundreds));
    }
    if slot >= 10 {
        key.push(char::from(b'0' + tens));
    }
    key.push(char::from(b'0' + ones));
    key
}

/// Identifies a published snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Who wrote it.
    pub writer: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The checksum of its bytes.
    pub checksum: u32,
}

impl Mark {
    fn to_bytes(self) -> [u8; 20] {
        let fields = self.writer.to_le_bytes().into_iter().chain(self.epoch.to_le_bytes());
        collect(fields.chain(self.checksum.to_le_bytes()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 20] = bytes.try_into().ok()?;
        Some(Self {
            writer: word(bytes, 0)?,
            epoch: word(bytes, 8)?,
            checksum: u32::from_le_bytes(*bytes.last_chunk::<4>()?),
        })
    }
}

fn collect<const N: usize>(bytes: impl Iterator<Item = u8>) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(bytes).for_each(|(at, byte)| *at = byte);
    out
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// A value with the token to replace it by; a missing one with the token that seeds it.
fn read<H: Host>(host: &H, key: &str) -> Result<(Option<Vec<u8>>, u32), HostError> {
    match host.shared_get(key) {
        // A token of 0 would turn the next write into one that always wins.
        Ok((_, 0)) => Err(HostError::Unexpected(0)),
        Ok((bytes, token)) => Ok((Some(bytes), token)),
        Err(HostError::NotFound) => Ok((None, SEED)),
        Err(error) => Err(error),
    }
}
