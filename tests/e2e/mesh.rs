//! A small mesh for tests: three substrates, the telemetry role that pulls their health, the placement role in front.

use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::Ask;
use crate::support::envoy::{Envoy, workdir};
use crate::support::policy::{observe, placement, policy, telemetry};
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use serde_json::{Value, json};
use std::path::Path;

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

    /// Waits until both workers have had a picture to decide from: connections land on either, so a run of live
    /// decisions shows that both are.
    pub async fn await_live(&self) {
        eventually("decisions are made from a live picture", || async {
            for _ in 0..12 {
                let seen = self.chat().send().await.ok()?;
                seen.header("x-placement-decision").filter(|d| d.contains("fresh=live"))?;
            }
            Some(())
        })
        .await;
    }
}
