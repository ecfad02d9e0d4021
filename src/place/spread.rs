//! Weighted rendezvous hashing in integers: the one pseudo-random pick of the decision, by a key, so that it can be
//! made again anywhere.
//!
//! Each candidate draws `weight ÷ −log2(u)` with `u` uniform by the hash of key and candidate; the largest draw wins.
//! That gives every candidate its weight's share of keys, and taking one away moves only its own keys. The logarithm
//! is a table with linear interpolation, made by the compiler from squarings: no floats, the same bytes everywhere.

use crate::policy::index::mix;

const STEPS: usize = 256;
/// Fractional bits of a logarithm.
const FRACTION: u32 = 24;

/// `log2(1 + i/256)` in Q24, by repeated squaring.
const LOG2: [u32; STEPS + 1] = table();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of bounds")]
const fn table() -> [u32; STEPS + 1] {
    let mut table = [0; STEPS + 1];
    let mut i = 0;
    while i < STEPS {
        // The mantissa in Q31, squared bit by bit: above two, the next bit of the logarithm is one.
        let mut x = ((STEPS + i) as u64) << (31 - 8);
        let mut bits = 0_u32;
        let mut n = 0;
        while n < FRACTION {
            x = (x * x) >> 31;
            bits <<= 1;
            if x >= 1 << 32 {
                bits |= 1;
                x >>= 1;
            }
            n += 1;
        }
        table[i] = bits;
        i += 1;
    }
    table[STEPS] = 1 << FRACTION;
    table
}

/// `−log2(u)` in Q24 for `u = (draw + 1) / 2^64`, at least 1.
#[inline(always)]
fn surprise(draw: u64) -> u64 {
    let draw = draw.max(1);
    let zeros = draw.leading_zeros();
    let mantissa = draw << zeros;
    let step = ((mantissa >> 55) & 0xff) as usize;
    let rest = (mantissa >> 31) & 0x00ff_ffff;
    let low = u64::from(LOG2.get(step).copied().unwrap_or(0));
    let high = u64::from(LOG2.get(step + 1).copied().unwrap_or(1 << FRACTION));
    let log = low + (((high - low) * rest) >> 24);
    ((u64::from(zeros) + 1) << FRACTION).saturating_sub(log).max(1)
}

/// What a key means for a candidate: uniform, independent between candidates.
#[inline(always)]
pub(crate) const fn draw(key: u64, candidate: u64) -> u64 {
    mix(key ^ candidate)
}

/// The greatest weight that is told apart: with [`surprise`] below 2^31, products stay within 64 bits.
pub(crate) const MOST_WEIGHT: u64 = 1 << 24;

/// A candidate with its weight and its luck.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ticket {
    pub(crate) candidate: u16,
    pub(crate) share_ppm: u32,
    pub(crate) weight: u64,
    draw: u64,
}

impl Ticket {
    /// What a key means for a candidate of a hash.
    #[inline(always)]
    pub(crate) fn new(key: u64, candidate: u16, hash: u64, weight: u64, share_ppm: u32) -> Self {
        Self { candidate, share_ppm, weight: weight.min(MOST_WEIGHT), draw: draw(key, hash) }
    }

    /// Whether it beats another one, whose surprise is known; earlier ones win ties. Most do not, and that shows
    /// before the logarithm: `−log2(u)` is at least `1 − u`, by so much more that the table's error is covered.
    #[inline(always)]
    fn beats(&self, other: &Known) -> bool {
        let least = (!self.draw >> (64 - FRACTION)).max(1);
        self.weight * other.surprise > other.ticket.weight * least
            && self.weight * other.surprise > other.ticket.weight * surprise(self.draw)
    }
}

/// A ticket with its surprise.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    ticket: Ticket,
    surprise: u64,
}

/// The few with the largest draws, best first: whoever is chosen, and whoever comes next, is usually one of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Luckiest {
    list: [Known; FEW],
    len: usize,
}

const FEW: usize = 6;

impl Luckiest {
    /// The luckiest of all tickets.
    pub(crate) fn of(tickets: &[Ticket]) -> Self {
        let mut few = Self::default();
        for ticket in tickets {
            if few.list.get(few.len.wrapping_sub(1)).is_none_or(|last| few.len < FEW || ticket.beats(last)) {
                few.insert(ticket);
            }
        }
        few
    }

    fn insert(&mut self, ticket: &Ticket) {
        let mut known = Known { ticket: *ticket, surprise: surprise(ticket.draw) };
        let mut shifting = false;
        for place in self.list.iter_mut().take(self.len) {
            // Everybody behind the place where it belongs moves by one.
            if shifting || ticket.beats(place) {
                core::mem::swap(place, &mut known);
                shifting = true;
            }
        }
        if let Some(place) = self.list.get_mut(self.len) {
            *place = known;
            self.len += 1;
        }
    }

    /// The eligible candidate whose draw is the largest; the first of equals, which different hashes hardly ever are.
    pub(crate) fn pick(&self, tickets: &[Ticket], eligible: impl Fn(u16) -> bool) -> Option<u16> {
        let few = self.list.iter().take(self.len).map(|known| known.ticket.candidate);
        few.clone().find(|&id| eligible(id)).or_else(|| {
            let rest = if tickets.len() > self.len { tickets } else { &[] };
            pick(rest, eligible)
        })
    }
}

/// The same among all tickets. Eligibility is asked only of a draw that would win, so of few.
fn pick(tickets: &[Ticket], eligible: impl Fn(u16) -> bool) -> Option<u16> {
    let mut best: Option<Known> = None;
    for ticket in tickets {
        if best.as_ref().is_none_or(|best| ticket.beats(best)) && eligible(ticket.candidate) {
            best = Some(Known { ticket: *ticket, surprise: surprise(ticket.draw) });
        }
    }
    best.map(|known| known.ticket.candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithm_differs_from_the_real_one_by_less_than_four_millionths() {
        for i in 1..20_000_u64 {
            let draw = mix(i);
            let real = -((draw as f64 + 1.0) / 2_f64.powi(64)).log2();
            let ours = surprise(draw) as f64 / f64::from(1 << FRACTION);
            assert!((real - ours).abs() < 4e-6, "{draw}: {real} {ours}");
        }
    }

    fn picked(key: u64, all: &[(u16, u64, u64)]) -> u16 {
        let tickets: Vec<Ticket> =
            all.iter().map(|&(id, hash, weight)| Ticket::new(key, id, hash, weight, 0)).collect();
        pick(&tickets, |_| true).unwrap()
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let all = [(0, mix(100), 1_u64), (1, mix(101), 2), (2, mix(102), 5)];
        let mut counts = [0; 3];
        for key in 0..80_000 {
            counts[usize::from(picked(mix(key), &all))] += 1;
        }
        for (count, weight) in counts.into_iter().zip([1, 2, 5]) {
            let expected = weight * 10_000;
            assert!(i64::abs(count - expected) < expected / 20, "{counts:?}");
        }
    }

    #[test]
    fn taking_one_away_moves_only_its_own_keys() {
        let all = [(0, mix(7), 3_u64), (1, mix(8), 3), (2, mix(9), 3)];
        for key in (0..2_000).map(mix) {
            let before = picked(key, &all);
            let after = picked(key, &[all[0], all[2]]);
            assert!(before == 1 || before == after);
        }
    }

    #[test]
    fn what_is_passed_over_before_the_logarithm_would_not_have_won() {
        let known =
            |draw, weight| Known { ticket: Ticket { weight, draw, ..Ticket::default() }, surprise: surprise(draw) };
        for i in 0..20_000_u64 {
            // Draws near the end, where the logarithm is small and the bound is tight.
            let near = |n: u64| u64::MAX - (mix(n) >> (n % 64));
            let (one, other) = (known(near(i), 1 + mix(i) % 900), known(near(i + 7), 1 + mix(i + 1) % 900));
            let wins = one.ticket.weight * other.surprise > other.ticket.weight * one.surprise;
            assert_eq!(one.ticket.beats(&other), wins, "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_luckiest_are_picked_as_from_all() {
        for key in (0..500).map(mix) {
            let tickets: Vec<Ticket> =
                (0..40).map(|id| Ticket::new(key, id, mix(u64::from(id)), 1 + u64::from(id % 5), 0)).collect();
            let few = Luckiest::of(&tickets);
            for modulus in [1, 2, 7, 39] {
                let eligible = |id: u16| id % modulus == modulus - 1;
                assert_eq!(few.pick(&tickets, eligible), pick(&tickets, eligible));
            }
        }
    }

    #[test]
    fn a_logarithm_is_the_same_everywhere_to_its_last_bit() {
        for (draw, expected) in [
            (0, 64 << FRACTION),
            (1, 64 << FRACTION),
            (2, 63 << FRACTION),
            (3, 1_047_150_566),
            (1 << 63, 1 << FRACTION),
            ((1 << 63) - 1, (1 << FRACTION) + 1),
            (0xdead_beef_dead_beef, 3_375_260),
            (0x1622_bd79_5fec_898f, 59_252_052),
            (u64::MAX, 1),
        ] {
            assert_eq!(surprise(draw), expected, "{draw:x}");
        }
    }

    #[test]
    fn of_equal_draws_the_earlier_comes_first() {
        let ticket = |candidate, draw| Ticket { candidate, share_ppm: 0, weight: 3, draw };
        let (high, low) = (mix(1).max(mix(2)), mix(1).min(mix(2)));
        for draws in [[high, high, low], [high, low, high], [low, high, high], [low, low, high], [high, low, low]] {
            let tickets: Vec<Ticket> = (0..).zip(draws).map(|(id, draw)| ticket(id, draw)).collect();
            let mut order = [0_u16, 1, 2];
            order.sort_by_key(|id| core::cmp::Reverse(draws[usize::from(*id)]));
            let few = Luckiest::of(&tickets);
            assert_eq!(few.list.map(|known| known.ticket.candidate)[..3], order, "{draws:?}");
            assert_eq!(pick(&tickets, |_| true), Some(order[0]), "{draws:?}");
        }
    }
}
