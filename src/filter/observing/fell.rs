//! Why attempts were followed by others. One that comes to nothing leaves word in the request's own filter state, where
//! the one after it finds it, in whichever cluster that is: `metal-fr=429>onprem-de=reset>`. Behind each `>` the request
//! went on. No header is read for it, and as long as nothing fails nothing is asked.

use super::super::vm::Member;
use super::super::{Host, MetricKind};
use crate::filter::metrics::word;
use crate::health::Meaning;
use crate::model::contract::{EXPECTED, FELL_STATE};
use crate::model::metric::{self, MOST_SERIES, PREFIX};
use std::collections::BTreeMap;

/// For so long after any attempt failed an attempt that begins may be the next one of the same request. The router waits
/// for milliseconds; a `retry-after` that it was told to obey may take longer.
const LATELY_NS: u64 = 5_000_000_000;
/// A request that has been tried so often that its word is longer says nothing more.
const MOST_TEXT: usize = 512;
/// A late timer is no reset, nor is one that a busy worker's clock lets end early: so much, and a part of the time besides.
const SLACK_MS: u64 = 5;
const SLACK_PART: u64 = 16;
/// The word of an attempt that nothing came of. Whether it was reset or too slow says the time that the next one is given.
const NOTHING: &str = "none@";
/// Why an attempt came to nothing, where that is known as it ends.
const CAUSES: [&str; 5] = ["429", "503", "5xx", "grpc", "refused"];
/// There once there was a connection.
pub(super) const CONNECTED: [&str; 2] = ["upstream", "local_address"];

/// What fell back, by where from, where to and why.
#[derive(Debug, Default)]
pub(super) struct Fell {
    /// What the clusters are called, by their place in the VM's account.
    names: Vec<String>,
    /// The series that there are by now.
    series: BTreeMap<String, Option<u32>>,
}

impl Fell {
    /// Whoever is at this place is called so.
    pub(super) fn call(&mut self, at: usize, cluster: &[u8]) {
        if at >= self.names.len() {
            self.names.resize(at + 1, String::new());
        }
        if let Some(name) = self.names.get_mut(at).filter(|name| name.is_empty()) {
            *name = word(&String::from_utf8_lossy(cluster));
        }
    }

    fn name(&self, at: usize) -> &str {
        self.names.get(at).map_or("none", String::as_str)
    }

    /// An attempt begins: if it follows another one, that fell back. Gives what the request has been through.
    pub(super) fn begins<H: Host>(&mut self, host: &H, member: &Member, to: usize, now_ns: u64) -> String {
        if now_ns.saturating_sub(member.failed_ns()) > LATELY_NS {
            return String::new();
        }
        self.follows(host, to).unwrap_or_default()
    }

    #[inline(never)]
    fn follows<H: Host>(&mut self, host: &H, to: usize) -> Option<String> {
        let text = String::from_utf8(host.property(&[FELL_STATE]).ok()?).ok()?;
        let open = text.rfind('>').map_or(0, |end| end + 1);
        let (before, last) = text.split_at_checked(open)?;
        let Some((from, cause)) = last.split_once('=') else { return Some(text) };
        let cause = match cause.strip_prefix(NOTHING) {
            Some(after_ms) if was_slow(host, after_ms) => "slow",
            Some(_) => "reset",
            None => CAUSES.into_iter().find(|known| *known == cause)?,
        };
        let went_on = [before, from, "=", cause, ">"].concat();
        let _ = host.set_filter_state(FELL_STATE, went_on.as_bytes());
        self.count(host, &word(from), to, cause);
        Some(went_on)
    }

    fn count<H: Host>(&mut self, host: &H, from: &str, to: usize, cause: &str) {
        let series = |from: &str, to: &str| {
            [PREFIX, metric::FALLBACKS.name, ".from.", from, ".to.", to, ".cause.", cause].concat()
        };
        let mut name = series(from, self.name(to));
        if self.series.len() >= MOST_SERIES && !self.series.contains_key(&name) {
            name = series("all", "all");
        }
        let define = || host.define_metric(MetricKind::Counter, &name).ok();
        super::add(host, *self.series.entry(name.clone()).or_insert_with(define), 1);
    }

    /// An attempt has been answered: leaves word if that may be tried again.
    pub(super) fn answered<H: Host>(
        &self,
        host: &H,
        member: &Member,
        (at, before): (usize, &str),
        (status, meaning): (u16, Meaning),
        now_ns: u64,
    ) {
        let cause = match status {
            429 => "429",
            503 => "503",
            500.. => "5xx",
            _ if matches!(meaning, Meaning::Failed | Meaning::Overloaded) => "grpc",
            _ => return,
        };
        self.leave(host, member, (at, before), cause, now_ns);
    }

    /// An attempt has ended without any answer.
    #[inline(never)]
    pub(super) fn silent<H: Host>(
        &self,
        host: &H,
        member: &Member,
        (at, before): (usize, &str),
        (begun_ns, now_ns): (u64, u64),
    ) {
        let connected = host.property(&CONNECTED).is_ok_and(|address| !address.is_empty());
        let after_ms = now_ns.saturating_sub(begun_ns) / 1_000_000;
        let nothing = [NOTHING, &after_ms.to_string()].concat();
        self.leave(host, member, (at, before), if connected { &nothing } else { "refused" }, now_ns);
    }

    fn leave<H: Host>(&self, host: &H, member: &Member, (at, before): (usize, &str), cause: &str, now_ns: u64) {
        let text = [before, self.name(at), "=", cause].concat();
        if text.len() <= MOST_TEXT && host.set_filter_state(FELL_STATE, text.as_bytes()).is_ok() {
            member.fails(now_ns);
        }
    }
}

/// Whether an attempt that lasted so long had no more time than the one that begins is given, which is as much as each
/// of a plan has, but for what is left at the end. Its own time cannot be read any more once it has ended (seen on 1.40),
/// and to read it as each begins would cost those that go well.
fn was_slow<H: Host>(host: &H, after_ms: &str) -> bool {
    let given = host.property(&["request", "headers", EXPECTED]).ok();
    let given = given.and_then(|text| core::str::from_utf8(&text).ok()?.parse::<u64>().ok());
    match (given, after_ms.parse::<u64>()) {
        (Some(given), Ok(after)) => after + SLACK_MS + given / SLACK_PART >= given,
        _ => false,
    }
}
