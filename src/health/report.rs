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
use super::heard::{Drop, Heard, not_future, reading, scale, time_ms};
use super::members::Members;
use crate::model::signal::{SIGNALS, Unit};
use crate::model::{Attestation, Country, Signal};
use serde_json::value::RawValue;

/// The most records that one document may hold.
pub const MOST_RECORDS: usize = 4_096;
/// The most dropped fields that are called by their name, and the longest name that is repeated.
pub const MOST_NAMED: usize = 32;
const MOST_NAME: usize = 64;
/// What a report may consist of.
const KNOWN: [&str; 5] = ["substrate", "signals", "attestation", "at_ms", "sequence"];

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

/// Reads a document. `None` if it is none; what is wrong inside of it is dropped and counted.
#[must_use]
pub fn parse(body: &[u8], now_ms: u64) -> Option<Vec<Report>> {
    // Some writers emit bare NaN and Infinity, which is no JSON: they cost their field, not the document.
    document(body, now_ms).or_else(|_| document(&mend(body).ok_or_else(String::new)?, now_ms)).ok()
}

/// Why a body is no document with one report, for whoever wrote it.
#[must_use]
pub fn complaint(body: &[u8]) -> String {
    document(body, 0).err().unwrap_or_else(|| String::from("expected one report"))
}

fn document(body: &[u8], now_ms: u64) -> Result<Vec<Report>, String> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(String::from("expected a JSON object with `signals`"));
    }
    let members: Members<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if matches!(members.find("substrates"), Ok(None)) {
        return Ok(vec![report(&members, now_ms)]);
    }
    let list = members.find("substrates").ok().flatten();
    let list = list.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
    let list = list.ok_or("substrates: expected one list of reports")?;
    let mut reports: Vec<Report> = list.iter().take(MOST_RECORDS).map(|one| record(one, now_ms)).collect();
    if let Some(first) = reports.first_mut() {
        let beside = members.0.iter().filter(|(name, _)| name != "substrates");
        beside.for_each(|(name, _)| first.drop(name, Drop::Unknown));
        (MOST_RECORDS..list.len()).for_each(|_| first.drop("substrates", Drop::TooMany));
    }
    Ok(reports)
}

/// One of several reports: what is none costs itself.
fn record(raw: &RawValue, now_ms: u64) -> Report {
    match serde_json::from_str::<Members<'_>>(raw.get()) {
        Ok(members) => report(&members, now_ms),
        Err(_) => nobody("substrates", Drop::Malformed),
    }
}

/// A report of which nothing can be used.
fn nobody(field: &str, why: Drop) -> Report {
    let mut nobody = Report::default();
    nobody.drop(field, why);
    nobody
}

fn report(members: &Members<'_>, now_ms: u64) -> Report {
    let substrate = match members.find("substrate").and_then(|raw| raw.map(text).transpose()) {
        Ok(substrate) => substrate,
        // Of whom it speaks is not known, and surely not of whom it came from.
        Err(why) => return nobody("substrate", why),
    };
    let mut report = Report { substrate, ..Report::default() };
    for (name, _) in members.0.iter().filter(|(name, _)| !KNOWN.contains(&&**name)) {
        report.drop(name, Drop::Unknown);
    }
    let mut member = |name| {
        members.find(name).unwrap_or_else(|why| {
            report.drop(name, why);
            None
        })
    };
    let (sequence, proof, signals) = (member("sequence"), member("attestation"), member("signals"));
    match sequence.map(|raw| raw.get().parse()).transpose() {
        Ok(sequence) => report.sequence = sequence,
        Err(_) => report.drop("sequence", Drop::Malformed),
    }
    match proof.map(|raw| attest(raw, now_ms)).transpose() {
        Ok(proof) => report.attestation = proof,
        Err(why) => report.drop("attestation", why),
    }
    let at_ms = members.find("at_ms").and_then(|raw| raw.map(time).transpose());
    match signals.map(|raw| serde_json::from_str::<Members<'_>>(raw.get())).transpose() {
        Ok(signals) => hear(&mut report, &signals.unwrap_or_default(), at_ms, now_ms),
        Err(_) => report.drop("signals", Drop::Malformed),
    }
    if let Err(why) = at_ms {
        report.drop("at_ms", why);
    }
    report
}

/// What stands under `signals`. One that is said more than once is not believed at all.
fn hear(report: &mut Report, signals: &Members<'_>, at_ms: Result<Option<u64>, Drop>, now_ms: u64) {
    let mut said = [0_u32; SIGNALS];
    for (signal, _) in signals.0.iter().filter_map(|(key, _)| signal_of(key)) {
        said.get_mut(signal as usize).into_iter().for_each(|times| *times = times.saturating_add(1));
    }
    let twice = |signal: Signal| said.get(signal as usize).is_some_and(|times| *times > 1);
    for (key, value) in &signals.0 {
        let read = match signal_of(key) {
            None => Err(Drop::Unknown),
            Some((signal, _)) if twice(signal) => Err(Drop::Doubled),
            Some((signal, over)) => value_at(value, at_ms).and_then(|(number, at_ms)| {
                Ok((signal, reading(signal, divided(number, over), at_ms.unwrap_or(now_ms), now_ms)?))
            }),
        };
        match read {
            Ok(read) => report.heard.readings.push(read),
            Err(why) => report.drop(key, why),
        }
    }
}

/// A value and its own time, or else that of all of them. One whose time cannot be read is not of now.
fn value_at(value: &RawValue, at_ms: Result<Option<u64>, Drop>) -> Result<(Number, Option<u64>), Drop> {
    let number = |raw: &RawValue| decimal::parse(raw.get().trim_matches('"').as_bytes());
    if !value.get().starts_with('{') {
        return Ok((number(value), at_ms?));
    }
    let members: Members<'_> = serde_json::from_str(value.get()).map_err(|_| Drop::Malformed)?;
    let own = members.find("at_ms")?.map(time).transpose()?;
    let value = members.find("value")?.ok_or(Drop::Malformed)?;
    Ok((number(value), if own.is_some() { own } else { at_ms? }))
}

fn divided(number: Number, over: i64) -> Number {
    match number {
        Number::Micro(micro) => Number::Micro(scale(micro, 1, over)),
        other => other,
    }
}

fn attest(raw: &RawValue, now_ms: u64) -> Result<Attestation, Drop> {
    let members: Members<'_> = serde_json::from_str(raw.get()).map_err(|_| Drop::Malformed)?;
    let country = members.find("jurisdiction")?.ok_or(Drop::Malformed).and_then(text)?;
    let jurisdiction = Country::parse(&country).ok_or(Drop::Malformed)?;
    let at_ms = members.find("at_ms")?.ok_or(Drop::Malformed).and_then(time)?;
    Ok(Attestation { jurisdiction, at_ms: not_future(at_ms, now_ms).ok_or(Drop::Future)? })
}

fn time(raw: &RawValue) -> Result<u64, Drop> {
    time_ms(raw.get().as_bytes())
}

fn text(raw: &RawValue) -> Result<String, Drop> {
    serde_json::from_str(raw.get()).map_err(|_| Drop::Malformed)
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
    use super::{MOST_RECORDS, Report, parse};
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
        for body in ["", "[]", "7", "{", r#"{"substrates":7}"#, r#"{"signals":{"queue_depth":}}"#, "\u{0}", "<html>NaN"]
        {
            assert_eq!(parse(body.as_bytes(), NOW), None, "{body}");
        }
    }

    #[test]
    fn a_member_that_is_wrong_costs_itself_and_the_other_records_survive() {
        let whole = r#"{"substrate":"b","signals":{"hosts":2}}"#;
        for (one, field, why) in [
            (r#"{"substrate":"a","at_ms":-1,"signals":{"hosts":1}}"#, "at_ms", Drop::OutOfRange),
            (r#"{"substrate":"a","at_ms":"now","signals":{"hosts":1}}"#, "hosts", Drop::Malformed),
            (r#"{"substrate":7,"signals":{"hosts":1}}"#, "substrate", Drop::Malformed),
            (r#"{"substrate":"a","signals":[]}"#, "signals", Drop::Malformed),
            (r#"{"substrate":"a","signals":7}"#, "signals", Drop::Malformed),
            (r#"{"substrate":"a","sequence":-1}"#, "sequence", Drop::Malformed),
            ("[7]", "substrates", Drop::Malformed),
        ] {
            let body = format!(r#"{{"substrates":[{one},{whole}]}}"#);
            let reports = parse(body.as_bytes(), NOW).unwrap();
            let [bad, good] = &reports[..] else { panic!("{body}") };
            assert_eq!((value(good, Signal::Hosts), good.heard.dropped.total()), (Some(2), 0), "{one}");
            assert!(bad.heard.readings.is_empty() && bad.named.contains(&(field.into(), why)), "{one}: {bad:?}");
            assert!(bad.heard.dropped.of(why) > 0, "{one}");
        }
    }

    #[test]
    fn a_time_is_a_number_however_it_is_written_and_one_that_is_none_is_not_now() {
        let at =
            |time: &str| one(&format!(r#"{{"at_ms":{time},"signals":{{"hosts":1,"link":{{"value":1,"at_ms":1}}}}}}"#));
        let known = |report: &Report| report.heard.readings.iter().map(|(s, r)| (*s, r.at_ms)).collect::<Vec<_>>();
        for time in ["1789999999000", "1.789999999e12", "1789999999000.4"] {
            assert_eq!(known(&at(time)), [(Signal::Hosts, NOW - 1_000), (Signal::Link, 1)], "{time}");
        }
        for (time, why) in [("1e300", Drop::Future), ("-1", Drop::OutOfRange), ("{}", Drop::Malformed)] {
            let report = at(time);
            assert_eq!(known(&report), [(Signal::Link, 1)], "what has a time of its own survives: {time}");
            assert_eq!(report.heard.dropped.of(why), 2, "{time}: {report:?}");
        }
    }

    #[test]
    fn what_is_said_twice_is_not_believed_and_what_is_not_known_is_counted() {
        let report =
            one(r#"{"signals":{"queue_depth":7,"memory_pressure":0.1,"memory_pressure_percent":50,"queue_depth":9,
            "hosts":1},"ttl":5,"attestations":{"jurisdiction":"DE","at_ms":1}}"#);
        assert_eq!(report.heard.readings.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [Signal::Hosts]);
        assert_eq!((report.heard.dropped.of(Drop::Doubled), report.heard.dropped.of(Drop::Unknown)), (4, 2));
        for doubled in [
            r#"{"substrate":"a","substrate":"b","signals":{"hosts":1}}"#,
            r#"{"signals":{"hosts":1},"signals":{"hosts":1}}"#,
        ] {
            let report = one(doubled);
            assert_eq!((report.heard.readings.len(), report.heard.dropped.of(Drop::Doubled)), (0, 1), "{doubled}");
        }
        let beside = parse(br#"{"ttl":1,"substrates":[{"substrate":"a","signals":{"hosts":1}}]}"#, NOW).unwrap();
        assert_eq!((beside.len(), beside[0].heard.dropped.of(Drop::Unknown)), (1, 1));
    }

    #[test]
    fn records_beyond_the_most_are_counted() {
        let many = vec![r#"{"substrate":"a"}"#; MOST_RECORDS + 3].join(",");
        let reports = parse(format!(r#"{{"substrates":[{many}]}}"#).as_bytes(), NOW).unwrap();
        assert_eq!((reports.len(), reports[0].heard.dropped.of(Drop::TooMany)), (MOST_RECORDS, 3));
    }
}
