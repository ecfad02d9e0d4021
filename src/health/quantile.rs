//! Quantiles from fixed logarithmic buckets: what several VMs counted merges by addition, and nothing is sampled away.
//!
//! Four buckets an octave, from 256 µs to over an hour, found by shifts: a value is off by at most an eighth.

/// How many buckets there are.
pub const BUCKETS: usize = 96;
/// Values below two to this power share the first bucket.
const FIRST_BIT: u32 = 8;
/// Bits of the mantissa that tell buckets of one octave apart.
const SUB_BITS: u32 = 2;

/// Counts by bucket.
pub type Buckets = [u32; BUCKETS];

/// The bucket of a value.
#[must_use]
pub fn bucket_of(value_us: u64) -> usize {
    let value = value_us.max(1 << FIRST_BIT);
    let bit = value.ilog2();
    let sub = (value >> (bit - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    let at = u64::from((bit - FIRST_BIT) << SUB_BITS) + sub;
    usize::try_from(at).map_or(BUCKETS - 1, |at| at.min(BUCKETS - 1))
}

/// The middle of a bucket.
#[must_use]
pub fn value_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket.min(BUCKETS - 1)).unwrap_or(0);
    let (octave, sub) = (bucket >> SUB_BITS, bucket & ((1 << SUB_BITS) - 1));
    let step = 1_u64 << (octave + u64::from(FIRST_BIT - SUB_BITS));
    (step << SUB_BITS) + step * sub + step / 2
}

/// The value that a share of all counted stay below, over two sets of buckets; `None` if nothing was counted.
#[must_use]
pub fn quantile(one: &Buckets, other: &Buckets, share_ppm: u64) -> Option<u64> {
    let total: u64 = one.iter().chain(other).map(|n| u64::from(*n)).sum();
    let wanted = (u128::from(total) * u128::from(share_ppm)).div_ceil(1_000_000).max(1);
    let mut below = 0_u128;
    let at = one.iter().zip(other).position(|(a, b)| {
        below += u128::from(*a) + u128::from(*b);
        below >= wanted
    });
    at.map(value_of)
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket_of, quantile, value_of};

    #[test]
    fn every_value_is_within_an_eighth_of_its_buckets_middle() {
        for value in (300_u64..4_000_000_000).step_by(999_983) {
            let middle = value_of(bucket_of(value));
            assert!(middle.abs_diff(value) * 8 <= value, "{value} lies in the bucket of {middle}");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn buckets_follow_their_values() {
        let middles: Vec<u64> = (0..BUCKETS).map(value_of).collect();
        assert!(middles.is_sorted());
        assert!(middles.iter().enumerate().all(|(i, m)| bucket_of(*m) == i));
    }

    #[test]
    fn quantiles_of_merged_counts_are_those_of_all_values() {
        let (mut one, mut other) = ([0; BUCKETS], [0; BUCKETS]);
        for i in 1..=1_000_u64 {
            let buckets = if i % 3 == 0 { &mut one } else { &mut other };
            buckets[bucket_of(i * 1_000)] += 1;
        }
        for (share, exact) in [(500_000, 500_000_u64), (950_000, 950_000), (1, 1_000), (1_000_000, 1_000_000)] {
            let found = quantile(&one, &other, share).unwrap();
            assert!(found.abs_diff(exact) * 8 <= exact, "{share} ppm: {found}, not {exact}");
        }
        assert_eq!(quantile(&[0; BUCKETS], &[0; BUCKETS], 500_000), None);
    }
}
