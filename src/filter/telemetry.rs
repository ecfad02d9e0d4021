//! The telemetry role. Every VM that runs it tells the others what it has seen; one of them, the holder of the lease,
//! asks the sources, folds everything and publishes the snapshot. Which one does not matter, and nobody waits for it.

mod answer;
mod changes;
mod counters;
mod desk;
mod guard;
mod ingest;
mod notes;
mod page;
mod source;
mod spreads;

use super::Host;
use super::placement::Verdict;
use super::store::{
    Generation, InboxReader, Lease, SLOTS, SlotReader, SlotState, SnapshotReader, Standing, TRAYS, TrayState,
    Unpublished, fingerprint, keep, publish,
};
use super::telemetry_config::TelemetryConfig;
use super::vm::{Member, Vm};
use crate::health::Fold;
use crate::health::breaker::mix;
use crate::model::{Snapshot, Watch};
use changes::Changes;
use counters::{Count, Counters};
pub use desk::Visit;
use desk::{Desk, Known};
use source::Source;

/// The role and all that it holds in this VM.
#[derive(Debug)]
pub struct Telemetry {
    watch: Watch,
    period_ms: u64,
    sources: Vec<Source>,
    counters: Counters,
    changes: Changes,
    generation: Generation,
    retired: bool,
    lease: Lease,
    member: Member,
    slots: SlotReader,
    inbox: InboxReader,
    desk: Option<Desk>,
    reader: SnapshotReader,
    /// Only whoever leads has one.
    fold: Option<Fold>,
    leads: bool,
    published: Option<Snapshot>,
    seed: u64,
}

impl Telemetry {
    /// Starts the role: declares metrics and asks for ticks. Nothing is written and nobody is asked before the first
    /// tick, as the proxy also configures a canary that never ticks.
    ///
    /// # Errors
    /// One line that says what is wrong with the configuration, or with the host.
    pub fn configure<H: Host>(host: &H, config: TelemetryConfig) -> Result<Self, String> {
        Self::configure_in(host, config, &Vm::default())
    }

    /// The same in a VM that has other roots.
    ///
    /// # Errors
    /// As [`Telemetry::configure`].
    pub fn configure_in<H: Host>(host: &H, config: TelemetryConfig, vm: &Vm) -> Result<Self, String> {
        let TelemetryConfig { watch, sources, tick_ms, period_ms, desk } = config;
        let sources = sources.into_iter().map(|s| Source::new(s, &watch)).collect::<Result<Vec<_>, _>>()?;
        host.set_tick_ms(tick_ms).map_err(|e| ["the host refused a tick: ", &e.to_string()].concat())?;
        let period_ms = u64::from(period_ms.max(tick_ms).max(1));
        let born_ns = host.now_ns();
        let text = host.plugin_configuration().unwrap_or_default();
        Ok(Self {
            sources,
            counters: Counters::declare(host, &watch),
            changes: Changes::declare(host, &watch),
            generation: Generation::new(host, fingerprint(&text)),
            retired: false,
            // Renewed on every tick; whoever follows notices within two periods.
            lease: Lease::new(period_ms.saturating_mul(3) / 2),
            member: vm.join(host, tick_ms),
            slots: SlotReader::default(),
            inbox: InboxReader::default(),
            desk: desk.map(|desk| Desk::new(host, desk)),
            reader: SnapshotReader::default(),
            fold: None,
            leads: false,
            published: None,
            seed: mix(born_ns),
            period_ms,
            watch,
        })
    }

    /// Time has passed: tell what was seen; if it is this VM that leads, ask, fold and publish.
    pub fn on_tick<H: Host>(&mut self, host: &H) {
        let now_ms = host.now_ns() / 1_000_000;
        if self.retired || now_ms == 0 {
            return;
        }
        match self.generation.check(host) {
            Standing::Current => {}
            Standing::Replaced => return self.retire(host),
            Standing::Unknown => return self.counters.count(host, Count::Unsure),
        }
        self.counters.tick(host, now_ms);
        if let Some(Err(_)) = self.member.with(|reporter| reporter.tell(host, now_ms)) {
            self.counters.count(host, Count::Unslotted);
        }
        let Some(me) = self.member.identity() else { return };
        let leads = self.lease.acquire(host, me, now_ms);
        if self.lease.was_unreadable() {
            self.counters.count(host, Count::Unreadable);
        }
        if !leads {
            return self.step_down(host);
        }
        let mut fold = match self.fold.take() {
            Some(fold) => fold,
            None => self.begin(host, now_ms),
        };
        self.pull(host, now_ms);
        self.collect(host, &mut fold, now_ms);
        self.open_inbox(host, &mut fold, now_ms);
        if fold.fold(now_ms) || self.is_due(now_ms) {
            self.publish(host, &fold, me, now_ms);
        }
        self.fold = self.lease.is_held().then_some(fold);
    }

    /// A question of this VM was answered, or failed.
    pub fn on_call<H: Host>(&mut self, host: &H, token: u32, body_size: usize) {
        let now_ms = host.now_ns() / 1_000_000;
        let source = self.sources.iter_mut().find(|source| source.awaits(token));
        let (Some(source), Some(fold)) = (source, self.fold.as_mut()) else {
            return self.counters.count(host, Count::Late);
        };
        match source.receive(host, body_size, now_ms, &self.watch) {
            Ok(answer) => {
                source.tally.heard(now_ms);
                self.counters.count(host, Count::Heard);
                self.counters.dropped(host, &answer.dropped);
                for (substrate, heard, attestation) in &answer.heard {
                    self.counters.dropped(host, &heard.dropped);
                    let dropped = fold.hear(*substrate, heard, now_ms);
                    self.counters.dropped(host, &dropped);
                    if let Some(attestation) = attestation {
                        fold.attest(*substrate, *attestation, now_ms);
                    }
                }
            }
            Err(failure) => {
                source.tally.failed(failure, now_ms);
                self.counters.failed(host, failure);
            }
        }
    }

    /// The headers of a request to this role's own listener have arrived.
    pub fn arrive<H: Host>(&mut self, host: &H, ends: bool) -> (Verdict, Option<Visit>) {
        match &mut self.desk {
            Some(desk) => desk.arrive(host, &self.watch, &mut self.reader, ends),
            None => (Verdict::Continue, None),
        }
    }

    /// More of the body of such a request has arrived; `size` is all of it so far.
    pub fn on_body<H: Host>(&mut self, host: &H, visit: &Visit, size: usize, ends: bool) -> Verdict {
        let Some(desk) = &self.desk else { return Verdict::Continue };
        let known = Known { watch: &self.watch, reader: &mut self.reader, counters: &self.counters };
        desk.on_body(host, known, visit, (size, ends))
    }

    /// What this VM published last, while it leads.
    #[must_use]
    pub const fn published(&self) -> Option<&Snapshot> {
        self.published.as_ref()
    }

    /// Goes on from what the last leader published.
    fn begin<H: Host>(&mut self, host: &H, now_ms: u64) -> Fold {
        self.leads = true;
        self.counters.leading(host, true);
        self.slots.forget();
        self.inbox.forget();
        let refusals = self.reader.refusals();
        self.reader.poll(host);
        if self.reader.refusals() > refusals {
            self.counters.count(host, Count::Refused);
        }
        let fold = Fold::new(self.watch.clone(), self.reader.snapshot(), self.seed, now_ms);
        self.changes.begin(&fold.snapshot(self.seed, now_ms));
        fold
    }

    fn pull<H: Host>(&mut self, host: &H, now_ms: u64) {
        for (at, source) in (0_u64..).zip(&mut self.sources) {
            match source.pull(host, now_ms, self.seed ^ at) {
                Ok(true) => self.counters.count(host, Count::Pulled),
                Ok(false) => {}
                Err(failure) => {
                    source.tally.failed(failure, now_ms);
                    self.counters.failed(host, failure);
                }
            }
        }
    }

    fn collect<H: Host>(&mut self, host: &H, fold: &mut Fold, now_ms: u64) {
        for slot in 0..SLOTS {
            match self.slots.look(host, slot, now_ms) {
                SlotState::Empty => fold.gone(slot),
                SlotState::Unchanged => fold.keep(slot, now_ms),
                SlotState::Record(record) => fold.absorb(slot, record, now_ms),
                SlotState::Unreadable => self.counters.count(host, Count::Unreadable),
            }
        }
    }

    /// Takes the reports that were handed in since.
    fn open_inbox<H: Host>(&mut self, host: &H, fold: &mut Fold, now_ms: u64) {
        for tray in 0..TRAYS {
            match self.inbox.look(host, tray) {
                TrayState::Unchanged => {}
                TrayState::Unreadable => self.counters.count(host, Count::Unreadable),
                TrayState::Entries(entries) => {
                    for (taken, entry) in entries {
                        let (mut heard, attestation) = entry.since(taken);
                        let Some(at) = fold.position(entry.key) else { continue };
                        // What the last leader has taken already is in the snapshot that this one went on from.
                        heard.readings.retain(|(signal, reading)| taken.is_some() || !fold.has(at, *signal, *reading));
                        fold.hear(at, &heard, now_ms);
                        if let Some(attestation) = attestation {
                            fold.attest(at, attestation, now_ms);
                        }
                    }
                }
            }
        }
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.published.as_ref().is_none_or(|last| now_ms.abs_diff(last.at_ms) >= self.period_ms)
    }

    fn publish<H: Host>(&mut self, host: &H, fold: &Fold, me: u64, now_ms: u64) {
        let mut snapshot = fold.snapshot(me, now_ms);
        match publish(host, &mut self.lease, now_ms, &mut snapshot) {
            Ok(_) => {
                self.counters.count(host, Count::Published);
                self.counters.show(host, &snapshot, fold.live());
                self.changes.count(host, &snapshot);
                notes::write(host, &self.sources, fold, now_ms);
                if let Some(desk) = &self.desk {
                    keep(host, &snapshot, desk.keeps());
                }
                self.published = Some(snapshot);
            }
            Err(why) => {
                self.counters.count(host, if why == Unpublished::Fenced { Count::Fenced } else { Count::Unpublished });
                // What is new is not lost: the next tick counts as due.
                self.published = None;
            }
        }
        if !self.lease.is_held() {
            self.step_down(host);
        }
    }

    /// Somebody else leads.
    fn step_down<H: Host>(&mut self, host: &H) {
        (self.fold, self.published) = (None, None);
        if core::mem::take(&mut self.leads) {
            self.counters.leading(host, false);
            self.sources.iter_mut().for_each(Source::forget);
        }
    }

    /// A newer configuration is at work: nothing more is asked, written or published, and no tick is wanted.
    fn retire<H: Host>(&mut self, host: &H) {
        self.leave(host);
        let _ = host.set_tick_ms(0);
    }

    /// Leaves lease and slot to others, at once.
    pub fn leave<H: Host>(&mut self, host: &H) {
        if core::mem::replace(&mut self.retired, true) {
            return;
        }
        if let Some(me) = self.member.identity() {
            self.lease.release(host, me);
        }
        self.step_down(host);
        self.member.leave(host);
    }
}
