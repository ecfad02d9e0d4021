//! The operator's quick switch: one value of shared data, thrown on the telemetry listener, obeyed by every placement
//! filter of the proxy on its next tick. It outlives reloads of the configuration; after a restart the configuration
//! rules again.

use super::{TRIES, collect, read, word};
use crate::filter::{Host, HostError};

/// Where the switch is kept.
pub const ROLLOUT: &str = "berth/1/rollout";
const MAGIC: [u8; 4] = *b"BRLO";

/// What placement does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// What the configuration says.
    #[default]
    Current,
    /// Decides nothing.
    Passthrough,
    /// Decides by the policy before the current one.
    Previous,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Current, Self::Passthrough, Self::Previous];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Passthrough => "passthrough",
            Self::Previous => "previous",
        }
    }

    /// The switch of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|switch| switch.as_str() == word)
    }
}

/// The switch, and which throw of it this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Where it stands.
    pub switch: Switch,
    /// Counts up with every throw; 0 if it was never thrown.
    pub generation: u64,
    /// When it was thrown.
    pub at_ms: u64,
}

impl Rollout {
    fn to_bytes(self) -> [u8; 21] {
        let fields = MAGIC.into_iter().chain([self.switch as u8]);
        collect(fields.chain(self.generation.to_le_bytes()).chain(self.at_ms.to_le_bytes()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC).filter(|rest| rest.len() == 17)?;
        let number = *rest.first()?;
        let switch = Switch::ALL.into_iter().find(|switch| *switch as u8 == number)?;
        Some(Self { switch, generation: word(rest, 1)?, at_ms: word(rest, 9)? })
    }
}

/// Why the switch was not thrown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotThrown {
    /// It stands at another generation than was expected: somebody else threw it.
    Moved(Rollout),
    /// Others wrote in between, again and again.
    Busy,
    /// The host failed.
    Host(HostError),
}

/// Where the switch stands.
///
/// # Errors
/// When the host would not say. A value that is no switch counts as never thrown.
pub fn rollout<H: Host>(host: &H) -> Result<Rollout, HostError> {
    read(host, ROLLOUT).map(|(bytes, _)| bytes.as_deref().and_then(Rollout::parse).unwrap_or_default())
}

/// Throws the switch, if it stands at the expected generation (where one is).
///
/// # Errors
/// Why it was not thrown.
pub fn throw<H: Host>(
    host: &H,
    switch: Switch,
    expected: Option<u64>,
    now_ms: u64,
) -> Result<(Rollout, Rollout), NotThrown> {
    for _ in 0..TRIES {
        let (bytes, token) = read(host, ROLLOUT).map_err(NotThrown::Host)?;
        let before = bytes.as_deref().and_then(Rollout::parse).unwrap_or_default();
        if expected.is_some_and(|expected| expected != before.generation) {
            return Err(NotThrown::Moved(before));
        }
        let after = Rollout { switch, generation: before.generation.saturating_add(1), at_ms: now_ms };
        match host.shared_set(ROLLOUT, &after.to_bytes(), Some(token)) {
            Ok(()) => return Ok((before, after)),
            Err(HostError::CasMismatch) => {}
            Err(error) => return Err(NotThrown::Host(error)),
        }
    }
    Err(NotThrown::Busy)
}

/// What a placement filter knows of the switch: what it read last, for as long as the host does not say otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct RolloutReader {
    last: Rollout,
}

impl RolloutReader {
    /// Looks where the switch stands, once a tick; says whether it was thrown since the last look. A host that would
    /// not say leaves it where it was.
    pub fn poll<H: Host>(&mut self, host: &H) -> bool {
        let Ok(now) = rollout(host) else { return false };
        let before = core::mem::replace(&mut self.last, now);
        before != now
    }

    /// Where it stands.
    #[must_use]
    pub const fn rollout(&self) -> Rollout {
        self.last
    }
}
