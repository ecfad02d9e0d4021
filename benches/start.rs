//! How long a proxy's start takes until a policy is compiled: text → document → tables. The same program natively and
//! in WebAssembly (`make bench-wasm`), where `benches/wasm.mjs` runs it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a benchmark may fail")]

mod large;

use berth::policy::{Policy, read_json};
use std::{hint::black_box, time::Instant};

const ROUNDS: usize = 15;

fn main() {
    let place = if cfg!(target_family = "wasm") { "WebAssembly" } else { "native" };
    println!(
        "{place:12} {:>12} {:>9} {:>10} {:>12} {:>10}",
        "policy", "text KiB", "read ms", "compile ms", "together ms"
    );
    for (substrates, classes, envelopes) in [(6, 5, 5), (512, 64, 64), (4_096, 64, 64)] {
        let text = large::policy(substrates, classes, envelopes);
        let mut rounds: Vec<[f64; 3]> = (0..ROUNDS).map(|_| once(&text)).collect();
        // The first round pays for the compiler of the machine that runs it, as a proxy's start does.
        let first = rounds[0][2];
        rounds.sort_by(|a, b| a[2].total_cmp(&b[2]));
        let [read, compile, together] = rounds[ROUNDS / 2];
        let name = format!("{substrates}x{classes}x{envelopes}");
        let size = text.len() / 1024;
        println!("{:12} {name:>12} {size:>9} {read:>10.2} {compile:>12.2} {together:>10.2}   first {first:.2}", "");
    }
}

/// Milliseconds of reading, of compiling, and of both.
fn once(text: &str) -> [f64; 3] {
    let start = Instant::now();
    let checked = read_json(black_box(text.as_bytes())).unwrap();
    let read = start.elapsed();
    let policy = Policy::new(checked.document, checked.digest.0);
    let together = start.elapsed();
    black_box(policy);
    [read, together - read, together].map(|time| time.as_secs_f64() * 1_000.0)
}
