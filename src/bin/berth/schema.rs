//! `berth schema`: the schema for editors, a field for people, the reference for the documentation.

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
}

/// Prints it.
pub(crate) fn run(args: &Args) -> ExitCode {
    if args.reference {
        crate::say(&reference::reference());
        return ExitCode::SUCCESS;
    }
    let Some(path) = &args.field else {
        let schema = describe::policy().schema();
        let head = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"Berth policy","#;
        crate::say(&format!("{head}{}\n", schema.strip_prefix('{').unwrap_or(&schema)));
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
