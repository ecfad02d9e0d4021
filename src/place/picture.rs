//! The snapshot, turned on its side: what a decision needs of every substrate's health, worked out once for all
//! requests until the next snapshot or the next step of time.
//!
//! Time is read here in steps of [`STEP_MS`], so that a picture made a moment earlier is the same picture: a decision
//! depends on its time, never on when somebody refreshed.

use super::forecast::{self, Forecast};
use super::hearing::Hearing;
use crate::model::{
    Admission, Circuit, Code, Codes, Freshness, Health, Signal, Snapshot, SubstrateId, Tier, WHOLE_PPM,
    settings::Thresholds,
};
use crate::policy::Policy;

/// The step of time in which pictures age.
pub(crate) const STEP_MS: u64 = 250;

/// Unknown: where a column holds what there is at least.
pub(crate) const PLENTY: i64 = i64::MAX;
/// The age of an attestation that names another country than the declared one.
pub(crate) const ELSEWHERE: i64 = PLENTY - 1;
/// Unknown: where a column holds what there is at most.
pub(crate) const UNKNOWN: i64 = -1;

/// A substrate whose circuit lets one slot try it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) substrate: SubstrateId,
    pub(crate) slot: u8,
    pub(crate) probes: u8,
}

/// Health by policy order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    /// The step of time at which it was made.
    pub(crate) at_ms: u64,
    pub(crate) epoch: u64,
    pub(crate) age_ms: u64,
    pub(crate) freshness: Option<Freshness>,
    /// What makes each unavailable, whoever asks.
    pub(crate) codes: Vec<u64>,
    /// Requests that still fit by now, by tier; `i32::MAX` where nobody knows.
    pub(crate) free: [Vec<i32>; Tier::ALL.len()],
    /// This proxy's part of what is in flight.
    pub(crate) part_ppm: Vec<u32>,
    /// The workers of this proxy that place.
    pub(crate) slots: u16,
    /// Requests that still fit under the burst ceiling.
    pub(crate) burst_free: Vec<i32>,
    /// Requests in flight; 0 if unknown.
    pub(crate) load: Vec<i32>,
    /// Prepaid capacity in use, in requests; [`UNKNOWN`] if it is.
    pub(crate) prepaid: Vec<i64>,
    pub(crate) queue: Vec<i64>,
    pub(crate) room: Vec<i64>,
    pub(crate) tokens_left: Vec<i64>,
    pub(crate) interconnect: Vec<i64>,
    /// Age of a fitting attestation; [`PLENTY`] without one, [`ELSEWHERE`] with one of another country.
    pub(crate) attested_ms: Vec<i64>,
    /// Age of the newest reading; [`PLENTY`] without one.
    pub(crate) heard_ms: Vec<i64>,
    /// How fresh what is known of each is.
    pub(crate) fresh: Vec<Freshness>,
    /// Share of its weight while it ramps.
    pub(crate) ramp_ppm: Vec<u32>,
    pub(crate) share_ppm: Vec<u32>,
    pub(crate) forecast: Forecast,
    /// Half-open circuits, few.
    pub(crate) probes: Vec<Probe>,
    /// Substrates whose time to the first token was measured, too long ago to count; few.
    pub(crate) faded: Vec<SubstrateId>,
    /// Substrates that take only sessions that are there already, few.
    pub(crate) existing: Vec<SubstrateId>,
}

/// A snapshot aligned to a policy: its facts without what time does to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aligned {
    pub(crate) known: bool,
    pub(crate) epoch: u64,
    pub(crate) at_ms: u64,
    pub(crate) slots: u16,
    /// By policy order; of records with one name the first counts, records of nobody are dropped.
    pub(crate) health: Vec<Option<Health>>,
}

impl Aligned {
    pub(crate) fn align(&mut self, policy: &Policy, snapshot: Option<&Snapshot>) {
        self.known = snapshot.is_some();
        (self.epoch, self.at_ms, self.slots) = snapshot.map_or((0, 0, 1), |s| (s.epoch, s.at_ms, s.slots));
        self.health.clear();
        self.health.resize(policy.columns.len(), None);
        for record in snapshot.iter().flat_map(|s| &s.substrates) {
            let id = policy.substrate_id(&record.name);
            if let Some(slot @ None) = id.and_then(|id| self.health.get_mut(usize::from(id))) {
                *slot = Some(record.clone());
            }
        }
    }
}

/// The step of time that a moment lies in.
pub(crate) const fn step(now_ms: u64) -> u64 {
    now_ms - now_ms % STEP_MS
}

/// The age at the end of the step: a proof that runs out within it does not count for any of it.
const fn by_the_end(age_ms: i64) -> i64 {
    if age_ms < ELSEWHERE - STEP_MS as i64 { age_ms + STEP_MS as i64 - 1 } else { age_ms }
}

impl Picture {
    /// Makes the picture at a moment.
    pub(crate) fn develop(&mut self, policy: &Policy, aligned: &Aligned, now_ms: u64) {
        let ages = policy.document().settings.ages;
        self.clear();
        self.at_ms = step(now_ms);
        (self.epoch, self.slots) = (aligned.epoch, aligned.slots.max(1));
        self.age_ms = self.at_ms.saturating_sub(aligned.at_ms);
        let fresh = match self.age_ms {
            _ if !aligned.known => Freshness::Stale,
            age => ages.freshness(age),
        };
        self.freshness = Some(fresh);
        for (id, substrate) in (0..SubstrateId::MAX).zip(&policy.document().substrates) {
            let health = aligned.health.get(usize::from(id)).and_then(Option::as_ref);
            let hearing = Hearing::new(health, fresh != Freshness::Stale, self.at_ms, self.age_ms, ages);
            self.add(policy, id, &hearing, &policy.document().settings.thresholds_of(substrate));
        }
    }

    fn clear(&mut self) {
        let mut fresh = Self::default();
        core::mem::swap(self, &mut fresh);
        // The columns keep their memory.
        self.codes = emptied(fresh.codes);
        self.free = fresh.free.map(emptied);
        self.part_ppm = emptied(fresh.part_ppm);
        self.burst_free = emptied(fresh.burst_free);
        self.load = emptied(fresh.load);
        self.prepaid = emptied(fresh.prepaid);
        self.queue = emptied(fresh.queue);
        self.room = emptied(fresh.room);
        self.tokens_left = emptied(fresh.tokens_left);
        self.interconnect = emptied(fresh.interconnect);
        self.attested_ms = emptied(fresh.attested_ms);
        self.heard_ms = emptied(fresh.heard_ms);
        self.fresh = emptied(fresh.fresh);
        self.ramp_ppm = emptied(fresh.ramp_ppm);
        self.share_ppm = emptied(fresh.share_ppm);
        self.probes = emptied(fresh.probes);
        self.faded = emptied(fresh.faded);
        self.existing = emptied(fresh.existing);
        self.forecast = fresh.forecast.emptied();
    }

    fn add(&mut self, policy: &Policy, id: SubstrateId, hearing: &Hearing, thresholds: &Thresholds) {
        let codes = self.states(id, hearing).union(limits(hearing, thresholds));
        self.codes.push(codes.0);
        self.capacity(policy, id, hearing);
        self.queue.push(hearing.value(Signal::QueueDepth).unwrap_or(UNKNOWN));
        self.room.push(hearing.value(Signal::ContextRoom).unwrap_or(PLENTY));
        self.tokens_left.push(hearing.value(Signal::TokensRemaining).unwrap_or(PLENTY));
        self.interconnect.push(hearing.value(Signal::Interconnect).unwrap_or(UNKNOWN));
        let declared = policy.substrate(id).map(|s| s.location.jurisdiction);
        self.attested_ms.push(by_the_end(hearing.attested_ms(declared)));
        self.heard_ms.push(by_the_end(hearing.newest_ms()));
        self.fresh.push(hearing.freshness());
        let selection = &policy.document().settings.selection;
        self.ramp_ppm.push(hearing.ramp_ppm(selection.ramp_ms, selection.ramp_floor_ppm));
        self.share_ppm.push(hearing.share_ppm());
        if policy.document().settings.adaptive.latency && hearing.has_faded(Signal::FirstToken) {
            self.faded.push(id);
        }
        self.forecast.add(forecast::of(policy, id, hearing, thresholds));
    }

    /// Circuit, admission, hosts and the wish to be left alone.
    fn states(&mut self, id: SubstrateId, hearing: &Hearing) -> Codes {
        let mut codes = Codes::default();
        match hearing.circuit() {
            Circuit::Closed => {}
            Circuit::Open { .. } => codes = codes.union(Codes::of(Code::CircuitOpen)),
            Circuit::HalfOpen { slot, probes, until_ms } => {
                codes = codes.union(Codes::of(Code::CircuitOpen));
                if self.at_ms < until_ms {
                    self.probes.push(Probe { substrate: id, slot, probes });
                }
            }
        }
        match hearing.admission() {
            Admission::All => {}
            Admission::Existing => {
                self.existing.push(id);
                codes = codes.union(Codes::of(Code::Admission));
            }
            Admission::Closed => codes = codes.union(Codes::of(Code::Admission)),
        }
        if hearing.value(Signal::Hosts) == Some(0) {
            codes = codes.union(Codes::of(Code::NoHost));
        }
        if hearing.retry_in_ms() > 0 {
            codes = codes.union(Codes::of(Code::RetryAfter));
        }
        codes
    }

    /// How much is in use, and what is left of it. Unknown use leaves nothing to compare.
    fn capacity(&mut self, policy: &Policy, id: SubstrateId, hearing: &Hearing) {
        let at = usize::from(id);
        let in_flight = hearing.in_flight();
        self.load.push(narrow(hearing.certain_in_flight().unwrap_or(0)));
        self.part_ppm.push(hearing.part_ppm());
        let still = hearing.still_in_flight();
        for (free, limits) in self.free.iter_mut().zip(&policy.columns.limit) {
            let limit = limits.get(at).copied().unwrap_or(0);
            free.push(still.map_or(i32::MAX, |n| left_of(limit, n)));
        }
        let concurrency = i64::from(policy.columns.concurrency.get(at).copied().unwrap_or(0));
        let reserved = hearing.value(Signal::ReservedUse).map(|ppm| ppm * concurrency / WHOLE_PPM);
        self.prepaid.push(reserved.max(in_flight).unwrap_or(UNKNOWN));
        let ceiling = policy.substrate(id).map_or(0, |s| i64::from(s.capacity.burst_ceiling_ppm));
        let burst = hearing.value(Signal::BurstUse);
        self.burst_free.push(match (burst, in_flight) {
            (Some(ppm), _) if ppm >= ceiling => 0,
            (_, Some(n)) => narrow((concurrency * ceiling.min(WHOLE_PPM) / WHOLE_PPM).saturating_sub(n)),
            _ => i32::MAX,
        });
    }
}

const fn narrow(n: i64) -> i32 {
    if n < 0 {
        0
    } else if n > i32::MAX as i64 {
        i32::MAX
    } else {
        n as i32
    }
}

/// What a limit leaves of so many in flight.
pub(crate) const fn left_of(limit: i32, in_flight: i64) -> i32 {
    narrow((limit as i64).saturating_sub(in_flight))
}

fn emptied<T>(mut column: Vec<T>) -> Vec<T> {
    column.clear();
    column
}

/// The governing constraints of the substrate's kind.
fn limits(hearing: &Hearing, t: &Thresholds) -> Codes {
    let above = |signal, most: Option<u32>| over(hearing.value(signal), most);
    let below = |signal, least: Option<u32>| under(hearing.value(signal), least);
    let memory = hearing.value(Signal::MemoryPressure);
    let full = matches!((memory, t.memory_hard_ppm), (Some(v), Some(hard)) if v >= i64::from(hard));
    let rules = [
        (Code::QueueFull, above(Signal::QueueDepth, t.queue_depth)),
        (Code::MemoryFull, full),
        (Code::Congested, above(Signal::Interconnect, t.interconnect_ppm)),
        (Code::Congested, above(Signal::RackCongestion, t.rack_ppm)),
        (Code::Congested, above(Signal::EastWest, t.east_west_ppm)),
        (Code::Power, below(Signal::PowerHeadroom, t.power_headroom_ppm)),
        (Code::Power, below(Signal::CoolingHeadroom, t.cooling_headroom_ppm)),
        (Code::Link, below(Signal::Link, t.link_ppm)),
        (Code::RateLimited, below(Signal::RateRemaining, t.rate_remaining)),
        (Code::Failing, above(Signal::FailureRate, t.failure_ppm)),
    ];
    rules.into_iter().filter(|(_, on)| *on).fold(Codes::default(), |all, (code, _)| all.union(Codes::of(code)))
}

pub(crate) fn over(value: Option<i64>, most: Option<u32>) -> bool {
    matches!((value, most), (Some(v), Some(m)) if v > i64::from(m))
}

pub(crate) fn under(value: Option<i64>, least: Option<u32>) -> bool {
    matches!((value, least), (Some(v), Some(l)) if v < i64::from(l))
}
