//! How long a policy takes to read: 512 substrates × 64 classes × 64 envelopes, and 4,096 substrates.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may fail")]

mod large;

use berth::policy::read_json;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use large::policy;

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sample_size(20);
    for (name, (substrates, classes, envelopes)) in
        [("6x5x5", (6, 5, 5)), ("512x64x64", (512, 64, 64)), ("4096x64x64", (4096, 64, 64))]
    {
        let text = policy(substrates, classes, envelopes);
        assert!(read_json(text.as_bytes()).is_ok());
        group.throughput(Throughput::Bytes(u64::try_from(text.len()).unwrap()));
        group.bench_function(name, |b| b.iter(|| read_json(std::hint::black_box(text.as_bytes()))));
    }
    group.finish();
}

criterion_group!(benches, compile);
criterion_main!(benches);
