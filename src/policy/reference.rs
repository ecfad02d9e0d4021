//! The reference of the policy document, written from the schema and the table of codes.

use super::{
    codes, describe,
    source::{Field, Need, Shape},
};
use std::fmt::Write;

/// The reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# The policy document\n\nWritten from the schema (`berth schema`); do not edit. A field without a default that is not marked\n\
         as required may be left out; its explanation says what holds then. Names are `[a-z][a-z0-9-]{0,62}`; numbers\n\
         are exact decimals, refused where they are finer than their unit.\n",
    );
    let _ = writeln!(out, "\n## Fields\n");
    fields(&mut out, &describe::policy(), "");
    let _ = writeln!(out, "\n## Codes\n");
    for (code, meaning, fix) in codes::TABLE {
        let _ =
            writeln!(out, "### {} {}\n\n{}. {meaning} {fix}\n", code.id, code.slug, capital(code.severity.as_str()));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

fn fields(out: &mut String, shape: &Shape, path: &str) {
    for field in shape.fields() {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        let _ = writeln!(out, "- {}", line(field, &path));
        // A condition looks the same wherever it stands: once is enough.
        if path.starts_with("classes.match.") && path.matches('.').count() > 1 || path.starts_with("rollout.only.") {
            continue;
        }
        fields(out, &field.shape, &path);
    }
}

/// One field in one line.
#[must_use]
pub fn line(field: &Field, path: &str) -> String {
    let need = match &field.need {
        Need::Required => String::from(" Required."),
        Need::Optional => String::new(),
        Need::Default(value) => format!(" Default: `{value}`."),
    };
    format!("`{path}` ({}): {}{need}", field.shape.words(), field.doc)
}

/// The field at a path such as `substrates.cost`, with the fields below it; `None` if there is none.
#[must_use]
pub fn explain(path: &str) -> Option<String> {
    let mut shape = describe::policy();
    let mut last = None;
    for step in path.split('.') {
        let field = shape.fields().iter().find(|f| f.name == step).cloned()?;
        shape = field.shape.clone();
        last = Some(field);
    }
    let mut out = line(&last?, path);
    out.push('\n');
    for field in shape.fields() {
        let _ = writeln!(out, "  {}", line(field, field.name));
    }
    Some(out)
}
