//! What telemetry costs the VM that leads: a tick of the whole role, and the snapshot's bytes. The same program natively
//! and in WebAssembly (`make bench-wasm`). The host around it is the tests' own, in this memory: a proxy's host calls
//! are not in these figures (one per slot and tray and tick, about a microsecond each).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a benchmark may fail")]

#[path = "../tests/support/breaking.rs"]
mod breaking;
#[path = "../tests/support/fake_host.rs"]
mod fake_host;

use berth::filter::store::slot_key;
use berth::filter::telemetry::Telemetry;
use berth::filter::telemetry_config::TelemetryConfig;
use berth::health::json::text;
use berth::health::slot::SlotRecord;
use berth::health::{Observation, Observer, codec};
use berth::model::settings::{Ages, Thresholds};
use berth::model::{Health, Reading, Signal, Snapshot, Watch, Watched};
use fake_host::FakeHost;
use std::{hint::black_box, time::Instant};

const ROUNDS: usize = 200;
const SUBSTRATES: usize = 64;
const WORKERS: u8 = 16;

fn main() {
    let place = if cfg!(target_family = "wasm") { "WebAssembly" } else { "native" };
    println!("{place:12} {:>34} {:>9} {:>9} {:>9} {:>9}", "", "median ms", "95 % ms", "first ms", "at most");
    print("tick, 64 substrates x 16 workers", ticks(), "2.00");
    let snapshot = large();
    let bytes = codec::encode(&snapshot);
    print("snapshot of 512, encode", time(|| codec::encode(black_box(&snapshot))), "1.00");
    print("snapshot of 512, decode", time(|| codec::decode(black_box(&bytes)).unwrap()), "1.00");
    print("snapshot of 512, as JSON", time(|| text::compact(black_box(&snapshot))), "-");
    println!("{:12} the snapshot has {} bytes, {} signals a substrate", "", bytes.len(), Signal::ALL.len().div_ceil(2));
}

fn print(what: &str, mut rounds: Vec<f64>, most: &str) {
    let first = rounds[0];
    rounds.sort_by(f64::total_cmp);
    let [median, high] = [rounds.len() / 2, rounds.len() * 95 / 100].map(|at| rounds[at]);
    println!("{:12} {what:>34} {median:>9.3} {high:>9.3} {first:>9.3} {most:>9}", "");
}

fn time<T>(mut work: impl FnMut() -> T) -> Vec<f64> {
    let mut once = || {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64() * 1_000.0
    };
    (0..ROUNDS).map(|_| once()).collect()
}

fn watch() -> Watch {
    let watched = |at: usize| {
        let name = format!("substrate-{at}");
        let thresholds = Thresholds { queue_depth: Some(10), memory_hard_ppm: Some(900_000), ..Thresholds::default() };
        Watched {
            cluster: name.clone(),
            name,
            failure_domain: format!("rack-{}", at / 4),
            thresholds,
            first_token_us: 200_000,
            kind: berth::model::Kind::Gpu,
            layer: String::new(),
            region: String::from("here"),
            us_per_token: 20_000,
        }
    };
    Watch {
        substrates: (0..SUBSTRATES).map(watched).collect(),
        ages: Ages { soft_ms: 3_000, hard_ms: 10_000 },
        breaking: breaking::AS_SHIPPED,
    }
}

/// Ticks of the role that leads, each after every worker has told of five more answers of every substrate.
fn ticks() -> Vec<f64> {
    let (host, watch) = (FakeHost::new(), watch());
    let mut role = Telemetry::configure(&host, TelemetryConfig::new(watch.clone(), 100, Vec::new())).unwrap();
    let names = || watch.substrates.iter().map(|s| s.name.as_str());
    let mut workers: Vec<Observer> = (0..WORKERS).map(|_| Observer::new(names())).collect();
    role.on_tick(&host);
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS as u64 {
        host.advance_ms(100);
        for (worker, observer) in (1..).zip(&mut workers) {
            observe(observer, round * 31 + u64::from(worker), host.now_ms());
            host.plant(&slot_key(worker), &slot(observer, worker, host.now_ms()));
        }
        let start = Instant::now();
        role.on_tick(&host);
        rounds.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    let published = role.published().unwrap();
    let seen = published.substrates.iter().filter(|health| health.reading(Signal::FirstToken).is_some()).count();
    assert_eq!(seen, SUBSTRATES, "what was measured was folded");
    rounds
}

fn observe(observer: &mut Observer, salt: u64, now_ms: u64) {
    for substrate in 0..SUBSTRATES {
        for n in 0..5 {
            let first = 200_000 + (n * 7_919 + salt * 104_729) % 300_000;
            let seen = Observation {
                substrate,
                status: 200,
                first_byte_us: Some(first),
                total_us: Some(first * 5),
                ..Observation::default()
            };
            observer.began(substrate);
            observer.observe(&seen, now_ms);
        }
    }
}

fn slot(observer: &Observer, worker: u8, now_ms: u64) -> Vec<u8> {
    let mut record = SlotRecord {
        incarnation: u64::from(worker) + 1_000,
        expires_ms: now_ms + 5_000,
        places: true,
        rows: Vec::new(),
    };
    observer.write(&mut record);
    codec::encode_slot(&record)
}

fn large() -> Snapshot {
    let health = |at: u64| {
        let mut health = Health::unknown(&format!("substrate-{at}"));
        for (n, signal) in (0_u64..).zip(Signal::ALL).filter(|(n, _)| n % 2 == 0) {
            health.set(
                signal,
                Reading { value: i64::try_from(at * 977 + n).unwrap(), at_ms: FakeHost::START_MS - n * 37 },
            );
        }
        health
    };
    let substrates = (0..512).map(health).collect();
    Snapshot { at_ms: FakeHost::START_MS, epoch: 1, writer: 1, slots: 16, interval_ms: 1_000, substrates }
}
