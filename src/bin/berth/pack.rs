//! `berth pack`: images of the module as folders, for `make oci`.

use berth::manifest::oci::{Format, digest, layout};
use std::path::{Path, PathBuf};
use std::{fs, process::ExitCode};

/// What to pack.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The module.
    module: PathBuf,
    /// The folder for both images: `container` and `artifact` in it.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
}

/// Packs.
pub(crate) fn run(args: &Args) -> ExitCode {
    let module = match fs::read(&args.module) {
        Ok(module) => module,
        Err(e) => return crate::misused(&format!("{}: {e}", args.module.display())),
    };
    for (name, format) in [("container", Format::Container), ("artifact", Format::Artifact)] {
        let folder = args.output.join(name);
        let files = layout(&module, env!("CARGO_PKG_VERSION"), format);
        for (path, bytes) in &files {
            if let Err(e) = write(&folder.join(path), bytes) {
                return crate::misused(&format!("{}: {e}", folder.join(path).display()));
            }
        }
        crate::say(&format!("{}  sha256:{}\n", folder.display(), digest(&files)));
    }
    ExitCode::SUCCESS
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, bytes)
}
