//! What one VM tells the others through its slot of shared data: counters that only count up while the VM lives, so
//! that a reader who misses a tick loses nothing.

use super::observe::Meaning;

/// What one VM tells the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotRecord {
    /// Which life of which VM: counters of another incarnation begin at zero.
    pub incarnation: u64,
    /// Whoever does not renew by then has died.
    pub expires_ms: u64,
    /// This VM places requests, so it can be asked to probe.
    pub places: bool,
    /// One row a substrate that this VM has had to do with, sorted by key.
    pub rows: Vec<Row>,
}

/// What one VM has to say of one substrate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The substrate: [`key_of`] its name, as VMs may hold different policies; or [`key_of_cluster`] where a VM that
    /// holds none saw an attempt.
    pub substrate: u64,
    /// Requests placed there.
    pub placed: u64,
    /// Answers, by what they mean.
    pub answers: Answers,
    /// Attempts that have begun and not ended: a level, not a counter.
    pub in_flight: u32,
    /// Time to the first byte.
    pub first: Sum,
    /// Whole time.
    pub total: Sum,
    /// Time per output token, over answers that said how many they had.
    pub per_token: Sum,
    /// Spread of the whole time around this VM's own average.
    pub spread: Sum,
    /// Bytes of answers.
    pub bytes: u64,
    /// First bytes' times, counted in the buckets of [`super::quantile`]; only buckets that have any.
    pub buckets: Vec<(u8, u32)>,
    /// The latest that answers said of themselves.
    pub said: Vec<Said>,
    /// Overloaded until then, by its own word; 0 if it never said so.
    pub retry_at_ms: u64,
}

/// Answers by what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Work done.
    pub good: u64,
    /// The substrate failed.
    pub failed: u64,
    /// It had too much to do: neither good nor failed.
    pub overloaded: u64,
    /// The request was bad: says nothing of the substrate.
    pub refused: u64,
}

/// A count and what it adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Together.
    pub sum_us: u64,
}

/// A value that an answer carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which signal.
    pub signal: crate::model::Signal,
    /// In the signal's unit.
    pub value: i64,
    /// When (Unix time).
    pub at_ms: u64,
}

impl SlotRecord {
    /// When its VM began, as that says itself: an incarnation is its time of birth, all but the lowest bits.
    #[must_use]
    pub const fn born_ms(&self) -> u64 {
        self.incarnation / 1_000_000
    }

    fn placed(&self) -> u64 {
        self.rows.iter().fold(0, |sum, row| sum.saturating_add(row.placed))
    }

    /// Whether more was placed than an earlier record says.
    #[must_use]
    pub fn placed_since(&self, earlier: Option<&Self>) -> bool {
        self.placed() > earlier.map_or(0, Self::placed)
    }
}

impl Answers {
    /// One more.
    pub fn count(&mut self, meaning: Meaning) {
        let n = match meaning {
            Meaning::Good => &mut self.good,
            Meaning::Failed => &mut self.failed,
            Meaning::Overloaded => &mut self.overloaded,
            Meaning::Refused => &mut self.refused,
        };
        *n = n.saturating_add(1);
    }
}

impl Sum {
    /// One more.
    pub const fn add(&mut self, value_us: u64) {
        self.count = self.count.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(value_us);
    }

    /// What is new since an earlier sum.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self { count: self.count.saturating_sub(earlier.count), sum_us: self.sum_us.saturating_sub(earlier.sum_us) }
    }

    /// Those of another sum as well.
    pub const fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// The mean; `None` of nothing.
    #[must_use]
    pub fn mean(&self) -> Option<i64> {
        self.sum_us.checked_div(self.count).and_then(|mean| i64::try_from(mean).ok())
    }
}

/// A substrate's key in slots: FNV-1a over its name.
#[must_use]
pub fn key_of(name: &str) -> u64 {
    hash(0xcbf2_9ce4_8422_2325, name.as_bytes())
}

/// The key of whatever is behind a cluster of the proxy: no name of a substrate has a slash, so they never meet.
#[must_use]
pub fn key_of_cluster(cluster: &[u8]) -> u64 {
    hash(key_of("cluster/"), cluster)
}

fn hash(from: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(from, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
