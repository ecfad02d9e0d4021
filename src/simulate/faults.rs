//! The time line of a run: what goes wrong and is mended, how proxies hear of it, and when loads are looked at.

use super::router::{Word, Words};
use super::scenario::{Event, What};
use super::world::{Happening, Turn, World};
use crate::model::{Attestation, Kind};
use std::rc::Rc;

/// How often substrates prove where they are.
const PROVE_US: u64 = 1_000_000;
/// How often loads are looked at.
const METER_US: u64 = 100_000;
/// In how many steps a drift goes.
const STEPS: u64 = 50;
const WHOLE: u64 = 1_000_000;

impl World<'_> {
    /// Sets everything going.
    pub(super) fn start(&mut self) {
        self.next = self.arrivals.next();
        if let Some(next) = self.next {
            self.later(next.at_us, Happening::Arrive);
        }
        self.later(0, Happening::Prove);
        self.later(0, Happening::Meter);
        for (at, event) in self.scenario.events.iter().enumerate() {
            self.later(event.from_ms * 1_000, Happening::Fault(at, Turn::Begins));
        }
        let fleet = self.scenario.fleet;
        let proxies = usize::try_from(fleet.proxies).unwrap_or(0);
        for proxy in 0..proxies {
            // Nobody begins without a picture.
            let words = self.look();
            self.take_over(proxy, &words);
            let phase = super::random::mix(proxy as u64) % (fleet.period_ms * 1_000).max(1);
            let first = if fleet.together { fleet.period_ms * 1_000 } else { phase };
            self.later(first, Happening::Sample(proxy));
        }
    }

    fn ends_us(&self) -> u64 {
        self.scenario.duration_ms * 1_000
    }

    /// The world does not stop while somebody still waits, or will ask again.
    fn goes_on(&self) -> bool {
        self.now_us < self.ends_us() || self.requests.len() > self.idle_requests.len()
    }

    pub(super) fn prove(&mut self) {
        let now_ms = self.now_ms();
        self.servers.iter_mut().filter(|s| s.proves).for_each(|s| s.proved_ms = now_ms);
        if self.goes_on() {
            self.later(self.now_us + PROVE_US, Happening::Prove);
        }
    }

    pub(super) fn meter(&mut self) {
        let loads = self.servers.iter().map(|s| (s.load(), u64::from(s.slots())));
        self.measures.loads(self.now_us, loads);
        if self.now_us + METER_US < self.ends_us() {
            self.later(self.now_us + METER_US, Happening::Meter);
        }
    }

    /// A proxy asks all substrates: one look serves all that ask in the same moment.
    pub(super) fn sample(&mut self, proxy: usize) {
        let words = self.look();
        self.pending.get_mut(proxy).into_iter().for_each(|p| p.push_back(words.clone()));
        let delay_us = (self.scenario.fleet.delay_ms + self.late_ms) * 1_000;
        if delay_us == 0 {
            self.take(proxy);
        } else {
            self.later(self.now_us + delay_us, Happening::Take(proxy));
        }
        if self.goes_on() {
            self.later(self.now_us + self.scenario.fleet.period_ms * 1_000, Happening::Sample(proxy));
        }
    }

    pub(super) fn take(&mut self, proxy: usize) {
        let words = self.pending.get_mut(proxy).and_then(std::collections::VecDeque::pop_front);
        if let Some(words) = words {
            self.take_over(proxy, &words);
        }
    }

    fn take_over(&mut self, proxy: usize, words: &Words) {
        self.router.hear(proxy, words, self.now_ms());
    }

    fn look(&mut self) -> Rc<Words> {
        if let Some((_, words)) = self.sampled.as_ref().filter(|(at, _)| *at == self.now_us && self.now_us > 0) {
            return words.clone();
        }
        let at_ms = self.now_ms();
        let rows = self.servers.iter().zip(&self.document.substrates).zip(self.silent.iter().zip(&self.moving));
        let word = |((server, declared), (silent, moving)): (
            (&super::server::Server, &crate::model::Substrate),
            (&bool, &bool),
        )| {
            let mut word = Word { heard: !silent && (*moving || !(server.down || server.cut)), ..Word::default() };
            if word.heard {
                server.signals(declared, &mut word.signals);
                // A provider proves nothing to anybody.
                let proves = declared.kind != Kind::Provider;
                word.proof = proves.then_some(Attestation { jurisdiction: server.country, at_ms: server.proved_ms });
            }
            word
        };
        let words = Rc::new(Words { at_ms, words: rows.map(word).collect() });
        self.sampled = Some((self.now_us, words.clone()));
        words
    }

    pub(super) fn fault(&mut self, at: usize, turn: Turn) {
        let Some(event) = self.scenario.events.get(at) else { return };
        match event.what {
            What::Delay => self.late_ms = if turn == Turn::Ends { 0 } else { event.by_ppm / 1_000 },
            What::Surge => {}
            _ => {
                for substrate in self.met(event) {
                    self.befall(substrate, event, turn);
                }
            }
        }
        self.schedule(at, event, turn);
    }

    fn schedule(&mut self, at: usize, event: &Event, turn: Turn) {
        let until = event.until_ms.min(self.scenario.duration_ms);
        let length_us = until.saturating_sub(event.from_ms) * 1_000;
        let parts = match event.what {
            What::Drift => STEPS,
            What::Failover => 10,
            _ => 0,
        };
        let step = match turn {
            Turn::Begins => 1,
            Turn::Step(n) => n + 1,
            Turn::Ends => return,
        };
        let last = if event.what == What::Failover { 1 } else { parts.saturating_sub(1) };
        if step <= last {
            self.later(event.from_ms * 1_000 + length_us * step / parts, Happening::Fault(at, Turn::Step(step)));
        } else if event.until_ms < self.scenario.duration_ms {
            self.later(event.until_ms * 1_000, Happening::Fault(at, Turn::Ends));
        }
    }

    /// The substrates that an event meets.
    fn met(&self, event: &Event) -> Vec<usize> {
        (0..).zip(&self.document.substrates).filter(|(_, s)| event.meets(s)).map(|(at, _)| at).collect()
    }

    fn befall(&mut self, substrate: usize, event: &Event, turn: Turn) {
        let on = turn != Turn::Ends;
        let home = self.document.substrates.get(substrate).map(|s| s.location.jurisdiction);
        let Some(server) = self.servers.get_mut(substrate) else { return };
        let factor = if on { event.by_ppm } else { WHOLE };
        let before_ppm = server.slow_ppm;
        let mut lost = false;
        match event.what {
            What::Down => (server.down, lost) = (on, on),
            What::Cut => (server.cut, lost) = (on, on),
            What::Slow => server.slow_ppm = factor,
            What::Drift => {
                let done = if let Turn::Step(n) = turn { n } else { 0 };
                server.slow_ppm = if on { WHOLE + event.by_ppm.saturating_sub(WHOLE) * done / STEPS } else { WHOLE };
            }
            What::Errors => server.errors_ppm = if on { event.by_ppm } else { 0 },
            What::Price => server.price_ppm = factor,
            What::Lapse => server.proves = !on,
            What::Silence => self.silent.get_mut(substrate).into_iter().for_each(|s| *s = on),
            What::Failover => {
                let begins = turn == Turn::Begins;
                (server.down, lost) = (begins, begins);
                server.country = event.country.filter(|_| on).or(home).unwrap_or(server.country);
                self.moving.get_mut(substrate).into_iter().for_each(|m| *m = begins);
            }
            What::Delay | What::Surge => {}
        }
        let after_ppm = server.slow_ppm;
        if lost {
            self.lose(substrate);
        }
        self.repace(substrate, before_ppm, after_ppm);
    }
}
