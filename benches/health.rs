//! What telemetry costs: an observation on the way of an answer, a tick of the VM that leads, and the snapshot's bytes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark may fail; criterion declares its own entry"
)]

#[path = "../tests/support/breaking.rs"]
mod breaking;

use berth::health::slot::SlotRecord;
use berth::health::{Fold, Observation, Observer, codec, presets, prometheus};
use berth::model::settings::{Ages, Thresholds};
use berth::model::{Health, Reading, Signal, Snapshot, Watch, Watched};
use breaking::AS_SHIPPED;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const T: u64 = 1_790_000_000_000;

fn watch(substrates: usize) -> Watch {
    let watched = |at: usize| Watched {
        name: format!("substrate-{at}"),
        cluster: format!("substrate-{at}"),
        failure_domain: format!("rack-{}", at / 4),
        thresholds: Thresholds { queue_depth: Some(10), memory_hard_ppm: Some(900_000), ..Thresholds::default() },
        first_token_us: 200_000,
        kind: berth::model::Kind::Gpu,
        layer: String::new(),
        region: String::from("here"),
        us_per_token: 20_000,
    };
    Watch {
        substrates: (0..substrates).map(watched).collect(),
        ages: Ages { soft_ms: 3_000, hard_ms: 10_000 },
        breaking: AS_SHIPPED,
    }
}

fn observer(watch: &Watch) -> Observer {
    Observer::new(watch.substrates.iter().map(|s| s.name.as_str()))
}

fn observation(bench: &mut Criterion) {
    let mut observer = observer(&watch(64));
    let said = [(Signal::QueueDepth, 4), (Signal::RateRemaining, 900)];
    let mut n = 0_u64;
    bench.bench_function("health/observation", |b| {
        b.iter(|| {
            n += 1;
            let seen = Observation {
                substrate: usize::try_from(n % 64).unwrap(),
                status: 200,
                first_byte_us: Some(300_000 + n % 1_000),
                total_us: Some(2_000_000 + n % 10_000),
                bytes: 4_096,
                output_tokens: Some(100),
                said: &said,
                retry_after_s: None,
            };
            observer.began(seen.substrate);
            observer.observe(black_box(&seen), T + n);
        });
    });
}

/// What a worker has written into its slot after so many answers of each substrate.
fn slot(watch: &Watch, worker: u64, answers: u64) -> Vec<u8> {
    let mut observer = observer(watch);
    for n in 0..answers {
        for substrate in 0..watch.substrates.len() {
            let (first, total) = (200_000 + (n * 7_919 + worker) % 300_000, 2_000_000 + n % 100_000);
            let seen = Observation {
                substrate,
                status: 200,
                first_byte_us: Some(first),
                total_us: Some(total),
                ..Observation::default()
            };
            observer.began(substrate);
            observer.observe(&seen, T);
        }
    }
    let mut record = SlotRecord { incarnation: worker + 1, expires_ms: T * 2, places: true, rows: Vec::new() };
    observer.write(&mut record);
    codec::encode_slot(&record)
}

fn tick(bench: &mut Criterion) {
    let watch = watch(64);
    let before: Vec<_> = (0..16).map(|worker| slot(&watch, worker, 20)).collect();
    let after: Vec<_> = (0..16).map(|worker| slot(&watch, worker, 40)).collect();
    let start = || {
        let mut fold = Fold::new(watch.clone(), None, 1, T);
        absorb(&mut fold, &before, T);
        fold.fold(T);
        fold
    };
    bench.bench_function("health/tick-64x16", |b| {
        b.iter_batched(
            start,
            |mut fold| {
                absorb(&mut fold, &after, T + 100);
                fold.fold(T + 100);
                codec::encode(&fold.snapshot(1, T + 100))
            },
            BatchSize::SmallInput,
        );
    });
}

fn absorb(fold: &mut Fold, slots: &[Vec<u8>], now_ms: u64) {
    for (number, bytes) in slots.iter().enumerate() {
        fold.absorb(u8::try_from(number).unwrap(), codec::decode_slot(bytes).unwrap(), now_ms);
    }
}

fn bytes(bench: &mut Criterion) {
    let health = |at: u64| {
        let mut health = Health::unknown(&format!("substrate-{at}"));
        for (n, signal) in (0_u64..).zip(Signal::ALL).filter(|(n, _)| n % 2 == 0) {
            health.set(signal, Reading { value: i64::try_from(at * 977 + n).unwrap(), at_ms: T - n * 37 });
        }
        health
    };
    let substrates = (0..512).map(health).collect();
    let snapshot = Snapshot { at_ms: T, epoch: 1, writer: 1, slots: 16, interval_ms: 1_000, substrates };
    let encoded = codec::encode(&snapshot);
    println!("snapshot of 512 substrates with 15 signals each: {} bytes", encoded.len());
    bench.bench_function("health/encode-512", |b| b.iter(|| codec::encode(black_box(&snapshot))));
    bench.bench_function("health/decode-512", |b| b.iter(|| codec::decode(black_box(&encoded)).unwrap()));
}

fn scrape(bench: &mut Criterion) {
    let mut text = String::new();
    for n in 0..25_000 {
        text += &format!("vllm:some_histogram_bucket{{engine=\"0\",model_name=\"llama\",le=\"{n}\"}} {n}.0\n");
    }
    text += "vllm:num_requests_waiting{engine=\"0\"} 3.0\nvllm:kv_cache_usage_perc{engine=\"0\"} 0.5\n";
    let mappings = presets::preset("vllm").unwrap();
    println!("scrape: {} bytes", text.len());
    bench.bench_function("health/scrape-2mb", |b| {
        b.iter(|| {
            let mut scrape = prometheus::Scrape::new(&mappings);
            text.as_bytes().chunks(65_536).for_each(|piece| scrape.feed(piece));
            scrape.finish(&mut prometheus::Before::new(), T).unwrap()
        });
    });
}

criterion_group!(benches, observation, tick, bytes, scrape);
criterion_main!(benches);
