//! A global policy under a local override, which may only narrow it. The narrowed document is made by intersecting,
//! so that nothing can become wider by the way it is computed; an override that *says* something wider is refused
//! besides, because its author would believe that it holds.

use super::{
    codes::{self, Code},
    compile, countries,
    error::{InvalidPolicy, hint},
    path::{Path, Step},
    raw::overrides::{ClassOverride, EnvelopeOverride, Overrides, overrides},
    reading,
    tree::Node,
};
use crate::model::{Borders, Class, Document, Envelope, Name, Terms, substrate::Capacity};

/// A global policy, narrowed by a local override; `base` is where the override stands in a larger document.
///
/// # Errors
/// Everything that is wrong with the override, and everything in it that would widen.
pub fn narrow(global: &Document, local: &Node, base: &str) -> Result<Document, Vec<InvalidPolicy>> {
    let (read, mut found) = reading::read(local, base, |s| overrides(s, &global.jurisdictions));
    let Some(read) = read.filter(|_| found.is_empty()) else { return Err(compile::tidy(found)) };
    let mut narrowing = Narrowing { document: global.clone(), local, base, found: Vec::new() };
    narrowing.apply(&read);
    found.append(&mut narrowing.found);
    if found.is_empty() { Ok(narrowing.document) } else { Err(compile::tidy(found)) }
}

struct Narrowing<'a> {
    document: Document,
    local: &'a Node,
    base: &'a str,
    found: Vec<InvalidPolicy>,
}

use Step::Field;

impl Narrowing<'_> {
    fn note(&mut self, code: Code, steps: &[&str], expected: String) {
        let steps: Vec<Step<'_>> = [&["overrides"], steps].concat().into_iter().map(Field).collect();
        let path = Path { base: self.base, steps: &steps };
        let (at, shown) = (path.position(self.local), path.found(self.local));
        self.found.push(InvalidPolicy::new(code, path, at, shown, expected));
    }

    fn unknown<'n>(&mut self, steps: &[&str], name: &str, known: impl Iterator<Item = &'n str>) {
        let hint = hint(name, known);
        self.note(codes::UNKNOWN_TARGET, steps, format!("something that the global policy declares{hint}"));
    }

    fn apply(&mut self, read: &Overrides) {
        for (name, change) in &read.envelopes {
            let Some(index) = self.document.envelopes.iter().position(|e| e.name == *name) else {
                let known: Vec<Name> = self.document.envelopes.iter().map(|e| e.name.clone()).collect();
                self.unknown(&["envelopes", name.as_str()], name.as_str(), known.iter().map(Name::as_str));
                continue;
            };
            self.envelope(index, &["envelopes", name.as_str()], change, true);
        }
        if let Some(change) = &read.everywhere {
            for index in 0..self.document.envelopes.len() {
                // Of all of them: what one of them does not permit is no widening, it is just cut away.
                self.envelope(index, &["everywhere"], change, false);
            }
        }
        for (name, change) in &read.classes {
            let Some(index) = self.document.classes.iter().position(|c| c.name == *name) else {
                let known: Vec<Name> = self.document.classes.iter().map(|c| c.name.clone()).collect();
                self.unknown(&["classes", name.as_str()], name.as_str(), known.iter().map(Name::as_str));
                continue;
            };
            self.class(index, name.as_str(), change);
        }
        self.substrates(read);
        self.budgets(read);
    }

    fn envelope(&mut self, index: usize, at: &[&str], change: &EnvelopeOverride, strict: bool) {
        let Some(mut envelope) = self.document.envelopes.get(index).cloned() else { return };
        let mut wider = Vec::new();
        let (permit, require) = (&mut envelope.permit, &mut envelope.require);
        let new = &change.permit;
        intersect(&mut permit.jurisdictions, &new.jurisdictions, ("jurisdictions", ToString::to_string), &mut wider);
        intersect(&mut permit.subject_to, &new.subject_to, ("subject_to", ToString::to_string), &mut wider);
        intersect(&mut permit.kinds, &new.kinds, ("kinds", |k| k.as_str().into()), &mut wider);
        intersect(&mut permit.accounts, &new.accounts, ("accounts", ToString::to_string), &mut wider);
        intersect(&mut permit.regions, &new.regions, ("regions", ToString::to_string), &mut wider);
        intersect(&mut permit.regimes, &new.regimes, ("regimes", |r| r.as_str().into()), &mut wider);
        intersect(&mut permit.substrates, &new.substrates, ("substrates", ToString::to_string), &mut wider);
        forbid(&mut envelope.forbid, &change.forbid);
        for (line, value) in wider.into_iter().filter(|_| strict) {
            let steps = [at, &["permit", line]].concat();
            let expected = format!("only what the global envelope permits, and not `{value}`");
            self.note(codes::WIDENS, &steps, expected);
        }
        if let Some(borders) = change.spillover {
            if strict && !Borders::minus(geographic(borders), envelope.spillover).is_empty() {
                let expected = String::from("a border that the global envelope lets placements cross");
                self.note(codes::WIDENS, &[at, &["spillover"]].concat(), expected);
            }
            envelope.spillover = Borders::from_bits(envelope.spillover.bits() & borders.bits());
        }
        let mut notes = Vec::new();
        lower(&mut require.attestation_max_age_ms, change.attestation_max_age_ms, "attestation_max_age_s", &mut notes);
        lower(&mut require.health_max_age_ms, change.health_max_age_ms, "health_max_age_s", &mut notes);
        switch_on(&mut require.air_gapped, change.air_gapped, &mut notes);
        require.approval_for = Borders::from_bits(require.approval_for.bits() | change.approval_for.bits());
        for field in notes.into_iter().filter(|_| strict) {
            self.note(codes::WIDENS, &[at, &[field]].concat(), String::from("nothing laxer than the global envelope"));
        }
        self.put(index, envelope);
    }

    fn put(&mut self, index: usize, envelope: Envelope) {
        if let Some(slot) = self.document.envelopes.get_mut(index) {
            *slot = envelope;
        }
    }

    fn class(&mut self, index: usize, name: &str, change: &ClassOverride) {
        let mut notes = Vec::new();
        let Some(class) = self.document.classes.get_mut(index) else { return };
        let Class { limits, attempts, .. } = class;
        lower(&mut limits.cost_uusd, change.cost_uusd, "cost_usd", &mut notes);
        lower(&mut limits.max_queue, change.max_queue, "max_queue", &mut notes);
        at_most(&mut class.deadline_ms, change.deadline_ms, "deadline_ms", &mut notes);
        at_most(&mut attempts.most, change.attempts, "attempts", &mut notes);
        if let Some(quality) = change.min_quality_ppm {
            if quality < limits.min_quality_ppm {
                notes.push("min_quality");
            }
            limits.min_quality_ppm = limits.min_quality_ppm.max(quality);
        }
        attempts.per_try_ms = attempts.per_try_ms.map(|most| most.min(class.deadline_ms));
        switch_on(&mut class.air_gapped, change.air_gapped, &mut notes);
        class.approval_for = Borders::from_bits(class.approval_for.bits() | change.approval_for.bits());
        for field in notes {
            self.note(codes::WIDENS, &["classes", name, field], String::from("nothing laxer than the global class"));
        }
    }

    /// A disabled substrate stays where it is, forbidden everywhere: positions in the document do not move.
    fn substrates(&mut self, read: &Overrides) {
        for (name, change) in &read.substrates {
            let steps = ["substrates", name.as_str()];
            let Some(substrate) = self.document.substrates.iter_mut().find(|s| s.name == *name) else {
                let known: Vec<Name> = self.document.substrates.iter().map(|s| s.name.clone()).collect();
                self.unknown(&steps, name.as_str(), known.iter().map(Name::as_str));
                continue;
            };
            let mut notes = Vec::new();
            at_most(&mut substrate.capacity.concurrency, change.concurrency, "concurrency", &mut notes);
            let (less, over) = reserve(&mut substrate.capacity, &change.keep_for_tenant_ppm);
            for field in notes {
                self.note(
                    codes::WIDENS,
                    &[&steps[..], &[field]].concat(),
                    String::from("no more than the global policy"),
                );
            }
            let kept = [&steps[..], &["keep_for_tenant"]].concat();
            for tenant in less {
                let expected = String::from("no less than the global policy keeps for the tenant");
                self.note(codes::WIDENS, &[&kept[..], &[tenant]].concat(), expected);
            }
            if over {
                self.note(
                    codes::OVER_WHOLE,
                    &kept,
                    String::from("shares that add up to at most 1 with the global ones"),
                );
            }
            if change.disabled {
                let disabled = Terms { substrates: Some(vec![name.clone()]), ..Terms::default() };
                self.document.envelopes.iter_mut().for_each(|e| forbid(&mut e.forbid, &disabled));
            }
        }
    }

    fn budgets(&mut self, read: &Overrides) {
        for (tenant, most) in &read.budgets {
            let steps = ["budgets", tenant.as_str()];
            match self.document.settings.budgets.iter_mut().find(|b| b.tenant == *tenant) {
                None => self.unknown(&steps, tenant, std::iter::empty()),
                Some(budget) if *most <= budget.most_uusd => budget.most_uusd = *most,
                Some(_) => self.note(codes::WIDENS, &steps, String::from("no more than the global budget")),
            }
        }
    }
}

/// Keeps more for tenants: what is kept for one is taken from the others and given back to it, so that nobody may use
/// more than before. Says for whom less would be kept, and whether it is more than there is.
fn reserve<'c>(capacity: &mut Capacity, more: &'c [(String, u32)]) -> (Vec<&'c str>, bool) {
    let mut less = Vec::new();
    for (tenant, ppm) in more {
        match capacity.keep_for_tenant_ppm.iter_mut().find(|(of, _)| of == tenant) {
            Some((_, kept)) if ppm < kept => less.push(tenant.as_str()),
            Some((_, kept)) => *kept = *ppm,
            None => capacity.keep_for_tenant_ppm.push((tenant.clone(), *ppm)),
        }
    }
    // As a document says it that is read.
    capacity.keep_for_tenant_ppm.sort();
    (less, !more.is_empty() && capacity.is_over_whole())
}

/// Without accounts and cost regimes, of which a spillover word says nothing.
fn geographic(borders: Borders) -> Borders {
    Borders::from_bits(borders.bits() & Borders::up_to(crate::model::Border::Jurisdiction).bits())
}

/// What both permit; says what the new list has that the old one has not.
fn intersect<T: Clone + PartialEq>(
    old: &mut Option<Vec<T>>,
    new: &Option<Vec<T>>,
    (line, show): (&'static str, fn(&T) -> String),
    wider: &mut Vec<(&'static str, String)>,
) {
    let Some(new) = new else { return };
    let Some(old_list) = old.take() else {
        *old = Some(new.clone());
        return;
    };
    if let Some(value) = new.iter().find(|value| !old_list.contains(value)) {
        wider.push((line, show(value)));
    }
    *old = Some(old_list.into_iter().filter(|value| new.contains(value)).collect());
}

/// What either forbids.
fn forbid(old: &mut Terms, new: &Terms) {
    fn unite<T: Clone + PartialEq>(old: &mut Option<Vec<T>>, new: &Option<Vec<T>>) {
        for value in new.iter().flatten() {
            let list = old.get_or_insert_default();
            if !list.contains(value) {
                list.push(value.clone());
            }
        }
    }
    unite(&mut old.jurisdictions, &new.jurisdictions);
    unite(&mut old.subject_to, &new.subject_to);
    unite(&mut old.kinds, &new.kinds);
    unite(&mut old.accounts, &new.accounts);
    unite(&mut old.regions, &new.regions);
    unite(&mut old.regimes, &new.regimes);
    unite(&mut old.substrates, &new.substrates);
    for list in [&mut old.jurisdictions, &mut old.subject_to].into_iter().flatten() {
        *list = countries::sorted(std::mem::take(list));
    }
}

fn lower<T: Ord + Copy>(old: &mut Option<T>, new: Option<T>, field: &'static str, notes: &mut Vec<&'static str>) {
    let Some(new) = new else { return };
    if old.is_some_and(|old| new > old) {
        notes.push(field);
    }
    *old = Some(old.map_or(new, |old| old.min(new)));
}

fn at_most<T: Ord + Copy>(old: &mut T, new: Option<T>, field: &'static str, notes: &mut Vec<&'static str>) {
    let Some(new) = new else { return };
    if new > *old {
        notes.push(field);
    }
    *old = new.min(*old);
}

fn switch_on(old: &mut bool, new: Option<bool>, notes: &mut Vec<&'static str>) {
    if *old && new == Some(false) {
        notes.push("air_gapped");
    }
    *old |= new == Some(true);
}
