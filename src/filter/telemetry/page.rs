//! The page at `/`: one file with its own style and script, nothing fetched from elsewhere. It carries the state that
//! it draws, and asks `/state` for the next one.

use super::answer::text;
use super::desk::switch;
use super::notes;
use crate::filter::Host;
use crate::filter::placement::Verdict;
use crate::filter::store::{SLOTS, recent};
use crate::health::json::text::{compact, list, put, quote};
use crate::health::spread::Peers;
use crate::model::signal::Unit;
use crate::model::{Kind, Signal, Snapshot, Watch, Watched};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("page.html");
/// Where the state goes.
const STATE: &str = "/*STATE*/";
const SCRIPT: (&str, &str) = ("<script>", "</script>");

/// All that the page draws.
pub(super) fn state<H: Host>(host: &H, watch: &Watch, snapshot: Option<&Snapshot>) -> String {
    let mut out = String::with_capacity(4_096);
    put(&mut out, "{\"now_ms\":", host.now_ns() / 1_000_000);
    put(&mut out, ",\"ages\":{\"soft_ms\":", watch.ages.soft_ms);
    put(&mut out, ",\"hard_ms\":", watch.ages.hard_ms);
    // Every signal in its order, with its unit and whether more of it is better.
    out.push_str("},\"signals\":[");
    list(&mut out, Signal::ALL.into_iter(), |out, signal| {
        out.push('[');
        quote(out, signal.as_str());
        out.push_str(match signal.unit() {
            Unit::Count => ",\"count\",",
            Unit::Ppm => ",\"ratio\",",
            Unit::Micros => ",\"time\",",
            Unit::PicoUsd => ",\"price\",",
        });
        out.push_str(if signal.more_is_better() { "true]" } else { "false]" });
    });
    for (name, value) in [
        ("],\"rollout\":", Some(switch(host))),
        (",\"sources\":", notes::read(host)),
        (",\"snapshot\":", snapshot.map(compact)),
    ] {
        out.push_str(name);
        out.push_str(value.as_deref().unwrap_or("null"));
    }
    out.push_str(",\"about\":{");
    list(&mut out, watch.substrates.iter(), about);
    out.push('}');
    spread(&mut out, watch, snapshot);
    out.push_str(",\"decisions\":[");
    list(&mut out, recent(host, 0..SLOTS).iter(), |out, decided| {
        put(out, "{\"at_ms\":", decided.at_ms);
        put(out, ",\"enforced\":", decided.enforced);
        out.push_str(",\"record\":");
        quote(out, &decided.text);
        out.push('}');
    });
    out.push_str("]}");
    out
}

/// What the policy says of a substrate that is of use beside its health, and which signals it has a bound for.
fn about(out: &mut String, watched: &Watched) {
    quote(out, &watched.name);
    for (before, text) in [
        (":{\"kind\":", watched.kind.as_str()),
        (",\"region\":", &watched.region),
        (",\"cluster\":", &watched.cluster),
        (",\"layer\":", &watched.layer),
    ] {
        out.push_str(before);
        quote(out, text);
    }
    out.push_str(",\"bounds\":[");
    let bounds = watched.thresholds.bounds();
    let bound = bounds.into_iter().filter(|(_, limit)| limit.is_some());
    list(out, bound, |out, (signal, _)| quote(out, signal.as_str()));
    out.push_str("]}");
}

/// Regions and kinds against one another; `null` where there is nothing to compare.
fn spread(out: &mut String, watch: &Watch, snapshot: Option<&Snapshot>) {
    let (peers, nobody) = (Peers::of(watch), Snapshot::default());
    let (snapshot, hard_ms) = (snapshot.unwrap_or(&nobody), watch.ages.hard_ms);
    let pair = |out: &mut String, (name, ppm): (&str, Option<i64>)| {
        out.push('[');
        quote(out, name);
        match ppm {
            Some(ppm) => put(out, ",", ppm),
            None => out.push_str(",null"),
        }
        out.push(']');
    };
    out.push_str(",\"regions\":[");
    let regions = peers.regions().iter().map(String::as_str);
    list(out, regions.zip(peers.divergence(snapshot, hard_ms)), pair);
    out.push_str("],\"kinds\":[");
    let there = |(kind, _): &(Kind, Option<i64>)| watch.substrates.iter().any(|watched| watched.kind == *kind);
    let kinds = Kind::ALL.into_iter().zip(peers.token_spread(snapshot, hard_ms)).filter(there);
    list(out, kinds.map(|(kind, ppm)| (kind.as_str(), ppm)), pair);
    out.push(']');
}

/// Answers with the page.
pub(super) fn show<H: Host>(host: &H, watch: &Watch, snapshot: Option<&Snapshot>) -> Verdict {
    let state = state(host, watch, snapshot);
    let script = PAGE.rsplit_once(SCRIPT.0).and_then(|(_, rest)| rest.split_once(SCRIPT.1)).map_or("", |(s, _)| s);
    let policy = [
        "default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; ",
        "form-action 'none'; frame-ancestors 'none'; script-src 'sha256-",
        &base64(&Sha256::digest(script.as_bytes())),
        "'",
    ];
    let headers = [("content-security-policy", policy.concat()), ("referrer-policy", String::from("no-referrer"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    text(host, "text/html; charset=utf-8", &PAGE.replace(STATE, &state), &headers)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, n| bits << 8 | u32::from(three.get(n).copied().unwrap_or(0)));
        for n in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * n) & 63).unwrap_or(0);
            let known = n <= three.len();
            out.push(if known { DIGITS.get(digit).copied().map_or('=', char::from) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{PAGE, SCRIPT, STATE, base64};

    #[test]
    fn the_page_fetches_nothing_from_elsewhere() {
        for word in ["http://", "https://", "@import", "url("] {
            let found =
                PAGE.match_indices(word).filter(|(at, _)| !PAGE[*at..].starts_with("http://www.w3.org/2000/svg"));
            assert_eq!(found.count(), 0, "{word}");
        }
        assert_eq!(PAGE.matches(STATE).count(), 1);
        assert_eq!(PAGE.matches(SCRIPT.0).count(), 1);
    }

    #[test]
    fn base64_is_as_everywhere() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
