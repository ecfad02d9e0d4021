//! The desk: what the telemetry role does as the filter of its own listener. Reports are handed in, the switch is
//! thrown, the picture is looked at. Nobody who is not written down may do anything; every other path is the
//! listener's own affair.

use super::answer::{DeskCounters, Turned, json};
use super::counters::Counters;
use super::guard::{self, Rate};
use super::{ingest, page};
use crate::filter::placement::Verdict;
use crate::filter::store::{SnapshotReader, kept, recalls, rollout};
use crate::filter::telemetry_config::desk::DeskConfig;
use crate::filter::{Headers, Host, MapKind};
use crate::health::json::text::{compact, put, quote};
use crate::model::Watch;
use serde_json::json;

/// A request that was let in and whose body is awaited.
#[derive(Debug)]
pub struct Visit {
    errand: Errand,
    who: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// About the substrate at this position.
    Report(usize),
    /// Throws the switch.
    Rollout,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    Page,
    State,
    Snapshot,
    Kept(&'a str),
    Rollout,
    Substrate(&'a str),
    Elsewhere,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        match path.split(['?', '#']).next().unwrap_or_default() {
            "/" => Self::Page,
            "/state" => Self::State,
            "/snapshot" => Self::Snapshot,
            "/rollout" => Self::Rollout,
            other => match (other.strip_prefix("/substrates/"), other.strip_prefix("/snapshots/")) {
                (Some(name), _) => Self::Substrate(name),
                (_, Some(epoch)) => Self::Kept(epoch),
                _ => Self::Elsewhere,
            },
        }
    }

    const fn allows(self) -> &'static str {
        match self {
            Self::Rollout => "GET, HEAD, PUT",
            Self::Substrate(_) => "PUT",
            _ => "GET, HEAD",
        }
    }
}

/// What the role knows, for who hands something in.
pub(super) struct Known<'a> {
    pub(super) watch: &'a Watch,
    pub(super) reader: &'a mut SnapshotReader,
    pub(super) counters: &'a Counters,
}

/// What the desk holds in this VM.
#[derive(Debug)]
pub(super) struct Desk {
    config: DeskConfig,
    counters: DeskCounters,
    rate: Rate,
}

impl Desk {
    pub(super) fn new<H: Host>(host: &H, config: DeskConfig) -> Self {
        Self { counters: DeskCounters::declare(host), rate: Rate::new(config.most_per_s), config }
    }

    /// A request's headers have arrived.
    pub(super) fn arrive<H: Host>(
        &mut self,
        host: &H,
        watch: &Watch,
        reader: &mut SnapshotReader,
        ends: bool,
    ) -> (Verdict, Option<Visit>) {
        let Ok(headers) = host.headers(MapKind::RequestHeaders) else { return (Verdict::Continue, None) };
        let place = Place::of(headers.get(":path").unwrap_or_default());
        let method = headers.get(":method").unwrap_or_default();
        match (place, method) {
            (Place::Elsewhere, _) => (Verdict::Continue, None),
            (Place::Rollout | Place::Substrate(_), "PUT") => match self.admit(host, watch, &headers, place, ends) {
                Ok(visit) => (Verdict::Held, Some(visit)),
                Err(verdict) => (verdict, None),
            },
            (Place::Page | Place::State | Place::Snapshot | Place::Kept(_) | Place::Rollout, "GET" | "HEAD") => {
                (self.show(host, watch, reader, &headers, place), None)
            }
            _ => {
                let detail = json!({"detail": format!("expected one of {}", place.allows())});
                let allow = [("allow", place.allows())];
                (self.counters.turn_away_with(host, Turned::Method, detail, &allow), None)
            }
        }
    }

    fn admit<H: Host>(
        &mut self,
        host: &H,
        watch: &Watch,
        headers: &Headers,
        place: Place<'_>,
        ends: bool,
    ) -> Result<Visit, Verdict> {
        let Some(writer) = guard::writer(host, &self.config, headers) else {
            let detail = "expected a bearer token or a client certificate that the configuration knows";
            return Err(self.counters.turn_away(host, Turned::Unauthenticated, detail));
        };
        let turn = |why, detail: &str| Err(self.counters.turn_away(host, why, detail));
        let errand = match place {
            Place::Substrate(name) => match watch.position(name) {
                Some(position) if writer.reports.hold(position) => Errand::Report(position),
                Some(_) => return turn(Turned::Forbidden, "not permitted to report of this substrate"),
                None => return turn(Turned::Unknown, "expected the name of a substrate of the policy"),
            },
            _ if writer.rollout => Errand::Rollout,
            _ => return turn(Turned::Forbidden, "not permitted to throw the switch"),
        };
        if !self.rate.take(host.now_ns() / 1_000_000) {
            return turn(Turned::TooMany, "more writes a second than this listener takes");
        }
        let declared = headers.get("content-length").and_then(|length| length.parse::<usize>().ok());
        if declared.is_some_and(|length| length > self.config.most_body) {
            return Err(self.too_long(host));
        }
        if ends {
            return turn(Turned::Malformed, "expected a body");
        }
        Ok(Visit { errand, who: writer.name.clone() })
    }

    fn too_long<H: Host>(&self, host: &H) -> Verdict {
        let detail = format!("expected at most {} bytes", self.config.most_body);
        self.counters.turn_away(host, Turned::Oversized, &detail)
    }

    /// More of a body has arrived; `size` is all of it so far.
    pub(super) fn on_body<H: Host>(
        &self,
        host: &H,
        known: Known<'_>,
        visit: &Visit,
        (size, ends): (usize, bool),
    ) -> Verdict {
        if size > self.config.most_body {
            return self.too_long(host);
        }
        if !ends {
            return Verdict::Held;
        }
        let now_ms = host.now_ns() / 1_000_000;
        let body = match host.request_body(0, size) {
            Ok(body) if now_ms > 0 => body,
            _ => return self.counters.turn_away(host, Turned::Busy, "the body could not be read: send it again"),
        };
        match visit.errand {
            Errand::Rollout => ingest::rollout(host, &self.counters, &visit.who, &body, now_ms),
            Errand::Report(position) => match known.watch.substrates.get(position) {
                Some(watched) => {
                    let handed = ingest::report(host, &self.counters, (&watched.name, known.reader), &body, now_ms);
                    known.counters.dropped(host, &handed.dropped);
                    handed.verdict
                }
                None => self.counters.turn_away(host, Turned::Unknown, "expected a substrate of the policy"),
            },
        }
    }

    /// How many snapshots are kept.
    pub(super) const fn keeps(&self) -> u32 {
        self.config.keep_snapshots
    }

    /// A snapshot that is not the newest any more.
    fn show_kept<H: Host>(&self, host: &H, epoch: &str) -> Verdict {
        match epoch.parse().ok().and_then(|epoch| kept(host, epoch, self.config.keep_snapshots)) {
            Some(snapshot) => json(host, &compact(&snapshot)),
            None => {
                let detail = match self.config.keep_snapshots {
                    0 => String::from("none are kept: `listener.keep_snapshots` says how many"),
                    kept => format!("expected one of the last {kept} epochs"),
                };
                self.counters.turn_away(host, Turned::Unkept, &detail)
            }
        }
    }

    fn show<H: Host>(
        &self,
        host: &H,
        watch: &Watch,
        reader: &mut SnapshotReader,
        headers: &Headers,
        place: Place<'_>,
    ) -> Verdict {
        if !guard::may_read(host, &self.config, headers) {
            let detail = "expected a credential of a writer; `listener.read` says who may look";
            return self.counters.turn_away(host, Turned::Unauthenticated, detail);
        }
        reader.poll(host);
        match (place, reader.snapshot()) {
            (Place::Snapshot, Some(snapshot)) => json(host, &beside(compact(snapshot), &switch(host))),
            (Place::Snapshot, None) => self.counters.turn_away(host, Turned::Busy, "nothing was published yet"),
            (Place::Kept(epoch), _) => self.show_kept(host, epoch),
            (Place::Rollout, _) => json(host, &switch(host)),
            (Place::State, snapshot) => json(host, &page::state(host, watch, snapshot)),
            (_, snapshot) => page::show(host, watch, snapshot),
        }
    }
}

/// A snapshot's JSON with one member more: what stands beside it.
fn beside(mut snapshot: String, switch: &str) -> String {
    if snapshot.pop().is_some() {
        snapshot.extend([",\"rollout\":", switch, "}"]);
    }
    snapshot
}

/// Where the switch stands, and which candidate went back by itself.
pub(super) fn switch<H: Host>(host: &H) -> String {
    let mut out = String::from("{\"rollout\":");
    match rollout(host) {
        Ok(now) => {
            quote(&mut out, now.switch.as_str());
            put(&mut out, ",\"generation\":", now.generation);
            put(&mut out, ",\"at_ms\":", now.at_ms);
        }
        Err(_) => out.push_str("null"),
    }
    out.push_str(",\"recalled\":");
    match recalls(host).pop() {
        Some(recall) => {
            out.push_str("{\"candidate\":");
            quote(&mut out, &format!("{:08x}", recall.digest));
            put(&mut out, ",\"at_ms\":", recall.at_ms);
            out.push_str(",\"why\":");
            quote(&mut out, &recall.why);
            out.push('}');
        }
        None => out.push_str("null"),
    }
    out.push('}');
    out
}
