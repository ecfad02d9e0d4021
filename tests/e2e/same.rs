//! Generated requests in a real Envoy: the facts, the replay record and the decision that the native core makes of the
//! same headers, at the same moment and from the same picture, are those of Envoy's log, byte for byte.

use crate::support::bootstrap::{Bootstrap, INGRESS, ecds_resource, wasm_filter_by_ecds};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::generated::{configuration, headers, policy};
use crate::support::random::Random;
use crate::support::upstream::{Script, Upstream};
use crate::support::{RUN, built, eventually};
use berth::filter::Headers;
use berth::filter::config::{Attach, Config, PlacementConfig, parse};
use berth::health::{codec, json as picture};
use berth::model::Snapshot;
use berth::place::replay::{Identity, Inputs, Replay, write_replay};
use berth::place::{place, record::record};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const POLICIES: usize = 20;
const BATCHES: usize = 4;
const REQUESTS: usize = 25;
/// More than a generated policy has.
const CLUSTERS: usize = 12;

type Lines = Vec<(&'static str, String)>;

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
    async fn start(first: &(Value, Value)) -> Self {
        let (upstream, dir) = (Upstream::start("all").await, workdir());
        upstream.does_at("/health", Script::ok(r#"{"substrates": []}"#));
        replace_file(
            &dir,
            "placement.json",
            &ecds_resource(&built("berth-placement.wasm"), "placement", "0", &first.1),
        );
        let watcher = telemetry(&first.0);
        replace_file(&dir, "telemetry.json", &ecds_resource(&built("berth.wasm"), "telemetry", "0", &watcher));
        let with = |bootstrap: Bootstrap, n: usize| bootstrap.cluster(&format!("cluster-{n}"), upstream.address);
        let mut bootstrap = (0..CLUSTERS)
            .fold(Bootstrap::default(), with)
            .filter(wasm_filter_by_ecds("placement", &dir.join("placement.json")))
            .telemetry(wasm_filter_by_ecds("telemetry", &dir.join("telemetry.json")))
            .build();
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        http["access_log"][0]["typed_config"]["log_format"]["json_format"]["replay"] =
            "%FILTER_STATE(wasm.placement_replay:PLAIN)%".into();
        Self { envoy: Envoy::start_in(dir, &bootstrap).await, upstream, snapshots: BTreeMap::new() }
    }

    /// Both roles get another policy; waits until both workers decide by it.
    async fn change(&self, version: usize, (policy, configuration): &(Value, Value), digest: &str) {
        let version = version.to_string();
        let watcher = telemetry(policy);
        let resource = ecds_resource(&built("berth.wasm"), "telemetry", &version, &watcher);
        self.envoy.replace_file("telemetry.json", &resource);
        let resource = ecds_resource(&built("berth-placement.wasm"), "placement", &version, configuration);
        self.envoy.replace_file("placement.json", &resource);
        // Refusals carry no decision to the client, so the log is asked; a run of them shows that both workers have it.
        let tries = std::cell::Cell::new(0);
        eventually("both workers decide by the new policy", || async {
            tries.set(tries.get() + 1);
            let path = format!("/which/{version}/{}", tries.get());
            for _ in 0..RUN {
                Ask::get(self.envoy.listener(INGRESS), &path).send().await.ok()?;
            }
            let by =
                |l: &Value| l["path"] == path.as_str() && l["decision"].as_str().is_some_and(|d| d.contains(digest));
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

    async fn ask(&self, number: usize, lines: &Lines) {
        let path = format!("/v1/chat/completions?n={number}");
        let ask = Ask::get(self.envoy.listener(INGRESS), &path).over(BOTH[number % 2]);
        let ask = lines.iter().filter(|(name, _)| !name.starts_with(':')).fold(ask, |ask, (k, v)| ask.header(k, v));
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

/// What the native core makes of a request whose record names the moment and the picture: its record and its decision.
fn natively(config: &PlacementConfig, lines: &Lines, replay: &Replay, snapshot: Option<&Snapshot>) -> (String, String) {
    let pairs: Vec<(&str, &str)> = lines.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let headers = Headers::new(Headers::encode(&pairs));
    let found = config.sources.read(&headers);
    let mut facts = found.facts();
    if config.attach == Attach::Simple {
        // One attempt is all that this route carries out.
        facts.attempts_left = Some(1);
    }
    let (policy, local) = (&config.policy, &replay.local);
    let (now_ms, seed) = (replay.now_ms, replay.seed);
    let inputs = Inputs { policy, snapshot: replay.snapshot, local, facts: &facts, now_ms, seed };
    let mut written = String::new();
    write_replay(&inputs, false, &mut written);
    (written, record(policy, &place(policy, snapshot, local, &facts, now_ms, seed)))
}

fn generate(random: &mut Random) -> (Value, Value) {
    let policy = policy(random);
    let mut configuration = configuration(random, &policy);
    configuration["replay"] = true.into();
    (policy, configuration)
}

/// Headers that Envoy hands on as they are.
fn request(random: &mut Random, number: usize) -> Lines {
    let mut lines = headers(random);
    lines.retain(|(name, _)| !["content-length", "x-envoy-expected-rq-timeout-ms", "x-request-id"].contains(name));
    for (name, value) in &mut lines {
        match *name {
            ":method" => *value = "GET".into(),
            ":path" => *value = format!("/v1/chat/completions?n={number}"),
            _ => {}
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_generated_requests_are_decided_in_envoy_as_natively() {
    let mut random = Random::new(0x5a3e);
    let mut all = vec![generate(&mut random)];
    let mut world = World::start(&all[0]).await;
    let (mut number, mut placed, mut pictures) = (0, 0, 0);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for version in 1..=POLICIES {
        all.push(generate(&mut random));
        let (policy, configuration) = all.last().unwrap();
        let Config::Placement(config) = parse(configuration.to_string().as_bytes()).unwrap() else { panic!() };
        world.change(version, all.last().unwrap(), config.policy.short_digest()).await;
        let mut asked = BTreeMap::new();
        for _ in 0..BATCHES {
            world.upstream.does_at("/health", health(&mut random, policy));
            let before = world.epoch().await;
            eventually("two more pictures are published", || async {
                (world.epoch().await > before + 1).then_some(())
            })
            .await;
            for _ in 0..REQUESTS {
                let lines = request(&mut random, number);
                world.ask(number, &lines).await;
                asked.insert(format!("/v1/chat/completions?n={number}"), lines);
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
            let lines = &asked[&text("path")];
            let (written, decided) = natively(&config, lines, &replay, snapshot.as_ref());
            assert_eq!(written, replayed, "{lines:?}\n{configuration}");
            assert_eq!(decided, decision, "{replayed}");
            placed += usize::from(decided.contains(" substrate="));
            if let Some(reason) = decided.split(", ").find_map(|member| member.strip_prefix("reason=")) {
                *reasons.entry(reason.to_string()).or_default() += 1;
            }
        }
    }
    println!(
        "{number} requests, {placed} placed, {pictures} from one of {} pictures, {reasons:?}: the same in Envoy and natively",
        world.snapshots.len()
    );
    assert_eq!(number, POLICIES * BATCHES * REQUESTS);
    assert!(placed * 5 > number && placed * 10 < number * 9, "both outcomes were tried: {placed} of {number} placed");
    assert!(pictures * 2 > number, "most were decided from a picture: {pictures}");
}
