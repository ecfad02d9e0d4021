//! The native tool: the same core as the filter, at a terminal. Exit codes: 0 well, 1 found something, 2 used wrongly.

mod check;
mod fmt;
mod input;
mod layout;
mod schema;

use clap::{Parser, Subcommand};
use std::{io::Write, process::ExitCode};

/// Checks, explains and formats placement policies.
#[derive(Debug, Parser)]
#[command(name = "berth", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Check policies, or the manifests that embed them; every mistake at once.
    Check(check::Args),
    /// Print the JSON Schema, or explain a field such as `substrates.cost`.
    Schema(schema::Args),
    /// Format policies; comments stay.
    Fmt(fmt::Args),
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Check(args) => check::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Fmt(args) => fmt::run(&args),
    }
}

/// Prints; a reader that has gone away is no reason to panic.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// It was used wrongly: says how.
fn misused(why: &str) -> ExitCode {
    eprintln!("berth: {why}");
    ExitCode::from(2)
}
