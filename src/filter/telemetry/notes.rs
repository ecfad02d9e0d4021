//! How the sources do, as whoever leads sees it: noted in shared data for people, whichever VM they ask.

use super::source::{Failure, Source};
use crate::filter::Host;
use crate::health::fold::Fold;
use crate::health::json::text::{list, put, quote};
use crate::health::members::Members;
use crate::model::Signal;
use serde::de::IgnoredAny;

/// Where it is noted.
pub(super) const SOURCES: &str = "berth/1/sources";
/// The most sources that are noted, and the most bytes that are read.
const MOST_NOTED: usize = 1_024;
const MOST_BYTES: usize = 1 << 20;

/// What became of the questions to one source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    heard: u64,
    failed: u64,
    last_heard_ms: Option<u64>,
    last_failed: Option<(u64, Failure)>,
}

impl Tally {
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard = self.heard.saturating_add(1);
        self.last_heard_ms = Some(now_ms);
    }

    pub(super) fn failed(&mut self, failure: Failure, now_ms: u64) {
        self.failed = self.failed.saturating_add(1);
        self.last_failed = Some((now_ms, failure));
    }

    /// Adds it to what is noted of the source.
    pub(super) fn note(&self, out: &mut String) {
        put(out, ",\"heard\":", self.heard);
        put(out, ",\"failed\":", self.failed);
        if let Some(last_heard_ms) = self.last_heard_ms {
            put(out, ",\"last_heard_ms\":", last_heard_ms);
        }
        if let Some((last_failed_ms, failure)) = self.last_failed {
            put(out, ",\"last_failed_ms\":", last_failed_ms);
            out.push_str(",\"last_failure\":");
            quote(out, failure.as_str());
        }
    }
}

/// Notes it. What cannot be noted is noted the next time.
pub(super) fn write<H: Host>(host: &H, sources: &[Source], fold: &Fold, now_ms: u64) {
    let mut out = String::with_capacity(256 + sources.len().min(MOST_NOTED) * 256);
    put(&mut out, "{\"at_ms\":", now_ms);
    put(&mut out, ",\"members\":", fold.live());
    put(&mut out, ",\"besides\":", sources.len().saturating_sub(MOST_NOTED));
    out.push_str(",\"sources\":[");
    list(&mut out, sources.iter().take(MOST_NOTED), |out, source| source.note(out));
    out.push_str("],\"measured\":{");
    let mut measured = fold.measured(now_ms).map(|(name, signals)| (name, signals.peekable()));
    let some = core::iter::from_fn(|| measured.find_map(|(name, mut all)| all.peek().is_some().then_some((name, all))));
    list(&mut out, some, |out, (name, signals)| {
        quote(out, name);
        out.push_str(":[");
        list(out, signals, |out, signal| quote(out, signal.as_str()));
        out.push(']');
    });
    out.push_str("}}");
    let _ = host.shared_set(SOURCES, out.as_bytes(), None);
}

/// What was noted, if anything was, and if it is JSON: it becomes a part of some.
pub(super) fn read<H: Host>(host: &H) -> Option<String> {
    let (bytes, _) = host.shared_get(SOURCES).ok().filter(|(bytes, _)| bytes.len() <= MOST_BYTES)?;
    serde_json::from_slice::<IgnoredAny>(&bytes).ok()?;
    String::from_utf8(bytes).ok().filter(|text| !text.contains('<'))
}

/// What the proxies measure of a substrate themselves, as it was noted last.
pub(super) fn measured<H: Host>(host: &H, substrate: &str) -> Vec<Signal> {
    let noted = host.shared_get(SOURCES).ok().filter(|(bytes, _)| bytes.len() <= MOST_BYTES);
    let Some((bytes, _)) = noted else { return Vec::new() };
    let noted = serde_json::from_slice::<Members<'_>>(&bytes).ok().and_then(|noted| noted.find("measured").ok()?);
    let measured = noted.and_then(|noted| serde_json::from_str::<Members<'_>>(noted.get()).ok());
    let names = measured.and_then(|measured| measured.find(substrate).ok()?);
    let names = names.and_then(|names| serde_json::from_str::<Vec<&str>>(names.get()).ok()).unwrap_or_default();
    names.into_iter().filter_map(Signal::parse).collect()
}
