//! Who may hand in reports and throw the switch on the telemetry listener, and who may look. Plain values; `config`
//! reads them. A writer who is not written down may nothing.

use core::fmt;

/// The SHA-256 of a bearer token: the token itself is not kept.
pub type TokenDigest = [u8; 32];
/// The longest credential: what is presented beyond it is not looked at.
pub const MOST_TOKEN: usize = 512;

/// What the telemetry role does as the filter of its own listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskConfig {
    /// Who may look at the page and the snapshot.
    pub readers: Readers,
    /// Who may hand in reports and throw the switch.
    pub writers: Vec<Writer>,
    /// The longest body that is read.
    pub most_body: usize,
    /// How many writes a worker takes in a second.
    pub most_per_s: u32,
    /// How many snapshots are kept, for replaying; 0 for none.
    pub keep_snapshots: u32,
}

/// Who may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    Nobody,
    /// Who may write anything.
    #[default]
    Writers,
    /// Whoever reaches the listener.
    Anyone,
}

/// Somebody who may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// What logs call him.
    pub name: String,
    /// How he is known.
    pub credential: Credential,
    /// For which substrates he may speak.
    pub reports: Reports,
    /// Whether he may throw the rollout switch.
    pub rollout: bool,
}

/// How a writer is known.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// By a bearer token.
    Token(TokenDigest),
    /// By the URI in the certificate that his side of the connection showed.
    San(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(…)"),
            Self::San(san) => write!(f, "San({san})"),
        }
    }
}

/// For which substrates somebody may speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reports {
    /// For all of the policy.
    All,
    /// For these, by position, sorted.
    Only(Vec<usize>),
}

impl Reports {
    /// Whether this substrate is among them.
    #[must_use]
    pub fn hold(&self, substrate: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(positions) => positions.binary_search(&substrate).is_ok(),
        }
    }
}
