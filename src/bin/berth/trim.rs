//! `berth trim`: makes the two files that proxies load of the one module that was linked. Called by the build only.

use crate::misused;
use berth::manifest::module::{Cut, cut};
use std::{fs, path::PathBuf, process::ExitCode};

/// Where to read from and write to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The module as it was linked.
    module: PathBuf,
    /// Where to write the file with both roles.
    #[arg(long)]
    full: Option<PathBuf>,
    /// Where to write the file for a placement filter that looks at headers only.
    #[arg(long)]
    placement: Option<PathBuf>,
}

/// Reads the module once, writes the files that are asked for.
pub(crate) fn run(args: &Args) -> ExitCode {
    let linked = match fs::read(&args.module) {
        Ok(linked) => linked,
        Err(error) => return misused(&format!("{}: {error}", args.module.display())),
    };
    for (path, which) in [(&args.full, Cut::Full), (&args.placement, Cut::Placement)] {
        let Some(path) = path else { continue };
        let bytes = match cut(&linked, which) {
            Ok(bytes) => bytes,
            Err(error) => return misused(&format!("{}: {error}", args.module.display())),
        };
        if let Err(error) = fs::write(path, bytes) {
            return misused(&format!("{}: {error}", path.display()));
        }
    }
    ExitCode::SUCCESS
}
