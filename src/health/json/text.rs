//! The same JSON without white space, written by hand: what the module sends, where every kilobyte of code is loaded by
//! every worker.

use super::VERSION;
use crate::model::{Admission, Circuit, Health, Signal, Snapshot};
use core::fmt::{Display, Write as _};

/// A snapshot as compact JSON; [`super::read`] reads it.
#[must_use]
pub fn compact(snapshot: &Snapshot) -> String {
    let mut out = String::with_capacity(256 + snapshot.substrates.len() * 1_024);
    put(&mut out, "{\"berth_snapshot\":", VERSION);
    // Hexadecimal, in quotes. Writing to a text cannot fail.
    let _ = write!(out, ",\"writer\":\"{:x}\"", snapshot.writer);
    put(&mut out, ",\"epoch\":", snapshot.epoch);
    put(&mut out, ",\"at_ms\":", snapshot.at_ms);
    put(&mut out, ",\"interval_ms\":", snapshot.interval_ms);
    put(&mut out, ",\"slots\":", snapshot.slots);
    out.push_str(",\"substrates\":[");
    list(&mut out, snapshot.substrates.iter(), health);
    out.push_str("]}");
    out
}

fn health(out: &mut String, health: &Health) {
    out.push_str("{\"name\":");
    quote(out, &health.name);
    out.push_str(",\"signals\":{");
    let known = Signal::ALL.into_iter().filter_map(|signal| Some((signal, health.reading(signal)?)));
    list(out, known, |out, (signal, reading)| {
        quote(out, signal.as_str());
        put(out, ":{\"value\":", reading.value);
        put(out, ",\"at_ms\":", reading.at_ms);
        out.push('}');
    });
    out.push_str("},\"circuit\":{\"state\":");
    match health.circuit {
        Circuit::Closed => out.push_str("\"closed\""),
        Circuit::Open { until_ms } => put(out, "\"open\",\"until_ms\":", until_ms),
        Circuit::HalfOpen { slot, probes, until_ms } => {
            put(out, "\"half-open\",\"slot\":", slot);
            put(out, ",\"probes\":", probes);
            put(out, ",\"until_ms\":", until_ms);
        }
    }
    out.push_str("},\"admission\":");
    out.push_str(match health.admission {
        Admission::All => "\"all\"",
        Admission::Existing => "\"existing\"",
        Admission::Closed => "\"closed\"",
    });
    if let Some(attestation) = health.attestation {
        out.push_str(",\"attestation\":{\"jurisdiction\":");
        quote(out, attestation.jurisdiction.as_str());
        put(out, ",\"at_ms\":", attestation.at_ms);
        out.push('}');
    }
    if let Some(since_ms) = health.since_ms {
        put(out, ",\"since_ms\":", since_ms);
    }
    if let Some(retry_at_ms) = health.retry_at_ms {
        put(out, ",\"retry_at_ms\":", retry_at_ms);
    }
    put(out, ",\"share_ppm\":", health.share_ppm);
    out.push('}');
}

/// What comes before, and a number.
pub fn put(out: &mut String, before: &str, number: impl Display) {
    out.push_str(before);
    let _ = write!(out, "{number}");
}

/// All of them, with commas in between.
pub fn list<T>(out: &mut String, all: impl Iterator<Item = T>, mut each: impl FnMut(&mut String, T)) {
    for (n, one) in all.enumerate() {
        if n > 0 {
            out.push(',');
        }
        each(out, one);
    }
}

/// A text, whatever is in it; `<` is escaped as well, so that it can stand in a page.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '<' | '\u{0}'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{compact, quote};
    use crate::health::json::{read, write};
    use crate::model::{Admission, Attestation, Circuit, Country, Health, Reading, Signal, Snapshot};

    #[test]
    fn it_is_the_same_json_but_for_white_space() {
        let mut full = Health::unknown("a");
        for (n, signal) in (0..).zip(Signal::ALL) {
            full.set(signal, Reading { value: n, at_ms: u64::MAX });
        }
        full.set(Signal::SpeedFactor, Reading { value: 1_000, at_ms: 0 });
        full.set(Signal::Drift, Reading { value: -4, at_ms: 1 });
        full.circuit = Circuit::HalfOpen { slot: 3, probes: 2, until_ms: 9 };
        full.admission = Admission::Existing;
        full.attestation = Some(Attestation { jurisdiction: Country::parse("FR").unwrap(), at_ms: 5 });
        (full.since_ms, full.retry_at_ms, full.share_ppm) = (Some(1), Some(2), 3);
        let open =
            Health { circuit: Circuit::Open { until_ms: 4 }, admission: Admission::Closed, ..Health::unknown("b") };
        let substrates = vec![full, open, Health::unknown("strange \"name\\\u{1}<é")];
        let several = Snapshot { writer: u64::MAX, epoch: 7, at_ms: 8, interval_ms: 9, slots: 10, substrates };
        for snapshot in [several, Snapshot::default()] {
            let (long, short) = (write(&snapshot), compact(&snapshot));
            let read_back = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(read_back(&short), read_back(&long));
            assert_eq!(read(short.as_bytes()), Ok(snapshot));
        }
    }

    #[test]
    fn no_text_ends_the_script_that_it_stands_in() {
        let mut out = String::new();
        quote(&mut out, "</script>\n");
        assert_eq!(out, "\"\\u003c/script>\\u000a\"");
    }
}
