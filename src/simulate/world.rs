//! The world of one run: substrates, proxies, requests in flight, and the queue of what happens next.

use super::arrivals::{Arrival, Arrivals, Line};
use super::build::Build;
use super::law::{Ruling, rule};
use super::measure::Measures;
use super::router::{Ask, Router, Stop, Words};
use super::scenario::{Mix, Scenario};
use super::server::{Course, Server, Work};
use crate::model::{Class, Document, Fact, Facts};
use crate::place::matches;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

/// When simulated time begins, in Unix time.
pub const START_MS: u64 = 1_800_000_000_000;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    /// A fault begins or ends, or goes on to its next step.
    Fault(usize, Turn),
    /// Substrates prove where they are.
    Prove,
    /// A proxy asks all substrates.
    Sample(usize),
    /// A proxy takes over what it heard.
    Take(usize),
    /// Loads are looked at.
    Meter,
    /// The head of a stream's answer is there.
    Head(usize, u32),
    /// Work ends: attempt and its life.
    End(usize, u32),
    /// An attempt reaches its substrate.
    Reach(usize, u32),
    /// An attempt has taken too long.
    Timeout(usize, u32),
    /// A request arrives.
    Arrive,
    /// A caller tries again.
    Retry(usize),
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    Begins,
    Step(u64),
    Ends,
}

/// A request on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    pub(super) arrival: Arrival,
    pub(super) class: usize,
    /// When the caller asked, this time.
    pub(super) asked_us: u64,
    /// When it asked the first time.
    pub(super) first_us: u64,
    pub(super) retries: u32,
    pub(super) stops: [Option<Stop>; 3],
    pub(super) whole: bool,
    pub(super) tried: [u16; 3],
    pub(super) attempts: usize,
    /// Some try failed by time, not by an answer.
    pub(super) late: bool,
}

/// An attempt on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempt {
    pub(super) life: u32,
    pub(super) request: usize,
    pub(super) arrival: Arrival,
    pub(super) substrate: usize,
    pub(super) began_us: u64,
    /// When it came to its substrate.
    pub(super) reached_us: u64,
    pub(super) course: Option<Course>,
    /// The proxy has seen its answer begin.
    pub(super) headed: bool,
    /// It is here at all.
    pub(super) alive: bool,
    /// Its substrate holds it, waiting or working.
    pub(super) held: bool,
    /// Nobody waits for it any more.
    pub(super) orphan: bool,
}

/// The world of one run.
pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) document: &'a Document,
    pub(super) servers: Vec<Server>,
    pub(super) router: Box<dyn Router>,
    pub(super) measures: Measures,
    pub(super) now_us: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    order: u64,
    pub(super) arrivals: Arrivals<'a>,
    pub(super) next: Option<Arrival>,
    pub(super) requests: Vec<Request>,
    pub(super) idle_requests: Vec<usize>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) idle_attempts: Vec<usize>,
    /// By kind of request and class, then by substrate.
    rulings: Vec<Vec<Vec<Ruling>>>,
    paths_us: Vec<Vec<u64>>,
    pub(super) pending: Vec<VecDeque<Rc<Words>>>,
    pub(super) sampled: Option<(u64, Rc<Words>)>,
    /// Faults that keep proxies from hearing, by substrate: nothing at all, or later by so much.
    pub(super) silent: Vec<bool>,
    pub(super) late_ms: u64,
    /// Sites that have gone elsewhere and prove it, before they take work there.
    pub(super) moving: Vec<bool>,
    pub(super) headers: Vec<Vec<(&'a str, Fact<&'a str>)>>,
}

/// What is known of a kind of request.
pub(super) fn facts<'a>(mix: &'a Mix, headers: &'a [(&'a str, Fact<&'a str>)], input: u32) -> Facts<'a> {
    let text = |field: &'a Option<String>| field.as_deref().map(Fact::trusted);
    Facts {
        tenant: text(&mix.tenant),
        data: text(&mix.data),
        model: text(&mix.model),
        region: text(&mix.region),
        zone: text(&mix.zone),
        residency: text(&mix.residency),
        input_tokens: Some(Fact::trusted(input)),
        streaming: Some(Fact::trusted(mix.streaming)),
        features: mix.features,
        headers,
        ..Facts::default()
    }
}

pub(super) fn headers(mix: &Mix) -> Vec<(&'static str, Fact<&str>)> {
    mix.workload.iter().map(|w| ("x-workload", Fact::trusted(w.as_str()))).collect()
}

/// The class of a request, by the policy's own predicates.
pub(super) fn class_of(document: &Document, facts: &Facts) -> usize {
    let found = document.classes.iter().position(|c| matches(&c.matches, facts, true));
    let default = || document.classes.iter().position(|c| c.name == document.default_class);
    found.or_else(default).unwrap_or(0)
}

impl<'a> World<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        document: &'a Document,
        router: Box<dyn Router>,
        trace: &'a [Line],
        scale_ppm: u64,
    ) -> Self {
        let physics = |name: &crate::model::Name| {
            scenario.physics.iter().find(|(n, _)| n == name).map(|(_, p)| *p).unwrap_or_default()
        };
        let server = |s: &crate::model::Substrate| {
            Server::new(Build::of(s, &physics(&s.name)), s.location.jurisdiction, START_MS)
        };
        let substrates = document.substrates.len();
        let headers: Vec<_> = scenario.load.mix.iter().map(headers).collect();
        let rulings = scenario.load.mix.iter().zip(&headers).map(|(mix, headers)| {
            let of = |class: &Class| {
                document.substrates.iter().map(|s| rule(document, class, &facts(mix, headers, 1), s)).collect()
            };
            document.classes.iter().map(of).collect()
        });
        let path = |mix: &Mix| {
            let to = |s: &crate::model::Substrate| {
                let links = &document.settings.links;
                let from = |l: &&crate::model::settings::Link| mix.zone.as_deref() == Some(l.from.as_str());
                let link = links.iter().find(|l| from(l) && l.to == s.location.zone);
                link.and_then(|l| u64::try_from(l.latency_us).ok()).unwrap_or(0)
            };
            document.substrates.iter().map(to).collect()
        };
        Self {
            servers: document.substrates.iter().map(server).collect(),
            measures: Measures::new(scenario.warmup_ms, document.classes.len(), substrates),
            now_us: 0,
            queue: BinaryHeap::new(),
            order: 0,
            arrivals: Arrivals::new(scenario, trace, scale_ppm),
            next: None,
            requests: Vec::new(),
            idle_requests: Vec::new(),
            attempts: Vec::new(),
            idle_attempts: Vec::new(),
            rulings: rulings.collect(),
            paths_us: scenario.load.mix.iter().map(path).collect(),
            pending: vec![VecDeque::new(); usize::try_from(scenario.fleet.proxies).unwrap_or(1)],
            sampled: None,
            silent: vec![false; substrates],
            late_ms: 0,
            moving: vec![false; substrates],
            headers,
            router,
            scenario,
            document,
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        START_MS + self.now_us / 1_000
    }

    pub(super) fn later(&mut self, at_us: u64, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse((at_us.max(self.now_us), self.order, what)));
    }

    pub(super) fn pop(&mut self) -> Option<Happening> {
        let Reverse((at_us, _, what)) = self.queue.pop()?;
        self.now_us = at_us;
        Some(what)
    }

    pub(super) fn rulings(&self, request: &Request) -> &[Ruling] {
        let of = self.rulings.get(request.arrival.mix).and_then(|by_class| by_class.get(request.class));
        of.map_or(&[], Vec::as_slice)
    }

    pub(super) fn path_us(&self, mix: usize, substrate: usize) -> u64 {
        self.paths_us.get(mix).and_then(|row| row.get(substrate)).copied().unwrap_or(0)
    }

    /// Whether a substrate is proved to be where its declaration says, at this moment.
    pub(super) fn proved(&self, ruling: Ruling, substrate: usize) -> bool {
        let (Some(most), Some(server)) = (ruling.proof_ms, self.servers.get(substrate)) else { return true };
        let declared = self.document.substrates.get(substrate).map(|s| s.location.jurisdiction);
        Some(server.country) == declared && self.now_ms().saturating_sub(server.proved_ms) <= most
    }

    /// Asks the router, the first time or again.
    pub(super) fn asked<T>(
        &mut self,
        request: &Request,
        then: impl FnOnce(&mut dyn Router, &Ask, &[Server]) -> T,
    ) -> Option<T> {
        let mix = self.scenario.load.mix.get(request.arrival.mix)?;
        let headers = self.headers.get(request.arrival.mix)?;
        let class = self.document.classes.get(request.class)?;
        let rulings = self.rulings.get(request.arrival.mix)?.get(request.class)?;
        let facts = facts(mix, headers, request.arrival.input);
        let ask = Ask {
            arrival: &request.arrival,
            facts: &facts,
            class,
            rulings,
            substrates: &self.document.substrates,
            now_us: self.now_us,
            waited_us: self.now_us.saturating_sub(request.first_us),
            now_ms: START_MS + self.now_us / 1_000,
            seed: super::random::mix(request.arrival.id ^ (u64::from(request.retries) << 48) ^ self.scenario.seed),
            tried: request.tried.get(..request.attempts).unwrap_or_default(),
        };
        Some(then(self.router.as_mut(), &ask, &self.servers))
    }

    pub(super) const fn work(attempt: usize, it: &Attempt) -> Work {
        let seed = super::random::mix(it.arrival.id ^ ((it.substrate as u64) << 40) ^ it.began_us);
        Work { attempt, input: it.arrival.input, output: it.arrival.output, seed }
    }
}
