//! Availability, burst, panic: by what was heard, unless it is too old.

use super::classes::Demand;
use super::{Bug, Judged, Question};
use berth::model::*;
use std::collections::BTreeSet;

/// What was heard of one substrate, at the step of time in which pictures are made.
pub(crate) struct Heard<'a> {
    health: Option<&'a Health>,
    now_ms: u64,
    live: bool,
    doubt_ppm: i128,
    ages: settings::Ages,
    bug: Bug,
}

pub(crate) struct Figures {
    pub(crate) first_us: i128,
    pub(crate) input_us: i128,
    pub(crate) output_us: i128,
    pub(crate) input_pusd: i128,
    pub(crate) output_pusd: i128,
    pub(crate) risk_ppm: i128,
}

impl<'a> Heard<'a> {
    pub(crate) fn of(q: &Question<'a>, s: &Substrate) -> Self {
        let now_ms = q.now_ms - q.now_ms % 250;
        let ages = q.document.settings.ages;
        let age = q.snapshot.map(|snapshot| now_ms.saturating_sub(snapshot.at_ms));
        let mut heard = Self {
            health: q.snapshot.and_then(|snapshot| snapshot.of(s.name.as_str())),
            now_ms,
            live: age.is_some_and(|age| age < ages.hard_ms || q.bug == Bug::OldReadingsCount),
            doubt_ppm: 1_000_000,
            ages,
            bug: q.bug,
        };
        if let Some(age) = age.filter(|_| heard.live) {
            heard.doubt_ppm = 1_000_000 - heard.certainty(age);
        }
        heard
    }

    fn certainty(&self, age: u64) -> i128 {
        let (soft, hard) = (self.ages.soft_ms, self.ages.hard_ms);
        if age <= soft { 1_000_000 } else { i128::from(hard.saturating_sub(age)) * 1_000_000 / i128::from(hard - soft) }
    }

    fn aged(&self, signal: Signal) -> Option<(i128, i128)> {
        let reading = self.health.filter(|_| self.live)?.reading(signal)?;
        let age = self.now_ms.saturating_sub(reading.at_ms);
        if age >= self.ages.hard_ms && self.bug != Bug::OldReadingsCount {
            return None;
        }
        Some((i128::from(reading.value), self.certainty(age)))
    }

    pub(crate) fn value(&self, signal: Signal) -> Option<i128> {
        self.aged(signal).map(|(value, _)| value)
    }

    /// Worse than declared: believed. Better: less and less, until it is forgotten.
    fn measured(&self, signal: Signal, declared: i128) -> Option<i128> {
        let (value, certainty) = self.aged(signal)?;
        Some(if value >= declared { value } else { declared - (declared - value) * certainty / 1_000_000 })
    }

    fn in_flight(&self) -> Option<i128> {
        let waiting = self.value(Signal::QueueDepth).unwrap_or(0);
        let there = self.value(Signal::Running).map(|running| running + waiting);
        [self.value(Signal::InFlight), there].into_iter().flatten().max()
    }

    /// What the substrate counts beyond what proxies do, as far as it is certain.
    fn certain_in_flight(&self) -> Option<i128> {
        let own = self.value(Signal::InFlight);
        let Some((running, certainty)) = self.aged(Signal::Running) else { return own };
        let beyond = (running + self.value(Signal::QueueDepth).unwrap_or(0) - own.unwrap_or(0)).max(0);
        Some(own.unwrap_or(0) + beyond * certainty / 1_000_000)
    }

    /// Of each count, what has not ended since, if each takes the whole time that answers take.
    fn still_in_flight(&self) -> Option<i128> {
        let left = |count: i128, signal| {
            let at = self.health.and_then(|h| h.reading(signal)).map_or(self.now_ms, |r| r.at_ms);
            match self.value(Signal::Total).filter(|us| *us > 0) {
                Some(whole) => count - count * (i128::from(self.now_ms.saturating_sub(at)) * 1_000).min(whole) / whole,
                None => count,
            }
        };
        let waiting = self.value(Signal::QueueDepth).unwrap_or(0);
        let own = self.value(Signal::InFlight).map(|n| left(n, Signal::InFlight));
        let there = self.value(Signal::Running).map(|n| left(n + waiting, Signal::Running));
        let queued = self.value(Signal::QueueDepth).map(|n| left(n, Signal::QueueDepth));
        [own, there.or(queued)].into_iter().flatten().max()
    }

    /// How many this worker may place of what is free.
    fn places(&self, q: &Question, limit: i128) -> Option<i128> {
        let free = (limit - self.still_in_flight()?).max(0);
        let snapshot = q.snapshot?;
        let slots = i128::from(snapshot.slots.max(1));
        // What was free when it was counted, and what is free by now.
        let counted = self.in_flight().map_or(free, |n| (limit - n).max(0)).min(free);
        let ours = self.ours(free + counted, free);
        let turn = (i128::from(q.local.slot) + i128::from(snapshot.epoch) % slots) % slots;
        let even = ours / slots + if turn < ours % slots { 1 } else { 0 };
        Some(even.max(counted - limit / 2).min(free))
    }

    /// This proxy's part of so many, a quarter of all at least.
    fn ours(&self, most: i128, all: i128) -> i128 {
        let part = match (self.value(Signal::InFlight), self.value(Signal::Running), self.in_flight()) {
            (Some(own), Some(_), Some(there)) => ((own + 1) * 1_000_000 / (there + 1)).min(1_000_000),
            _ => 1_000_000,
        };
        (most * part / 1_000_000).max((all + 3) / 4)
    }

    /// Whether the tenant has fewer in flight by this worker than its even part of what is kept for it, and any is free.
    fn has_its_own(&self, q: &Question, tier: Tier, at: usize, s: &Substrate) -> bool {
        let believed = q.facts.tenant.filter(|fact| fact.trusted || q.bug == Bug::ClaimedTenantHasItsReserve);
        let Some(tenant) = believed else { return false };
        let Some((_, ppm)) = s.capacity.keep_for_tenant_ppm.iter().find(|(of, _)| of == tenant.value) else {
            return false;
        };
        let whole = i128::from(s.capacity.concurrency);
        let kept = (whole * i128::from(*ppm) / 1_000_000).min(limit(q, tier, s));
        let slots = i128::from(q.snapshot.map_or(1, |s| s.slots.max(1)));
        let part = (self.ours(2 * kept, kept).min(kept) + slots - 1) / slots;
        let most = whole * (1_000_000 - i128::from(q.document.settings.headroom_ppm)).max(0) / 1_000_000;
        let total = self.still_in_flight().unwrap_or(0) + placed(q, at);
        let used = if q.bug == Bug::OwnUseForgotten { 0 } else { counted(q, at, tenant.value) };
        let fits = total < most || q.bug == Bug::ReserveBeyondTheWhole;
        used < part && fits && q.bug != Bug::ReserveYieldsToOthers
    }

    pub(crate) fn figures(&self, q: &Question, s: &Substrate) -> Figures {
        let factor = self.measured(Signal::SpeedFactor, 1_000_000).unwrap_or(1_000_000);
        let slower = |us: i64| i128::from(us) * factor / 1_000_000;
        let queue = if q.bug == Bug::ForgetsQueueInTime { 0 } else { self.value(Signal::QueueDepth).unwrap_or(0) };
        let first = slower(s.latency.first_token_us);
        let queued = first + first * queue / i128::from(s.capacity.concurrency.max(1));
        let most = i128::from(s.capacity.concurrency);
        let wait = self.value(Signal::Total).unwrap_or(0) * queue / (most - queue).max(most / 2).max(1);
        let declared_first = i128::from(s.latency.first_token_us);
        let running = i128::from(s.cost.energy_pusd_per_token + s.cost.licence_pusd_per_token);
        let price = |signal, declared: i64| {
            self.measured(signal, i128::from(declared)).unwrap_or(i128::from(declared)) + running
        };
        let measured = |signal, declared: i64| self.measured(signal, i128::from(declared));
        let prior = i128::from(q.document.settings.prior_failure_ppm);
        let thresholds = &q.document.settings.thresholds[s.kind as usize];
        let pressed = match (self.value(Signal::MemoryPressure), thresholds.memory_soft_ppm, thresholds.memory_hard_ppm)
        {
            (Some(value), Some(soft), Some(hard)) => {
                let (soft, hard) = (i128::from(soft), i128::from(hard.max(soft + 1)));
                (value.clamp(soft, hard) - soft) * 250_000 / (hard - soft)
            }
            _ => 0,
        };
        let sign = |signal| self.value(signal).unwrap_or(0).clamp(0, 1_000_000) * 5_000 / 1_000_000;
        let usual = i128::from(s.latency.first_token_us.max(1));
        let spread = self.value(Signal::Jitter).map_or(0, |us| (us * 1_000_000 / usual).min(1_000_000));
        let unsteady = if q.bug == Bug::UnsteadinessIgnored {
            0
        } else {
            sign(Signal::Drift) + sign(Signal::Oscillation) + sign(Signal::Failover) + spread * 5_000 / 1_000_000
        };
        let risk = unsteady
            + self.measured(Signal::FailureRate, prior).unwrap_or(prior)
            + self.value(Signal::OverloadRate).unwrap_or(0)
            + pressed
            + prior * self.doubt_ppm / 1_000_000;
        Figures {
            first_us: match measured(Signal::FirstToken, s.latency.first_token_us) {
                Some(seen) => seen.max(seen.min(declared_first) + wait),
                None => queued.max(first + wait),
            },
            input_us: slower(s.latency.prefill_us_per_token),
            output_us: measured(Signal::PerToken, s.latency.us_per_token).unwrap_or(slower(s.latency.us_per_token)),
            input_pusd: price(Signal::InputPrice, s.cost.input_pusd_per_token),
            output_pusd: price(Signal::OutputPrice, s.cost.output_pusd_per_token),
            risk_ppm: risk.min(1_000_000),
        }
    }
}

fn placed(q: &Question, at: usize) -> i128 {
    if q.bug == Bug::PlacedForgotten { 0 } else { i128::from(q.local.placed.get(at).copied().unwrap_or(0)) }
}

pub(crate) fn of(q: &Question, demand: &Demand, at: usize, s: &Substrate) -> BTreeSet<Code> {
    let heard = Heard::of(q, s);
    let t = &q.document.settings.thresholds[s.kind as usize];
    let mut codes = BTreeSet::new();
    let mut on = |code, on: bool| {
        if on {
            codes.insert(code);
        }
    };
    let above =
        |signal, most: Option<u32>| heard.value(signal).zip(most).is_some_and(|(value, most)| value > i128::from(most));
    let below = |signal, least: Option<u32>| {
        heard.value(signal).zip(least).is_some_and(|(value, least)| value < i128::from(least))
    };
    let state = heard.health.filter(|_| heard.live);
    let open = match state.map(|h| h.circuit).unwrap_or_default() {
        Circuit::Closed => false,
        Circuit::Open { .. } => true,
        Circuit::HalfOpen { slot, probes, until_ms } => {
            let ours = slot == q.local.slot || q.bug == Bug::AnySlotProbes;
            !(ours && heard.now_ms < until_ms && q.local.probes.get(at).copied().unwrap_or(0) < probes)
        }
    };
    on(Code::CircuitOpen, open);
    on(Code::NoHost, heard.value(Signal::Hosts) == Some(0));
    on(Code::Admission, state.is_some_and(|h| h.admission != Admission::All));
    on(Code::RetryAfter, state.and_then(|h| h.retry_at_ms).is_some_and(|until| until > heard.now_ms));
    // As long as either bound lets it wait, it may.
    let share = t.queue_share_ppm.map(|ppm| (f64::from(s.capacity.concurrency) * f64::from(ppm) / 1e6) as u32);
    let most = [t.queue_depth, share].into_iter().flatten().max();
    let at_limit = heard.value(Signal::QueueDepth).map(|q| q as u32) == most && most.is_some();
    on(Code::QueueFull, above(Signal::QueueDepth, most) || (q.bug == Bug::QueueAtLimitIsFull && at_limit));
    on(Code::QueueFull, above(Signal::QueueDepth, demand.max_queue));
    let hard = heard.value(Signal::MemoryPressure).zip(t.memory_hard_ppm);
    on(Code::MemoryFull, hard.is_some_and(|(value, hard)| value >= i128::from(hard)));
    on(Code::Congested, above(Signal::Interconnect, t.interconnect_ppm));
    on(Code::Congested, above(Signal::RackCongestion, t.rack_ppm) || above(Signal::EastWest, t.east_west_ppm));
    let path =
        |l: &&settings::Link| q.facts.zone.is_some_and(|z| z.value == l.from.as_str()) && l.to == s.location.zone;
    on(
        Code::Congested,
        q.document.settings.links.iter().filter(path).any(|l| above(Signal::Interconnect, Some(l.ceiling_ppm))),
    );
    on(Code::Power, below(Signal::PowerHeadroom, t.power_headroom_ppm));
    on(Code::Power, below(Signal::CoolingHeadroom, t.cooling_headroom_ppm));
    on(Code::Link, below(Signal::Link, t.link_ppm));
    on(Code::RateLimited, below(Signal::RateRemaining, t.rate_remaining));
    on(Code::Failing, above(Signal::FailureRate, t.failure_ppm));
    let tokens = demand.input + demand.output;
    on(Code::RateLimited, heard.value(Signal::TokensRemaining).is_some_and(|left| tokens > left));
    on(Code::ContextRoom, heard.value(Signal::ContextRoom).is_some_and(|room| tokens > room));
    let full = heard.places(q, limit(q, demand.tier, s)).is_some_and(|most| placed(q, at) >= most);
    on(Code::Headroom, full && !heard.has_its_own(q, demand.tier, at, s));
    codes
}

/// What a tenant has in flight there by this worker: counted by the lines of shares in the order of the policy, then by those
/// of what is kept for tenants that have no share there.
pub(crate) fn counted(q: &Question, at: usize, tenant: &str) -> i128 {
    let all = || q.document.substrates.iter().enumerate();
    let shares = all().flat_map(|(i, s)| s.capacity.tenant_share_ppm.iter().map(move |(t, _)| (i, t.as_str())));
    let shares: Vec<(usize, &str)> = shares.collect();
    let kept = all().flat_map(|(i, s)| s.capacity.keep_for_tenant_ppm.iter().map(move |(t, _)| (i, t.as_str())));
    let kept = kept.filter(|line| !shares.contains(line));
    let line = shares.iter().copied().chain(kept).position(|line| line == (at, tenant));
    i128::from(line.and_then(|line| q.local.tenant_placed.get(line)).copied().unwrap_or(0))
}

/// What a tier of a tenant may use: not what is kept free everywhere, nor what is kept for the tiers above it, nor what is
/// kept for other tenants.
fn limit(q: &Question, tier: Tier, s: &Substrate) -> i128 {
    let above = Tier::ALL.into_iter().filter(|t| *t > tier).map(|t| i128::from(s.capacity.keep_for_ppm[t as usize]));
    let kept: i128 = if q.bug == Bug::ReserveOpenToAll { 0 } else { above.sum() };
    let own = |tenant: &str| {
        let believed = q.facts.tenant.filter(|fact| fact.trusted || q.bug == Bug::ClaimedTenantHasItsReserve);
        believed.is_some_and(|fact| fact.value == tenant) && q.bug != Bug::ReserveKeptFromItsTenant
    };
    let tenants = s.capacity.keep_for_tenant_ppm.iter().filter(|(tenant, _)| !own(tenant));
    let others: i128 = tenants.map(|(_, ppm)| i128::from(*ppm)).sum();
    let others = if q.bug == Bug::TenantsReserveOpenToAll { 0 } else { others };
    let share = 1_000_000 - i128::from(q.document.settings.headroom_ppm) - kept - others;
    i128::from(s.capacity.concurrency) * share.max(0) / 1_000_000
}

/// Whether nothing else is against it. A tenant's share says nothing of the substrate: it is something else.
fn is(codes: &BTreeSet<Code>, dimensions: &[Dimension]) -> bool {
    codes.iter().all(|c| dimensions.contains(&c.dimension()) && *c != Code::TenantShare)
}

/// Burst waits for what is paid for, and has a ceiling.
pub(crate) fn burst(q: &Question, judged: &mut [Judged]) {
    let (mut used, mut whole) = (0, 0);
    for (at, (s, j)) in q.document.substrates.iter().zip(judged.iter()).enumerate() {
        if !s.cost.regime.is_prepaid() || !is(&j.codes, &[Dimension::Availability, Dimension::Cost]) {
            continue;
        }
        let capacity = i128::from(s.capacity.concurrency);
        let heard = Heard::of(q, s);
        let reserved = heard.value(Signal::ReservedUse).map(|ppm| ppm * capacity / 1_000_000);
        let measured = [reserved, heard.in_flight()].into_iter().flatten().max();
        let broken = j.codes.iter().any(|c| c.dimension() == Dimension::Availability);
        if broken && q.bug != Bug::BrokenPrepaidCountsAsFree {
            (used, whole) = (used + capacity, whole + capacity);
        } else if let Some(n) = measured {
            (used, whole) = (used + (n + placed(q, at)).min(capacity), whole + capacity);
        }
    }
    for (at, (s, j)) in q.document.substrates.iter().zip(judged).enumerate() {
        if s.cost.regime.is_prepaid() {
            continue;
        }
        if whole > 0 && used * 1_000_000 / whole < i128::from(s.capacity.burst_after_ppm) {
            j.codes.insert(Code::ReservedFirst);
        }
        let heard = Heard::of(q, s);
        let ceiling = i128::from(s.capacity.burst_ceiling_ppm);
        let by_report = heard.value(Signal::BurstUse).is_some_and(|ppm| ppm >= ceiling);
        let most = i128::from(s.capacity.concurrency) * ceiling / 1_000_000;
        let by_count = heard.in_flight().is_some_and(|n| n + placed(q, at) >= most);
        if (by_report || by_count) && q.bug != Bug::CeilingIgnored {
            j.codes.insert(Code::BurstCeiling);
        }
    }
}

/// Few are available: what load says is ignored, and that it fails; the rest cannot carry it: what load says; none is: all
/// but what is left of a quota.
pub(crate) fn panic(q: &Question, demand: &Demand, judged: &mut [Judged]) {
    let able = judged.iter().filter(|j| is(&j.codes, &[Dimension::Availability])).count() as u64;
    let available = judged.iter().filter(|j| j.codes.is_empty()).count() as u64;
    let few = available * 1_000_000 < u64::from(q.document.settings.selection.panic_ppm) * able;
    let (mut busy, mut left) = (0, 0);
    for (at, (s, j)) in q.document.substrates.iter().zip(judged.iter()).enumerate() {
        let whole = i128::from(s.capacity.concurrency);
        if is(&j.codes, &[Dimension::Availability]) {
            busy += (Heard::of(q, s).certain_in_flight().unwrap_or(0).max(0) + placed(q, at)).min(whole);
        }
        if j.codes.is_empty() {
            left += whole;
        }
    }
    if available > 0 && !few && left >= busy {
        return;
    }
    let load = [Code::QueueFull, Code::MemoryFull, Code::Congested, Code::Admission];
    let tokens = demand.input + demand.output;
    for (s, j) in q.document.substrates.iter().zip(judged) {
        let heard = Heard::of(q, s);
        let own_queue = heard.value(Signal::QueueDepth).zip(demand.max_queue).is_some_and(|(v, m)| v > i128::from(m));
        let no_quota = heard.value(Signal::TokensRemaining).is_some_and(|left| tokens > left);
        let soft = |c: &Code| {
            (*c == Code::Failing && (few || available == 0))
                || load.contains(c)
                || (*c == Code::RateLimited && available > 0)
                || (*c == Code::CircuitOpen && q.bug == Bug::PanicForgivesCircuits)
        };
        if j.codes.iter().all(soft) && !own_queue && !no_quota {
            j.codes.clear();
        }
    }
}
