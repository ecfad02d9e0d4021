//! What the demo runs: one simulated substrate for each of the policy's, and Envoy with both roles in front.

use crate::server::{Behaviour, Substrate};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, Seen};
use crate::support::envoy::Envoy;
use crate::support::{built, eventually};
use berth::manifest::envoy::route::Way;
use berth::policy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The policy of the demo: six kinds of substrate, five dimensions.
const POLICY: &str = include_str!("../../policies/agentic-production.yaml");

/// Everything that runs; stops when dropped.
#[derive(Debug)]
pub struct World {
    pub envoy: Envoy,
    pub substrates: BTreeMap<String, (Arc<Substrate>, SocketAddr)>,
}

impl World {
    /// Starts everything and waits until decisions are made from a live picture.
    pub async fn start() -> Self {
        let mut policy: Value =
            serde_json::from_str(&policy::canonical::canonical(&read())).expect("canonical JSON is JSON");
        // By default a substrate that was full is left alone for half a minute: longer than a story may pause.
        policy["breaking"] = json!({"dwell_ms": 200, "hold_down_ms": 400});
        let mut substrates = BTreeMap::new();
        let mut bootstrap = Bootstrap::default();
        let (mut sources, mut clusters) = (Vec::new(), Vec::new());
        for declared in policy["substrates"].as_array().into_iter().flatten() {
            let name = declared["name"].as_str().expect("a checked policy names its substrates");
            let cluster = declared["cluster"].as_str().unwrap_or(name);
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
            let address = listener.local_addr().expect("a bound listener has an address");
            let substrate = Substrate::new(name, attesting(declared["location"]["jurisdiction"].as_str()));
            tokio::spawn(substrate.clone().serve(listener));
            substrates.insert(name.to_string(), (substrate, address));
            bootstrap = bootstrap.cluster(cluster, address);
            clusters.push(cluster.to_string());
            sources.push(json!({"cluster": cluster, "path": "/health", "format": "berth", "substrate": name,
                "interval_ms": 200, "timeout_ms": 150}));
        }
        let module = built("berth.wasm");
        let placement = json!({"role": "placement", "attach": "full", "policy": policy, "decision_upstream": true, "decision_response": true,
            "trusted_headers": ["x-workload"],
            "facts": {"tenant": {"header": "x-tenant", "trusted": true}, "data": {"header": "x-data-class", "trusted": true},
                "model": {"header": "x-model"}, "input_tokens": {"header": "x-prompt-tokens"}}});
        let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50, "sources": sources,
            "listener": {"read": "anyone"}});
        let clusters: Vec<&str> = clusters.iter().map(String::as_str).collect();
        let bootstrap = bootstrap
            .routes(Way::Full, &clusters, None)
            .filter(wasm_filter(&module, "placement", &placement, Carried::Text))
            .telemetry(wasm_filter(&module, "telemetry", &telemetry, Carried::Text));
        let world = Self { envoy: Envoy::start(&bootstrap.build()).await, substrates };
        // A run of good answers: both workers know all substrates, attestations included.
        eventually("decisions are made from a live picture", || async {
            for _ in 0..12 {
                let seen =
                    world.ask(&[("x-tenant", "acme"), ("x-data-class", "personal"), ("x-workload", "chat")]).await;
                seen.header("x-placement-decision").filter(|d| seen.status == 200 && d.contains("fresh=live"))?;
            }
            Some(())
        })
        .await;
        world
    }

    /// Sends one chat request with these headers.
    pub async fn ask(&self, headers: &[(&str, &str)]) -> Seen {
        let body =
            json!({"model": "llama-3.3-70b", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]});
        let mut ask = Ask::post(self.envoy.listener(INGRESS), "/v1/chat/completions", body.to_string());
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        ask.send().await.expect("Envoy answers")
    }

    /// Changes how a substrate behaves from now on.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Behaviour)) {
        let (substrate, _) =
            self.substrates.get(name).unwrap_or_else(|| panic!("the policy has no substrate `{name}`"));
        let mut behaviour = attesting(substrate.behaviour().attests.as_deref());
        change(&mut behaviour);
        substrate.becomes(behaviour);
    }

    /// What `up` prints.
    pub fn hint(&self) -> String {
        let ingress = self.envoy.listener(INGRESS);
        let mut text = format!(
            "Envoy listens on {ingress} and, in this demo, trusts the headers x-tenant, x-data-class and x-workload:\n\n\
             \x20 curl -i {ingress}/v1/chat/completions -H 'x-tenant: acme' -H 'x-data-class: personal' \\\n\
             \x20   -H 'x-workload: chat' -d '{{\"max_tokens\": 4, \"messages\": []}}'\n\n\
             Make a substrate full, slow or failing, and ask again:\n\n"
        );
        for (name, (_, address)) in &self.substrates {
            text.push_str(&format!("  curl -X PUT {address}/control -d '{{\"queue_depth\": 500}}'   # {name}\n"));
        }
        text.push_str(&format!(
            "\nLook at the substrates as the proxy sees them, in a browser, and at what it counts:\n\n\
             \x20 http://{}/\n  curl http://{}/stats/prometheus | grep berth_\n\n\
             Ask the proxy what is wrong with it:\n\n  dist/berth doctor http://{}   # `make cli` builds it\n",
            self.envoy.listener("telemetry"),
            self.envoy.admin_address(),
            self.envoy.admin_address()
        ));
        text.push_str(&format!(
            "\nWith the OpenAI client (examples/chat/README.md):\n\n\
             \x20 $(.ci/tools openai) examples/chat/chat.py http://{ingress}\n\n`make down` stops everything.\n"
        ));
        text
    }
}

/// Healthy, and attesting where it stands.
fn attesting(country: Option<&str>) -> Behaviour {
    Behaviour { attests: country.map(String::from), ..Behaviour::default() }
}

fn read() -> policy::tree::Node {
    match policy::yaml::parse(POLICY) {
        Ok(yaml) => yaml.node,
        Err(errors) => {
            panic!("policies/agentic-production.yaml: {}", errors.first().map_or_else(String::new, ToString::to_string))
        }
    }
}
