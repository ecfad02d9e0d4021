//! Numbers that look random and are the same in each run.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::indexing_slicing, reason = "for tests")]

/// A generator: xorshift, multiplied.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `most`, which is not 0.
    pub fn below(&mut self, most: usize) -> usize {
        usize::try_from((self.next() >> 33) % most as u64).unwrap_or(0)
    }

    pub fn pick<'a, T: ?Sized>(&mut self, pool: &[&'a T]) -> &'a T {
        pool[self.below(pool.len())]
    }
}
