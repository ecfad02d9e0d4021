//! A candidate policy on a share of the traffic, its rollback that happens by itself, and the operator's way back to the
//! policy before: two workers, configuration by file.

use crate::attempts::{at, placement, usual};
use crate::desk::{FLEET, listener};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, ecds_resource, wasm_filter, wasm_filter_by_ecds};
use crate::support::client::{Ask, BOTH, Http, Seen};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often a worker looks, where nothing else is configured.
const PERIOD: Duration = Duration::from_millis(100);
/// What a machine that does other things besides may be late with a tick.
const BUSY: Duration = Duration::from_millis(100);

/// The policy of the tests in this version, with this substrate as the best.
fn version(number: u32, best: &str) -> Value {
    let mut policy = placement(usual())["policy"].clone();
    policy["policy"]["version"] = json!(number);
    for substrate in policy["substrates"].as_array_mut().unwrap() {
        if substrate["name"] == best {
            substrate["capabilities"]["models"]["m"]["quality"] = json!(0.97);
        }
    }
    policy
}

/// A candidate that has half of the traffic.
fn candidate(number: u32) -> Value {
    let mut policy = version(number, "b");
    policy["rollout"] = json!({"share": 0.5});
    policy
}

fn configuration(policy: Value, candidate: Option<Value>) -> Value {
    let mut configuration = placement(usual());
    configuration["policy"] = policy;
    if let Some(candidate) = candidate {
        configuration["candidate"] = candidate;
        configuration["canary"] =
            json!({"by": "request", "least": 20, "failure": 0.1, "first_byte": 100, "outside": 0});
    }
    configuration
}

struct Trial {
    envoy: Envoy,
    a: Upstream,
    b: Upstream,
}

impl Trial {
    async fn start(first: &Value) -> Self {
        let (a, b, dir) = (Upstream::start("a").await, Upstream::start("b").await, workdir());
        let module = built("berth.wasm");
        replace_file(&dir, "ecds.json", &ecds_resource(&module, "placement", "1", first));
        let watcher = json!({"role": "telemetry", "policy": version(1, "a"), "tick_ms": 50, "listener": listener_of()});
        let mut telemetry = wasm_filter(&module, "telemetry", &watcher, Carried::Text);
        telemetry["typed_config"]["config"]["allow_on_headers_stop_iteration"] = true.into();
        let bootstrap = Bootstrap::default()
            .substrate("a", &at(&a, false))
            .substrate("b", &at(&b, false))
            .filter(wasm_filter_by_ecds("placement", &dir.join("ecds.json")))
            .telemetry(telemetry)
            .routes(usual(), &["a", "b"], None);
        Self { envoy: Envoy::start_in(dir, &bootstrap.build()).await, a, b }
    }

    async fn ask(&self, http: Http) -> Seen {
        let ask = Ask::post(self.envoy.listener(INGRESS), "/v1/x", "x").over(http);
        ask.header("x-tenant", "acme").header("x-workload", "once").send().await.unwrap()
    }

    async fn rollout(&self) -> Value {
        let seen = Ask::get(self.envoy.listener("telemetry"), "/rollout").send().await.unwrap();
        serde_json::from_slice(&seen.body).unwrap()
    }

    async fn throw(&self, switch: &str) {
        let ask = Ask::put(self.envoy.listener("telemetry"), "/rollout", json!({"to": switch}).to_string());
        let seen = ask.header("authorization", &format!("Bearer {FLEET}")).send().await.unwrap();
        assert_eq!(seen.status, 200, "{}", seen.text());
    }

    /// Waits until a run of requests was decided by nothing but this version of the policy: both workers do.
    async fn await_only(&self, version: &str) {
        eventually(&format!("only {version} decides"), || async {
            for http in BOTH.repeat(8) {
                self.ask(http).await.header("x-placement-decision")?.contains(version).then_some(())?;
            }
            Some(())
        })
        .await;
    }

    fn push(&self, version: &str, configuration: &Value) {
        self.envoy.replace_file("ecds.json", &ecds_resource(&built("berth.wasm"), "placement", version, configuration));
    }
}

fn listener_of() -> Value {
    let mut listener = listener();
    for writer in listener["writers"].as_array_mut().unwrap() {
        writer["reports"] = json!(["*"]);
    }
    listener
}

/// What the tool prints of a snapshot.
fn berth_snapshot(bytes: &[u8]) -> String {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["snapshot", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_candidate_that_fails_goes_back_by_itself_and_stays_back_until_another_comes() {
    let trial = Trial::start(&configuration(version(1, "a"), Some(candidate(2)))).await;
    trial.b.does(Script::status(500));
    let mut tried = 0;
    while trial.rollout().await["recalled"].is_null() {
        for http in BOTH {
            trial.ask(http).await;
        }
        tried += 2;
        assert!(tried < 2_000, "it was not called back");
    }
    // Both workers within two of their periods: whoever asks after that is decided for by the current policy alone. A
    // request that was sent before may be answered later; when it was sent is what counts.
    let began = Instant::now();
    let (mut last, mut asked) = (Duration::ZERO, 0);
    while began.elapsed() < 6 * PERIOD || asked < 40 {
        for http in BOTH {
            let sent = began.elapsed();
            let seen = trial.ask(http).await;
            asked += 1;
            if seen.header("x-placement-decision").is_some_and(|decision| decision.contains("lanes@2#")) {
                last = sent;
            }
        }
    }
    println!("the candidate's last decision was {last:?} after the recall was seen, of {asked} requests");
    assert!(last < 2 * PERIOD + BUSY, "{last:?}");
    trial.await_only("lanes@1#").await;
    let why = trial.rollout().await["recalled"]["why"].as_str().unwrap().to_string();
    assert!(why.starts_with("class=once failure_ppm=1000000 current=0"), "{why}");
    assert!(trial.envoy.log().contains("candidate lanes@2#"), "a line in the log says so");
    // The snapshot says so too, and the tool reads it.
    let shown = Ask::get(trial.envoy.listener("telemetry"), "/snapshot").send().await.unwrap();
    let printed = berth_snapshot(&shown.body);
    let line = printed.lines().find(|line| line.starts_with("rollout current")).unwrap_or_default();
    assert!(line.contains(" was called back ") && line.ends_with(&why), "{printed}");
    let metrics = trial.envoy.admin_get("/stats?filter=canary").await.text();
    assert!(metrics.lines().any(|line| line.ends_with(": 2")), "a metric says so: {metrics}");
    println!("called back after {tried} requests, {} of them tried: {why}", trial.b.received().len());

    // The same candidate again, with a configuration that differs elsewhere: it stays back.
    let mut again = configuration(version(1, "a"), Some(candidate(2)));
    again["sample"] = json!(64);
    trial.push("2", &again);
    trial.envoy.await_stat("extension_config_discovery.http_filter.berth.placement.config_reload", |n| n >= 2).await;
    trial.await_only("lanes@1#").await;
    // Another one is tried.
    trial.b.does(Script::ok("b"));
    trial.push("3", &configuration(version(1, "a"), Some(candidate(3))));
    eventually("the next candidate is tried", || async {
        trial.ask(Http::One).await.header("x-placement-decision")?.contains("lanes@3#").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_candidate_that_does_as_well_keeps_its_share() {
    let trial = Trial::start(&configuration(version(1, "a"), Some(candidate(2)))).await;
    for http in BOTH.repeat(150) {
        trial.ask(http).await;
    }
    assert_eq!(trial.rollout().await["recalled"], Value::Null);
    let (a, b) = (trial.a.received().len(), trial.b.received().len());
    assert!(a + b == 300 && (100..200).contains(&b), "half of the traffic is tried: {a} and {b}");
}

#[tokio::test]
async fn a_candidate_that_goes_where_the_current_policy_forbids_is_called_back() {
    let mut strict = version(1, "a");
    strict["envelopes"][0]["forbid"] = json!({"substrates": ["b"]});
    let trial = Trial::start(&configuration(strict, Some(candidate(2)))).await;
    let mut tried = 0;
    while trial.rollout().await["recalled"].is_null() {
        trial.ask(Http::One).await;
        tried += 1;
        assert!(tried < 2_000, "it was not called back");
    }
    assert!(trial.rollout().await["recalled"]["why"].as_str().unwrap().contains("outside_ppm=1000000"));
    trial.await_only("lanes@1#").await;
}

#[tokio::test]
async fn the_switch_goes_back_to_the_policy_before_and_to_none() {
    let trial = Trial::start(&configuration(version(1, "a"), None)).await;
    trial.await_only("lanes@1#").await;
    trial.push("2", &configuration(version(2, "b"), None));
    trial.await_only("lanes@2#").await;
    trial.throw("previous").await;
    trial.await_only("lanes@1#").await;
    trial.throw("current").await;
    trial.await_only("lanes@2#").await;
}
