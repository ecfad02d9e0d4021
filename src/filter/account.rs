//! What a decision leaves behind besides its record: the replay record and single keys, where they are asked for, and
//! the counts.

use super::arm::Stream;
use super::config::Accounting;
use super::ends::{End, Ends};
use super::metrics::{Cause, Metrics, Stopwatch};
use super::store::SnapshotReader;
use super::{CALLBACKS, Host};
use crate::model::contract::REPLAY_STATE;
use crate::model::{Code, Decision, Facts, Local, Outcome};
use crate::place::replay::{Identity, Inputs, write_replay};
use crate::place::{Placer, record, routers};
use crate::policy::Policy;
use core::ops::Deref;

/// One role's accounts.
#[derive(Debug)]
pub(super) struct Account {
    config: Accounting,
    metrics: Metrics,
    snapshot: Option<Identity>,
    text: String,
    ends: Ends,
}

impl Account {
    pub(super) fn open<H: Host>(host: &H, config: Accounting, policy: &Policy) -> Self {
        let metrics = Metrics::declare(host, policy, &config);
        Self { config, metrics, snapshot: None, text: String::with_capacity(512), ends: Ends::default() }
    }

    /// Whether decisions are counted.
    pub(super) const fn counts(&self) -> bool {
        self.config.on
    }

    /// So many candidates were rejected by this code.
    pub(super) fn rejected(&mut self, code: Code, many: u64) {
        self.metrics.rejected(code, many);
    }

    /// Whether the stages of this decision are timed.
    pub(super) fn times(&self, seed: u64) -> bool {
        one_in(self.config.time_sample, seed >> 24)
    }

    /// They were.
    pub(super) fn timed<H>(&mut self, watch: &Stopwatch<'_, H>) {
        self.metrics.timed(watch);
    }

    /// Writes a decision down, from what it was made of. To be called before anything is counted as placed.
    pub(super) fn write<H: Host, P: Deref<Target = Policy>>(
        &mut self,
        host: &H,
        placer: &mut Placer<P>,
        (local, facts, now_ms): (&Local, &Facts, u64),
        (stream, decision): (Stream, &Decision),
    ) {
        if !self.config.on {
            return;
        }
        self.metrics.decided(decision, facts);
        if self.config.replay {
            let (policy, snapshot, seed) = (placer.policy(), self.snapshot, decision.id);
            let inputs = Inputs { policy, snapshot, local, facts, now_ms, seed };
            write_replay(&inputs, self.config.hash_tenants, &mut self.text);
            let _ = host.set_filter_state(REPLAY_STATE, self.text.as_bytes());
        }
        for key in &self.config.keys {
            self.text.clear();
            if record::write_key(placer.policy(), decision, *key, &mut self.text) {
                let _ = host.set_filter_state(key.state(), self.text.as_bytes());
            }
        }
        if CALLBACKS && decision.outcome == Outcome::Placed && one_in(self.config.outcomes, decision.id >> 40) {
            self.ends.keep(stream, decision, self.metrics.origin(facts), host.now_ns());
        }
        if one_in(self.config.sample, decision.id >> 32) {
            let inspection = placer.inspect(local, facts, now_ms, decision.id);
            let routed = routers::all(placer.policy(), facts, &inspection);
            self.metrics.sampled(decision, &routed);
        }
    }

    /// The headers of a stream's answer have come.
    pub(super) fn answered<H: Host>(&mut self, host: &H, context: u32) {
        self.ends.answered(host, context);
    }

    /// A stream has ended, and the proxy still knows how.
    pub(super) fn ended<H: Host>(&mut self, host: &H, policy: &Policy, context: u32) {
        if let Some(awaited) = self.ends.take(context) {
            self.metrics.ended(policy, &self.config.lanes, &awaited, &End::read(host, &awaited));
        }
    }

    /// A stream is gone.
    pub(super) fn forget(&mut self, context: u32) {
        self.ends.take(context);
    }

    /// A held request was decided without its body.
    pub(super) fn late(&mut self) {
        self.metrics.late();
    }

    /// A tick found no slot to tell the others through.
    pub(super) fn unslotted(&mut self) {
        self.metrics.unslotted();
    }

    pub(super) fn undecided(&mut self, cause: Cause) {
        self.metrics.undecided(cause);
    }

    /// How the candidate does: 0 without one, 1 while it is tried, 2 since it was called back.
    pub(super) fn canary<H: Host>(&self, host: &H, state: u64) {
        self.metrics.canary(host, state);
    }

    /// There may be no other tick: what was counted is told now.
    pub(super) fn flush<H: Host>(&mut self, host: &H) {
        self.metrics.flush(host);
    }

    /// There will be no other tick: that, and what only lives as long as the configuration goes.
    pub(super) fn leave<H: Host>(&mut self, host: &H) {
        self.metrics.leave(host);
    }

    /// What tenants have spent of their budgets, in the order of the policy, as it was known so long ago.
    pub(super) fn spent<H: Host>(&mut self, host: &H, policy: &Policy, spent: (&[i64], u64), now_ms: u64) {
        self.metrics.spent(host, policy, spent, now_ms);
    }

    /// A tick: takes the picture's identity over and tells the host what was counted.
    pub(super) fn tell<H: Host>(&mut self, host: &H, reader: &SnapshotReader, now_ms: u64) {
        self.snapshot = reader.mark().map(|m| Identity { writer: m.writer, epoch: m.epoch, checksum: m.checksum });
        self.metrics.tell(host, reader, now_ms);
    }
}

/// Whether this is one of so many; 0 for none. Low bits pick among equals elsewhere: whoever asks takes others.
fn one_in(many: u32, bits: u64) -> bool {
    many > 0 && bits.is_multiple_of(u64::from(many))
}
