//! How the sources do, as whoever leads sees it: noted in shared data for people, whichever VM they ask.

use super::source::{Failure, Source};
use crate::filter::Host;
use serde_json::{Value, json};

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

    pub(super) fn note(&self, mut about: Value) -> Value {
        about["heard"] = self.heard.into();
        about["failed"] = self.failed.into();
        about["last_heard_ms"] = self.last_heard_ms.into();
        about["last_failed_ms"] = self.last_failed.map(|(at_ms, _)| at_ms).into();
        about["last_failure"] = self.last_failed.map(|(_, failure)| failure.as_str()).into();
        about
    }
}

/// Notes it. What cannot be noted is noted the next time.
pub(super) fn write<H: Host>(host: &H, sources: &[Source], members: usize, now_ms: u64) {
    let noted: Vec<Value> = sources.iter().take(MOST_NOTED).map(Source::note).collect();
    let besides = sources.len().saturating_sub(noted.len());
    let text = json!({"at_ms": now_ms, "members": members, "sources": noted, "besides": besides}).to_string();
    let _ = host.shared_set(SOURCES, text.as_bytes(), None);
}

/// What was noted, if anything was.
pub(super) fn read<H: Host>(host: &H) -> Option<Value> {
    let (bytes, _) = host.shared_get(SOURCES).ok()?;
    serde_json::from_slice(&bytes).ok().filter(|value: &Value| bytes.len() <= MOST_BYTES && value.is_object())
}
