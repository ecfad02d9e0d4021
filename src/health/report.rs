//! Berth's own health document, pulled or pushed:
//!
//! ```json
//! {"substrate": "metal-fr", "signals": {"queue_depth": 3, "memory_pressure": 0.42, "first_token_ms": 350},
//!  "attestation": {"jurisdiction": "FR", "at_ms": 1790000000000}}
//! ```
//!
//! Or several of them under `substrates`. Ratios are 0 to 1; times carry their unit in the name (`_s`, `_ms`, `_us`), prices
//! `_usd_per_mtok`. A value may be an object `{"value": …, "at_ms": …}`; `at_ms` beside `signals` is for all of them.

use super::decimal::{self, Number};
use super::heard::{Drop, Dropped, Heard, not_future, scale};
use crate::model::signal::Unit;
use crate::model::{Attestation, Country, Signal};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The most records that one document may hold.
pub const MOST_RECORDS: usize = 4_096;
/// The most dropped fields that are called by their name, and the longest name that is repeated.
pub const MOST_NAMED: usize = 32;
const MOST_NAME: usize = 64;

/// What a document says of one substrate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of whom; `None` leaves it to the address it came from.
    pub substrate: Option<String>,
    /// What it says.
    pub heard: Heard,
    /// The proof of where it is.
    pub attestation: Option<Attestation>,
    /// Which report of a writer this is: grows from one to the next.
    pub sequence: Option<u64>,
    /// The fields that were dropped, each with the reason: the first [`MOST_NAMED`] of them.
    pub named: Vec<(String, Drop)>,
}

impl Report {
    /// Counts a field as dropped, and remembers it by its name.
    pub fn drop(&mut self, field: &str, why: Drop) {
        self.heard.dropped.count(why);
        if self.named.len() < MOST_NAMED {
            self.named.push((field.chars().take(MOST_NAME).collect(), why));
        }
    }
}

#[derive(Debug, Deserialize)]
struct RawReport<'a> {
    /// Only looked at in the outermost.
    #[serde(borrow, default)]
    substrates: Option<Vec<RawReport<'a>>>,
    #[serde(borrow, default)]
    substrate: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    signals: BTreeMap<Cow<'a, str>, &'a RawValue>,
    #[serde(borrow, default)]
    attestation: Option<&'a RawValue>,
    #[serde(default)]
    at_ms: Option<u64>,
    #[serde(default)]
    sequence: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct RawValueAt<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    at_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct RawAttestation<'a> {
    #[serde(borrow)]
    jurisdiction: Cow<'a, str>,
    at_ms: u64,
}

/// Reads a document. `None` if it is none; what is wrong inside of it is dropped and counted.
#[must_use]
pub fn parse(body: &[u8], now_ms: u64) -> Option<Vec<Report>> {
    // A list would do for a struct as well, as far as serde is concerned.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let read = |body: &[u8]| {
        let document = serde_json::from_slice::<RawReport<'_>>(body).ok()?;
        let several = document.substrates.as_deref().unwrap_or(core::slice::from_ref(&document));
        Some(several.iter().take(MOST_RECORDS).map(|one| report(one, now_ms)).collect())
    };
    // Some writers emit bare NaN and Infinity, which is no JSON: they cost their field, not the document.
    read(body).or_else(|| read(&mend(body)?))
}

/// Why a body is no document, for whoever wrote it.
#[must_use]
pub fn complaint(body: &[u8]) -> String {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return String::from("expected a JSON object with `signals`");
    }
    match serde_json::from_slice::<RawReport<'_>>(body) {
        Ok(_) => String::from("expected one report"),
        Err(error) => error.to_string(),
    }
}

fn report(raw: &RawReport<'_>, now_ms: u64) -> Report {
    let mut heard = Heard::default();
    let mut named = Vec::new();
    for (key, value) in &raw.signals {
        let before = heard.dropped;
        take(&mut heard, raw, key, value, now_ms);
        name(&mut named, key, before, heard.dropped);
    }
    let before = heard.dropped;
    let attestation = raw.attestation.and_then(|raw| attest(raw, now_ms, &mut heard));
    name(&mut named, "attestation", before, heard.dropped);
    let substrate = raw.substrate.as_deref().map(String::from);
    Report { substrate, heard, attestation, sequence: raw.sequence, named }
}

/// Remembers by its name what was dropped between two counts.
fn name(named: &mut Vec<(String, Drop)>, key: &str, before: Dropped, after: Dropped) {
    let why = Drop::ALL.into_iter().find(|why| after.of(*why) != before.of(*why));
    if let Some(why) = why.filter(|_| named.len() < MOST_NAMED) {
        named.push((key.chars().take(MOST_NAME).collect(), why));
    }
}

fn take(heard: &mut Heard, raw: &RawReport<'_>, key: &str, value: &RawValue, now_ms: u64) {
    let Some((signal, over)) = signal_of(key) else {
        return heard.dropped.count(Drop::Unknown);
    };
    let with_time = value.get().starts_with('{').then(|| serde_json::from_str::<RawValueAt<'_>>(value.get()));
    let (text, at_ms) = match with_time {
        Some(Ok(with_time)) => (with_time.value.get(), with_time.at_ms.or(raw.at_ms)),
        _ => (value.get(), raw.at_ms),
    };
    let number = match decimal::parse(text.trim_matches('"').as_bytes()) {
        Number::Micro(micro) => Number::Micro(scale(micro, 1, over)),
        other => other,
    };
    heard.take(signal, number, at_ms.unwrap_or(now_ms), now_ms);
}

fn attest(raw: &RawValue, now_ms: u64, heard: &mut Heard) -> Option<Attestation> {
    let read = serde_json::from_str::<RawAttestation<'_>>(raw.get()).ok();
    let known = read.and_then(|raw| Some((Country::parse(&raw.jurisdiction)?, raw.at_ms)));
    let Some((jurisdiction, at_ms)) = known else {
        heard.dropped.count(Drop::Malformed);
        return None;
    };
    let attestation = not_future(at_ms, now_ms).map(|at_ms| Attestation { jurisdiction, at_ms });
    if attestation.is_none() {
        heard.dropped.count(Drop::Future);
    }
    attestation
}

/// The signal of a key, and by how much its number is divided to be in the base unit.
fn signal_of(key: &str) -> Option<(Signal, i64)> {
    let plain = Signal::parse(key).filter(|s| matches!(s.unit(), Unit::Count | Unit::Ppm)).map(|signal| (signal, 1));
    let suffixes = [
        ("_usd_per_mtok", Unit::PicoUsd, 1),
        ("_ms", Unit::Micros, 1_000),
        ("_us", Unit::Micros, 1_000_000),
        ("_s", Unit::Micros, 1),
        ("_percent", Unit::Ppm, 100),
        ("_ppm", Unit::Ppm, 1_000_000),
    ];
    plain.or_else(|| {
        suffixes.into_iter().find_map(|(suffix, unit, over)| {
            let signal = Signal::parse(key.strip_suffix(suffix)?)?;
            (signal.unit() == unit).then_some((signal, over))
        })
    })
}

/// The body with bare `NaN` and `Infinity` in quotes; `None` if it holds none.
fn mend(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len().saturating_add(64));
    let (mut at, mut quoted, mut mended) = (0, false, false);
    while let Some(&byte) = body.get(at) {
        let rest = body.get(at..).unwrap_or_default();
        let word = [&b"NaN"[..], b"-Infinity", b"Infinity"].into_iter().find(|w| !quoted && rest.starts_with(w));
        if let Some(word) = word {
            out.push(b'"');
            out.extend_from_slice(word);
            out.push(b'"');
            (at, mended) = (at + word.len(), true);
            continue;
        }
        out.push(byte);
        at += 1;
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                out.extend(body.get(at));
                at += 1;
            }
            _ => {}
        }
    }
    mended.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::{Report, parse};
    use crate::health::heard::Drop;
    use crate::model::{Country, Reading, Signal};

    const NOW: u64 = 1_790_000_000_000;

    fn one(body: &str) -> Report {
        let mut reports = parse(body.as_bytes(), NOW).unwrap();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    fn value(report: &Report, signal: Signal) -> Option<i64> {
        report.heard.readings.iter().find(|(s, _)| *s == signal).map(|(_, r)| r.value)
    }

    #[test]
    fn each_signal_is_read_in_its_unit() {
        let report = one(r#"{"substrate":"metal-fr","signals":{"queue_depth":3,"memory_pressure":0.42,
            "first_token_ms":350,"total_s":1.5,"jitter_us":7,"interconnect_percent":30,"link_ppm":999999,
            "input_price_usd_per_mtok":0.1,"drift":-0.25,"speed_factor":1.2},
            "attestation":{"jurisdiction":"FR","at_ms":1789999990000}}"#);
        assert_eq!(report.substrate.as_deref(), Some("metal-fr"));
        let expected = [
            (Signal::QueueDepth, 3),
            (Signal::MemoryPressure, 420_000),
            (Signal::FirstToken, 350_000),
            (Signal::Total, 1_500_000),
            (Signal::Jitter, 7),
            (Signal::Interconnect, 300_000),
            (Signal::Link, 999_999),
            (Signal::InputPrice, 100_000),
            (Signal::Drift, -250_000),
            (Signal::SpeedFactor, 1_200_000),
        ];
        for (signal, number) in expected {
            assert_eq!(value(&report, signal), Some(number), "{}", signal.as_str());
        }
        assert_eq!(report.heard.dropped.total(), 0);
        let attestation = report.attestation.unwrap();
        assert_eq!((attestation.jurisdiction, attestation.at_ms), (Country::parse("FR").unwrap(), NOW - 10_000));
    }

    #[test]
    fn a_bad_field_costs_that_field_and_is_counted() {
        let report = one(r#"{"signals":{"queue_depth":-1,"memory_pressure":1.5,"interconnect":NaN,"running":1e999,
            "east_west":-Infinity,"rack_congestion":"high","warp_drive":1,"first_token":3,"hosts":{"value":2,"at_ms":99999999999999},
            "link":{"value":0.5,"at_ms":1789999999000},"in_flight":null,"power_headroom":"0.25"}}"#);
        let dropped = report.heard.dropped;
        assert_eq!(dropped.of(Drop::OutOfRange), 3, "{dropped:?}");
        assert_eq!(dropped.of(Drop::NotFinite), 2, "{dropped:?}");
        assert_eq!(dropped.of(Drop::Future), 1, "{dropped:?}");
        assert_eq!(dropped.of(Drop::Malformed), 2, "{dropped:?}");
        assert_eq!(dropped.of(Drop::Unknown), 2, "{dropped:?}");
        let kept = [
            (Signal::Link, Reading { value: 500_000, at_ms: NOW - 1_000 }),
            (Signal::PowerHeadroom, Reading { value: 250_000, at_ms: NOW }),
        ];
        assert_eq!(report.heard.readings, kept);
    }

    #[test]
    fn an_attestation_from_the_future_or_from_nowhere_is_dropped() {
        for (attestation, why) in [
            (r#"{"jurisdiction":"FR","at_ms":1790000003000}"#, Drop::Future),
            (r#"{"jurisdiction":"Atlantis","at_ms":1}"#, Drop::Malformed),
            (r#"{"jurisdiction":"FR"}"#, Drop::Malformed),
            ("7", Drop::Malformed),
        ] {
            let report = one(&format!(r#"{{"signals":{{"queue_depth":1}},"attestation":{attestation}}}"#));
            assert_eq!((report.attestation, report.heard.dropped.of(why)), (None, 1), "{attestation}");
            assert_eq!(value(&report, Signal::QueueDepth), Some(1));
        }
        let ahead = one(r#"{"attestation":{"jurisdiction":"FR","at_ms":1790000001000}}"#);
        assert_eq!(ahead.attestation.unwrap().at_ms, NOW, "a clock that is a little ahead is forgiven");
    }

    #[test]
    fn one_document_may_speak_of_several() {
        let body = br#"{"substrates":[{"substrate":"a","signals":{"hosts":1}},{"substrate":"b"}]}"#;
        let names: Vec<_> = parse(body, NOW).unwrap().into_iter().map(|r| r.substrate.unwrap()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_is_no_document_is_none() {
        for body in ["", "[]", "7", "{", r#"{"signals":[]}"#, r#"{"signals":{"queue_depth":}}"#, "\u{0}", "<html>NaN"] {
            assert_eq!(parse(body.as_bytes(), NOW), None, "{body}");
        }
    }
}
