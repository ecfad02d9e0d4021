//! Cases: what a policy's owners say should become of requests, compiled against that policy: facts, a snapshot, a
//! moment and an expectation each. Who places them and compares is the tool's matter.

pub use super::raw::{
    cases::Said,
    expectations::{Because, Expected},
};
use super::{
    InvalidPolicy,
    codes::{self, Code},
    error::hint,
    order,
    path::{Path, Step},
    raw::cases::{RawCase, RawCases, RawCircuit, RawHealth},
    reading,
    tree::{Entry, Node, Position, Value},
    yaml,
};
use crate::model::{
    Attestation, Circuit, Document, Fact, FactName, Facts, Features, Health, Local, Name, Reading, Snapshot,
};

/// When cases happen that do not say when: 2026-01-01.
pub const NOW_MS: u64 = 1_767_225_600_000;
/// How long an open circuit of a case stays open.
const OPEN_MS: u64 = 30_000;

/// One case, ready to be placed.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it stands in its file.
    pub at: Position,
    /// What is known of the request, and whether it is believed.
    pub facts: Vec<(FactName, Fact<Said>)>,
    /// Headers that predicates look at.
    pub headers: Vec<(String, Fact<String>)>,
    /// Features asked for.
    pub features: Features,
    /// The request's size.
    pub content_bytes: Option<u64>,
    /// The picture.
    pub snapshot: Option<Snapshot>,
    /// What this proxy placed and spent.
    pub local: Local,
    /// When it happens.
    pub now_ms: u64,
    /// What decides between equals.
    pub seed: u64,
    /// What should become of it.
    pub expect: Expected,
}

impl Case {
    /// Its headers as facts borrow them.
    #[must_use]
    pub fn headers(&self) -> Vec<(&str, Fact<&str>)> {
        self.headers.iter().map(|(n, f)| (n.as_str(), Fact { value: f.value.as_str(), trusted: f.trusted })).collect()
    }

    /// Its facts.
    #[must_use]
    pub fn facts<'a>(&'a self, headers: &'a [(&'a str, Fact<&'a str>)]) -> Facts<'a> {
        let said = |name| self.facts.iter().find(|(n, _)| *n == name).map(|(_, fact)| fact);
        let text = |name| said(name).and_then(|f| f.value.text().map(|value| Fact { value, trusted: f.trusted }));
        let number = |name| said(name).and_then(|f| f.value.number().map(|value| Fact { value, trusted: f.trusted }));
        let flag = |f: &Fact<Said>| f.value.flag().map(|value| Fact { value, trusted: f.trusted });
        Facts {
            tenant: text(FactName::Tenant),
            class: text(FactName::Class),
            model: text(FactName::Model),
            input_tokens: number(FactName::InputTokens),
            output_tokens: number(FactName::OutputTokens),
            features: self.features,
            data: text(FactName::Data),
            residency: text(FactName::Residency),
            session: text(FactName::Session),
            deadline_ms: number(FactName::Deadline),
            region: text(FactName::Region),
            zone: text(FactName::Zone),
            approval: text(FactName::Approval),
            streaming: said(FactName::Streaming).and_then(flag),
            method: text(FactName::Method),
            path: text(FactName::Path),
            content_bytes: self.content_bytes,
            headers,
            idempotent: false,
            contradicted: false,
            attempts_left: None,
        }
    }
}

impl Said {
    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    const fn number(&self) -> Option<u32> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    const fn flag(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { None }
    }
}

/// Reads cases for a policy.
///
/// # Errors
/// Every mistake that could be found, in the order of the text.
pub fn read(text: &str, document: &Document) -> Result<Vec<Case>, Vec<InvalidPolicy>> {
    let yaml = yaml::parse(text)?;
    let (raw, mut found) = reading::read(&yaml.node, "", super::raw::cases::cases);
    Names { root: &yaml.node, document, found: &mut found }.check();
    match raw {
        Some(raw) if found.is_empty() => {
            let places = yaml.node.get("cases").map(Node::items).unwrap_or_default();
            Ok(raw.cases.iter().zip(places).map(|(case, node)| compile(&raw, case, node.at, document)).collect())
        }
        _ => Err(order::sorted(found, |a, b| (a.at, a.code).cmp(&(b.at, b.code)))),
    }
}

fn compile(all: &RawCases, raw: &RawCase, at: Position, document: &Document) -> Case {
    let now_ms = raw.now_ms.or(all.now_ms).unwrap_or(NOW_MS);
    let said = |list: &[(FactName, Said)], trusted| -> Vec<_> {
        list.iter().map(|(name, value)| (*name, Fact { value: value.clone(), trusted })).collect()
    };
    let sent = |list: &[(String, String)], trusted| -> Vec<_> {
        list.iter().map(|(name, value)| (name.clone(), Fact { value: value.clone(), trusted })).collect()
    };
    let placed = |s: &crate::model::Substrate| raw.placed.iter().find(|(n, _)| *n == s.name).map_or(0, |p| p.1);
    let spent = |tenant: &str| raw.spent_uusd.iter().find(|(t, _)| t == tenant).map_or(0, |s| s.1);
    Case {
        name: raw.name.clone(),
        at,
        facts: [said(&raw.facts, true), said(&raw.claims, false)].concat(),
        headers: [sent(&raw.headers, true), sent(&raw.claimed_headers, false)].concat(),
        features: raw.features,
        content_bytes: raw.content_bytes,
        snapshot: snapshot(all, raw, document, now_ms),
        local: Local {
            placed: document.substrates.iter().map(placed).collect(),
            spent_uusd: document.settings.budgets.iter().map(|b| spent(&b.tenant)).collect(),
            ..Local::default()
        },
        now_ms,
        seed: raw.seed,
        expect: raw.expect.clone(),
    }
}

/// The picture, if anything is said of any substrate.
fn snapshot(all: &RawCases, raw: &RawCase, document: &Document, now_ms: u64) -> Option<Snapshot> {
    if raw.no_snapshot || (all.health.is_empty() && raw.health.is_empty()) {
        return None;
    }
    let said = |name: &Name| raw.health.iter().chain(&all.health).find(|(n, _)| n == name).map(|(_, health)| health);
    let record = |s: &crate::model::Substrate| said(&s.name).map(|raw| health(s, raw, now_ms));
    Some(Snapshot {
        writer: 1,
        epoch: 1,
        at_ms: now_ms.saturating_sub(raw.snapshot_age_ms),
        interval_ms: 1_000,
        slots: 1,
        substrates: document.substrates.iter().filter_map(record).collect(),
    })
}

fn health(substrate: &crate::model::Substrate, raw: &RawHealth, now_ms: u64) -> Health {
    let mut health = Health::unknown(substrate.name.as_str());
    let at_ms = now_ms.saturating_sub(raw.age_ms);
    raw.readings.iter().for_each(|(signal, value)| health.set(*signal, Reading { value: *value, at_ms }));
    let until_ms = now_ms.saturating_add(OPEN_MS);
    health.circuit = match raw.circuit {
        RawCircuit::Closed => Circuit::Closed,
        RawCircuit::Open => Circuit::Open { until_ms },
        RawCircuit::HalfOpen => Circuit::HalfOpen { slot: 0, probes: 1, until_ms },
    };
    health.admission = raw.admission;
    health.attestation = raw.attestation.map(|(place, age_ms)| Attestation {
        jurisdiction: place.unwrap_or(substrate.location.jurisdiction),
        at_ms: now_ms.saturating_sub(age_ms),
    });
    health.retry_at_ms = (raw.retry_after_ms > 0).then(|| now_ms.saturating_add(raw.retry_after_ms));
    health
}

/// Whether the names in cases lead somewhere; asked of the tree, so that a mistake elsewhere hides none.
struct Names<'a> {
    root: &'a Node,
    document: &'a Document,
    found: &'a mut Vec<InvalidPolicy>,
}

use Step::{Field, Item};

impl<'a> Names<'a> {
    fn check(&mut self) {
        self.substrates(&[Field("health")]);
        let cases = self.root.get("cases").map(Node::items).unwrap_or_default();
        for (i, case) in cases.iter().enumerate() {
            let name = case.get("name").and_then(Node::text);
            if name.is_some() && cases.iter().take(i).any(|earlier| earlier.get("name").and_then(Node::text) == name) {
                let expected = "a name that no other case has";
                self.note(codes::DUPLICATE_NAME, &[Field("cases"), Item(i), Field("name")], case.at, name, expected);
            }
            for at in [&["health"][..], &["placed"], &["expect", "rejected"]] {
                self.substrates(&below(i, at));
            }
            for at in
                [&["expect", "substrate"][..], &["expect", "unbound"], &["expect", "plan"], &["expect", "standing"]]
            {
                self.substrates(&below(i, at));
            }
            let classes = self.document.classes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
            self.known(&below(i, &["expect", "class"]), &classes, codes::UNKNOWN_CLASS, "a class");
            let budgets = self.document.settings.budgets.iter().map(|b| b.tenant.as_str()).collect::<Vec<_>>();
            self.known(&below(i, &["spent_usd"]), &budgets, codes::UNKNOWN_TARGET, "a tenant with a budget");
        }
    }

    fn substrates(&mut self, steps: &[Step<'_>]) {
        let known: Vec<&str> = self.document.substrates.iter().map(|s| s.name.as_str()).collect();
        self.known(steps, &known, codes::UNKNOWN_SUBSTRATE, "a substrate");
    }

    /// Every name there is known: the text, the items of a list, the keys of a map.
    fn known(&mut self, steps: &[Step<'_>], known: &[&str], code: Code, what: &str) {
        let Some(node) = (Path { base: "", steps }).of(self.root) else { return };
        let names: Vec<(Position, Option<&'a str>)> = match &node.value {
            Value::Map(entries) => entries.iter().map(|e: &Entry| (e.at, Some(e.key.as_str()))).collect(),
            Value::List(items) => items.iter().map(|item| (item.at, item.text())).collect(),
            _ => vec![(node.at, node.text())],
        };
        for (at, name) in names {
            if let Some(unknown) = name.filter(|name| !known.contains(name)) {
                let expected = format!("the name of {what}{}", hint(unknown, known.iter().copied()));
                self.note(code, steps, at, name, &expected);
            }
        }
    }

    fn note(&mut self, code: Code, steps: &[Step<'_>], at: Position, found: Option<&str>, expected: &str) {
        if self.found.len() < reading::MOST_REPORTED {
            let found = found.unwrap_or_default().to_owned();
            self.found.push(InvalidPolicy::new(code, Path { base: "", steps }, at, found, expected.to_owned()));
        }
    }
}

/// The steps to a field of a case.
fn below<'s>(case: usize, fields: &[&'s str]) -> Vec<Step<'s>> {
    [Field("cases"), Item(case)].into_iter().chain(fields.iter().map(|f| Field(f))).collect()
}
