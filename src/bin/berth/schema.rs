//! `berth schema`: the schema for editors, a field for people, the reference for the documentation.

use berth::manifest::deployment;
use berth::policy::{describe, error::nearest, reference};
use std::process::ExitCode;

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A field, such as `substrates.cost`; without it, the JSON Schema.
    field: Option<String>,
    /// The whole reference as Markdown: fields, then codes.
    #[arg(long, conflicts_with = "field")]
    reference: bool,
    /// The deployment file's fields, as Markdown.
    #[arg(long, conflicts_with_all = ["field", "reference"])]
    deployment: bool,
}

/// Prints it.
pub(crate) fn run(args: &Args) -> ExitCode {
    if args.reference {
        crate::say(&reference::reference());
        return ExitCode::SUCCESS;
    }
    if args.deployment {
        crate::say(&reference::fields_of(&describe::describe(deployment::deployment)));
        return ExitCode::SUCCESS;
    }
    let Some(path) = &args.field else {
        let schema = describe::policy().schema();
        let head = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"Berth policy","#;
        crate::say(&pretty(&format!("{head}{}", schema.strip_prefix('{').unwrap_or(&schema))));
        return ExitCode::SUCCESS;
    };
    match reference::explain(path) {
        Some(text) => {
            crate::say(&text);
            ExitCode::SUCCESS
        }
        None => {
            let shape = describe::policy();
            let near = nearest(path, shape.fields().iter().map(|f| f.name));
            crate::misused(&format!("no field `{path}`{}", near.map_or_else(String::new, |n| format!("; try `{n}`"))))
        }
    }
}

/// JSON for people and for diffs: a line a field, in the order in which the schema says them, which a map of a JSON
/// library would lose.
fn pretty(json: &str) -> String {
    let (mut out, mut deep, mut in_text, mut escaped) = (String::with_capacity(json.len() * 2), 0_usize, false, false);
    let line = |out: &mut String, deep: usize| out.extend(std::iter::once('\n').chain(" ".repeat(deep * 2).chars()));
    let mut next = json.chars().peekable();
    while let Some(c) = next.next() {
        if in_text {
            out.push(c);
            (in_text, escaped) = (escaped || c != '"', c == '\\' && !escaped);
            continue;
        }
        match c {
            '{' | '[' if matches!(next.peek(), Some('}' | ']')) => {
                out.push(c);
                out.extend(next.next());
            }
            '{' | '[' => {
                deep += 1;
                out.push(c);
                line(&mut out, deep);
            }
            '}' | ']' => {
                deep = deep.saturating_sub(1);
                line(&mut out, deep);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, deep);
            }
            ':' => out.push_str(": "),
            _ => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn a_schema_is_printed_a_line_a_field_and_means_the_same() {
        let json = r#"{"b":{"x":[1,2],"text":"a, \"b\": {c}"},"a":{},"l":[]}"#;
        let printed = pretty(json);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&printed), value(json));
        assert_eq!(printed.lines().count(), 11);
        assert!(printed.starts_with("{\n  \"b\": {\n    \"x\": [\n"));
    }
}
