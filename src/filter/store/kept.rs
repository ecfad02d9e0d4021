//! The last snapshots by epoch, for whoever wants to make a decision again. A ring of keys: an epoch has its place, and
//! what lies there is what it says it is.

use super::SNAPSHOT;
use crate::filter::Host;
use crate::health::codec;
use crate::model::Snapshot;

/// The most that are kept.
pub const MOST_KEPT: u32 = 4_096;

fn key(epoch: u64, most: u32) -> String {
    [SNAPSHOT, "/", &(epoch % u64::from(most.max(1))).to_string()].concat()
}

/// Keeps a snapshot in the place of the one that is `most` older. It is a copy: losing it loses no decision.
pub fn keep<H: Host>(host: &H, snapshot: &Snapshot, most: u32) {
    if most > 0 {
        let _ = host.shared_set(&key(snapshot.epoch, most), &codec::encode(snapshot), None);
    }
}

/// The snapshot of an epoch, if it is still there.
pub fn kept<H: Host>(host: &H, epoch: u64, most: u32) -> Option<Snapshot> {
    let (bytes, _) = host.shared_get(&key(epoch, most)).ok().filter(|_| most > 0)?;
    codec::decode(&bytes).ok().filter(|s| s.epoch == epoch)
}
