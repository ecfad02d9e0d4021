//! Looks at what a running proxy says of itself and says what is wrong with it: what no single file shows, because it
//! is about how the parts of a proxy, or several proxies, go together.

mod found;

use super::plugin::PLANS;
use crate::model::contract::{CLUSTER_HEADER, OWN_HEADERS};
use crate::policy::{self, json};
use found::{Manager, Plugin};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a proxy says of itself.
#[derive(Clone, Debug)]
pub struct Patient {
    /// How people call it: its address.
    pub name: String,
    /// Its `/config_dump`.
    pub dump: Value,
    /// Its `/stats?format=json`.
    pub stats: Value,
    /// Its `/server_info`.
    pub server: Value,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Works, and could surprise.
    Warning,
    /// Does not do what it was told.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub grade: Grade,
    /// A word that does not change.
    pub slug: &'static str,
    /// In which proxy.
    pub proxy: String,
    /// What.
    pub what: String,
    /// What to do.
    pub mend: &'static str,
}

/// Everything that is wrong with these proxies, worst first.
#[must_use]
pub fn examine(patients: &[Patient]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = patients.iter().flat_map(|patient| Exam::new(patient).run()).collect();
    findings.extend(disagreement(patients));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    findings
}

/// The policies that its placement filters were told, as `name@version#digest`.
#[must_use]
pub fn policies(patient: &Patient) -> BTreeSet<String> {
    let placing = found::plugins(&patient.dump).into_iter().filter(|plugin| plugin.root == "placement");
    placing.filter_map(|plugin| Some(read(&plugin)?.1)).collect()
}

struct Exam<'a> {
    patient: &'a Patient,
    plugins: Vec<Plugin<'a>>,
    found: Vec<Finding>,
}

impl<'a> Exam<'a> {
    fn new(patient: &'a Patient) -> Self {
        Self { patient, plugins: found::plugins(&patient.dump), found: Vec::new() }
    }

    fn say(&mut self, grade: Grade, slug: &'static str, what: impl Into<String>, mend: &'static str) {
        let finding = Finding { grade, slug, proxy: self.patient.name.clone(), what: what.into(), mend };
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    fn run(mut self) -> Vec<Finding> {
        self.refused();
        let placing: Vec<Plugin<'a>> = self.plugins.iter().filter(|p| p.root == "placement").cloned().collect();
        if placing.is_empty() {
            self.say(Grade::Error, "no-placement", "no filter of the placement role", "attach one: `berth render`");
            return self.found;
        }
        self.roles(&placing);
        self.plugins_alone();
        self.managers();
        for plugin in &placing {
            self.clusters(plugin);
        }
        self.running(&placing);
        self.found
    }

    /// What the proxy itself did not take.
    fn refused(&mut self) {
        for (name, why) in found::refused(&self.patient.dump) {
            let what = format!("`{name}` was refused and the one before serves on: {why}");
            self.say(Grade::Error, "refused", what, "mend the configuration; `berth check` says where");
        }
        if self.stat("listener_manager.total_listeners_draining").is_some_and(|n| n > 0) {
            self.say(
                Grade::Warning,
                "draining",
                "an old listener is still draining: its filters tick on",
                "wait for the drain, or attach the filter by ECDS, where the old one stops at once",
            );
        }
    }

    /// How the two roles go together.
    fn roles(&mut self, placing: &[Plugin<'a>]) {
        let watching: Vec<Plugin<'a>> = self.plugins.iter().filter(|p| p.root == "telemetry").cloned().collect();
        if watching.is_empty() {
            let what = "no telemetry role: decisions rest on what the policy declares";
            self.say(Grade::Warning, "no-telemetry", what, "render one with `telemetry:` in the deployment file");
        }
        for (a, b) in placing.iter().flat_map(|a| watching.iter().map(move |b| (a, b))) {
            if a.vm_id != b.vm_id {
                let what =
                    format!("vm_id `{}` of placement and `{}` of telemetry: no picture is shared", a.vm_id, b.vm_id);
                self.say(Grade::Error, "roles-apart", what, "give both roles the same vm_id");
            } else if a.vm_configuration == b.vm_configuration && a.code == b.code {
                let what = "placement and telemetry share a VM: a fault in one ends the other's requests";
                self.say(Grade::Warning, "roles-in-one-vm", what, "give them different vm_config.configuration");
            }
        }
    }

    fn plugins_alone(&mut self) {
        for plugin in self.plugins.clone() {
            let waits = ["/body", "/listener/writers/0"].iter().any(|at| plugin.configuration.pointer(at).is_some());
            if waits && !plugin.may_wait {
                let what = format!("`{}` reads bodies without allow_on_headers_stop_iteration", plugin.name);
                self.say(Grade::Error, "may-not-wait", what, "set allow_on_headers_stop_iteration");
            }
            if plugin.failure_policy != "FAIL_RELOAD" {
                let what = format!(
                    "`{}` has failure_policy {}: after a fault it stays down",
                    plugin.name, plugin.failure_policy
                );
                self.say(Grade::Warning, "no-reload", what, "set failure_policy: FAIL_RELOAD");
            }
        }
    }

    /// What stands around the filters.
    fn managers(&mut self) {
        let dump = &self.patient.dump;
        let names = found::placing(dump);
        let managers: Vec<Manager<'a>> = found::managers(dump).into_iter().filter(|m| m.places(&names)).collect();
        let routes = found::routes(dump);
        for manager in managers {
            if !manager.removes_early(OWN_HEADERS) {
                let what = format!("`{}` does not remove clients' {OWN_HEADERS}* headers before routing", manager.name);
                self.say(Grade::Error, "not-stripped", what, "add early_header_mutation_extensions as rendered");
            }
        }
        let attach = |plugin: &Plugin<'_>| {
            plugin.configuration.get("attach").and_then(Value::as_str).unwrap_or("simple").to_owned()
        };
        // In shadow nothing is to obey.
        let enforces = |plugin: &&Plugin<'_>| {
            plugin.root == "placement" && plugin.configuration.get("mode").is_none_or(|mode| mode == "enforce")
        };
        let ways: BTreeSet<String> = self.plugins.iter().filter(enforces).map(attach).collect();
        for way in ways {
            if way == "full" {
                self.full(&routes);
            } else if !routes.iter().any(|route| route.pointer("/route/cluster_header") == Some(&CLUSTER_HEADER.into()))
            {
                let what = format!("attach: {way}, and no route obeys {CLUSTER_HEADER}");
                self.say(Grade::Error, "no-route", what, "add the route as rendered");
            }
        }
    }

    fn full(&mut self, routes: &[&Value]) {
        let obeys = |route: &&&Value| {
            let action = route.get("route");
            action.is_some_and(|a| {
                a.get("cluster_specifier_plugin").is_some() || a.get("inline_cluster_specifier_plugin").is_some()
            })
        };
        let obeying: Vec<&&Value> = routes.iter().filter(obeys).collect();
        if obeying.is_empty() {
            let what = "attach: full, and no route looks plans up";
            self.say(Grade::Error, "no-route", what, "add the route with the matcher cluster specifier as rendered");
        }
        for route in obeying {
            let refresh = route.pointer("/route/retry_policy/refresh_cluster_on_retry");
            if refresh != Some(&Value::Bool(true)) {
                let what = "attach: full, and a route has no refresh_cluster_on_retry: every attempt goes to the first cluster";
                self.say(Grade::Error, "no-refresh", what, "set retry_policy.refresh_cluster_on_retry");
            }
        }
        if let Some((major, minor)) = found::release(&self.patient.server).filter(|release| *release < PLANS) {
            let what = format!("attach: full on Envoy {major}.{minor}, which cannot look plans up");
            self.say(Grade::Error, "too-old", what, "Envoy 1.39 or later, or attach: lanes");
        }
    }

    /// Whether the policy's clusters are there.
    fn clusters(&mut self, plugin: &Plugin<'a>) {
        let Some((checked, _)) = read(plugin) else {
            let what = format!("`{}` was told no policy that can be read", plugin.name);
            self.say(Grade::Error, "no-policy", what, "`berth check` says what is wrong with it");
            return;
        };
        let known = found::clusters(&self.patient.dump);
        for substrate in &checked.document.substrates {
            if !known.contains(substrate.cluster.as_str()) {
                let what = format!(
                    "substrate `{}` is behind the cluster `{}`, which does not exist",
                    substrate.name, substrate.cluster
                );
                self.say(Grade::Error, "no-cluster", what, "add the cluster, or take the substrate out of the policy");
            }
        }
    }

    /// What runs against what was told.
    fn running(&mut self, placing: &[Plugin<'a>]) {
        let told: BTreeMap<u64, String> =
            placing.iter().filter_map(read).map(|(c, label)| (word(&c.digest.0), label)).collect();
        if let Some(runs) = self.stat("wasmcustom.berth.policy.fingerprint").filter(|runs| !told.contains_key(runs)) {
            let labels: Vec<&str> = told.values().map(String::as_str).collect();
            let what = format!(
                "the policy that runs (fingerprint {runs:08x}) is not the one that it was told ({})",
                labels.join(", ")
            );
            self.say(Grade::Error, "not-running", what, "look for `configuration refused` in the proxy's log");
        }
        let telemetry = self.plugins.iter().any(|p| p.root == "telemetry");
        match (telemetry, self.stat("wasmcustom.berth.snapshot.epoch"), self.stat("wasmcustom.berth.snapshot.age_ms")) {
            (true, Some(0), _) => self.say(
                Grade::Error,
                "no-picture",
                "no snapshot has been published",
                "look at berth_telemetry_failed: nothing answers",
            ),
            (true, _, Some(age)) if age > 30_000 => {
                let what = format!("the picture is {} s old", age / 1000);
                self.say(
                    Grade::Error,
                    "old-picture",
                    what,
                    "look at berth_telemetry_failed: the sources, or the role, are gone",
                );
            }
            _ => {}
        }
    }

    fn stat(&self, name: &str) -> Option<u64> {
        let stats = self.patient.stats.get("stats")?.as_array()?;
        stats.iter().find(|stat| stat.get("name").and_then(Value::as_str) == Some(name))?.get("value")?.as_u64()
    }
}

/// The policy that a plugin was told, and its label.
fn read(plugin: &Plugin<'_>) -> Option<(policy::Checked, String)> {
    let text = plugin.configuration.get("policy")?.to_string();
    let node = json::parse(text.as_bytes()).ok()?;
    let checked = policy::read_node(&node, "").ok()?;
    let identity = &checked.document.identity;
    let label = format!("{}@{}#{}", identity.name, identity.version, checked.digest.short());
    Some((checked, label))
}

/// The first 32 bits of a digest, as the filter's gauge shows them.
fn word(digest: &[u8; 32]) -> u64 {
    digest.iter().take(4).fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

/// Proxies that decide by different policies.
fn disagreement(patients: &[Patient]) -> Option<Finding> {
    let told: Vec<(&str, BTreeSet<String>)> =
        patients.iter().map(|patient| (patient.name.as_str(), policies(patient))).collect();
    let mut different: Vec<&BTreeSet<String>> = told.iter().map(|(_, labels)| labels).collect();
    different.sort();
    different.dedup();
    (different.len() > 1).then(|| {
        let list = |labels: &BTreeSet<String>| labels.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let each: Vec<String> = told.iter().map(|(name, labels)| format!("{name} has {}", list(labels))).collect();
        Finding {
            grade: Grade::Error,
            slug: "fleet-disagrees",
            proxy: String::from("all"),
            what: format!("proxies decide by different policies: {}", each.join(", ")),
            mend: "finish the rollout, or find who has not taken it",
        }
    })
}
