//! A set of positions as bits.

/// A set of positions below a length that was fixed when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Box<[u64]>);

impl Bits {
    /// No position, with room for `len`.
    pub(crate) fn none(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)].into_boxed_slice())
    }

    /// The positions below `len` for which `holds`.
    pub(crate) fn collect(len: usize, holds: impl Fn(usize) -> bool) -> Self {
        let mut bits = Self::none(len);
        (0..len).filter(|&i| holds(i)).for_each(|i| bits.insert(i));
        bits
    }

    /// Adds a position; one beyond the length is dropped.
    pub(crate) fn insert(&mut self, position: usize) {
        if let Some(word) = self.0.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }

    /// Whether a position is in the set.
    pub(crate) fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word & (1 << (position % 64)) != 0)
    }

    /// The words, 64 positions each, the lowest first.
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }
}

/// The positions in words of 64, lowest first.
pub(crate) fn positions(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(at, &word)| {
        let mut rest = word;
        core::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(at * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for len in [0, 1, 63, 64, 65, 128, 200] {
            let bits = Bits::collect(len, |at| at % 3 == 0);
            let expected: Vec<usize> = (0..len).step_by(3).collect();
            assert_eq!((0..400).filter(|&at| bits.contains(at)).collect::<Vec<_>>(), expected, "{len}");
            assert_eq!(positions(bits.words()).collect::<Vec<_>>(), expected, "{len}");
            assert_eq!(bits.words().len(), len.div_ceil(64));
        }
    }

    #[test]
    fn a_position_beyond_the_length_is_dropped() {
        let mut bits = Bits::none(64);
        bits.insert(63);
        bits.insert(64);
        assert_eq!(bits.words(), [1 << 63]);
    }
}
