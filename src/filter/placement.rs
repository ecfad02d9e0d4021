//! The placement role: reads the facts of a request, has the core decide, and writes down where and why.
//!
//! The request path makes one read of the headers and as few further host calls as the record needs; it never reads
//! shared data: the tick does, into this VM's memory.

use super::account::Account;
use super::attempts;
use super::body::Body;
use super::config::{Attach, Mode, PlacementConfig};
use super::held::Held;
use super::metrics::Cause;
use super::probes::Probes;
use super::refusal;
use super::store::{Reporter, RolloutReader, SnapshotReader, Switch};
use super::{Headers, Host, MapKind};
use crate::model::contract::{CLUSTER_HEADER, DECISION_HEADER, DECISION_STATE, SHADOW_HEADER};
use crate::model::{Decision, Local, Outcome};
use crate::place::record::write_record;
use crate::place::{Placer, Underway};
use crate::policy::Policy;
use std::rc::Rc;

/// The slot of a VM that has none: nobody leases probes to it.
const NO_SLOT: u8 = u8::MAX;

/// What the edge does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request goes on.
    Continue,
    /// It was answered here.
    Answered,
    /// It waits for more of its body.
    Held,
}

/// The role and all that it holds in this VM.
#[derive(Debug)]
pub struct Placement {
    config: PlacementConfig,
    placer: Placer<Rc<Policy>>,
    reader: SnapshotReader,
    reporter: Reporter,
    rollout: RolloutReader,
    account: Account,
    local: Local,
    underway: Underway,
    probes: Probes,
    held: Held,
    /// The time of the last tick: what the request path takes for now.
    now_ms: u64,
    /// Makes request ids, which clients may choose, unguessable as seeds.
    salt: u64,
    requests: u64,
    record: String,
    number: String,
}

impl Placement {
    /// Starts the role: declares metrics, asks for ticks and reads the snapshot at once, so that the first request
    /// does not meet an empty picture.
    pub fn configure<H: Host>(host: &H, config: PlacementConfig) -> Result<Self, String> {
        let policy = config.policy.clone();
        let account = Account::open(host, config.accounting.clone(), &policy);
        let names = policy.document().substrates.iter().map(|s| s.name.as_str());
        let reporter = Reporter::new(host.now_ns(), u64::from(config.refresh_ms), true, names);
        let mut role = Self {
            placer: Placer::new(policy),
            reader: SnapshotReader::default(),
            reporter,
            rollout: RolloutReader::default(),
            account,
            local: Local { slot: NO_SLOT, ..Local::default() },
            underway: Underway::default(),
            probes: Probes::default(),
            held: Held::default(),
            now_ms: 0,
            salt: host.now_ns(),
            requests: 0,
            record: String::with_capacity(512),
            number: String::with_capacity(16),
            config,
        };
        host.set_tick_ms(role.config.refresh_ms).map_err(|e| format!("the host refused a tick: {e}"))?;
        role.refresh(host, true);
        log::info!("berth: placement by {} ({:?})", role.placer.policy().label(), role.config.mode);
        Ok(role)
    }

    /// Refreshes this VM's picture when a new one was published, and tells the others what was placed from here.
    pub fn on_tick<H: Host>(&mut self, host: &H) {
        self.refresh(host, false);
        // Not told in `configure`: a VM that only tries a configuration out never ticks. What cannot be told now is
        // told with the next tick.
        self.local.slot = self.reporter.tell(host, self.now_ms).unwrap_or(NO_SLOT);
        // Last, because it turns to other streams.
        self.hasten(host);
    }

    fn refresh<H: Host>(&mut self, host: &H, first: bool) {
        let now_ms = host.now_ns() / 1_000_000;
        let passed_us = i64::try_from(now_ms.saturating_sub(self.now_ms).saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.underway.elapse(passed_us, &mut self.local.placed);
        self.now_ms = now_ms;
        if self.rollout.poll(host) {
            // Of the policy before the current one nothing is left after a reload: that throw is only recorded.
            log::warn!("berth: the rollout switch stands at {}", self.rollout.rollout().switch.as_str());
        }
        let before = self.reader.refused();
        let changed = self.reader.poll(host);
        if let Some(why) = self.reader.refused().filter(|why| before != Some(*why)) {
            log::warn!("berth: a snapshot was not taken ({why}); the last good one ages");
        }
        if changed {
            self.underway.clear(&mut self.local.placed);
            self.probes.renew(self.placer.policy(), self.reader.snapshot(), &mut self.local.probes);
        }
        // Without a new snapshot the old one still ages: what was live becomes uncertain, then unknown.
        if changed || first {
            self.placer.refresh(self.reader.snapshot(), self.now_ms);
        }
        self.account.tell(host, &self.reader, self.now_ms);
    }

    /// Decides one request by its headers.
    pub fn on_request<H: Host>(&mut self, host: &H) -> Verdict {
        self.arrive(host, 0, true)
    }

    /// A request has come: decides it, or holds it until its body says more.
    pub fn arrive<H: Host>(&mut self, host: &H, context: u32, ends: bool) -> Verdict {
        let Ok(headers) = host.headers(MapKind::RequestHeaders) else {
            // Nothing is known, so nothing is decided; the route without the header is the safe one.
            self.account.undecided(Cause::Headers);
            return Verdict::Continue;
        };
        let found = self.config.sources.read(&headers);
        for name in &found.forged {
            let _ = host.remove_header(MapKind::RequestHeaders, name);
        }
        if self.config.mode == Mode::Passthrough || self.rollout.rollout().switch == Switch::Passthrough {
            return Verdict::Continue;
        }
        if self.config.body.is_some() && !ends && found.json && self.held.has_room() {
            drop(found);
            self.held.keep(context, self.now_ms, headers);
            return Verdict::Held;
        }
        self.decide(host, &headers, None)
    }

    /// More of a held request's body has come; `size` is all of it so far. Decides as soon as nothing more is wanted.
    pub fn on_body<H: Host>(&mut self, host: &H, context: u32, size: usize, ends: bool) -> Verdict {
        let Some(source) = &self.config.body else { return Verdict::Continue };
        let prefix = host.request_body(0, size.min(source.prefix_bytes)).unwrap_or_default();
        let body = Body::read(&prefix, source.data_key.as_deref());
        if !(ends || body.ended || size >= source.prefix_bytes) {
            return Verdict::Held;
        }
        // What is no longer held was decided when its time was over.
        self.held.release(context).map_or(Verdict::Continue, |headers| self.decide(host, &headers, Some(&body)))
    }

    /// Clients that stall are decided by their headers.
    fn hasten<H: Host>(&mut self, host: &H) {
        let Some(hold_ms) = self.config.body.as_ref().map(|body| body.hold_ms) else { return };
        while let Some((context, headers)) = self.held.overdue(self.now_ms, hold_ms) {
            self.account.late();
            if host.turn_to(context).is_ok() && self.decide(host, &headers, None) == Verdict::Continue {
                let _ = host.resume();
            }
        }
    }

    /// A held request is gone.
    pub fn forget(&mut self, context: u32) {
        self.held.release(context);
    }

    fn decide<H: Host>(&mut self, host: &H, headers: &Headers, body: Option<&Body>) -> Verdict {
        let mut found = self.config.sources.read(headers);
        if let Some(body) = body {
            body.tell(&mut found);
        }
        self.requests = self.requests.wrapping_add(1);
        let told = self.config.hops.hear(host, found.budget);
        // One id for one request, at however many hops.
        let seed = told.id.unwrap_or_else(|| seed(found.request_id, self.salt, self.requests));
        let mut facts = found.facts();
        if self.config.attach == Attach::Simple {
            // The route carries out one attempt, so that is all there is to plan.
            facts.attempts_left = Some(1);
        }
        told.narrow(&mut facts);
        let decision = self.placer.place(&self.local, &facts, self.now_ms, seed);
        self.account.write(host, &mut self.placer, (&self.local, &facts, self.now_ms), &decision);
        let grpc = found.grpc;
        drop(found);
        self.act(host, &decision, grpc)
    }

    fn act<H: Host>(&mut self, host: &H, decision: &Decision, grpc: bool) -> Verdict {
        write_record(self.placer.policy(), decision, &mut self.record);
        let _ = host.set_filter_state(DECISION_STATE, self.record.as_bytes());
        if self.config.mode == Mode::Shadow {
            self.mirror(host, decision);
            return Verdict::Continue;
        }
        match (decision.outcome, decision.plan.first()) {
            (Outcome::Placed, Some(first)) => {
                self.count(first.substrate, decision.expected_us);
                self.send(host, decision, first.substrate)
            }
            _ => refusal::answer(host, decision, self.config.decision_response.then_some(self.record.as_str()), grpc),
        }
    }

    /// Has a copy sent to where the request would have gone.
    fn mirror<H: Host>(&mut self, host: &H, decision: &Decision) {
        let first = decision.plan.first().filter(|_| self.config.mirror);
        if let Some(substrate) = first.and_then(|attempt| self.placer.policy().substrate(attempt.substrate))
            && host.set_header(MapKind::RequestHeaders, SHADOW_HEADER, &substrate.cluster).is_err()
        {
            self.account.undecided(Cause::Cluster);
        }
    }

    fn send<H: Host>(&mut self, host: &H, decision: &Decision, substrate: u16) -> Verdict {
        let policy = self.placer.policy();
        let Some(substrate) = policy.substrate(substrate) else { return Verdict::Continue };
        let lane = attempts::lane(&self.config.lanes, decision);
        let cluster = lane.map_or(&substrate.cluster, |lane| &lane.cluster);
        let tries = if self.config.attach == Attach::Full {
            decision.plan.len()
        } else {
            lane.map_or(1, |l| l.substrates.len())
        };
        let bound = attempts::bound(host, decision, tries, &mut self.number);
        let left = match self.config.attach {
            Attach::Simple => Ok(()),
            // What is missing of a plan is not made up for: a retry without it finds no cluster.
            Attach::Full => attempts::leave(host, policy, decision, &mut self.number),
            Attach::Lanes => attempts::follow(host, lane, decision, &mut self.number),
        };
        let told = self.config.hops.tell(host, decision, left_over(policy, decision, tries), &mut self.number);
        if bound.and(left).and(told).is_err() {
            self.account.undecided(Cause::Plan);
        }
        if host.set_header(MapKind::RequestHeaders, CLUSTER_HEADER, cluster).is_err() {
            self.account.undecided(Cause::Cluster);
        }
        if self.config.decision_upstream && substrate.kind != crate::model::Kind::Provider {
            let _ = host.set_header(MapKind::RequestHeaders, DECISION_HEADER, &self.record);
        }
        Verdict::Continue
    }

    fn count(&mut self, substrate: u16, expected_us: i64) {
        self.reporter.observer.placed(usize::from(substrate));
        self.probes.placed(usize::from(substrate), &mut self.local.probes);
        self.underway.begin(substrate, expected_us, &mut self.local.placed);
    }
}

/// How many attempts the next hop may make: its class's, unless this one tries again itself.
fn left_over(policy: &Policy, decision: &Decision, tries: usize) -> u8 {
    if tries > 1 { 1 } else { policy.class(decision.class).attempts.most }
}

/// The seed of every pseudo-random pick of a request, and its decision's id: FNV-1a over the request id, salted,
/// then mixed so that ids that differ in one digit differ in every bit.
fn seed(request_id: Option<&[u8]>, salt: u64, count: u64) -> u64 {
    let text = request_id.unwrap_or_default().iter().take(64);
    let hash = text.fold(0xcbf2_9ce4_8422_2325 ^ salt, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut x = if request_id.is_some() { hash } else { hash ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
