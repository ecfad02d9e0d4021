//! How each rival chooses among those that stand.

use super::Ask;
use super::rival::{Rule, Seen, Tuning, View};
use crate::model::Substrate;
use crate::simulate::random::mix;

/// What one choice reads.
pub(super) struct Scene<'a> {
    pub(super) ask: &'a Ask<'a>,
    pub(super) view: &'a View,
    pub(super) tuning: Tuning,
    pub(super) fleet: i64,
    pub(super) draw: u64,
}

impl Scene<'_> {
    fn seen(&self, at: usize) -> Seen {
        self.view.seen.get(at).cloned().unwrap_or_default()
    }

    fn declared(&self, at: usize) -> Option<&Substrate> {
        self.ask.substrates.get(at)
    }

    pub(super) fn pick(&self, rule: Rule, standing: &[usize]) -> Option<usize> {
        let taste = i64::from(self.tuning.taste);
        match rule {
            Rule::Latency => {
                // Among those within nothing, a tenth or a half of the best, any.
                let margin = [0, 10, 50].get(usize::from(self.tuning.taste)).copied().unwrap_or(0);
                let best = standing.iter().map(|at| self.latency_us(*at)).min()?;
                self.any(&Self::kept(standing, |at| self.latency_us(at) <= best + best * margin / 100))
            }
            Rule::Cost => self.best(&self.roomy(standing), |at| self.price(at)),
            Rule::Sku => self.best(&self.roomy(standing), |at| self.declared_us(at, false)),
            Rule::Region => {
                let here = |at: usize| {
                    let region = self.declared(at).map(|s| s.location.region.as_str());
                    i64::from(region != self.ask.facts.region.map(|f| f.value))
                };
                let roomy = self.roomy(standing);
                let nearest = roomy.iter().map(|at| here(*at)).min()?;
                self.any(&Self::kept(&roomy, |at| here(at) == nearest))
            }
            Rule::Account => {
                let roomy = self.roomy(standing);
                let rank = |at: usize| self.account_rank(at);
                let first = roomy.iter().map(|at| rank(*at)).min()?;
                self.any(&Self::kept(&roomy, |at| rank(at) == first))
            }
            Rule::RoundRobin if taste == 0 => {
                standing.get(usize::try_from(self.view.turn % (standing.len() as u64).max(1)).ok()?).copied()
            }
            // Weighted by capacity.
            Rule::RoundRobin => self.weighted(standing, self.view.turn.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            Rule::LeastRequest | Rule::Locality => {
                self.of_two(standing, |at| i64::from(self.seen(at).in_flight) * 1_000_000)
            }
            Rule::TwoChoices => self.of_two(standing, |at| self.load(at) * 1_000_000),
            Rule::Scorers => {
                let roomy = self.roomy(standing);
                self.best(&roomy, |at| -self.points(at, &roomy))
            }
        }
    }

    fn kept(standing: &[usize], keep: impl Fn(usize) -> bool) -> Vec<usize> {
        standing.iter().copied().filter(|at| keep(*at)).collect()
    }

    fn any(&self, standing: &[usize]) -> Option<usize> {
        standing.get(usize::try_from(self.draw % (standing.len() as u64).max(1)).ok()?).copied()
    }

    /// The least; of equals, any.
    fn best(&self, standing: &[usize], of: impl Fn(usize) -> i64) -> Option<usize> {
        let least = standing.iter().map(|at| of(*at)).min()?;
        self.any(&Self::kept(standing, |at| of(at) == least))
    }

    fn weighted(&self, standing: &[usize], draw: u64) -> Option<usize> {
        let weight = |at: usize| u64::from(self.declared(at).map_or(1, |s| s.capacity.concurrency));
        let sum: u64 = standing.iter().map(|at| weight(*at)).sum();
        let mut left = mix(draw) % sum.max(1);
        let found = standing.iter().find(|at| {
            let here = left < weight(**at);
            left = left.saturating_sub(weight(**at));
            here
        });
        found.or(standing.last()).copied()
    }

    /// Two drawn at random: the one with less. Taste 1 counts per unit of capacity and draws by capacity; 2 looks at three.
    fn of_two(&self, standing: &[usize], of: impl Fn(usize) -> i64) -> Option<usize> {
        let draws = if self.tuning.taste == 2 { 3 } else { 2 };
        let by_capacity = self.tuning.taste > 0;
        let draw = |n: u64| {
            let draw = mix(self.draw ^ n);
            let plain = || standing.get(usize::try_from(draw % (standing.len() as u64).max(1)).ok()?).copied();
            if by_capacity { self.weighted(standing, draw) } else { plain() }
        };
        let unit = |at: usize| if by_capacity { self.capacity(at) } else { 1 };
        (0..draws).filter_map(draw).min_by_key(|at| of(*at) / unit(*at))
    }

    fn capacity(&self, at: usize) -> i64 {
        self.declared(at).map_or(1, |s| i64::from(s.capacity.concurrency)).max(1)
    }

    /// By taste, those of which this proxy's part of the capacity is not used up: wholly, or to four fifths.
    fn roomy(&self, standing: &[usize]) -> Vec<usize> {
        let share = [0, 10, 8].get(usize::from(self.tuning.taste)).copied().unwrap_or(0);
        let room = |at: usize| {
            let part = (self.capacity(at) * share / 10 / self.fleet).max(1);
            share == 0 || i64::from(self.seen(at).in_flight) < part
        };
        let roomy = Self::kept(standing, room);
        if roomy.is_empty() { standing.to_vec() } else { roomy }
    }

    /// What it says of its load; where it says nothing, as many as this proxy has there, times the proxies.
    fn load(&self, at: usize) -> i64 {
        let seen = self.seen(at);
        seen.load.unwrap_or_else(|| i64::from(seen.in_flight) * self.fleet)
    }

    fn declared_us(&self, at: usize, first_only: bool) -> i64 {
        let Some(s) = self.declared(at) else { return i64::MAX };
        let usual = if first_only { 0 } else { self.ask.class.usual_output_tokens };
        let (input, output) = (i64::from(self.ask.arrival.input), i64::from(usual));
        s.latency.first_token_us + s.latency.prefill_us_per_token * input + s.latency.us_per_token * output
    }

    fn latency_us(&self, at: usize) -> i64 {
        let stream = self.ask.facts.streaming.is_some_and(|f| f.value);
        let [whole, first] = self.seen(at).latency_us;
        match if stream { first } else { whole } {
            0 => self.declared_us(at, stream),
            seen => seen,
        }
    }

    fn price(&self, at: usize) -> i64 {
        let Some(s) = self.declared(at) else { return i64::MAX };
        let declared = (s.cost.input_pusd_per_token, s.cost.output_pusd_per_token);
        let (input, output) = self.seen(at).price.unwrap_or(declared);
        let more = s.cost.energy_pusd_per_token + s.cost.licence_pusd_per_token;
        (input + more) * i64::from(self.ask.arrival.input)
            + (output + more) * i64::from(self.ask.class.usual_output_tokens)
    }

    fn account_rank(&self, at: usize) -> usize {
        let homes = self.ask.class.home.iter();
        let accounts = homes.filter_map(|h| self.ask.substrates.iter().find(|s| s.name == *h)).map(|s| &s.account);
        let own = self.declared(at).map(|s| &s.account);
        accounts.map(Some).position(|account| account == own).unwrap_or(usize::MAX)
    }

    /// Queue and memory by weights of 1 to 1, 1 to 3 or 3 to 1; the queue is normalised between those that stand.
    fn points(&self, at: usize, standing: &[usize]) -> i64 {
        let queues = || standing.iter().map(|at| self.load(*at));
        let (least, most) = (queues().min().unwrap_or(0), queues().max().unwrap_or(0));
        let short = if most == least { 1_000_000 } else { (most - self.load(at)) * 1_000_000 / (most - least) };
        let used = || (self.load(at) * 1_000_000 / self.capacity(at)).min(1_000_000);
        let free = 1_000_000 - self.seen(at).memory_ppm.unwrap_or_else(used);
        match self.tuning.taste {
            0 => short + free,
            1 => short + 3 * free,
            _ => 3 * short + free,
        }
    }

    /// Levels by nearness. A level takes the share of requests that its healthy members make up, times an overprovisioning
    /// factor of 1.4 (taste 2: 2.0); the rest overflows to the next. By taste, who has this proxy's part of its capacity in
    /// flight counts as unhealthy: a connection pool's bound, with retries at the next priority.
    pub(super) fn locality(&self, pool: &[usize], standing: &[usize]) -> Option<usize> {
        let level = |at: usize| {
            let place = self.declared(at).map(|s| &s.location);
            let zone = place.is_some_and(|l| self.ask.facts.zone.is_some_and(|f| f.value == l.zone.as_str()));
            let region = place.is_some_and(|l| self.ask.facts.region.is_some_and(|f| f.value == l.region.as_str()));
            if zone { 0 } else { 2 - u64::from(region) }
        };
        let standing = &self.roomy(standing)[..];
        let factor = [14, 14, 20].get(usize::from(self.tuning.taste)).copied().unwrap_or(14);
        let mut left = self.draw % 1_000;
        for wanted in 0..3 {
            let all = pool.iter().filter(|at| level(**at) == wanted).count() as u64;
            let here = Self::kept(standing, |at| level(at) == wanted);
            if here.is_empty() {
                continue;
            }
            let share = (here.len() as u64 * 100 * factor / all.max(1)).min(1_000);
            if left < share {
                return self.pick(Rule::LeastRequest, &here);
            }
            left = (left - share) * 1_000 / (1_000 - share).max(1);
        }
        self.pick(Rule::LeastRequest, standing)
    }
}
