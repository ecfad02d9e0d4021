//! What no writer of ours puts into a snapshot, though its form allows it. The role takes what it can of such a one;
//! whoever asks the tool wants to know.

use crate::model::name::Name;
use crate::model::{Circuit, Health, Snapshot, WHOLE_PPM};

/// How far ahead of its snapshot a time may be: clocks differ, and circuits and rests end later.
const AHEAD_MS: u64 = 86_400_000;

/// Whether a snapshot makes sense.
///
/// # Errors
/// The first place that does not, and what was expected there.
pub fn check(snapshot: &Snapshot) -> Result<(), String> {
    let mut names: Vec<&str> = snapshot.substrates.iter().map(|health| health.name.as_str()).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(format!("substrates: found `{twice}` twice, expected each once"));
    }
    snapshot.substrates.iter().try_for_each(|health| one(health, snapshot.at_ms))
}

fn one(health: &Health, taken_ms: u64) -> Result<(), String> {
    let name = &health.name;
    if Name::parse(name).is_none() {
        return Err(format!("substrates: found `{name}`, expected the name of a substrate"));
    }
    if i64::from(health.share_ppm) > WHOLE_PPM {
        return Err(format!("{name}: share_ppm: found {}, expected 0 to {WHOLE_PPM}", health.share_ppm));
    }
    let most = taken_ms.saturating_add(AHEAD_MS);
    let until = match health.circuit {
        Circuit::Closed => None,
        Circuit::Open { until_ms } | Circuit::HalfOpen { until_ms, .. } => Some(until_ms),
    };
    let attested = health.attestation.map(|attestation| attestation.at_ms);
    let newest = health.readings.iter().flatten().map(|reading| reading.at_ms).max();
    let times = [
        ("signals", newest),
        ("circuit", until),
        ("attestation", attested),
        ("since_ms", health.since_ms),
        ("retry_at_ms", health.retry_at_ms),
    ];
    let late =
        times.into_iter().find_map(|(what, at_ms)| at_ms.filter(|at_ms| *at_ms > most).map(|at_ms| (what, at_ms)));
    match late {
        Some((what, at_ms)) => Err(format!(
            "{name}: {what}: found the time {at_ms}, expected at most {most}, a day after the snapshot's own"
        )),
        None => Ok(()),
    }
}
