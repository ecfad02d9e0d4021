//! The module as a filter: where it comes from, what it may do, what it is told.

use super::deployment::{Deployment, Module};
use super::envoy::{extension, listener::PASSES, route::Way, typed, types};
use super::json;
use super::module::Cut;
use super::rights::{ALONE, rights};
use crate::model::contract::DECISION_STATE;
use crate::policy::tree::Node;
use serde_json::{Map, Value, json};

/// Stands where the policy's own text is put in.
pub const POLICY: &str = "\u{1}policy";
/// Both roles read one snapshot because their VMs have the same name.
const VM: &str = "berth";

/// The first release of Envoy that restricts VMs rather than plugins.
const RIGHTS_BY_VM: (u32, u32) = (1, 40);
/// The first release whose routes can look a plan up at each attempt.
pub const PLANS: (u32, u32) = (1, 39);
/// The first release with composite clusters, which lanes are.
pub const LANES: (u32, u32) = (1, 37);

/// A use of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Decides.
    Placement,
    /// Pulls and publishes.
    Telemetry,
    /// The telemetry role inside the clusters.
    Observing,
}

impl Role {
    const fn root(self) -> &'static str {
        match self {
            Self::Placement => "placement",
            Self::Telemetry | Self::Observing => "telemetry",
        }
    }

    /// The filter's name.
    #[must_use]
    pub fn filter(self) -> String {
        format!("berth.{}", self.root())
    }
}

/// What the plugin is told; the policy's text stands where [`POLICY`] does.
#[must_use]
pub fn configuration(deployment: &Deployment, role: Role) -> Value {
    let fields = match role {
        Role::Placement => deployment.placement.clone(),
        Role::Telemetry => desk(deployment.telemetry.clone().unwrap_or_default()),
        Role::Observing if deployment.histograms => {
            return json!({"role": "telemetry", "observe": true, "histograms": true});
        }
        Role::Observing => return json!({"role": "telemetry", "observe": true}),
    };
    let mut config = Map::from_iter([("role".into(), json!(role.root())), ("policy".into(), json!(POLICY))]);
    if role == Role::Placement {
        config.insert("attach".into(), json!(deployment.way.as_str()));
    }
    config.extend(fields);
    // Whoever reads bodies has to be let stop at the headers: [`plugin`] lets it.
    if let Some(Value::Object(body)) = config.get_mut("body") {
        body.insert("headers_stop".into(), json!(true));
    }
    Value::Object(config)
}

/// Whether hops before this proxy may be believed.
#[must_use]
pub fn believes_hops(deployment: &Deployment) -> bool {
    deployment.placement.get("hops").and_then(|hops| hops.get("trust")).is_some()
}

/// What the placement role is told where nothing obeys it: a filter without routes of ours that refused requests and wrote down
/// places that they did not go to would be a false record.
#[must_use]
pub fn alone(deployment: &Deployment) -> Value {
    let mut config = configuration(deployment, Role::Placement);
    let passes = config.get("mode") == Some(&json!("passthrough"));
    if let (false, Value::Object(config)) = (passes, &mut config) {
        config.insert("mode".into(), json!("shadow"));
        // They cannot say that the filter may wait for bodies: each would be held for nothing.
        config.remove("body");
    }
    config
}

/// The role answers on its listener because it is let wait for bodies there.
fn desk(mut fields: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(listener)) = fields.get_mut("listener") {
        listener.insert("headers_stop".into(), json!(true));
    }
    fields
}

/// Whether the role waits for bodies.
fn waits(deployment: &Deployment, role: Role) -> bool {
    match role {
        Role::Placement => deployment.placement.contains_key("body"),
        Role::Telemetry => deployment.telemetry.as_ref().is_some_and(|t| t.contains_key("listener")),
        Role::Observing => false,
    }
}

/// How the configuration is carried.
#[derive(Clone, Copy, Debug)]
pub enum Carried<'a> {
    /// As a map, with the policy as it was written, where an API server turns YAML into JSON.
    Map,
    /// As a text in JSON, with this policy, where Envoy itself reads YAML: it would take decimals for text.
    Text(&'a Node),
}

fn carry(configuration: &Value, carried: Carried<'_>) -> Value {
    match carried {
        Carried::Map => typed(types::STRUCT, json!({"value": configuration})),
        Carried::Text(policy) => {
            typed(types::STRING, json!({"value": json::write(&json::with(configuration, POLICY, policy))}))
        }
    }
}

/// Whether the placement role is to hear of answers: a candidate is judged by them, and the ends of requests are some.
fn hears(deployment: &Deployment) -> bool {
    let counts = |ends: &Value| ends.as_u64().is_none_or(|n| n > 0);
    deployment.placement.contains_key("candidate") || deployment.placement.get("outcomes").is_some_and(counts)
}

/// Envoy's `PluginConfig`. A role that is there for every request needs the callbacks of the whole module only where
/// it reads bodies or hears of answers.
#[must_use]
pub fn plugin(deployment: &Deployment, role: Role, code: &Value, carried: Carried<'_>) -> Value {
    let whole = role != Role::Placement || waits(deployment, role) || hears(deployment);
    let rights = rights(if whole { Cut::Full } else { Cut::Placement }).filter(|name| *name != ALONE);
    // Where there is a telemetry role too, the file is the one with both.
    let either = role == Role::Placement && deployment.telemetry.is_none();
    let granted: Map<String, Value> =
        rights.chain(either.then_some(ALONE)).map(|name| (name.to_owned(), json!({}))).collect();
    let granted = json!({"allowed_capabilities": granted});
    let mut plugin = json!({
        "name": role.filter(),
        "root_id": role.root(),
        "failure_policy": "FAIL_RELOAD",
        "configuration": carry(&configuration(deployment, role), carried),
        "vm_config": {
            "vm_id": VM, "runtime": "envoy.wasm.runtime.v8", "code": code,
            // Different VM configurations keep the roles in different VMs: a fault in one does not touch the other.
            "configuration": typed(types::STRING, json!({"value": role.root()})),
        },
    });
    // A VM's restriction since Envoy 1.40, a plugin's before.
    let at = if deployment.envoy >= RIGHTS_BY_VM { plugin.get_mut("vm_config") } else { Some(&mut plugin) };
    if let Some(Value::Object(at)) = at {
        at.insert("capability_restriction_config".into(), granted);
    }
    if let (true, Value::Object(plugin)) = (waits(deployment, role), &mut plugin) {
        plugin.insert("allow_on_headers_stop_iteration".into(), json!(true));
    }
    plugin
}

/// The filter.
#[must_use]
pub fn filter(deployment: &Deployment, role: Role, code: &Value, carried: Carried<'_>) -> Value {
    extension(&role.filter(), types::WASM, json!({"config": plugin(deployment, role, code, carried)}))
}

/// A filter that only looks at requests of the virtual hosts that ask for it, as [`asked`] does: it stands in the way of all
/// that a proxy sends, and most of that is none of its business.
#[must_use]
pub fn on_request(mut filter: Value) -> Value {
    if let Value::Object(filter) = &mut filter {
        filter.insert("disabled".into(), json!(true));
    }
    filter
}

/// What a virtual host says to ask for the placement filter, and for the one that counts passes: nothing but their names.
#[must_use]
pub fn asked(counts: bool) -> Value {
    let names = counts.then(|| PASSES.to_owned()).into_iter().chain([Role::Placement.filter()]);
    names.map(|name| (name, typed(types::FILTER_CONFIG, json!({"config": {}})))).collect::<Map<_, _>>().into()
}

/// The filter, where its configuration is discovered.
#[must_use]
pub fn discovered(role: Role, source: &Value) -> Value {
    json!({"name": role.filter(), "config_discovery": {"type_urls": [types::WASM], "config_source": source}})
}

impl Module {
    /// The module as a proxy finds it beside itself.
    #[must_use]
    pub fn local(&self) -> Option<Value> {
        self.file.as_ref().map(|file| json!({"local": {"filename": file}}))
    }

    /// Where somebody else fetches the module, and the digest of what comes: of its bytes, or of the image.
    ///
    /// # Errors
    /// An image that could be any.
    pub fn fetched(&self) -> Result<Option<(&str, &str)>, String> {
        let Some(place) = self.url.as_deref().or(self.image.as_deref()) else { return Ok(None) };
        let named = place.split_once("@sha256:").map(|(_, digest)| digest).filter(|_| self.url.is_none());
        let lacks = "module.sha256: missing, expected the image's digest there or in its name, as `oci://…@sha256:…`: what comes over the network is checked";
        let digest = named.or(self.sha256.as_deref()).ok_or(lacks)?;
        Ok(Some((place, digest)))
    }

    /// The module as a proxy fetches it, from this cluster.
    #[must_use]
    pub fn remote(&self, cluster: &str) -> Option<Value> {
        let (url, sha256) = (self.url.as_ref()?, self.sha256.as_ref()?);
        let uri = json!({"uri": url, "cluster": cluster, "timeout": "30s"});
        Some(json!({"remote": {"http_uri": uri, "sha256": sha256}}))
    }
}

/// What is added to every answer where clients may know decisions: the decision.
#[must_use]
pub fn told(deployment: &Deployment) -> Option<Value> {
    (deployment.placement.get("decision_response") == Some(&Value::Bool(true))).then(|| {
        let value = format!("%FILTER_STATE(wasm.{DECISION_STATE}:PLAIN)%");
        json!([{"header": {"key": crate::model::contract::DECISION_HEADER, "value": value}, "keep_empty_value": false}])
    })
}

/// The clusters that the placement role may name: the substrates', or the lanes over them.
#[must_use]
pub fn lanes(deployment: &Deployment) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let lane = |lane: &Value| {
        let substrates = lane.get("substrates")?.as_array()?;
        Some((text(lane.get("cluster")?)?, substrates.iter().filter_map(text).collect()))
    };
    let lanes = deployment.placement.get("lanes").and_then(Value::as_array);
    let listed = lanes.into_iter().flatten().filter_map(lane);
    if deployment.way == Way::Lanes { listed.collect() } else { Vec::new() }
}
