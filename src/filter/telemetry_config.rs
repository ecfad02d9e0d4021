//! What the telemetry role needs to know, in plain values.

/// One place that health is pulled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The Envoy cluster that is asked.
    pub cluster: String,
    /// The path that is asked for.
    pub path: String,
    /// The substrate that the answer speaks of, by its position in the policy.
    pub substrate: usize,
    /// How often.
    pub interval_ms: u32,
    /// How long an answer may take.
    pub timeout_ms: u32,
}

/// The role's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The substrates of the policy, in its order.
    pub substrates: Vec<String>,
    /// Where health is pulled from.
    pub sources: Vec<SourceConfig>,
    /// How often the role wakes.
    pub tick_ms: u32,
    /// Tells one configuration from another.
    pub generation: u64,
}
