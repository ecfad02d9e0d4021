//! Which logged requests would move: each decided twice, by the old policy and by the new one, from the same inputs.
//! What was logged as the answer is not read.

use crate::lines::Logged;
use berth::{
    model::{Border, Decision, Dimension, Fact, Local, Outcome, Reason, Snapshot},
    place::{
        inspect::{Inspection, Row, inspect},
        replay::{Identity, Replay},
    },
    policy::Policy,
};
use std::collections::BTreeMap;

/// A sum before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Two<T>(pub(super) T, pub(super) T);

/// How many there are, and how many of them move.
pub(super) type Counted = BTreeMap<String, Two<u64>>;

/// All sums.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pub(super) requests: u64,
    pub(super) moved: u64,
    /// Decided without the snapshot that was there, from declared values.
    pub(super) without_snapshot: u64,
    /// Class, tenant, from, to.
    pub(super) routes: BTreeMap<(String, String, String, String), u64>,
    pub(super) classes: Counted,
    pub(super) tenants: Counted,
    pub(super) substrates: Counted,
    pub(super) jurisdictions: Counted,
    pub(super) refused: Two<u64>,
    pub(super) cost_uusd: Two<i64>,
    /// Of requests that both place.
    pub(super) latency_us: Two<i64>,
    pub(super) placed_by_both: u64,
    pub(super) spilled: Two<u64>,
    pub(super) spilled_over_jurisdiction: Two<u64>,
    /// Requests whose place governance or sovereignty forbids now, or which they refuse, by reason; and those whose new
    /// place they forbade before.
    pub(super) forbidden: BTreeMap<String, u64>,
    pub(super) permitted: BTreeMap<String, u64>,
    pub(super) undecided: BTreeMap<String, u64>,
    pub(super) foreign: u64,
}

/// One request under one policy.
struct Decided<'p> {
    policy: &'p Policy,
    decision: Decision,
    rows: Vec<Row>,
    tenant: String,
}

/// Why people's rules refuse what they did not refuse otherwise.
fn newly(otherwise: &Decided, now: &Decided) -> Option<String> {
    now.forbidden().filter(|_| otherwise.forbidden().is_none())
}

/// A reason that people gave, rather than the state of the world.
fn ruled(reason: &Reason) -> Option<String> {
    let dimension = reason.code.dimension();
    let ruled = matches!(dimension, Dimension::Governance | Dimension::Sovereignty);
    ruled.then(|| format!("{}/{}", dimension.as_str(), reason.code.as_str()))
}

impl Moves {
    pub(super) fn add(
        &mut self,
        logged: &Logged,
        old: &Policy,
        new: &Policy,
        snapshots: &BTreeMap<Identity, Snapshot>,
    ) {
        let Some(record) = logged.replay.as_deref() else {
            match logged.decision {
                Some(_) => *self.undecided.entry(String::from("the line has no replay record")).or_default() += 1,
                None => self.foreign += 1,
            }
            return;
        };
        let both = Replay::parse(record).map_err(|e| e.to_string()).and_then(|replay| {
            let snapshot = replay.snapshot.and_then(|identity| snapshots.get(&identity));
            let missing = replay.snapshot.is_some() && snapshot.is_none();
            Ok((decide(&replay, old, old, snapshot)?, decide(&replay, old, new, snapshot)?, missing))
        });
        match both {
            Ok((before, after, missing)) => {
                self.without_snapshot += u64::from(missing);
                self.compare(&before, &after);
            }
            Err(why) => *self.undecided.entry(why).or_default() += 1,
        }
    }

    fn compare(&mut self, before: &Decided, after: &Decided) {
        let (from, to) = (before.place(), after.place());
        let moves = from != to;
        self.requests += 1;
        self.moved += u64::from(moves);
        let class = before.policy.class(before.decision.class).name.to_string();
        for (counted, name) in [(&mut self.classes, &class), (&mut self.tenants, &before.tenant)] {
            let sums = counted.entry(name.clone()).or_default();
            sums.0 += 1;
            sums.1 += u64::from(moves);
        }
        self.substrates.entry(from.clone()).or_default().0 += 1;
        self.substrates.entry(to.clone()).or_default().1 += 1;
        self.jurisdictions.entry(before.jurisdiction()).or_default().0 += 1;
        self.jurisdictions.entry(after.jurisdiction()).or_default().1 += 1;
        self.sums(before, after);
        // What a request gets may hide it: a place that rules forbid now can be full besides.
        if let Some(reason) = after.forbids(&from).or_else(|| newly(before, after)) {
            *self.forbidden.entry(reason).or_default() += 1;
        }
        if let Some(reason) = before.forbids(&to).or_else(|| newly(after, before)) {
            *self.permitted.entry(reason).or_default() += 1;
        }
        if moves {
            *self.routes.entry((class, before.tenant.clone(), from, to)).or_default() += 1;
        }
    }

    fn sums(&mut self, before: &Decided, after: &Decided) {
        let (a, b) = (&before.decision, &after.decision);
        self.refused.0 += u64::from(a.plan.is_empty());
        self.refused.1 += u64::from(b.plan.is_empty());
        self.cost_uusd.0 += a.cost_uusd;
        self.cost_uusd.1 += b.cost_uusd;
        if !a.plan.is_empty() && !b.plan.is_empty() {
            self.placed_by_both += 1;
            self.latency_us.0 += a.expected_us;
            self.latency_us.1 += b.expected_us;
        }
        let over = |d: &Decision| d.spill.is_some_and(|s| s.crosses.contains(Border::Jurisdiction));
        self.spilled.0 += u64::from(a.spill.is_some());
        self.spilled.1 += u64::from(b.spill.is_some());
        self.spilled_over_jurisdiction.0 += u64::from(over(a));
        self.spilled_over_jurisdiction.1 += u64::from(over(b));
    }
}

impl Decided<'_> {
    /// Where it goes, or why nowhere.
    fn place(&self) -> String {
        match (self.decision.plan.first(), self.decision.outcome) {
            (Some(first), _) => self.policy.substrate_name(first.substrate).into(),
            (None, Outcome::Refused { status, .. }) => format!("refused {status}"),
            (None, Outcome::Placed) => String::from("nowhere"),
        }
    }

    fn jurisdiction(&self) -> String {
        let substrate = self.decision.plan.first().and_then(|a| self.policy.substrate(a.substrate));
        substrate.map_or_else(|| String::from("none"), |s| s.location.jurisdiction.to_string())
    }

    /// Why people's rules refuse it, if they do.
    fn forbidden(&self) -> Option<String> {
        let Outcome::Refused { reason, .. } = &self.decision.outcome else { return None };
        ruled(reason)
    }

    /// Why people's rules forbid this substrate to it, if they do.
    fn forbids(&self, substrate: &str) -> Option<String> {
        let id = self.policy.substrate_id(substrate)?;
        let row = self.rows.iter().find(|row| row.substrate == id)?;
        row.reasons.iter().find_map(ruled)
    }
}

fn decide<'p>(
    replay: &Replay,
    old: &Policy,
    policy: &'p Policy,
    snapshot: Option<&Snapshot>,
) -> Result<Decided<'p>, String> {
    let resolved = replay.resolve(policy).map_err(|missing| missing.join("; "))?;
    let headers = resolved.headers();
    let facts = resolved.facts(&headers);
    let local = local(replay, old, policy);
    let Inspection { decision, rows, .. } = inspect(policy, snapshot, &local, &facts, replay.now_ms, replay.seed);
    let tenant = facts.tenant.map_or_else(|| String::from("nobody"), |t| t.value.into());
    Ok(Decided { policy, decision, rows, tenant })
}

/// The VM's own counts by the other policy's positions. Counts of neither policy say nothing and are left out.
fn local(replay: &Replay, old: &Policy, policy: &Policy) -> Local {
    let decided_by = [old, policy].into_iter().find(|p| p.short_digest() == replay.policy);
    let Some(from) = decided_by else { return Local { slot: replay.local.slot, ..Local::default() } };
    if from.short_digest() == policy.short_digest() {
        return replay.local.clone();
    }
    let mut local = Local { slot: replay.local.slot, ..Local::default() };
    for substrate in &policy.document().substrates {
        let position = from.substrate_id(substrate.name.as_str()).map(usize::from);
        local.placed.push(position.and_then(|at| replay.local.placed.get(at)).copied().unwrap_or(0));
        local.probes.push(position.and_then(|at| replay.local.probes.get(at)).copied().unwrap_or(0));
    }
    for budget in &policy.document().settings.budgets {
        let spent = from.budget_of(&budget.tenant).and_then(|at| replay.local.spent_uusd.get(at));
        local.spent_uusd.push(spent.copied().unwrap_or(0));
    }
    let counted = |policy: &Policy, tenant: &str, substrate: &str| {
        let id = policy.substrate_id(substrate)?;
        policy.counted_of(Fact::trusted(tenant), id)
    };
    for substrate in &policy.document().substrates {
        let capacity = &substrate.capacity;
        for (tenant, _) in capacity.tenant_share_ppm.iter().chain(&capacity.keep_for_tenant_ppm) {
            let name = substrate.name.as_str();
            let used = counted(from, tenant, name).and_then(|at| replay.local.tenant_placed.get(at));
            let Some(at) = counted(policy, tenant, name) else { continue };
            local.tenant_placed.resize(local.tenant_placed.len().max(at + 1), 0);
            if let Some(cell) = local.tenant_placed.get_mut(at) {
                *cell = used.copied().unwrap_or(0);
            }
        }
    }
    local
}
