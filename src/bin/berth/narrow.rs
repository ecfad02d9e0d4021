//! `berth narrow`: a global policy under a local override, written out as a policy of its own.

use crate::{check::excerpt, fmt, input};
use berth::{
    manifest::yaml::{self as writer, Notes},
    policy::{InvalidPolicy, canonical::canonical, layered::layer, yaml},
};
use std::{fs, path::PathBuf, process::ExitCode};

/// What is narrowed, and by what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The global policy.
    policy: String,
    /// The local override.
    overrides: String,
    /// Where to write it; without it, it is printed.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Narrows: 1 if the override would widen anything or is wrong otherwise.
pub(crate) fn run(args: &Args) -> ExitCode {
    let text = match narrowed(args) {
        Ok(Ok(text)) => text,
        Ok(Err(found)) => {
            crate::say(&found);
            return ExitCode::from(1);
        }
        Err(why) => return crate::misused(&why),
    };
    match &args.output {
        None => crate::say(&text),
        Some(file) => {
            if let Err(e) = fs::write(file, text) {
                return crate::misused(&format!("{}: {e}", file.display()));
            }
        }
    }
    ExitCode::SUCCESS
}

/// The narrowed policy as YAML, or everything that is wrong; or why there is nothing to narrow.
fn narrowed(args: &Args) -> Result<Result<String, String>, String> {
    let read = |file: &str| fs::read_to_string(file).map_err(|e| format!("{file}: {e}"));
    let (global, local) = (read(&args.policy)?, read(&args.overrides)?);
    let wrong = |file: &str, text: &str, found: &[InvalidPolicy]| -> String {
        found.iter().map(|problem| excerpt(file, text, problem)).collect()
    };
    let policies = match input::policies(&args.policy, &global) {
        Ok(policies) => policies,
        Err(found) => return Ok(Err(wrong(&args.policy, &global, &found))),
    };
    let [policy] = policies.as_slice() else {
        return Err(format!("{}: holds {} policies, expected one", args.policy, policies.len()));
    };
    if let Err(found) = &policy.result {
        return Ok(Err(wrong(&args.policy, &global, found)));
    }
    let layers = yaml::parse(&local).and_then(|parsed| layer(&policy.node, &parsed.node));
    let (node, checked) = match layers {
        Ok(layers) => layers,
        Err(found) => return Ok(Err(wrong(&args.overrides, &local, &found))),
    };
    let value = serde_json::from_str(&canonical(&node)).map_err(|e| e.to_string())?;
    let head = format!("# {}, narrowed by {}: made by `berth narrow`.\n", args.policy, args.overrides);
    let text = fmt::formatted(&writer::write(&value, Notes::default()))?;
    // What was made is read once more, as everybody else will.
    match berth::policy::read_yaml(&text) {
        Ok(again) if again.document == checked.document => Ok(Ok(head + &text)),
        _ => Err(format!("{}: what was narrowed does not read the same", args.policy)),
    }
}
