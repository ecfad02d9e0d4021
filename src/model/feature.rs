//! What requests may need of a substrate besides a model and its context.

/// Something that a request may need and a substrate may offer. Modalities are features too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Feature {
    /// Answers as a stream of events.
    Streaming = 0,
    /// Tool calls.
    Tools = 1,
    /// Output that follows a JSON schema.
    JsonSchema = 2,
    /// Log probabilities.
    Logprobs = 3,
    /// Embeddings.
    Embeddings = 4,
    /// Images in.
    Vision = 5,
    /// Audio in or out.
    Audio = 6,
    /// Prefix caching.
    PrefixCache = 7,
    /// Adapters loaded on demand.
    Lora = 8,
    /// Batch jobs.
    Batch = 9,
    /// Reasoning traces.
    Reasoning = 10,
    /// A guarded output (safety profile).
    Guarded = 11,
}

impl Feature {
    /// All features, in the order of their discriminants.
    pub const ALL: [Self; 12] = [
        Self::Streaming,
        Self::Tools,
        Self::JsonSchema,
        Self::Logprobs,
        Self::Embeddings,
        Self::Vision,
        Self::Audio,
        Self::PrefixCache,
        Self::Lora,
        Self::Batch,
        Self::Reasoning,
        Self::Guarded,
    ];

    /// The word used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Tools => "tools",
            Self::JsonSchema => "json-schema",
            Self::Logprobs => "logprobs",
            Self::Embeddings => "embeddings",
            Self::Vision => "vision",
            Self::Audio => "audio",
            Self::PrefixCache => "prefix-cache",
            Self::Lora => "lora",
            Self::Batch => "batch",
            Self::Reasoning => "reasoning",
            Self::Guarded => "guarded",
        }
    }
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(pub u16);

impl Features {
    /// With one feature more.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | (1 << feature as u8))
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is asked for here and not offered by `other`.
    #[must_use]
    pub const fn missing_from(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `feature` is in the set.
    #[must_use]
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }

    /// The features in the set, in their order.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |&f| self.contains(f))
    }
}
