//! What a decision costs: 8 to 4,096 substrates under a rich policy, warm, and what a refresh and a compilation cost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark may fail"
)]

mod world;

use berth::place::Placer;
use berth::policy::Policy;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use world::{NOW_MS, local, request, rich};

fn place(c: &mut Criterion) {
    let facts = request();
    let mut group = c.benchmark_group("place");
    for size in [8, 64, 512, 4_096] {
        let (policy, snapshot) = rich(size);
        let mut placer = Placer::new(&policy);
        placer.refresh(Some(&snapshot), NOW_MS);
        let local = local(size);
        group.throughput(Throughput::Elements(size as u64));
        let mut seed = 0;
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |b, _| {
            b.iter(|| {
                seed += 1;
                black_box(placer.place(&local, black_box(&facts), NOW_MS, seed))
            });
        });
    }
    group.finish();
}

fn refresh(c: &mut Criterion) {
    let (policy, snapshot) = rich(512);
    let mut placer = Placer::new(&policy);
    c.bench_function("refresh/512", |b| b.iter(|| placer.refresh(Some(black_box(&snapshot)), NOW_MS)));
}

fn compile(c: &mut Criterion) {
    let (policy, _) = rich(512);
    let document = policy.document().clone();
    c.bench_function("compile/512", |b| b.iter(|| Policy::new(black_box(document.clone()), [0; 32])));
}

criterion_group!(benches, place, refresh, compile);
criterion_main!(benches);
