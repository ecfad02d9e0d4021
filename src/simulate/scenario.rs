//! A scenario: who asks for what, over which substrates, through how many proxies, and what goes wrong when.

pub use super::event::{Event, Target, What};
use crate::model::{Document, Features, Name};

/// A whole experiment, as its file says it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, for tables and addresses.
    pub name: Name,
    /// What it shows, in one sentence.
    pub title: String,
    /// The policy's file, beside the scenario's.
    pub policy: String,
    /// The seed of every chance.
    pub seed: u64,
    /// How long requests arrive.
    pub duration_ms: u64,
    /// What arrives earlier than this is not measured.
    pub warmup_ms: u64,
    /// The proxies and how fresh their picture is.
    pub fleet: Fleet,
    /// What arrives.
    pub load: Load,
    /// How callers behave when they are refused.
    pub clients: Clients,
    /// How substrates differ from what their policy declares.
    pub physics: Vec<(Name, Physics)>,
    /// What goes wrong, and when.
    pub events: Vec<Event>,
    /// Which routers are compared, by their names; all of them where it is empty.
    pub routers: Vec<String>,
    /// The same again with other fleets: every snapshot period with every number of proxies.
    pub sweep: Option<Sweep>,
    /// Also measure floor latency, sustainable throughput and recovery capacity.
    pub capacity: bool,
    /// For how long one proxy must publish a drift until the alert fires.
    pub alarm_ms: u64,
}

/// The proxies.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many.
    pub proxies: u32,
    /// Workers of each, every one with its own count of what it placed.
    pub workers: u32,
    /// How often a proxy's telemetry folds and publishes.
    pub period_ms: u64,
    /// How old what it hears of substrates is when it hears it.
    pub delay_ms: u64,
    /// All proxies hear at the same moment, as from one shared source.
    pub together: bool,
}

/// What arrives.
#[derive(Clone, Debug)]
pub struct Load {
    /// Requests per second, in thousandths.
    pub rate_mrps: u64,
    /// How arrivals are spread over time.
    pub shape: Shape,
    /// A trace instead of a generator.
    pub trace: Option<Trace>,
    /// Kinds of requests.
    pub mix: Vec<Mix>,
}

/// How arrivals are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Independent of one another.
    Poisson,
    /// Three times the rate for a quarter of each cycle, a third of it for the rest.
    Bursty,
    /// A wave between a fifth and nine fifths of the rate.
    Diurnal,
}

impl Shape {
    /// All shapes.
    pub const ALL: [Self; 3] = [Self::Poisson, Self::Bursty, Self::Diurnal];

    /// The word used in scenarios.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Bursty => "bursty",
            Self::Diurnal => "diurnal",
        }
    }
}

/// A trace of arrivals and sizes.
#[derive(Clone, Debug)]
pub struct Trace {
    /// A CSV file with a time stamp, input tokens and output tokens.
    pub file: String,
    /// How many times faster than it was recorded.
    pub speed_ppm: u64,
}

/// One kind of request.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Its weight among all.
    pub weight: u32,
    /// Who pays.
    pub tenant: Option<String>,
    /// The data class.
    pub data: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Where callers are.
    pub region: Option<String>,
    /// Their zone.
    pub zone: Option<String>,
    /// Where data must stay.
    pub residency: Option<String>,
    /// The workload, as the header `x-workload` says it.
    pub workload: Option<String>,
    /// Whether a stream is asked for.
    pub streaming: bool,
    /// Features asked for.
    pub features: Features,
    /// Input tokens.
    pub input: Tokens,
    /// Output tokens.
    pub output: Tokens,
}

/// A number of tokens: log-normal, cut off.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// Half are below.
    pub median: u32,
    /// The standard deviation, in doublings.
    pub spread_ppm: u32,
    /// None is above.
    pub most: u32,
}

/// How callers behave.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// How often a caller tries again.
    pub retries: u32,
    /// How long it waits before that; doubled each time.
    pub backoff_ms: u64,
    /// It waits as long as it is told.
    pub patient: bool,
}

/// How a substrate differs from what its policy declares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Physics {
    /// Requests worked on at once.
    pub slots: Option<u32>,
    /// Requests that wait at most.
    pub queue: Option<u32>,
    /// Tokens that its memory holds.
    pub memory_tokens: Option<u64>,
    /// How much slower a full batch is than a single request.
    pub batch_ppm: Option<u64>,
    /// Requests per second, in thousandths, before it answers 429.
    pub rate_mrps: Option<u64>,
    /// How much service times vary.
    pub jitter_ppm: Option<u64>,
    /// Times are this share of what is declared.
    pub slowness_ppm: Option<u64>,
    /// It works on, even when nobody waits for the answer any more.
    pub finishes: bool,
}

/// Other fleets.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Snapshot periods.
    pub periods_ms: Vec<u64>,
    /// Numbers of proxies.
    pub proxies: Vec<u32>,
}

impl Scenario {
    /// When the last fault ends; `None` where nothing goes wrong, or for ever.
    #[must_use]
    pub fn over_ms(&self) -> Option<u64> {
        let faults = self.events.iter().map(|e| e.until_ms);
        faults.max().filter(|end| *end < self.duration_ms)
    }

    /// What events name and the policy does not know.
    #[must_use]
    pub fn strangers(&self, document: &Document) -> Vec<&Name> {
        let known = |name: &Name| document.substrates.iter().any(|s| Target(name.clone()).is(s));
        self.events.iter().flat_map(|e| &e.to).map(|t| &t.0).filter(|name| !known(name)).collect()
    }

    /// Ends earlier.
    pub fn shorten(&mut self, to_s: Option<u64>) {
        let to_ms = to_s.map_or(self.duration_ms, |s| s.saturating_mul(1_000)).max(1_000);
        self.duration_ms = self.duration_ms.min(to_ms);
        self.warmup_ms = self.warmup_ms.min(self.duration_ms / 2);
        let end = self.duration_ms;
        self.events.retain(|e| e.from_ms < end);
    }

    /// When the first fault begins.
    #[must_use]
    pub fn begins_ms(&self) -> Option<u64> {
        self.events.iter().map(|e| e.from_ms).min()
    }
}
