//! Which configuration is the newest. After a listener is replaced, the old root context ticks on with the old
//! configuration for the whole drain; it must not pull, fold or publish any more.
//!
//! A configuration stands for itself from its first tick, not from when it was read: the proxy also reads it in a
//! canary that never ticks, and may refuse it afterwards for another reason.

use super::{GENERATION, TRIES, collect, read, word};
use crate::filter::{Host, HostError};

/// Where a configuration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the newest.
    Current,
    /// A newer one is at work: be silent, for good.
    Replaced,
    /// The host would not say: nothing is written until it does.
    Unknown,
}

/// One root context's place in the order of configurations.
#[derive(Debug)]
pub struct Generation {
    stamp: Stamp,
    joined: bool,
    replaced: bool,
}

/// The value of the key: when the configuration was read first, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    since_ns: u64,
    fingerprint: u64,
}

impl Stamp {
    fn to_bytes(self) -> [u8; 16] {
        collect(self.since_ns.to_le_bytes().into_iter().chain(self.fingerprint.to_le_bytes()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == 16).then(|| Some(Self { since_ns: word(bytes, 0)?, fingerprint: word(bytes, 8)? })).flatten()
    }
}

impl Generation {
    /// A configuration that has just been read.
    pub fn new<H: Host>(host: &H, fingerprint: u64) -> Self {
        let last = read(host, GENERATION).ok().and_then(|(bytes, _)| Stamp::parse(&bytes?));
        // Later than what is there, even if the clock has jumped back in between.
        let since_ns = host.now_ns().max(last.map_or(1, |stamp| stamp.since_ns.saturating_add(1)));
        Self { stamp: Stamp { since_ns, fingerprint }, joined: false, replaced: false }
    }

    /// Where this configuration stands now.
    pub fn check<H: Host>(&mut self, host: &H) -> Standing {
        if self.replaced {
            return Standing::Replaced;
        }
        for _ in 0..TRIES {
            let Ok((bytes, token)) = read(host, GENERATION) else { return Standing::Unknown };
            let current = bytes.as_deref().and_then(Stamp::parse);
            match current {
                Some(current) if current == self.stamp => return self.join(),
                // The same configuration in another VM was quicker.
                Some(current) if current.fingerprint == self.stamp.fingerprint && !self.joined => {
                    self.stamp = current;
                    return self.join();
                }
                Some(current) if current.since_ns > self.stamp.since_ns => {
                    self.replaced = true;
                    return Standing::Replaced;
                }
                _ => {}
            }
            match host.shared_set(GENERATION, &self.stamp.to_bytes(), Some(token)) {
                Ok(()) => return self.join(),
                Err(HostError::CasMismatch) => {}
                Err(_) => return Standing::Unknown,
            }
        }
        Standing::Unknown
    }

    const fn join(&mut self) -> Standing {
        self.joined = true;
        Standing::Current
    }
}

/// Which configuration this is: FNV-1a over its text.
#[must_use]
pub fn fingerprint(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
