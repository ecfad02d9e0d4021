//! `berth trim`: makes the two files that proxies load of the one module that was linked. Called by the build only.

use std::{error::Error, fs, path::Path};

use berth::manifest::module::{Cut, cut};

/// Where to read from and write to.
#[derive(clap::Args)]
pub(crate) struct Trim {
    /// The module as it was linked.
    module: std::path::PathBuf,
    /// Where to write the file with both roles.
    #[arg(long)]
    full: std::path::PathBuf,
    /// Where to write the file for a placement filter that looks at headers only.
    #[arg(long)]
    placement: std::path::PathBuf,
}

impl Trim {
    /// Reads the module once, writes both files.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let linked = fs::read(&self.module).map_err(|error| format!("{}: {error}", self.module.display()))?;
        let write = |path: &Path, which: Cut| -> Result<(), Box<dyn Error>> {
            let bytes = cut(&linked, which).map_err(|error| format!("{}: {error}", self.module.display()))?;
            Ok(fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))?)
        };
        write(&self.full, Cut::Full)?;
        write(&self.placement, Cut::Placement)
    }
}
