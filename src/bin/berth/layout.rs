//! How a policy is laid out: the fields in the order of the schema, two spaces a level; what was written in one line
//! stays in one line while it fits; blank lines and comments stay with the field below or beside them.

use berth::policy::{
    canonical::canonical,
    describe,
    source::Shape,
    tree::{Entry, Node, Position, Value},
};
use std::collections::BTreeSet;

/// The widest line.
const WIDTH: usize = 120;

/// All comments of a text, sorted.
pub(crate) fn comments(text: &str) -> Vec<String> {
    let mut all: Vec<String> = scan(text).into_iter().flatten().map(|(_, comment)| comment).collect();
    all.sort();
    all
}

/// For every line, the column and the text of its comment. Quotes open where a value may begin and may span lines.
fn scan(text: &str) -> Vec<Option<(usize, String)>> {
    let mut quote = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let mut comment = None;
        let (mut before, mut skip) = (' ', false);
        for (i, c) in line.char_indices() {
            match (quote, c) {
                _ if skip => skip = false,
                (Some('"'), '\\') => skip = true,
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') if " [{,".contains(before) => quote = Some(c),
                (None, '#') if before == ' ' || before == '\t' => {
                    comment = line.get(i..).map(|text| (i, String::from(text.trim_end())));
                    break;
                }
                _ => {}
            }
            before = c;
        }
        found.push(comment);
    }
    found
}

/// Lays a document out.
pub(crate) fn lay_out(text: &str, node: &Node) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut layout = Layout { comments: scan(text), lines, out: String::new(), claimed: BTreeSet::new() };
    match &node.value {
        Value::Map(entries) => layout.map(entries, &describe::policy(), 0, false),
        _ => layout.out = canonical(node),
    }
    let end = layout.lines.len();
    layout.above(end, 0);
    layout.out
}

struct Layout<'t> {
    lines: Vec<&'t str>,
    comments: Vec<Option<(usize, String)>>,
    out: String,
    claimed: BTreeSet<usize>,
}

impl Layout<'_> {
    /// Blank lines and comments that stand directly above a line (counted from 0).
    fn above(&mut self, line: usize, indent: usize) {
        let own = |i: &usize| {
            let text = self.lines.get(*i).map_or("x", |l| l.trim());
            (text.is_empty() || text.starts_with('#')) && !self.claimed.contains(i)
        };
        let first = (0..line).rev().take_while(own).last().unwrap_or(line);
        for i in first..line {
            self.claimed.insert(i);
            let text = self.lines.get(i).map_or("", |l| l.trim());
            let blank = self.out.is_empty() || self.out.ends_with("\n\n");
            if text.is_empty() && !blank && line < self.lines.len() {
                self.out.push('\n');
            } else if !text.is_empty() {
                self.out.push_str(&format!("{:indent$}{text}\n", ""));
            }
        }
    }

    /// The comment beside what stands on a line, and the end of the line.
    fn end(&mut self, at: Position) {
        let line = index(at);
        if let Some(Some((_, comment))) = self.comments.get(line)
            && self.claimed.insert(line)
        {
            self.out.push_str(&format!("  {comment}"));
        }
        self.out.push('\n');
    }

    fn map(&mut self, entries: &[Entry], shape: &Shape, indent: usize, mut inline: bool) {
        for entry in ordered(entries, shape) {
            if !inline {
                self.above(index(entry.at), indent);
                self.out.push_str(&" ".repeat(indent));
            }
            inline = false;
            self.out.push_str(&self.key(entry));
            self.out.push(':');
            self.value(&entry.node, entry.at, field(shape, &entry.key), indent);
        }
    }

    /// What stands after a key or a dash, to the end of its lines.
    fn value(&mut self, node: &Node, at: Position, shape: &Shape, indent: usize) {
        let column = self.out.len() - self.out.rfind('\n').map_or(0, |i| i + 1);
        let flow = self.flow(node, shape);
        let fits = column + flow.chars().count() < WIDTH;
        match &node.value {
            Value::Map(entries) if !entries.is_empty() && self.opens(node, fits) => {
                self.end(at);
                self.map(entries, shape, indent + 2, false);
            }
            Value::List(items) if !items.is_empty() && self.opens(node, fits) => {
                self.end(at);
                self.list(items, inner(shape), indent + 2);
            }
            _ => {
                self.out.push(' ');
                self.out.push_str(&flow);
                self.end(at);
            }
        }
    }

    fn list(&mut self, items: &[Node], shape: &Shape, indent: usize) {
        for item in items {
            self.above(index(item.at), indent);
            self.out.push_str(&format!("{:indent$}-", ""));
            match &item.value {
                Value::Map(entries) if !entries.is_empty() && !self.is_flow(item) => {
                    self.out.push(' ');
                    self.map(entries, shape, indent + 2, true);
                }
                _ => self.value(item, item.at, shape, indent),
            }
        }
    }

    /// What the source has at a place.
    fn source(&self, at: Position) -> &str {
        let column = usize::try_from(at.column).unwrap_or(1) - 1;
        let line = self.lines.get(index(at)).copied().unwrap_or_default();
        line.char_indices().nth(column).and_then(|(i, _)| line.get(i..)).unwrap_or_default()
    }

    fn is_flow(&self, node: &Node) -> bool {
        self.source(node.at).starts_with(['{', '['])
    }

    /// Whether a collection is laid out over several lines.
    fn opens(&self, node: &Node, fits: bool) -> bool {
        !fits || !self.is_flow(node)
    }

    fn key(&self, entry: &Entry) -> String {
        if self.source(entry.at).starts_with(['"', '\'']) { quoted(&entry.key) } else { entry.key.clone() }
    }

    /// A value in one line.
    fn flow(&self, node: &Node, shape: &Shape) -> String {
        match &node.value {
            Value::Map(entries) => {
                let field = |e: &&Entry| format!("{}: {}", self.key(e), self.flow(&e.node, field(shape, &e.key)));
                format!("{{{}}}", ordered(entries, shape).iter().map(field).collect::<Vec<_>>().join(", "))
            }
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.flow(item, inner(shape))).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Text(text) if self.source(node.at).starts_with(text.as_str()) => text.clone(),
            Value::Text(text) => quoted(text),
            // A number keeps the digits that its author chose: 0.10 is a price.
            Value::Number(_) => {
                let source = self.source(node.at);
                let end = source.find([' ', ',', '}', ']', '\t']).unwrap_or(source.len());
                source.get(..end).unwrap_or_default().into()
            }
            Value::Null | Value::Bool(_) => node.value.to_string(),
        }
    }
}

fn index(at: Position) -> usize {
    usize::try_from(at.line).unwrap_or(1).saturating_sub(1)
}

fn quoted(text: &str) -> String {
    canonical(&Node { value: Value::Text(text.into()), at: Position::default() })
}

/// Fields in the order of the schema; what it does not know comes last. Maps of names keep their order.
fn ordered<'e>(entries: &'e [Entry], shape: &Shape) -> Vec<&'e Entry> {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    if !matches!(shape, Shape::Map(..)) {
        let rank = |e: &&Entry| shape.fields().iter().position(|f| f.name == e.key).unwrap_or(usize::MAX);
        entries.sort_by_key(rank);
    }
    entries
}

/// The shape of a field.
fn field<'s>(shape: &'s Shape, name: &str) -> &'s Shape {
    match shape {
        Shape::Map(_, inner) => inner,
        _ => shape.fields().iter().find(|f| f.name == name).map_or(&Shape::Flag, |f| &f.shape),
    }
}

/// The shape of a list's items.
fn inner(shape: &Shape) -> &Shape {
    match shape {
        Shape::List(inner, _) => inner,
        other => other,
    }
}
