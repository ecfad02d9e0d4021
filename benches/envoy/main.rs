//! What a placement costs on a real Envoy, beside what else could do it. `make bench-envoy` runs it and writes its
//! record; `benches/README.md` says how to read that.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot go on has nothing to say"
)]

mod ext_proc;
mod load;
mod lua;
mod placer;
mod process;
#[path = "../../tests/support/random.rs"]
mod random;
mod rounds;
mod stats;
#[path = "../../tests/support/mod.rs"]
mod support;
mod upstream;
mod variants;
mod world;

use rounds::{Effort, Setting};
use support::built;
use variants::Modules;

const WHOLE: Effort =
    Effort { sessions: 6, rounds: 8, requests: 3_000, connections: 32, warm: 4_000, proxied_sessions: 4, alone: 300 };
const QUICK: Effort =
    Effort { sessions: 2, rounds: 4, requests: 2_000, connections: 32, warm: 2_000, proxied_sessions: 1, alone: 200 };

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        Some("ext-proc") => ext_proc::serve(arguments.next().and_then(|n| n.parse().ok()).unwrap_or(6)),
        Some("print") => {
            let size = arguments.next().unwrap().parse().unwrap();
            let more = if arguments.next().as_deref() == Some("off") { variants::off("simple") } else { variants::by_default() };
            println!("{}", world::placement(size, &more));
        }
        Some("quick") => whole(QUICK),
        None => whole(WHOLE),
        Some(other) => {
            eprintln!("unknown argument `{other}`: expected `quick` or nothing");
            std::process::exit(2);
        }
    }
}

fn whole(effort: Effort) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let modules = Modules {
        full: built("berth.wasm"),
        placement: built("berth-placement.wasm"),
        sdk: noop("sdk"),
        raw: noop("raw"),
    };
    process::pin(std::process::id(), process::Side::Rest);
    let upstream = upstream::start().unwrap();
    let variants = variants::all(&modules);
    let measured = runtime.block_on(rounds::measure(&variants, upstream, effort));
    for setting in [Setting::NoHop, Setting::Proxied] {
        for v in &variants {
            let Some(series) = measured.get(&(v.id, setting)) else { continue };
            let base = &measured[&(v.base(), setting)];
            let tax = stats::difference(&stats::paired(series, base));
            println!("{:40} {:6.1} tax {:6.1} [{:5.1} {:5.1}] alone {:.0}", v.label, stats::median(&series.sessions.concat()), tax.value, tax.low, tax.high, stats::median(&series.alone));
        }
    }
}

/// A module that does nothing, made by the Makefile.
fn noop(name: &str) -> std::path::PathBuf {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/noop_{name}.wasm"));
    assert!(path.is_file(), "{} is missing: `make bench-envoy` makes it", path.display());
    path
}
