//! What an outside source said, sifted: what can be believed, and a count of what cannot. One bad field costs that
//! field; the rest of the record is kept.

use super::decimal::{self, Number};
use crate::model::signal::Unit;
use crate::model::{Reading, Signal};

/// How far ahead another clock may be before its values count as from the future.
pub const SKEW_MS: u64 = 2_000;

/// Why a value was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Drop {
    /// Beyond what is believed of its signal.
    OutOfRange = 0,
    /// Infinite or not a number.
    NotFinite = 1,
    /// From the future.
    Future = 2,
    /// Not a value at all.
    Malformed = 3,
    /// No signal or substrate that we know.
    Unknown = 4,
    /// More than is ever kept.
    TooMany = 5,
    /// Older than what is known already.
    Stale = 6,
    /// The proxies measure it themselves.
    Measured = 7,
    /// Said more than once.
    Doubled = 8,
}

impl Drop {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::OutOfRange,
        Self::NotFinite,
        Self::Future,
        Self::Malformed,
        Self::Unknown,
        Self::TooMany,
        Self::Stale,
        Self::Measured,
        Self::Doubled,
    ];

    /// The word used in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfRange => "out-of-range",
            Self::NotFinite => "not-finite",
            Self::Future => "future",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::TooMany => "too-many",
            Self::Stale => "stale",
            Self::Measured => "measured",
            Self::Doubled => "doubled",
        }
    }
}

/// How many values were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped([u32; Drop::ALL.len()]);

impl Dropped {
    /// One more.
    pub fn count(&mut self, why: Drop) {
        if let Some(n) = self.0.get_mut(why as usize) {
            *n = n.saturating_add(1);
        }
    }

    /// How many for this reason.
    #[must_use]
    pub fn of(&self, why: Drop) -> u32 {
        self.0.get(why as usize).copied().unwrap_or(0)
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Those of another count as well.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(n, more)| *n = n.saturating_add(*more));
    }
}

/// What was heard of one substrate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What can be believed.
    pub readings: Vec<(Signal, Reading)>,
    /// What cannot.
    pub dropped: Dropped,
}

impl Heard {
    /// Keeps a number given in the signal's base unit (a count, a ratio, seconds, dollars per million tokens), or
    /// counts why not.
    pub fn take(&mut self, signal: Signal, number: Number, at_ms: u64, now_ms: u64) {
        match reading(signal, number, at_ms, now_ms) {
            Ok(reading) => self.readings.push((signal, reading)),
            Err(why) => self.dropped.count(why),
        }
    }
}

/// A number in the signal's base unit, with its time.
///
/// # Errors
/// Why it is not believed.
pub fn reading(signal: Signal, number: Number, at_ms: u64, now_ms: u64) -> Result<Reading, Drop> {
    let value = believe(signal, number)?;
    Ok(Reading { value, at_ms: not_future(at_ms, now_ms).ok_or(Drop::Future)? })
}

/// A time in milliseconds, as written; one that nobody could mean is no time at all, and not now.
///
/// # Errors
/// Why it is none.
pub fn time_ms(text: &[u8]) -> Result<u64, Drop> {
    match decimal::parse(text) {
        Number::Micro(micro) => u64::try_from(micro / 1_000_000).map_err(|_| Drop::OutOfRange),
        // Such as nanoseconds.
        Number::TooLarge => Err(Drop::Future),
        Number::NotFinite => Err(Drop::NotFinite),
        Number::Malformed => Err(Drop::Malformed),
    }
}

/// The signals that the proxies may measure themselves.
#[must_use]
pub const fn is_measurable(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::FirstToken
            | Signal::SpeedFactor
            | Signal::Drift
            | Signal::FirstTokenTail
            | Signal::Total
            | Signal::Jitter
            | Signal::PerToken
            | Signal::FailureRate
            | Signal::OverloadRate
            | Signal::InFlight
    )
}

/// Whether a value from this time says nothing new beside what is known. What is known from the future was heard before
/// the clock jumped back.
#[must_use]
pub const fn is_stale(known_ms: u64, at_ms: u64, now_ms: u64) -> bool {
    at_ms < known_ms && known_ms <= now_ms
}

/// The signal's value of a number in its base unit.
///
/// # Errors
/// Why it is not believed.
pub fn believe(signal: Signal, number: Number) -> Result<i64, Drop> {
    let micro = match number {
        Number::Micro(micro) => micro,
        Number::TooLarge => return Err(Drop::OutOfRange),
        Number::NotFinite => return Err(Drop::NotFinite),
        Number::Malformed => return Err(Drop::Malformed),
    };
    // A millionth of a ratio is a part per million, of a second a microsecond, of a dollar per million tokens a
    // picodollar per token: only counts are divided.
    let value = match signal.unit() {
        Unit::Count => scale(micro, 1, 1_000_000),
        Unit::Ppm | Unit::Micros | Unit::PicoUsd => micro,
    };
    let (least, most) = signal.bounds();
    if (least..=most).contains(&value) { Ok(value) } else { Err(Drop::OutOfRange) }
}

/// The time of a value, if it is not from the future; a clock that is a little ahead is forgiven.
#[must_use]
pub fn not_future(at_ms: u64, now_ms: u64) -> Option<u64> {
    (at_ms <= now_ms.saturating_add(SKEW_MS)).then(|| at_ms.min(now_ms))
}

/// `value × by ÷ over`, rounded half away from zero, saturating.
#[must_use]
pub(super) fn scale(value: i64, by: i64, over: i64) -> i64 {
    let (value, by, over) = (i128::from(value), i128::from(by), i128::from(over.max(1)));
    let product = value * by;
    let rounded = (product + product.signum() * (over / 2)) / over;
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}
