//! Berth itself: `place()` and `health/` as the filter runs them. Each proxy has its own fold, snapshot and placer; each of its
//! workers its own slot, its own observations and its own count of what it placed since the snapshot.

use super::{Answer, Ask, Router, Stop, Words};
use crate::health::heard::{Dropped, Heard};
use crate::health::slot::SlotRecord;
use crate::health::{Beginning, Ending, Fold, Observer};
use crate::model::{Document, Local, Outcome, Reading, Signal, Snapshot, Watch};
use crate::place::{Placer, Underway};
use crate::policy::Policy;
use crate::simulate::arrivals::Arrival;
use crate::simulate::scenario::Fleet;
use crate::simulate::server::Server;
use std::rc::Rc;

/// A part that can be switched off, to see what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything is on.
    Nothing,
    /// No equals: always the best.
    Spread,
    /// What is old counts as new.
    Freshness,
    /// No dwell, no ramp, no bound on how fast shares shift.
    Hysteresis,
    /// Time is worth nothing: what a policy says that wants the cheapest that comes before the deadline.
    Time,
}

/// Switches a part off, by the policy's own settings.
fn without(document: &mut Document, part: Part) {
    let settings = &mut document.settings;
    match part {
        Part::Nothing => {}
        Part::Spread => (settings.selection.margin_ppm, settings.selection.margin_per_second_ppm) = (0, 0),
        Part::Freshness => {
            (settings.ages.soft_ms, settings.ages.hard_ms) = (86_400_000, 86_400_000);
            settings.selection.margin_per_second_ppm = 0;
        }
        Part::Hysteresis => {
            let breaking = &mut settings.breaking;
            (breaking.bad_samples, breaking.good_samples) = (1, 1);
            (breaking.dwell_ms, breaking.hold_down_ms) = (1, 1);
            breaking.exit_ppm = breaking.enter_ppm;
            (settings.selection.max_shift_ppm, settings.selection.ramp_ms) = (1_000_000, 0);
        }
        Part::Time => document.classes.iter_mut().for_each(|class| class.worth.second_uusd = 0),
    }
}

#[derive(Debug)]
struct Proxy {
    placer: Placer<Rc<Policy>>,
    fold: Fold,
    epoch: u64,
    workers: Vec<Worker>,
    /// By substrate, since when it has drifted in every snapshot.
    drifts: Vec<Option<u64>>,
}

#[derive(Debug)]
struct Worker {
    local: Local,
    underway: Underway,
    /// The same of each tenant's share, which no snapshot counts.
    shares: Underway,
    /// The time of its last tick: what it takes for now.
    ticked_ms: u64,
    observer: Observer,
    record: SlotRecord,
}

/// How often a worker lets time pass, as the filter ships.
const TICK_MS: u64 = 100;

impl Worker {
    fn tick(&mut self, now_ms: u64) {
        let tick = now_ms - now_ms % TICK_MS;
        let passed_us = i64::try_from(tick.saturating_sub(self.ticked_ms) * 1_000).unwrap_or(i64::MAX);
        if passed_us > 0 {
            self.underway.elapse(passed_us, &mut self.local.placed);
            self.shares.elapse(passed_us, &mut self.local.tenant_placed);
            self.ticked_ms = tick;
        }
    }
}

/// Berth in all proxies.
#[derive(Debug)]
pub struct Ours {
    proxies: Vec<Proxy>,
    /// By substrate, when an alert first fired.
    found: Vec<Option<u64>>,
    alarm_ms: u64,
}

/// What a fleet of proxies is made of.
#[derive(Debug)]
pub struct Make {
    /// The policy.
    pub document: Document,
    /// Its digest.
    pub digest: [u8; 32],
    /// What is switched off.
    pub part: Part,
    /// How many proxies and workers.
    pub fleet: Fleet,
    /// How long an alert waits.
    pub alarm_ms: u64,
}

impl Ours {
    /// A fleet of proxies.
    #[must_use]
    pub fn new(make: Make, now_ms: u64) -> Self {
        let Make { mut document, digest, part, fleet: Fleet { proxies, workers, .. }, alarm_ms } = make;
        without(&mut document, part);
        let watch = Watch::of(&document);
        let policy = Rc::new(Policy::new(document, digest));
        let substrates = policy.document().substrates.len();
        let worker = |slot: u32, proxy: u32| Worker {
            local: Local {
                slot: u8::try_from(slot).unwrap_or(u8::MAX),
                placed: vec![0; substrates],
                ..Local::default()
            },
            underway: Underway::default(),
            shares: Underway::default(),
            ticked_ms: now_ms,
            observer: Observer::new(policy.document().substrates.iter().map(|s| s.name.as_str())),
            record: SlotRecord {
                incarnation: now_ms.saturating_mul(1_000_000) + u64::from(proxy) * 64 + u64::from(slot) + 1,
                expires_ms: u64::MAX,
                places: true,
                rows: Vec::new(),
            },
        };
        let proxy = |at: u32| Proxy {
            placer: Placer::new(policy.clone()),
            fold: Fold::new(watch.clone(), None, u64::from(at), now_ms),
            epoch: 0,
            drifts: vec![None; substrates],
            workers: (0..workers).map(|slot| worker(slot, at)).collect(),
        };
        Self { proxies: (0..proxies).map(proxy).collect(), found: vec![None; substrates], alarm_ms }
    }

    fn worker(&mut self, arrival: &Arrival) -> Option<&mut Worker> {
        self.proxies.get_mut(arrival.proxy)?.workers.get_mut(arrival.worker)
    }
}

/// From so much slower than usual on, a substrate drifts: the threshold of the alert that ships.
const DRIFTS_PPM: i64 = 500_000;

impl Proxy {
    /// What the alert that ships looks at: one proxy alone, without a break for so long.
    fn watch(&mut self, snapshot: &Snapshot, now_ms: u64) {
        for (since, health) in self.drifts.iter_mut().zip(&snapshot.substrates) {
            let drifts = health.reading(Signal::Drift).is_some_and(|r| r.value > DRIFTS_PPM);
            *since = drifts.then(|| since.unwrap_or(now_ms));
        }
    }
}

impl Router for Ours {
    fn ask(&mut self, ask: &Ask, _: &[Server]) -> Answer {
        let refused = Answer::Refused { why: "nobody", wait_ms: None };
        let Some(proxy) = self.proxies.get_mut(ask.arrival.proxy) else { return refused };
        let Some(worker) = proxy.workers.get_mut(ask.arrival.worker) else { return refused };
        worker.tick(ask.now_ms);
        let decision = proxy.placer.place(&worker.local, ask.facts, worker.ticked_ms, ask.seed);
        if let Outcome::Refused { reason, retry_after_s, .. } = decision.outcome {
            return Answer::Refused { why: reason.code.as_str(), wait_ms: retry_after_s.map(|s| u64::from(s) * 1_000) };
        }
        if let Some(first) = decision.plan.first() {
            worker.observer.placed(usize::from(first.substrate));
            worker.underway.begin(usize::from(first.substrate), decision.expected_us, &mut worker.local.placed);
            let policy = proxy.placer.policy();
            let counted = ask.facts.tenant.and_then(|tenant| policy.counted_of(tenant, first.substrate));
            if let Some(at) = counted {
                worker.shares.begin(at, decision.expected_us, &mut worker.local.tenant_placed);
            }
        }
        let mut stops = [None; 3];
        for (stop, attempt) in stops.iter_mut().zip(decision.plan.iter()) {
            // As the filter sends it: one bound for every try.
            let per_try_ms = if decision.pace.per_try_ms == 0 { u32::MAX } else { decision.pace.per_try_ms };
            *stop = Some(Stop { substrate: attempt.substrate, per_try_ms });
        }
        Answer::Go { stops, whole: true }
    }

    fn again(&mut self, _: &Ask, _: &[Server]) -> Option<Stop> {
        None
    }

    fn began(&mut self, arrival: &Arrival, substrate: u16) {
        if let Some(worker) = self.worker(arrival) {
            worker.observer.began(usize::from(substrate));
        }
    }

    fn answered(&mut self, arrival: &Arrival, substrate: usize, head: &Beginning<'_>, now_ms: u64) {
        if let Some(worker) = self.worker(arrival) {
            worker.observer.answered(substrate, head, now_ms);
        }
    }

    fn ended(&mut self, arrival: &Arrival, substrate: usize, ending: &Ending, _: u64) {
        if let Some(worker) = self.worker(arrival) {
            worker.observer.ended(substrate, ending);
        }
    }

    fn found(&self) -> Vec<(u64, u16)> {
        let found = self.found.iter().zip(0..).filter_map(|(at_ms, substrate)| Some(((*at_ms)?, substrate)));
        found.collect()
    }

    fn hear(&mut self, proxy: usize, words: &Words, now_ms: u64) {
        let alarm_ms = self.alarm_ms;
        let Some(proxy) = self.proxies.get_mut(proxy) else { return };
        for (at, word) in words.words.iter().enumerate().filter(|(_, word)| word.heard) {
            let reading = |&(signal, value): &(_, i64)| (signal, Reading { value, at_ms: words.at_ms });
            let heard = Heard { readings: word.signals.iter().map(reading).collect(), dropped: Dropped::default() };
            proxy.fold.hear(at, &heard, now_ms);
            if let Some(proof) = word.proof {
                proxy.fold.attest(at, proof, now_ms);
            }
        }
        for (slot, worker) in (0..=u8::MAX).zip(&mut proxy.workers) {
            worker.observer.write(&mut worker.record);
            proxy.fold.absorb(slot, worker.record.clone(), now_ms);
        }
        proxy.fold.fold(now_ms);
        proxy.epoch += 1;
        let mut snapshot = proxy.fold.snapshot(1, now_ms);
        snapshot.epoch = proxy.epoch;
        proxy.watch(&snapshot, now_ms);
        for (found, since) in self.found.iter_mut().zip(&proxy.drifts) {
            let lasts = since.is_some_and(|since| now_ms.saturating_sub(since) >= alarm_ms);
            *found = found.or(lasts.then_some(now_ms));
        }
        proxy.placer.refresh(Some(&snapshot), now_ms);
        for worker in &mut proxy.workers {
            worker.tick(now_ms);
            worker.underway.clear(&mut worker.local.placed);
            worker.local.probes.clear();
        }
    }
}
