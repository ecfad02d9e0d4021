//! What tenants spend and have under way: reserved when a request is placed, shared with the other VMs on the tick.

use super::Host;
use super::store::{Claim, exchange};
use crate::health::slot::key_of;
use crate::model::{Decision, Fact, Facts, Local, Outcome, SubstrateId};
use crate::place::Underway;
use crate::policy::Policy;

/// What tenants spend and have under way.
#[derive(Debug)]
pub(super) struct Purse {
    /// By the order of the policy's budgets.
    claims: Vec<Claim>,
    /// By the order of its shares and reserves: what this VM placed and is probably still under way.
    underway: Underway,
    /// When it was last known what all have spent.
    known_ms: u64,
}

impl Purse {
    pub(super) fn new(policy: &Policy) -> Self {
        let claim = |budget: &crate::model::settings::Budget| Claim {
            tenant: key_of(&budget.tenant),
            window_ms: u64::from(budget.window_s).saturating_mul(1_000).max(1),
            ..Claim::default()
        };
        let claims = policy.document().settings.budgets.iter().map(claim).collect();
        Self { claims, underway: Underway::default(), known_ms: 0 }
    }

    /// A request was decided, and is placed: its tenant pays what it is expected to cost.
    pub(super) fn reserve(&mut self, policy: &Policy, facts: &Facts<'_>, decision: &Decision, local: &mut Local) {
        let (Outcome::Placed, Some(tenant)) = (decision.outcome, facts.tenant) else { return };
        if let Some(at) = policy.budget_of(tenant.value) {
            local.spent_uusd.resize(self.claims.len(), 0);
            if let (Some(claim), Some(spent)) = (self.claims.get_mut(at), local.spent_uusd.get_mut(at)) {
                let cost = decision.cost_uusd.max(0);
                claim.fresh_uusd = claim.fresh_uusd.saturating_add(cost);
                *spent = spent.saturating_add(cost);
            }
        }
    }

    /// A request of a tenant was placed, whichever policy decided it: it takes of the tenant's share, and of what is kept
    /// for it unless somebody only says to be it.
    pub(super) fn began(
        &mut self,
        policy: &Policy,
        tenant: Fact<&str>,
        (substrate, expected_us): (SubstrateId, i64),
        local: &mut Local,
    ) {
        if let Some(at) = policy.counted_of(tenant, substrate) {
            self.underway.begin(at, expected_us, &mut local.tenant_placed);
        }
    }

    /// Time has passed: what others have spent is taken over, and what was begun long ago is over.
    pub(super) fn settle<H: Host>(&mut self, host: &H, now_ms: u64, passed_us: i64, local: &mut Local) {
        self.underway.elapse(passed_us, &mut local.tenant_placed);
        // What cannot be shared now stands as it is, and is shared with the next tick.
        if !self.claims.is_empty() && now_ms > 0 && exchange(host, &mut self.claims, now_ms).is_ok() {
            local.spent_uusd.clear();
            local.spent_uusd.extend(self.claims.iter().map(|claim| claim.spent_uusd));
            self.known_ms = now_ms;
        }
    }

    /// How old is what is known of the other workers' spending.
    pub(super) const fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.known_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_says_to_be_a_tenant_is_counted_for_its_share_and_not_for_what_is_kept_for_it_alone() {
        let text = include_str!("../../policies/starter.yaml");
        let mut document = crate::policy::read_yaml(text).unwrap().document;
        let capacity = |at: usize, share: &[&str], kept: &[&str], document: &mut crate::model::Document| {
            let each = |tenants: &[&str]| tenants.iter().map(|tenant| ((*tenant).to_owned(), 250_000)).collect();
            let capacity = &mut document.substrates.get_mut(at).unwrap().capacity;
            (capacity.tenant_share_ppm, capacity.keep_for_tenant_ppm) = (each(share), each(kept));
        };
        capacity(0, &["both"], &["both", "kept"], &mut document);
        capacity(1, &["share"], &["other"], &mut document);
        let policy = Policy::new(document, [0; 32]);
        let after = |tenant: Fact<&str>| {
            let (mut purse, mut local) = (Purse::new(&policy), Local::default());
            [0, 1].into_iter().for_each(|id| purse.began(&policy, tenant, (id, 1_000), &mut local));
            local.tenant_placed
        };
        assert_eq!(
            ["both", "kept", "other"].map(|t| after(Fact::trusted(t))),
            [vec![1], vec![0, 0, 1], vec![0, 0, 0, 1]]
        );
        assert_eq!(["both", "kept", "other"].map(|t| after(Fact::claimed(t))), [vec![1], vec![], vec![]]);
        assert_eq!((after(Fact::claimed("share")), after(Fact::trusted("nobody"))), (vec![0, 1], vec![]));
    }
}
