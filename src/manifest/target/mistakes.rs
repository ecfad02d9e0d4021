//! What a deployment file says that does not fit together, or not with its policy: it would be rendered, and not run.

use super::Subject;
use crate::manifest::envoy::route::Way;
use crate::policy::codes::Code;
use crate::policy::tree::{Entry, Node, Position, Value};
use crate::policy::{self, InvalidPolicy, codes, error::hint, permits::permits};

impl Subject<'_> {
    /// What does not fit together. `file` is the deployment file.
    #[must_use]
    pub fn mistakes(&self, file: &Node) -> Vec<InvalidPolicy> {
        let known: Vec<&str> = self.policy.substrates.iter().map(|s| s.name.as_str()).collect();
        let mut found = self.places(file, &known);
        found.extend(self.candidate(file, &known));
        found.extend(self.lane_members(file, &known));
        found.extend(self.names(file));
        found.extend(self.sources(file));
        found.extend(writers(file));
        found
    }

    /// What is legal, but suspicious. `foreign` is whether the listeners are a mesh's or a gateway's.
    #[must_use]
    pub fn suspicious(&self, file: &Node, foreign: bool) -> Vec<InvalidPolicy> {
        let mut found = self.open_otherwise(file);
        found.extend(self.left_authorities(file));
        found.extend(foreign.then(|| idle_listener(file)).into_iter().flatten());
        found
    }

    /// Where attempts follow each other, a host that has no name of its own is asked for that of the one before.
    fn left_authorities(&self, file: &Node) -> Vec<InvalidPolicy> {
        let all = &self.deployment.substrates;
        let named = all.iter().find(|(_, place)| place.authority.is_some() || place.by_name);
        let Some((other, _)) = named.filter(|_| self.deployment.way != Way::Simple) else { return Vec::new() };
        let expected =
            format!("an `authority`, as `{other}` has a name: what was tried there would be asked for by that name");
        let bare =
            all.iter().filter(|(_, place)| place.authority.is_none() && !place.by_name && !place.hosts.is_empty());
        bare.map(|(name, _)| {
            let entry = file.get("substrates").and_then(|places| places.entry(name));
            let at = entry.map_or(file.at, |entry| entry.at);
            InvalidPolicy::new(codes::LEFT_AUTHORITY, format!("substrates.{name}"), at, String::new(), expected.clone())
        })
        .collect()
    }

    /// Work that nobody places goes there, and nobody looks at whose it is.
    fn open_otherwise(&self, file: &Node) -> Vec<InvalidPolicy> {
        let otherwise = self.deployment.otherwise.as_deref();
        let otherwise = self.policy.substrates.iter().find(|s| Some(s.name.as_str()) == otherwise);
        let Some(substrate) = otherwise else { return Vec::new() };
        let against: Vec<String> =
            self.policy.envelopes.iter().filter(|e| !permits(e, substrate)).map(|e| format!("`{}`", e.name)).collect();
        if against.is_empty() {
            return Vec::new();
        }
        let at = file.get("otherwise").map_or(file.at, |node| node.at);
        let expected = format!("a substrate that every envelope permits; not {}", against.join(", "));
        vec![InvalidPolicy::new(codes::UNSAFE_OTHERWISE, "otherwise", at, substrate.name.to_string(), expected)]
    }

    /// Substrates without a place, places without a substrate.
    fn places(&self, file: &Node, known: &[&str]) -> Vec<InvalidPolicy> {
        let places = file.get("substrates");
        let whole = places.map_or(file.at, |node| node.at);
        let given = |name: &str| self.deployment.substrates.iter().any(|(given, _)| given == name);
        let missing = known.iter().filter(|name| !given(name)).map(|name| {
            let expected = "its hosts: the policy has this substrate";
            wrong(codes::MISSING_FIELD, format!("substrates.{name}"), whole, "", expected)
        });
        let place = |name: &str| places.and_then(|node| node.entry(name)).map_or(whole, |entry| entry.at);
        let placed =
            self.deployment.substrates.iter().map(|(name, _)| (name, format!("substrates.{name}"), place(name)));
        let otherwise = self.deployment.otherwise.iter();
        let at = file.get("otherwise").map_or(file.at, |node| node.at);
        let strange = placed.chain(otherwise.map(|name| (name, String::from("otherwise"), at)));
        let strange = strange.filter(|(name, ..)| !known.contains(&name.as_str()));
        missing.chain(strange.map(|(name, path, at)| unknown_substrate(path, at, name, known, "the policy"))).collect()
    }

    /// A candidate that is no policy, and substrates that only it has: nothing leads to them, and nobody would watch them.
    fn candidate(&self, file: &Node, known: &[&str]) -> Vec<InvalidPolicy> {
        let Some(node) = file.get("placement").and_then(|placement| placement.get("candidate")) else {
            return Vec::new();
        };
        let at = node.get("substrates").unwrap_or(node).at;
        let substrates = self.deployment.placement.get("candidate").and_then(|c| c.get("substrates")?.as_array());
        let names = substrates.into_iter().flatten().filter_map(|substrate| substrate.get("name")?.as_str());
        let strange = names.filter(|name| !known.contains(name)).map(|name| {
            let path = String::from("placement.candidate.substrates");
            unknown_substrate(path, at, name, known, "the current policy")
        });
        let strange: Vec<InvalidPolicy> = strange.collect();
        strange.into_iter().chain(policy::read_node(node, "placement.candidate").err().into_iter().flatten()).collect()
    }

    /// Lanes of what there is, and some where they are asked for.
    fn lane_members(&self, file: &Node, known: &[&str]) -> Vec<InvalidPolicy> {
        let lanes = file.get("placement").and_then(|placement| placement.get("lanes"));
        let mut found = Vec::new();
        if self.deployment.way == Way::Lanes && lanes.is_none_or(|lanes| lanes.items().is_empty()) {
            let at = file.entry("attach").map_or(file.at, |entry| entry.at);
            let expected = "the composite clusters that `attach: lanes` goes through";
            found.push(wrong(codes::MISSING_FIELD, "placement.lanes".into(), at, "", expected));
        }
        for (i, lane) in lanes.into_iter().flat_map(Node::items).enumerate() {
            for (j, member) in lane.get("substrates").into_iter().flat_map(Node::items).enumerate() {
                if let Some(name) = member.text().filter(|name| !known.contains(name)) {
                    let path = format!("placement.lanes[{i}].substrates[{j}]");
                    found.push(unknown_substrate(path, member.at, name, known, "the policy"));
                }
            }
        }
        found
    }

    /// Clusters of one name: the proxy takes one of them, or none.
    fn names(&self, file: &Node) -> Vec<InvalidPolicy> {
        let mut taken: Vec<&str> = self.clusters();
        let mut found = Vec::new();
        let helpers = file.get("helpers");
        for (name, _) in &self.deployment.helpers {
            if taken.contains(&name.as_str()) {
                let at = helpers.and_then(|node| node.entry(name)).map_or(file.at, |entry| entry.at);
                let expected = "a name that no substrate's cluster has";
                found.push(wrong(codes::CONTRADICTION, format!("helpers.{name}"), at, name, expected));
            }
        }
        taken.extend(self.deployment.helpers.iter().map(|(name, _)| name.as_str()));
        let lanes = file.get("placement").and_then(|placement| placement.get("lanes"));
        for (i, lane) in lanes.into_iter().flat_map(Node::items).enumerate() {
            let Some((cluster, name)) = lane.get("cluster").and_then(|node| Some((node, node.text()?))) else {
                continue;
            };
            if taken.contains(&name) {
                let expected = "a name that no other cluster has";
                found.push(wrong(
                    codes::CONTRADICTION,
                    format!("placement.lanes[{i}].cluster"),
                    cluster.at,
                    name,
                    expected,
                ));
            }
            taken.push(name);
        }
        found
    }

    /// Sources on clusters that there are. Names such as a mesh or a gateway gives its own (`outbound|…`, `a/b`) may be
    /// theirs.
    fn sources(&self, file: &Node) -> Vec<InvalidPolicy> {
        let mut known = self.clusters();
        known.extend(self.deployment.helpers.iter().map(|(name, _)| name.as_str()));
        let sources = file.get("telemetry").and_then(|telemetry| telemetry.get("sources"));
        let all = sources.into_iter().flat_map(Node::items).enumerate();
        let strange = all.filter_map(|(i, source)| {
            let node = source.get("cluster")?;
            let name = node.text().filter(|name| !known.contains(name) && !name.contains(['|', '/']))?;
            let expected =
                format!("a substrate's cluster, or one of the `helpers`{}", hint(name, known.iter().copied()));
            Some(wrong(codes::UNKNOWN_TARGET, format!("telemetry.sources[{i}].cluster"), node.at, name, &expected))
        });
        strange.collect()
    }
}

/// What is said of a listener that is not rendered: whoever bounds slow clients or asks for certificates there must know.
fn idle_listener(file: &Node) -> Vec<InvalidPolicy> {
    let Some(Node { value: Value::Map(entries), .. }) = file.get("listen") else { return Vec::new() };
    let of = |entry: &Entry| {
        let path = format!("listen.{}", entry.key);
        let expected = "an Envoy of its own to render it for: the listeners of Istio and Envoy Gateway are theirs";
        InvalidPolicy::new(codes::IDLE_LISTENER, path, entry.at, String::new(), expected.to_owned())
    };
    entries.iter().map(of).collect()
}

/// Writers that could be nobody, or anybody: the rendered listener speaks no TLS, and what is rendered is read by many.
fn writers(file: &Node) -> Vec<InvalidPolicy> {
    let listener = file.get("telemetry").and_then(|telemetry| telemetry.get("listener"));
    let writers = listener.and_then(|listener| listener.get("writers")).into_iter().flat_map(Node::items).enumerate();
    let refused = [
        ("token", "`token_sha256`, its digest: what is rendered is read by many"),
        ("san", "`token_sha256`: the listener that is rendered speaks no TLS, so nobody has a certificate there"),
    ];
    let of = |(i, writer): (usize, &Node)| {
        let of = |(field, expected): &(&str, &str)| {
            let entry = writer.entry(field)?;
            let path = format!("telemetry.listener.writers[{i}].{field}");
            Some(wrong(codes::CONTRADICTION, path, entry.at, field, expected))
        };
        refused.iter().filter_map(of).collect::<Vec<_>>()
    };
    writers.flat_map(of).collect()
}

fn wrong(code: Code, path: String, at: Position, found: &str, expected: &str) -> InvalidPolicy {
    InvalidPolicy::new(code, path, at, found.to_owned(), expected.to_owned())
}

fn unknown_substrate(path: String, at: Position, name: &str, known: &[&str], of: &str) -> InvalidPolicy {
    let expected = format!("a substrate of {of}{}", hint(name, known.iter().copied()));
    wrong(codes::UNKNOWN_SUBSTRATE, path, at, name, &expected)
}
