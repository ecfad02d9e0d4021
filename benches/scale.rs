//! What a decision costs as substrates grow, the same program natively and in WebAssembly (`make bench-wasm`), where
//! `benches/wasm.mjs` runs it: a line a size, then the straight line through them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark may fail"
)]

mod world;

use berth::place::Placer;
use std::{hint::black_box, time::Instant};
use world::{NOW_MS, local, request, rich};

const SIZES: [usize; 4] = [8, 64, 512, 4_096];
const ROUNDS: usize = 200;

fn main() {
    let place = if cfg!(target_family = "wasm") { "WebAssembly" } else { "native" };
    println!(
        "{place:12} {:>10} {:>12} {:>10} {:>12} {:>12}",
        "substrates", "decision ns", "ns each", "first ns", "refresh us"
    );
    let mut points = Vec::new();
    for size in SIZES {
        let (policy, snapshot) = rich(size);
        let (local, facts) = (local(size), request());
        let mut placer = Placer::new(&policy);
        placer.refresh(Some(&snapshot), NOW_MS);
        let mut seed = 0;
        let mut decide = |placer: &mut Placer<_>| {
            seed += 1;
            black_box(placer.place(black_box(&local), black_box(&facts), NOW_MS, seed));
        };
        let decision = time(200_000 / (size + 50), || decide(&mut placer));
        let refresh = time(2_000 / size + 1, || placer.refresh(Some(black_box(&snapshot)), NOW_MS));
        // The first of its kind after a refresh lays the ground for the others.
        let both = time(2_000 / size + 1, || {
            placer.refresh(Some(black_box(&snapshot)), NOW_MS);
            decide(&mut placer);
        });
        let each = decision / size as f64;
        let (first, refresh) = (both - refresh, refresh / 1_000.0);
        println!("{:12} {size:>10} {decision:>12.0} {each:>10.2} {first:>12.0} {refresh:>12.1}", "");
        points.push((size as f64, decision));
    }
    let (fixed, slope) = line(&points);
    println!("{:12} fixed {fixed:.0} ns, and {slope:.2} ns a candidate", "");
}

/// Nanoseconds a call, the quietest of many rounds: what disturbs only ever adds.
fn time(calls: usize, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_secs_f64() * 1e9 / calls as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

/// The straight line through points, by least squares of relative errors: small sizes count as much as large ones.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 { points.iter().map(|&(x, y)| term(x, y) / (y * y)).sum() };
    let (n, x, y) = (sum(&|_, _| 1.0), sum(&|x, _| x), sum(&|_, y| y));
    let (xx, xy) = (sum(&|x, _| x * x), sum(&|x, y| x * y));
    let slope = (n * xy - x * y) / (n * xx - x * x);
    ((y - slope * x) / n, slope)
}
