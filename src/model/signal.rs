//! The signals of a substrate's health: what applications cannot see, and what answers show.

/// What a signal's number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// A share of the whole; may exceed it only where noted.
    Ppm,
    /// Microseconds.
    Micros,
    /// Pico-dollars per token.
    PicoUsd,
}

/// One signal. Missing is not zero: a health record keeps only what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Signal {
    /// Requests waiting.
    QueueDepth = 0,
    /// Accelerator memory (key-value cache) in use.
    MemoryPressure = 1,
    /// Interconnect saturation.
    Interconnect = 2,
    /// Rack congestion.
    RackCongestion = 3,
    /// East-west load.
    EastWest = 4,
    /// Power headroom left.
    PowerHeadroom = 5,
    /// Cooling headroom left.
    CoolingHeadroom = 6,
    /// Failover in progress: the share of the region's work that has moved here.
    Failover = 7,
    /// Prepaid capacity in use.
    ReservedUse = 8,
    /// Burst capacity in use.
    BurstUse = 9,
    /// Requests left before the provider's limit.
    RateRemaining = 10,
    /// Tokens left before the provider's limit.
    TokensRemaining = 11,
    /// Context room: the largest request, in tokens, that fits now.
    ContextRoom = 12,
    /// Uplink quality of an edge node: 0 is down, the whole is good.
    Link = 13,
    /// Requests being worked on, as the substrate says.
    Running = 14,
    /// Requests in flight, as the proxies together see it.
    InFlight = 15,
    /// Time to the first byte, smoothed.
    FirstToken = 16,
    /// Time per output token, smoothed.
    PerToken = 17,
    /// Whole time of an answer, smoothed.
    Total = 18,
    /// Spread of the whole time, smoothed.
    Jitter = 19,
    /// Failures among recent answers.
    FailureRate = 20,
    /// Overload answers among recent answers.
    OverloadRate = 21,
    /// Observed against declared speed: the whole is as declared, more is slower.
    SpeedFactor = 22,
    /// The first token lately against the past hour's: how far it has drifted, signed.
    Drift = 23,
    /// Queue oscillation.
    Oscillation = 24,
    /// Price per input token now.
    InputPrice = 25,
    /// Price per output token now.
    OutputPrice = 26,
    /// Hosts of the proxy's cluster that can be used; 0 means nobody is there.
    Hosts = 27,
    /// Time to the first byte that all but one in twenty stay below.
    FirstTokenTail = 28,
    /// Processors in use. May exceed the whole: a server may hold itself against what it asked for.
    CpuUse = 29,
    /// Accelerators in use: of the time lately, the part in which they worked.
    AcceleratorUse = 30,
}

/// How many signals there are.
pub const SIGNALS: usize = 31;

impl Signal {
    /// All signals, in the order of their discriminants.
    pub const ALL: [Self; SIGNALS] = [
        Self::QueueDepth,
        Self::MemoryPressure,
        Self::Interconnect,
        Self::RackCongestion,
        Self::EastWest,
        Self::PowerHeadroom,
        Self::CoolingHeadroom,
        Self::Failover,
        Self::ReservedUse,
        Self::BurstUse,
        Self::RateRemaining,
        Self::TokensRemaining,
        Self::ContextRoom,
        Self::Link,
        Self::Running,
        Self::InFlight,
        Self::FirstToken,
        Self::PerToken,
        Self::Total,
        Self::Jitter,
        Self::FailureRate,
        Self::OverloadRate,
        Self::SpeedFactor,
        Self::Drift,
        Self::Oscillation,
        Self::InputPrice,
        Self::OutputPrice,
        Self::Hosts,
        Self::FirstTokenTail,
        Self::CpuUse,
        Self::AcceleratorUse,
    ];

    /// The word used in reports, mappings and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueDepth => "queue_depth",
            Self::MemoryPressure => "memory_pressure",
            Self::Interconnect => "interconnect",
            Self::RackCongestion => "rack_congestion",
            Self::EastWest => "east_west",
            Self::PowerHeadroom => "power_headroom",
            Self::CoolingHeadroom => "cooling_headroom",
            Self::Failover => "failover",
            Self::ReservedUse => "reserved_use",
            Self::BurstUse => "burst_use",
            Self::RateRemaining => "rate_remaining",
            Self::TokensRemaining => "tokens_remaining",
            Self::ContextRoom => "context_room",
            Self::Link => "link",
            Self::Running => "running",
            Self::InFlight => "in_flight",
            Self::FirstToken => "first_token",
            Self::PerToken => "per_token",
            Self::Total => "total",
            Self::Jitter => "jitter",
            Self::FailureRate => "failure_rate",
            Self::OverloadRate => "overload_rate",
            Self::SpeedFactor => "speed_factor",
            Self::Drift => "drift",
            Self::Oscillation => "oscillation",
            Self::InputPrice => "input_price",
            Self::OutputPrice => "output_price",
            Self::Hosts => "hosts",
            Self::FirstTokenTail => "first_token_tail",
            Self::CpuUse => "cpu_use",
            Self::AcceleratorUse => "accelerator_use",
        }
    }

    /// The signal of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// What its number counts.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::QueueDepth
            | Self::RateRemaining
            | Self::TokensRemaining
            | Self::ContextRoom
            | Self::Running
            | Self::InFlight
            | Self::Hosts => Unit::Count,
            Self::FirstToken | Self::PerToken | Self::Total | Self::Jitter | Self::FirstTokenTail => Unit::Micros,
            Self::InputPrice | Self::OutputPrice => Unit::PicoUsd,
            Self::MemoryPressure
            | Self::Interconnect
            | Self::RackCongestion
            | Self::EastWest
            | Self::PowerHeadroom
            | Self::CoolingHeadroom
            | Self::Failover
            | Self::ReservedUse
            | Self::BurstUse
            | Self::Link
            | Self::FailureRate
            | Self::OverloadRate
            | Self::SpeedFactor
            | Self::Drift
            | Self::Oscillation
            | Self::CpuUse
            | Self::AcceleratorUse => Unit::Ppm,
        }
    }

    /// The least and the most that is believed; anything else is dropped and counted.
    #[must_use]
    pub const fn bounds(self) -> (i64, i64) {
        match self {
            Self::SpeedFactor => (1_000, 1_000_000_000),
            Self::Drift => (-1_000_000_000, 1_000_000_000),
            Self::Hosts => (0, 1_000_000),
            Self::CpuUse => (0, 100_000_000),
            _ => match self.unit() {
                Unit::Count => (0, 1_000_000_000_000),
                Unit::Ppm => (0, 1_000_000),
                Unit::Micros => (0, 86_400_000_000),
                Unit::PicoUsd => (0, 100_000_000_000),
            },
        }
    }

    /// Whether the proxies measure it by sending work, or count their own hosts: nobody has said it.
    #[must_use]
    pub const fn is_measured(self) -> bool {
        matches!(
            self,
            Self::InFlight
                | Self::FirstToken
                | Self::FirstTokenTail
                | Self::PerToken
                | Self::Total
                | Self::Jitter
                | Self::FailureRate
                | Self::OverloadRate
                | Self::SpeedFactor
                | Self::Drift
                | Self::Hosts
        )
    }

    /// Whether a larger value is the better one.
    #[must_use]
    pub const fn more_is_better(self) -> bool {
        matches!(
            self,
            Self::PowerHeadroom
                | Self::CoolingHeadroom
                | Self::RateRemaining
                | Self::TokensRemaining
                | Self::ContextRoom
                | Self::Link
                | Self::Hosts
        )
    }
}
