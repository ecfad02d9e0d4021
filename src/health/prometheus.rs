//! Reads the Prometheus text format as a stream: of a scrape of megabytes only the mapped samples are looked at, nothing
//! is kept of the others, and a line may end in another piece than it began in.

mod line;

use super::decimal::{self, Number};
use super::heard::{Drop, Heard, not_future, scale, time_ms};
use crate::model::{Signal, WHOLE_PPM};
use line::{carries, split};

/// The longest scrape that is read.
pub const MOST_SCRAPE: usize = 8 << 20;
/// The longest line; a longer one is skipped and counted.
const MOST_LINE: usize = 16 << 10;

/// Which samples: the metric, and labels that they must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// Labels with these values.
    pub labels: Vec<(String, String)>,
}

impl Selector {
    /// All samples of a metric.
    #[must_use]
    pub fn all(metric: &str) -> Self {
        Self { metric: String::from(metric), labels: Vec::new() }
    }
}

/// How several samples become one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregate {
    /// Together.
    #[default]
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// In the middle.
    Mean,
}

/// By what a value is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// By this.
    Of(Selector),
    /// By itself and this together: used by used and free.
    With(Selector),
}

/// From samples to a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The signal.
    pub signal: Signal,
    /// The samples.
    pub of: Selector,
    /// By what they are divided.
    pub per: Option<Per>,
    /// How several samples become one value.
    pub aggregate: Aggregate,
    /// The samples only count up: what was added since the last scrape is meant.
    pub increase: bool,
    /// The value is multiplied by so many millionths, to be in the signal's base unit.
    pub scale_micro: i64,
    /// What is left to one is meant.
    pub rest: bool,
}

impl Mapping {
    /// The sum of a metric as it is.
    #[must_use]
    pub fn new(signal: Signal, metric: &str) -> Self {
        Self {
            signal,
            of: Selector::all(metric),
            per: None,
            aggregate: Aggregate::Sum,
            increase: false,
            scale_micro: WHOLE_PPM,
            rest: false,
        }
    }

    const fn divisor(&self) -> Option<&Selector> {
        match &self.per {
            Some(Per::Of(selector) | Per::With(selector)) => Some(selector),
            None => None,
        }
    }
}

/// What counters had reached at the last scrape, by mapping.
pub type Before = Vec<Option<(i64, i64)>>;

/// A scrape that is being read.
#[derive(Debug)]
pub struct Scrape<'m> {
    mappings: &'m [Mapping],
    /// By mapping: what is meant, and by what it is divided.
    tallies: Vec<(Tally, Tally)>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    skipping: bool,
    heard: Heard,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    count: i64,
    sum: i64,
    most: i64,
    least: i64,
    /// One of the samples could not be read: what the others come to would be another number.
    spoilt: bool,
    /// When the samples that say so were taken, the oldest and the newest.
    taken_ms: Option<(u64, u64)>,
}

impl Tally {
    fn add(&mut self, value: i64, stamp_ms: Option<u64>) {
        if let Some(at_ms) = stamp_ms {
            let (oldest, newest) = self.taken_ms.unwrap_or((at_ms, at_ms));
            self.taken_ms = Some((oldest.min(at_ms), newest.max(at_ms)));
        }
        let first = self.count == 0;
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
        self.most = if first { value } else { self.most.max(value) };
        self.least = if first { value } else { self.least.min(value) };
    }

    fn value(&self, aggregate: Aggregate) -> Option<i64> {
        (self.count > 0 && !self.spoilt).then(|| match aggregate {
            Aggregate::Sum => self.sum,
            Aggregate::Max => self.most,
            Aggregate::Min => self.least,
            Aggregate::Mean => scale(self.sum, 1, self.count),
        })
    }
}

impl<'m> Scrape<'m> {
    /// Begins.
    #[must_use]
    pub fn new(mappings: &'m [Mapping]) -> Self {
        Self {
            mappings,
            tallies: vec![(Tally::default(), Tally::default()); mappings.len()],
            line: Vec::new(),
            skipping: false,
            heard: Heard::default(),
        }
    }

    /// Reads the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut lines = piece.split(|b| *b == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            if self.line.is_empty() && !self.skipping && line.len() <= MOST_LINE {
                self.sample(line);
                continue;
            }
            self.keep(line);
            if !core::mem::take(&mut self.skipping) {
                let whole = core::mem::take(&mut self.line);
                self.sample(&whole);
            }
        }
        self.keep(last);
    }

    fn keep(&mut self, beginning: &[u8]) {
        if self.skipping {
            return;
        }
        if self.line.len().saturating_add(beginning.len()) > MOST_LINE {
            let mut begun = core::mem::take(&mut self.line);
            begun.extend_from_slice(beginning.get(..MOST_LINE.min(beginning.len())).unwrap_or_default());
            self.skipping = true;
            self.heard.dropped.count(Drop::TooMany);
            // Whichever of the metric's samples it was.
            self.spoil(named(begun.trim_ascii()).0, None);
        } else {
            self.line.extend_from_slice(beginning);
        }
    }

    /// Ends, and gives what was mapped; `None` if nothing that is mapped was there, in which case it is the scrape of something
    /// else. A metric that is missing is missing, not zero.
    #[must_use]
    pub fn finish(mut self, before: &mut Before, now_ms: u64) -> Option<Heard> {
        let last = core::mem::take(&mut self.line);
        self.sample(&last);
        if self.heard.dropped.total() == 0 && self.tallies.iter().all(|(of, _)| of.count == 0) {
            return None;
        }
        before.resize(self.mappings.len(), None);
        for ((mapping, tally), before) in self.mappings.iter().zip(&self.tallies).zip(before) {
            let stamps = [tally.0.taken_ms, tally.1.taken_ms];
            // As old as the oldest of them; but one from the future makes the value one.
            let newest = stamps.iter().flatten().map(|(_, newest)| *newest).max().unwrap_or(now_ms);
            let oldest = stamps.iter().flatten().map(|(oldest, _)| *oldest).min().unwrap_or(now_ms);
            let at_ms = if not_future(newest, now_ms).is_none() { newest } else { oldest };
            if let Some(value) = value_of(mapping, tally, before) {
                self.heard.take(mapping.signal, Number::Micro(value), at_ms, now_ms);
            }
        }
        Some(self.heard)
    }

    fn sample(&mut self, line: &[u8]) {
        let (name, rest) = named(line.trim_ascii());
        let is = |selector: &Selector| selector.metric.as_bytes() == name;
        let wanted = |m: &Mapping| is(&m.of) || m.divisor().is_some_and(is);
        if name.is_empty() || !self.mappings.iter().any(wanted) {
            return;
        }
        let Some((labels, value, stamp)) = split(rest) else {
            self.heard.dropped.count(Drop::Malformed);
            return self.spoil(name, None);
        };
        match number(value).and_then(|value| Ok((value, stamp.map(time_ms).transpose()?))) {
            Ok((value, stamp_ms)) => self.each(name, Some(labels), |tally| tally.add(value, stamp_ms)),
            Err(why) => {
                self.heard.dropped.count(why);
                self.spoil(name, Some(labels));
            }
        }
    }

    /// A sample could not be read: what it belongs to is not known this time. Without it, a sum would be smaller than it
    /// is, and who is missing would win.
    fn spoil(&mut self, name: &[u8], labels: Option<&[u8]>) {
        self.each(name, labels, |tally| tally.spoilt = true);
    }

    /// Does something with all that a sample belongs to; one whose labels are not known may belong to any.
    fn each(&mut self, name: &[u8], labels: Option<&[u8]>, act: impl Fn(&mut Tally)) {
        let fits = |s: &Selector| labels.is_none_or(|labels| carries(labels, &s.labels));
        let has = |s: &Selector| s.metric.as_bytes() == name && fits(s);
        for (mapping, (of, per)) in self.mappings.iter().zip(&mut self.tallies) {
            if has(&mapping.of) {
                act(of);
            }
            if mapping.divisor().is_some_and(has) {
                act(per);
            }
        }
    }
}

fn number(text: &[u8]) -> Result<i64, Drop> {
    match decimal::parse(text) {
        Number::Micro(value) => Ok(value),
        Number::NotFinite => Err(Drop::NotFinite),
        Number::TooLarge => Err(Drop::OutOfRange),
        Number::Malformed => Err(Drop::Malformed),
    }
}

/// A line's metric, and what follows.
fn named(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|b| matches!(b, b'{' | b' ' | b'\t')).unwrap_or(line.len());
    line.split_at_checked(end).unwrap_or_default()
}

fn value_of(mapping: &Mapping, (of, per): &(Tally, Tally), before: &mut Option<(i64, i64)>) -> Option<i64> {
    let of = of.value(mapping.aggregate)?;
    let per = match &mapping.per {
        None => None,
        Some(Per::Of(_)) => Some(per.value(mapping.aggregate)?),
        Some(Per::With(_)) => Some(per.value(mapping.aggregate)?.saturating_add(of)),
    };
    let (of, per) = if mapping.increase {
        let now = (of, per.unwrap_or(0));
        let (was_of, was_per) = before.replace(now)?;
        // A counter that went down began anew: nothing can be said until the next scrape.
        let grown = now.0 >= was_of && now.1 >= was_per;
        grown.then(|| (of.saturating_sub(was_of), per.map(|per| per.saturating_sub(was_per))))?
    } else {
        (of, per)
    };
    let value = match per {
        None => of,
        // Nothing divided by nothing is not known.
        Some(per) if per <= 0 => return None,
        Some(per) => scale(of, WHOLE_PPM, per),
    };
    let value = scale(value, mapping.scale_micro, WHOLE_PPM);
    Some(if mapping.rest { WHOLE_PPM.saturating_sub(value) } else { value })
}

#[cfg(test)]
mod tests;
