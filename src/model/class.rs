//! A workload class: the kind of work that the facts of a request make it.

use super::{Features, Name};

/// Who gives way first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// Gives way first.
    Batch = 0,
    /// In between.
    #[default]
    Standard = 1,
    /// Gives way last.
    Critical = 2,
}

impl Tier {
    /// All tiers, the first to give way first.
    pub const ALL: [Self; 3] = [Self::Batch, Self::Standard, Self::Critical];

    /// The word used in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Standard => "standard",
            Self::Critical => "critical",
        }
    }
}

/// A fact that a predicate can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FactName {
    /// Who pays.
    Tenant = 0,
    /// The class that the caller names.
    Class = 1,
    /// The model asked for.
    Model = 2,
    /// Input tokens.
    InputTokens = 3,
    /// The output token limit.
    OutputTokens = 4,
    /// The data class.
    Data = 5,
    /// Where the data must stay.
    Residency = 6,
    /// The session.
    Session = 7,
    /// The deadline in milliseconds.
    Deadline = 8,
    /// The caller's region.
    Region = 9,
    /// The caller's zone.
    Zone = 10,
    /// The approval.
    Approval = 11,
    /// Whether a stream is asked for.
    Streaming = 12,
    /// The request's method.
    Method = 13,
    /// The request's path, without its query.
    Path = 14,
}

impl FactName {
    /// All facts, in the order of their discriminants.
    pub const ALL: [Self; 15] = [
        Self::Tenant,
        Self::Class,
        Self::Model,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Data,
        Self::Residency,
        Self::Session,
        Self::Deadline,
        Self::Region,
        Self::Zone,
        Self::Approval,
        Self::Streaming,
        Self::Method,
        Self::Path,
    ];

    /// The word used in policies and configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Class => "class",
            Self::Model => "model",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Data => "data",
            Self::Residency => "residency",
            Self::Session => "session",
            Self::Deadline => "deadline_ms",
            Self::Region => "region",
            Self::Zone => "zone",
            Self::Approval => "approval",
            Self::Streaming => "streaming",
            Self::Method => "method",
            Self::Path => "path",
        }
    }
}

/// What is asked of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The value is exactly this.
    Is(String),
    /// The value is one of these.
    In(Vec<String>),
    /// The value begins with this.
    Prefix(String),
    /// The value is a number within these bounds, both included.
    Range {
        /// The least.
        min: Option<i64>,
        /// The most.
        max: Option<i64>,
    },
    /// The value is there, whatever it is.
    Present,
}

/// A condition over the facts of a request. An absent fact or header fails every test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// All of them hold; holds when empty.
    All(Vec<Predicate>),
    /// One of them holds; fails when empty.
    Any(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
    /// A fact passes a test.
    Fact(FactName, Test),
    /// A request header, by its lower-case name, passes a test.
    Header(String, Test),
}

/// How many attempts, and what may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts in all, 1 to 3.
    pub most: u8,
    /// The most that one attempt may take until its first byte.
    pub per_try_ms: Option<u32>,
    /// Work that was begun may be begun again elsewhere.
    pub repeatable: bool,
    /// May be hedged, where a lane exists.
    pub hedge: bool,
}

/// What answers, seconds and failures are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worth {
    /// An answer of perfect quality.
    pub answer_uusd: i64,
    /// One second of waiting.
    pub second_uusd: i64,
    /// A failure.
    pub failure_uusd: i64,
}

/// What a request of this class may not exceed or fall below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most that one request may cost.
    pub cost_uusd: Option<i64>,
    /// The least quality that is acceptable.
    pub min_quality_ppm: u32,
    /// The deepest queue that this class joins.
    pub max_queue: Option<u32>,
}

/// One kind of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name in policies, records and metrics.
    pub name: Name,
    /// Which requests are of this class.
    pub matches: Predicate,
    /// Who gives way first.
    pub tier: Tier,
    /// The substrates where this work belongs, best first.
    pub home: Vec<Name>,
    /// The whole time for the answer; for a stream, until its first byte.
    pub deadline_ms: u32,
    /// How many attempts.
    pub attempts: Attempts,
    /// What it is worth.
    pub worth: Worth,
    /// Its limits.
    pub limits: Limits,
    /// Features that every request of the class needs.
    pub needs: Features,
    /// Output tokens that are usual, where the request names no limit.
    pub usual_output_tokens: u32,
    /// A caller waits for the answer.
    pub synchronous: bool,
    /// A synchronous class that may all the same go to a throughput-only substrate.
    pub allow_throughput: bool,
    /// Never leaves air-gapped substrates.
    pub air_gapped: bool,
    /// Crossing one of these borders needs an approval.
    pub approval_for: super::Borders,
}
