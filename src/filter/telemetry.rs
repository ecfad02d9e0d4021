//! The telemetry role: pulls health, folds it and publishes one snapshot for all workers.
//!
//! Every worker and the main thread run this role; the one that holds the lease works, the others wait to take over.

use super::store::{Generation, Lease, Standing, publish};
use super::telemetry_config::{SourceConfig, TelemetryConfig};
use super::{Host, MapKind, MetricKind};
use crate::health::report;
use crate::model::{Health, Snapshot};

/// A lease outlives this many ticks of silence: a dead holder is replaced within two.
const LEASE_TICKS: u64 = 2;
/// The shortest lease: below this the clock's and the scheduler's jitter would pass it around.
const LEAST_LEASE_MS: u64 = 250;

/// A source and its call in flight.
#[derive(Debug)]
struct Source {
    config: SourceConfig,
    due_ms: u64,
    token: Option<u32>,
}

/// The role and all that it holds in this VM.
#[derive(Debug)]
pub struct Telemetry {
    sources: Vec<Source>,
    health: Vec<Health>,
    tick_ms: u32,
    generation: Generation,
    lease: Lease,
    /// This VM's incarnation: the holder in the lease and the writer of snapshots.
    incarnation: u64,
    dirty: bool,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    taken: Option<u32>,
    failed: Option<u32>,
    dropped: Option<u32>,
    published: Option<u32>,
}

impl Telemetry {
    /// Starts the role.
    ///
    /// # Errors
    /// One line that says what the host refused.
    pub fn configure<H: Host>(host: &H, config: TelemetryConfig) -> Result<Self, String> {
        let counter = |name| host.define_metric(MetricKind::Counter, name).ok();
        host.set_tick_ms(config.tick_ms).map_err(|e| format!("berth: the host refused a tick: {e}"))?;
        Ok(Self {
            sources: config.sources.into_iter().map(|config| Source { config, due_ms: 0, token: None }).collect(),
            health: config.substrates.iter().map(|name| Health::unknown(name)).collect(),
            tick_ms: config.tick_ms,
            generation: Generation::new(host, config.generation),
            lease: Lease::new((u64::from(config.tick_ms) * LEASE_TICKS).max(LEAST_LEASE_MS)),
            incarnation: host.now_ns().max(1),
            dirty: false,
            metrics: Metrics {
                taken: counter("berth.telemetry.fields_taken"),
                failed: counter("berth.telemetry.sources_failed"),
                dropped: counter("berth.telemetry.fields_dropped"),
                published: counter("berth.telemetry.published"),
            },
        })
    }

    /// Wakes: asks the sources that are due and publishes what is new, if this VM holds the lease.
    pub fn on_tick<H: Host>(&mut self, host: &H) {
        match self.generation.check(host) {
            Standing::Current => {}
            Standing::Unknown => return,
            Standing::Replaced => {
                log::info!("berth: telemetry falls silent, a newer configuration is at work");
                self.lease.release(host, self.incarnation);
                let _ = host.set_tick_ms(0);
                return;
            }
        }
        let now_ms = host.now_ns() / 1_000_000;
        if !self.lease.acquire(host, self.incarnation, now_ms) {
            return;
        }
        for source in &mut self.sources {
            source.ask(host, now_ms, &self.metrics);
        }
        if self.dirty {
            self.publish(host, now_ms);
        }
    }

    /// A source has answered, or has not.
    pub fn on_call<H: Host>(&mut self, host: &H, token: u32, body_size: usize) {
        let Some(source) = self.sources.iter_mut().find(|s| s.token == Some(token)) else { return };
        source.token = None;
        let now_ms = host.now_ns() / 1_000_000;
        let status = host.headers(MapKind::CallHeaders).ok().and_then(|h| h.get(":status").map(|s| s == "200"));
        let taken = match (status, self.health.get_mut(source.config.substrate)) {
            (Some(true), Some(health)) if body_size <= report::MOST_BYTES => {
                host.call_body(0, body_size).ok().and_then(|body| report::take(health, &body, now_ms).ok())
            }
            _ => None,
        };
        match taken {
            Some(taken) => {
                self.dirty = true;
                count(host, self.metrics.taken, taken.kept);
                count(host, self.metrics.dropped, u32::try_from(taken.dropped.len()).unwrap_or(u32::MAX));
            }
            None => count(host, self.metrics.failed, 1),
        }
    }

    fn publish<H: Host>(&mut self, host: &H, now_ms: u64) {
        let mut snapshot = Snapshot {
            writer: self.incarnation,
            epoch: 0,
            at_ms: now_ms,
            interval_ms: self.tick_ms,
            slots: 1,
            substrates: self.health.clone(),
        };
        if publish(host, &mut self.lease, now_ms, &mut snapshot).is_ok() {
            self.dirty = false;
            count(host, self.metrics.published, 1);
        }
    }
}

impl Source {
    fn ask<H: Host>(&mut self, host: &H, now_ms: u64, metrics: &Metrics) {
        if self.token.is_some() || now_ms < self.due_ms {
            return;
        }
        self.due_ms = now_ms.saturating_add(u64::from(self.config.interval_ms));
        let headers =
            [(":method", "GET"), (":path", self.config.path.as_str()), (":authority", self.config.cluster.as_str())];
        match host.call(&self.config.cluster, &headers, &[], self.config.timeout_ms) {
            Ok(token) => self.token = Some(token),
            Err(_) => count(host, metrics.failed, 1),
        }
    }
}

fn count<H: Host>(host: &H, metric: Option<u32>, by: u32) {
    if let Some(metric) = metric
        && by > 0
    {
        let _ = host.increment(metric, i64::from(by));
    }
}
