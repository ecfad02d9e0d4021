//! The simulator against the real thing: one small scenario in a real Envoy with simulated substrates behind it, and in the
//! simulator, with the very same arrivals. Three substrates say the same of themselves; one of them is too slow for the
//! deadline, which both worlds can only find out by losing requests to it.
//!
//! A second: a provider that takes so many a second and answers 429 beyond, says what is left in its headers and nothing else,
//! beside a slower machine of one's own.
//!
//! What is compared, and how near it must be: the share of requests placed on each substrate, and the share that misses. Each is
//! one draw of chance in each world, so they may differ by three standard deviations of a difference of two. The deviation is
//! measured, over twenty seeds of the simulator, and no difference above 0.08 counts as agreement whatever the deviation. Below
//! 0.03 nothing is asked: the real world has a start of connections and a grain of timers that are not simulated.
#![allow(unreachable_pub, missing_docs, reason = "a test, not a library")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "../examples/substrate/server.rs"]
#[allow(dead_code, missing_debug_implementations, reason = "a test uses its own part of this")]
mod server;
mod support;

use berth::policy::{Policy, read_json};
use berth::simulate::arrivals::Arrivals;
use berth::simulate::experiment::{Setup, Variant};
use berth::simulate::read;
use serde_json::{Value, json};
use server::{Behaviour, Substrate};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use support::client::Ask;
use support::envoy::Envoy;
use support::policy::observe;
use support::{built, eventually};
use tokio::net::TcpListener;

/// One world.
struct Case {
    /// Name, kind, capacity, true time of an answer, requests a second.
    substrates: &'static [(&'static str, &'static str, u32, u64, Option<u32>)],
    physics: &'static str,
    /// Somebody must miss: requests are lost to find out.
    misses: bool,
}

const LIAR: Case = Case {
    substrates: &[
        ("broad", "silicon", 60, 100, None),
        ("narrow", "silicon", 20, 100, None),
        ("liar", "silicon", 20, 2_000, None),
    ],
    physics: "{liar: {slowness: 20}}",
    misses: true,
};

const PROVIDER: Case = Case {
    substrates: &[("own", "silicon", 40, 200, None), ("bought", "provider", 40, 100, Some(10))],
    physics: "{own: {slowness: 2}, bought: {rps: 10, jitter: 0}}",
    misses: false,
};

impl Case {
    fn scenario(&self) -> String {
        format!(
            "simulate: 1\nname: calibration\ntitle: The same in Envoy and simulated\npolicy: none.yaml\nduration_s: 15\nwarmup_s: 0\n\
             fleet: {{proxies: 1, workers: 2, period_ms: 200, delay_ms: 0}}\n\
             load: {{rps: 40, mix: [{{input: {{median: 1, spread: 0, most: 1}}, output: {{median: 1, spread: 0, most: 1}}}}]}}\n\
             physics: {}\n",
            self.physics
        )
    }

    fn policy(&self) -> Value {
        let substrate = |(name, kind, capacity, ..): &(&str, &str, u32, u64, Option<u32>)| {
            let regime = if *kind == "provider" { "provider" } else { "reserved" };
            json!({"name": name, "cluster": name, "kind": kind, "account": "own",
                "location": {"jurisdiction": "DE", "region": "r1", "zone": format!("z-{name}")},
                "capabilities": {"models": {"m": {"quality": 0.8}}, "context_tokens": 100_000, "features": ["streaming"]},
                "latency": {"first_token_ms": 100, "prefill_ms_per_ktok": 0, "ms_per_token": 0},
                "cost": {"regime": regime, "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.1},
                "capacity": {"concurrency": capacity}})
        };
        let names: Vec<&str> = self.substrates.iter().map(|(name, ..)| *name).collect();
        json!({"berth": 1, "policy": {"name": "calibration", "version": 1, "owner": "tests"},
            "substrates": self.substrates.iter().map(substrate).collect::<Vec<_>>(),
            "classes": [{"name": "all", "home": names, "deadline_ms": 800, "attempts": {"most": 1},
                "worth": {"answer_usd": 0.02, "second_usd": 0.002, "failure_usd": 0.02}}],
            "default_class": "all",
            "envelopes": [{"name": "all", "permit": {}, "spillover": "any"}]})
    }

    fn setup(&self) -> Setup {
        let checked = read_json(self.policy().to_string().as_bytes()).unwrap();
        let policy = Policy::new(checked.document, checked.digest.0);
        let (document, digest) = (policy.document().clone(), *policy.digest());
        Setup { scenario: read(&self.scenario()).unwrap(), document, digest, trace: Vec::new(), tunes: false }
    }
}

/// Shares by substrate, and the share that missed, at the end.
type Outcome = Vec<f64>;

fn simulated(setup: &Setup) -> Outcome {
    let run = setup.run(Variant { router: "berth", tuning: None }, 1_000_000, &mut |_, _| {});
    let f = run.figures;
    let all: u64 = f.placed.iter().sum();
    let missed = (f.offered - f.good) as f64 / f.offered as f64;
    f.placed.iter().map(|n| *n as f64 / all as f64).chain([missed]).collect()
}

/// By how much each may differ between two worlds.
fn tolerances(setup: &Setup) -> Vec<f64> {
    const SEEDS: u64 = 20;
    let mut other = setup.clone();
    let all: Vec<Outcome> = (1..=SEEDS)
        .map(|seed| {
            other.scenario.seed = seed;
            simulated(&other)
        })
        .collect();
    let of = |at: usize| {
        let mean = all.iter().map(|o| o[at]).sum::<f64>() / SEEDS as f64;
        let variance = all.iter().map(|o| (o[at] - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64;
        (3.0 * (2.0 * variance).sqrt()).clamp(0.03, 0.08)
    };
    (0..all[0].len()).map(of).collect()
}

async fn world(case: &Case) -> Envoy {
    let (module, text) = (built("berth.wasm"), Carried::Text);
    let mut bootstrap = Bootstrap::default();
    let mut sources = Vec::new();
    for (name, kind, _, first_token_ms, requests_per_second) in case.substrates {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        bootstrap = bootstrap.cluster(name, listener.local_addr().unwrap());
        let (first_token_ms, requests_per_second) = (*first_token_ms, *requests_per_second);
        let behaviour = Behaviour { first_token_ms, requests_per_second, memory_pressure: 0.0, ..Behaviour::default() };
        tokio::spawn(Substrate::new(name, behaviour).serve(listener));
        if *kind != "provider" {
            sources.push(json!({"cluster": name, "path": "/health", "format": "berth", "substrate": name,
                "interval_ms": 200, "timeout_ms": 150}));
        }
    }
    let placement = json!({"role": "placement", "policy": case.policy(), "decision_response": true});
    let telemetry = json!({"role": "telemetry", "policy": case.policy(), "tick_ms": 100, "sources": sources});
    let bootstrap = bootstrap
        .inside_clusters(&wasm_filter(&module, "telemetry", &observe(), text))
        .filter(wasm_filter(&module, "placement", &placement, text))
        .telemetry(wasm_filter(&module, "telemetry", &telemetry, text));
    Envoy::start(&bootstrap.build()).await
}

/// The same arrivals, in real time.
async fn real(case: &Case, setup: &Setup) -> Outcome {
    let envoy = world(case).await;
    let to = envoy.listener(INGRESS);
    eventually("Envoy answers", || async { Ask::get(to, "/").send().await.ok().map(|_| ()) }).await;
    let began = Instant::now();
    let mut asking = tokio::task::JoinSet::new();
    for arrival in Arrivals::new(&setup.scenario, &[], 1_000_000) {
        tokio::time::sleep(Duration::from_micros(arrival.at_us).saturating_sub(began.elapsed())).await;
        let body = r#"{"model": "m", "max_tokens": 1, "messages": []}"#;
        asking.spawn(Ask::post(to, "/v1/chat/completions", body).send());
    }
    let (mut placed, mut missed, mut all) = (BTreeMap::<&str, usize>::new(), 0, 0);
    while let Some(seen) = asking.join_next().await {
        let seen = seen.unwrap().unwrap();
        all += 1;
        missed += usize::from(seen.status != 200 || seen.took > Duration::from_millis(800));
        let decision = seen.header("x-placement-decision").unwrap_or_default();
        let chosen = case.substrates.iter().find(|(name, ..)| decision.contains(&format!("substrate={name}")));
        *placed.entry(chosen.map_or("nowhere", |(name, ..)| *name)).or_default() += 1;
    }
    let share = |name: &str| placed.get(name).copied().unwrap_or(0) as f64 / all as f64;
    case.substrates.iter().map(|(name, ..)| share(name)).chain([missed as f64 / all as f64]).collect()
}

async fn agree(case: &Case) {
    let setup = case.setup();
    let (simulated, near) = (simulated(&setup), tolerances(&setup));
    assert!(simulated.last().is_some_and(|missed| *missed > 0.0), "{simulated:?}");
    // Real time on a machine that may be busy with something else: a world that differs, differs every time.
    let mut worlds = Vec::new();
    for _ in 0..3 {
        let real = real(case, &setup).await;
        println!("simulated {simulated:.3?}\nreal      {real:.3?}\nwithin    {near:.3?}");
        let each = simulated.iter().zip(&real).zip(&near);
        if each.clone().all(|((ours, theirs), near)| (ours - theirs).abs() <= *near)
            && (!case.misses || real.last() > Some(&0.0))
        {
            return;
        }
        worlds.push(real);
    }
    panic!("{simulated:?} {worlds:?}, within {near:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_and_a_real_envoy_agree_on_shares_and_misses() {
    agree(&LIAR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_agree_on_a_provider_that_takes_so_many_a_second() {
    agree(&PROVIDER).await;
}
