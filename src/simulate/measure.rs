//! What is measured of one run: counts while it runs, figures when it is over. Requests count by when they arrived.

use super::arrivals::Arrival;
use super::figures::{ByClass, Figures};
use super::law::Ruling;
use super::ledger::{Answered, Ledger};
use super::scenario::Scenario;
use crate::model::{Border, Class};

const WHOLE: u64 = 1_000_000;
/// A share that turns back by at least this has swung.
const SWING_PPM: i64 = 100_000;

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Answered in time.
    Good,
    /// Not answered in time.
    Late,
    /// The router refused it.
    Refused,
    /// Every attempt failed.
    Failed,
}

/// One second.
#[derive(Clone, Debug, Default)]
struct Second {
    offered: u64,
    good: u64,
    placed: Vec<u64>,
}

/// Counts of one run.
#[derive(Debug, Default)]
pub struct Measures {
    warmup_us: u64,
    offered: u64,
    ends: [u64; 4],
    attempts: u64,
    outside_written: u64,
    outside_proof: u64,
    by_class: Vec<ByClass>,
    shed: [u64; 3],
    whys: Vec<(&'static str, u64)>,
    cost_pusd: i128,
    egress_pusd: i128,
    spilled: [u64; 5],
    off_home: u64,
    quality_ppm: u128,
    latencies_us: Vec<u64>,
    queued_us: Vec<u64>,
    ledger: Ledger,
    ratios_ppm: Vec<u64>,
    peak_ppm: u64,
    seconds: Vec<Second>,
    placed: Vec<u64>,
    substrates: usize,
}

impl Measures {
    /// Nothing yet.
    #[must_use]
    pub fn new(warmup_ms: u64, classes: usize, substrates: usize) -> Self {
        Self {
            warmup_us: warmup_ms * 1_000,
            by_class: vec![ByClass::default(); classes],
            placed: vec![0; substrates],
            substrates,
            ..Self::default()
        }
    }

    const fn counts(&self, arrival: &Arrival) -> bool {
        arrival.at_us >= self.warmup_us
    }

    fn second(&mut self, at_us: u64) -> Option<&mut Second> {
        let at = usize::try_from(at_us / 1_000_000).ok()?;
        if self.seconds.len() <= at {
            let empty = Second { placed: vec![0; self.substrates], ..Second::default() };
            self.seconds.resize(at + 1, empty);
        }
        self.seconds.get_mut(at)
    }

    /// A request has arrived.
    pub fn arrived(&mut self, arrival: &Arrival, class: usize) {
        if let Some(second) = self.second(arrival.at_us) {
            second.offered += 1;
        }
        if self.counts(arrival) {
            self.offered += 1;
            self.by_class.get_mut(class).into_iter().for_each(|c| c.offered += 1);
            self.ledger.arrived(arrival.id, arrival.at_us, class);
        }
    }

    /// A request was handed over: whether that was permitted, and whether its place was proved as far as it must be.
    pub const fn judged(&mut self, arrival: &Arrival, permitted: bool, proved: bool) {
        if self.counts(arrival) {
            self.outside_written += !permitted as u64;
            self.outside_proof += (permitted && !proved) as u64;
        }
    }

    /// An attempt is sent.
    pub fn sent(&mut self, arrival: &Arrival, substrate: usize, ruling: Ruling, first: bool, now_us: u64) {
        if first && let Some(n) = self.second(now_us).and_then(|s| s.placed.get_mut(substrate)) {
            *n += 1;
        }
        if !self.counts(arrival) {
            return;
        }
        self.attempts += 1;
        self.placed.get_mut(substrate).into_iter().for_each(|n| *n += 1);
        for (n, border) in self.spilled.iter_mut().zip(Border::ALL) {
            *n += u64::from(ruling.crosses.contains(border));
        }
        self.off_home += u64::from(!ruling.crosses.is_empty());
    }

    /// A router has refused, and says why.
    pub fn refused(&mut self, arrival: &Arrival, why: &'static str) {
        if !self.counts(arrival) {
            return;
        }
        match self.whys.iter_mut().find(|(known, _)| *known == why) {
            Some((_, n)) => *n += 1,
            None => self.whys.push((why, 1)),
        }
    }

    /// Something was paid for.
    pub fn paid(&mut self, arrival: &Arrival, cost_pusd: i128, egress_pusd: i128) {
        if self.counts(arrival) {
            self.cost_pusd += cost_pusd + egress_pusd;
            self.egress_pusd += egress_pusd;
            self.ledger.paid(arrival.id, cost_pusd + egress_pusd);
        }
    }

    /// Work is begun that has waited for so long at its substrate.
    pub fn waited(&mut self, arrival: &Arrival, waited_us: u64) {
        if self.counts(arrival) {
            self.queued_us.push(waited_us);
        }
    }

    /// A request has ended.
    pub fn ended(&mut self, arrival: &Arrival, class: (usize, &Class), end: End, answered: Answered) {
        if end == End::Good
            && let Some(second) = self.second(arrival.at_us)
        {
            second.good += 1;
        }
        if !self.counts(arrival) {
            return;
        }
        self.ends.get_mut(end as usize).into_iter().for_each(|n| *n += 1);
        self.ledger.ended(arrival.id, end, &answered);
        match end {
            End::Good => {
                self.by_class.get_mut(class.0).into_iter().for_each(|c| c.good += 1);
                self.latencies_us.push(answered.latency_us);
                self.quality_ppm += u128::from(answered.quality_ppm);
            }
            End::Refused => self.shed.get_mut(class.1.tier as usize).into_iter().for_each(|n| *n += 1),
            End::Late | End::Failed => {}
        }
    }

    /// The load of every substrate now: in flight and slots.
    pub fn loads(&mut self, now_us: u64, loads: impl Iterator<Item = (u64, u64)>) {
        if now_us < self.warmup_us {
            return;
        }
        let (mut most, mut load, mut slots) = (0, 0, 0);
        for (n, size) in loads {
            most = most.max(n * WHOLE / size.max(1));
            (load, slots) = (load + n, slots + size);
        }
        self.peak_ppm = self.peak_ppm.max(most);
        // Hardly any load is no load: its quotient says nothing.
        if load * 20 >= slots {
            self.ratios_ppm.push(most * slots / load.max(1));
        }
    }

    /// The figures.
    #[must_use]
    pub fn figures(mut self, scenario: &Scenario) -> Figures {
        let (over_ms, begins_ms) = (scenario.over_ms(), scenario.begins_ms());
        // What is still tried when nothing arrives any more says nothing of seconds.
        self.seconds.truncate(usize::try_from(scenario.duration_ms / 1_000).unwrap_or(usize::MAX));
        self.latencies_us.sort_unstable();
        self.queued_us.sort_unstable();
        self.ratios_ppm.sort_unstable();
        let quantile = |sorted: &[u64], ppm: u64| {
            let at = (sorted.len() as u64).saturating_sub(1) * ppm / WHOLE;
            usize::try_from(at).ok().and_then(|at| sorted.get(at)).copied().unwrap_or(0)
        };
        let mean = |list: &[u64]| list.iter().sum::<u64>().checked_div(list.len() as u64).unwrap_or(0);
        let [good, late, refused, failed] = self.ends;
        let part = |n: u64, of: u64| n * WHOLE / of.max(1);
        let recovery_ms = over_ms.and_then(|over| self.recovery_ms(begins_ms.unwrap_or(0), over));
        Figures {
            offered: self.offered,
            good,
            late,
            refused,
            failed,
            goodput_ppm: part(good, self.offered),
            attempts: self.attempts,
            outside_written: self.outside_written,
            outside_proof: self.outside_proof,
            shed: self.shed,
            whys: core::mem::take(&mut self.whys),
            cost_uusd: i64::try_from(self.cost_pusd / 1_000_000).unwrap_or(i64::MAX),
            cost_per_good_uusd: i64::try_from(self.cost_pusd / 1_000_000 / i128::from(good.max(1))).unwrap_or(i64::MAX),
            egress_uusd: i64::try_from(self.egress_pusd / 1_000_000).unwrap_or(i64::MAX),
            spilled: self.spilled,
            off_home_ppm: part(self.off_home, self.attempts),
            quality_ppm: u64::try_from(self.quality_ppm / u128::from(good.max(1))).unwrap_or(0),
            p50_us: quantile(&self.latencies_us, 500_000),
            p99_us: quantile(&self.latencies_us, 990_000),
            imbalance_ppm: mean(&self.ratios_ppm),
            imbalance_p95_ppm: quantile(&self.ratios_ppm, 950_000),
            peak_ppm: self.peak_ppm,
            swings_ppm: self.swings_ppm(),
            recovery_ms,
            fault_ppm: begins_ms.map(|begins| self.within_ppm(begins, over_ms.unwrap_or(scenario.duration_ms))),
            before_ppm: self.within_ppm(self.warmup_us / 1_000, begins_ms.unwrap_or(scenario.duration_ms)),
            found: Vec::new(),
            recovers: over_ms.is_none() || recovery_ms.is_some(),
            timeline_ppm: self.seconds.iter().map(|s| part(s.good, s.offered)).collect(),
            placed: self.placed,
            by_class: self.by_class,
            queued_p99_us: quantile(&self.queued_us, 990_000),
            ledger: self.ledger,
        }
    }

    /// Goodput between two moments.
    fn within_ppm(&self, from_ms: u64, until_ms: u64) -> u64 {
        let second = |ms: u64| usize::try_from(ms / 1_000).unwrap_or(usize::MAX);
        let until = second(until_ms).min(self.seconds.len());
        let list = self.seconds.get(second(from_ms)..until).unwrap_or_default();
        let (good, offered) = list.iter().fold((0, 0), |(g, o), s| (g + s.good, o + s.offered));
        good * WHOLE / offered.max(1)
    }

    /// From when the last fault is over until goodput is within a twentieth of what it was before the first, and stays there
    /// for five seconds.
    fn recovery_ms(&self, begins_ms: u64, over_ms: u64) -> Option<u64> {
        let second = |ms: u64| usize::try_from(ms / 1_000).unwrap_or(usize::MAX);
        let before = self.seconds.get(second(self.warmup_us / 1_000)..second(begins_ms)).unwrap_or_default();
        let sum = |list: &[Second]| list.iter().fold((0, 0), |(g, o), s| (g + s.good, o + s.offered));
        let (good, offered) = sum(before);
        let usual = (good * WHOLE).checked_div(offered).unwrap_or(WHOLE);
        let from = second(over_ms);
        let windows = self.seconds.get(from..)?.windows(5);
        let well = |window: &[Second]| window.iter().all(|s| s.good * WHOLE * 100 >= s.offered * usual * 95);
        let mut all = windows.enumerate().filter(|(_, window)| well(window));
        all.next().map(|(at, _)| at as u64 * 1_000)
    }

    /// How often a share turned back by a tenth of the whole, per minute, in millionths.
    fn swings_ppm(&self) -> u64 {
        let mut swings = 0;
        for at in 0..self.substrates {
            let (mut extreme, mut rising) = (None, true);
            for second in self.seconds.iter().skip(usize::try_from(self.warmup_us / 1_000_000).unwrap_or(0)) {
                let all: u64 = second.placed.iter().sum();
                let Some(share) = (second.placed.get(at).copied().unwrap_or(0) * WHOLE).checked_div(all) else {
                    continue;
                };
                let share = i64::try_from(share).unwrap_or(0);
                let last: i64 = *extreme.get_or_insert(share);
                let further = if rising { share >= last } else { share <= last };
                if further {
                    extreme = Some(share);
                } else if share.abs_diff(last) >= SWING_PPM.unsigned_abs() {
                    swings += 1;
                    (extreme, rising) = (Some(share), !rising);
                }
            }
        }
        let length = (self.seconds.len() as u64).saturating_sub(self.warmup_us / 1_000_000).max(1);
        swings * 60 * WHOLE / length
    }
}
