//! What a decision costs: 8 to 4,096 substrates under a rich policy, warm, and what a refresh and a compilation cost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark may fail"
)]

#[path = "../tests/laws/build.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod build;

use berth::model::*;
use berth::place::Placer;
use berth::policy::Policy;
use build::*;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Substrates of all kinds in many places, 64 classes, 64 envelopes of which four apply, budgets and sessions.
fn rich(size: usize) -> (Policy, Snapshot) {
    let substrates: Vec<Substrate> = (0..size).map(various).collect();
    let mut classes: Vec<Class> = (0..64).map(|n| class(&format!("class-{n}"), &["s0", "s1", "s5"])).collect();
    for (n, class) in classes.iter_mut().enumerate() {
        class.matches = Predicate::Header("x-workload".into(), Test::Is(format!("kind-{n}")));
    }
    let mut envelopes: Vec<Envelope> = (0..64).map(|n| envelope(&format!("envelope-{n}"))).collect();
    for (n, envelope) in envelopes.iter_mut().enumerate() {
        envelope.applies_to.tenants = Some(vec![format!("tenant-{}", n / 4)]);
        envelope.permit.jurisdictions = Some(["DE", "FR", "IE"].map(country).to_vec());
        envelope.forbid.accounts = Some(vec![name("trial")]);
    }
    let health = substrates.iter().enumerate().map(|(n, s)| {
        let n = n as i64;
        let readings =
            [(Signal::InFlight, n % 40), (Signal::QueueDepth, n % 7), (Signal::FirstToken, 150_000 + n * 97)];
        health(s.name.as_str(), &readings)
    });
    let snapshot = snapshot(health.collect());
    (Policy::new(document(substrates, classes, envelopes), [0; 32]), snapshot)
}

fn various(n: usize) -> Substrate {
    let mut s = substrate(&format!("s{n}"));
    s.kind = Kind::ALL[n % 7];
    s.location.jurisdiction = country(["FR", "DE", "IE", "US"][n % 4]);
    s.location.zone = name(&format!("zone-{}", n % 30));
    s.cost.regime = Regime::ALL[n % 5];
    s.cost.output_pusd_per_token += n as i64 * 500;
    s.account = name(["acme", "globex", "trial"][n % 3]);
    s
}

fn place(c: &mut Criterion) {
    let headers = [("x-workload", Fact::trusted("kind-3"))];
    let facts = Facts {
        tenant: Some(Fact::trusted("tenant-5")),
        model: Some(Fact::claimed("m")),
        input_tokens: Some(Fact::claimed(1_200)),
        session: Some(Fact::claimed("0a1b2c3d4e5f")),
        headers: &headers,
        ..Facts::default()
    };
    let mut group = c.benchmark_group("place");
    for size in [8, 64, 512, 4_096] {
        let (policy, snapshot) = rich(size);
        let mut placer = Placer::new(&policy);
        placer.refresh(Some(&snapshot), NOW_MS);
        let local = Local { placed: vec![1; size], ..Local::default() };
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
