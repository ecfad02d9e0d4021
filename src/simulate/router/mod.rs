//! The routers that are compared. All meet the same arrivals and the same substrates, know which substrate serves which
//! model, and hear the same telemetry at the same age; what they make of it differs.

mod ideal;
mod ours;
mod rival;
mod scene;

pub use ideal::Ideal;
pub use ours::{Make, Ours, Part};
pub use rival::{Rival, Rule, Tuning, grid};

use super::arrivals::Arrival;
use super::law::Ruling;
use super::server::Server;
use crate::health::{Beginning, Ending};
use crate::model::{Attestation, Class, Facts, Signal, Substrate};

/// The names of all routers.
pub const NAMES: [&str; 16] = [
    "berth",
    "berth-no-spread",
    "berth-no-freshness",
    "berth-no-hysteresis",
    "berth-thrifty",
    "latency-only",
    "cost-only",
    "region-only",
    "sku-only",
    "account-only",
    "round-robin",
    "least-request",
    "two-choices",
    "locality-failover",
    "scorers",
    "ideal",
];

/// What a router is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The request.
    pub arrival: &'a Arrival,
    /// What is known of it.
    pub facts: &'a Facts<'a>,
    /// Its class.
    pub class: &'a Class,
    /// What the law says of each substrate.
    pub rulings: &'a [Ruling],
    /// The substrates as declared.
    pub substrates: &'a [Substrate],
    /// Now, since the beginning.
    pub now_us: u64,
    /// For how long the caller has waited since it first asked. No proxy can know that: it is for the ideal.
    pub waited_us: u64,
    /// Now, in Unix time.
    pub now_ms: u64,
    /// The decision's id.
    pub seed: u64,
    /// Where it has been tried already.
    pub tried: &'a [u16],
}

impl Ask<'_> {
    /// Whether a substrate can run it at all.
    #[must_use]
    pub fn able(&self, at: usize) -> bool {
        let tokens = u64::from(self.arrival.input) + u64::from(self.class.usual_output_tokens.max(1));
        let context = self.substrates.get(at).map_or(0, |s| u64::from(s.capabilities.context_tokens));
        self.rulings.get(at).is_some_and(|r| r.able) && tokens <= context
    }

    /// Whether what stands written permits a substrate: the static allow-list.
    #[must_use]
    pub fn allowed(&self, at: usize) -> bool {
        self.rulings.get(at).is_some_and(|r| r.permitted)
    }
}

/// One attempt to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// Where.
    pub substrate: u16,
    /// The most that it may take until its first byte.
    pub per_try_ms: u32,
}

/// What a router answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Go there; where the list is shorter than the attempts allowed, `again` is asked for the next.
    Go {
        /// The plan.
        stops: [Option<Stop>; 3],
        /// The plan is all there is: nobody is asked again.
        whole: bool,
    },
    /// Not now, or not at all.
    Refused {
        /// Why, in one word.
        why: &'static str,
        /// When trying again can help.
        wait_ms: Option<u64>,
    },
}

/// What a proxy hears of one substrate.
#[derive(Clone, Debug, Default)]
pub struct Word {
    /// Its signals.
    pub signals: Vec<(Signal, i64)>,
    /// The proof of where it is.
    pub proof: Option<Attestation>,
    /// It answered at all.
    pub heard: bool,
}

/// What a proxy heard at one moment.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// When it was so.
    pub at_ms: u64,
    /// By substrate.
    pub words: Vec<Word>,
}

/// A router, in all proxies.
pub trait Router {
    /// Where a request goes.
    fn ask(&mut self, ask: &Ask, servers: &[Server]) -> Answer;
    /// Where it goes after an attempt has failed; `None` is nowhere.
    fn again(&mut self, ask: &Ask, servers: &[Server]) -> Option<Stop>;
    /// An attempt has begun.
    fn began(&mut self, arrival: &Arrival, substrate: u16);
    /// The head of its answer is there: of a stream long before its end.
    fn answered(&mut self, arrival: &Arrival, substrate: usize, head: &Beginning<'_>, now_ms: u64);
    /// An attempt has ended.
    fn ended(&mut self, arrival: &Arrival, substrate: usize, ending: &Ending, now_ms: u64);
    /// When an alert first fired that a substrate drifts, by substrate.
    fn found(&self) -> Vec<(u64, u16)> {
        Vec::new()
    }
    /// A proxy takes over what it heard.
    fn hear(&mut self, proxy: usize, words: &Words, now_ms: u64);
}

/// The most that one try may take until its first byte, where nobody plans: what the class says.
#[must_use]
pub fn per_try_ms(class: &Class) -> u32 {
    class.attempts.per_try_ms.unwrap_or(class.deadline_ms)
}
