//! The native tool: the same core as the filter, at a terminal. Exit codes: 0 well, 1 found something, 2 used wrongly.
// Cargo builds every program beside a test; in WebAssembly, where the core is tested too, this one is empty.
#![cfg_attr(target_family = "wasm", no_main)]
#![cfg(not(target_family = "wasm"))]

mod bom;
mod check;
mod diff;
mod doctor;
mod explain;
mod fmt;
mod input;
mod layout;
mod lines;
mod log;
mod narrow;
mod pack;
mod render;
mod replay;
mod schema;
mod simulate;
mod snapshot;
mod table;
mod test;
mod trim;

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
    /// Explain one request: every candidate, every reason, every term.
    Explain(explain::Args),
    /// Write a global policy under a local override out as a policy of its own.
    Narrow(narrow::Args),
    /// Make every logged decision again, and say whether the same comes out.
    Replay(replay::Args),
    /// Render what proxies and meshes load, from a policy and a deployment file.
    Render(render::Args),
    /// What a new policy changes, and which logged requests would move.
    Diff(diff::Args),
    /// Ask running proxies what they are, and say what is wrong with them.
    Doctor(doctor::Args),
    /// Sum an access log up: where work went, what bound, what spilled, what was refused.
    Log(log::Args),
    /// Print the JSON Schema, or explain a field such as `substrates.cost`.
    Schema(schema::Args),
    /// Format policies; comments stay.
    Fmt(fmt::Args),
    /// Simulate scenarios: what routers that look at one thing only cost, and what ours does.
    Simulate(simulate::Args),
    /// Print, validate and convert a snapshot of the substrates' health.
    Snapshot(snapshot::Args),
    /// Run the cases that stand beside policies, and say what none of them reaches.
    Test(test::Args),
    /// Say what the module is made of.
    #[command(hide = true)]
    Bom(bom::Args),
    /// Make images of a module, as folders.
    #[command(hide = true)]
    Pack(pack::Args),
    /// Make the files that proxies load of the module that was linked.
    #[command(hide = true)]
    Trim(trim::Args),
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Check(args) => check::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Narrow(args) => narrow::run(&args),
        Verb::Render(args) => render::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Log(args) => log::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Fmt(args) => fmt::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Snapshot(args) => snapshot::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Bom(args) => bom::run(&args),
        Verb::Pack(args) => pack::run(&args),
        Verb::Trim(args) => trim::run(&args),
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
