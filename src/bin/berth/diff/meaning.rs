//! What two policies differ in, in the policy's own words and units. Whether a substrate, class or envelope differs is
//! asked of the compiled documents, so after templates, defaults and sets; what differs in it is read from the trees
//! along the schema, so that it is called by the name that a person would change.

use crate::lines::Held;
use berth::policy::{
    canonical::canonical,
    describe,
    source::{Field, Need, Shape},
    template,
    tree::{Entry, Node, Value},
};

/// What became of one part of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// `substrate metal-fr`, `envelope eu-personal`, `settings`.
    pub(super) what: String,
    /// `added`, `removed`, `changed`.
    pub(super) how: &'static str,
    /// What changed: `cost.input_usd_per_mtok: 0.1 → 0.12`.
    pub(super) fields: Vec<String>,
}

/// The longest value that is written out.
const MOST_SHOWN: usize = 120;
/// What has a place of its own among the changes.
const PARTS: [&str; 6] = ["berth", "policy", "jurisdictions", "substrates", "classes", "envelopes"];

/// All changes, in the order of the documents.
pub(super) fn changes(old: &Held, new: &Held) -> Vec<Change> {
    let (before, after) = (old.policy.document(), new.policy.document());
    let trees = [filled(&old.node), filled(&new.node)];
    let shape = describe::policy();
    let mut found = Vec::new();
    macro_rules! parts {
        ($kind:literal, $list:ident, $name:expr) => {
            let names = [&before.$list, &after.$list].map(|list| list.iter().map($name).collect::<Vec<_>>());
            let differs = |name: &str| {
                let of = |list: &[_]| list.iter().find(|item| $name(*item) == name).cloned();
                of(&before.$list) != of(&after.$list)
            };
            let inner = field(&shape, stringify!($list)).map(|f| f.shape.clone());
            let fields =
                |name: &str| inside(inner.as_ref(), trees.each_ref().map(|t| part(t, stringify!($list), name)));
            compared($kind, &names, &differs, &fields, &mut found);
        };
    }
    parts!("substrate", substrates, |s: &berth::model::Substrate| s.name.to_string());
    parts!("class", classes, |c: &berth::model::Class| c.name.to_string());
    parts!("envelope", envelopes, |e: &berth::model::Envelope| e.name.to_string());
    parts!("jurisdiction", jurisdictions, |j: &(String, Vec<berth::model::Country>)| j.0.clone());
    let order = [before, after].map(|d| d.classes.iter().map(|c| c.name.to_string()).collect::<Vec<_>>().join(", "));
    if let [old, new] = &order
        && old != new
    {
        let fields = vec![format!("{old} → {new}")];
        found.push(Change { what: String::from("order of classes"), how: "changed", fields });
    }
    let rest = |field: &&Field| !PARTS.contains(&field.name);
    let mut fields = Vec::new();
    for field in shape.fields().iter().filter(rest) {
        one(field, trees.each_ref().map(|tree| tree.get(field.name)), field.name, &mut fields);
    }
    if before.settings != after.settings || before.default_class != after.default_class {
        found.push(Change { what: String::from("settings"), how: "changed", fields });
    }
    found
}

/// The tree with its templates filled in.
fn filled(node: &Node) -> Node {
    template::resolve(node, "", &mut Vec::new()).root.unwrap_or_else(|| node.clone())
}

fn field<'a>(shape: &'a Shape, name: &str) -> Option<&'a Field> {
    shape.fields().iter().find(|f| f.name == name)
}

/// An item of a list or a map, by its name.
fn part<'a>(tree: &'a Node, list: &str, name: &str) -> Option<&'a Node> {
    let held = tree.get(list)?;
    let named = |item: &&Node| item.get("name").and_then(Node::text) == Some(name);
    held.items().iter().find(named).or_else(|| held.get(name))
}

fn compared(
    kind: &str,
    [old, new]: &[Vec<String>; 2],
    differs: &dyn Fn(&str) -> bool,
    fields: &dyn Fn(&str) -> Vec<String>,
    found: &mut Vec<Change>,
) {
    let mut change = |name: &str, how, fields| found.push(Change { what: format!("{kind} {name}"), how, fields });
    for name in old {
        match (new.contains(name), differs(name)) {
            (false, _) => change(name, "removed", Vec::new()),
            (true, false) => {}
            (true, true) => change(name, "changed", fields(name)),
        }
    }
    new.iter().filter(|name| !old.contains(name)).for_each(|name| change(name, "added", Vec::new()));
}

/// The fields in which two parts differ. Where they are written alike, something that they name differs.
fn inside(shape: Option<&Shape>, [old, new]: [Option<&Node>; 2]) -> Vec<String> {
    let mut out = Vec::new();
    match shape {
        Some(shape) if !shape.fields().is_empty() => {
            for field in shape.fields() {
                one(field, [old, new].map(|node| node.and_then(|n| n.get(field.name))), field.name, &mut out);
            }
        }
        _ if shown(old) != shown(new) => out.push(format!("{} → {}", shown(old), shown(new))),
        _ => {}
    }
    if out.is_empty() {
        out.push(String::from("as written the same; a jurisdiction that it names differs"));
    }
    out
}

/// One field, and what is below it.
fn one(field: &Field, [old, new]: [Option<&Node>; 2], path: &str, out: &mut Vec<String>) {
    if old.is_none() && new.is_none() {
        return;
    }
    match &field.shape {
        Shape::Section(fields) => {
            for inner in fields {
                let below = [old, new].map(|node| node.and_then(|n| n.get(inner.name)));
                one(inner, below, &format!("{path}.{}", inner.name), out);
            }
        }
        Shape::Map(_, inner) => {
            let mut keys: Vec<&str> = [old, new].into_iter().flatten().flat_map(keys).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let below = [old, new].map(|node| node.and_then(|n| n.get(key)));
                let as_field = Field { name: "", doc: "", need: Need::Optional, shape: (**inner).clone() };
                one(&as_field, below, &format!("{path}.{key}"), out);
            }
        }
        _ => {
            let value = |node: Option<&Node>| match (node, &field.need) {
                (None, Need::Default(default)) => default.clone(),
                _ => shown(node),
            };
            let (old, new) = (value(old), value(new));
            if old != new {
                out.push(format!("{path}: {} → {}", short(&old), short(&new)));
            }
        }
    }
}

fn keys(node: &Node) -> impl Iterator<Item = &str> {
    let entries: &[Entry] = if let Value::Map(entries) = &node.value { entries } else { &[] };
    entries.iter().map(|e| e.key.as_str())
}

/// A value as a person would write it.
fn shown(node: Option<&Node>) -> String {
    match node.map(|n| (&n.value, n)) {
        None => String::from("not set"),
        Some((Value::Text(text), _)) => text.clone(),
        Some((Value::List(items), _)) if items.iter().all(|i| i.text().is_some()) => {
            let words: Vec<&str> = items.iter().filter_map(Node::text).collect();
            format!("[{}]", words.join(", "))
        }
        Some((_, node)) => canonical(node),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= MOST_SHOWN {
        text.into()
    } else {
        text.chars().take(MOST_SHOWN).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::changes;
    use crate::lines;

    fn of(change: impl Fn(&str) -> String) -> Vec<String> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/starter.yaml");
        let old = std::fs::read_to_string(file).unwrap();
        let dir = std::env::temp_dir().join(format!("berth-meaning-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let new = dir.join("new.yaml");
        let changed = change(&old);
        assert_ne!(old, changed, "the change changes something");
        std::fs::write(&new, changed).unwrap();
        let (old, new) = (lines::policy(file).unwrap().0, lines::policy(new.to_str().unwrap()).unwrap().0);
        std::fs::remove_dir_all(dir).unwrap();
        changes(&old, &new).into_iter().map(|c| format!("{} {}: {}", c.what, c.how, c.fields.join("; "))).collect()
    }

    #[test]
    fn a_change_is_told_in_the_words_of_the_policy() {
        let spillover = of(|t| t.replacen("spillover: any", "spillover: zone", 1));
        assert_eq!(spillover, ["envelope everyone changed: spillover: any → zone"]);
        let permit = of(|t| t.replacen("jurisdictions: [EU, US]", "jurisdictions: [EU]", 1));
        assert_eq!(permit, ["envelope everyone changed: permit.jurisdictions: [EU, US] → [EU]"]);
        let template = of(|t| t.replacen("capacity: {concurrency: 64,", "capacity: {concurrency: 32,", 1));
        let lower = "changed: capacity.concurrency: 64 → 32";
        assert_eq!(template, [format!("substrate gpu-de {lower}"), format!("substrate gpu-fr {lower}")]);
        let needs = of(|t| t.replacen("tier: critical", "tier: batch\n    needs: [tools]", 1));
        assert_eq!(needs, ["class chat changed: tier: critical → batch; needs: not set → [tools]"]);
        let set = of(|t| t.replacen("AT, BE, DE,", "BE, DE,", 1));
        assert!(set.iter().any(|c| c.contains("jurisdiction EU changed: [AT, BE, DE, ES")), "{set:?}");
        assert!(set.iter().any(|c| c.starts_with("envelope everyone changed: as written the same")), "{set:?}");
        let default = of(|t| t.replacen("policy:", "selection: {}\npolicy:", 1));
        assert!(default.is_empty(), "defaults that are written out change nothing: {default:?}");
    }
}
