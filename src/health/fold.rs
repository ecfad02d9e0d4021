//! The fold: everything that was observed, pulled and pushed since the last time, into the next snapshot. Whoever holds
//! the lease runs it; whoever takes the lease over goes on from the snapshot that the last one published.

mod domains;
mod measured;
mod turns;

use super::breaker::{Turn, mix};
use super::heard::{Dropped, Heard};
use super::keys::Keys;
use super::rates::Window;
use super::slot::{Answers, Row, SlotRecord, key_of};
use super::substrate::State;
use crate::model::{Attestation, Circuit, Health, Reading, Signal, Snapshot, Watch};
use domains::{Domain, domains};

/// Over which time shares of placements are counted.
pub const SHARE_MS: u32 = 1_000;
/// How long the counters of a VM that has fallen silent are remembered, should it speak again.
const REMEMBER_MS: u64 = 60_000;
/// The most VMs that are remembered.
const MOST_KNOWN: usize = 256;

/// What is known of all substrates, between snapshots.
#[derive(Debug)]
pub struct Fold {
    watch: Watch,
    states: Vec<State>,
    keys: Keys,
    domains: Vec<Domain>,
    known: Vec<Known>,
    seed: u64,
    asked: usize,
    counted_ms: u64,
    /// Nothing was folded yet: counters that were there before are where counting begins.
    first: bool,
    changed: bool,
}

/// A VM's counters as they were last seen.
#[derive(Debug)]
struct Known {
    slot: u8,
    record: SlotRecord,
    seen_ms: u64,
    /// When it was seen to have placed something, if it was.
    placed_ms: Option<u64>,
    live: bool,
}

impl Fold {
    /// Begins, or goes on from what was published last. `seed` makes jitter differ from proxy to proxy.
    #[must_use]
    pub fn new(watch: Watch, previous: Option<&Snapshot>, seed: u64, now_ms: u64) -> Self {
        let state = |name: &String| match previous.map(|snapshot| snapshot.of(name)) {
            Some(Some(health)) => State::new(health.clone()),
            // New among known ones: it ramps. When all are new, nobody is.
            Some(None) => State::new(Health { since_ms: Some(now_ms), ..Health::unknown(name) }),
            None => State::new(Health::unknown(name)),
        };
        let states = watch.substrates.iter().map(|watched| state(&watched.name)).collect();
        let keys = Keys::of(&watch);
        let domains = domains(&watch);
        Self {
            watch,
            states,
            keys,
            domains,
            known: Vec::new(),
            seed,
            asked: 0,
            counted_ms: now_ms,
            first: true,
            changed: true,
        }
    }

    /// What is watched.
    #[must_use]
    pub const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Where the substrate with this key stands.
    #[must_use]
    pub fn position(&self, key: u64) -> Option<usize> {
        self.keys.behind(key).next()
    }

    /// Whether exactly this was heard of a substrate already.
    #[must_use]
    pub fn has(&self, substrate: usize, signal: Signal, reading: Reading) -> bool {
        self.states.get(substrate).is_some_and(|state| state.health.reading(signal) == Some(reading))
    }

    /// Takes what was heard of a substrate; says which readings were dropped.
    pub fn hear(&mut self, substrate: usize, heard: &Heard, now_ms: u64) -> Dropped {
        let (ages, mut dropped) = (self.watch.ages, Dropped::default());
        let Some(state) = self.states.get_mut(substrate) else { return dropped };
        for (signal, reading) in &heard.readings {
            match state.hear(*signal, *reading, now_ms, &ages) {
                Ok(()) => self.changed = true,
                Err(why) => dropped.count(why),
            }
        }
        dropped
    }

    /// Takes a proof of where a substrate is, if it is newer than the last one.
    pub fn attest(&mut self, substrate: usize, attestation: Attestation, now_ms: u64) {
        let Some(state) = self.states.get_mut(substrate) else { return };
        let known = &mut state.health.attestation;
        if known.is_none_or(|k| k.at_ms <= attestation.at_ms || k.at_ms > now_ms) {
            *known = Some(attestation);
            self.changed = true;
        }
    }

    /// Takes what a VM has written into its slot.
    pub fn absorb(&mut self, slot: u8, record: SlotRecord, now_ms: u64) {
        self.known.iter_mut().filter(|k| k.slot == slot).for_each(|k| k.live = false);
        let at = self.known.iter().position(|k| k.record.incarnation == record.incarnation);
        let before = at.map(|at| self.known.swap_remove(at));
        match &before {
            Some(before) => self.count(&record, &before.record.rows, now_ms),
            // A VM that has begun since: all that it counted is new. An older one was known and is forgotten: what it
            // counted before was counted here, and what it counts from now on is new.
            None if !self.first && now_ms.saturating_sub(record.born_ms()) < REMEMBER_MS => {
                self.count(&record, &[], now_ms);
            }
            None => {}
        }
        let placed = record.placed_since(before.as_ref().map(|known| &known.record));
        let placed_ms = if placed { Some(now_ms) } else { before.and_then(|known| known.placed_ms) };
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|k| k.live);
        }
        self.known.push(Known { slot, record, seen_ms: now_ms, placed_ms, live: true });
    }

    /// A VM lives and has said nothing new.
    pub fn keep(&mut self, slot: u8, now_ms: u64) {
        if let Some(known) = self.known.iter_mut().find(|k| k.slot == slot && k.live) {
            known.seen_ms = now_ms;
        }
    }

    /// Nobody is in a slot any more.
    pub fn gone(&mut self, slot: u8) {
        self.known.iter_mut().filter(|k| k.slot == slot).for_each(|k| k.live = false);
    }

    fn count(&mut self, record: &SlotRecord, before: &[Row], now_ms: u64) {
        let nothing = Row::default();
        let ages = self.watch.ages;
        for row in &record.rows {
            let earlier = before.binary_search_by_key(&row.substrate, |r| r.substrate).ok();
            let earlier = earlier.and_then(|at| before.get(at)).unwrap_or(&nothing);
            if row == earlier {
                continue;
            }
            for at in self.keys.behind(row.substrate) {
                let Some(state) = self.states.get_mut(at) else { continue };
                self.changed = true;
                state.absorb(row, earlier);
                state.rest(row.retry_at_ms, now_ms);
                for said in &row.said {
                    let at_ms = said.at_ms.min(now_ms);
                    let reading = Reading { value: said.value, at_ms };
                    // What two VMs saw of one answer is the same: that one of them is not news is no loss.
                    let _ = state.hear(said.signal, reading, now_ms, &ages);
                }
            }
        }
    }

    /// Brings every record up to date; says whether there is anything new to publish.
    pub fn fold(&mut self, now_ms: u64) -> bool {
        self.known.retain(|k| k.live || now_ms.saturating_sub(k.seen_ms) < REMEMBER_MS);
        // The clock may have jumped back.
        self.known.iter_mut().for_each(|k| k.placed_ms = k.placed_ms.map(|ms| ms.min(now_ms)));
        self.level();
        let turns = self.turns(now_ms);
        let fallen = self.judge_domains(now_ms);
        for (at, (state, watched)) in self.states.iter_mut().zip(&self.watch.substrates).enumerate() {
            let before = (state.health.circuit, state.health.admission);
            let rules = &self.watch.breaking;
            let seed = mix(self.seed ^ key_of(&watched.name));
            let prober = turns.next(self.asked, state.breaker.circuit());
            let evidence = state.evidence(now_ms, rules.window_ms, seed, prober);
            let mut turn = state.breaker.judge(&evidence, rules);
            let drawn = fallen.contains(&at) && state.breaker.circuit() == Circuit::Closed && evidence.window.good == 0;
            if drawn {
                turn = Some(state.breaker.open(now_ms, seed, rules));
            }
            if turn == Some(Turn::Closed) {
                // The failures that opened it are over, and it begins slowly.
                state.window.clear();
                state.health.since_ms = Some(now_ms);
            }
            self.asked += usize::from(turn == Some(Turn::Probing));
            state.settle(&evidence, watched, &self.watch);
            self.changed |= before != (state.health.circuit, state.health.admission);
        }
        self.count_shares(now_ms);
        self.first = false;
        core::mem::take(&mut self.changed)
    }

    /// The snapshot of what was folded. Its epoch is given when it is published.
    #[must_use]
    pub fn snapshot(&self, writer: u64, now_ms: u64) -> Snapshot {
        let placing = self.placing().count();
        Snapshot {
            writer,
            epoch: 0,
            at_ms: now_ms,
            interval_ms: SHARE_MS,
            slots: u16::try_from(placing.max(1)).unwrap_or(u16::MAX),
            substrates: self.states.iter().map(|state| state.health.clone()).collect(),
        }
    }

    /// How many VMs take part.
    #[must_use]
    pub fn live(&self) -> usize {
        self.known.iter().filter(|k| k.live).count()
    }

    /// What is in flight, over all VMs that live.
    fn level(&mut self) {
        for row in self.known.iter().filter(|k| k.live).flat_map(|k| &k.record.rows) {
            for at in self.keys.behind(row.substrate) {
                if let Some(state) = self.states.get_mut(at) {
                    state.level(row);
                }
            }
        }
    }

    /// The members of failure domains that fall together: failures by the rule of a circuit, in two of them or more.
    /// Who has answered well within the window is not drawn in.
    fn judge_domains(&mut self, now_ms: u64) -> Vec<usize> {
        let rules = self.watch.breaking;
        let mut fallen = Vec::new();
        for domain in &mut self.domains {
            let (mut fresh, mut failing) = (Answers::default(), 0);
            for at in &domain.members {
                let Some(state) = self.states.get_mut(*at) else { continue };
                fresh.add(&state.fresh.answers);
                let mut window = state.window.sum(now_ms, rules.window_ms);
                window.add(&state.fresh.answers);
                failing += usize::from(window.failed > 0 && window.good == 0);
            }
            domain.window.add(&fresh, now_ms, rules.window_ms);
            let window = domain.window.sum(now_ms, rules.window_ms);
            let many = window.telling() >= u64::from(rules.least.max(1));
            if failing >= 2 && many && window.failure_ppm().is_some_and(|ppm| ppm >= rules.failure_ppm.max(1)) {
                domain.window.clear();
                fallen.extend_from_slice(&domain.members);
            }
        }
        fallen
    }

    fn count_shares(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.counted_ms) < u64::from(SHARE_MS) {
            return;
        }
        self.counted_ms = now_ms;
        let all = self.states.iter().fold(0_u64, |sum, state| sum.saturating_add(state.placed));
        for state in &mut self.states {
            let before = state.health.share_ppm;
            state.count_share(all);
            self.changed |= before != state.health.share_ppm;
        }
    }
}
