//! What stands beside a snapshot where it is shown: the operator's switch, and the candidate policy that went back by
//! itself. It is no part of the snapshot's bytes.

use serde::{Deserialize, Serialize};

/// The switch, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Where it stands: `current`, `passthrough` or `previous`; nothing if the host would not say.
    pub rollout: Option<String>,
    /// Which throw of the switch this is; 0 if it was never thrown.
    #[serde(default)]
    pub generation: u64,
    /// When it was thrown.
    #[serde(default)]
    pub at_ms: u64,
    /// The candidate that was called back last.
    #[serde(default)]
    pub recalled: Option<Recalled>,
}

/// A candidate that was called back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recalled {
    /// The first eight digits of its digest, as in its decisions.
    pub candidate: String,
    /// When.
    pub at_ms: u64,
    /// What it did worse.
    pub why: String,
}
