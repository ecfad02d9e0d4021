//! `berth diff`: what a new policy changes in meaning, and which of yesterday's requests would move.

mod html;
mod meaning;
mod moves;
mod show;

use crate::lines;
use berth::policy::Policy;
use meaning::Change;
use moves::Moves;
use std::{fs, process::ExitCode};

/// Which policies, over which log, and how to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The policy that holds, or a manifest that embeds it.
    old: String,
    /// The policy that is to hold; by default the candidate in the same manifest.
    new: Option<String>,
    /// An access log with replay records; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    log: Option<String>,
    /// A folder of the snapshots that decided; without one of them both policies decide from declared values.
    #[arg(long, value_name = "DIR", requires = "log")]
    snapshots: Option<String>,
    /// Also writes a page with plots.
    #[arg(long, value_name = "FILE", requires = "log")]
    html: Option<String>,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Everything that was found.
struct Report {
    old: Policy,
    new: Policy,
    changes: Vec<Change>,
    moves: Option<Moves>,
}

/// Compares: 0 if nothing changes, 1 if something does.
pub(crate) fn run(args: &Args) -> ExitCode {
    match compare(args) {
        Ok(report) => {
            crate::say(&match args.format {
                Format::Text => show::text(&report),
                Format::Json => format!("{:#}\n", show::json(&report)),
            });
            let moved = report.moves.as_ref().is_some_and(|m| m.moved > 0);
            ExitCode::from(u8::from(moved || !report.changes.is_empty()))
        }
        Err(why) => crate::misused(&why),
    }
}

fn compare(args: &Args) -> Result<Report, String> {
    let (old, candidate) = lines::policy(&args.old)?;
    let new = match &args.new {
        Some(file) => lines::policy(file)?.0,
        None => candidate.ok_or_else(|| format!("{}: holds no candidate, expected NEW", args.old))?,
    };
    let changes = meaning::changes(&old, &new);
    let (old, new) = (old.policy, new.policy);
    let moves = match &args.log {
        Some(log) => {
            let snapshots = args.snapshots.as_deref().map(lines::snapshots).transpose()?.unwrap_or_default();
            let mut moves = Moves::default();
            lines::each(log, |logged| moves.add(&logged, &old, &new, &snapshots))?;
            Some(moves)
        }
        None => None,
    };
    let report = Report { old, new, changes, moves };
    if let (Some(file), Some(moves)) = (&args.html, &report.moves) {
        fs::write(file, html::page(&report, moves)).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(report)
}
