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
pub(crate) const fn draw(key: u64, candidate: u64) -> u64 {
    mix(key ^ candidate)
}

/// The greatest weight that is told apart: with [`surprise`] below 2^31, products stay within 64 bits.
pub(crate) const MOST_WEIGHT: u64 = 1 << 24;

/// A candidate with its weight and its luck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) candidate: u16,
    pub(crate) weight: u64,
    surprise: u64,
}

impl Ticket {
    /// What a key means for a candidate of a hash.
    pub(crate) fn new(key: u64, candidate: u16, hash: u64, weight: u64) -> Self {
        Self { candidate, weight: weight.min(MOST_WEIGHT), surprise: surprise(draw(key, hash)) }
    }
}

/// The candidate whose draw is the largest; the first of equals, which different hashes hardly ever are.
pub(crate) fn pick<'a>(tickets: impl Iterator<Item = &'a Ticket>) -> Option<u16> {
    let mut best: Option<&Ticket> = None;
    for ticket in tickets {
        if best.is_none_or(|b| ticket.weight * b.surprise > b.weight * ticket.surprise) {
            best = Some(ticket);
        }
    }
    best.map(|ticket| ticket.candidate)
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
        let tickets: Vec<Ticket> = all.iter().map(|&(id, hash, weight)| Ticket::new(key, id, hash, weight)).collect();
        pick(tickets.iter()).unwrap()
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
}
