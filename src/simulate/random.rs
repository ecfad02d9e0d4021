//! The one source of chance: a small generator and the few distributions that loads need, in integers throughout, so
//! that a seed gives the same bytes on every machine.

/// Fractional bits of logarithms and powers.
const Q: u32 = 24;
/// `ln 2` in that many bits.
const LN_2: u64 = 11_629_080;
const ONE: u64 = 1 << Q;

/// A number that differs in every bit where its seed differs in one (splitmix64).
#[must_use]
pub const fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for each purpose of a seed.
    #[must_use]
    pub const fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(seed ^ mix(purpose)))
    }

    /// Sixty-four bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`; 0 where there is none.
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.draw() as u128 * n as u128) >> 64) as u64
    }

    /// Whether something that has this probability happens.
    pub const fn happens(&mut self, ppm: u64) -> bool {
        self.below(1_000_000) < ppm
    }

    /// An exponential waiting time.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let nats = (u128::from(surprise(self.draw())) * u128::from(LN_2)) >> Q;
        u64::try_from((u128::from(mean) * nats) >> Q).unwrap_or(u64::MAX)
    }

    /// A log-normal size: half of all lie below the median, and `spread_ppm` is the standard deviation in doublings.
    pub fn log_normal(&mut self, median: u64, spread_ppm: u64) -> u64 {
        // Twelve uniforms less six are normal as far as anybody can see within three deviations.
        let sum: u64 = (0..12).map(|_| self.draw() >> (64 - Q)).sum();
        let normal = i128::from(sum) - 6 * i128::from(ONE);
        let doublings = normal * i128::from(spread_ppm) / 1_000_000;
        power(median, i64::try_from(doublings).unwrap_or(0))
    }
}

/// `−log2(u)` for `u = draw / 2^64`, by squaring.
fn surprise(draw: u64) -> u64 {
    let draw = draw.max(1);
    let zeros = draw.leading_zeros();
    // The mantissa in Q31, squared bit by bit: above two, the next bit of the logarithm is one.
    let mut x = (draw << zeros) >> 32;
    let mut bits = 0_u64;
    for _ in 0..Q {
        x = (x * x) >> 31;
        bits <<= 1;
        if x >= 1 << 32 {
            bits |= 1;
            x >>= 1;
        }
    }
    ((u64::from(zeros) + 1) << Q) - bits
}

/// `2^(2^-i)` in Q31 for `i` from 1, by square roots.
const ROOTS: [u64; Q as usize] = {
    let mut roots = [0; Q as usize];
    let mut value: u64 = 2 << 31;
    let mut i = 0;
    while i < Q as usize {
        value = root((value as u128) << 31);
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of bounds")]
        {
            roots[i] = value;
        }
        i += 1;
    }
    roots
};

const fn root(n: u128) -> u64 {
    let mut low: u128 = 0;
    let mut high: u128 = 1 << 40;
    while high - low > 1 {
        let middle = (low + high) / 2;
        if middle * middle <= n { low = middle } else { high = middle }
    }
    low as u64
}

/// `value × 2^(exponent / 2^24)`.
fn power(value: u64, exponent: i64) -> u64 {
    let (whole, fraction) = (exponent >> Q, exponent & (ONE as i64 - 1));
    let bits = (0..Q).zip(ROOTS).filter(|(i, _)| fraction >> (Q - 1 - i) & 1 == 1);
    let mantissa = bits.fold(1_u64 << 31, |m, (_, root)| (m * root) >> 31);
    let scaled = (u128::from(value) * u128::from(mantissa)) >> 31;
    let shift = whole.clamp(-63, 60);
    let shifted = if shift < 0 { scaled >> -shift } else { scaled << shift };
    u64::try_from(shifted).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(n: u64, mut of: impl FnMut() -> u64) -> f64 {
        (0..n).map(|_| of() as f64).sum::<f64>() / n as f64
    }

    #[test]
    fn waiting_times_have_their_mean_and_their_variance() {
        let mut random = Random::new(7, 1);
        let found = mean(200_000, || random.exponential(10_000));
        assert!((found - 10_000.0).abs() < 100.0, "{found}");
        let square = mean(200_000, || random.exponential(10_000).pow(2));
        assert!((square / 2e8 - 1.0).abs() < 0.03, "{square}");
    }

    #[test]
    fn sizes_have_their_median_and_their_spread() {
        let mut random = Random::new(7, 2);
        let mut all: Vec<u64> = (0..50_001).map(|_| random.log_normal(1_000, 1_000_000)).collect();
        all.sort_unstable();
        // One deviation is one doubling: 84.13 % lie below twice the median.
        assert!(all[25_000].abs_diff(1_000) < 30, "{}", all[25_000]);
        assert!(all[42_067].abs_diff(2_000) < 70, "{}", all[42_067]);
    }

    #[test]
    fn powers_of_two_are_what_they_are() {
        for (exponent, expected) in
            [(0, 1_000.0), (ONE as i64, 2_000.0), (-(ONE as i64), 500.0), (ONE as i64 / 2, 1414.2)]
        {
            assert!((power(1_000, exponent) as f64 - expected).abs() <= 1.0, "{exponent}");
        }
    }
}
