//! What the headers of an answer say of whoever gave it: its status, how long it asks to be left alone, what is left of
//! a quota, its load. One pass over the headers; what cannot be believed is counted, the rest is kept.

use super::decimal::{self, Number};
use super::heard::{Drop, Dropped, believe};
use super::observe::Meaning;
use super::orca;
use crate::model::Signal;

/// What the headers of an answer say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0 if there is none.
    pub status: u16,
    /// For how long it asks to be left alone.
    pub retry_after_s: Option<u32>,
    /// How many tokens it holds.
    pub output_tokens: Option<u32>,
    /// What it says of its substrate, in each signal's unit.
    pub said: Vec<(Signal, i64)>,
    /// What of it cannot be believed.
    pub dropped: Dropped,
    /// What its `retry-after` says, whatever that is about.
    hint_s: Option<u32>,
    /// A proxy on the way has answered in the substrate's place: it is full.
    overloaded: bool,
    /// It is a gRPC answer, and what its end says, where that came with its beginning.
    is_grpc: bool,
    grpc: Option<u64>,
    /// A quota is used up, and when it begins anew.
    spent: bool,
    renewed_s: Option<u32>,
}

/// The connection is another protocol's from here on.
const SWITCHING: u16 = 101;

const UNKNOWN: u64 = 2;
const DEADLINE_EXCEEDED: u64 = 4;
const RESOURCE_EXHAUSTED: u64 = 8;
const INTERNAL: u64 = 13;
const UNAVAILABLE: u64 = 14;
const DATA_LOSS: u64 = 15;

/// Reads the headers of an answer that came now.
#[must_use]
pub fn read<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>, now_ms: u64) -> Answer {
    let mut answer = Answer::default();
    for (name, value) in headers {
        answer.take(name, value.trim_ascii(), now_ms);
    }
    answer.settle();
    answer
}

impl Answer {
    /// What the answer means for its substrate.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match (self.status, self.grpc) {
            (200, Some(RESOURCE_EXHAUSTED)) => Meaning::Overloaded,
            (200, Some(UNKNOWN | DEADLINE_EXCEEDED | INTERNAL | UNAVAILABLE | DATA_LOSS)) => Meaning::Failed,
            (200, Some(1..)) => Meaning::Refused,
            (status, _) => Meaning::of(status, self.overloaded || self.hint_s.or(self.retry_after_s).is_some()),
        }
    }

    /// Whether it will say only at its end what came of it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_grpc && self.status == 200 && self.grpc.is_none()
    }

    /// Whether it hands the connection over, as to a socket.
    #[must_use]
    pub const fn is_switch(&self) -> bool {
        self.status == SWITCHING
    }

    /// The end of a gRPC answer has come, with its trailers if it has some: they belong to it as its headers do. One that
    /// does not say what came of it is an error to every client.
    pub fn close<'a>(&mut self, trailers: impl Iterator<Item = (&'a [u8], &'a [u8])>, now_ms: u64) {
        for (name, value) in trailers.filter(|(name, _)| !name.starts_with(b":")) {
            self.take(name, value.trim_ascii(), now_ms);
        }
        self.grpc.get_or_insert(UNKNOWN);
        self.settle();
    }

    /// For how long it asks to be left alone, by all that it has said.
    fn settle(&mut self) {
        self.retry_after_s = match self.meaning() {
            // A good answer's `retry-after` is about polling. But whoever says that nothing is left, and when there will
            // be, need not be asked again to learn it.
            Meaning::Good => self.renewed_s.filter(|_| self.spent),
            _ if self.spent => self.hint_s.or(self.renewed_s),
            _ => self.hint_s,
        };
    }

    fn take(&mut self, name: &[u8], value: &[u8], now_ms: u64) {
        match name {
            b":status" => self.status = whole(value).and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            b"retry-after" => {
                let hint = whole(value).or_else(|| seconds_until(value, now_ms));
                self.hint_s = self.number(hint).or(self.hint_s);
            }
            b"x-envoy-overloaded" => self.overloaded = true,
            orca::HEADER => self.load(orca::parse(value)),
            orca::HEADER_BINARY => self.load(orca::parse_binary(value)),
            b"x-ratelimit-remaining-requests" | b"anthropic-ratelimit-requests-remaining" => {
                self.left(Signal::RateRemaining, value);
            }
            b"x-ratelimit-remaining-tokens" | b"anthropic-ratelimit-tokens-remaining" => {
                self.left(Signal::TokensRemaining, value);
            }
            b"x-ratelimit-reset-requests" | b"x-ratelimit-reset-tokens" => {
                let renewed = self.number(duration_s(value));
                self.renewed_s = self.renewed_s.max(renewed);
            }
            b"x-generated-tokens" | b"x-amzn-bedrock-output-token-count" => {
                self.output_tokens = self.number(whole(value)).or(self.output_tokens);
            }
            b"grpc-status" => self.grpc = whole(value),
            // In a browser's gRPC the trailers are a part of the body: nobody here reads them.
            b"content-type" => {
                self.is_grpc = value.starts_with(b"application/grpc") && !value.starts_with(b"application/grpc-web");
            }
            _ => {}
        }
    }

    fn load(&mut self, orca: orca::Orca) {
        self.dropped.add(&orca.dropped);
        self.said.extend(orca.said);
    }

    /// What is left of a quota.
    fn left(&mut self, signal: Signal, value: &[u8]) {
        match believe(signal, decimal::parse(value)) {
            Ok(left) => {
                self.spent |= left == 0;
                self.said.push((signal, left));
            }
            Err(why) => self.dropped.count(why),
        }
    }

    /// A number that fits, or a count of one that does not.
    fn number(&mut self, number: Option<u64>) -> Option<u32> {
        if number.is_none() {
            self.dropped.count(Drop::Malformed);
        }
        number.map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }
}

/// A whole number; one that is larger than any is the largest.
fn whole(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let add = |n: u64, d: &u8| n.saturating_mul(10).saturating_add(u64::from(d - b'0'));
    digits.then(|| text.iter().fold(0, add))
}

/// A time span such as `1s`, `6m0s`, `20ms`, `1.5s` or plain seconds; begun seconds count.
fn duration_s(text: &[u8]) -> Option<u64> {
    let (mut rest, mut sum_ms) = (text, 0_u64);
    // Hours, minutes, seconds, milliseconds: more parts than that are none.
    for _ in 0..4 {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let letters = behind.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let (unit, behind) = behind.split_at_checked(letters)?;
        let unit_ms = match unit {
            b"h" => 3_600_000,
            b"m" => 60_000,
            b"s" => 1_000,
            b"" if sum_ms == 0 && behind.is_empty() => 1_000,
            b"ms" => 1,
            _ => return None,
        };
        let Number::Micro(micro @ 0..) = decimal::parse(number) else { return None };
        let part = u128::from(micro.unsigned_abs()) * unit_ms / 1_000_000;
        sum_ms = sum_ms.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        rest = behind;
        if rest.is_empty() {
            return Some(sum_ms.div_ceil(1_000));
        }
    }
    None
}

const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// The seconds until a date as HTTP writes it (`Sun, 06 Nov 1994 08:49:37 GMT`); none for one that is over.
fn seconds_until(text: &[u8], now_ms: u64) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    let mut words = text.split_once(", ")?.1.strip_suffix(" GMT")?.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?.as_bytes();
    let month = u64::try_from(MONTHS.chunks(3).position(|month| month == name)?).ok()? + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9_999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok().filter(|n| *n < 61));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next().is_some() || clock.next().is_some() || hour > 23 {
        return None;
    }
    let at_s = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((at_s * 1_000).saturating_sub(now_ms).div_ceil(1_000))
}

/// Days since 1970-01-01, in the calendar whose years begin in March, so that a leap day is the last of its year.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{Answer, days, duration_s, read, seconds_until};
    use crate::health::Meaning;
    use crate::health::heard::Drop;
    use crate::model::Signal;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const THEN_MS: u64 = 784_111_777_000;

    fn said(headers: &[(&str, &str)]) -> Answer {
        read(headers.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())), THEN_MS)
    }

    #[test]
    fn everything_that_an_answer_says_of_its_substrate_is_read() {
        let answer = said(&[
            (":status", "200"),
            ("x-generated-tokens", "77"),
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-requests", "1s"),
            ("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=4"),
            ("server", "x"),
        ]);
        assert_eq!((answer.status, answer.output_tokens), (200, Some(77)));
        let expected = [(Signal::RateRemaining, 9), (Signal::TokensRemaining, 149_984), (Signal::QueueDepth, 4)];
        assert_eq!(answer.said, expected);
        assert_eq!((answer.retry_after_s, answer.dropped.total(), answer.meaning()), (None, 0, Meaning::Good));
    }

    #[test]
    fn a_hint_is_seconds_or_a_date_or_the_end_of_a_quota() {
        let hint = |headers: &[(&str, &str)]| said(&[&[(":status", "429")], headers].concat()).retry_after_s;
        assert_eq!(hint(&[("retry-after", "7")]), Some(7));
        assert_eq!(hint(&[("retry-after", "Sun, 06 Nov 1994 08:49:50 GMT")]), Some(13));
        assert_eq!(hint(&[("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT")]), Some(0), "it is over");
        let quota = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")];
        assert_eq!(hint(&quota), Some(360));
        assert_eq!(hint(&[("x-ratelimit-remaining-requests", "1"), quota[1]]), None);
        assert_eq!(hint(&[quota[0], quota[1], ("retry-after", "3")]), Some(3), "its own word comes first");
        assert_eq!(hint(&[("retry-after", "99999999999999999999999")]), Some(u32::MAX));
        let good = [(":status", "200"), ("retry-after", "7"), quota[1]];
        assert_eq!(said(&good).retry_after_s, None, "come back for the result, not for the next request");
        assert_eq!(said(&[good[0], good[1], quota[0], quota[1]]).retry_after_s, Some(360));
    }

    #[test]
    fn a_full_substrate_and_a_full_proxy_before_it_are_not_failures() {
        let of = |headers: &[(&str, &str)]| said(headers).meaning();
        assert_eq!(of(&[(":status", "429")]), Meaning::Overloaded);
        assert_eq!(of(&[(":status", "503"), ("retry-after", "1")]), Meaning::Overloaded);
        assert_eq!(of(&[(":status", "503"), ("x-envoy-overloaded", "true")]), Meaning::Overloaded);
        assert_eq!(of(&[(":status", "503")]), Meaning::Failed);
        assert_eq!(of(&[(":status", "404"), ("retry-after", "1")]), Meaning::Refused);
        assert_eq!(of(&[]), Meaning::Failed, "no status is no answer");
        let grpc = |code: &'static str| of(&[(":status", "200"), ("grpc-status", code)]);
        assert_eq!(
            ["0", "8", "14", "3"].map(grpc),
            [Meaning::Good, Meaning::Overloaded, Meaning::Failed, Meaning::Refused]
        );
    }

    #[test]
    fn what_a_grpc_answer_comes_to_may_be_said_in_its_trailers() {
        let begun = || said(&[(":status", "200"), ("content-type", "application/grpc+proto")]);
        let closed = |trailers: &[(&str, &str)]| {
            let mut answer = begun();
            answer.close(trailers.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())), THEN_MS);
            answer
        };
        assert!(begun().is_open() && !closed(&[("grpc-status", "0")]).is_open());
        let codes = ["0", "8", "14", "3"].map(|code| closed(&[("grpc-status", code)]).meaning());
        assert_eq!(codes, [Meaning::Good, Meaning::Overloaded, Meaning::Failed, Meaning::Refused]);
        let load =
            closed(&[("grpc-status", "0"), ("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=4")]);
        assert_eq!(load.said, [(Signal::QueueDepth, 4)]);
        assert_eq!(closed(&[(":status", "500"), ("grpc-status", "0")]).status, 200, "a trailer is no status");
        let others = [&[(":status", "200")][..], &[(":status", "503"), ("content-type", "application/grpc")]];
        assert!(others.into_iter().all(|headers| !said(headers).is_open()), "nothing to wait for");
    }

    #[test]
    fn what_cannot_be_believed_is_counted_and_the_rest_is_kept() {
        let answer = said(&[
            (":status", "two hundred"),
            ("retry-after", "soon"),
            ("x-ratelimit-remaining-requests", "-1"),
            ("x-ratelimit-remaining-tokens", "NaN"),
            ("x-ratelimit-reset-requests", "6 parsecs"),
            ("x-generated-tokens", "many"),
            ("endpoint-load-metrics", "JSON {"),
            ("endpoint-load-metrics-bin", "????"),
            ("x-ratelimit-remaining-tokens", "12"),
        ]);
        assert_eq!((answer.status, answer.retry_after_s, answer.output_tokens), (0, None, None));
        assert_eq!(answer.said, [(Signal::TokensRemaining, 12)]);
        let dropped = answer.dropped;
        let of = [Drop::OutOfRange, Drop::NotFinite, Drop::Malformed].map(|why| dropped.of(why));
        assert_eq!((of, dropped.total()), ([1, 1, 5], 7));
    }

    #[test]
    fn spans_are_read_as_they_are_written() {
        let spans = [("1s", 1), ("6m0s", 360), ("20ms", 1), ("1h2m3s", 3_723), ("1.5s", 2), ("12", 12), ("0", 0)];
        for (text, seconds) in spans {
            assert_eq!(duration_s(text.as_bytes()), Some(seconds), "{text}");
        }
        for text in ["", "s", "1x", "-1s", "1s2s3s4s5s", "1.2.3s", "1m 2s"] {
            assert_eq!(duration_s(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn dates_are_counted_over_leap_years() {
        assert_eq!((days(1970, 1, 1), days(2000, 2, 29), days(2000, 3, 1)), (0, 11_016, 11_017));
        let bad = ["", "Sun, 06 Nov 1994", "Sun, 6 Brumaire 1994 08:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"];
        for text in bad.into_iter().chain(["Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 1994 25:00:00 GMT", "x, GMT"]) {
            assert_eq!(seconds_until(text.as_bytes(), 0), None, "{text}");
        }
    }
}
