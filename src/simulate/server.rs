//! What a substrate does with work, by its kind: the physics that routers do not see.
//!
//! | kind | what governs |
//! | --- | --- |
//! | gpu, sovereign | continuous batching: a fuller batch makes every token slower; memory holds so many tokens, and near its end preemption makes work be done again |
//! | silicon | fixed timing: as many as there are slots, each exactly as fast as declared, and a short queue |
//! | giant-context | one request takes its context's share of the room; what does not fit waits |
//! | provider | a rate limit (token bucket) that answers 429 with `retry-after`; times vary; no queue |
//! | edge | few slots, and an uplink that can drop; power headroom shrinks with load |
//! | cpu | many slow slots, a long queue |
//!
//! A request's service time is fixed when it begins, by how full the batch is then; a fault that slows its substrate, or the
//! end of one, changes what is left of it.

use super::build::Build;
use super::random::mix;
use crate::model::{Country, Kind, Signal, Substrate};
use std::collections::VecDeque;

const WHOLE: u64 = 1_000_000;
/// Near the end of memory requests are preempted and begun again.
const PREEMPTS_PPM: u64 = 900_000;

/// Work that is asked of a substrate.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Which attempt.
    pub attempt: usize,
    /// Input tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
    /// Whatever differs from attempt to attempt.
    pub seed: u64,
}

impl Work {
    fn tokens(&self) -> u64 {
        u64::from(self.input) + u64::from(self.output)
    }
}

/// What becomes of work that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// It waits, or is begun.
    Taken,
    /// Connection refused.
    Refused,
    /// Too much to do; perhaps for so long.
    Overloaded(Option<u32>),
    /// It fails after a moment.
    Fails,
}

/// When work that begins will be answered.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Its first byte.
    pub first_us: u64,
    /// Its end.
    pub end_us: u64,
}

/// One substrate, as it is.
#[derive(Clone, Debug)]
pub struct Server {
    build: Build,
    /// What is being worked on.
    pub running: u32,
    used_tokens: u64,
    /// What waits.
    pub waiting: VecDeque<Work>,
    /// Connections are refused.
    pub down: bool,
    /// The uplink is cut.
    pub cut: bool,
    /// Times are this share of what they were built for.
    pub slow_ppm: u64,
    /// Share of answers that are failures.
    pub errors_ppm: u64,
    /// Prices are this share of what is declared.
    pub price_ppm: u64,
    /// Where it really is.
    pub country: Country,
    /// The last proof of it.
    pub proved_ms: u64,
    /// Proofs are renewed.
    pub proves: bool,
    bucket: u64,
    filled_us: u64,
}

impl Server {
    /// Idle and well.
    #[must_use]
    pub const fn new(build: Build, country: Country, now_ms: u64) -> Self {
        Self {
            running: 0,
            used_tokens: 0,
            waiting: VecDeque::new(),
            down: false,
            cut: false,
            slow_ppm: WHOLE,
            errors_ppm: 0,
            price_ppm: WHOLE,
            country,
            proved_ms: now_ms,
            proves: true,
            // A second's worth of requests may come at once.
            bucket: build.rate_mrps * 1_000,
            filled_us: 0,
            build,
        }
    }

    /// Whether it works on when nobody waits any more.
    #[must_use]
    pub const fn finishes(&self) -> bool {
        self.build.finishes
    }

    /// Requests worked on at once.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.build.slots
    }

    /// In flight here.
    #[must_use]
    pub fn load(&self) -> u64 {
        u64::from(self.running) + self.waiting.len() as u64
    }

    /// Work arrives.
    pub fn receive(&mut self, work: Work, now_us: u64) -> Reception {
        if self.down || self.cut {
            return Reception::Refused;
        }
        if mix(work.seed ^ 0x0e44) % WHOLE < self.errors_ppm {
            return Reception::Fails;
        }
        if self.build.rate_mrps > 0 {
            self.fill(now_us);
            if self.bucket < WHOLE {
                let wait_us = (WHOLE - self.bucket) * 1_000 / self.build.rate_mrps.max(1);
                return Reception::Overloaded(u32::try_from(wait_us.div_ceil(1_000_000).max(1)).ok());
            }
            self.bucket -= WHOLE;
        }
        if self.waiting.len() as u64 >= u64::from(self.build.queue) && !self.fits(&work) {
            return Reception::Overloaded(Some(1));
        }
        self.waiting.push_back(work);
        Reception::Taken
    }

    fn fill(&mut self, now_us: u64) {
        let gained = (now_us - self.filled_us) * self.build.rate_mrps / 1_000;
        self.bucket = self.bucket.saturating_add(gained).min(self.build.rate_mrps.max(1_000) * 1_000);
        self.filled_us = now_us;
    }

    fn fits(&self, work: &Work) -> bool {
        let memory = self.build.memory_tokens;
        // What is larger than the whole runs alone.
        let room = memory == 0 || self.running == 0 || self.used_tokens + work.tokens() <= memory;
        self.running < self.build.slots && room
    }

    /// Begins what is next, if it fits.
    pub fn begin(&mut self, now_us: u64) -> Option<(Work, Course)> {
        let work = *self.waiting.front().filter(|work| self.fits(work))?;
        self.waiting.pop_front();
        self.running += 1;
        self.used_tokens += work.tokens();
        let busy_ppm = u64::from(self.running - 1) * WHOLE / u64::from(self.build.slots);
        let mut pace = WHOLE + busy_ppm * self.build.batch_ppm / WHOLE;
        if self.memory_ppm().is_some_and(|ppm| ppm > PREEMPTS_PPM) && self.build.kind != Kind::GiantContext {
            pace = pace * 3 / 2;
        }
        let spread = self.build.jitter_ppm;
        let luck = WHOLE - spread + (mix(work.seed) % WHOLE) * 2 * spread / WHOLE;
        let scale = |us: u64| {
            let scaled = u128::from(us) * u128::from(self.build.slowness_ppm) * u128::from(self.slow_ppm);
            let scaled = scaled / u128::from(WHOLE * WHOLE) * u128::from(pace) / u128::from(WHOLE);
            u64::try_from(scaled * u128::from(luck) / u128::from(WHOLE)).unwrap_or(u64::MAX / 4)
        };
        let first = now_us + scale(self.build.first_us + self.build.input_us * u64::from(work.input));
        Some((work, Course { first_us: first, end_us: first + scale(self.build.output_us * u64::from(work.output)) }))
    }

    /// How long an attempt that came now would take, as it is now: for the router that knows everything.
    #[must_use]
    pub fn outlook_us(&self, input: u32, output: u32, first_only: bool) -> u64 {
        let scale = |us: u64| us * self.build.slowness_ppm / WHOLE * self.slow_ppm / WHOLE;
        let busy = u64::from(self.running.min(self.build.slots)) * WHOLE / u64::from(self.build.slots);
        let pace = WHOLE + busy * self.build.batch_ppm / WHOLE;
        let first = scale(self.build.first_us + self.build.input_us * u64::from(input)) * pace / WHOLE;
        let whole = first + scale(self.build.output_us * u64::from(output)) * pace / WHOLE;
        let full = u64::from(self.running >= self.build.slots);
        let wait = whole * (self.waiting.len() as u64 + full) / u64::from(self.build.slots);
        wait + if first_only { first } else { whole }
    }

    /// Whether it would take work now.
    #[must_use]
    pub fn takes(&self, now_us: u64) -> bool {
        let gained = (now_us - self.filled_us) * self.build.rate_mrps / 1_000;
        let queued = self.running >= self.build.slots && self.waiting.len() as u64 >= u64::from(self.build.queue);
        !(self.down || self.cut || queued) && (self.build.rate_mrps == 0 || self.bucket + gained >= WHOLE)
    }

    /// Work has ended, one way or another.
    pub const fn end(&mut self, input: u32, output: u32) {
        self.running = self.running.saturating_sub(1);
        self.used_tokens = self.used_tokens.saturating_sub(input as u64 + output as u64);
    }

    fn memory_ppm(&self) -> Option<u64> {
        let memory = self.build.memory_tokens;
        (memory > 0).then(|| (self.used_tokens * WHOLE / memory).min(WHOLE))
    }

    /// What its answers carry: how many requests it would still take.
    pub fn remaining(&mut self, now_us: u64) -> Option<i64> {
        self.fill(now_us);
        (self.build.rate_mrps > 0).then(|| i64::try_from(self.bucket / WHOLE).unwrap_or(i64::MAX))
    }

    /// What it says of itself.
    pub fn signals(&self, declared: &Substrate, into: &mut Vec<(Signal, i64)>) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        into.clear();
        // A provider says nothing but what its answers carry.
        if self.build.kind != Kind::Provider {
            into.push((Signal::Running, i64::from(self.running)));
            into.push((Signal::QueueDepth, whole(self.waiting.len() as u64)));
        }
        if let Some(ppm) = self.memory_ppm() {
            match self.build.kind {
                Kind::GiantContext => {
                    into.push((Signal::ContextRoom, whole(self.build.memory_tokens.saturating_sub(self.used_tokens))));
                }
                _ => into.push((Signal::MemoryPressure, whole(ppm))),
            }
        }
        if self.build.kind == Kind::Edge {
            into.push((Signal::Link, if self.cut { 0 } else { 1_000_000 }));
            let used = u64::from(self.running) * 700_000 / u64::from(self.build.slots);
            into.push((Signal::PowerHeadroom, 1_000_000 - whole(used)));
        }
        if self.price_ppm != WHOLE {
            let now = |pusd: i64| pusd.saturating_mul(whole(self.price_ppm)) / 1_000_000;
            into.push((Signal::InputPrice, now(declared.cost.input_pusd_per_token)));
            into.push((Signal::OutputPrice, now(declared.cost.output_pusd_per_token)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Build, Reception, Server, Work};
    use crate::model::{Signal, Substrate};
    use crate::simulate::scenario::Physics;

    fn declared(name: &str) -> Substrate {
        let text = include_str!("../../examples/simulate/world.yaml");
        let substrates = crate::policy::read_yaml(text).unwrap().document.substrates;
        substrates.into_iter().find(|s| s.name.as_str() == name).unwrap()
    }

    fn server(name: &str, physics: Physics) -> Server {
        let declared = declared(name);
        Server::new(Build::of(&declared, &physics), declared.location.jurisdiction, 0)
    }

    const fn work(seed: u64, input: u32) -> Work {
        Work { attempt: 0, input, output: 100, seed }
    }

    /// How long each of so many takes that begin one after another at once.
    fn times(server: &mut Server, n: u64) -> Vec<u64> {
        let begin = |seed: u64| {
            assert_eq!(server.receive(work(seed, 100), 0), Reception::Taken);
            server.begin(0).map(|(_, course)| course.end_us)
        };
        (0..n).filter_map(begin).collect()
    }

    #[test]
    fn a_fuller_batch_is_slower_and_memory_near_its_end_slower_still() {
        let calm = Physics { slots: Some(64), jitter_ppm: Some(0), ..Physics::default() };
        let batch = times(&mut server("gpu-de", calm), 64);
        assert!(batch.is_sorted() && batch[63] > batch[0] * 3 / 2, "{} {}", batch[0], batch[63]);
        let tight = times(&mut server("gpu-de", Physics { memory_tokens: Some(200 * 20), ..calm }), 64);
        assert_eq!(tight.len(), 20, "what does not fit waits");
        assert!(tight[19] > batch[19] * 14 / 10, "preempted: {} {}", tight[19], batch[19]);
    }

    #[test]
    fn silicon_takes_as_long_as_declared_whatever_else_it_does_and_has_a_short_queue() {
        let mut silicon = server("silicon-us", Physics { slots: Some(24), ..Physics::default() });
        let seen = times(&mut silicon, 24);
        let declared = 90_000 + 8 * 100 + 3_000 * 100;
        assert!(seen.iter().all(|us| *us == declared), "{seen:?}");
        let taken = (0..24).filter(|n| silicon.receive(work(*n, 100), 0) == Reception::Taken).count();
        assert_eq!(taken, 8, "a quarter of its slots and two wait");
        assert_eq!(silicon.receive(work(9, 100), 0), Reception::Overloaded(Some(1)));
    }

    #[test]
    fn a_long_context_takes_its_share_of_the_room() {
        let mut long = server("longctx-us", Physics { slots: Some(16), ..Physics::default() });
        assert_eq!(long.receive(work(1, 2_900_000), 0), Reception::Taken);
        assert!(long.begin(0).is_some());
        assert_eq!(long.receive(work(2, 400_000), 0), Reception::Taken);
        assert!(long.begin(0).is_none(), "there is a slot, and no room");
        let mut said = Vec::new();
        long.signals(&declared("longctx-us"), &mut said);
        assert!(said.contains(&(Signal::ContextRoom, 3_200_000 - 2_900_100)), "{said:?}");
        long.end(2_900_000, 100);
        assert!(long.begin(0).is_some());
    }

    #[test]
    fn a_provider_takes_its_rate_and_says_when_to_come_back() {
        let mut provider = server("provider-us", Physics { rate_mrps: Some(8_000), ..Physics::default() });
        let taken = (0..20).filter(|n| provider.receive(work(*n, 10), 0) == Reception::Taken).count();
        assert_eq!(taken, 8);
        assert_eq!(provider.receive(work(1, 10), 0), Reception::Overloaded(Some(1)));
        assert_eq!(provider.remaining(500_000), Some(4), "half a second later half a second's worth");
        let mut said = Vec::new();
        provider.signals(&declared("provider-us"), &mut said);
        assert_eq!(said, [], "nothing but what its answers carry");
    }

    #[test]
    fn an_edge_node_loses_its_uplink_and_its_power() {
        let mut edge = server("edge-nl", Physics { slots: Some(8), ..Physics::default() });
        let signal = |edge: &Server, signal| {
            let mut said = Vec::new();
            edge.signals(&declared("edge-nl"), &mut said);
            said.into_iter().find(|(s, _)| *s == signal).map(|(_, value)| value)
        };
        let idle = signal(&edge, Signal::PowerHeadroom);
        assert_eq!(times(&mut edge, 8).len(), 8);
        assert!(signal(&edge, Signal::PowerHeadroom) < idle);
        assert_eq!(signal(&edge, Signal::Link), Some(1_000_000));
        edge.cut = true;
        assert_eq!((signal(&edge, Signal::Link), edge.receive(work(1, 10), 0)), (Some(0), Reception::Refused));
    }
}
