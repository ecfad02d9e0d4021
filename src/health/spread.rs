//! What no substrate shows alone: regions whose substrates answer slower than others of their kind do elsewhere, and
//! kinds whose members make tokens at different speeds. Every time is held against what the policy declares of its
//! substrate, so that one that is meant to be slower does not look so.

use super::heard::scale;
use crate::model::{Health, Kind, Signal, Snapshot, WHOLE_PPM, Watch};

/// Which substrates are held against which.
#[derive(Clone, Debug)]
pub struct Peers {
    regions: Vec<String>,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    kind: Kind,
    region: usize,
    us_per_token: i64,
}

/// How many there are and what they add up to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: i64,
    ppm: i64,
}

type ByKind<T> = [T; Kind::ALL.len()];

impl Sum {
    const fn add(&mut self, ppm: i64) {
        (self.count, self.ppm) = (self.count.saturating_add(1), self.ppm.saturating_add(ppm));
    }
}

impl Peers {
    /// The substrates of a policy.
    #[must_use]
    pub fn of(watch: &Watch) -> Self {
        let mut regions: Vec<String> = Vec::new();
        let mut members = Vec::with_capacity(watch.substrates.len());
        for watched in &watch.substrates {
            let region = regions.iter().position(|known| *known == watched.region).unwrap_or_else(|| {
                regions.push(watched.region.clone());
                regions.len().saturating_sub(1)
            });
            members.push(Member { kind: watched.kind, region, us_per_token: watched.us_per_token });
        }
        Self { regions, members }
    }

    /// The regions, each once.
    #[must_use]
    pub fn regions(&self) -> &[String] {
        &self.regions
    }

    /// For each region how slow its substrates answer against those of their kind elsewhere, on average over those
    /// that can be compared; the whole is alike, twice the whole is twice as slow. `None` if none can.
    #[must_use]
    pub fn divergence(&self, snapshot: &Snapshot, fresh_ms: u64) -> Vec<Option<i64>> {
        let mut here = vec![ByKind::<Sum>::default(); self.regions.len()];
        let mut all = ByKind::<Sum>::default();
        for (member, health) in self.members.iter().zip(&snapshot.substrates) {
            let Some(slow) = fresh(health, Signal::SpeedFactor, snapshot, fresh_ms) else { continue };
            let sums = here.get_mut(member.region).and_then(|sums| sums.get_mut(member.kind as usize));
            sums.into_iter().chain(all.get_mut(member.kind as usize)).for_each(|sum| sum.add(slow));
        }
        here.iter().map(|here| against(here, &all)).collect()
    }

    /// For each kind how much longer the slowest of its substrates takes for a token than the fastest, as a share of
    /// that. `None` with fewer than two.
    #[must_use]
    pub fn token_spread(&self, snapshot: &Snapshot, fresh_ms: u64) -> ByKind<Option<i64>> {
        let mut ends = ByKind::<Option<(i64, i64, u32)>>::default();
        for (member, health) in self.members.iter().zip(&snapshot.substrates) {
            let Some(us) = fresh(health, Signal::PerToken, snapshot, fresh_ms) else { continue };
            let slow = scale(us, WHOLE_PPM, member.us_per_token.max(1));
            if let Some(ends) = ends.get_mut(member.kind as usize) {
                let (least, most, count) = ends.unwrap_or((slow, slow, 0));
                *ends = Some((least.min(slow), most.max(slow), count.saturating_add(1)));
            }
        }
        ends.map(|ends| match ends {
            Some((least @ 1.., most, 2..)) => Some(scale(most.saturating_sub(least), WHOLE_PPM, least)),
            _ => None,
        })
    }
}

fn fresh(health: &Health, signal: Signal, snapshot: &Snapshot, fresh_ms: u64) -> Option<i64> {
    let reading = health.reading(signal)?;
    (snapshot.at_ms.saturating_sub(reading.at_ms) < fresh_ms).then_some(reading.value)
}

/// The substrates of a region against those of their kinds elsewhere.
fn against(here: &ByKind<Sum>, all: &ByKind<Sum>) -> Option<i64> {
    let compared = here.iter().zip(all).fold(Sum::default(), |so_far, (here, all)| {
        let elsewhere = Sum { count: all.count - here.count, ppm: all.ppm.saturating_sub(here.ppm) };
        if here.count == 0 || elsewhere.count == 0 || elsewhere.ppm <= 0 {
            return so_far;
        }
        let ratios = scale(here.ppm, WHOLE_PPM.saturating_mul(elsewhere.count), elsewhere.ppm);
        Sum { count: so_far.count.saturating_add(here.count), ppm: so_far.ppm.saturating_add(ratios) }
    });
    compared.ppm.checked_div(compared.count)
}
