//! Where in a document something stands, as people say it: `substrates[3].location.jurisdiction`. A chain on the
//! stack, so that a document without errors never builds one as text.

use super::tree::{Node, Position, Value};
use core::fmt;

/// A place in a document.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// The document itself; the text is what stands before it (`policy`, where it is embedded).
    Root(&'a str),
    /// A field of what stands there.
    Field(&'a Path<'a>, &'a str),
    /// An item of what stands there.
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// A field of what stands here.
    #[must_use]
    pub const fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    /// An item of what stands here.
    #[must_use]
    pub const fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// The value there.
    #[must_use]
    pub fn of<'n>(&self, root: &'n Node) -> Option<&'n Node> {
        match self {
            Self::Root(_) => Some(root),
            Self::Field(parent, name) => parent.of(root)?.get(name),
            Self::Item(parent, index) => parent.of(root)?.items().get(*index),
        }
    }

    /// The place of the value there, or of the nearest thing around it that exists.
    #[must_use]
    pub fn position(&self, root: &Node) -> Position {
        match (self.of(root), self) {
            (Some(node), _) => node.at,
            (None, Self::Field(parent, _) | Self::Item(parent, _)) => parent.position(root),
            (None, Self::Root(_)) => root.at,
        }
    }

    /// What a message shows of the value there.
    #[must_use]
    pub fn found(&self, root: &Node) -> String {
        self.of(root).map_or_else(String::new, |node| node.value.to_string())
    }
}

/// Names that a path can show without brackets.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(text) => f.write_str(text),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Field(Path::Root(""), name) if is_plain(name) => f.write_str(name),
            Self::Field(parent, name) if is_plain(name) => write!(f, "{parent}.{name}"),
            Self::Field(parent, name) => write!(f, "{parent}[\"{}\"]", super::tree::shorten(name)),
        }
    }
}

/// Every value of a tree, with its path as text: for tests and the tool.
pub fn walk<'n>(node: &'n Node, path: &Path<'_>, see: &mut impl FnMut(&Path<'_>, &'n Node)) {
    see(path, node);
    match &node.value {
        Value::Map(entries) => entries.iter().for_each(|e| walk(&e.node, &path.field(&e.key), see)),
        Value::List(items) => items.iter().enumerate().for_each(|(i, n)| walk(n, &path.item(i), see)),
        _ => {}
    }
}
