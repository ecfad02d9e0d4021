//! A candidate policy that was called back: one value of shared data, so that all workers go back together and stay
//! there, also over a reload of the same candidate.

use super::{TRIES, collect, read, word};
use crate::filter::{Host, HostError};

/// Where it is kept.
pub const RECALL: &str = "berth/1/recall";
const MAGIC: [u8; 4] = *b"BRRC";
/// The longest reason that is kept.
const MOST_WORDS: usize = 256;

/// Which candidate was called back, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    /// The first 64 bits of its digest.
    pub digest: u64,
    /// When.
    pub at_ms: u64,
    /// What it did worse, as `class=… measure=… current=…`.
    pub why: String,
}

impl Recall {
    fn to_bytes(&self) -> Vec<u8> {
        let head = MAGIC.into_iter().chain(self.digest.to_le_bytes()).chain(self.at_ms.to_le_bytes());
        let head: [u8; 20] = collect(head);
        head.into_iter().chain(self.why.bytes().take(MOST_WORDS)).collect()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let why = rest.get(16..)?;
        let why = String::from_utf8_lossy(why.get(..why.len().min(MOST_WORDS))?).into_owned();
        Some(Self { digest: word(rest, 0)?, at_ms: word(rest, 8)?, why })
    }

    /// Tells everybody.
    ///
    /// # Errors
    /// When the host failed, or others wrote in between again and again.
    pub fn tell<H: Host>(&self, host: &H) -> Result<(), HostError> {
        for _ in 0..TRIES {
            let (_, token) = read(host, RECALL)?;
            match host.shared_set(RECALL, &self.to_bytes(), Some(token)) {
                Err(HostError::CasMismatch) => {}
                other => return other,
            }
        }
        Err(HostError::CasMismatch)
    }
}

/// The candidate that was called back last, if any was and the host says so.
pub fn recalled<H: Host>(host: &H) -> Option<Recall> {
    read(host, RECALL).ok().and_then(|(bytes, _)| Recall::parse(&bytes?))
}
