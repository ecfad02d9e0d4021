//! `like: OTHER`: substrates that resemble one another, written once. The merging happens on the tree, before
//! anything is read, so that an inherited value is checked like a written one and keeps the place where it was
//! written. Top-level fields and the fields of a section are merged; what lies deeper is replaced whole.

use super::{
    codes,
    error::{InvalidPolicy, hint},
    order::Firsts,
    path::{Path, Step},
    tree::{Entry, MOST_BYTES, Node, Value},
};

/// The longest chain of templates.
const LONGEST: usize = 8;
/// How much templates may add to a document.
const MOST_ADDED: usize = 4 * MOST_BYTES;
/// What is a substrate's own and never taken from another.
const OWN: [&str; 3] = ["name", "cluster", "like"];

/// A document with its templates filled in.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The document; `None` if it has no templates.
    pub root: Option<Node>,
    /// Substrates whose template is not to be had: what they lack is not their fault.
    pub orphans: Vec<usize>,
}

/// Fills in the templates of a document.
#[must_use]
pub fn resolve(root: &Node, base: &str, found: &mut Vec<InvalidPolicy>) -> Resolved {
    let substrates = root.get("substrates").map(Node::items).unwrap_or_default();
    let mut orphans = Vec::new();
    if !substrates.iter().any(|s| s.get("like").is_some()) {
        return Resolved::default();
    }
    let names = Firsts::of(substrates.iter().map(|substrate| substrate.get("name").and_then(Node::text)).collect());
    let mut added = 0;
    let mut resolved = Vec::with_capacity(substrates.len());
    for (index, substrate) in substrates.iter().enumerate() {
        let merged = chain(substrate, substrates, &names).and_then(|chain| {
            added += chain.iter().map(|n| weight(n)).sum::<usize>();
            if added > MOST_ADDED {
                return Err((codes::TOO_LARGE, format!("templates that add at most {MOST_ADDED} bytes (16 MiB)")));
            }
            Ok(overlay(&chain))
        });
        match merged {
            Ok(node) => resolved.push(node),
            Err((code, expected)) => {
                let steps = [Step::Field("substrates"), Step::Item(index), Step::Field("like")];
                let path = Path { base, steps: &steps };
                found.push(InvalidPolicy::new(code, path, path.position(root), path.found(root), expected));
                resolved.push(substrate.clone());
                orphans.push(index);
                if added > MOST_ADDED {
                    return Resolved { root: None, orphans };
                }
            }
        }
    }
    Resolved { root: Some(with_substrates(root, resolved)), orphans }
}

type Refused = (codes::Code, String);

/// A substrate, what it is like, what that is like, and so on.
fn chain<'n>(substrate: &'n Node, all: &'n [Node], names: &Firsts<'n>) -> Result<Vec<&'n Node>, Refused> {
    let mut chain = vec![substrate];
    let mut last = substrate;
    while let Some(like) = last.get("like").and_then(Node::text) {
        if chain.len() > LONGEST {
            return Err((codes::TEMPLATE_CYCLE, format!("a chain of at most {LONGEST} that ends")));
        }
        let known = names.texts();
        last = names
            .position(like)
            .and_then(|position| all.get(position))
            .ok_or_else(|| (codes::UNKNOWN_SUBSTRATE, format!("the name of a substrate{}", hint(like, known))))?;
        chain.push(last);
    }
    Ok(chain)
}

/// About how much copying a tree adds.
fn weight(node: &Node) -> usize {
    match &node.value {
        Value::Text(text) => 32 + text.len(),
        Value::List(items) => 32 + items.iter().map(weight).sum::<usize>(),
        Value::Map(entries) => 32 + entries.iter().map(|e| e.key.len() + weight(&e.node)).sum::<usize>(),
        _ => 32,
    }
}

/// The first of a chain over the second over the third.
fn overlay(chain: &[&Node]) -> Node {
    let Some((own, templates)) = chain.split_first() else {
        return Node { value: Value::Null, at: Default::default() };
    };
    let mut fields = Vec::new();
    for template in templates.iter().rev() {
        let inherited: Vec<Entry> =
            entries(template).iter().filter(|e| !OWN.contains(&e.key.as_str())).cloned().collect();
        fields = merge(fields, &inherited, true);
    }
    match own.value {
        Value::Map(_) => Node { value: Value::Map(merge(fields, entries(own), true)), at: own.at },
        _ => (*own).clone(),
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn merge(mut under: Vec<Entry>, over: &[Entry], into_sections: bool) -> Vec<Entry> {
    for entry in over {
        match under.iter_mut().find(|e| e.key == entry.key) {
            None => under.push(entry.clone()),
            Some(slot) => {
                let mut merged = entry.clone();
                if let (true, Value::Map(below), Value::Map(above)) =
                    (into_sections, &slot.node.value, &entry.node.value)
                {
                    merged.node.value = Value::Map(merge(below.clone(), above, false));
                }
                *slot = merged;
            }
        }
    }
    under
}

fn with_substrates(root: &Node, substrates: Vec<Node>) -> Node {
    let mut substrates = Some(substrates);
    let copy = |entry: &Entry| match entry.key.as_str() {
        "substrates" => {
            let value = Value::List(substrates.take().unwrap_or_default());
            Entry { key: entry.key.clone(), at: entry.at, node: Node { value, at: entry.node.at } }
        }
        _ => entry.clone(),
    };
    Node { value: Value::Map(entries(root).iter().map(copy).collect()), at: root.at }
}
