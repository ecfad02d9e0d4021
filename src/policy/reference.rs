//! The reference of the policy document, written from the schema and the table of codes.

use super::{
    codes, describe,
    raw::{self, overrides::overrides},
    source::{Field, Need, Shape},
};
use std::fmt::Write;

/// The reference as Markdown: fields, then codes.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from("## Fields\n");
    let mut known = Vec::new();
    for field in describe::policy().fields() {
        let _ = writeln!(out, "\n### `{}`\n\n- {}", field.name, line(field, field.name));
        fields(&mut out, &field.shape, field.name, &mut known);
    }
    let _ = writeln!(out, "\n## Fields of a local override\n");
    fields(&mut out, &describe::describe(|s| overrides(s, &[])), "", &mut known);
    let _ = writeln!(out, "\n## Fields of a file of cases\n");
    fields(&mut out, &describe::describe(raw::cases::cases), "", &mut known);
    let _ = writeln!(out, "\n## Codes\n");
    for (code, meaning, fix) in codes::TABLE {
        let _ =
            writeln!(out, "### {} {}\n\n{}. {meaning} {fix}\n", code.id, code.slug, capital(code.severity.as_str()));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The fields of any document that is described by a walk, a line each.
#[must_use]
pub fn fields_of(shape: &Shape) -> String {
    let mut out = String::new();
    fields(&mut out, shape, "", &mut Vec::new());
    out
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// The fields below a field. A condition is the same wherever it stands: it is described once.
fn fields(out: &mut String, shape: &Shape, path: &str, known: &mut Vec<&'static str>) {
    if let Shape::Named(name, _) = shape {
        if known.contains(name) {
            return;
        }
        known.push(name);
    }
    if matches!(shape, Shape::Either(_)) {
        return;
    }
    for field in shape.fields() {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        let _ = writeln!(out, "- {}", line(field, &path));
        fields(out, &field.shape, &path, known);
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
