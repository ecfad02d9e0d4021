//! YAML text → tree: the part of YAML 1.2 that says what it looks like. Anchors, aliases, tags, several documents
//! and repeated names are refused, all of them at once and each with its place; a broken syntax ends the reading.

use super::{
    codes::{self, Code},
    error::InvalidPolicy,
    json,
    tree::{Entry, MOST_BYTES, MOST_DEEP, Node, Position, Value, shorten},
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// A YAML text as a tree, and what is suspicious about how it was written.
#[derive(Clone, Debug)]
pub struct Yaml {
    /// The document.
    pub node: Node,
    /// Scalars that other readers of YAML understand differently.
    pub warnings: Vec<InvalidPolicy>,
}

/// Reads a YAML text that holds one document.
///
/// # Errors
/// Everything that is refused, up to where the syntax broke.
pub fn parse(text: &str) -> Result<Yaml, Vec<InvalidPolicy>> {
    let (documents, warnings) = parse_all(text)?;
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(node), None) => Ok(Yaml { node, warnings }),
        (Some(_), Some(second)) => {
            let expected = String::from("one document in the file");
            Err(vec![InvalidPolicy::new(codes::YAML_FEATURE, "", second.at, "---".into(), expected)])
        }
        (None, _) => {
            let start = Position { line: 1, column: 1 };
            Err(vec![InvalidPolicy::new(codes::SYNTAX, "", start, String::new(), String::from("a document (YAML)"))])
        }
    }
}

/// Reads all documents of a YAML text, as manifests hold them.
///
/// # Errors
/// Everything that is refused, up to where the syntax broke.
pub fn parse_all(text: &str) -> Result<(Vec<Node>, Vec<InvalidPolicy>), Vec<InvalidPolicy>> {
    let start = Position { line: 1, column: 1 };
    if text.len() > MOST_BYTES {
        let expected = format!("at most {MOST_BYTES} bytes (4 MiB)");
        return Err(vec![InvalidPolicy::new(codes::TOO_LARGE, "", start, format!("{} bytes", text.len()), expected)]);
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, place(&span.start)),
            Err(e) => builder.refuse(codes::SYNTAX, place(e.marker()), "", &format!("YAML: {}", e.info())),
        }
        if builder.done {
            break;
        }
    }
    let (mut errors, warnings): (Vec<_>, Vec<_>) = builder.found.into_iter().partition(InvalidPolicy::is_error);
    if errors.is_empty() {
        return Ok((builder.documents, warnings));
    }
    errors.sort_by_key(|e| e.at);
    Err(errors)
}

fn place(marker: &Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

/// A collection that is still open.
enum Open {
    List(Vec<Node>, Position),
    Map(Vec<Entry>, Option<(String, Position)>, Position),
}

/// Makes trees from events.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    found: Vec<InvalidPolicy>,
    /// Nothing that follows could be understood.
    done: bool,
}

impl Builder {
    fn refuse(&mut self, code: Code, at: Position, found: &str, expected: &str) {
        self.done |= code == codes::SYNTAX || code == codes::TOO_DEEP || self.found.len() >= 1000;
        self.found.push(InvalidPolicy::new(code, "", at, shorten(found), String::from(expected)));
    }

    fn take(&mut self, event: Event<'_>, at: Position) {
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            self.refuse(codes::YAML_FEATURE, at, "an anchor", "the value written out where it holds");
        }
        if tag {
            self.refuse(codes::YAML_FEATURE, at, "a tag", "a plain or quoted value");
        }
        match event {
            Event::Alias(_) => {
                self.refuse(codes::YAML_FEATURE, at, "an alias", "the value written out where it holds");
                self.put(Node { value: Value::Null, at });
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style, at),
            Event::SequenceStart(..) => self.begin(Open::List(Vec::new(), at), at),
            Event::MappingStart(..) => self.begin(Open::Map(Vec::new(), None, at), at),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => {}
        }
    }

    fn begin(&mut self, open: Open, at: Position) {
        if self.open.len() >= MOST_DEEP {
            self.refuse(codes::TOO_DEEP, at, "", &format!("at most {MOST_DEEP} levels"));
        }
        if let Some(Open::Map(_, None, _)) = self.open.last() {
            self.refuse(codes::SYNTAX, at, "a list or map as a name", "a name (YAML)");
        }
        self.open.push(open);
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(Open::List(items, at)) => self.put(Node { value: Value::List(items), at }),
            Some(Open::Map(entries, _, at)) => {
                if let Some(twice) = json::duplicate(&entries) {
                    self.found.push(json::duplicate_key(twice));
                }
                self.put(Node { value: Value::Map(entries), at });
            }
            None => {}
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Position) {
        if let Some(Open::Map(_, key @ None, _)) = self.open.last_mut() {
            *key = Some((String::from(text), at));
            return;
        }
        if style != ScalarStyle::Plain {
            return self.put(Node { value: Value::Text(String::from(text)), at });
        }
        if let Some(meaning) = other_meaning(text) {
            let expected = format!("quotes around it: unquoted, YAML 1.1 tools (kubectl among them) read {meaning}");
            self.refuse(codes::AMBIGUOUS, at, text, &expected);
        }
        let value = match plain(text, at) {
            Ok(value) => value,
            Err(error) => {
                self.found.push(error);
                Value::Null
            }
        };
        self.put(Node { value, at });
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::List(items, _)) => items.push(node),
            Some(Open::Map(entries, key, _)) => {
                if let Some((key, at)) = key.take() {
                    entries.push(Entry { key, at, node });
                }
            }
        }
    }
}

/// A plain scalar by the core schema of YAML 1.2.
fn plain(text: &str, at: Position) -> Result<Value, InvalidPolicy> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(json::number(text, at)?),
        ".inf" | "-.inf" | "+.inf" | ".Inf" | "-.Inf" | ".INF" | "-.INF" | ".nan" | ".NaN" | ".NAN" => {
            let expected = String::from("a finite number");
            return Err(InvalidPolicy::new(codes::NUMBER_TOO_LARGE, "", at, String::from(text), expected));
        }
        _ => match radix(text) {
            Some(number) => Value::Number(json::number(&number.to_string(), at)?),
            None => Value::Text(String::from(text)),
        },
    })
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(part)
        && !(whole.is_empty() && part.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

/// `0o17` and `0x1f`.
fn radix(text: &str) -> Option<u64> {
    match text.strip_prefix("0o") {
        Some(octal) => u64::from_str_radix(octal, 8).ok(),
        None => u64::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
    }
}

/// What YAML 1.1 makes of a scalar that is something else in YAML 1.2.
fn other_meaning(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "y" | "yes" | "on" => return Some("true"),
        "n" | "no" | "off" => return Some("false"),
        _ => {}
    }
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let octal = unsigned.len() > 1 && unsigned.starts_with('0') && digits(unsigned);
    let sexagesimal = unsigned.split(':').count() > 1 && unsigned.split(':').all(digits);
    let grouped = unsigned.contains('_')
        && unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if octal {
        return Some("an octal number");
    }
    (sexagesimal || grouped).then_some("a number")
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_all};
    use crate::policy::tree::{Position, Value};

    #[test]
    fn scalars_mean_what_yaml_1_2_says() {
        let yaml = parse("a: NO\nb: 0x1f\nc: 1e3\nd: '1'\ne: ~\nf: True\ng: -.5\nh: 1.2.3\n").unwrap();
        let value = |key: &str| yaml.node.get(key).unwrap().value.clone();
        assert_eq!(value("a"), Value::Text("NO".into()));
        assert_eq!(value("b"), Value::Number(31.0));
        assert_eq!(value("c"), Value::Number(1000.0));
        assert_eq!(value("d"), Value::Text("1".into()));
        assert_eq!(value("e"), Value::Null);
        assert_eq!(value("f"), Value::Bool(true));
        assert_eq!(value("g"), Value::Number(-0.5));
        assert_eq!(value("h"), Value::Text("1.2.3".into()));
    }

    #[test]
    fn what_kubectl_would_read_differently_is_warned_of_at_its_place() {
        let yaml = parse("countries: [DE, NO]\nmode: 'off'\nzone: 012\n").unwrap();
        let places: Vec<_> = yaml.warnings.iter().map(|w| (w.found.as_str(), w.at.unwrap().line)).collect();
        assert_eq!(places, [("NO", 1), ("012", 3)]);
    }

    #[test]
    fn a_value_stands_where_it_begins() {
        let yaml = parse("a:\n  - b: 1\n    c: x\n").unwrap();
        let c = yaml.node.get("a").unwrap().items()[0].entry("c").unwrap().clone();
        assert_eq!((c.at, c.node.at), (Position { line: 3, column: 5 }, Position { line: 3, column: 8 }));
    }

    #[test]
    fn everything_refused_is_refused_at_once() {
        let errors = parse("a: &x 1\nb: *x\nc: !!str 1\nd: 1\nd: 2\ne: .inf\n").unwrap_err();
        let codes: Vec<_> = errors.iter().map(|e| (e.code, e.at.unwrap().line)).collect();
        assert_eq!(codes, [("BTH0007", 1), ("BTH0007", 2), ("BTH0007", 3), ("BTH0005", 5), ("BTH0006", 6)]);
    }

    #[test]
    fn broken_syntax_deep_nesting_and_a_second_document_are_refused() {
        for (text, code) in
            [("a: [1", "BTH0003"), ("a: 1\n---\nb: 1", "BTH0007"), ("", "BTH0003"), (&"[".repeat(100), "BTH0004")]
        {
            assert_eq!(parse(text).unwrap_err().last().unwrap().code, code, "{text:.20}");
        }
        assert_eq!(parse_all("a: 1\n---\nb: 1").unwrap().0.len(), 2);
    }
}
