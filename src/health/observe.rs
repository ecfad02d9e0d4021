//! What a VM sees of the answers that pass through it: one observation at a time, without allocation, into counters
//! that its slot carries to whoever folds.

use super::quantile::{BUCKETS, bucket_of, quantile};
use super::slot::{Row, Said, SlotRecord, key_of};
use crate::model::{Signal, order};

/// The bounds of what a `retry-after` may ask for, and what stands for a missing one.
pub const RETRY_S: core::ops::RangeInclusive<u32> = 1..=60;
/// Values that answers say of themselves, at most, per substrate.
const MOST_SAID: usize = 12;

/// The share of good answers that is nearly all.
const NEARLY_ALL_PPM: u64 = 950_000;

/// The most substrates and clusters that one VM keeps account of.
const MOST_KNOWN: usize = 8_192;

/// What one attempt showed, from its beginning to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observation<'a> {
    /// The position of its substrate.
    pub substrate: usize,
    /// The answer's status; 0 if none came: reset, refused, timed out.
    pub status: u16,
    /// Until the first byte, if one came.
    pub first_byte_us: Option<u64>,
    /// Until its end, if it came whole.
    pub total_us: Option<u64>,
    /// Bytes of the answer.
    pub bytes: u64,
    /// Tokens of the answer, where its headers say.
    pub output_tokens: Option<u32>,
    /// What the answer said of its substrate (ORCA, rate limits), in each signal's unit.
    pub said: &'a [(Signal, i64)],
    /// Its `retry-after`.
    pub retry_after_s: Option<u32>,
}

/// How an answer begins.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// What it means.
    pub meaning: Meaning,
    /// Until its first byte.
    pub first_byte_us: Option<u64>,
    /// What it says of its substrate, in each signal's unit.
    pub said: &'a [(Signal, i64)],
    /// For how long it asks to be left alone.
    pub retry_after_s: Option<u32>,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a whole answer.
    Whole {
        /// What the answer meant: only work that was done tells how long work takes.
        meaning: Meaning,
        /// From the attempt's beginning to the first byte.
        first_byte_us: Option<u64>,
        /// From the attempt's beginning to the last byte.
        total_us: u64,
        /// Bytes of the answer, as far as they are known.
        bytes: u64,
        /// Tokens of the answer, where its headers say.
        output_tokens: Option<u32>,
    },
    /// By the substrate, or the way to it: refused, reset, timed out, broken off.
    Broken,
    /// By somebody else: the client has gone, our own limit held it back, or it became a socket, which ends when its
    /// sides have done with it. Says nothing of the substrate.
    Abandoned,
}

/// What an answer means for its substrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Work done.
    Good,
    /// The substrate failed.
    Failed,
    /// It has too much to do: alive, and not to be counted as fast.
    Overloaded,
    /// The request was bad: says nothing of the substrate.
    Refused,
}

impl Meaning {
    /// What a status means. A `503` that says when to come back is a full queue, one that does not is a failure.
    #[must_use]
    pub const fn of(status: u16, has_hint: bool) -> Self {
        match status {
            100..400 => Self::Good,
            429 | 529 => Self::Overloaded,
            503 if has_hint => Self::Overloaded,
            400..500 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// What this VM has seen of every substrate since it began.
#[derive(Debug, Default)]
pub struct Observer {
    seen: Vec<Seen>,
    /// Positions in the order of their keys, in which slots are written.
    order: Vec<usize>,
}

#[derive(Debug)]
struct Seen {
    row: Row,
    buckets: [u32; BUCKETS],
    usual_us: i64,
    touched: bool,
    sockets: bool,
}

impl Observer {
    /// An observer of these substrates, by their position.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let seen: Vec<Seen> = names.map(|name| Seen::new(key_of(name))).collect();
        let key = |at: &usize| seen.get(*at).map(|s: &Seen| s.row.substrate);
        let order = order::sorted((0..seen.len()).collect(), |a, b| key(a).cmp(&key(b)));
        Self { seen, order }
    }

    /// A request was placed.
    pub fn placed(&mut self, substrate: usize) {
        if let Some(seen) = self.seen.get_mut(substrate) {
            seen.row.placed = seen.row.placed.saturating_add(1);
            seen.touched = true;
        }
    }

    /// The position of a key, new or known; `None` if there are more of them than anybody has.
    pub fn know(&mut self, key: u64) -> Option<usize> {
        let key_at = |at: &usize| self.seen.get(*at).map_or(0, |s| s.row.substrate);
        match self.order.binary_search_by_key(&key, key_at) {
            Ok(place) => self.order.get(place).copied(),
            Err(_) if self.seen.len() >= MOST_KNOWN => None,
            Err(place) => {
                let at = self.seen.len();
                self.order.insert(place, at);
                self.seen.push(Seen::new(key));
                Some(at)
            }
        }
    }

    /// An attempt has begun; [`Observer::ended`] ends it.
    pub fn began(&mut self, substrate: usize) {
        if let Some(seen) = self.seen.get_mut(substrate) {
            seen.row.in_flight = seen.row.in_flight.saturating_add(1);
            seen.touched = true;
        }
    }

    /// An answer has begun. Of an unknown substrate nothing is kept.
    pub fn answered(&mut self, substrate: usize, it: &Beginning<'_>, now_ms: u64) {
        if let Some(seen) = self.seen.get_mut(substrate) {
            seen.begin(it, now_ms);
        }
    }

    /// An answer that began well said at its end that it was not; what it says besides is kept.
    pub fn turned(&mut self, substrate: usize, it: &Beginning<'_>, now_ms: u64) {
        if let Some(seen) = self.seen.get_mut(substrate) {
            seen.turn(it, now_ms);
        }
    }

    /// It became a socket.
    pub fn switched(&mut self, substrate: usize) {
        self.seen.get_mut(substrate).into_iter().for_each(|seen| seen.sockets = true);
    }

    /// Until when nearly all good answers had begun, once there was one, and whether anything ever became a socket.
    #[must_use]
    pub fn usual(&self, substrate: usize) -> (Option<u64>, bool) {
        let usual = |seen: &Seen| (quantile(&seen.buckets, &[0; BUCKETS], NEARLY_ALL_PPM), seen.sockets);
        self.seen.get(substrate).map_or((None, false), usual)
    }

    /// An attempt has ended.
    pub fn ended(&mut self, substrate: usize, ending: &Ending) {
        if let Some(seen) = self.seen.get_mut(substrate) {
            seen.end(ending);
        }
    }

    /// An attempt is over, all of it at once.
    pub fn observe(&mut self, it: &Observation<'_>, now_ms: u64) {
        let Observation { substrate, first_byte_us, bytes, output_tokens, said, retry_after_s, .. } = *it;
        let meaning = Meaning::of(it.status, retry_after_s.is_some());
        if it.status > 0 {
            self.answered(substrate, &Beginning { meaning, first_byte_us, said, retry_after_s }, now_ms);
        }
        let ending = match it.total_us {
            Some(total_us) => Ending::Whole { meaning, first_byte_us, total_us, bytes, output_tokens },
            None if it.status == 0 => Ending::Broken,
            None => Ending::Abandoned,
        };
        self.ended(substrate, &ending);
    }

    /// Puts all that was seen into a slot's record.
    pub fn write(&self, record: &mut SlotRecord) {
        record.rows.clear();
        let rows = self.order.iter().filter_map(|at| self.seen.get(*at)).filter(|seen| seen.touched);
        record.rows.extend(rows.map(Seen::row));
    }
}

impl Seen {
    fn new(key: u64) -> Self {
        let said = Vec::with_capacity(MOST_SAID);
        let row = Row { substrate: key, said, ..Row::default() };
        Self { row, buckets: [0; BUCKETS], usual_us: 0, touched: false, sockets: false }
    }

    fn row(&self) -> Row {
        let some = self.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
        let buckets = some.filter_map(|(at, n)| Some((u8::try_from(at).ok()?, *n))).collect();
        Row { buckets, said: self.row.said.clone(), ..self.row.clone() }
    }

    fn begin(&mut self, it: &Beginning<'_>, now_ms: u64) {
        self.hear(it, now_ms);
        self.row.answers.count(it.meaning);
        // Only work that was done tells how long work takes: a quick refusal is not a quick substrate.
        if let (Meaning::Good, Some(first_us)) = (it.meaning, it.first_byte_us) {
            self.row.first.add(first_us);
            if let Some(n) = self.buckets.get_mut(bucket_of(first_us)) {
                *n = n.saturating_add(1);
            }
        }
    }

    fn turn(&mut self, it: &Beginning<'_>, now_ms: u64) {
        self.hear(it, now_ms);
        if matches!(it.meaning, Meaning::Failed | Meaning::Overloaded) {
            self.row.answers.count(it.meaning);
        }
    }

    /// What it says of itself, and for how long it asks to be left alone.
    fn hear(&mut self, it: &Beginning<'_>, now_ms: u64) {
        self.touched = true;
        for (signal, value) in it.said {
            say(&mut self.row.said, *signal, *value, now_ms);
        }
        if let (Meaning::Overloaded | Meaning::Good, Some(hint)) = (it.meaning, it.retry_after_s) {
            self.row.retry_at_ms =
                now_ms.saturating_add(u64::from(hint.clamp(*RETRY_S.start(), *RETRY_S.end())) * 1_000);
        }
    }

    fn end(&mut self, ending: &Ending) {
        self.touched = true;
        self.row.in_flight = self.row.in_flight.saturating_sub(1);
        match *ending {
            Ending::Whole { meaning, first_byte_us, total_us, bytes, output_tokens } => {
                self.row.bytes = self.row.bytes.saturating_add(bytes);
                if meaning == Meaning::Good {
                    self.time(total_us, first_byte_us, output_tokens);
                }
            }
            Ending::Broken => self.row.answers.count(Meaning::Failed),
            Ending::Abandoned => {}
        }
    }

    fn time(&mut self, total_us: u64, first_byte_us: Option<u64>, output_tokens: Option<u32>) {
        self.row.total.add(total_us);
        let total = i64::try_from(total_us).unwrap_or(i64::MAX);
        // The VM's own average, by a sixteenth each: only the spread around it goes out.
        let off = if self.usual_us == 0 { 0 } else { total.saturating_sub(self.usual_us) };
        self.usual_us = if self.usual_us == 0 { total } else { self.usual_us.saturating_add(off / 16) };
        self.row.spread.add(off.unsigned_abs());
        if let (Some(first_us), Some(tokens @ 2..)) = (first_byte_us, output_tokens) {
            self.row.per_token.add(total_us.saturating_sub(first_us) / u64::from(tokens - 1));
        }
    }
}

fn say(said: &mut Vec<Said>, signal: Signal, value: i64, at_ms: u64) {
    let (least, most) = signal.bounds();
    if !(least..=most).contains(&value) {
        return;
    }
    if let Some(known) = said.iter_mut().find(|s| s.signal == signal) {
        (known.value, known.at_ms) = (value, at_ms);
    } else if said.len() < MOST_SAID {
        said.push(Said { signal, value, at_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_SAID, Meaning, Observation, Observer, say};
    use crate::health::slot::{Answers, SlotRecord, Sum, key_of};
    use crate::model::Signal;

    const NOW: u64 = 1_790_000_000_000;

    fn seen(observations: &[Observation<'_>]) -> SlotRecord {
        let mut observer = Observer::new(["b", "a", "c"].into_iter());
        observations.iter().for_each(|o| observer.observe(o, NOW));
        let mut record = SlotRecord::default();
        observer.write(&mut record);
        record
    }

    #[test]
    fn of_more_that_answers_say_of_themselves_than_there_is_room_for_the_first_stays() {
        let mut said = Vec::with_capacity(MOST_SAID);
        let (room, taken) = (said.capacity(), Signal::ALL.into_iter().filter(|signal| signal.bounds().0 <= 1));
        for (n, signal) in taken.clone().enumerate() {
            say(&mut said, signal, signal.bounds().0.max(1), NOW + n as u64);
        }
        assert!(taken.count() > MOST_SAID);
        assert_eq!((said.len(), said.capacity()), (MOST_SAID, room), "no memory is taken for more");
        let first = said[0].signal;
        say(&mut said, first, first.bounds().0.max(1), NOW + 99);
        assert_eq!(said[0].at_ms, NOW + 99, "and goes on");
    }

    #[test]
    fn a_full_substrate_is_neither_good_nor_failed_and_a_bad_request_says_nothing_of_it() {
        for (status, hint, meaning) in [
            (200, false, Meaning::Good),
            (304, false, Meaning::Good),
            (400, false, Meaning::Refused),
            (404, false, Meaning::Refused),
            (429, false, Meaning::Overloaded),
            (429, true, Meaning::Overloaded),
            (500, false, Meaning::Failed),
            (503, false, Meaning::Failed),
            (503, true, Meaning::Overloaded),
            (529, false, Meaning::Overloaded),
            (0, false, Meaning::Failed),
        ] {
            assert_eq!(Meaning::of(status, hint), meaning, "{status}, hint: {hint}");
        }
    }

    #[test]
    fn quick_refusals_do_not_make_a_substrate_look_quick() {
        let refusal =
            Observation { status: 429, first_byte_us: Some(10), total_us: Some(10), ..Observation::default() };
        let work = Observation { status: 200, first_byte_us: Some(300_000), ..refusal };
        let record = seen(&[refusal, work, refusal]);
        assert_eq!(record.rows[0].first, Sum { count: 1, sum_us: 300_000 });
        assert_eq!(record.rows[0].answers, Answers { good: 1, overloaded: 2, ..Answers::default() });
    }

    #[test]
    fn a_hint_is_believed_between_a_second_and_a_minute() {
        for (hint, cool_s) in [(0, 1), (5, 5), (86_400, 60)] {
            let full = Observation { status: 429, retry_after_s: Some(hint), ..Observation::default() };
            assert_eq!(seen(&[full]).rows[0].retry_at_ms, NOW + cool_s * 1_000);
        }
        let failed = Observation { status: 500, retry_after_s: Some(5), ..Observation::default() };
        assert_eq!(seen(&[failed]).rows[0].retry_at_ms, 0);
    }

    #[test]
    fn rows_are_sorted_by_key_and_only_of_substrates_that_were_met() {
        let at = |substrate| Observation { substrate, status: 200, ..Observation::default() };
        let record = seen(&[at(0), at(2), at(7)]);
        let mut keys = vec![key_of("b"), key_of("c")];
        keys.sort_unstable();
        assert_eq!(record.rows.iter().map(|r| r.substrate).collect::<Vec<_>>(), keys);
    }

    #[test]
    fn what_answers_say_is_kept_if_it_can_be_true() {
        let said = [(Signal::RateRemaining, 4), (Signal::MemoryPressure, 1_000_001), (Signal::RateRemaining, 3)];
        let record = seen(&[Observation { status: 200, said: &said, ..Observation::default() }]);
        assert_eq!(record.rows[0].said.iter().map(|s| (s.signal, s.value)).collect::<Vec<_>>(), [said[2]]);
    }

    #[test]
    fn attempts_in_flight_are_those_begun_and_not_ended() {
        let mut observer = Observer::new(["a"].into_iter());
        (0..3).for_each(|_| observer.began(0));
        observer.observe(&Observation { status: 200, ..Observation::default() }, NOW);
        let mut record = SlotRecord::default();
        observer.write(&mut record);
        assert_eq!(record.rows[0].in_flight, 2);
    }
}
