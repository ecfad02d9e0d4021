//! A document as a tree in which every value knows where it stands, whatever text it came from.
//!
//! There is one kind of number, the IEEE double, because a protobuf `Struct` knows no other: what differs between
//! YAML, JSON and a `Struct` cannot be said here, so it cannot change a digest either.

use core::fmt;

/// A place in a text, counted from 1. Zero: nowhere (a value that no text holds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it begins.
    pub at: Position,
}

/// One field of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where the name begins.
    pub at: Position,
    /// What it holds.
    pub node: Node,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// Finite, and nearer to zero than 2^53.
    Number(f64),
    /// Text.
    Text(String),
    /// Values in an order.
    List(Vec<Node>),
    /// Fields in the order in which they were written, no name twice.
    Map(Vec<Entry>),
}

/// The largest whole number that no other one is rounded to.
pub const MOST_EXACT: f64 = 9_007_199_254_740_991.0;
/// How deep a document may nest.
pub const MOST_DEEP: usize = 64;
/// How large a document may be, in bytes.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

impl Node {
    /// The field of that name, if this is a map that has one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|e| &e.node)
    }

    /// The field of that name with the place of its name.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    /// What a message shows: short, on one line, never a whole section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Number(number) => f.write_str(&super::decimal::es6(*number)),
            // Text that looks like something else is shown as the text that it is.
            Self::Text(text) if looks_like_another(text) => {
                write!(f, "\"{}\"", shorten(text))
            }
            Self::Text(text) => f.write_str(&shorten(text)),
            Self::List(items) if items.is_empty() => f.write_str("an empty list"),
            Self::List(_) => f.write_str("a list"),
            Self::Map(entries) if entries.is_empty() => f.write_str("an empty map"),
            Self::Map(_) => f.write_str("a map"),
        }
    }
}

/// Whether a text, without quotes, would be taken for something else.
fn looks_like_another(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let words = ["true", "false", "null"].contains(&text)
        || ["inf", "infinity", "nan"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    words || super::double::Decimal::parse(text).is_some()
}

/// At most 60 characters of a text, on one line.
#[must_use]
pub fn shorten(text: &str) -> String {
    let mut out: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}
