//! Sets of codes: all that rejects a candidate, as the bits of one word.

use super::{Code, Dimension, Dimensions};

/// A set of codes: everything that rejects a candidate; empty while it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Codes(pub u64);

impl Codes {
    /// The set of one code.
    #[must_use]
    pub const fn of(code: Code) -> Self {
        Self(1 << code as u8)
    }

    /// The set of all codes of a dimension.
    #[must_use]
    pub const fn all_of(dimension: Dimension) -> Self {
        // Collected by the compiler: requests ask for this.
        match dimension {
            Dimension::Workload => const { Self::collect(Dimension::Workload) },
            Dimension::Governance => const { Self::collect(Dimension::Governance) },
            Dimension::Availability => const { Self::collect(Dimension::Availability) },
            Dimension::Cost => const { Self::collect(Dimension::Cost) },
            Dimension::Sovereignty => const { Self::collect(Dimension::Sovereignty) },
        }
    }

    const fn collect(dimension: Dimension) -> Self {
        let (mut bits, mut rest) = (0, Code::ALL);
        while let [code, tail @ ..] = rest {
            if code.dimension() as u8 == dimension as u8 {
                bits |= Self::of(*code).0;
            }
            rest = tail;
        }
        Self(bits)
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in `self` and not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nothing rejects.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `code` rejects.
    #[must_use]
    pub const fn contains(self, code: Code) -> bool {
        self.0 & (1 << code as u8) != 0
    }

    /// The codes in the set, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            // Codes stand in their list by their bits.
            Code::ALL.get(usize::try_from(lowest).unwrap_or(usize::MAX)).copied()
        })
    }

    /// The dimensions that the codes belong to.
    #[must_use]
    pub const fn dimensions(self) -> Dimensions {
        let (mut bits, mut rest) = (0, &MASKS as &[(Dimension, Codes)]);
        while let [(dimension, mask), tail @ ..] = rest {
            if self.0 & mask.0 != 0 {
                bits |= Dimensions::of(*dimension).0;
            }
            rest = tail;
        }
        Dimensions(bits)
    }
}

const fn mask(dimension: Dimension) -> (Dimension, Codes) {
    (dimension, Codes::all_of(dimension))
}

/// Which codes make up each dimension; the bits of [`Codes`] hold every code, which the compiler checks by shifting.
const MASKS: [(Dimension, Codes); 5] = [
    mask(Dimension::Workload),
    mask(Dimension::Governance),
    mask(Dimension::Availability),
    mask(Dimension::Cost),
    mask(Dimension::Sovereignty),
];
