//! Who stands at the desk, and how often. Credentials are compared in constant time, all of them, so that the time an
//! answer takes tells nothing about them.

use crate::filter::telemetry_config::desk::{Credential, DeskConfig, MOST_TOKEN, Readers, TokenDigest, Writer};
use crate::filter::{Headers, Host};
use sha2::{Digest, Sha256};

/// Where the proxy shows the URI of the certificate that the peer presented.
const PEER: [&str; 2] = ["connection", "uri_san_peer_certificate"];

/// The writer that a request comes from.
pub(super) fn writer<'a, H: Host>(host: &H, config: &'a DeskConfig, headers: &Headers) -> Option<&'a Writer> {
    by_token(config, headers).or_else(|| by_certificate(host, config))
}

/// Whether a request may look.
pub(super) fn may_read<H: Host>(host: &H, config: &DeskConfig, headers: &Headers) -> bool {
    match config.readers {
        Readers::Nobody => false,
        Readers::Anyone => true,
        Readers::Writers => writer(host, config, headers).is_some(),
    }
}

fn by_token<'a>(config: &'a DeskConfig, headers: &Headers) -> Option<&'a Writer> {
    let presented = headers.get("authorization")?;
    let (scheme, token) = presented.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > MOST_TOKEN {
        return None;
    }
    let presented: TokenDigest = Sha256::digest(token.trim_matches(' ').as_bytes()).into();
    let mut found = None;
    for writer in &config.writers {
        if let Credential::Token(known) = &writer.credential
            && is_same(known, &presented)
        {
            found = Some(writer);
        }
    }
    found
}

/// Looks at every byte, wherever the first difference is.
fn is_same(one: &TokenDigest, other: &TokenDigest) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    core::hint::black_box(difference) == 0
}

fn by_certificate<'a, H: Host>(host: &H, config: &'a DeskConfig) -> Option<&'a Writer> {
    let mut known = config.writers.iter().filter(|w| matches!(w.credential, Credential::San(_))).peekable();
    known.peek()?;
    let presented = host.property(&PEER).ok().filter(|san| !san.is_empty() && san.len() <= MOST_TOKEN)?;
    known.find(|w| matches!(&w.credential, Credential::San(san) if san.as_bytes() == presented))
}

/// How many writes are still taken: so many a second, and as many at once.
#[derive(Debug)]
pub(super) struct Rate {
    most_per_s: u64,
    /// Thousandths of a write.
    left: u64,
    at_ms: u64,
}

impl Rate {
    pub(super) fn new(most_per_s: u32) -> Self {
        let most_per_s = u64::from(most_per_s);
        Self { most_per_s, left: most_per_s.saturating_mul(1_000), at_ms: 0 }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now_ms: u64) -> bool {
        // A clock that jumped back gives nothing, and counting begins again from there.
        let passed = now_ms.saturating_sub(core::mem::replace(&mut self.at_ms, now_ms));
        let most = self.most_per_s.saturating_mul(1_000);
        self.left = self.left.saturating_add(passed.saturating_mul(self.most_per_s)).min(most);
        match self.left.checked_sub(1_000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, is_same};

    #[test]
    fn as_many_as_a_second_allows_at_once_and_then_as_time_passes() {
        let mut rate = Rate::new(3);
        let taken = |rate: &mut Rate, now| (0..10).filter(|_| rate.take(now)).count();
        assert_eq!(taken(&mut rate, 5_000), 3);
        assert_eq!(taken(&mut rate, 5_333), 0, "a third of a second is not quite one of three");
        assert_eq!(taken(&mut rate, 5_334), 1);
        assert_eq!(taken(&mut rate, 1_000), 0, "a clock that jumped back gives nothing");
        assert_eq!(taken(&mut rate, 2_000), 3);
        assert_eq!(taken(&mut rate, 900_000), 3);
    }

    #[test]
    fn digests_are_the_same_only_if_every_byte_is() {
        let one = [7; 32];
        assert!(is_same(&one, &one));
        for at in 0..32 {
            let mut other = one;
            other[at] ^= 1;
            assert!(!is_same(&one, &other), "byte {at}");
        }
    }
}
