//! Publishing, fenced: a holder that was stalled and has lost the lease meanwhile cannot overwrite its successor.
//!
//! The tokens of both keys are read first, then the lease is renewed, then both keys are set with those tokens. Had
//! anybody published since, a token would be stale; had anybody taken the lease since, the renewal would fail.

use super::{EPOCH, Lease, Mark, SNAPSHOT, read};
use crate::filter::{Host, HostError};
use crate::health::{MOST_BYTES, codec};
use crate::model::Snapshot;

/// Why a snapshot was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpublished {
    /// Somebody else holds the lease, or has published meanwhile.
    Fenced,
    /// It is larger than readers read.
    Oversized,
    /// The host failed.
    Host(HostError),
}

/// Publishes a snapshot as its writer, under the next epoch.
///
/// # Errors
/// Why it was not. Nothing is repeated: the next tick brings the next snapshot.
pub fn publish<H: Host>(
    host: &H,
    lease: &mut Lease,
    now_ms: u64,
    snapshot: &mut Snapshot,
) -> Result<Mark, Unpublished> {
    let (last, epoch_token) = read(host, EPOCH).map_err(Unpublished::Host)?;
    let (_, snapshot_token) = read(host, SNAPSHOT).map_err(Unpublished::Host)?;
    if !lease.renew(host, snapshot.writer, now_ms) {
        return Err(Unpublished::Fenced);
    }
    let last = last.as_deref().and_then(Mark::parse).map_or(0, |mark| mark.epoch);
    snapshot.epoch = last.wrapping_add(1).max(1);
    let bytes = codec::encode(snapshot);
    if bytes.len() > MOST_BYTES {
        return Err(Unpublished::Oversized);
    }
    let mark = Mark { writer: snapshot.writer, epoch: snapshot.epoch, checksum: codec::carried_checksum(&bytes) };
    set(host, SNAPSHOT, &bytes, snapshot_token)?;
    set(host, EPOCH, &mark.to_bytes(), epoch_token)?;
    Ok(mark)
}

fn set<H: Host>(host: &H, key: &str, value: &[u8], token: u32) -> Result<(), Unpublished> {
    host.shared_set(key, value, Some(token)).map_err(|error| match error {
        HostError::CasMismatch => Unpublished::Fenced,
        other => Unpublished::Host(other),
    })
}
