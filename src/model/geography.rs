//! Where things are, whose law reaches them, and the borders between them.

use super::Name;
use core::fmt;

/// An ISO 3166-1 alpha-2 country code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Accepts two upper-case letters, or `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match *text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Self([a, b])),
            _ => None,
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a substrate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The country whose territory it is in.
    pub jurisdiction: Country,
    /// The region, such as `eu-west`.
    pub region: Name,
    /// The zone, such as `par-1`.
    pub zone: Name,
    /// What fails together; the zone unless the policy says otherwise.
    pub failure_domain: Name,
}

/// A border that a placement can cross, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Border {
    /// Another zone than every home.
    Zone = 0,
    /// Another region than every home.
    Region = 1,
    /// Another jurisdiction than every home.
    Jurisdiction = 2,
    /// Another billing account than every home.
    Account = 3,
    /// Another cost regime than every home.
    Regime = 4,
}

impl Border {
    /// All borders, narrowest first.
    pub const ALL: [Self; 5] = [Self::Zone, Self::Region, Self::Jurisdiction, Self::Account, Self::Regime];

    /// The word used in policies, records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Region => "region",
            Self::Jurisdiction => "jurisdiction",
            Self::Account => "account",
            Self::Regime => "regime",
        }
    }
}

/// A set of borders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Borders(u8);

impl Borders {
    /// No border.
    pub const NONE: Self = Self(0);
    /// Every border.
    pub const ANY: Self = Self(0b1_1111);

    /// The set as bits, in the order of [`Border::ALL`].
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set from bits; bits that name no border are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ANY.0)
    }

    /// The zone, region and jurisdiction borders up to and including `widest`; [`Self::ANY`] beyond.
    #[must_use]
    pub const fn up_to(widest: Border) -> Self {
        match widest {
            Border::Zone => Self(0b1),
            Border::Region => Self(0b11),
            Border::Jurisdiction => Self(0b111),
            Border::Account | Border::Regime => Self::ANY,
        }
    }

    /// With one border more.
    #[must_use]
    pub const fn with(self, border: Border) -> Self {
        Self(self.0 | (1 << border as u8))
    }

    /// Whether `border` is in the set.
    #[must_use]
    pub const fn contains(self, border: Border) -> bool {
        self.0 & (1 << border as u8) != 0
    }

    /// What is in `self` and not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The borders in the set, narrowest first.
    pub fn iter(self) -> impl Iterator<Item = Border> {
        Border::ALL.into_iter().filter(move |&b| self.contains(b))
    }

    /// The widest *legal or geographic* border in the set, then the others: what a record names.
    #[must_use]
    pub fn widest(self) -> Option<Border> {
        [Border::Jurisdiction, Border::Region, Border::Account, Border::Regime, Border::Zone]
            .into_iter()
            .find(|&b| self.contains(b))
    }
}
