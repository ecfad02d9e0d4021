//! The stages of the pipeline, for whoever times them. The core has no clock: it says when a stage has ended.

/// A stage of the pipeline, as it is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Which class, and what it asks for.
    Classify = 0,
    /// Who can run it and who may: worked out once for a kind of request and a picture, found again after that.
    Gate = 1,
    /// What each candidate is worth to this request, whether there is room, and the choice.
    Score = 2,
    /// The attempts after the first.
    Attempt = 3,
    /// What bound, who came next, what was crossed.
    Account = 4,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Classify, Self::Gate, Self::Score, Self::Attempt, Self::Account];

    /// The word used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Gate => "gate",
            Self::Score => "score",
            Self::Attempt => "attempt",
            Self::Account => "account",
        }
    }
}
