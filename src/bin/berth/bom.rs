//! `berth bom`: what the module is made of, for `make oci`. Reads `cargo metadata` from standard input.

use berth::manifest::bom;
use serde_json::Value;
use std::io::Read as _;
use std::path::PathBuf;
use std::{fs, process::ExitCode};

/// What Cargo knows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lock file.
    #[arg(default_value = "Cargo.lock")]
    lock: PathBuf,
    /// What made the module: a line for each tool, its name and its version.
    #[arg(long, value_name = "TOOLS", default_value = "")]
    made_with: String,
}

/// Prints it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut text = String::new();
    if let Err(e) = std::io::stdin().read_to_string(&mut text) {
        return crate::misused(&format!("standard input: {e}"));
    }
    let made = serde_json::from_str::<Value>(&text)
        .map_err(|e| format!("standard input: found {e}, expected the output of cargo metadata"))
        .and_then(|metadata| {
            let lock = fs::read_to_string(&args.lock).map_err(|e| format!("{}: {e}", args.lock.display()))?;
            bom::of(&metadata, &lock, &args.made_with)
        });
    match made.map(|bom| serde_json::to_string_pretty(&bom).unwrap_or_default()) {
        Ok(text) => {
            crate::say(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Err(why) => crate::misused(&why),
    }
}
