//! The placement role: reads the facts of a request, has the core decide, and writes down where and why.
//!
//! The request path makes one read of the headers and as few further host calls as the record needs; it never reads
//! shared data: the tick does, into this VM's memory.

mod deed;
mod ending;
mod holding;
mod seed;

use super::arm::{Arm, Moment, Stream};
use super::attempts::Steering;
use super::body::Body;
use super::canary::{Canary, Tickets};
use super::claimed::Claim;
use super::config::{Attach, Mode, PlacementConfig};
use super::facts::Found;
use super::held::Held;
use super::hop::Told;
use super::metrics::Cause;
use super::store::{Reporter, RolloutReader, SnapshotReader, Switch};
use super::vm::{Vm, identity};
use super::{CALLBACKS, Headers, Host, MapKind};
use crate::model::{Fact, Facts};
use crate::policy::Policy;
use seed::seed;
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
    /// The policy that rules.
    current: Arm,
    /// The one that ruled before it in this VM, for the operator's switch.
    previous: Option<Box<Arm>>,
    /// The one that may rule next.
    canary: Option<Box<Canary>>,
    reader: SnapshotReader,
    reporter: Reporter,
    /// Where the next root of this name finds the slot of this one, from the first tick on.
    vm: Option<(Vm, Vec<u8>)>,
    rollout: RolloutReader,
    held: Held,
    /// Requests whose answers say how the two sides of a canary do.
    tickets: Tickets,
    /// The time of the last tick: what the request path takes for now.
    now_ms: u64,
    /// Makes request ids, which clients may choose, unguessable as seeds.
    salt: u64,
    requests: u64,
    record: String,
    number: String,
}

/// What is known of a request besides its headers.
#[derive(Clone, Copy, Debug)]
enum Known<'a> {
    /// It has just come, and whether it ends with them.
    Arrived { ends: bool },
    /// What was to be seen of its body, and how long that is at least.
    Body(&'a Body, usize),
    /// Its body did not come in time.
    Late,
}

/// Which policy decides a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Current,
    Candidate,
    Previous,
}

/// What is still of interest of a request once it is decided.
struct Asked<'a> {
    side: Side,
    told: Told,
    steering: Steering,
    tenant: Option<Fact<&'a str>>,
    grpc: bool,
    claim: Claim,
}

impl Placement {
    /// Starts the role: declares metrics, asks for ticks and reads the snapshot at once, so that the first request
    /// does not meet an empty picture.
    ///
    /// # Errors
    /// When the host refuses what cannot be done without.
    pub fn configure<H: Host>(host: &H, config: PlacementConfig) -> Result<Self, String> {
        Self::configure_in(host, config, &Vm::default())
    }

    /// The same in a VM that may have had another policy before.
    ///
    /// # Errors
    /// As [`Placement::configure`].
    #[inline(never)]
    pub fn configure_in<H: Host>(host: &H, mut config: PlacementConfig, vm: &Vm) -> Result<Self, String> {
        let mut names = Vec::new();
        let (policy, accounting) = (config.policy.clone(), config.accounting.clone());
        let current = Arm::open(host, policy.clone(), accounting.clone(), &mut names);
        let mut open = |policy: &Rc<Policy>| Arm::open(host, policy.clone(), accounting.beside(), &mut names);
        let before = vm.succeed(host, &policy).filter(|before| config.leads_back_to(before));
        let previous = before.map(|policy| Box::new(open(&policy)));
        let canary = config.canary.take().map(|canary| {
            let arm = open(&canary.policy);
            Box::new(Canary::new(canary, arm, &policy))
        });
        let names = names.iter().map(String::as_str);
        let mut role = Self {
            reader: SnapshotReader::default(),
            reporter: Reporter::new(host.now_ns(), u64::from(config.refresh_ms), true, names),
            vm: Some((vm.clone(), identity(host))),
            rollout: RolloutReader::default(),
            held: Held::default(),
            tickets: Tickets::default(),
            now_ms: 0,
            salt: host.now_ns(),
            requests: 0,
            record: String::with_capacity(512),
            number: String::with_capacity(16),
            config,
            current,
            previous,
            canary,
        };
        for arm in role.arms() {
            arm.local.slot = NO_SLOT;
        }
        host.set_tick_ms(role.config.refresh_ms).map_err(|e| format!("the host refused a tick: {e}"))?;
        role.refresh(host, true);
        log::info!("berth: placement by {} ({:?})", role.current.policy().label(), role.config.mode);
        Ok(role)
    }

    fn arms(&mut self) -> impl Iterator<Item = &mut Arm> {
        let others = self.previous.as_deref_mut().into_iter().chain(self.canary.as_deref_mut().map(|c| &mut c.arm));
        core::iter::once(&mut self.current).chain(others)
    }

    /// Refreshes this VM's picture when a new one was published, and tells the others what was placed from here.
    pub fn on_tick<H: Host>(&mut self, host: &H) {
        self.refresh(host, false);
        // Not told in `configure`: a VM that only tries a configuration out never ticks. What cannot be told now is
        // told with the next tick.
        if let Some((vm, root)) = self.vm.take() {
            vm.tells(host, &root, &self.reporter);
        }
        let slot = match self.reporter.tell_while_busy(host, self.now_ms) {
            Ok(slot) => slot.unwrap_or(NO_SLOT),
            Err(_) => {
                self.current.account.unslotted();
                NO_SLOT
            }
        };
        self.arms().for_each(|arm| arm.local.slot = slot);
        if let Some(canary) = &mut self.canary {
            canary.watch(host, self.current.policy(), self.now_ms);
        }
        let tried = self.canary.as_deref().map_or(0, |canary| 1 + u64::from(canary.is_back()));
        self.current.account.canary(host, tried);
        // Last, because it turns to other streams.
        self.hasten(host);
    }

    #[inline(never)]
    fn refresh<H: Host>(&mut self, host: &H, first: bool) {
        let now_ms = host.now_ns() / 1_000_000;
        let passed_us = i64::try_from(now_ms.saturating_sub(self.now_ms).saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.arms().for_each(|arm| arm.settle(host, now_ms, passed_us));
        self.now_ms = now_ms;
        if self.rollout.poll(host) {
            let switch = self.rollout.rollout().switch;
            log::warn!("berth: the rollout switch stands at {}", switch.as_str());
            if switch == Switch::Previous && self.previous.is_none() {
                log::warn!("berth: this VM has no policy to go back to; the current one goes on");
            }
        }
        let before = self.reader.refused();
        let changed = self.reader.poll(host);
        if let Some(why) = self.reader.refused().filter(|why| before != Some(*why)) {
            log::warn!("berth: a snapshot was not taken ({why}); the last good one ages");
        }
        let reader = core::mem::take(&mut self.reader);
        for arm in self.arms() {
            if changed {
                arm.renew(reader.snapshot());
            }
            // Without a new snapshot the old one still ages: what was live becomes uncertain, then unknown.
            if changed || first {
                arm.placer.refresh(reader.snapshot(), now_ms);
            }
            arm.tell(host, &reader, now_ms);
        }
        self.reader = reader;
    }

    /// A request has come: decides it, or holds it until its body says more.
    pub fn arrive<H: Host>(&mut self, host: &H, context: u32, ends: bool) -> Verdict {
        let Ok(headers) = host.headers(MapKind::RequestHeaders) else {
            // Nothing is known, so nothing is decided; the route without the header is the safe one.
            self.current.account.undecided(Cause::Headers);
            return Verdict::Continue;
        };
        let verdict = self.decide(host, context, &headers, Known::Arrived { ends });
        if verdict == Verdict::Held {
            self.held.keep(context, self.now_ms, headers);
        }
        verdict
    }

    /// What a request that has just come is due before it is decided, and whether that is all.
    fn receive<H: Host>(&self, host: &H, found: &Found<'_>, ends: bool) -> Option<Verdict> {
        for name in &found.forged {
            let _ = host.remove_header(MapKind::RequestHeaders, name);
        }
        if self.config.mode == Mode::Passthrough || self.rollout.rollout().switch == Switch::Passthrough {
            return Some(Verdict::Continue);
        }
        let waits = CALLBACKS && self.config.body.is_some() && !ends && found.json && self.held.has_room();
        waits.then_some(Verdict::Held)
    }

    fn decide<H: Host>(&mut self, host: &H, context: u32, headers: &Headers, known: Known<'_>) -> Verdict {
        let mut answers = None;
        let mut found = self.config.sources.read(headers);
        if let Known::Arrived { ends } = known
            && let Some(verdict) = self.receive(host, &found, ends)
        {
            return verdict;
        }
        found.hear(answers.insert(self.config.sources.ask(host)));
        if let Known::Body(body, size) = known {
            body.tell(size, &mut found);
        }
        self.requests = self.requests.wrapping_add(1);
        self.reporter.busy(self.now_ms);
        let told = self.config.hops.hear(host, found.budget);
        // One id for one request, at however many hops.
        let seed = told.id.unwrap_or_else(|| seed(found.request_id, self.salt, self.requests));
        let mut facts = found.facts();
        if self.config.attach == Attach::Simple {
            // The route carries out one attempt, so that is all there is to plan.
            facts.attempts_left = Some(1);
        }
        told.narrow(&mut facts);
        let side = side(&self.rollout, self.previous.is_some(), self.canary.as_deref(), &facts, seed);
        let (current, now_ms, enforced) = (&mut self.current, self.now_ms, self.config.mode == Mode::Enforce);
        let moment = Moment { stream: Stream { context, grpc: found.grpc }, now_ms, seed };
        let decision = match (side, self.canary.as_deref_mut(), self.previous.as_deref_mut()) {
            (Side::Candidate, Some(canary), _) => {
                let decision = canary.arm.decide(host, &facts, moment, enforced);
                if canary.looks(&decision) {
                    canary.look(current, &facts, &decision, now_ms);
                }
                decision
            }
            (Side::Previous, _, Some(previous)) => previous.decide(host, &facts, moment, enforced),
            _ => current.decide(host, &facts, moment, enforced),
        };
        let compared = self.canary.as_deref().is_some_and(|canary| !canary.is_back() && canary.compares(&facts));
        let claim = Claim { own_ms: self.own_ms(side, &facts, &decision), socket: found.socket };
        let asked = Asked { side, told, steering: found.steering, tenant: facts.tenant, grpc: found.grpc, claim };
        if compared {
            self.judge(host, context, side, &decision);
        }
        self.act(host, &asked, &decision)
    }
}

/// The operator's switch first, then the candidate's share.
fn side(rollout: &RolloutReader, previous: bool, canary: Option<&Canary>, facts: &Facts<'_>, seed: u64) -> Side {
    match rollout.rollout().switch {
        Switch::Previous if previous => Side::Previous,
        // Who asks for what is known of old does not ask for what is new.
        Switch::Previous => Side::Current,
        _ if canary.is_some_and(|canary| canary.takes(facts, seed)) => Side::Candidate,
        _ => Side::Current,
    }
}
