//! The native tool: the same core as the filter, at a terminal.
// Cargo builds every program beside a test; in WebAssembly, where the core is tested too, this one is empty.
#![cfg_attr(target_family = "wasm", no_main)]
#![cfg(not(target_family = "wasm"))]

mod trim;

use std::{error::Error, process::ExitCode};

use clap::Parser;

/// Decides, explains and renders placements with the same core as the filter.
#[derive(Parser)]
#[command(version)]
enum Verb {
    /// Makes the files that proxies load of the module that was linked.
    #[command(hide = true)]
    Trim(trim::Trim),
}

fn run(verb: &Verb) -> Result<(), Box<dyn Error>> {
    match verb {
        Verb::Trim(trim) => trim.run(),
    }
}

fn main() -> ExitCode {
    match run(&Verb::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("berth: {error}");
            ExitCode::from(1)
        }
    }
}
