//! The state of one substrate between folds: what the snapshot shows is written from it.

use super::admission::Gate;
use super::breaker::{Breaker, Evidence, Prober};
use super::drift::{Drift, FAST_MS, Swing, Trend};
use super::ewma::Average;
use super::heard::{Drop, is_stale, scale};
use super::quantile::{BUCKETS, Buckets, quantile};
use super::rates::{Window, share};
use super::slot::{Answers, Row, Sum};
use crate::model::settings::Ages;
use crate::model::{Circuit, Health, Reading, Signal, WHOLE_PPM, Watch, Watched};

/// Quantiles are over one to two of these.
const TAIL_MS: u64 = 30_000;
const TAIL_PPM: u64 = 950_000;
/// How long a substrate rests that turns work away without saying for how long, once most of its answers are such.
const COOL_MS: u64 = 15_000;
const MOSTLY_PPM: u32 = 500_000;

/// What came since the last fold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fresh {
    pub(super) answers: Answers,
    placed: u64,
    first: Sum,
    total: Sum,
    per_token: Sum,
    spread: Sum,
    in_flight: u64,
    live: bool,
}

/// The state of one substrate.
#[derive(Debug)]
pub(super) struct State {
    pub(super) health: Health,
    pub(super) breaker: Breaker,
    pub(super) window: Window,
    pub(super) fresh: Fresh,
    gate: Gate,
    first: Trend,
    drift: Drift,
    total: Trend,
    per_token: Trend,
    spread: Average,
    swing: Swing,
    buckets: Buckets,
    older: Buckets,
    turned_ms: u64,
    /// When answers were counted last, and when what is in flight was.
    answered_ms: Option<u64>,
    levelled_ms: Option<u64>,
    pub(super) placed: u64,
}

impl State {
    pub(super) fn new(health: Health) -> Self {
        let drifted = health.reading(Signal::FirstToken).zip(health.reading(Signal::Drift));
        let trend = |signal| health.reading(signal).map_or_else(Trend::default, |r| Trend::resumed(r.value, r.at_ms));
        Self {
            breaker: Breaker::resumed(health.circuit),
            gate: Gate::resumed(health.admission, health.reading(Signal::QueueDepth).map_or(0, |r| r.at_ms)),
            first: trend(Signal::FirstToken),
            drift: drifted.map_or_else(Drift::default, |(r, d)| Drift::resumed(r.value, d.value, r.at_ms)),
            total: trend(Signal::Total),
            per_token: trend(Signal::PerToken),
            spread: health
                .reading(Signal::Jitter)
                .map_or_else(Average::default, |r| Average::resumed(r.value, r.at_ms)),
            health,
            window: Window::default(),
            fresh: Fresh::default(),
            swing: Swing::default(),
            buckets: [0; BUCKETS],
            older: [0; BUCKETS],
            turned_ms: 0,
            answered_ms: None,
            levelled_ms: None,
            placed: 0,
        }
    }

    /// Takes what a VM has counted since the last time.
    pub(super) fn absorb(&mut self, now: &Row, before: &Row) {
        let fresh = &mut self.fresh;
        fresh.answers.add(&now.answers.since(&before.answers));
        fresh.placed = fresh.placed.saturating_add(now.placed.saturating_sub(before.placed));
        fresh.first.merge(&now.first.since(&before.first));
        fresh.total.merge(&now.total.since(&before.total));
        fresh.per_token.merge(&now.per_token.since(&before.per_token));
        fresh.spread.merge(&now.spread.since(&before.spread));
        for (at, n) in &now.buckets {
            let known = before.buckets.iter().find(|(b, _)| b == at).map_or(0, |(_, n)| *n);
            if let Some(bucket) = self.buckets.get_mut(usize::from(*at)) {
                *bucket = bucket.saturating_add(n.saturating_sub(known));
            }
        }
    }

    /// Adds to what is in flight now. A VM that only places sees no attempt end: what it does not say is not nothing.
    pub(super) fn level(&mut self, row: &Row) {
        if row.in_flight == 0 && row.answers == Answers::default() {
            return;
        }
        self.fresh.in_flight = self.fresh.in_flight.saturating_add(u64::from(row.in_flight));
        self.fresh.live = true;
    }

    /// Whether the proxies have measured a signal themselves, not long ago.
    pub(super) fn measures(&self, signal: Signal, now_ms: u64, ages: &Ages) -> bool {
        let measured_ms = match signal {
            Signal::FirstToken | Signal::SpeedFactor | Signal::Drift | Signal::FirstTokenTail => self.first.at_ms(),
            Signal::Total | Signal::Jitter => self.total.at_ms(),
            Signal::PerToken => self.per_token.at_ms(),
            Signal::FailureRate | Signal::OverloadRate => self.answered_ms,
            Signal::InFlight => self.levelled_ms,
            _ => None,
        };
        measured_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < ages.soft_ms)
    }

    /// Takes a value from outside, if it is newer than what is known. What the proxies measure themselves is not
    /// overruled by what a substrate says, as long as it is fresh.
    pub(super) fn hear(&mut self, signal: Signal, reading: Reading, now_ms: u64, ages: &Ages) -> Result<(), Drop> {
        if self.measures(signal, now_ms, ages) {
            return Err(Drop::Measured);
        }
        let (least, most) = signal.bounds();
        if !(least..=most).contains(&reading.value) {
            return Err(Drop::OutOfRange);
        }
        if self.health.reading(signal).is_some_and(|known| is_stale(known.at_ms, reading.at_ms, now_ms)) {
            return Err(Drop::Stale);
        }
        if signal == Signal::QueueDepth {
            self.swing.add(reading.value, now_ms);
            self.put(Signal::Oscillation, self.swing.ppm(), now_ms);
        }
        let empty = |r: Option<Reading>| r.is_some_and(|r| r.value == 0);
        if signal == Signal::Hosts && empty(self.health.reading(signal)) && reading.value > 0 {
            self.health.since_ms = Some(now_ms);
        }
        self.health.set(signal, reading);
        Ok(())
    }

    /// Takes how long a substrate asked to be left alone.
    pub(super) fn rest(&mut self, until_ms: u64, now_ms: u64) {
        if until_ms > now_ms && self.health.retry_at_ms.is_none_or(|at| at < until_ms) {
            self.health.retry_at_ms = Some(until_ms.min(now_ms.saturating_add(60_000)));
        }
    }

    /// What the circuit is judged by.
    pub(super) fn evidence(&mut self, now_ms: u64, window_ms: u32, seed: u64, prober: Prober) -> Evidence {
        self.window.add(&self.fresh.answers, now_ms, window_ms);
        Evidence { now_ms, fresh: self.fresh.answers, window: self.window.sum(now_ms, window_ms), seed, prober }
    }

    /// Brings the record up to date.
    pub(super) fn settle(&mut self, seen: &Evidence, watched: &Watched, watch: &Watch) {
        let now_ms = seen.now_ms;
        self.measure(now_ms, watched, watch.ages.soft_ms);
        if self.fresh.answers != Answers::default() {
            self.answered_ms = Some(now_ms);
            let failing = seen.window.failure_ppm_of(watch.breaking.least);
            self.put(Signal::FailureRate, failing.map(i64::from), now_ms);
            self.put(Signal::OverloadRate, seen.window.overload_ppm().map(i64::from), now_ms);
            let mostly = seen.window.overload_ppm().is_some_and(|ppm| ppm >= MOSTLY_PPM);
            if mostly && self.fresh.answers.overloaded > 0 && self.health.retry_at_ms.is_none() {
                self.health.retry_at_ms = Some(now_ms.saturating_add(COOL_MS));
            }
        }
        if self.fresh.live {
            self.levelled_ms = Some(now_ms);
            self.put(Signal::InFlight, i64::try_from(self.fresh.in_flight).ok(), now_ms);
        }
        self.health.retry_at_ms = self.health.retry_at_ms.filter(|at| now_ms < *at && *at - now_ms <= 60_000);
        self.health.circuit = self.breaker.circuit();
        if self.health.circuit != Circuit::Closed {
            // The circuit speaks of failures now, and a rate beside it would keep its probes out.
            self.health.forget(Signal::FailureRate);
        }
        self.gate.judge(&self.health, &watched.thresholds, &watch.breaking, seen.seed, now_ms, watch.ages.hard_ms);
        self.health.admission = self.gate.admission();
        self.placed = self.placed.saturating_add(self.fresh.placed);
        self.fresh = Fresh::default();
    }

    fn measure(&mut self, now_ms: u64, watched: &Watched, soft_ms: u64) {
        if let Some(mean) = self.fresh.first.mean() {
            self.first.add(mean, now_ms);
            self.put(Signal::FirstToken, self.first.now(), now_ms);
            // What stood in a queue says nothing of how fast it is served.
            let queue = self.health.reading(Signal::QueueDepth);
            if queue.is_none_or(|r| r.value == 0 || now_ms.saturating_sub(r.at_ms) > soft_ms) {
                self.drift.add(mean, now_ms);
                self.put(Signal::Drift, self.drift.ppm(), now_ms);
            }
            let declared = watched.first_token_us;
            let factor = self.first.usual().filter(|_| declared > 0).map(|us| scale(us, WHOLE_PPM, declared));
            self.put(Signal::SpeedFactor, factor, now_ms);
            self.turn_tail(now_ms);
            let tail = quantile(&self.buckets, &self.older, TAIL_PPM).and_then(|us| i64::try_from(us).ok());
            self.put(Signal::FirstTokenTail, tail, now_ms);
        }
        if let Some(mean) = self.fresh.total.mean() {
            self.total.add(mean, now_ms);
            self.put(Signal::Total, self.total.now(), now_ms);
        }
        if let Some(mean) = self.fresh.spread.mean() {
            self.spread.add(mean, now_ms, FAST_MS);
            self.put(Signal::Jitter, self.spread.value(), now_ms);
        }
        if let Some(mean) = self.fresh.per_token.mean() {
            self.per_token.add(mean, now_ms);
            self.put(Signal::PerToken, self.per_token.now(), now_ms);
        }
    }

    fn turn_tail(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.turned_ms) >= TAIL_MS {
            self.older = core::mem::replace(&mut self.buckets, [0; BUCKETS]);
            self.turned_ms = now_ms;
        }
    }

    fn put(&mut self, signal: Signal, value: Option<i64>, now_ms: u64) {
        if let Some(value) = value {
            let (least, most) = signal.bounds();
            self.health.set(signal, Reading { value: value.clamp(least, most), at_ms: now_ms });
        }
    }

    /// This substrate's share of all that was placed since the last time.
    pub(super) fn count_share(&mut self, all: u64) {
        self.health.share_ppm = share(core::mem::take(&mut self.placed), all).unwrap_or(0);
    }
}
