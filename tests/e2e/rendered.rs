//! What `berth render` writes, in a real Envoy: as it is for an Envoy of one's own, by small emulations of how Istio
//! and Envoy Gateway apply patches for theirs.

use crate::attempts::{LATE_MS, silent};
use crate::mesh::health;
use crate::support::client::{Ask, BOTH, Http, Seen};
use crate::support::envoy::{Envoy, validate, version, workdir};
use crate::support::patches::{self, yaml};
use crate::support::upstream::{Script, Upstream};
use crate::support::{TRIES, built, eventually, everywhere};
use berth::model::contract::OWN;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STARTER: &str = include_str!("../../policies/starter.yaml");

/// The starter policy with one order among the places of Europe and without patience, so that each step can be told.
pub fn policy() -> String {
    let patient = "deadline_ms: 8000";
    assert!(STARTER.contains(patient));
    let hasty = "deadline_ms: 60000\n    attempts: {most: 3, repeatable: true}";
    format!("{}{HASTE}", STARTER.replace(patient, hasty))
}

pub const HASTE: &str = "
selection: {margin: 0, margin_per_second: 0, max_shift: 1, ramp_ms: 0}
breaking: {dwell_ms: 50, hold_down_ms: 50, open_ms: 50, open_most_ms: 100}
";

/// Three upstreams, one of them a provider with a path and a key of its own, and the files to reach them.
pub struct Site {
    pub dir: PathBuf,
    de: Upstream,
    fr: Upstream,
    us: Upstream,
}

impl Site {
    pub async fn open(policy: &str, more: &str) -> Self {
        let (de, fr, us) =
            (Upstream::start("gpu-de").await, Upstream::start("gpu-fr").await, Upstream::start("provider-us").await);
        for upstream in [&de, &fr, &us] {
            upstream.does_at("/health", health(&upstream.name, 0));
        }
        let dir = workdir();
        fs::write(dir.join("policy.yaml"), policy).unwrap();
        fs::write(dir.join("secret.yaml"), SECRET).unwrap();
        let site = Self { dir, de, fr, us };
        fs::write(site.dir.join("deployment.yaml"), site.deployment(more)).unwrap();
        site
    }

    fn deployment(&self, more: &str) -> String {
        let (module, dir) = (built("berth.wasm"), self.dir.display());
        let (module, de, fr, us) = (module.display(), self.de.address, self.fr.address, self.us.address);
        format!(
            "berth: 1
policy: policy.yaml
module: {{file: '{module}'}}
listen: {{at: '127.0.0.1:0'}}
admin: '127.0.0.1:0'
desk: '127.0.0.1:0'
config_dir: '{dir}'
placement:
  refresh_ms: 20
  facts: {{tenant: {{header: x-tenant, trusted: true}}}}
  trust_path: true
telemetry:
  tick_ms: 50
  sources:
  - {{cluster: gpu-de, path: /health, substrate: gpu-de, interval_ms: 100, timeout_ms: 90}}
  - {{cluster: gpu-fr, path: /health, substrate: gpu-fr, interval_ms: 100, timeout_ms: 90}}
substrates:
  gpu-de: {{hosts: ['{de}'], http2: true}}
  gpu-fr: {{hosts: ['{fr}']}}
  provider-us:
    hosts: ['{us}']
    authority: api.provider.example
    path_prefix: /openai
    credential: {{sds_file: '{dir}/secret.yaml', secret: provider}}
{more}"
        )
    }

    /// Renders; the tool must be content.
    pub fn render(&self, target: &str) {
        let said = berth(&["render", target, "deployment.yaml", "-o", "."], &self.dir);
        assert!(said.0, "{}", said.1);
    }
}

pub const SECRET: &str = "resources:
- '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: provider
  generic_secret: {secret: {inline_string: Bearer ours}}
";

/// Runs the tool: whether it was content, and what it said.
pub fn berth(arguments: &[&str], dir: &Path) -> (bool, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_berth")).args(arguments).current_dir(dir).output().unwrap();
    (
        said.status.success(),
        format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)),
    )
}

pub async fn chat(envoy: &Envoy, listener: &str, http: Http, headers: &[(&str, &str)]) -> Seen {
    let ask = Ask::post(envoy.listener(listener), "/v1/chat/completions", "{}").over(http);
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await.unwrap()
}

/// Requests are placed where the policy says, tried again where it permits, and what belongs to one substrate is seen by
/// no other.
async fn places_and_keeps_apart(site: &Site, envoy: &Envoy, listener: &str, host: &[(&str, &str)]) {
    let with = |more: &[(&'static str, &'static str)]| -> Vec<(String, String)> {
        host.iter().chain(more).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    let ask = |http, headers: Vec<(String, String)>| async move {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        chat(envoy, listener, http, &headers).await
    };
    for http in BOTH {
        let placed = || ask(http, with(&[("x-tenant", "acme")]));
        everywhere("both workers place in Europe", || async {
            let seen = placed().await;
            seen.status == 200 && ["gpu-de", "gpu-fr"].contains(&seen.text().as_str())
        })
        .await;
        eventually("a healthy mesh places at home", || async { (placed().await.text() == "gpu-de").then_some(()) })
            .await;
        // Forged: named by the client, and a place that its envelope forbids.
        let forged = [("x-tenant", "acme"), ("x-placement-cluster", "provider-us"), ("x-envoy-attempt-count", "1")];
        assert!(["gpu-de", "gpu-fr"].contains(&ask(http, with(&forged)).await.text().as_str()));
        // The first choice refuses, the second one answers: within the envelope.
        site.de.does(Script::status(503));
        eventually("the next permitted substrate answers", || async {
            let seen = ask(http, with(&[("x-tenant", "acme")])).await;
            (seen.status == 200 && seen.text() == "gpu-fr").then_some(())
        })
        .await;
        site.fr.does(Script::status(503));
        let refused = ask(http, with(&[("x-tenant", "acme")])).await;
        assert_eq!(refused.status, 503, "a European customer's work stays in Europe");
        eventually("others may go to the provider", || async {
            let seen = ask(http, with(&[("x-tenant", "initech"), ("authorization", "Bearer theirs")])).await;
            (seen.status == 200 && seen.text() == "provider-us").then_some(())
        })
        .await;
        // Whoever answers says nothing to the client in our name.
        let ours: Vec<_> = OWN.iter().map(|name| (name.to_string(), "forged".to_string())).collect();
        site.de.does(Script::Answer(200, ours.clone(), "gpu-de".into()));
        site.fr.does(Script::Answer(200, ours, "gpu-fr".into()));
        eventually("answers come again", || async {
            let seen = ask(http, with(&[("x-tenant", "acme")])).await;
            assert!(OWN.iter().all(|name| seen.header(name).is_none()), "{seen:?}");
            (seen.status == 200).then_some(())
        })
        .await;
        site.de.does(Script::ok("gpu-de"));
        site.fr.does(Script::ok("gpu-fr"));
    }
    let chats = |upstream: &Upstream| {
        upstream.received().into_iter().filter(|r| r.path.ends_with("/chat/completions")).collect::<Vec<_>>()
    };
    let at_provider = chats(&site.us);
    assert!(!at_provider.is_empty());
    for request in &at_provider {
        assert_eq!(request.path, "/openai/v1/chat/completions");
        assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Bearer ours"));
        assert_eq!(
            request.headers.get(":authority").or(request.headers.get("host")).map(String::as_str),
            Some("api.provider.example")
        );
    }
    for request in chats(&site.de).iter().chain(&chats(&site.fr)).chain(&at_provider) {
        let own = request.headers.keys().find(|name| name.starts_with("x-placement-"));
        assert_eq!(own, None, "our own headers end before the substrate");
        assert!(request.headers.get("authorization").is_none_or(|key| key == "Bearer ours"));
    }
    for request in chats(&site.de).iter().chain(&chats(&site.fr)) {
        assert_eq!(request.headers.get("authorization"), None, "a key that is not theirs");
        assert_eq!(request.path, "/v1/chat/completions");
    }
}

#[tokio::test]
async fn a_rendered_envoy_places_falls_back_and_keeps_keys_apart() {
    let site = Site::open(&policy(), "").await;
    site.render("envoy");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    places_and_keeps_apart(&site, &envoy, "ingress", &[]).await;

    // The logs that it was rendered with say what was decided, for requests and attempts.
    let lines = eventually("the logs are written", || async {
        let text = fs::read_to_string(site.dir.join("stdout.log")).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.iter().filter(|line| line.get("decision").is_some()).count() > 5).then_some(lines)
    })
    .await;
    let decided = lines.iter().filter_map(|line| line["decision"].as_str()).find(|d| d.starts_with("v=")).unwrap();
    let (_, checked) = berth(&["check", "policy.yaml"], &site.dir);
    let digest = checked.split('#').nth(1).unwrap().get(..8).unwrap();
    assert!(decided.contains(digest), "the policy that runs is the one that was written: {decided}, {checked}");
    assert!(lines.iter().any(|line| line.get("decision").is_none() && line["cluster"] == "gpu-fr"), "attempts too");
    // The rendered rules make labels of the metrics.
    eventually("a metric has its labels", || async {
        let metrics = envoy.admin_get("/stats/prometheus").await.text();
        let mut decisions = metrics.lines().filter(|line| line.starts_with("berth_decisions{"));
        decisions.any(|line| line.contains("substrate=\"gpu-fr\"")).then_some(())
    })
    .await;
}

/// A stream in a hurry, that may be begun once only, and whose first choice says nothing to who would connect: what was
/// rendered for its policy leaves time for the next one, and where all are silent it ends at its deadline.
#[tokio::test]
async fn a_stream_in_a_hurry_begins_in_time_where_a_host_says_nothing() {
    const HURRY_MS: u64 = 210;
    let (patient, slow) = ("deadline_ms: 8000", "first_token_ms: 250, prefill_ms_per_ktok: 40");
    assert!(STARTER.contains(patient) && STARTER.contains(slow));
    let hasty = format!("deadline_ms: {HURRY_MS}\n    attempts: {{most: 3}}\n    needs: [streaming]");
    let policy = STARTER.replace(patient, &hasty).replace(slow, "first_token_ms: 5, prefill_ms_per_ktok: 1") + HASTE;
    let (gone, _held) = silent().await;
    let [(host, port)] = &gone.hosts[..] else { panic!("{gone:?}") };
    for (both, status) in [(false, 200), (true, 503)] {
        let site = Site::open(&policy, "").await;
        let mut deployment = fs::read_to_string(site.dir.join("deployment.yaml")).unwrap();
        for there in [&site.de, &site.fr].into_iter().take(1 + usize::from(both)) {
            deployment = deployment.replace(&there.address.to_string(), &format!("{host}:{port}"));
        }
        fs::write(site.dir.join("deployment.yaml"), deployment).unwrap();
        site.render("envoy");
        let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
        for attempt in 0.. {
            // Of this tenant nothing leaves Europe.
            let seen = chat(&envoy, "ingress", Http::One, &[("x-tenant", "acme")]).await;
            let until = seen.chunks_at.first().copied().unwrap_or(seen.took).as_millis() as u64;
            println!("both silent: {both}: {} of {} after {until} ms", seen.status, seen.text());
            let (silent, part) = (1 + u64::from(both), HURRY_MS / 3);
            if until < HURRY_MS + LATE_MS && seen.status == status {
                assert!(both || seen.text() == "gpu-fr", "{}", seen.text());
                assert!(until + 10 >= silent * part, "{until} ms: nobody was waited for");
                break;
            }
            assert!(attempt < TRIES, "{} after {until} ms each time", seen.status);
        }
    }
}

/// The proxy answers 503 by itself beyond its own limit of requests to a cluster, which is 1,024 unless somebody says more:
/// a substrate that holds more gets more, and where it is full, the policy's headroom answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_headroom_of_a_large_substrate_answers_before_the_proxy_s_own_limit_does() {
    let (small, eu) =
        ("{concurrency: 64, keep_for: {critical: 0.2}}", "permit: {jurisdictions: [EU], subject_to: [EU]}");
    let policy = policy();
    assert!(policy.contains(small) && policy.contains(eu));
    let large = policy.replace(small, "{concurrency: 1400}").replace(eu, "permit: {jurisdictions: [DE]}");
    let site = Site::open(&large, "").await;
    site.render("envoy");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    let to = envoy.listener("ingress");
    let ask = || Ask::post(to, "/v1/chat/completions", "{}").header("x-tenant", "acme");
    everywhere("both workers place there", async || ask().send().await.unwrap().text() == "gpu-de").await;

    site.de.take_received();
    site.de.does(Script::after(55_000, Script::ok("gpu-de")));
    let under_way = || site.de.asked("/v1/chat/completions");
    let (said, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let (mut asked, mut refused) = (0, Vec::new());
    let mut held = tokio::task::JoinSet::new();
    while refused.len() < 50 {
        assert!(asked < 2_500, "{} of {asked} are there and nobody was refused", under_way());
        for _ in 0..50 {
            let (said, ask) = (said.clone(), ask());
            held.spawn(async move { drop(said.send(ask.send().await)) });
        }
        asked += 50;
        // As many more as are there or refused: how fast they come is not what is tried here.
        refused = eventually("all are there or refused", || {
            refused
                .extend(std::iter::from_fn(|| answers.try_recv().ok()).map(|seen: Result<Seen, String>| seen.unwrap()));
            let all = under_way() + refused.len() >= asked;
            let refused = refused.clone();
            async move { all.then_some(refused) }
        })
        .await;
    }
    println!("{} under way, {} refused of {asked}", under_way(), refused.len());
    assert!(under_way() > 1_024, "{} is what any proxy permits", under_way());
    for seen in &refused {
        assert_eq!(seen.header("content-type"), Some("application/problem+json"), "{}: {}", seen.status, seen.text());
        assert!(seen.text().contains(r#""reason":"availability/"#), "{}", seen.text());
    }
    for overflow in ["upstream_rq_pending_overflow", "upstream_cx_overflow"] {
        assert_eq!(envoy.stat(&format!("cluster.gpu-de.{overflow}")).await, 0, "{overflow}");
    }
}

/// A skew: one tenant asks for four times as much as another, and for all that there is. It gets its share, and the other is
/// served as if it were alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_skew_of_tenants_costs_the_one_that_makes_it() {
    let (whole, latency, eu, all) = (
        "{concurrency: 64, keep_for: {critical: 0.2}}",
        "first_token_ms: 250",
        "permit: {jurisdictions: [EU], subject_to: [EU]}",
        "permit: {jurisdictions: [EU, US]}",
    );
    let policy = policy();
    assert!([whole, latency, eu, all].iter().all(|part| policy.contains(part)));
    // All that is held is expected to last, whatever was seen before.
    let skewed = policy
        .replace(whole, "{concurrency: 64, tenant_share: {acme: 0.25}}")
        .replace(latency, "first_token_ms: 40000")
        .replace(eu, "permit: {jurisdictions: [DE]}")
        .replace(all, "permit: {jurisdictions: [DE]}")
        + "adaptive: {latency: false}\n";
    let site = Site::open(&skewed, "").await;
    site.render("envoy");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    let to = envoy.listener("ingress");
    let ask = move |tenant: &'static str| Ask::post(to, "/v1/chat/completions", "{}").header("x-tenant", tenant);
    everywhere("both workers place there", async || ask("initech").send().await.unwrap().text() == "gpu-de").await;

    site.de.take_received();
    site.de.does(Script::after(55_000, Script::ok("gpu-de")));
    let (said, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let mut held = tokio::task::JoinSet::new();
    for nth in 0..60 {
        let (said, tenant) = (said.clone(), if nth % 5 < 4 { "acme" } else { "initech" });
        held.spawn(async move { drop(said.send((tenant, ask(tenant).send().await.unwrap()))) });
    }
    let mut refused = Vec::new();
    eventually("all are there or refused", || {
        refused.extend(std::iter::from_fn(|| answers.try_recv().ok()));
        let all = site.de.asked("/v1/chat/completions") + refused.len() == 60;
        async move { all.then_some(()) }
    })
    .await;
    let served = 48 - refused.len();
    println!("of 48 of the one {served} were taken, of 12 of the other all");
    for (tenant, seen) in &refused {
        assert_eq!((*tenant, seen.status), ("acme", 429), "{}", seen.text());
        assert!(seen.text().contains(r#""reason":"availability/tenant-share""#), "{}", seen.text());
        assert_eq!(seen.header("retry-after"), Some("15"), "{}", seen.text());
    }
    // A quarter of 64 at either worker, while they may not know of each other yet; of it each holds half once they do.
    assert!((8..=32).contains(&served), "{served}");
}

/// A request that nobody placed is the substrate's like any other: by its name, with its key.
#[tokio::test]
async fn what_nobody_placed_goes_on_under_the_substrate_s_own_name() {
    let site = Site::open(&policy(), "otherwise: provider-us\n").await;
    let file = site.dir.join("deployment.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\n  refresh_ms: 20", "\n  refresh_ms: 20\n  mode: passthrough")).unwrap();
    site.render("envoy");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    for http in BOTH {
        let seen = chat(&envoy, "ingress", http, &[("host", "llm.example"), ("authorization", "Bearer theirs")]).await;
        assert_eq!((seen.status, seen.text().as_str()), (200, "provider-us"));
    }
    for request in site.us.received() {
        let host = request.headers.get(":authority").or(request.headers.get("host")).map(String::as_str);
        assert_eq!((host, request.path.as_str()), (Some("api.provider.example"), "/openai/v1/chat/completions"));
        assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Bearer ours"));
    }
}

/// A Secret in a pod is renewed by another link beside the file: the new key is shown, and the old one no more.
#[tokio::test]
async fn a_renewed_secret_is_taken_while_the_proxy_runs() {
    let site = Site::open(&policy(), "otherwise: provider-us\n").await;
    let keys = site.dir.join("keys");
    let renew = |version: &str, key: &str| {
        let folder = keys.join(version);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("secret.yaml"), SECRET.replace("Bearer ours", key)).unwrap();
        std::os::unix::fs::symlink(version, keys.join("..new")).unwrap();
        fs::rename(keys.join("..new"), keys.join("..data")).unwrap();
    };
    renew("..1", "Bearer first");
    std::os::unix::fs::symlink("..data/secret.yaml", keys.join("secret.yaml")).unwrap();
    let file = site.dir.join("deployment.yaml");
    let text = fs::read_to_string(&file).unwrap().replace("/secret.yaml'", "/keys/secret.yaml'");
    fs::write(&file, text.replace("\n  refresh_ms: 20", "\n  refresh_ms: 20\n  mode: passthrough")).unwrap();
    site.render("envoy");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    let shown = async || {
        site.us.take_received();
        assert_eq!(chat(&envoy, "ingress", Http::One, &[]).await.status, 200);
        site.us.take_received()[0].headers.get("authorization").cloned()
    };
    assert_eq!(shown().await.as_deref(), Some("Bearer first"));
    renew("..2", "Bearer second");
    eventually("the new key is shown", async || (shown().await.as_deref() == Some("Bearer second")).then_some(()))
        .await;
}

#[tokio::test]
async fn a_new_policy_is_a_new_file_and_a_bad_one_changes_nothing() {
    let site = Site::open(&policy(), "").await;
    site.render("envoy-discovered");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    let version = "wasmcustom.berth.policy.version";
    envoy.await_stat(version, |version| version == 1).await;
    eventually("requests are placed", || async {
        (chat(&envoy, "ingress", Http::One, &[]).await.status == 200).then_some(())
    })
    .await;

    let renew = |policy: String| {
        fs::write(site.dir.join("policy.yaml"), policy).unwrap();
        let said = berth(&["render", "envoy-discovered", "deployment.yaml", "-o", "new"], &site.dir);
        if said.0 {
            fs::rename(site.dir.join("new/placement.yaml"), site.dir.join("placement.yaml")).unwrap();
        }
        said
    };
    assert!(renew(policy().replace("version: 1", "version: 2")).0);
    envoy.await_stat(version, |version| version == 2).await;
    let (content, said) = renew(policy().replace("jurisdiction: DE", "jurisdiction: XX"));
    assert!(!content && said.contains("policy.yaml:8:") && said.contains("jurisdiction"), "{said}");
    assert_eq!(chat(&envoy, "ingress", Http::One, &[]).await.status, 200);
    assert_eq!(envoy.stat(version).await, 2);
}

#[tokio::test]
async fn the_mesh_s_patches_make_a_sidecar_that_places() {
    let host = "llm.inference.svc.cluster.local:80";
    let istio = format!("istio: {{namespace: inference, place: sidecar, selector: {{app: chat}}, host: '{host}'}}\n");
    let site = Site::open(&policy(), &istio).await;
    site.render("istio");
    let filter = yaml(&fs::read_to_string(site.dir.join("envoyfilter.yaml")).unwrap());
    let mut sidecar = patches::sidecar();
    patches::istio(&mut sidecar, &filter, &site.dir);
    fs::write(site.dir.join("sidecar.json"), sidecar.to_string()).unwrap();
    let (content, said) = validate(&site.dir, "sidecar.json");
    assert!(content, "{said}");
    let envoy = Envoy::start_file(site.dir.clone(), "sidecar.json").await;
    places_and_keeps_apart(&site, &envoy, "0.0.0.0_80", &[("host", host)]).await;
    // What the mesh sends elsewhere goes where it went.
    let other = chat(&envoy, "0.0.0.0_80", Http::One, &[("host", "other.example")]).await;
    assert_eq!((other.status, other.text().as_str()), (200, "passed through"));
    well(&site, &envoy).await;
}

#[tokio::test]
async fn the_mesh_s_patches_make_a_gateway_that_places() {
    let istio = "istio: {namespace: inference, place: gateway, selector: {istio: ingressgateway}}\n";
    let site = Site::open(&policy(), istio).await;
    site.render("istio");
    let filter = yaml(&fs::read_to_string(site.dir.join("envoyfilter.yaml")).unwrap());
    assert_eq!(filter["spec"]["workloadSelector"]["labels"]["istio"], "ingressgateway");
    let mut gateway = patches::mesh_gateway();
    patches::istio(&mut gateway, &filter, &site.dir);
    fs::write(site.dir.join("gateway.json"), gateway.to_string()).unwrap();
    let (content, said) = validate(&site.dir, "gateway.json");
    assert!(content, "{said}");
    let envoy = Envoy::start_file(site.dir.clone(), "gateway.json").await;
    places_and_keeps_apart(&site, &envoy, "0.0.0.0_8080", &[]).await;
    well(&site, &envoy).await;
}

#[tokio::test]
async fn the_mesh_s_patches_work_where_extensions_are_discovered() {
    let host = "llm.inference.svc.cluster.local:80";
    let istio = format!(
        "istio: {{namespace: inference, place: sidecar, selector: {{app: chat}}, host: '{host}', discovered: true}}\n"
    );
    let site = Site::open(&policy(), &istio).await;
    let module = format!(
        "module: {{file: '{}', url: 'https://modules.example/berth.wasm', sha256: '{}'}}",
        built("berth.wasm").display(),
        patches::digest(&built("berth.wasm"))
    );
    let text = fs::read_to_string(site.dir.join("deployment.yaml")).unwrap();
    let text: String = text
        .lines()
        .map(|line| if line.starts_with("module:") { format!("{module}\n") } else { format!("{line}\n") })
        .collect();
    fs::write(site.dir.join("deployment.yaml"), text).unwrap();
    site.render("istio");
    let filter = yaml(&fs::read_to_string(site.dir.join("envoyfilter.yaml")).unwrap());
    let mut sidecar = patches::sidecar();
    // The agent's part: it fetches the module, checks its digest and puts a file in the place of the address.
    patches::istio(&mut sidecar, &filter, &site.dir);
    let another = patches::fetch(&mut sidecar.clone(), &site.dir, &built("berth-placement.wasm"));
    assert!(another.unwrap_err().contains("does not match"), "a module of another digest is no update");
    patches::fetch(&mut sidecar, &site.dir, &built("berth.wasm")).unwrap();
    fs::write(site.dir.join("sidecar.json"), sidecar.to_string()).unwrap();
    let envoy = Envoy::start_file(site.dir.clone(), "sidecar.json").await;
    eventually("requests are placed", || async {
        let seen = chat(&envoy, "0.0.0.0_80", Http::One, &[("host", host), ("x-tenant", "acme")]).await;
        (seen.status == 200 && seen.text() == "gpu-de").then_some(())
    })
    .await;
    well(&site, &envoy).await;
}

#[tokio::test]
async fn the_gateway_s_patches_make_a_gateway_that_places() {
    let site = Site::open(&policy(), "gateway: {name: eg, namespace: inference}\n").await;
    site.render("envoy-gateway");
    let policy = yaml(&fs::read_to_string(site.dir.join("envoypatchpolicy.yaml")).unwrap());
    let mut gateway = patches::gateway();
    patches::envoy_gateway(&mut gateway, &policy);
    fs::write(site.dir.join("gateway.json"), gateway.to_string()).unwrap();
    let (content, said) = validate(&site.dir, "gateway.json");
    assert!(content, "{said}");
    let envoy = Envoy::start_file(site.dir.clone(), "gateway.json").await;
    places_and_keeps_apart(&site, &envoy, "inference/eg/http", &[]).await;
    well(&site, &envoy).await;
}

/// The doctor finds nothing, as the pages promise.
async fn well(site: &Site, envoy: &Envoy) {
    eventually("the doctor finds nothing", || async {
        let (well, said) = berth(&["doctor", &format!("http://{}", envoy.admin_address())], &site.dir);
        (well && said.contains("0 errors, 0 warnings") && said.contains("starter@1#")).then_some(())
    })
    .await;
}

/// Renders for the Envoy that is there, in one way to attach, and sees that it places.
async fn attached(way: &str, lanes: &str) -> (Site, Envoy) {
    let site = Site::open(&policy(), "").await;
    let text = fs::read_to_string(site.dir.join("deployment.yaml")).unwrap();
    let release = version().split('/').nth(1).unwrap().rsplit_once('.').unwrap().0.to_owned();
    let text = text
        .replace("berth: 1\n", &format!("berth: 1\nenvoy: '{release}'\nattach: {way}\n"))
        .replace("\n  refresh_ms: 20", &format!("\n  refresh_ms: 20{lanes}"));
    fs::write(site.dir.join("deployment.yaml"), text).unwrap();
    site.render("envoy");
    let (content, said) = validate(&site.dir, "envoy.yaml");
    assert!(content, "{way}: {said}");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    eventually("requests are placed", || async {
        let seen = chat(&envoy, "ingress", Http::Two, &[("x-tenant", "acme")]).await;
        (seen.status == 200 && seen.text() == "gpu-de").then_some(())
    })
    .await;
    well(&site, &envoy).await;
    (site, envoy)
}

#[tokio::test]
async fn what_is_rendered_to_attach_simple_places() {
    attached("simple", "").await;
}

#[tokio::test]
async fn what_is_rendered_to_attach_by_lanes_goes_on_to_the_lane_s_next() {
    let (site, envoy) = attached("lanes", "\n  lanes: [{cluster: europe, substrates: [gpu-de, gpu-fr]}]").await;
    site.de.does(Script::status(503));
    let seen = chat(&envoy, "ingress", Http::One, &[("x-tenant", "acme")]).await;
    assert_eq!((seen.status, seen.text().as_str()), (200, "gpu-fr"));
}

#[tokio::test]
async fn what_is_rendered_to_attach_in_full_goes_on_to_the_plan_s_next() {
    let (site, envoy) = attached("full", "").await;
    site.de.does(Script::status(503));
    let seen = chat(&envoy, "ingress", Http::One, &[("x-tenant", "acme")]).await;
    assert_eq!((seen.status, seen.text().as_str()), (200, "gpu-fr"));
}

/// What is broken after rendering is refused before it runs: by target, the file and what is changed in it. Of what a target
/// has besides, Envoy hears only when it runs (`doctor.rs`).
#[tokio::test]
async fn envoy_refuses_what_was_broken_after_rendering() {
    const MAPS: [(&str, &str); 6] = [
        ("attach: full", "attach: fully"),
        ("jurisdiction: DE", "jurisdiction: XX"),
        ("root_id: placement", "root: placement"),
        ("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_MAYBE"),
        ("cluster_specifier_plugin: berth", "cluster_specifier_plugin: other"),
        ("request_mutations:", "mutations_of_requests:"),
    ];
    const TEXTS: [(&str, &str); 6] = [
        (r#""attach": "full""#, r#""attach": "fully""#),
        (r#""jurisdiction": "DE""#, r#""jurisdiction": "XX""#),
        MAPS[2],
        MAPS[3],
        MAPS[4],
        MAPS[5],
    ];
    let host = "llm.inference.svc.cluster.local:80";
    let more = format!(
        "istio: {{namespace: inference, place: sidecar, selector: {{app: chat}}, host: '{host}'}}\ngateway: {{name: eg, namespace: inference}}\n"
    );
    let site = Site::open(&policy(), &more).await;
    let patched = |target: &str, text: &str| match target {
        "envoy" => text.to_owned(),
        "istio" => {
            let mut sidecar = patches::sidecar();
            patches::istio(&mut sidecar, &yaml(text), &site.dir);
            sidecar.to_string()
        }
        _ => {
            let mut gateway = patches::gateway();
            patches::envoy_gateway(&mut gateway, &yaml(text));
            gateway.to_string()
        }
    };
    for (target, file, breaks) in [
        ("envoy", "envoy.yaml", TEXTS),
        ("istio", "envoyfilter.yaml", MAPS),
        ("envoy-gateway", "envoypatchpolicy.yaml", MAPS),
    ] {
        site.render(target);
        let good = fs::read_to_string(site.dir.join(file)).unwrap();
        let takes = |text: &str| {
            let broken = if target == "envoy" { "broken.yaml" } else { "broken.json" };
            fs::write(site.dir.join(broken), patched(target, text)).unwrap();
            validate(&site.dir, broken).0
        };
        assert!(takes(&good), "{target}");
        for (from, to) in breaks {
            assert!(good.contains(from), "{target}: {from}");
            assert!(!takes(&good.replace(from, to)), "{target}: {to}");
        }
    }
}
