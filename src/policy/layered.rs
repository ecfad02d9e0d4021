//! A narrowed policy as a document of its own, so that everything that takes a policy takes this one: what an override
//! changed is written into the global document's tree, and what comes out is read again and has to say the same.

use super::{
    compile::{Checked, read_node},
    error::InvalidPolicy,
    narrow::narrow,
    permits::permits,
    template,
    tree::{Entry, Node, Position, Value},
};
use crate::model::{Border, Borders, Class, Document, Envelope, Kind, Name, Terms, envelope::Require};

/// A global policy under a local override, written out. Its name is both names, because it is another policy.
///
/// # Errors
/// Everything that is wrong with the override, or what could not be written so that it reads the same.
pub fn layer(global: &Node, local: &Node) -> Result<(Node, Checked), Vec<InvalidPolicy>> {
    let before = read_node(global, "")?.document;
    let narrowed = narrow(&before, local, "")?;
    let mut root = template::resolve(global, "", &mut Vec::new()).root.unwrap_or_else(|| global.clone());
    write(&mut root, &before, &narrowed, local);
    // It stands in no text yet: whatever is said of it has no line.
    forget(&mut root);
    let checked = read_node(&root, "")?;
    if !alike(&checked.document, &narrowed) {
        let expected = String::from("an override that can be written out; this one could not");
        return Err(vec![InvalidPolicy::new(super::codes::CONTRADICTION, "", local.at, String::new(), expected)]);
    }
    Ok((root, checked))
}

/// Whether two documents say the same: empty lists of permits cannot be written, so envelopes are asked what they permit.
fn alike(written: &Document, meant: &Document) -> bool {
    let envelopes = written.envelopes.len() == meant.envelopes.len()
        && written.envelopes.iter().zip(&meant.envelopes).all(|(a, b)| {
            let rest = |e: &Envelope| (e.name.clone(), e.applies_to.clone(), e.spillover, e.require.clone());
            rest(a) == rest(b) && meant.substrates.iter().all(|s| permits(a, s) == permits(b, s))
        });
    envelopes
        && written.substrates == meant.substrates
        && written.classes == meant.classes
        && written.settings == meant.settings
        && written.default_class == meant.default_class
}

fn write(root: &mut Node, before: &Document, after: &Document, local: &Node) {
    let name = local.get("overrides").and_then(|o| o.get("name")).and_then(Node::text).unwrap_or_default();
    if let Some(policy) = at(root, "policy") {
        set(policy, "name", Some(text(&format!("{}-{name}", before.identity.name))));
    }
    each(root, "envelopes", before.envelopes.iter().zip(&after.envelopes), envelope);
    each(root, "classes", before.classes.iter().zip(&after.classes), class);
    each(root, "substrates", before.substrates.iter().zip(&after.substrates), |node, _, substrate| {
        if let Some(capacity) = at(node, "capacity") {
            set(capacity, "concurrency", Some(number(substrate.capacity.concurrency)));
            set(capacity, "keep_for_tenant", kept(&substrate.capacity.keep_for_tenant_ppm));
        }
    });
    let budgets = before.settings.budgets.iter().zip(&after.settings.budgets);
    each(root, "budgets", budgets, |node, _, budget| set(node, "most_usd", Some(millionths(budget.most_uusd))));
    // What was like another one is written out now.
    for substrate in at(root, "substrates").map(items).unwrap_or_default() {
        set(substrate, "like", None);
    }
}

/// Writes into the items of a list that changed.
fn each<'a, T: PartialEq + 'a>(
    root: &mut Node,
    list: &str,
    both: impl Iterator<Item = (&'a T, &'a T)>,
    change: impl Fn(&mut Node, &T, &T),
) {
    let nodes = at(root, list).map(items).unwrap_or_default();
    nodes.iter_mut().zip(both).filter(|(_, (a, b))| a != b).for_each(|(node, (a, b))| change(node, a, b));
}

fn envelope(node: &mut Node, _: &Envelope, after: &Envelope) {
    // A permit that nothing passes any more has no words of its own; forbidding every kind says it.
    let mut forbid = after.forbid.clone();
    if terms(&after.permit).iter().any(|(_, words)| words.as_ref().is_some_and(Vec::is_empty)) {
        forbid.kinds = Some(Kind::ALL.to_vec());
    }
    set(node, "permit", Some(section(&after.permit)));
    set(node, "forbid", Some(section(&forbid)));
    spillover(node, after.spillover);
    set(node, "require", Some(require(&after.require)));
}

fn spillover(node: &mut Node, borders: Borders) {
    let within = |border: &Border| Borders::minus(Borders::up_to(*border), borders).is_empty();
    let widest = [Border::Jurisdiction, Border::Region, Border::Zone].into_iter().find(within);
    let rest = widest.map_or(borders, |widest| Borders::minus(borders, Borders::up_to(widest)));
    set(node, "spillover", Some(text(widest.map_or("none", Border::as_str))));
    set(node, "also_cross", Some(list(rest.iter().map(Border::as_str))));
}

fn require(require: &Require) -> Node {
    let seconds = |ms: Option<u64>| ms.map(|ms| value(Value::Number(ms as f64 / 1_000.0)));
    let mut node = value(Value::Map(Vec::new()));
    set(&mut node, "attestation_max_age_s", seconds(require.attestation_max_age_ms));
    set(&mut node, "health_max_age_s", seconds(require.health_max_age_ms));
    set(&mut node, "air_gapped", Some(value(Value::Bool(require.air_gapped))));
    set(&mut node, "approval_for", Some(list(require.approval_for.iter().map(Border::as_str))));
    node
}

/// The lines of a permit or a forbid as words.
fn terms(terms: &Terms) -> [(&'static str, Option<Vec<String>>); 7] {
    fn words<T>(list: &Option<Vec<T>>, word: impl Fn(&T) -> String) -> Option<Vec<String>> {
        list.as_ref().map(|list| list.iter().map(word).collect())
    }
    [
        ("jurisdictions", words(&terms.jurisdictions, ToString::to_string)),
        ("subject_to", words(&terms.subject_to, ToString::to_string)),
        ("kinds", words(&terms.kinds, |kind| kind.as_str().into())),
        ("accounts", words(&terms.accounts, Name::to_string)),
        ("regions", words(&terms.regions, Name::to_string)),
        ("regimes", words(&terms.regimes, |regime| regime.as_str().into())),
        ("substrates", words(&terms.substrates, Name::to_string)),
    ]
}

fn section(of: &Terms) -> Node {
    let mut node = value(Value::Map(Vec::new()));
    for (line, words) in terms(of) {
        let words = words.filter(|words| !words.is_empty());
        set(&mut node, line, words.map(|words| list(words.iter().map(String::as_str))));
    }
    node
}

fn class(node: &mut Node, _: &Class, after: &Class) {
    set(node, "deadline_ms", Some(number(after.deadline_ms)));
    set(node, "air_gapped", Some(value(Value::Bool(after.air_gapped))));
    set(node, "approval_for", Some(list(after.approval_for.iter().map(Border::as_str))));
    for (name, field, new) in [
        ("attempts", "most", Some(number(after.attempts.most))),
        ("attempts", "per_try_ms", after.attempts.per_try_ms.map(number)),
        ("limits", "cost_usd", after.limits.cost_uusd.map(millionths)),
        ("limits", "max_queue", after.limits.max_queue.map(number)),
        ("limits", "min_quality", Some(millionths(i64::from(after.limits.min_quality_ppm)))),
    ] {
        if at(node, name).is_none() {
            set(node, name, Some(value(Value::Map(Vec::new()))));
        }
        if let Some(section) = at(node, name) {
            set(section, field, new);
        }
    }
}

/// Nothing where nothing is kept for anybody.
fn kept(tenants: &[(String, u32)]) -> Option<Node> {
    let mut node = value(Value::Map(Vec::new()));
    tenants.iter().for_each(|(tenant, ppm)| set(&mut node, tenant, Some(millionths(i64::from(*ppm)))));
    (!tenants.is_empty()).then_some(node)
}

const fn value(value: Value) -> Node {
    Node { value, at: Position { line: 0, column: 0 } }
}

fn text(words: &str) -> Node {
    value(Value::Text(words.into()))
}

fn number(n: impl Into<f64>) -> Node {
    value(Value::Number(n.into()))
}

/// Written in whole units; what the schema admits is far below where doubles lose a millionth.
fn millionths(n: i64) -> Node {
    value(Value::Number(n as f64 / 1_000_000.0))
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> Node {
    value(Value::List(words.map(text).collect()))
}

fn at<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.node)
}

fn items(node: &mut Node) -> &mut [Node] {
    if let Value::List(items) = &mut node.value { items } else { &mut [] }
}

/// Sets a field, or takes it out.
fn set(node: &mut Node, key: &str, to: Option<Node>) {
    let Value::Map(entries) = &mut node.value else { return };
    match (entries.iter_mut().find(|e| e.key == key), to) {
        (Some(entry), Some(to)) => entry.node = to,
        (None, Some(to)) => entries.push(Entry { key: key.into(), at: Position::default(), node: to }),
        (Some(_), None) => entries.retain(|e| e.key != key),
        (None, None) => {}
    }
}

fn forget(node: &mut Node) {
    node.at = Position::default();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(forget),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.at = Position::default();
            forget(&mut entry.node);
        }),
        _ => {}
    }
}
