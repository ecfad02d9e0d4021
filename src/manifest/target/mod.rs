//! What is rendered, by where it goes.

pub mod envoy;
pub mod gateway;
pub mod istio;
pub mod kustomize;
mod mistakes;

use super::deployment::Deployment;
use super::envoy::cluster::{self, Endpoint, separate};
use super::plugin::{self, Carried, POLICY};
use super::yaml::{self, Notes};
use crate::model::{Class, Document, Kind, Substrate};
use crate::policy::{canonical::canonical, lint, tree::Node};
use serde_json::Value;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub text: String,
}

/// Everything that a target is made of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where things are.
    pub deployment: &'a Deployment,
    /// The policy.
    pub policy: &'a Document,
    /// The policy as its people wrote it.
    pub text: &'a str,
    /// The same as a tree.
    pub node: &'a Node,
    /// `name@version#digest`.
    pub label: &'a str,
}

/// What is said of everything that is rendered.
const COMMENTS: [(&str, &str); 17] = [
    ("early_header_mutation_extensions", "What clients must not send is removed before any route is looked at."),
    ("internal_only_headers", "The same again, for requests from outside."),
    (
        "cluster_specifier_plugins",
        "Which attempt is it, and which cluster does the plan have for it? Only the policy's clusters can be chosen.",
    ),
    ("max_allowed_occurrences", "A request that goes round ends here: some substrate's address is the proxy itself."),
    ("response_headers_to_remove", "No substrate tells clients something in our name."),
    ("refresh_cluster_on_retry", "Each attempt asks again: Envoy 1.39 or later."),
    ("request_body_buffer_limit", "What is kept of a body for another attempt; longer ones are tried once."),
    ("direct_response", "Nobody placed it: no guess."),
    ("vm_id", "The same for both roles: that is what shares the picture."),
    ("capability_restriction_config", "What the module calls and is called by, and nothing more."),
    ("allow_on_headers_stop_iteration", "It waits for the beginning of the body."),
    ("failure_policy", "A fault costs the streams of one VM, which comes back by itself."),
    (
        "max_pending_requests",
        "Above the policy's `concurrency`: its headroom answers before the proxy's own limits do.",
    ),
    ("retry_budget", "Retries never are the load."),
    ("stats_tags", "Labels out of the parts of the metrics' names."),
    ("upstream_log", "One line an attempt, joined to the request's by its id."),
    ("disabled", "Off but for the virtual host that asks for it: what goes to others is none of its business."),
];
/// What stands before the policy's own text.
const WRITTEN: &str = "The policy as it was written.";

/// The least that a connection may take, also where a class is in a greater hurry: there and back once within a continent,
/// and a moment to spare.
const NEAR_MS: u32 = 50;
/// Where nobody is in a hurry.
const USUAL_MS: u32 = 1_000;

impl<'a> Subject<'a> {
    /// The cluster of a substrate.
    fn cluster(&self, substrate: &str) -> Option<&'a str> {
        self.policy.substrates.iter().find(|s| s.name.as_str() == substrate).map(|s| s.cluster.as_str())
    }

    /// The clusters of all substrates.
    fn clusters(&self) -> Vec<&'a str> {
        self.policy.substrates.iter().map(|s| s.cluster.as_str()).collect()
    }

    /// Every substrate's cluster with what is its own; keys are kept apart.
    fn endpoints(&self, inside: &[Value]) -> Vec<(&'a str, Endpoint)> {
        let told = self.deployment.placement.get("decision_upstream") == Some(&Value::Bool(true));
        let lanes = plugin::lanes(self.deployment);
        let mut names = Vec::new();
        let mut endpoints = Vec::new();
        for (substrate, classes) in self.policy.substrates.iter().zip(lint::classes_of(self.policy)) {
            let given = self.deployment.substrates.iter().find(|(name, _)| name == substrate.name.as_str());
            let Some((_, endpoint)) = given else { continue };
            let mut endpoint = endpoint.clone();
            endpoint.filters = inside.to_vec();
            let hasty = || self.connect_ms(substrate, &classes, endpoint.tls.is_some());
            endpoint.connect_ms = endpoint.connect_ms.or_else(hasty);
            endpoint.concurrency = substrate.capacity.concurrency;
            endpoint.sees_decisions = told && substrate.kind != Kind::Provider;
            endpoint.in_lane = lanes.iter().any(|(_, members)| members.iter().any(|m| m == substrate.name.as_str()));
            names.push(substrate.cluster.as_str());
            endpoints.push(endpoint);
        }
        separate(&mut endpoints);
        names.into_iter().zip(endpoints).collect()
    }

    /// How long a connection may take, where that is less than usual: the least part of its deadline that an attempt of any
    /// class has which may run there, so that hosts that say nothing leave time for others. With TLS it is there and back
    /// twice.
    fn connect_ms(&self, substrate: &Substrate, classes: &[&Class], tls: bool) -> Option<u32> {
        let first_ms = u32::try_from(substrate.latency.first_token_us / 1_000).unwrap_or(u32::MAX);
        let most = |class: &Class| u32::from(class.attempts.most.min(self.policy.settings.selection.plan).max(1));
        let part = |class: &Class| {
            let part = class.deadline_ms / most(class);
            // A plan has fewer attempts rather than any that is shorter than an answer is declared to take.
            class.attempts.per_try_ms.map_or(part, |ms| part.min(ms)).max(first_ms)
        };
        // By what is declared nobody is sent there who has less time than that.
        let sent = classes.iter().filter(|class| class.deadline_ms >= first_ms);
        let least = if tls { 2 * NEAR_MS } else { NEAR_MS };
        sent.map(|class| part(class)).min().filter(|&ms| ms < USUAL_MS).map(|ms| ms.max(least))
    }

    /// The lanes over these clusters, by their names.
    ///
    /// # Errors
    /// Names the substrate that cannot be in one.
    fn lanes(&self, endpoints: &[(&'a str, Endpoint)]) -> Result<Vec<(String, Value)>, String> {
        let lane = |(name, substrates): (String, Vec<String>)| {
            let wanted = substrates.iter().filter_map(|substrate| self.cluster(substrate));
            let found = wanted.filter_map(|cluster| endpoints.iter().find(|(known, _)| *known == cluster));
            let members: Vec<(&str, &Endpoint)> = found.map(|(cluster, endpoint)| (*cluster, endpoint)).collect();
            cluster::lane_over(&name, &members).map(|lane| (name, lane))
        };
        plugin::lanes(self.deployment).into_iter().map(lane).collect()
    }

    /// The policy within a text.
    const fn text_carried(&self) -> Carried<'a> {
        Carried::Text(self.node)
    }

    /// The policy's text as it can stand within another document: without the marks at which documents begin and end. What
    /// would be read as something else there is written anew, which costs its comments.
    fn within(&self) -> String {
        let text = self.text.trim_start_matches('\u{feff}');
        let marks = |line: &&str| {
            let rest = line.strip_prefix("---").or(line.strip_prefix("..."));
            !rest.is_some_and(|rest| {
                rest.trim().is_empty() || rest.trim_start().starts_with('#') && rest.starts_with([' ', '\t'])
            })
        };
        let lines: Vec<&str> = text.lines().filter(marks).collect();
        let within: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        let same = crate::policy::yaml::parse(&format!("policy:\n{within}"))
            .is_ok_and(|read| read.node.get("policy").is_some_and(|policy| canonical(policy) == canonical(self.node)));
        if same { lines.join("\n") + "\n" } else { canonical(self.node) + "\n" }
    }

    /// A file of these documents.
    fn file(&self, name: &'static str, target: &str, says: &str, documents: &[Value]) -> File {
        let mut text = format!(
            "# Rendered by `berth render {target}` for {}: change the deployment or the policy and render again.\n",
            self.label
        );
        for line in says.lines() {
            text.push_str(&format!("# {line}\n"));
        }
        let policy = self.within();
        let texts = [(POLICY, WRITTEN, policy.as_str())];
        let notes = Notes { comments: &COMMENTS, texts: &texts };
        let documents: Vec<String> = documents.iter().map(|document| yaml::write(document, notes)).collect();
        text.push_str(&documents.join("---\n"));
        File { name, text }
    }
}

/// A mesh or a gateway names its tracer in resources of its own.
fn no_tracer(subject: &Subject<'_>) -> Result<(), String> {
    let own = "tracing: expected none for this target, which names its tracer in resources of its own";
    if subject.deployment.tracing.is_some() { Err(own.into()) } else { Ok(()) }
}
