//! What is kept for a tenant that has no use for it: it stands empty, because nobody else may use it either.

use super::{Field, Item, Lint, Set, permits};
use crate::model::{Envelope, FactName, Predicate, Substrate, Test};
use crate::policy::{codes, error::hint};

impl<'a> Lint<'a> {
    /// Every reserve that its tenant could not use, or not all of it.
    pub(super) fn reserves(&mut self) {
        let document = self.document;
        if document.substrates.iter().all(|s| s.capacity.keep_for_tenant_ppm.is_empty()) {
            return;
        }
        let named = self.tenants();
        for (i, substrate) in document.substrates.iter().enumerate() {
            for (tenant, kept_ppm) in &substrate.capacity.keep_for_tenant_ppm {
                let Some(expected) = self.idle(tenant, *kept_ppm, (i, substrate), &named) else { continue };
                let at = [Field("substrates"), Item(i), Field("capacity"), Field("keep_for_tenant"), Field(tenant)];
                self.note(codes::IDLE_RESERVE, &at, tenant.clone(), &expected);
            }
        }
    }

    /// What would make the reserve one that its tenant can use; `None` if it can.
    fn idle(&self, tenant: &str, kept_ppm: u32, at: (usize, &Substrate), named: &[&'a str]) -> Option<String> {
        let (position, substrate) = at;
        if !named.is_empty() && !named.contains(&tenant) {
            let hint = hint(tenant, named.iter().copied());
            return Some(format!("a tenant that an envelope, a class or a budget names{hint}"));
        }
        let envelopes = self.document.envelopes.iter().zip(&self.permitted);
        let own: Vec<(&Envelope, &Set)> = envelopes.filter(|(e, _)| speaks_for(e, tenant)).collect();
        let always = |e: &Envelope| {
            let asked = &e.applies_to;
            asked.data.is_none() && asked.classes.is_none() && asked.regions.is_none()
        };
        let permitted = own.iter().any(|(_, set)| set.contains(position));
        let closed = own.iter().find(|(e, _)| always(e) && !permits(e, substrate));
        let share = substrate.capacity.tenant_share_ppm.iter().find(|(of, _)| of == tenant);
        match (permitted, closed, share) {
            (false, ..) => Some(String::from("a tenant that an envelope lets onto this substrate")),
            (_, Some((envelope, _)), _) => Some(format!("a tenant that `{}` lets onto this substrate", envelope.name)),
            (_, _, Some((_, most))) if *most < kept_ppm => Some(String::from("no more than its `tenant_share`")),
            _ => None,
        }
    }

    /// The tenants that the policy names where it says what is permitted, of what class a request is and what it may spend.
    fn tenants(&self) -> Vec<&'a str> {
        let document = self.document;
        let envelopes = document.envelopes.iter().filter_map(|e| e.applies_to.tenants.as_ref()).flatten();
        let budgets = document.settings.budgets.iter().map(|budget| &budget.tenant);
        let mut named: Vec<&str> = envelopes.chain(budgets).map(String::as_str).collect();
        let mut todo: Vec<&Predicate> = document.classes.iter().map(|class| &class.matches).collect();
        while let Some(predicate) = todo.pop() {
            match predicate {
                Predicate::All(list) | Predicate::Any(list) => todo.extend(list),
                Predicate::Not(inner) => todo.push(inner),
                Predicate::Fact(FactName::Tenant, Test::Is(name)) => named.push(name),
                Predicate::Fact(FactName::Tenant, Test::In(list)) => named.extend(list.iter().map(String::as_str)),
                _ => {}
            }
        }
        named
    }
}

/// Whether an envelope may speak for a tenant's requests.
fn speaks_for(envelope: &Envelope, tenant: &str) -> bool {
    envelope.applies_to.tenants.as_ref().is_none_or(|tenants| tenants.iter().any(|of| of == tenant))
}
