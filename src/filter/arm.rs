//! One policy at work in this VM: what it decides from and what it has decided. There are several where a candidate
//! runs beside the current one, and each counts what the others place, because the substrates are the same.

use super::Host;
use super::account::Account;
use super::config::Accounting;
use super::metrics::Stopwatch;
use super::probes::Probes;
use super::purse::Purse;
use super::store::SnapshotReader;
use crate::model::{Decision, Fact, Facts, Local, Snapshot, SubstrateId};
use crate::place::{Placer, Underway};
use crate::policy::Policy;
use std::rc::Rc;

/// The stream of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) context: u32,
    /// Its client speaks gRPC.
    pub(super) grpc: bool,
}

/// Which request is decided, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) stream: Stream,
    pub(super) now_ms: u64,
    pub(super) seed: u64,
}

/// One policy at work.
#[derive(Debug)]
pub(super) struct Arm {
    pub(super) placer: Placer<Rc<Policy>>,
    pub(super) local: Local,
    pub(super) account: Account,
    underway: Underway,
    probes: Probes,
    purse: Purse,
    /// Where each of its substrates stands among those of all arms, and the other way round.
    among_all: Vec<usize>,
    from_all: Vec<Option<SubstrateId>>,
}

impl Arm {
    /// Opens it; `names` are the substrates of all arms so far, to which its own are added.
    #[inline(never)]
    pub(super) fn open<H: Host>(host: &H, policy: Rc<Policy>, accounting: Accounting, names: &mut Vec<String>) -> Self {
        let account = Account::open(host, accounting, &policy);
        let own = policy.document().substrates.iter().map(|s| s.name.as_str());
        let among_all: Vec<usize> = own
            .map(|name| {
                names.iter().position(|known| known == name).unwrap_or_else(|| {
                    names.push(name.into());
                    names.len().saturating_sub(1)
                })
            })
            .collect();
        let mut from_all = vec![None; names.len()];
        for (id, &at) in (0..=SubstrateId::MAX).zip(&among_all) {
            if let Some(slot) = from_all.get_mut(at) {
                *slot = Some(id);
            }
        }
        Self {
            purse: Purse::new(&policy),
            placer: Placer::new(policy),
            local: Local::default(),
            account,
            underway: Underway::default(),
            probes: Probes::default(),
            among_all,
            from_all,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        self.placer.policy()
    }

    /// Lets time pass, and shares what was spent with the other workers.
    #[inline(never)]
    pub(super) fn settle<H: Host>(&mut self, host: &H, now_ms: u64, passed_us: i64) {
        self.underway.elapse(passed_us, &mut self.local.placed);
        self.purse.settle(host, now_ms, passed_us, &mut self.local);
    }

    /// A new snapshot is there: it has counted what was placed before it.
    #[inline(never)]
    pub(super) fn renew(&mut self, snapshot: Option<&Snapshot>) {
        self.underway.clear(&mut self.local.placed);
        self.probes.renew(self.placer.policy(), snapshot, &mut self.local.probes);
    }

    /// Decides, and writes the decision down: what it was made of, before anything is counted. What it costs is reserved
    /// where it is carried out.
    pub(super) fn decide<H: Host>(
        &mut self,
        host: &H,
        facts: &Facts<'_>,
        Moment { stream, now_ms, seed }: Moment,
        carried_out: bool,
    ) -> Decision {
        let decision = self.place(host, facts, now_ms, seed);
        self.account.write(host, &mut self.placer, (&self.local, facts, now_ms), (stream, &decision));
        if carried_out {
            self.purse.reserve(self.placer.policy(), facts, &decision, &mut self.local);
        }
        decision
    }

    fn place<H: Host>(&mut self, host: &H, facts: &Facts<'_>, now_ms: u64, seed: u64) -> Decision {
        if !self.account.counts() {
            return self.placer.place(&self.local, facts, now_ms, seed);
        }
        if !self.account.times(seed) {
            return self.placer.place_counted(&self.local, facts, now_ms, seed, |_| {});
        }
        let mut watch = Stopwatch::start(host);
        let decision = self.placer.place_counted(&self.local, facts, now_ms, seed, |stage| watch.ended(stage));
        self.account.timed(&watch);
        decision
    }

    /// Tells the host what was counted.
    pub(super) fn tell<H: Host>(&mut self, host: &H, reader: &SnapshotReader, now_ms: u64) {
        self.tally();
        let spent = (self.local.spent_uusd.as_slice(), self.purse.age_ms(now_ms));
        self.account.spent(host, self.placer.policy(), spent, now_ms);
        self.account.tell(host, reader, now_ms);
    }

    /// What was counted, where there may be no other tick.
    pub(super) fn flush<H: Host>(&mut self, host: &H) {
        self.tally();
        self.account.flush(host);
    }

    /// What was counted, where there will be no other tick.
    pub(super) fn leave<H: Host>(&mut self, host: &H) {
        self.tally();
        self.account.leave(host);
    }

    fn tally(&mut self) {
        let Self { placer, account, .. } = self;
        placer.rejections(|code, many| account.rejected(code, many));
    }

    /// A stream has ended, and the proxy still knows how.
    pub(super) fn ended<H: Host>(&mut self, host: &H, context: u32) {
        self.account.ended(host, self.placer.policy(), context);
    }

    /// Where one of its substrates stands among those of all arms.
    pub(super) fn among_all(&self, id: SubstrateId) -> Option<usize> {
        self.among_all.get(usize::from(id)).copied()
    }

    /// Some arm has placed a request of this tenant on the substrate at this place among all.
    pub(super) fn began(&mut self, at: usize, expected_us: i64, tenant: Option<Fact<&str>>) {
        if let Some(id) = self.from_all.get(at).copied().flatten() {
            if let Some(tenant) = tenant {
                self.purse.began(self.placer.policy(), tenant, (id, expected_us), &mut self.local);
            }
            self.probes.placed(usize::from(id), &mut self.local.probes);
            self.underway.begin(usize::from(id), expected_us, &mut self.local.placed);
        }
    }
}
