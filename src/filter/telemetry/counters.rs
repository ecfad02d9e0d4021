//! What the telemetry role counts of itself and shows of the substrates: declared once, bounded by the policy's own
//! list. A metric that the host refuses is left out, never fatal.

use super::changes::standing;
use super::source::Failure;
use super::spreads::Spreads;
use crate::filter::{Host, MetricKind};
use crate::health::heard::{Drop, Dropped};
use crate::model::{Signal, Snapshot, Watch};

/// The signals that show what no single alert does.
const SHOWN: [Signal; 9] = [
    Signal::QueueDepth,
    Signal::FirstToken,
    Signal::FirstTokenTail,
    Signal::FailureRate,
    Signal::OverloadRate,
    Signal::Jitter,
    Signal::Drift,
    Signal::Oscillation,
    Signal::SpeedFactor,
];
/// With more substrates than these, no gauges are declared for each.
const MOST_SHOWN: usize = 256;

/// What is counted, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Count {
    /// Questions sent.
    Pulled = 0,
    /// Answers used.
    Heard = 1,
    /// Answers that nobody waited for.
    Late = 2,
    /// Snapshots published.
    Published = 3,
    /// Snapshots not published because somebody else leads.
    Fenced = 4,
    /// Snapshots not published because the host failed or they are too large.
    Unpublished = 5,
    /// Ticks without a slot of one's own.
    Unslotted = 6,
    /// Slots that could not be read.
    Unreadable = 7,
    /// Ticks on which the host would not say which configuration is the newest.
    Unsure = 8,
    /// Snapshots that could not be taken over from the last leader.
    Refused = 9,
}

const COUNTS: [&str; 10] =
    ["pulled", "heard", "late", "published", "fenced", "unpublished", "unslotted", "unreadable", "unsure", "refused"];

/// The ids of all metrics of the role.
#[derive(Debug)]
pub(super) struct Counters {
    counts: [Option<u32>; COUNTS.len()],
    failures: [Option<u32>; Failure::ALL.len()],
    dropped: [Option<u32>; Drop::ALL.len()],
    leading: Option<u32>,
    members: Option<u32>,
    epoch: Option<u32>,
    shown: Vec<Shown>,
    spreads: Spreads,
}

#[derive(Debug)]
struct Shown {
    signals: [Option<u32>; SHOWN.len()],
    circuit: Option<u32>,
    admission: Option<u32>,
    silent: Option<u32>,
}

impl Counters {
    pub(super) fn declare<H: Host>(host: &H, watch: &Watch) -> Self {
        let define = |kind, parts: &[&str]| host.define_metric(kind, &parts.concat()).ok();
        let counter = |stem: &str, name: &str| define(MetricKind::Counter, &["berth.telemetry.", stem, name]);
        let gauge = |name: &str| define(MetricKind::Gauge, &["berth.telemetry.", name]);
        let most = if watch.substrates.len() > MOST_SHOWN { 0 } else { MOST_SHOWN };
        let shown = |name: &String| {
            let of = |what: &str| define(MetricKind::Gauge, &["berth.health.", what, ".substrate.", name]);
            Shown {
                signals: SHOWN.map(|signal| of(signal.as_str())),
                circuit: of("circuit"),
                admission: of("admission"),
                silent: of("silent"),
            }
        };
        Self {
            counts: COUNTS.map(|name| counter("", name)),
            failures: Failure::ALL.map(|failure| counter("failed.reason.", failure.as_str())),
            dropped: Drop::ALL.map(|why| counter("dropped.reason.", why.as_str())),
            leading: gauge("leading"),
            members: gauge("members"),
            epoch: gauge("epoch"),
            shown: watch.substrates.iter().take(most).map(|watched| shown(&watched.name)).collect(),
            spreads: Spreads::declare(host, watch),
        }
    }

    pub(super) fn count<H: Host>(&self, host: &H, what: Count) {
        add(host, self.counts.get(what as usize), 1);
    }

    pub(super) fn failed<H: Host>(&self, host: &H, failure: Failure) {
        add(host, self.failures.get(failure as usize), 1);
    }

    pub(super) fn dropped<H: Host>(&self, host: &H, dropped: &Dropped) {
        for why in Drop::ALL {
            add(host, self.dropped.get(why as usize), dropped.of(why));
        }
    }

    /// Whether anybody leads: whoever begins or publishes says 1, whoever ends says 0. It is set and not counted, as a
    /// VM that is killed takes nothing back.
    pub(super) fn leading<H: Host>(&self, host: &H, leads: bool) {
        set(host, self.leading, i64::from(leads));
    }

    /// Shows what was published.
    pub(super) fn show<H: Host>(&self, host: &H, snapshot: &Snapshot, members: usize, hard_ms: u64) {
        self.leading(host, true);
        set(host, self.members, i64::try_from(members).unwrap_or(i64::MAX));
        set(host, self.epoch, snapshot.epoch.cast_signed());
        self.spreads.show(host, snapshot, hard_ms);
        for (shown, health) in self.shown.iter().zip(&snapshot.substrates) {
            for (id, signal) in shown.signals.iter().zip(SHOWN) {
                if let Some(reading) = health.reading(signal) {
                    set(host, *id, reading.value);
                }
            }
            let [circuit, admission] = standing(health).map(|at| i64::try_from(at).unwrap_or(0));
            let fresh = |at_ms: u64| snapshot.at_ms.saturating_sub(at_ms) < hard_ms;
            let heard = health.news_at_ms().is_some_and(fresh);
            set(host, shown.circuit, circuit);
            set(host, shown.admission, admission);
            set(host, shown.silent, i64::from(!heard));
        }
    }
}

fn add<H: Host>(host: &H, id: Option<&Option<u32>>, by: u32) {
    if let (Some(Some(id)), true) = (id, by > 0) {
        let _ = host.increment(*id, i64::from(by));
    }
}

/// Gauges of the host know no sign: what is below nothing shows as nothing.
pub(super) fn set<H: Host>(host: &H, id: Option<u32>, value: i64) {
    if let Some(id) = id {
        let _ = host.record(id, value.max(0).unsigned_abs());
    }
}
