//! What becomes of the bodies that are handed in: a report goes to whoever leads, a throw of the switch to everybody.

use super::answer::{DeskCounters, Turned, json};
use super::notes;
use crate::filter::Host;
use crate::filter::placement::Verdict;
use crate::filter::store::{NotThrown, SnapshotReader, Switch, Undelivered, deliver, throw};
use crate::health::heard::{Drop, Dropped, is_measurable, is_stale};
use crate::health::report::{self, Report};
use crate::model::Signal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The largest sequence: beyond it readers of JSON lose digits.
const MOST_SEQUENCE: u64 = 1 << 53;
/// How far ahead of the clock in microseconds, the finest that people count in.
const AHEAD_US: u64 = 86_400_000_000;

/// What became of a report.
pub(super) struct Handed {
    pub(super) verdict: Verdict,
    /// What of it was dropped, to be counted.
    pub(super) dropped: Dropped,
}

/// Takes a report about the substrate of this name.
pub(super) fn report<H: Host>(
    host: &H,
    counters: &DeskCounters,
    (substrate, reader): (&str, &mut SnapshotReader),
    body: &[u8],
    now_ms: u64,
) -> Handed {
    let (mut report, sequence) = match read(substrate, body, now_ms) {
        Ok(read) => read,
        Err(detail) => {
            let verdict = counters.turn_away(host, Turned::Malformed, &detail);
            return Handed { verdict, dropped: Dropped::default() };
        }
    };
    let verdict = hand_in(host, counters, (substrate, reader), (&mut report, sequence), now_ms);
    Handed { verdict, dropped: report.heard.dropped }
}

/// The one report of a body with its sequence, or why it is none.
fn read(substrate: &str, body: &[u8], now_ms: u64) -> Result<(Report, u64), String> {
    let mut reports = report::parse(body, now_ms).filter(|all| all.len() == 1).unwrap_or_default();
    let Some(report) = reports.pop() else { return Err(report::complaint(body)) };
    if report.substrate.as_deref().is_some_and(|named| named != substrate) {
        return Err("substrate: another than in the path, expected the same or none".into());
    }
    // One that is far ahead of all clocks would leave no room for the next, and so lock the substrate's writers out.
    let ahead = now_ms.saturating_mul(1_000).saturating_add(AHEAD_US);
    match report.sequence.filter(|sequence| *sequence <= MOST_SEQUENCE) {
        Some(sequence) if sequence <= ahead => Ok((report, sequence)),
        Some(sequence) => Err(format!(
            "sequence: found {sequence}, expected at most {ahead}, the time in microseconds a day from now"
        )),
        None => {
            Err("sequence: expected a whole number up to 2^53 that grows from report to report, such as the time in \
             milliseconds"
                .into())
        }
    }
}

fn hand_in<H: Host>(
    host: &H,
    counters: &DeskCounters,
    (substrate, reader): (&str, &mut SnapshotReader),
    (report, sequence): (&mut Report, u64),
    now_ms: u64,
) -> Verdict {
    sift(host, (substrate, reader), report, now_ms);
    if report.heard.readings.is_empty() && report.attestation.is_none() {
        return counters.turn_away_with(host, Turned::Nothing, outcome(substrate, sequence, report), &[]);
    }
    match deliver(host, substrate, sequence, &report.heard, report.attestation, now_ms) {
        Ok(overtaken) => {
            for signal in overtaken.signals {
                forget(report, signal, Drop::Stale);
            }
            if overtaken.attestation {
                report.attestation = None;
                report.drop("attestation", Drop::Stale);
            }
            counters.reported(host);
            json(host, &outcome(substrate, sequence, report).to_string())
        }
        Err(Undelivered::NotNewer(last)) => {
            let detail =
                json!({"detail": "sequence: not after the last report", "sequence": sequence, "last": last.last});
            counters.turn_away_with(host, Turned::NotNewer, detail, &[])
        }
        Err(Undelivered::Busy | Undelivered::Host(_)) => {
            counters.turn_away(host, Turned::Busy, "nothing was kept: send it again")
        }
    }
}

/// Drops what whoever leads would drop: what is older than what was published, and what the proxies measure themselves.
fn sift<H: Host>(host: &H, (substrate, reader): (&str, &mut SnapshotReader), report: &mut Report, now_ms: u64) {
    let measurable = report.heard.readings.iter().any(|(signal, _)| is_measurable(*signal));
    let measured = if measurable { notes::measured(host, substrate) } else { Vec::new() };
    reader.poll(host);
    let known = reader.snapshot().and_then(|snapshot| snapshot.of(substrate));
    let is_old = |(at_ms, known_ms)| is_stale(known_ms, at_ms, now_ms);
    for (signal, reading) in report.heard.readings.clone() {
        let old = known.and_then(|health| health.reading(signal)).map(|known| (reading.at_ms, known.at_ms));
        if measured.contains(&signal) {
            forget(report, signal, Drop::Measured);
        } else if old.is_some_and(is_old) {
            forget(report, signal, Drop::Stale);
        }
    }
    let old = known.and_then(|health| health.attestation).zip(report.attestation);
    if old.is_some_and(|(known, new)| is_old((new.at_ms, known.at_ms))) {
        report.attestation = None;
        report.drop("attestation", Drop::Stale);
    }
}

fn forget(report: &mut Report, signal: Signal, why: Drop) {
    report.heard.readings.retain(|(known, _)| *known != signal);
    report.drop(signal.as_str(), why);
}

/// What was kept and what was dropped, and why.
fn outcome(substrate: &str, sequence: u64, report: &Report) -> Value {
    let mut kept: Vec<&str> = report.heard.readings.iter().map(|(signal, _)| signal.as_str()).collect();
    kept.extend(report.attestation.map(|_| "attestation"));
    let named = report.named.iter().map(|(name, why)| (name.clone(), Value::from(why.as_str())));
    let dropped: Map<String, Value> = named.collect();
    let unnamed = usize::try_from(report.heard.dropped.total()).unwrap_or(0).saturating_sub(report.named.len());
    json!({"substrate": substrate, "sequence": sequence, "kept": kept, "dropped": dropped, "dropped_besides": unnamed})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThrow {
    to: String,
    /// Only if it still stands there.
    generation: Option<u64>,
}

/// Throws the switch.
pub(super) fn rollout<H: Host>(host: &H, counters: &DeskCounters, who: &str, body: &[u8], now_ms: u64) -> Verdict {
    let malformed = |detail: &str| counters.turn_away(host, Turned::Malformed, detail);
    let raw: RawThrow = match serde_json::from_slice(body) {
        Ok(raw) => raw,
        Err(error) => return malformed(&error.to_string()),
    };
    let Some(switch) = Switch::parse(&raw.to) else {
        return malformed("to: expected `current`, `passthrough` or `previous`");
    };
    match throw(host, switch, raw.generation, now_ms) {
        Ok((before, after)) => {
            counters.thrown(host);
            let (from, to, generation) = (before.switch.as_str(), after.switch.as_str(), after.generation);
            log::warn!("berth: `{who}` threw the rollout switch from {from} to {to} (generation {generation})");
            let said = json!({"rollout": to, "before": from, "generation": generation, "at_ms": after.at_ms});
            json(host, &said.to_string())
        }
        Err(NotThrown::Moved(now)) => {
            let detail = json!({"detail": "generation: somebody else threw the switch", "rollout": now.switch.as_str(),
                "generation": now.generation});
            counters.turn_away_with(host, Turned::NotNewer, detail, &[])
        }
        Err(NotThrown::Busy | NotThrown::Host(_)) => {
            counters.turn_away(host, Turned::Busy, "the switch was not thrown: try again")
        }
    }
}
