//! Generated requests in a real Envoy: the facts, the replay record and the decision that the native core makes of the
//! same headers and body, at the same moment and from the same picture, by the policy whose turn it is, are those of
//! Envoy's log, byte for byte, and so is the cluster or lane that it was sent to.

use crate::support::bootstrap::{Bootstrap, INGRESS, ecds_resource, wasm_filter_by_ecds};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::generated::{body, configuration, headers, policy, with_more};
use crate::support::random::Random;
use crate::support::upstream::{Script, Upstream};
use crate::support::{RUN, built, eventually};
use berth::filter::Headers;
use berth::filter::body::Body;
use berth::filter::canary::{CanaryConfig, SplitBy};
use berth::filter::config::{Attach, Config, PlacementConfig, parse};
use berth::health::{codec, json as picture};
use berth::model::{Decision, Facts, Snapshot};
use berth::place::replay::{Identity, Inputs, Replay, write_replay};
use berth::place::{matches, place, record::record, trusted_class};
use berth::policy::Policy;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const POLICIES: usize = 20;
const BATCHES: usize = 4;
const REQUESTS: usize = 25;
/// More than a generated policy has.
const CLUSTERS: usize = 12;
/// So long that no body is late on a busy machine.
const HOLD_MS: u32 = 60_000;

type Lines = Vec<(&'static str, String)>;

/// A request as it is sent.
struct Asked {
    lines: Lines,
    body: Option<Vec<u8>>,
}

/// A policy and what is around it, and the module that gets them: one has callbacks for bodies, one has not.
struct Ruled {
    policy: Value,
    configuration: Value,
    module: &'static str,
}

struct World {
    envoy: Envoy,
    upstream: Upstream,
    snapshots: BTreeMap<Identity, Snapshot>,
}

fn telemetry(policy: &Value) -> Value {
    let source = json!({"cluster": "cluster-0", "path": "/health", "interval_ms": 50, "timeout_ms": 1_000});
    json!({"role": "telemetry", "policy": policy, "tick_ms": 50, "sources": [source],
        "listener": {"read": "anyone", "keep_snapshots": 4_096}})
}

/// What the substrates say of themselves.
fn health(random: &mut Random, policy: &Value) -> Script {
    let of = |random: &mut Random, at: usize| {
        // Mostly well: what nobody can take says little of how one is chosen.
        let mut small = |most: usize| random.below(most) >> random.below(8);
        let signals = json!({"queue_depth": small(200), "failure_rate": small(100) as f64 / 200.0,
            "first_token_ms": small(2_000), "memory_pressure": small(100) as f64 / 100.0});
        json!({"substrate": format!("s{at}"), "signals": signals})
    };
    let many = policy["substrates"].as_array().unwrap().len();
    let all: Vec<Value> = (0..many).map(|at| of(random, at)).collect();
    Script::ok(&json!({"substrates": all}).to_string())
}

impl World {
    async fn start(first: &Ruled) -> Self {
        let (upstream, dir) = (Upstream::start("all").await, workdir());
        upstream.does_at("/health", Script::ok(r#"{"substrates": []}"#));
        replace_file(&dir, "placement.json", &placing("0", first));
        let watcher = telemetry(&first.policy);
        replace_file(&dir, "telemetry.json", &ecds_resource(&built("berth.wasm"), "telemetry", "0", &watcher));
        // A lane is but a name here: that its list goes the plan's way is what is decided.
        let clusters = (0..CLUSTERS).map(|n| format!("cluster-{n}")).chain(lanes(CLUSTERS).map(|(name, _)| name));
        let mut bootstrap = clusters
            .fold(Bootstrap::default(), |bootstrap, name| bootstrap.cluster(&name, upstream.address))
            .filter(wasm_filter_by_ecds("placement", &dir.join("placement.json")))
            .telemetry(wasm_filter_by_ecds("telemetry", &dir.join("telemetry.json")))
            .build();
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        http["access_log"][0]["typed_config"]["log_format"]["json_format"]["replay"] =
            "%FILTER_STATE(wasm.placement_replay:PLAIN)%".into();
        Self { envoy: Envoy::start_in(dir, &bootstrap).await, upstream, snapshots: BTreeMap::new() }
    }

    /// Both roles get another policy; waits until both workers decide by it.
    async fn change(&self, version: usize, ruled: &Ruled, digests: &[&str]) {
        let version = version.to_string();
        let watcher = telemetry(&ruled.policy);
        let resource = ecds_resource(&built("berth.wasm"), "telemetry", &version, &watcher);
        self.envoy.replace_file("telemetry.json", &resource);
        self.envoy.replace_file("placement.json", &placing(&version, ruled));
        // Refusals carry no decision to the client, so the log is asked; a run of them shows that both workers have it.
        let tries = std::cell::Cell::new(0);
        eventually("both workers decide by the new policy", || async {
            tries.set(tries.get() + 1);
            let path = format!("/which/{version}/{}", tries.get());
            for _ in 0..RUN {
                Ask::get(self.envoy.listener(INGRESS), &path).send().await.ok()?;
            }
            let by_one = |decision: &str| digests.iter().any(|digest| decision.contains(digest));
            let by = |l: &Value| l["path"] == path.as_str() && l["decision"].as_str().is_some_and(by_one);
            let seen = eventually("they are in the log", || async {
                let log = self.envoy.access_log(0).await;
                (log.iter().filter(|l| l["path"] == path.as_str()).count() == RUN).then_some(log)
            });
            (seen.await.iter().filter(|l| by(l)).count() == RUN).then_some(())
        })
        .await;
    }

    async fn epoch(&self) -> u64 {
        self.envoy.stat("wasmcustom.berth.telemetry.epoch").await
    }

    async fn ask(&self, number: usize, asked: &Asked) {
        let (path, to) = (format!("/v1/chat/completions?n={number}"), self.envoy.listener(INGRESS));
        let ask = asked.body.as_ref().map_or_else(|| Ask::get(to, &path), |body| Ask::post(to, &path, body.clone()));
        let ask = ask.over(BOTH[number % 2]);
        let ask =
            asked.lines.iter().filter(|(name, _)| !name.starts_with(':')).fold(ask, |ask, (k, v)| ask.header(k, v));
        ask.send().await.unwrap();
    }

    /// The picture that a decision names.
    async fn snapshot(&mut self, identity: Identity) -> &Snapshot {
        if !self.snapshots.contains_key(&identity) {
            let path = format!("/snapshots/{}", identity.epoch);
            let seen = Ask::get(self.envoy.listener("telemetry"), &path).send().await.unwrap();
            let snapshot = picture::read(&seen.body).unwrap_or_else(|why| panic!("{path}: {why}: {}", seen.text()));
            let checksum = codec::carried_checksum(&codec::encode(&snapshot));
            self.snapshots.insert(Identity { writer: snapshot.writer, epoch: snapshot.epoch, checksum }, snapshot);
        }
        self.snapshots.get(&identity).unwrap_or_else(|| panic!("no picture {identity:?}"))
    }
}

/// The placement filter as it is discovered.
fn placing(version: &str, ruled: &Ruled) -> Value {
    let mut resource = ecds_resource(&built(ruled.module), "placement", version, &ruled.configuration);
    if ruled.module == FULL {
        resource["resources"][0]["typed_config"]["config"]["allow_on_headers_stop_iteration"] = true.into();
    }
    resource
}

/// What the native core makes of a request whose record names the moment and the picture.
struct Natively {
    replay: String,
    decision: String,
    /// Where it goes.
    cluster: Option<String>,
    by_candidate: bool,
    by_lane: bool,
    read_body: bool,
}

fn natively(config: &PlacementConfig, asked: &Asked, replay: &Replay, snapshot: Option<&Snapshot>) -> Natively {
    let pairs: Vec<(&str, &str)> = asked.lines.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let headers = Headers::new(Headers::encode(&pairs));
    let mut found = config.sources.read(&headers);
    let source = config.body.as_ref().filter(|_| found.json);
    let body = source.zip(asked.body.as_ref()).map(|(source, bytes)| {
        let prefix = &bytes[..bytes.len().min(source.prefix_bytes)];
        (Body::read(prefix, source.data_key.as_deref()), bytes.len())
    });
    if let Some((body, size)) = &body {
        body.tell(*size, &mut found);
    }
    let mut facts = found.facts();
    if config.attach == Attach::Simple {
        // One attempt is all that this route carries out.
        facts.attempts_left = Some(1);
    }
    let candidate = config.canary.as_ref().filter(|candidate| takes(candidate, &facts, replay.seed));
    let policy: &Policy = candidate.map_or(&config.policy, |candidate| &candidate.policy);
    let (local, now_ms, seed) = (&replay.local, replay.now_ms, replay.seed);
    let inputs = Inputs { policy, snapshot: replay.snapshot, local, facts: &facts, now_ms, seed };
    let mut written = String::new();
    write_replay(&inputs, config.accounting.hash_tenants, &mut written);
    let decision = place(policy, snapshot, local, &facts, now_ms, seed);
    let lane = lane(config, policy, &decision);
    let first = decision.plan.first().and_then(|first| policy.substrate(first.substrate));
    Natively {
        replay: written,
        decision: record(policy, &decision),
        cluster: lane.clone().or_else(|| first.map(|substrate| substrate.cluster.clone())),
        by_candidate: candidate.is_some(),
        by_lane: lane.is_some(),
        read_body: body.is_some(),
    }
}

/// Whether the candidate decides: on requests that it is tried on, as many of a million as its share, of keys that are mixed.
fn takes(candidate: &CanaryConfig, facts: &Facts, seed: u64) -> bool {
    let CanaryConfig { policy, rollout, by, .. } = candidate;
    let class = &policy.class(trusted_class(policy, facts)).name;
    if !matches(&rollout.only, facts, true) || rollout.classes.as_ref().is_some_and(|tried| !tried.contains(class)) {
        return false;
    }
    let text = match by {
        SplitBy::Tenant => facts.tenant,
        SplitBy::Session => facts.session,
        SplitBy::Request => None,
    };
    let fnv = |text: &str| {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
    };
    let mut mixed = text.map_or(seed, |fact| fnv(fact.value)) ^ policy.digest_word();
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % 1_000_000 < u64::from(rollout.share_ppm)
}

/// The longest of the lists that goes the plan's way.
fn lane(config: &PlacementConfig, policy: &Policy, decision: &Decision) -> Option<String> {
    let plan: Vec<&str> = decision
        .plan
        .iter()
        .filter_map(|attempt| policy.substrate(attempt.substrate))
        .map(|s| s.name.as_str())
        .collect();
    let goes = config
        .lanes
        .iter()
        .filter(|lane| plan.starts_with(&lane.substrates.iter().map(String::as_str).collect::<Vec<_>>()));
    goes.max_by_key(|lane| lane.substrates.len()).map(|lane| lane.cluster.clone())
}

/// Of so many substrates every list of two, and some of three.
fn lanes(many: usize) -> impl Iterator<Item = (String, Vec<String>)> {
    let ordered = (0..many * many).map(move |n| (n / many, n % many)).filter(|(a, b)| a != b);
    ordered.flat_map(move |(a, b)| {
        let third = (0..many).find(|c| ![a, b].contains(c) && (a + b + c).is_multiple_of(2));
        let named = |list: &[usize]| {
            let name: Vec<String> = list.iter().map(ToString::to_string).collect();
            (format!("lane-{}", name.join("-")), list.iter().map(|s| format!("s{s}")).collect())
        };
        std::iter::once(named(&[a, b])).chain(third.map(|c| named(&[a, b, c])))
    })
}

const FULL: &str = "berth.wasm";

fn generate(random: &mut Random, module: &'static str) -> Ruled {
    let policy = policy(random);
    let mut configuration = configuration(random, &policy);
    with_more(random, &mut configuration, module == FULL);
    configuration["replay"] = true.into();
    let fields = configuration.as_object_mut().unwrap();
    // In the others nothing is decided, or nothing is sent on.
    fields.remove("mode");
    if fields["attach"] == "lanes" || random.below(3) == 0 {
        let lanes = lanes(policy["substrates"].as_array().unwrap().len());
        let lanes = lanes.map(|(cluster, substrates)| json!({"cluster": cluster, "substrates": substrates}));
        fields.insert("attach".into(), "lanes".into());
        fields.insert("lanes".into(), lanes.collect());
    }
    if let Some(canary) = fields.get_mut("canary") {
        // It does not go back by itself.
        canary["least"] = 1_000_000.into();
    }
    if let Some(body) = fields.get_mut("body") {
        body["hold_ms"] = HOLD_MS.into();
    }
    Ruled { policy, configuration, module }
}

/// Headers that Envoy hands on as they are, and to the module that reads bodies often one.
fn request(random: &mut Random, number: usize, module: &str) -> Asked {
    let mut lines = headers(random);
    lines.retain(|(name, _)| !["content-length", "x-envoy-expected-rq-timeout-ms", "x-request-id"].contains(name));
    let body = (module == FULL && random.below(2) == 0).then(|| body(random));
    for (name, value) in &mut lines {
        match *name {
            ":method" if body.is_none() => *value = "GET".into(),
            ":path" => *value = format!("/v1/chat/completions?n={number}"),
            _ => {}
        }
    }
    if let Some(body) = &body {
        lines.retain(|(name, _)| *name != "content-type");
        lines.push(("content-type", "application/json".into()));
        lines.push(("content-length", body.len().to_string()));
    }
    Asked { lines, body }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_generated_requests_are_decided_in_envoy_as_natively() {
    let mut random = Random::new(0x5a3e);
    let mut world = World::start(&generate(&mut random, "berth-placement.wasm")).await;
    let (mut number, mut placed, mut pictures) = (0, 0, 0);
    let (mut by_candidate, mut by_lane, mut read_body) = (0, 0, 0);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for version in 1..=POLICIES {
        let ruled = generate(&mut random, ["berth-placement.wasm", FULL][version % 2]);
        let Ruled { policy, configuration, module } = &ruled;
        let Config::Placement(config) = parse(configuration.to_string().as_bytes()).unwrap() else { panic!() };
        let digests: Vec<&str> = std::iter::once(&config.policy)
            .chain(config.canary.as_ref().map(|candidate| &candidate.policy))
            .map(|policy| policy.short_digest())
            .collect();
        world.change(version, &ruled, &digests).await;
        let mut asked = BTreeMap::new();
        for _ in 0..BATCHES {
            world.upstream.does_at("/health", health(&mut random, policy));
            let before = world.epoch().await;
            eventually("two more pictures are published", || async {
                (world.epoch().await > before + 1).then_some(())
            })
            .await;
            for _ in 0..REQUESTS {
                let request = request(&mut random, number, module);
                world.ask(number, &request).await;
                asked.insert(format!("/v1/chat/completions?n={number}"), request);
                number += 1;
            }
        }
        let lines = eventually("every request is in the log", || async {
            let log = world.envoy.access_log(0).await;
            let of_these: Vec<Value> =
                log.into_iter().filter(|l| l["path"].as_str().is_some_and(|p| asked.contains_key(p))).collect();
            (of_these.len() == asked.len()).then_some(of_these)
        })
        .await;
        for line in lines {
            let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name} in {line}")).to_string();
            let (decision, replayed) = (text("decision"), text("replay"));
            let replay = Replay::parse(&replayed).unwrap_or_else(|why| panic!("{why}: {replayed}"));
            let snapshot = match replay.snapshot {
                Some(identity) => Some(world.snapshot(identity).await.clone()),
                None => None,
            };
            pictures += usize::from(snapshot.is_some());
            let request = &asked[&text("path")];
            let native = natively(&config, request, &replay, snapshot.as_ref());
            let decided = &native.decision;
            assert_eq!(native.replay, replayed, "{:?}\n{configuration}", request.lines);
            assert_eq!(*decided, decision, "{replayed}");
            assert_eq!(native.cluster.as_deref(), line["cluster"].as_str().filter(|c| !c.is_empty()), "{decision}");
            placed += usize::from(decided.contains(" substrate="));
            by_candidate += usize::from(native.by_candidate);
            by_lane += usize::from(native.by_lane);
            read_body += usize::from(native.read_body);
            if let Some(reason) = decided.split(", ").find_map(|member| member.strip_prefix("reason=")) {
                *reasons.entry(reason.to_string()).or_default() += 1;
            }
        }
    }
    println!(
        "{number} requests, {placed} placed, {pictures} from one of {} pictures, {by_candidate} by a candidate, {by_lane} by a lane, \
         {read_body} by their body, {reasons:?}: the same in Envoy and natively",
        world.snapshots.len()
    );
    assert_eq!(number, POLICIES * BATCHES * REQUESTS);
    assert!(placed * 5 > number && placed * 10 < number * 9, "both outcomes were tried: {placed} of {number} placed");
    assert!(pictures * 2 > number, "most were decided from a picture: {pictures}");
    for (what, many) in [("a candidate", by_candidate), ("a lane", by_lane), ("their body", read_body)] {
        assert!(many * 100 > number, "some were decided by {what}: {many}");
    }
}
