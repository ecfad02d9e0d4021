//! A mesh and a gateway around what is rendered for them: clusters that the mesh made itself, requests to other hosts,
//! filters of others.

use crate::rendered::{HASTE, SECRET, berth};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::{Envoy, validate, workdir};
use crate::support::patches::{self, yaml};
use crate::support::upstream::{Received, Script, Upstream};
use crate::support::{built, eventually};
use std::fs;

/// Where the applications send what is to be placed.
const HOST: &str = "llm.inference.svc.cluster.local:80";
const POLICY: &str = include_str!("../../examples/istio/policy.yaml");

/// The example for Istio, where the provider is the first choice of those who may go there.
fn abroad() -> String {
    let (home, attempts) = ("home: [gpu-de, metal-fr]\n    deadline_ms: 60000", "attempts: {repeatable: true}");
    assert!(POLICY.contains(home) && POLICY.contains(attempts));
    let (slow, quick) =
        ("    kind: provider\n", "    kind: provider\n    latency: {first_token_ms: 5, ms_per_token: 1}\n");
    let first = POLICY.replace(home, "home: [provider-us]\n    deadline_ms: 60000").replace(slow, quick);
    let eu = "permit: {jurisdictions: [EU]}\n";
    assert!(first.contains(eu));
    let first = first.replace(eu, "permit: {jurisdictions: [EU]}\n    spillover: any\n");
    first.replace(attempts, "attempts: {most: 3, repeatable: true}") + HASTE
}

/// Everything that came but for what was asked for by the telemetry role.
fn came(upstream: &Upstream) -> Vec<Received> {
    upstream.take_received().into_iter().filter(|r| r.method == "POST").collect()
}

/// What one substrate was shown is not for the next one, whoever made its cluster.
#[tokio::test]
async fn a_provider_s_key_and_path_end_before_the_mesh_s_own_clusters() {
    let (de, fr, us) =
        (Upstream::start("gpu-de").await, Upstream::start("metal-fr").await, Upstream::start("provider-us").await);
    let dir = workdir();
    let (module, at) = (built("berth.wasm"), dir.display());
    let deployment = format!(
        "berth: 1
policy: policy.yaml
module: {{file: '{}'}}
admin: '127.0.0.1:0'
istio: {{namespace: inference, place: sidecar, selector: {{app: chat}}, host: '{HOST}'}}
placement:
  decision_upstream: true
  hops: {{tell: true}}
  facts: {{tenant: {{header: x-tenant, trusted: true}}}}
  trust_path: true
substrates:
  gpu-de: {{hosts: ['{}'], http2: true}}
  metal-fr: {{hosts: ['{}'], path_prefix: /metal, next_hop: true}}
  provider-us:
    hosts: ['{}']
    authority: api.provider.example
    path_prefix: /openai
    credential: {{sds_file: '{at}/secret.yaml', secret: provider}}
",
        module.display(),
        de.address,
        fr.address,
        us.address
    );
    for (file, text) in [("policy.yaml", abroad()), ("secret.yaml", SECRET.into()), ("deployment.yaml", deployment)] {
        fs::write(dir.join(file), text).unwrap();
    }
    let (content, said) = berth(&["render", "istio", "deployment.yaml", "-o", "."], &dir);
    assert!(content, "{said}");
    let mut sidecar = patches::sidecar();
    patches::mesh_cluster(&mut sidecar, "outbound|8000||gpu-de.inference.svc.cluster.local", de.address);
    patches::mesh_cluster(&mut sidecar, "outbound|8443||metal.par.example", fr.address);
    patches::istio(&mut sidecar, &yaml(&fs::read_to_string(dir.join("envoyfilter.yaml")).unwrap()), &dir);
    fs::write(dir.join("sidecar.json"), sidecar.to_string()).unwrap();
    let (content, said) = validate(&dir, "sidecar.json");
    assert!(content, "{said}");
    let envoy = Envoy::start_file(dir.clone(), "sidecar.json").await;
    for http in BOTH {
        us.does(Script::status(503));
        de.does(Script::status(503));
        fr.does(Script::ok("metal-fr"));
        let seen = eventually("the third attempt answers", || async {
            [&de, &fr, &us].into_iter().for_each(|upstream| drop(came(upstream)));
            let ask = Ask::post(envoy.listener("0.0.0.0_80"), "/other", "{}").over(http).header("host", HOST);
            let ask = ask.header("x-tenant", "initech").header("authorization", "Bearer theirs");
            let seen = ask.header("x-api-key", "theirs").header("cookie", "theirs").send().await.unwrap();
            (seen.status == 200 && seen.text() == "metal-fr").then_some([came(&us), came(&de), came(&fr)])
        })
        .await;
        let [[at_us], [at_de], [at_fr]] = &seen.map(|all| <[Received; 1]>::try_from(all).unwrap());
        assert_eq!(
            (at_us.path.as_str(), at_de.path.as_str(), at_fr.path.as_str()),
            ("/openai/other", "/other", "/metal/other")
        );
        assert!(at_de.http2 && !at_fr.http2, "as the deployment says");
        assert_eq!(at_us.headers.get("authorization").map(String::as_str), Some("Bearer ours"));
        for request in [at_us, at_de, at_fr] {
            let own = request.headers.keys().find(|name| name.starts_with("x-placement-"));
            assert_eq!((own, request.headers.get("x-api-key"), request.headers.get("cookie")), (None, None, None));
        }
        for request in [at_de, at_fr] {
            assert_eq!(request.headers.get("authorization"), None, "neither the client's key nor the provider's");
        }
        // At the first attempt too: what may be known there, and no more.
        de.does(Script::ok("gpu-de"));
        let ask = Ask::post(envoy.listener("0.0.0.0_80"), "/other", "{}").over(http).header("host", HOST);
        assert_eq!(ask.header("x-tenant", "acme").send().await.unwrap().text(), "gpu-de");
        let [at_de] = <[Received; 1]>::try_from(came(&de)).unwrap();
        let own: Vec<&String> = at_de.headers.keys().filter(|name| name.starts_with("x-placement-")).collect();
        assert_eq!(own, ["x-placement-decision"], "the decision where it may be known, nothing for a next hop");
    }
}
