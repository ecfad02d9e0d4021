//! Candidate policies that were called back: one value of shared data, so that all workers go back together and stay
//! there, also over a reload of the same candidate. A proxy may try several at a time, each at a listener.

use super::{TRIES, collect, read, word};
use crate::filter::{Host, HostError};

/// Where they are kept.
pub const RECALL: &str = "berth/1/recall";
const MAGIC: [u8; 4] = *b"BRRS";
/// The longest reason that is kept.
const MOST_WORDS: usize = 256;
/// The most candidates that are remembered; the one that was called back first gives way.
const MOST: usize = 16;
/// Digest, time, and how long the reason is.
const HEAD: usize = 8 + 8 + 2;

/// Which candidate was called back, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    /// The first 32 bits of its digest, as records show it.
    pub digest: u64,
    /// When.
    pub at_ms: u64,
    /// What it did worse, as `class=… measure=… current=…`.
    pub why: String,
}

impl Recall {
    fn write(&self, bytes: &mut Vec<u8>) {
        let end = (0..=self.why.len().min(MOST_WORDS)).rev().find(|&at| self.why.is_char_boundary(at)).unwrap_or(0);
        let why = self.why.as_bytes().get(..end).unwrap_or_default();
        let length = u16::try_from(why.len()).unwrap_or(0);
        let head = self.digest.to_le_bytes().into_iter().chain(self.at_ms.to_le_bytes()).chain(length.to_le_bytes());
        bytes.extend(collect::<HEAD>(head));
        bytes.extend(why);
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let length = u16::from_le_bytes(*head.last_chunk()?).into();
        let (why, rest) = rest.split_at_checked(length)?;
        let why = String::from_utf8_lossy(why.get(..length.min(MOST_WORDS))?).into_owned();
        Some((Self { digest: word(head, 0)?, at_ms: word(head, 8)?, why }, rest))
    }

    /// Tells everybody.
    ///
    /// # Errors
    /// When the host failed, or others wrote in between again and again.
    pub fn tell<H: Host>(&self, host: &H) -> Result<(), HostError> {
        for _ in 0..TRIES {
            let (bytes, token) = read(host, RECALL)?;
            let known = parse(&bytes.unwrap_or_default());
            let others: Vec<_> = known.iter().filter(|recall| recall.digest != self.digest).collect();
            let mut bytes = MAGIC.to_vec();
            let kept = others.iter().skip(others.len().saturating_sub(MOST - 1));
            kept.copied().chain([self]).for_each(|recall| recall.write(&mut bytes));
            match host.shared_set(RECALL, &bytes, Some(token)) {
                Err(HostError::CasMismatch) => {}
                other => return other,
            }
        }
        Err(HostError::CasMismatch)
    }
}

/// What can be read of the bytes.
fn parse(bytes: &[u8]) -> Vec<Recall> {
    let mut rest = bytes.strip_prefix(&MAGIC).unwrap_or_default();
    let next = core::iter::from_fn(|| {
        let (recall, after) = Recall::read(rest)?;
        rest = after;
        Some(recall)
    });
    next.take(MOST).collect()
}

/// The candidates that were called back, the last one at the end, as far as the host says so.
pub fn recalls<H: Host>(host: &H) -> Vec<Recall> {
    read(host, RECALL).ok().and_then(|(bytes, _)| Some(parse(&bytes?))).unwrap_or_default()
}
