//! A small mesh for tests: three substrates, the telemetry role that pulls their health, the placement role in front.

use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, Seen};
use crate::support::envoy::{Envoy, workdir};
use crate::support::policy::{PERIOD_MS, observe, placement, policy, telemetry};
use crate::support::upstream::{Script, Upstream};
use crate::support::{RUN, TRIES, built, eventually, everywhere};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// A running mesh.
#[derive(Debug)]
pub struct Mesh {
    pub envoy: Envoy,
    pub metal: Upstream,
    pub onprem: Upstream,
    pub provider: Upstream,
}

/// The health document of a substrate.
pub fn health(name: &str, queue_depth: u64) -> Script {
    Script::ok(&json!({"substrate": name, "signals": {"queue_depth": queue_depth, "memory_pressure": 0.3}}).to_string())
}

impl Mesh {
    /// Starts it with healthy substrates and waits until the filter has a live picture.
    pub async fn start() -> Self {
        Self::start_with(Carried::Text, |b| b).await
    }

    /// The same, with the configuration carried in another way or the bootstrap changed.
    pub async fn start_with(carried: Carried, change: impl FnOnce(Bootstrap) -> Bootstrap) -> Self {
        let (metal, onprem) = (Upstream::start("metal-fr").await, Upstream::start("onprem-de").await);
        let provider = Upstream::start("provider-us").await;
        for upstream in [&metal, &onprem, &provider] {
            upstream.does_at("/health", health(&upstream.name, 0));
        }
        let module = built("berth.wasm");
        let policy = policy();
        let bootstrap = Bootstrap::default()
            .cluster("metal-fr", metal.address)
            .cluster_over("onprem-de", onprem.address, true)
            .cluster("provider-us", provider.address)
            .filter(wasm_filter(&module, "placement", &placement(&policy), carried))
            .telemetry(wasm_filter(&module, "telemetry", &telemetry(&policy), carried));
        let envoy = Envoy::start(&change(bootstrap).build()).await;
        let mesh = Self { envoy, metal, onprem, provider };
        mesh.await_live().await;
        mesh
    }

    /// The same substrates with a filter inside their clusters that sees each attempt, and the bootstrap and its folder
    /// in the test's hands before it starts. Not waited for.
    pub async fn observed(placement: &Value, telemetry: &Value, change: impl FnOnce(&mut Value, &Path)) -> Self {
        let (metal, onprem) = (Upstream::start("metal-fr").await, Upstream::start("onprem-de").await);
        let provider = Upstream::start("provider-us").await;
        for upstream in [&metal, &onprem, &provider] {
            upstream.does_at("/health", health(&upstream.name, 0));
        }
        let (module, text, dir) = (built("berth.wasm"), Carried::Text, workdir());
        let bootstrap = Bootstrap::default()
            .cluster("metal-fr", metal.address)
            .cluster_over("onprem-de", onprem.address, true)
            .cluster("provider-us", provider.address)
            .inside_clusters(&wasm_filter(&module, "telemetry", &observe(), text))
            .filter(wasm_filter(&module, "placement", placement, text))
            .telemetry(wasm_filter(&module, "telemetry", telemetry, text));
        let mut bootstrap = bootstrap.build();
        change(&mut bootstrap, &dir);
        Self { envoy: Envoy::start_in(dir, &bootstrap).await, metal, onprem, provider }
    }

    /// A chat request of tenant acme.
    pub fn chat(&self) -> Ask {
        Ask::post(self.envoy.listener(INGRESS), "/v1/chat/completions", "{}")
            .header("x-tenant", "acme")
            .header("x-workload", "chat")
            .header("x-model", "llama-3.3-70b")
    }

    /// Waits until both workers have had a picture to decide from.
    pub async fn await_live(&self) {
        everywhere("decisions are made from a live picture", || async {
            let seen = self.chat().send().await;
            seen.is_ok_and(|seen| seen.header("x-placement-decision").is_some_and(|d| d.contains("fresh=live")))
        })
        .await;
    }

    /// Waits until both workers send everybody there; says when the last one was answered elsewhere.
    pub async fn await_all_at(&self, substrate: &str) -> Instant {
        let elsewhere = std::cell::Cell::new(Instant::now());
        everywhere(&format!("everybody goes to {substrate}"), || async {
            let there = self.chat().send().await.unwrap().text() == substrate;
            if !there {
                elsewhere.set(Instant::now());
            }
            there
        })
        .await;
        elsewhere.get()
    }

    /// The first substrate reports a deep queue: the last request that meets it was sent within two periods, and the
    /// ticks of both roles.
    pub async fn leaves_in_time(&self) -> Seen {
        for _ in 0..TRIES {
            self.metal.does_at("/health", health("metal-fr", 500));
            let (started, within) = (Instant::now(), Duration::from_millis(2 * PERIOD_MS + 300));
            // Whichever worker is asked: for as long again, and a run of requests beyond it. When one was sent is what
            // counts, as its answer may come later.
            let (mut last, mut asked, mut left) = (Duration::ZERO, 0, None);
            while started.elapsed() < 2 * within || asked < RUN {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let sent = started.elapsed();
                let seen = self.chat().send().await.unwrap();
                asked += usize::from(sent >= within);
                if seen.text() == "onprem-de" {
                    left = Some(seen);
                } else {
                    last = sent;
                }
            }
            if let Some(left) = left.filter(|_| last < within) {
                println!("the last request that met it was sent after {last:?}");
                return left;
            }
            eprintln!("again: the last one that met it was sent after {last:?}");
            self.metal.does_at("/health", health("metal-fr", 0));
            self.await_all_at("metal-fr").await;
        }
        panic!("late {TRIES} times");
    }

    /// Waits until both workers decide from a picture that was made after now, of what substrates say now.
    pub async fn await_news(&self) {
        let all = [&self.metal, &self.onprem, &self.provider];
        let asked = all.map(|upstream| upstream.asked("/health"));
        // The next question may be under way already; when the one after it comes, it has been answered.
        eventually("all are asked twice", || async {
            all.iter().zip(asked).all(|(upstream, before)| upstream.asked("/health") >= before + 2).then_some(())
        })
        .await;
        let published = self.envoy.stat("wasmcustom.berth.telemetry.epoch").await;
        everywhere("a newer picture is decided from", || async {
            let seen = self.chat().send().await.unwrap();
            let decision = seen.header("x-placement-decision").unwrap_or_default();
            let epoch = decision.split(", epoch=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
            epoch.is_some_and(|epoch| epoch > published)
        })
        .await;
    }
}
