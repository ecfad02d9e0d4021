//! Writes a located document as JSON for people: in its own order, short things in a line. Envoy takes decimals in its
//! YAML files for text, so a plugin configuration in such a file is a text in JSON.

use crate::policy::{
    decimal::es6,
    tree::{Entry, Node, Position, Value},
};
use serde_json::Value as Json;

const WIDTH: usize = 110;

/// The document as JSON, ending with a line's end.
#[must_use]
pub fn write(node: &Node) -> String {
    let mut out = String::new();
    lay(node, 0, 0, &mut out);
    out.push('\n');
    out
}

/// A value as a document without places; `instead` stands where the text `mark` does.
#[must_use]
pub fn with(value: &Json, mark: &str, instead: &Node) -> Node {
    let inner = |value: &Json| with(value, mark, instead);
    let value = match value {
        Json::String(text) if text == mark => return instead.clone(),
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(0.0)),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(inner).collect()),
        Json::Object(map) => {
            let entry = |(key, value)| Entry { key: String::clone(key), at: Position::default(), node: inner(value) };
            let mut entries: Vec<_> = map.iter().map(entry).collect();
            // The role says what the rest is about; the policy is the longest.
            entries.sort_by_key(|entry| (entry.key == "policy", entry.key != "role"));
            Value::Map(entries)
        }
    };
    Node { value, at: Position::default() }
}

fn lay(node: &Node, indent: usize, column: usize, out: &mut String) {
    let line = flow(node);
    if column + line.len() <= WIDTH || !matches!(node.value, Value::List(_) | Value::Map(_)) {
        out.push_str(&line);
        return;
    }
    let deeper = indent + 2;
    let pad =
        |out: &mut String, indent: usize| out.extend(std::iter::once('\n').chain(std::iter::repeat_n(' ', indent)));
    match &node.value {
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                pad(out, deeper);
                lay(item, deeper, deeper, out);
            }
            pad(out, indent);
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (i, entry) in entries.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                pad(out, deeper);
                let key = format!("{}: ", text(&entry.key));
                out.push_str(&key);
                lay(&entry.node, deeper, deeper + key.len(), out);
            }
            pad(out, indent);
            out.push('}');
        }
        _ => {}
    }
}

fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => es6(*number),
        Value::Text(value) => text(value),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let fields: Vec<String> = entries.iter().map(|e| format!("{}: {}", text(&e.key), flow(&e.node))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn text(value: &str) -> String {
    Json::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{canonical::canonical, json, yaml};

    #[test]
    fn what_is_written_means_the_same_and_keeps_its_order() {
        let source = include_str!("../../policies/agentic-production.yaml");
        let node = yaml::parse(source).unwrap().node;
        let written = write(&node);
        assert_eq!(canonical(&json::parse(written.as_bytes()).unwrap()), canonical(&node));
        let at = |key: &str| written.find(&format!("\n  \"{key}\": ")).unwrap();
        assert!(at("policy") < at("substrates") && at("substrates") < at("classes"));
        assert!(written.lines().all(|line| line.chars().count() < 400), "long things are broken up");
    }

    #[test]
    fn the_policy_stands_last_in_the_place_of_its_mark() {
        let policy = yaml::parse("berth: 1\n").unwrap().node;
        let config = serde_json::json!({"attach": "full", "policy": "!", "role": "placement"});
        assert_eq!(
            write(&with(&config, "!", &policy)),
            "{\"role\": \"placement\", \"attach\": \"full\", \"policy\": {\"berth\": 1}}\n"
        );
    }
}
