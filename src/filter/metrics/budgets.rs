//! How much of their budgets tenants have used: gauges, which every VM of the proxy sets to what all of them have
//! spent. They are set when that changes, so that many tenants at rest cost nothing; and now and then again, because a
//! configuration that is on its way out may have set them last. One that goes sets them to nothing.

use super::declare::word;
use super::runs::place;
use super::{define, set};
use crate::filter::{Host, MetricKind};
use crate::model::metric::{self, Family};
use crate::model::settings::Budget;
use crate::place::replay::pseudonym;
use crate::policy::Policy;

/// How long a gauge that does not change is believed to stand as it was set.
const AGAIN_MS: u64 = 10_000;
/// The most that an age shows: a day.
const MOST_AGE_MS: u64 = 86_400_000;

/// The budgets of one policy.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    /// By the order of the policy: which gauge shows it.
    rows: Vec<usize>,
    shown: Vec<Shown>,
    age_ms: Option<u32>,
    all_ms: u64,
}

#[derive(Debug)]
struct Shown {
    id: Option<u32>,
    used_ppm: u64,
    told_ppm: Option<u64>,
}

impl Budgets {
    #[inline(never)]
    pub(super) fn declare<H: Host>(host: &H, policy: &Policy, hashed: bool) -> Self {
        let budgets = &policy.document().settings.budgets;
        if budgets.is_empty() {
            return Self::default();
        }
        let mut names = Vec::new();
        // Names that a series cannot tell apart share one. The policy bounds how many there are.
        let rows: Vec<usize> = budgets.iter().map(|budget| place(&mut names, name(budget, hashed))).collect();
        let define = |family: &Family, name: &str| define(host, MetricKind::Gauge, family, &[name]);
        for (budget, name) in budgets.iter().zip(rows.iter().filter_map(|&row| names.get(row))) {
            set(host, define(&metric::BUDGET, name), super::amount(budget.here_uusd()));
            set(host, define(&metric::BUDGET_WINDOW, name), u64::from(budget.window_s));
        }
        let shown = |name: &String| Shown { id: define(&metric::BUDGET_USED, name), used_ppm: 0, told_ppm: None };
        let age_ms = super::define(host, MetricKind::Gauge, &metric::BUDGET_AGE, &[]);
        Self { rows, shown: names.iter().map(shown).collect(), age_ms, all_ms: 0 }
    }

    /// Shows what tenants have spent, in the order of the policy, as it was known so long ago.
    pub(super) fn show<H: Host>(&mut self, host: &H, policy: &Policy, spent: (&[i64], u64), now_ms: u64) {
        if self.rows.is_empty() {
            return;
        }
        let (spent_uusd, age_ms) = spent;
        self.shown.iter_mut().for_each(|shown| shown.used_ppm = 0);
        let spent_uusd = spent_uusd.iter().copied().chain(core::iter::repeat(0));
        for ((row, budget), spent_uusd) in self.rows.iter().zip(&policy.document().settings.budgets).zip(spent_uusd) {
            if let Some(shown) = self.shown.get_mut(*row) {
                shown.used_ppm = shown.used_ppm.max(budget.used_ppm(spent_uusd));
            }
        }
        let again = now_ms.abs_diff(self.all_ms) >= AGAIN_MS;
        if again {
            self.all_ms = now_ms;
        }
        for shown in self.shown.iter_mut().filter(|shown| again || shown.told_ppm != Some(shown.used_ppm)) {
            set(host, shown.id, shown.used_ppm);
            shown.told_ppm = Some(shown.used_ppm);
        }
        set(host, self.age_ms, age_ms.min(MOST_AGE_MS));
    }

    /// The configuration goes, and a gauge would keep its last value for as long as the proxy lives: those of tenants
    /// that have no budget any more stay at nothing, the others are soon shown again by who has taken over.
    pub(super) fn leave<H: Host>(&mut self, host: &H) {
        for shown in &mut self.shown {
            set(host, shown.id, 0);
            shown.told_ppm = None;
        }
    }
}

fn name(budget: &Budget, hashed: bool) -> String {
    if hashed { format!("{:016x}", pseudonym(&budget.tenant)) } else { word(&budget.tenant) }
}
