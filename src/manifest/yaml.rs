//! Writes documents for people and for diffs: the same bytes for the same value, what names a thing first, and a word
//! of why beside what would otherwise have to be looked up.

use serde_json::{Map, Value};

/// Fields that say what a thing is stand before those that say how it is; the rest is in alphabetical order.
const FIRST: [&str; 13] = [
    "@type",
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "role",
    "applyTo",
    "operation",
    "match",
    "prefix",
    "address",
    "listeners",
];
/// A line does not become longer than this by writing a map or list into it.
const WIDTH: usize = 118;

/// What is written besides the fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes<'a> {
    /// A comment before the first field of that name.
    pub comments: &'a [(&'a str, &'a str)],
    /// By the text that stands in its place: YAML that is put in as it is, so that its own comments stay, and a comment
    /// before the first of them.
    pub texts: &'a [(&'a str, &'a str, &'a str)],
}

/// A value as a document.
#[must_use]
pub fn write(value: &Value, notes: Notes<'_>) -> String {
    let mut writer = Writer { out: String::new(), notes, said: vec![false; notes.comments.len()], put_in: false };
    match value {
        Value::Object(map) if !map.is_empty() => writer.map(map, 0),
        Value::Array(items) if !items.is_empty() => writer.list(items, 0),
        scalar => writer.out.push_str(&(flow(scalar) + "\n")),
    }
    writer.out
}

struct Writer<'a> {
    out: String,
    notes: Notes<'a>,
    said: Vec<bool>,
    put_in: bool,
}

impl<'a> Writer<'a> {
    fn map(&mut self, map: &Map<String, Value>, indent: usize) {
        for (i, (key, value)) in ordered(map).into_iter().enumerate() {
            // The first field of an item stands behind its hyphen.
            let behind = i == 0 && self.out.ends_with("- ");
            if !behind {
                self.comment(key, indent);
                self.introduce(value, indent);
                self.pad(indent);
            }
            self.out.push_str(&text(key));
            self.out.push(':');
            self.value(value, indent, indent + key.len() + 1);
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for item in items {
            self.pad(indent);
            self.out.push_str("- ");
            match item {
                Value::Object(map) if !fits(item, indent + 2) => self.map(map, indent + 2),
                other => self.out.push_str(&(flow(other) + "\n")),
            }
        }
    }

    fn value(&mut self, value: &Value, indent: usize, column: usize) {
        if let Some((_, _, yaml)) = self.put_in(value) {
            self.out.push('\n');
            self.insert(yaml, indent + 2);
            return;
        }
        match value {
            Value::String(lines) if in_lines(lines) => {
                self.out.push_str(if lines.ends_with('\n') { " |\n" } else { " |-\n" });
                self.insert(lines, indent + 2);
            }
            Value::Object(map) if map.len() > 1 && map.values().all(|v| *v == serde_json::json!({})) => {
                self.set(map, indent + 2);
            }
            Value::Object(map) if !map.is_empty() && !fits(value, column + 1) => {
                self.out.push('\n');
                self.map(map, indent + 2);
            }
            Value::Array(items) if !items.is_empty() && !fits(value, column + 1) => {
                self.out.push('\n');
                self.list(items, indent);
            }
            short => self.out.push_str(&format!(" {}\n", flow(short))),
        }
    }

    /// Names with nothing behind them: as many in a line as fit.
    fn set(&mut self, names: &Map<String, Value>, indent: usize) {
        let mut line = String::from(" {");
        for (i, name) in names.keys().enumerate() {
            let last = i + 1 == names.len();
            let next = format!("{}: {{}}{}", text(name), if last { "}" } else { ", " });
            if indent + line.len() + next.len() > WIDTH {
                self.out.push_str(line.trim_end());
                self.out.push('\n');
                self.pad(indent);
                line.clear();
            }
            line.push_str(&next);
        }
        self.out.push_str(&line);
        self.out.push('\n');
    }

    fn insert(&mut self, lines: &str, indent: usize) {
        for line in lines.lines() {
            if !line.is_empty() {
                self.pad(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    fn put_in(&self, value: &Value) -> Option<&'a (&'a str, &'a str, &'a str)> {
        self.notes.texts.iter().find(|(mark, ..)| value.as_str() == Some(mark))
    }

    /// The comment before the first text that is put in.
    fn introduce(&mut self, value: &Value, indent: usize) {
        if let (false, Some((_, comment, _))) = (self.put_in, self.put_in(value)) {
            let line = format!("# {comment}\n");
            self.put_in = true;
            self.pad(indent);
            self.out.push_str(&line);
        }
    }

    fn comment(&mut self, key: &str, indent: usize) {
        let found = self.notes.comments.iter().zip(&mut self.said).find(|((name, _), said)| *name == key && !**said);
        if let Some(((_, comment), said)) = found {
            *said = true;
            for line in comment.lines() {
                self.pad(indent);
                self.out.push_str(&format!("# {line}\n"));
            }
        }
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}

fn ordered(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = map.iter().collect();
    fields.sort_by_key(|(key, _)| (FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()), *key));
    fields
}

/// Whether a map or list of scalars, or of little else, is read more easily in one line.
fn fits(value: &Value, column: usize) -> bool {
    depth(value) <= 2 && !mentions_lines(value) && column + flow(value).len() <= WIDTH
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Texts of several lines, and marks that stand for one, cannot be written into a line.
fn mentions_lines(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(mentions_lines),
        Value::Object(map) => map.values().any(mentions_lines),
        Value::String(text) => text.contains(odd),
        _ => false,
    }
}

/// Whether a text can stand as lines of its own and be read back as it is.
fn in_lines(text: &str) -> bool {
    let first = text.lines().find(|line| !line.is_empty());
    text.contains('\n')
        && first.is_some_and(|line| !line.starts_with(' '))
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || !odd(c))
}

/// What no reader of YAML has to take as it stands.
fn odd(c: char) -> bool {
    c.is_control() || ['\u{2028}', '\u{2029}', '\u{feff}'].contains(&c)
}

/// A text in double quotes: JSON with everything odd by its number.
fn quoted(text: &str) -> String {
    let number = |c: char| if c > '~' && odd(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Value::from(text).to_string().chars().map(number).collect()
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let fields: Vec<String> =
                ordered(map).into_iter().map(|(key, value)| format!("{}: {}", text(key), flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text, in quotes unless every reader of YAML, old or new, takes it for the text that it is.
fn text(value: &str) -> String {
    let begins = value.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let word = matches!(
        value.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "inf" | "nan"
    );
    if begins && value.chars().all(plain) && !word {
        value.to_owned()
    } else if value.contains(odd) {
        quoted(value)
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::yaml;
    use serde_json::json;

    #[test]
    fn what_names_a_thing_stands_first_and_short_things_stand_in_a_line() {
        let value = json!({"b": {"z": 1, "name": "x"}, "name": "thing", "a": [{"deep": {"er": {"than": "a line"}}, "name": "one"}]});
        assert_eq!(
            write(&value, Notes { comments: &[("b", "why b")], texts: &[] }),
            "name: thing\na:\n- name: one\n  deep: {er: {than: 'a line'}}\n# why b\nb: {name: x, z: 1}\n"
        );
    }

    #[test]
    fn a_text_in_yaml_is_put_in_with_its_comments() {
        let value = json!({"policy": "\u{1}policy", "role": "placement"});
        let notes = Notes { comments: &[], texts: &[("\u{1}policy", "as written", "# ours\na: 1\n\nb: [2]\n")] };
        assert_eq!(write(&value, notes), "role: placement\n# as written\npolicy:\n  # ours\n  a: 1\n\n  b: [2]\n");
    }

    #[test]
    fn every_text_is_read_back_as_the_text_that_it_is() {
        for odd in [
            "no",
            "NO",
            "1.5",
            "",
            "a: b",
            "- a",
            "#",
            "'",
            "x\ny\n",
            "x\ny",
            " pad",
            "null",
            "%A(B)%",
            "é",
            "12:30:00",
            "0x1f",
            "~",
            "@a",
            "{}",
            "|",
            " two\n lines",
            "\n  led",
            "x\n\n",
            "\n",
            "a\tb\n",
            "x\r\ny",
            "\u{85}x\n",
            "\u{7f}",
            "\u{2028}a\nb",
            "\u{feff}",
            "a\n \nb",
            "---\nx",
            "...\n",
        ] {
            let value = json!({"first": {"key": odd}, "list": [odd.replace('\n', "\t")], odd.replace('\n', " "): 1});
            let text = write(&value, Notes::default());
            let read = yaml::parse(&text).unwrap_or_else(|e| panic!("{odd:?}: {e:?}\n{text}"));
            assert!(read.warnings.is_empty(), "{odd:?}: {:?}", read.warnings);
            assert_eq!(read.node.get("first").unwrap().get("key").unwrap().text(), Some(odd), "{text}");
            assert_eq!(read.node.get("list").unwrap().items()[0].text(), Some(odd.replace('\n', "\t").as_str()));
        }
    }
}
