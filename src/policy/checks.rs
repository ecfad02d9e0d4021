//! What cannot be seen from one section alone: names are unique and lead somewhere. The checks run on the tree and
//! not on what was read from it, so that a mistake elsewhere hides none of them.

use super::{
    codes::{self, Code},
    error::{InvalidPolicy, hint},
    order::{self, Firsts},
    path::{Path, Step},
    tree::Node,
};

/// Everything that is wrong between the sections of a document.
pub fn check(root: &Node, base: &str, found: &mut Vec<InvalidPolicy>) {
    let mut checks = Checks { root, base, found };
    for list in ["substrates", "classes", "envelopes"] {
        checks.unique(list, "name", codes::DUPLICATE_NAME, "a name that nothing else of its kind has");
    }
    checks.unique("substrates", "cluster", codes::DUPLICATE_CLUSTER, "a cluster that no other substrate leads to");
    checks.unique("budgets", "tenant", codes::DUPLICATE_NAME, "one budget for each tenant");
    checks.unique("approvals", "token", codes::DUPLICATE_NAME, "a token that no other approval has");
    checks.references();
}

struct Checks<'a> {
    root: &'a Node,
    base: &'a str,
    found: &'a mut Vec<InvalidPolicy>,
}

impl<'a> Checks<'a> {
    fn list(&self, name: &str) -> &'a [Node] {
        self.root.get(name).map(Node::items).unwrap_or_default()
    }

    /// Texts of a list, each once and in order.
    fn texts(&self, list: &str, of: impl Fn(&'a Node) -> Option<&'a str>) -> Vec<&'a str> {
        let mut texts = order::sorted(self.list(list).iter().filter_map(of).collect(), Ord::cmp);
        texts.dedup();
        texts
    }

    fn names(&self, list: &str) -> Vec<&'a str> {
        self.texts(list, |n| n.get("name")?.text())
    }

    fn note(&mut self, code: Code, steps: &[Step<'_>], expected: String) {
        let path = Path { base: self.base, steps };
        let (at, shown) = (path.position(self.root), path.found(self.root));
        self.found.push(InvalidPolicy::new(code, path, at, shown, expected));
    }

    fn unique(&mut self, list: &str, field: &str, code: Code, expected: &str) {
        let items = self.list(list);
        let names = Firsts::of(items.iter().map(|item| item.get("name").and_then(Node::text)).collect());
        let value = |(i, item): (usize, &'a Node)| {
            // A substrate without a cluster leads to the one of its own name, which was compared before.
            let own = || (field == "cluster").then(|| item.get("name")).flatten();
            let value = item.get(field).or_else(own).and_then(Node::text);
            let compared = field == "cluster" && item.get(field).is_none();
            value.filter(|value| !(compared && names.position(value).is_some_and(|first| first < i)))
        };
        let values: Vec<Option<&str>> = items.iter().enumerate().map(value).collect();
        let firsts = Firsts::of(values.clone());
        for (i, value) in values.into_iter().enumerate() {
            if value.and_then(|value| firsts.position(value)).is_some_and(|first| first < i) {
                self.note(code, &[Step::Field(list), Step::Item(i), Step::Field(field)], String::from(expected));
            }
        }
    }

    /// Every text there is a known name.
    fn known(&mut self, steps: &[Step<'_>], known: &[&str], code: Code, what: &str) {
        let Some(text) = (Path { base: self.base, steps }).of(self.root).and_then(Node::text) else { return };
        if known.binary_search(&text).is_err() && self.found.len() < super::reading::MOST_REPORTED {
            let expected = format!("the name of {what}{}", hint(text, known.iter().copied()));
            self.note(code, steps, expected);
        }
    }

    /// The same for every item of a list.
    fn all_known(&mut self, steps: &[Step<'_>], known: &[&str], code: Code, what: &str) {
        let items = (Path { base: self.base, steps }).of(self.root).map(Node::items).unwrap_or_default();
        for i in 0..items.len() {
            let mut steps = steps.to_vec();
            steps.push(Step::Item(i));
            self.known(&steps, known, code, what);
        }
    }

    fn references(&mut self) {
        use Step::{Field, Item};
        let (substrates, classes) = (self.names("substrates"), self.names("classes"));
        self.known(&[Field("default_class")], &classes, codes::UNKNOWN_CLASS, "a class");
        let tried = [Field("rollout"), Field("classes")];
        self.all_known(&tried, &classes, codes::UNKNOWN_CLASS, "a class");
        for i in 0..self.list("classes").len() {
            let home = [Field("classes"), Item(i), Field("home")];
            self.all_known(&home, &substrates, codes::UNKNOWN_SUBSTRATE, "a substrate");
        }
        for i in 0..self.list("envelopes").len() {
            let envelope = [Field("envelopes"), Item(i)];
            let at = |section, field| [&envelope[..], &[Field(section), Field(field)]].concat();
            self.all_known(&at("applies_to", "classes"), &classes, codes::UNKNOWN_CLASS, "a class");
            for section in ["permit", "forbid"] {
                self.all_known(&at(section, "substrates"), &substrates, codes::UNKNOWN_SUBSTRATE, "a substrate");
            }
        }
        let zone = |s: &'a Node| s.get("location")?.get("zone")?.text();
        let zones = self.texts("substrates", zone);
        for i in 0..self.list("links").len() {
            self.known(&[Field("links"), Item(i), Field("to")], &zones, codes::UNKNOWN_ZONE, "a substrate's zone");
        }
    }
}
