//! What tenants have spent, over all VMs of a proxy: one key that each VM adds to, by compare-and-swap, and reads on
//! its tick. It needs nobody who leads, so budgets hold while telemetry is down.
//!
//! An entry is of one window; one whose window is over, or has not begun since the clock jumped back, is dropped.

use super::{TRIES, read, word};
use crate::filter::{Host, HostError};

/// What tenants have spent.
pub const LEDGER: &str = "berth/1/ledger";
/// The most tenants whose spending is kept, of all policies that are at work at a time.
const MOST: usize = 4_096;
const BYTES: usize = 32;

/// What a VM adds for a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The tenant, as a key.
    pub tenant: u64,
    /// How long a window lasts, in milliseconds.
    pub window_ms: u64,
    /// Spent here since the last time, in micro-dollars.
    pub fresh_uusd: i64,
    /// Spent by all within this window: the answer.
    pub spent_uusd: i64,
    /// Of what is fresh, what could not be added the last time. It is of the window that began then, and ends with it.
    pub kept_uusd: i64,
    /// When that window began.
    pub began_ms: u64,
}

impl Claim {
    /// What was kept of a window that is over is let go.
    fn turn(&mut self, now_ms: u64) {
        let began_ms = began_ms(self, now_ms);
        if self.began_ms != began_ms {
            self.fresh_uusd = self.fresh_uusd.saturating_sub(self.kept_uusd);
            self.began_ms = began_ms;
        }
        self.kept_uusd = self.fresh_uusd;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tenant: u64,
    began_ms: u64,
    window_ms: u64,
    spent_uusd: i64,
}

impl Entry {
    const fn is_now(&self, now_ms: u64) -> bool {
        self.began_ms <= now_ms && now_ms - self.began_ms < self.window_ms
    }
}

/// Adds what was spent here to what all have, and takes over what all have. Nothing is written where nothing is new.
///
/// # Errors
/// Why it could not: what is fresh stays so, and the next tick within its window adds it.
pub fn exchange<H: Host>(host: &H, claims: &mut [Claim], now_ms: u64) -> Result<(), HostError> {
    claims.iter_mut().for_each(|claim| claim.turn(now_ms));
    for _ in 0..TRIES {
        let (bytes, token) = read(host, LEDGER)?;
        let mut entries = parse(bytes.as_deref().unwrap_or_default(), now_ms);
        let added = claims.iter().filter(|claim| add(&mut entries, claim, now_ms)).count();
        if added > 0 {
            match host.shared_set(LEDGER, &write(&entries), Some(token)) {
                Ok(()) => {}
                Err(HostError::CasMismatch) => continue,
                Err(error) => return Err(error),
            }
        }
        for claim in claims.iter_mut() {
            if let Some(entry) = find(&entries, claim, now_ms) {
                (claim.fresh_uusd, claim.kept_uusd, claim.spent_uusd) = (0, 0, entry.spent_uusd);
            } else {
                // Nothing was spent; or there was no room for it, and it counts here until there is or its window ends.
                claim.spent_uusd = claim.fresh_uusd;
            }
        }
        return Ok(());
    }
    Err(HostError::CasMismatch)
}

fn began_ms(claim: &Claim, now_ms: u64) -> u64 {
    now_ms - now_ms.checked_rem(claim.window_ms).unwrap_or(0)
}

fn find<'a>(entries: &'a [Entry], claim: &Claim, now_ms: u64) -> Option<&'a Entry> {
    let began_ms = began_ms(claim, now_ms);
    let same = |e: &&Entry| (e.tenant, e.began_ms, e.window_ms) == (claim.tenant, began_ms, claim.window_ms);
    entries.iter().find(same)
}

/// Adds what is fresh, where there is any and room for it.
fn add(entries: &mut Vec<Entry>, claim: &Claim, now_ms: u64) -> bool {
    if claim.fresh_uusd <= 0 {
        return false;
    }
    let (tenant, began_ms, window_ms) = (claim.tenant, began_ms(claim, now_ms), claim.window_ms);
    let same = |e: &&mut Entry| (e.tenant, e.began_ms, e.window_ms) == (tenant, began_ms, window_ms);
    if let Some(entry) = entries.iter_mut().find(same) {
        entry.spent_uusd = entry.spent_uusd.saturating_add(claim.fresh_uusd);
    } else if entries.len() < MOST {
        entries.push(Entry { tenant, began_ms, window_ms, spent_uusd: claim.fresh_uusd });
    } else {
        return false;
    }
    true
}

/// Entries of windows that are not over. Bytes that are no ledger hold none.
fn parse(bytes: &[u8], now_ms: u64) -> Vec<Entry> {
    let entry = |bytes: &[u8]| {
        Some(Entry {
            tenant: word(bytes, 0)?,
            began_ms: word(bytes, 8)?,
            window_ms: word(bytes, 16)?,
            spent_uusd: word(bytes, 24)?.cast_signed(),
        })
    };
    let known = bytes.chunks_exact(BYTES).take(MOST).filter_map(entry);
    known.filter(|entry| entry.is_now(now_ms) && entry.spent_uusd >= 0).collect()
}

fn write(entries: &[Entry]) -> Vec<u8> {
    let words = |e: &Entry| [e.tenant, e.began_ms, e.window_ms, e.spent_uusd.cast_unsigned()];
    entries.iter().flat_map(words).flat_map(u64::to_le_bytes).collect()
}
