//! One VM at a time folds and publishes: the one that holds the lease.
//!
//! The key is seeded unowned first, as a set on a missing key always wins; only then is it taken, by compare-and-swap.
//! A lease that ends further away than a lease lasts was written before the clock jumped back, and is void.

use super::{LEASE, TRIES, collect, read, word};
use crate::filter::{Host, HostError};

/// This VM's part in the lease.
#[derive(Debug)]
pub struct Lease {
    lasts_ms: u64,
    held: bool,
    unreadable: bool,
}

/// The value of the key: who, and until when. Nobody is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Term {
    holder: u64,
    until_ms: u64,
}

impl Term {
    fn to_bytes(self) -> [u8; 16] {
        collect(self.holder.to_le_bytes().into_iter().chain(self.until_ms.to_le_bytes()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == 16).then(|| Some(Self { holder: word(bytes, 0)?, until_ms: word(bytes, 8)? })).flatten()
    }

    const fn is_held(self, now_ms: u64, lasts_ms: u64) -> bool {
        self.holder != 0 && now_ms < self.until_ms && self.until_ms.saturating_sub(now_ms) <= lasts_ms
    }
}

impl Lease {
    /// A lease that lasts so long after each renewal.
    #[must_use]
    pub const fn new(lasts_ms: u64) -> Self {
        Self { lasts_ms, held: false, unreadable: false }
    }

    /// Whether it was held when last looked at.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held
    }

    /// Whether there was something since this was asked last that is no lease.
    pub const fn was_unreadable(&mut self) -> bool {
        core::mem::replace(&mut self.unreadable, false)
    }

    /// Takes or renews the lease for `me` (not 0) if nobody else has it; says whether `me` holds it now.
    pub fn acquire<H: Host>(&mut self, host: &H, me: u64, now_ms: u64) -> bool {
        self.held = self.try_acquire(host, me, now_ms, true);
        self.held
    }

    /// Renews the lease only if `me` still holds it: the fence before anything is published.
    pub fn renew<H: Host>(&mut self, host: &H, me: u64, now_ms: u64) -> bool {
        self.held = self.try_acquire(host, me, now_ms, false);
        self.held
    }

    fn try_acquire<H: Host>(&mut self, host: &H, me: u64, now_ms: u64, take: bool) -> bool {
        let mine = Term { holder: me, until_ms: now_ms.saturating_add(self.lasts_ms) };
        for _ in 0..TRIES {
            let (bytes, token) = match read(host, LEASE) {
                Ok((Some(bytes), token)) => (bytes, token),
                // Seeded unowned, whoever does it, and looked at again.
                Ok((None, seed)) => match host.shared_set(LEASE, &Term::default().to_bytes(), Some(seed)) {
                    Ok(()) | Err(HostError::CasMismatch) => continue,
                    Err(_) => return false,
                },
                Err(_) => return false,
            };
            // What is not a term was written by nobody.
            let term = Term::parse(&bytes);
            self.unreadable |= term.is_none();
            let term = term.unwrap_or_default();
            if term.holder != me && (!take || term.is_held(now_ms, self.lasts_ms)) {
                return false;
            }
            match host.shared_set(LEASE, &mine.to_bytes(), Some(token)) {
                Ok(()) => return true,
                Err(HostError::CasMismatch) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Gives the lease back, if `me` holds it, so that the next one need not wait for its end.
    pub fn release<H: Host>(&mut self, host: &H, me: u64) {
        if !core::mem::take(&mut self.held) {
            return;
        }
        if let Ok((Some(bytes), token)) = read(host, LEASE)
            && Term::parse(&bytes).is_some_and(|term| term.holder == me)
        {
            // Lost to somebody quicker: then it is not ours to give.
            let _ = host.shared_set(LEASE, &Term::default().to_bytes(), Some(token));
        }
    }
}
