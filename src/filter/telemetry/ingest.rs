//! What becomes of the bodies that are handed in: a report goes to whoever leads, a throw of the switch to everybody.

use super::answer::{DeskCounters, Turned, json};
use crate::filter::Host;
use crate::filter::placement::Verdict;
use crate::filter::store::{NotThrown, Switch, Undelivered, deliver, throw};
use crate::health::report::{self, Report};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The largest sequence: beyond it readers of JSON lose digits.
const MOST_SEQUENCE: u64 = 1 << 53;

/// Takes a report about the substrate of this name.
pub(super) fn report<H: Host>(host: &H, counters: &DeskCounters, substrate: &str, body: &[u8], now_ms: u64) -> Verdict {
    let malformed = |detail: &str| counters.turn_away(host, Turned::Malformed, detail);
    let mut reports = match report::parse(body, now_ms) {
        Some(reports) if reports.len() == 1 => reports,
        _ => return malformed(&report::complaint(body)),
    };
    let Some(report) = reports.pop() else { return malformed("expected one report") };
    if report.substrate.as_deref().is_some_and(|named| named != substrate) {
        return malformed("substrate: another than in the path, expected the same or none");
    }
    let Some(sequence) = report.sequence.filter(|sequence| *sequence <= MOST_SEQUENCE) else {
        return malformed(
            "sequence: expected a whole number up to 2^53 that grows from report to report, such as the time in milliseconds",
        );
    };
    if report.heard.readings.is_empty() && report.attestation.is_none() {
        return counters.turn_away_with(host, Turned::Nothing, outcome(substrate, sequence, &report), &[]);
    }
    match deliver(host, substrate, sequence, &report.heard, report.attestation, now_ms) {
        Ok(()) => {
            counters.reported(host);
            json(host, &outcome(substrate, sequence, &report).to_string())
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
