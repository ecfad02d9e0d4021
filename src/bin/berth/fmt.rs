//! `berth fmt`: the fields in the order of the schema, two spaces a level, comments where they belong. What was
//! written must be what is read afterwards, and no comment may be lost: both are checked, and a file that would
//! fail is left alone.

use crate::layout;
use berth::policy::{Digest, yaml};
use std::{fs, process::ExitCode};

/// What to format.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Policies in YAML.
    #[arg(required = true)]
    files: Vec<String>,
    /// Only say which files would change; the exit code is 1 if there are any.
    #[arg(long)]
    check: bool,
}

/// Formats all files.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut code = 0;
    for file in &args.files {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(e) => return crate::misused(&format!("{file}: {e}")),
        };
        // JSON keeps no order of its own that people would read, and a name that ends so is read as JSON.
        let formatted = if file.ends_with(".json") {
            Err(String::from("JSON; only policies in YAML have a layout"))
        } else {
            formatted(&text)
        };
        match formatted {
            Err(why) => {
                crate::say(&format!("{file}: left alone: {why}\n"));
                code = 1;
            }
            Ok(new) if new == text => {}
            Ok(_) if args.check => {
                crate::say(&format!("{file}: would change\n"));
                code = 1;
            }
            Ok(new) => match fs::write(file, new) {
                Ok(()) => crate::say(&format!("{file}: formatted\n")),
                Err(e) => return crate::misused(&format!("{file}: {e}")),
            },
        }
    }
    ExitCode::from(code)
}

/// The text, formatted.
pub(crate) fn formatted(text: &str) -> Result<String, String> {
    let parsed =
        |text: &str| yaml::parse(text).map_err(|errors| errors.first().map_or_else(String::new, ToString::to_string));
    let before = parsed(text)?;
    if before.node.get("berth").is_none() {
        return Err(String::from("no policy, no override and no cases: these begin with `berth:`"));
    }
    let new = layout::lay_out(text, &before.node);
    let after = parsed(&new).map_err(|why| format!("formatting would break it ({why})"))?;
    if Digest::of(&before.node) != Digest::of(&after.node) {
        return Err(String::from("formatting would change what it says"));
    }
    if layout::comments(text) != layout::comments(&new) {
        return Err(String::from("a comment stands where it could not be kept; move it above a field"));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::formatted;

    #[test]
    fn fields_come_in_the_order_of_the_schema_and_comments_come_along() {
        let text = "# the head\n\npolicy:   {owner: me,   name: x, version: 1}   # whose\nberth: 1\n\n\n# places\nsubstrates:\n# the first\n- kind: gpu # what\n  name: a\n  capacity: {concurrency: 0.50}\n# the end\n";
        let expected = "berth: 1\n# the head\n\npolicy: {name: x, version: 1, owner: me}  # whose\n\n# places\nsubstrates:\n  # the first\n  - name: a\n    kind: gpu  # what\n    capacity: {concurrency: 0.50}\n# the end\n";
        assert_eq!(formatted(text).unwrap(), expected);
        assert_eq!(formatted(expected).unwrap(), expected);
    }

    #[test]
    fn a_comment_that_could_not_be_kept_stops_the_formatting() {
        let text = "policy: {name: x,\n  # the version\n  version: 1}\nberth: 1\n";
        assert!(formatted(text).unwrap_err().contains("comment"));
    }

    #[test]
    fn text_keeps_its_quotes_and_a_hash_in_it_is_no_comment() {
        let text = "berth: 1\npolicy: {name: \"1\", owner: \"a # b\"}\nother: it's # a comment\n";
        let expected = "berth: 1\npolicy: {name: \"1\", owner: \"a # b\"}\nother: it's  # a comment\n";
        assert_eq!(formatted(text).unwrap(), expected);
    }

    #[test]
    fn what_is_none_of_ours_is_left_alone() {
        assert!(formatted("hello").unwrap_err().contains("no policy"));
        assert!(formatted("kind: ConfigMap\n").is_err());
    }
}
