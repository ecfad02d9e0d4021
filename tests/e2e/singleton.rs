//! The telemetry role as a bootstrap singleton: one VM on the main thread pulls and publishes, every worker's placement
//! filter reads.

use crate::mesh::health;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH, Http, Seen};
use crate::support::envoy::Envoy;
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::Upstream;
use crate::support::{built, everywhere};
use serde_json::json;

async fn chat(envoy: &Envoy, http: Http) -> Seen {
    let ask = Ask::post(envoy.listener(INGRESS), "/v1/chat/completions", "{}").over(http);
    ask.header("x-tenant", "acme").header("x-workload", "chat").send().await.unwrap()
}

#[tokio::test]
async fn one_vm_on_the_main_thread_pulls_and_publishes_and_both_workers_read() {
    let (metal, onprem) = (Upstream::start("metal-fr").await, Upstream::start("onprem-de").await);
    let provider = Upstream::start("provider-us").await;
    for upstream in [&metal, &onprem, &provider] {
        upstream.does_at("/health", health(&upstream.name, 0));
    }
    let module = built("berth.wasm");
    let mut bootstrap = Bootstrap::default()
        .cluster("metal-fr", metal.address)
        .cluster("onprem-de", onprem.address)
        .cluster("provider-us", provider.address)
        .filter(wasm_filter(&module, "placement", &placement(&policy()), Carried::Text))
        .build();
    let filter = wasm_filter(&module, "telemetry", &telemetry(&policy()), Carried::Text);
    bootstrap["bootstrap_extensions"] = json!([{"name": "envoy.bootstrap.wasm", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService", "singleton": true,
        "config": filter["typed_config"]["config"]}}]);
    let envoy = Envoy::start(&bootstrap).await;

    everywhere("decisions are made from a live picture", || async {
        chat(&envoy, Http::One).await.header("x-placement-decision").is_some_and(|d| d.contains("fresh=live"))
    })
    .await;
    for http in BOTH {
        for (depth, substrate) in [(500, "onprem-de"), (0, "metal-fr")] {
            metal.does_at("/health", health("metal-fr", depth));
            everywhere(&format!("traffic is at {substrate}"), || async {
                chat(&envoy, http).await.text() == substrate
            })
            .await;
        }
    }
    envoy.await_stat("wasmcustom.berth.telemetry.leading", |leading| leading == 1).await;
    // Two workers' placement filters have decided something, the main thread's has not; one VM runs the telemetry role.
    assert_eq!(envoy.await_stat("wasmcustom.berth.telemetry.members", |members| members == 3).await, 3);
}
