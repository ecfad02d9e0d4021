//! Snapshots as JSON, for people and for other programs: what the tool prints and converts, and what can be converted
//! back. Unknown fields are refused, so that nothing that was meant is lost on the way.

mod check;
mod rollout;
pub mod text;

pub use check::check;
pub use rollout::{Recalled, Rollout};

use crate::model::{Admission, Attestation, Circuit, Country, Health, Reading, Signal, Snapshot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this form.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSnapshot {
    berth_snapshot: u8,
    /// Hexadecimal: readers of JSON lose digits of integers beyond 2^53.
    writer: String,
    epoch: u64,
    at_ms: u64,
    interval_ms: u32,
    slots: u16,
    substrates: Vec<JsonHealth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollout: Option<Rollout>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonHealth {
    name: String,
    #[serde(default)]
    signals: BTreeMap<String, JsonReading>,
    #[serde(default)]
    circuit: JsonCircuit,
    #[serde(default)]
    admission: JsonAdmission,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attestation: Option<JsonAttestation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_at_ms: Option<u64>,
    #[serde(default)]
    share_ppm: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonReading {
    value: i64,
    at_ms: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
enum JsonCircuit {
    #[default]
    Closed,
    Open {
        until_ms: u64,
    },
    HalfOpen {
        slot: u8,
        probes: u8,
        until_ms: u64,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum JsonAdmission {
    #[default]
    All,
    Existing,
    Closed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonAttestation {
    jurisdiction: String,
    at_ms: u64,
}

/// A snapshot as JSON. Values are in each signal's own unit: counts, parts per million, microseconds, picodollars.
#[must_use]
pub fn write(snapshot: &Snapshot) -> String {
    write_beside(snapshot, None)
}

/// The same with what stands beside it.
#[must_use]
pub fn write_beside(snapshot: &Snapshot, rollout: Option<&Rollout>) -> String {
    serde_json::to_string_pretty(&json(snapshot, rollout.cloned())).unwrap_or_default()
}

fn json(snapshot: &Snapshot, rollout: Option<Rollout>) -> JsonSnapshot {
    JsonSnapshot {
        berth_snapshot: VERSION,
        writer: format!("{:x}", snapshot.writer),
        epoch: snapshot.epoch,
        at_ms: snapshot.at_ms,
        interval_ms: snapshot.interval_ms,
        slots: snapshot.slots,
        substrates: snapshot.substrates.iter().map(to_json).collect(),
        rollout,
    }
}

/// The snapshot of a JSON text.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(text: &[u8]) -> Result<Snapshot, String> {
    read_beside(text).map(|(snapshot, _)| snapshot)
}

/// The same, and what stands beside it if anything does.
///
/// # Errors
/// As [`read`].
pub fn read_beside(text: &[u8]) -> Result<(Snapshot, Option<Rollout>), String> {
    let json: JsonSnapshot = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if json.berth_snapshot != VERSION {
        return Err(format!("berth_snapshot: found {}, expected {VERSION}", json.berth_snapshot));
    }
    let writer = u64::from_str_radix(&json.writer, 16)
        .map_err(|_| format!("writer: found `{}`, expected a hexadecimal number", json.writer))?;
    let snapshot = Snapshot {
        writer,
        epoch: json.epoch,
        at_ms: json.at_ms,
        interval_ms: json.interval_ms,
        slots: json.slots,
        substrates: json.substrates.into_iter().map(of_json).collect::<Result<_, _>>()?,
    };
    Ok((snapshot, json.rollout))
}

fn to_json(health: &Health) -> JsonHealth {
    let reading = |signal: Signal| {
        let Reading { value, at_ms } = health.reading(signal)?;
        Some((String::from(signal.as_str()), JsonReading { value, at_ms }))
    };
    JsonHealth {
        name: health.name.clone(),
        signals: Signal::ALL.into_iter().filter_map(reading).collect(),
        circuit: match health.circuit {
            Circuit::Closed => JsonCircuit::Closed,
            Circuit::Open { until_ms } => JsonCircuit::Open { until_ms },
            Circuit::HalfOpen { slot, probes, until_ms } => JsonCircuit::HalfOpen { slot, probes, until_ms },
        },
        admission: match health.admission {
            Admission::All => JsonAdmission::All,
            Admission::Existing => JsonAdmission::Existing,
            Admission::Closed => JsonAdmission::Closed,
        },
        attestation: health
            .attestation
            .map(|a| JsonAttestation { jurisdiction: String::from(a.jurisdiction.as_str()), at_ms: a.at_ms }),
        since_ms: health.since_ms,
        retry_at_ms: health.retry_at_ms,
        share_ppm: health.share_ppm,
    }
}

fn of_json(json: JsonHealth) -> Result<Health, String> {
    let mut health = Health::unknown(&json.name);
    for (name, JsonReading { value, at_ms }) in json.signals {
        let signal = Signal::parse(&name).ok_or_else(|| format!("{}: `{name}` is no signal", json.name))?;
        let (least, most) = signal.bounds();
        if !(least..=most).contains(&value) {
            return Err(format!("{}: {name}: found {value}, expected {least} to {most}", json.name));
        }
        health.set(signal, Reading { value, at_ms });
    }
    health.circuit = match json.circuit {
        JsonCircuit::Closed => Circuit::Closed,
        JsonCircuit::Open { until_ms } => Circuit::Open { until_ms },
        JsonCircuit::HalfOpen { slot, probes, until_ms } => Circuit::HalfOpen { slot, probes, until_ms },
    };
    health.admission = match json.admission {
        JsonAdmission::All => Admission::All,
        JsonAdmission::Existing => Admission::Existing,
        JsonAdmission::Closed => Admission::Closed,
    };
    if let Some(JsonAttestation { jurisdiction, at_ms }) = json.attestation {
        let country = Country::parse(&jurisdiction)
            .ok_or_else(|| format!("{}: found `{jurisdiction}`, expected a country of ISO 3166", json.name))?;
        health.attestation = Some(Attestation { jurisdiction: country, at_ms });
    }
    (health.since_ms, health.retry_at_ms, health.share_ppm) = (json.since_ms, json.retry_at_ms, json.share_ppm);
    Ok(health)
}
