//! Berth's own health document: what a substrate says of itself, field by field.
//!
//! ```json
//! {"substrate": "metal-fr", "signals": {"queue_depth": 3, "memory_pressure": 0.42, "first_token_ms": 350},
//!  "attestation": {"jurisdiction": "FR", "at_ms": 1767225600000}}
//! ```
//! Ratios are written 0 to 1, times in milliseconds under the signal's name with `_ms`. A field that is out of range,
//! not a number, unknown or from the future is dropped and named; the rest of the record is kept.

use crate::model::{Attestation, Country, Health, Reading, Signal, Unit, WHOLE_PPM};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The largest document that is read.
pub const MOST_BYTES: usize = 64 << 10;
/// How far ahead of this clock another clock may be.
const MOST_AHEAD_MS: u64 = 5_000;

#[derive(Deserialize)]
struct RawReport {
    substrate: String,
    #[serde(default)]
    signals: BTreeMap<String, Value>,
    attestation: Option<RawAttestation>,
}

#[derive(Deserialize)]
struct RawAttestation {
    jurisdiction: String,
    at_ms: u64,
}

/// Why a whole report was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidReport {
    /// Over [`MOST_BYTES`].
    Oversized,
    /// Not the document described above.
    Malformed,
    /// It speaks of another substrate.
    WrongSubstrate,
}

/// What was taken of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Fields kept.
    pub kept: u32,
    /// Names of fields dropped.
    pub dropped: Vec<String>,
}

/// Takes a report into a health record.
///
/// # Errors
/// Why nothing of it was taken.
pub fn take(health: &mut Health, bytes: &[u8], now_ms: u64) -> Result<Taken, InvalidReport> {
    if bytes.len() > MOST_BYTES {
        return Err(InvalidReport::Oversized);
    }
    let raw: RawReport = serde_json::from_slice(bytes).map_err(|_| InvalidReport::Malformed)?;
    if raw.substrate != health.name {
        return Err(InvalidReport::WrongSubstrate);
    }
    let mut taken = Taken::default();
    for (name, value) in &raw.signals {
        match signal(name, value) {
            Some((signal, value)) => {
                health.set(signal, Reading { value, at_ms: now_ms });
                taken.kept += 1;
            }
            None => taken.dropped.push(name.clone()),
        }
    }
    if let Some(attestation) = raw.attestation {
        match Country::parse(&attestation.jurisdiction) {
            Some(jurisdiction) if attestation.at_ms <= now_ms.saturating_add(MOST_AHEAD_MS) => {
                health.attestation = Some(Attestation { jurisdiction, at_ms: attestation.at_ms.min(now_ms) });
                taken.kept += 1;
            }
            _ => taken.dropped.push(String::from("attestation")),
        }
    }
    Ok(taken)
}

/// A field's signal and its value in the signal's unit, if it can be believed.
fn signal(name: &str, value: &Value) -> Option<(Signal, i64)> {
    let (signal, times) = match Signal::parse(name) {
        Some(signal) => match signal.unit() {
            Unit::Count | Unit::PicoUsd => (signal, 1.0),
            Unit::Ppm => (signal, WHOLE_PPM as f64),
            Unit::Micros => return None,
        },
        None => {
            let signal = Signal::parse(name.strip_suffix("_ms")?).filter(|s| s.unit() == Unit::Micros)?;
            (signal, 1_000.0)
        }
    };
    let number = value.as_f64()? * times;
    let (least, most) = signal.bounds();
    // Comparing first also refuses what is not a number.
    if !(number >= least as f64 && number <= most as f64) {
        return None;
    }
    // In range, and every bound is exact in a double: the cast only drops the fraction.
    Some((signal, number as i64))
}

#[cfg(test)]
mod tests {
    use super::{InvalidReport, take};
    use crate::model::{Health, Signal};

    fn report(text: &str) -> (Health, Result<super::Taken, InvalidReport>) {
        let mut health = Health::unknown("metal-fr");
        let taken = take(&mut health, text.as_bytes(), 1_000_000);
        (health, taken)
    }

    #[test]
    fn each_signal_is_taken_in_its_unit() {
        let (health, taken) = report(
            r#"{"substrate":"metal-fr","signals":{"queue_depth":3,"memory_pressure":0.42,"first_token_ms":350}}"#,
        );
        assert_eq!(taken.map(|t| t.kept), Ok(3));
        assert_eq!(health.reading(Signal::QueueDepth).map(|r| r.value), Some(3));
        assert_eq!(health.reading(Signal::MemoryPressure).map(|r| r.value), Some(420_000));
        assert_eq!(health.reading(Signal::FirstToken).map(|r| r.value), Some(350_000));
    }

    #[test]
    fn what_cannot_be_believed_is_dropped_and_the_rest_is_kept() {
        let (health, taken) = report(
            r#"{"substrate":"metal-fr","signals":{"queue_depth":-1,"memory_pressure":1.5,"link":"x","nonsense":1,
                "first_token":5,"power_headroom":1e300,"running":7},
                "attestation":{"jurisdiction":"FR","at_ms":99999999}}"#,
        );
        let taken = taken.unwrap();
        assert_eq!(taken.kept, 1);
        assert_eq!(
            taken.dropped,
            ["first_token", "link", "memory_pressure", "nonsense", "power_headroom", "queue_depth", "attestation"]
        );
        assert_eq!(health.reading(Signal::Running).map(|r| r.value), Some(7));
        assert_eq!(health.reading(Signal::QueueDepth), None);
    }

    #[test]
    fn a_report_of_another_substrate_changes_nothing() {
        let (health, taken) = report(r#"{"substrate":"other","signals":{"queue_depth":3}}"#);
        assert_eq!(taken, Err(InvalidReport::WrongSubstrate));
        assert_eq!(health, Health::unknown("metal-fr"));
    }

    #[test]
    fn malformed_and_oversized_reports_are_refused() {
        assert_eq!(report("{").1, Err(InvalidReport::Malformed));
        assert_eq!(report(&" ".repeat(70_000)).1, Err(InvalidReport::Oversized));
    }
}
