//! What two documents differ in, after templates, defaults and units: by substrate, class and envelope, and in the
//! numbers that tune. Every field of the model is compared, because the model prints itself.

use berth::model::Document;
use std::{collections::BTreeMap, fmt::Debug};

/// What became of one part of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// `substrate metal-fr`, `envelope eu-personal`, `settings`.
    pub(super) what: String,
    /// `added`, `removed`, `changed`.
    pub(super) how: &'static str,
    /// What changed: `cost.input_pusd_per_token: 100000 → 120000`.
    pub(super) fields: Vec<String>,
}

/// All changes, in the order of the documents.
pub(super) fn changes(old: &Document, new: &Document) -> Vec<Change> {
    let mut found = Vec::new();
    parts(
        "substrate",
        list(&old.substrates, |s| s.name.as_str()),
        list(&new.substrates, |s| s.name.as_str()),
        &mut found,
    );
    parts("class", list(&old.classes, |c| c.name.as_str()), list(&new.classes, |c| c.name.as_str()), &mut found);
    parts("envelope", list(&old.envelopes, |e| e.name.as_str()), list(&new.envelopes, |e| e.name.as_str()), &mut found);
    parts("jurisdiction", list(&old.jurisdictions, |j| &j.0), list(&new.jurisdictions, |j| &j.0), &mut found);
    let order =
        |document: &Document| document.classes.iter().map(|c| c.name.to_string()).collect::<Vec<_>>().join(", ");
    whole("order of classes", &order(old), &order(new), &mut found);
    whole("default class", old.default_class.as_str(), new.default_class.as_str(), &mut found);
    let fields = differences(&old.settings, &new.settings);
    if !fields.is_empty() {
        found.push(Change { what: String::from("settings"), how: "changed", fields });
    }
    found
}

fn list<'a, T>(items: &'a [T], name: impl Fn(&'a T) -> &'a str) -> Vec<(&'a str, &'a T)> {
    items.iter().map(|item| (name(item), item)).collect()
}

fn parts<T: Debug + PartialEq>(kind: &str, old: Vec<(&str, &T)>, new: Vec<(&str, &T)>, found: &mut Vec<Change>) {
    let mut change = |name: &str, how, fields| found.push(Change { what: format!("{kind} {name}"), how, fields });
    for (name, before) in &old {
        match new.iter().find(|(other, _)| other == name) {
            None => change(name, "removed", Vec::new()),
            Some((_, after)) if after == before => {}
            Some((_, after)) => change(name, "changed", differences(*before, *after)),
        }
    }
    for (name, _) in new.iter().filter(|(name, _)| !old.iter().any(|(other, _)| other == name)) {
        change(name, "added", Vec::new());
    }
}

fn whole(what: &str, old: &str, new: &str, found: &mut Vec<Change>) {
    if old != new {
        found.push(Change { what: what.into(), how: "changed", fields: vec![format!("{old} → {new}")] });
    }
}

fn differences(old: &impl Debug, new: &impl Debug) -> Vec<String> {
    let (old, new) = (leaves(&format!("{old:#?}")), leaves(&format!("{new:#?}")));
    let absent = String::from("absent");
    let mut places: Vec<&String> = old.keys().chain(new.keys()).collect();
    places.sort();
    places.dedup();
    let value = |of: &BTreeMap<String, String>, place: &String| of.get(place).unwrap_or(&absent).clone();
    let differs = places.into_iter().filter(|place| old.get(*place) != new.get(*place));
    differs.map(|place| format!("{place}: {} → {}", value(&old, place), value(&new, place))).collect()
}

/// The leaves of a printed value, by their paths.
fn leaves(printed: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // Of each open bracket: the path to it, and how many items without a name it has had.
    let mut open: Vec<(String, usize)> = Vec::new();
    for line in printed.lines().map(str::trim) {
        if line.starts_with(['}', ']', ')']) {
            open.pop();
            continue;
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let (name, rest) = match line.split_once(": ") {
            Some((name, rest)) if is_name(name) => (Some(name), rest),
            _ => (None, line),
        };
        let base = open.last_mut().map(|(path, count)| {
            *count += usize::from(name.is_none());
            (path.clone(), *count)
        });
        let path = match (base, name) {
            (None, _) => String::new(),
            (Some((path, _)), Some(name)) => {
                if path.is_empty() {
                    name.into()
                } else {
                    format!("{path}.{name}")
                }
            }
            (Some((path, 1)), None) => path,
            (Some((path, count)), None) => format!("{path}[{}]", count - 1),
        };
        if rest.ends_with(['{', '[', '(']) {
            open.push((path, 0));
        } else {
            found.insert(path, rest.trim_end_matches(',').into());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[derive(Debug)]
    #[allow(dead_code, reason = "printed")]
    struct Part {
        name: &'static str,
        cost: Option<(u32, u32)>,
        list: Vec<u8>,
    }

    #[test]
    fn every_leaf_that_differs_is_named_with_its_path() {
        let old = Part { name: "a", cost: Some((1, 2)), list: vec![7, 8] };
        let new = Part { name: "a", cost: Some((1, 3)), list: vec![7] };
        assert_eq!(differences(&old, &new), ["cost[1]: 2 → 3", "list[1]: 8 → absent"]);
        assert!(differences(&old, &old).is_empty());
    }
}
