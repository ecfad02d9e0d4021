//! The guard: this tree's module beside another revision's, in one interleaved run. Fails when this one's tax is more
//! than a twentieth above the other's, and not by chance.

use crate::rounds::{Effort, Setting, measure};
use crate::stats::{Figure, paired, ratio};
use crate::variants::{Filter, Modules, Variant, by_default};
use crate::{process, upstream};
use serde_json::json;
use std::path::{Path, PathBuf};

const EFFORT: Effort =
    Effort { sessions: 6, rounds: 10, requests: 3_000, connections: 32, warm: 3_000, proxied_sessions: 0, alone: 0 };
/// What a tax may grow by.
const MORE: f64 = 1.05;

/// What is compared: the name of the other revision's variant, and of this one's.
const PAIRS: [(&str, &str, &str, usize); 3] = [
    ("default before", "default now", "Berth by default, 6 substrates", 6),
    ("simple before", "simple now", "simple attachment, 6 substrates", 6),
    ("512 before", "512 now", "Berth by default, 512 substrates", 512),
];

/// Runs it against the placement module in the other's `dist` folder; ends the process with 1 where it fails.
pub(crate) fn run(modules: &Modules, other: &str) {
    let other = Path::new(other).join("berth-placement.wasm");
    assert!(other.is_file(), "{} is missing: `make bench-guard BASE=REVISION` builds it", other.display());
    let mut variants = vec![Variant::plain("none", "no filter", 6, Filter::None)];
    for (before, now, what, size) in PAIRS {
        let filter = |module: &PathBuf| {
            Filter::Berth(module.clone(), if before.starts_with("simple") { json!({}) } else { by_default() })
        };
        variants.push(Variant::plain(before, what, size, filter(&other)));
        variants.push(Variant::plain(now, what, size, filter(&modules.placement)));
    }
    process::pin(std::process::id(), process::Side::Rest);
    let upstream = upstream::start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let measured = runtime.block_on(measure(&variants, upstream, EFFORT));
    let series = |id: &'static str| &measured[&(id, Setting::NoHop)];
    let base = series("none");
    let mut failed = false;
    println!("the tax over no filter, this tree's by the other revision's, with its 90 % interval");
    for (before, now, what, _) in PAIRS {
        let (before, now) = (paired(series(before), base), paired(series(now), base));
        let Figure { value, low, high } = ratio(&now, &before);
        let verdict = if low > MORE { "dearer" } else { "ok" };
        failed |= low > MORE;
        let each = |pairs: &[Vec<f64>]| crate::stats::median(&pairs.concat());
        println!(
            "{what:<40} {:6.1} µs, was {:6.1} µs: {value:.2} [{low:.2} {high:.2}] {verdict}",
            each(&now),
            each(&before)
        );
    }
    if failed {
        std::process::exit(1);
    }
}
