//! Everything that the stages of one decision read: the policy, the picture, the request and what it asks for.

use super::availability::even_part;
use super::classify::Asked;
use super::gate::Law;
use super::hearing::Hearing;
use super::picture::{Aligned, Picture, left_of};
use super::table::cell;
use crate::model::{Circuit, Facts, Freshness, Local, Signal, SubstrateId, WHOLE_PPM, settings::Thresholds};
use crate::policy::Policy;
use crate::policy::index::{LinkTo, MOST_US, Reserve, Share, reserve_of, share_of};

/// What one decision reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) aligned: &'a Aligned,
    pub(crate) picture: &'a Picture,
    pub(crate) local: &'a Local,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) asked: &'a Asked,
    pub(crate) law: Law,
    pub(crate) seed: u64,
    /// What the request and its tenant may cost, in pico-dollars.
    pub(crate) limit_pusd: i64,
    pub(crate) left_pusd: i64,
    /// The tenant's shares of substrates, few.
    pub(crate) shares: &'a [Share],
    /// Where a part is kept for the tenant, if whose request it is can be believed; few.
    pub(crate) reserves: &'a [Reserve],
}

/// How many requests a substrate holds, and how many more fit by now; `None` where nobody knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) limit: i32,
    pub(crate) free: Option<i32>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(
        policy: &'a Policy,
        aligned: &'a Aligned,
        picture: &'a Picture,
        (local, facts): (&'a Local, &'a Facts<'a>),
        asked: &'a Asked,
        law: Law,
        seed: u64,
    ) -> Self {
        let pusd = |uusd: Option<i64>| uusd.map_or(i64::MAX, |uusd| uusd.saturating_mul(WHOLE_PPM));
        let limit_pusd = pusd(asked.cost_limit_uusd);
        let shares = facts.tenant.and_then(|tenant| policy.lookups.shares.get(tenant.value));
        let shares = shares.map_or(&[] as &[Share], Vec::as_slice);
        // A policy that keeps nothing for anybody asks nothing here.
        let reserves = &policy.lookups.reserves;
        let trusted = facts.tenant.filter(|tenant| tenant.trusted && !reserves.is_empty());
        let reserves = trusted.and_then(|tenant| reserves.get(tenant.value)).map_or(&[] as &[Reserve], Vec::as_slice);
        let mut scene = Self {
            policy,
            aligned,
            picture,
            local,
            facts,
            asked,
            law,
            seed,
            limit_pusd,
            left_pusd: 0,
            shares,
            reserves,
        };
        scene.left_pusd = pusd(scene.budget_left_uusd());
        scene
    }

    /// What this tier may use of a substrate, whoever asks.
    pub(crate) fn common(&self, id: SubstrateId) -> Room {
        let of = |columns: &[Vec<i32>]| columns.get(self.asked.tier as usize).map(|column| cell(column, id));
        let free = of(&self.picture.free).unwrap_or(i32::MAX);
        Room { limit: of(&self.policy.columns.limit).unwrap_or(i32::MAX), free: (free != i32::MAX).then_some(free) }
    }

    /// What this request may use of it: what is kept for its own tenant besides.
    pub(crate) fn room(&self, id: SubstrateId) -> Room {
        if self.reserves.is_empty() { self.common(id) } else { self.own(id) }
    }

    #[inline(never)]
    fn own(&self, id: SubstrateId) -> Room {
        let common = self.common(id);
        let Some(own) = self.reserve(id) else { return common };
        let limit = own.limits.get(self.asked.tier as usize).copied().unwrap_or(common.limit);
        // How far the common part is overrun is not in the picture: what runs is asked for anew.
        let still = common.free.and_then(|_| self.hearing(id).still_in_flight());
        Room { limit, free: still.map(|n| left_of(limit, n)) }
    }

    /// How much of a limit was free when what is in flight was counted, however long ago.
    pub(crate) fn free_when_counted(&self, id: SubstrateId, limit: i32) -> i32 {
        self.hearing(id).in_flight().map_or(limit, |n| left_of(limit, n))
    }

    /// How many more of the places that are its own this worker gives the tenant, whoever else runs there: its even part
    /// of them, less what the tenant has in flight by it; within what its tier may use of all, and while any is free.
    #[inline(never)]
    pub(crate) fn kept(&self, id: SubstrateId) -> u32 {
        let Some(own) = self.reserve(id) else { return 0 };
        let most = own.places.min(own.limits.get(self.asked.tier as usize).copied().unwrap_or(0));
        let still = self.hearing(id).still_in_flight().unwrap_or(0);
        let free = u32::try_from(left_of(own.whole, still)).unwrap_or(0);
        let part = u32::try_from(even_part(self, id, i64::from(most))).unwrap_or(0);
        part.saturating_sub(self.tenant_placed(own.position)).min(free.saturating_sub(self.placed(id)))
    }

    /// How many this VM placed there since the snapshot.
    #[inline(always)]
    pub(crate) fn placed(&self, id: SubstrateId) -> u32 {
        self.local.placed.get(usize::from(id)).map_or(0, |&n| n.min(i32::MAX as u32))
    }

    /// Paths from the caller's zone.
    pub(crate) fn links(&self) -> &'a [LinkTo] {
        let zone = self.facts.zone.and_then(|zone| self.policy.lookups.links.get(zone.value));
        zone.map_or(&[], Vec::as_slice)
    }

    /// The time that the deadline bounds, as declared and without load.
    pub(crate) fn unloaded_us(&self, id: SubstrateId, path_us: i64) -> i64 {
        let columns = &self.policy.columns;
        let first = cell(&columns.first_us, id) + path_us + cell(&columns.input_us, id) * self.asked.input;
        let rest = if self.asked.stream { 0 } else { cell(&columns.output_us, id) * self.asked.output };
        (first.min(MOST_US) + rest).min(MOST_US)
    }

    /// What this proxy may still spend for the tenant; `None` without a budget.
    pub(crate) fn budget_left_uusd(&self) -> Option<i64> {
        let position = self.policy.budget_of(self.facts.tenant?.value)?;
        let budget = self.policy.document().settings.budgets.get(position)?;
        let spent = self.local.spent_uusd.get(position).copied().unwrap_or(0);
        Some(budget.here_uusd().saturating_sub(spent).max(0))
    }

    /// The tenant's share of a substrate, where the policy bounds it.
    pub(crate) fn tenant_share(&self, id: SubstrateId) -> Option<&'a Share> {
        share_of(self.shares, id)
    }

    /// What is kept for the tenant there.
    fn reserve(&self, id: SubstrateId) -> Option<&'a Reserve> {
        reserve_of(self.reserves, id)
    }

    /// How much of a substrate the tenant uses, if it has as much at every worker as at this one: each holds its even part
    /// of the share, in whole requests rounded up.
    pub(crate) fn tenant_use_ppm(&self, share: &Share) -> i64 {
        let used = self.tenant_placed(share.position);
        let whole = i64::from(cell(&self.policy.columns.concurrency, share.substrate)).max(1);
        i64::from(used) * i64::from(self.picture.slots.max(1)) * WHOLE_PPM / whole
    }

    /// What the tenant has in flight by this worker, by where it is counted.
    fn tenant_placed(&self, position: usize) -> u32 {
        self.local.tenant_placed.get(position).copied().unwrap_or(0)
    }

    pub(crate) fn thresholds(&self, id: SubstrateId) -> Thresholds {
        let settings = &self.policy.document().settings;
        self.policy.substrate(id).map_or_else(Thresholds::default, |s| settings.thresholds_of(s))
    }

    fn hearing(&self, id: SubstrateId) -> Hearing<'a> {
        let health = self.aligned.health.get(usize::from(id)).and_then(Option::as_ref);
        let live = self.picture.freshness.is_some_and(|f| f != Freshness::Stale);
        let ages = self.policy.document().settings.ages;
        Hearing::new(health, live, self.picture.at_ms, self.picture.age_ms, ages)
    }

    /// A reading that is not too old.
    pub(crate) fn heard(&self, id: SubstrateId, signal: Signal) -> Option<i64> {
        self.hearing(id).value(signal)
    }

    /// How fresh what is known of it is: no fresher than the picture.
    pub(crate) fn freshness(&self, id: Option<SubstrateId>) -> Freshness {
        let picture = self.picture.freshness.unwrap_or(Freshness::Stale);
        let of = id.and_then(|id| self.picture.fresh.get(usize::from(id)).copied());
        of.map_or(picture, |fresh| fresh.max(picture))
    }

    pub(crate) fn circuit(&self, id: SubstrateId) -> Circuit {
        self.hearing(id).circuit()
    }

    pub(crate) fn retry_in_ms(&self, id: SubstrateId) -> i64 {
        i64::try_from(self.hearing(id).retry_in_ms()).unwrap_or(i64::MAX)
    }
}
