//! What a placement costs on a real Envoy, beside what else could do it. `make bench-envoy` runs it and writes its
//! record; `benches/README.md` says how to read that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot go on has nothing to say"
)]

mod beside;
mod chart;
mod ext_proc;
mod guard;
mod load;
mod lua;
mod placer;
mod process;
mod report;
mod rounds;
mod start;
mod stats;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod upstream;
mod variants;
mod world;

use berth::manifest::oci::hex;
use rounds::Effort;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use support::built;
use variants::Modules;

const WHOLE: Effort =
    Effort { sessions: 6, rounds: 8, requests: 3_000, connections: 32, warm: 4_000, proxied_sessions: 4, alone: 300 };
const QUICK: Effort =
    Effort { sessions: 2, rounds: 3, requests: 2_000, connections: 32, warm: 1_500, proxied_sessions: 1, alone: 200 };

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        Some("ext-proc") => ext_proc::serve(arguments.next().and_then(|n| n.parse().ok()).unwrap_or(6)),
        Some("guard") => guard::run(&modules(), &arguments.next().unwrap_or_default()),
        Some("quick") => whole(QUICK),
        None => whole(WHOLE),
        Some(other) => {
            eprintln!("unknown argument `{other}`: expected `quick`, `guard FOLDER` or nothing");
            std::process::exit(2);
        }
    }
}

/// Measures everything and writes it down; a quick run only prints it.
fn whole(effort: Effort) {
    let quick = effort.sessions == QUICK.sessions;
    let began = Instant::now();
    let modules = modules();
    let mut variants = variants::all(&modules);
    let only = std::env::var("ONLY").ok();
    if let Some(only) = &only {
        variants.retain(|v| v.id.starts_with("none") || only.split(',').any(|id| id == v.id));
    }
    let pinned = process::pin(std::process::id(), process::Side::Rest);
    let busy = process::busy();
    let upstream = upstream::start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let measured = runtime.block_on(rounds::measure(&variants, upstream, effort));
    if let Some(only) = only {
        print(&variants, &measured);
        if only.split(',').any(|id| id == "streams") {
            print!("{}", runtime.block_on(beside::streams(&modules, upstream, 6, 30)).text());
        }
        return;
    }
    let repeats = if quick { 1 } else { 5 };
    let say = |what: &str| eprintln!("{what}: {} s", began.elapsed().as_secs());
    say("starts");
    let starts = runtime.block_on(start::starts(&modules, upstream, repeats));
    let pushes = runtime.block_on(start::pushes(&modules, upstream, repeats + 2));
    say("streams");
    let streams = runtime.block_on(beside::streams(&modules, upstream, 1 + repeats, 6 * repeats));
    say("telemetry");
    let telemetry =
        runtime.block_on(beside::telemetry(&modules, upstream, repeats.min(3) + 1, if quick { 2 } else { 4 }));
    let place = |path: &Path| {
        let (name, digest) = (path.file_name().unwrap().to_string_lossy(), hex(&std::fs::read(path).unwrap()));
        format!("{name} {} bytes (sha256 {})", start::size(path), &digest[..16])
    };
    let files = [&modules.placement, &modules.full, &modules.sdk, &modules.raw].map(|path| place(path));
    let run = report::Run {
        envelope: vec![
            ("Envoy", support::envoy::version()),
            ("machine", process::machine()),
            ("its load before and after, a minute's mean", format!("{busy} and {}", process::busy())),
            ("Envoy and the load on a processor each", if pinned { "yes" } else { "no" }.into()),
            ("modules", files.join(", ")),
            ("revision of the sources", revision()),
            ("warm-up", format!("{} requests of each variant, proxied {} more", effort.warm, effort.warm / 2)),
            ("not as by default", KNOBS.join(", ")),
            ("took", format!("{} s", began.elapsed().as_secs())),
        ],
        module: start::size(&modules.placement),
        variants: &variants,
        measured,
        effort,
        starts,
        pushes,
        streams,
        telemetry,
    };
    let text = run.text();
    println!("{text}");
    if !quick {
        let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        std::fs::write(benches.join("envoy.md"), text).unwrap();
        std::fs::write(benches.join("envoy.svg"), chart::draw(&run.bars())).unwrap();
        eprintln!("benches/envoy.md and benches/envoy.svg are written");
    }
}

/// What is configured otherwise than it comes, of the proxy and of Berth.
const KNOBS: [&str; 5] = [
    "one worker (`--concurrency 1`) where no table says otherwise",
    "`attach: full` and `decision_upstream` in \"Berth by default\"",
    "facts from headers (`facts`, `trusted_headers`)",
    "substrates of a `concurrency` that is never reached",
    "5 s for what ext_proc is asked",
];

/// The commit that was measured, and whether files were changed besides.
fn revision() -> String {
    let git = |arguments: &[&str]| {
        let said = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return "unknown: no repository".into() };
    // A run writes its own record.
    let changed = git(&["status", "--porcelain", "--", ".", ":!benches/envoy.md", ":!benches/envoy.svg"]);
    let changed = if changed.is_some_and(|files| files.is_empty()) { "" } else { ", with files changed" };
    commit + changed
}

/// A few variants, for who works on one of them.
fn print(variants: &[variants::Variant], measured: &rounds::Measured) {
    for v in variants {
        for setting in v.settings {
            let series = |id| &measured[&(id, *setting)];
            let stats::Figure { value, low, high } = stats::difference(&stats::paired(series(v.id), series(v.base())));
            println!("{:40} {setting:?} tax {value:6.1} µs, {low:.1} to {high:.1}", v.label);
        }
    }
}

fn modules() -> Modules {
    Modules {
        full: built("berth.wasm"),
        placement: built("berth-placement.wasm"),
        sdk: noop("sdk"),
        raw: noop("raw"),
        floor: noop("floor"),
    }
}

/// A module that does nothing, made by the Makefile.
fn noop(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/noop_{name}.wasm"));
    assert!(path.is_file(), "{} is missing: `make bench-envoy` makes it", path.display());
    path
}
