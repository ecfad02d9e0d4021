//! What the telemetry role is told: whom to watch, whom to ask, how often. Plain values; `config` reads them.

pub mod desk;
pub mod mapping;

use crate::health::presets::preset;
use crate::health::prometheus::Mapping;
use crate::health::query::Labels;
use crate::model::Watch;
use desk::DeskConfig;

/// What the telemetry role is told.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// Whom to watch, and from where on something is wrong.
    pub watch: Watch,
    /// Whom to ask.
    pub sources: Vec<SourceConfig>,
    /// How often the role wakes up.
    pub tick_ms: u32,
    /// The longest time between two snapshots. A dead leader is followed within two of these.
    pub period_ms: u32,
    /// What is answered on a listener of its own; `None` lets every request pass.
    pub desk: Option<DeskConfig>,
}

impl TelemetryConfig {
    /// The shortest period: below it, a busy worker would look like a dead one.
    pub const LEAST_PERIOD_MS: u32 = 1_000;

    /// A role that wakes up every `tick_ms`, with a period to match.
    #[must_use]
    pub fn new(watch: Watch, tick_ms: u32, sources: Vec<SourceConfig>) -> Self {
        let tick_ms = tick_ms.max(1);
        let period_ms = tick_ms.saturating_mul(2).max(Self::LEAST_PERIOD_MS);
        Self { watch, sources, tick_ms, period_ms, desk: None }
    }
}

/// One address to ask for health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The Envoy cluster that leads there.
    pub cluster: String,
    /// The path, with its query.
    pub path: String,
    /// The host name to ask for; by default the cluster's name.
    pub authority: Option<String>,
    /// What the answer is written in.
    pub format: Format,
    /// The substrate that it is about; `None` where the answer says itself.
    pub substrate: Option<String>,
    /// From one question to the next.
    pub interval_ms: u32,
    /// How long an answer may take.
    pub timeout_ms: u32,
    /// By how much the interval varies, so that a fleet does not ask in step.
    pub jitter_ppm: u32,
}

impl SourceConfig {
    /// A source of Berth's own documents, asked every second.
    #[must_use]
    pub fn new(cluster: &str, path: &str) -> Self {
        Self {
            cluster: String::from(cluster),
            path: String::from(path),
            authority: None,
            format: Format::Berth,
            substrate: None,
            interval_ms: 1_000,
            timeout_ms: 500,
            jitter_ppm: 100_000,
        }
    }
}

/// What an answer is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Berth's own health document.
    Berth,
    /// The Prometheus text format.
    Prometheus(Vec<Mapping>),
    /// The answer of a Prometheus-compatible query API.
    Query(Labels),
    /// What the proxy's own admin interface says of its clusters; of these nothing, as their hosts are other clusters'.
    Clusters(Vec<String>),
}

impl Format {
    /// The names of all formats.
    #[must_use]
    pub const fn names() -> [&'static str; 10] {
        ["berth", "clusters", "query", "vllm", "sglang", "tgi", "triton", "dcgm", "node", "prometheus"]
    }

    /// The format of that name: `berth`, `clusters`, `query`, a preset of the Prometheus text format, or `prometheus` without any.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "berth" => Some(Self::Berth),
            "clusters" => Some(Self::Clusters(Vec::new())),
            "query" => Some(Self::Query(Labels::default())),
            "prometheus" => Some(Self::Prometheus(Vec::new())),
            other => preset(other).map(Self::Prometheus),
        }
    }
}
