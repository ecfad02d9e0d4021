//! What the telemetry role counts of itself and shows of the substrates: declared once, bounded by the policy's own
//! list. A metric that the host refuses is left out, never fatal.

use super::changes::standing;
use super::source::Failure;
use super::spreads::Spreads;
use crate::filter::{Host, MetricKind};
use crate::health::heard::{Drop, Dropped};
use crate::model::{Signal, Snapshot, Watch};

/// The signals that show what no single alert does.
const SHOWN: [Signal; 12] = [
    Signal::QueueDepth,
    Signal::CpuUse,
    Signal::AcceleratorUse,
    Signal::MemoryPressure,
    Signal::FirstToken,
    Signal::FirstTokenTail,
    Signal::FailureRate,
    Signal::OverloadRate,
    Signal::Jitter,
    Signal::Drift,
    Signal::Oscillation,
    Signal::SpeedFactor,
];
/// The age that shows of a signal that nobody has heard: a day. One that was heard is younger, however long ago that was.
const UNKNOWN_MS: u64 = 86_400_000;
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
    /// Slots, trays and leases that could not be read.
    Unreadable = 7,
    /// Ticks on which the host would not say which configuration is the newest.
    Unsure = 8,
    /// Snapshots that could not be taken over from the last leader.
    Refused = 9,
    /// Ticks before which the clock went back, or so far ahead at once that nothing known counts any more.
    Jumped = 10,
}

const COUNTS: [&str; 11] = [
    "pulled",
    "heard",
    "late",
    "published",
    "fenced",
    "unpublished",
    "unslotted",
    "unreadable",
    "unsure",
    "refused",
    "jumped",
];

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
    hard_ms: u64,
    ticked_ms: u64,
}

#[derive(Debug)]
struct Shown {
    signals: [Option<u32>; SHOWN.len()],
    ages: [Option<u32>; SHOWN.len()],
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
                ages: SHOWN.map(|signal| of(&[signal.as_str(), "_age_ms"].concat())),
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
            hard_ms: watch.ages.hard_ms,
            ticked_ms: 0,
        }
    }

    pub(super) fn count<H: Host>(&self, host: &H, what: Count) {
        add(host, self.counts.get(what as usize), 1);
    }

    /// Time has passed.
    pub(super) fn tick<H: Host>(&mut self, host: &H, now_ms: u64) {
        let last_ms = core::mem::replace(&mut self.ticked_ms, now_ms);
        if last_ms > 0 && (now_ms < last_ms || now_ms - last_ms >= self.hard_ms) {
            self.count(host, Count::Jumped);
        }
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
    pub(super) fn show<H: Host>(&self, host: &H, snapshot: &Snapshot, members: usize) {
        self.leading(host, true);
        set(host, self.members, i64::try_from(members).unwrap_or(i64::MAX));
        set(host, self.epoch, snapshot.epoch.cast_signed());
        self.spreads.show(host, snapshot, self.hard_ms);
        for (shown, health) in self.shown.iter().zip(&snapshot.substrates) {
            for ((id, age_id), signal) in shown.signals.iter().zip(&shown.ages).zip(SHOWN) {
                let reading = health.reading(signal);
                if let Some(reading) = reading {
                    set(host, *id, reading.value);
                }
                let age_ms = reading.map_or(UNKNOWN_MS, |r| snapshot.at_ms.saturating_sub(r.at_ms).min(UNKNOWN_MS - 1));
                set(host, *age_id, age_ms.cast_signed());
            }
            let [circuit, admission] = standing(health).map(|at| i64::try_from(at).unwrap_or(0));
            let fresh = |at_ms: u64| snapshot.at_ms.saturating_sub(at_ms) < self.hard_ms;
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
