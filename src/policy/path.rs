//! Where in a document something stands, as people say it: `substrates[3].location.jurisdiction`.

use super::tree::{Node, Position, Value, shorten};
use core::fmt;

/// One step down a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into a field of a map.
    Field(&'a str),
    /// To an item of a list.
    Item(usize),
}

/// The steps from the document to a value.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// What stands before the document, where it is embedded.
    pub base: &'a str,
    /// The steps.
    pub steps: &'a [Step<'a>],
}

impl Path<'_> {
    /// The value there.
    #[must_use]
    pub fn of<'n>(&self, root: &'n Node) -> Option<&'n Node> {
        self.steps.iter().try_fold(root, |node, step| step.of(node))
    }

    /// The place of the value there, or of the nearest thing around it that exists.
    #[must_use]
    pub fn position(&self, root: &Node) -> Position {
        let mut node = root;
        for step in self.steps {
            match step.of(node) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.at
    }

    /// What a message shows of the value there.
    #[must_use]
    pub fn found(&self, root: &Node) -> String {
        self.of(root).map_or_else(String::new, |node| node.value.to_string())
    }
}

impl Step<'_> {
    fn of<'n>(&self, node: &'n Node) -> Option<&'n Node> {
        match self {
            Self::Field(name) => node.get(name),
            Self::Item(index) => node.items().get(*index),
        }
    }
}

/// Names that a path can show without brackets.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base)?;
        let mut dot = if self.base.is_empty() { "" } else { "." };
        for step in self.steps {
            match step {
                Step::Field(name) if is_plain(name) => write!(f, "{dot}{name}")?,
                Step::Field(name) => write!(f, "[\"{}\"]", shorten(name))?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
            dot = ".";
        }
        Ok(())
    }
}

/// Shows every value of a tree with its steps: for tests and the tool.
pub fn walk<'n>(node: &'n Node, steps: &mut Vec<Step<'n>>, see: &mut impl FnMut(&[Step<'n>], &'n Node)) {
    see(steps, node);
    let mut into = |step: Step<'n>, inner: &'n Node| {
        steps.push(step);
        walk(inner, steps, see);
        steps.pop();
    };
    match &node.value {
        Value::Map(entries) => entries.iter().for_each(|e| into(Step::Field(&e.key), &e.node)),
        Value::List(items) => items.iter().enumerate().for_each(|(i, inner)| into(Step::Item(i), inner)),
        _ => {}
    }
}
