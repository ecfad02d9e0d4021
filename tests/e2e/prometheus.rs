//! Health from a real Prometheus: it scrapes the substrates, and one answer of its query API tells Berth of all of them.

use crate::desk::telemetry_with;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::Ask;
use crate::support::envoy::{Envoy, WATCHED, workdir};
use crate::support::policy::{placement, policy};
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What its rules make of what it has scraped: one series for all signals, with the labels that Berth looks at.
const RULES: &str = r"
groups:
- name: berth
  interval: 100ms
  rules:
  - {record: berth_signal, expr: 'sum by (substrate) (vllm:num_requests_waiting)', labels: {signal: queue_depth}}
  - {record: berth_signal, expr: 'max by (substrate) (vllm:kv_cache_usage_perc)', labels: {signal: memory_pressure}}
";

/// A running Prometheus; ended when dropped, and also when the test is killed.
pub struct Prometheus {
    child: Child,
    dir: PathBuf,
    pub address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- Prometheus ---\n{}", std::fs::read_to_string(self.dir.join("log")).unwrap_or_default());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn binary() -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/tools");
    let found = Command::new(tools).arg("prometheus").stderr(Stdio::inherit()).output().unwrap();
    let found = String::from_utf8_lossy(&found.stdout).trim().to_string();
    assert!(!found.is_empty(), "no Prometheus: `.ci/tools prometheus` says why, or name one with PROMETHEUS=");
    found
}

impl Prometheus {
    /// One that scrapes these and is ready. It cannot be told to take any free port, so one is looked for; should
    /// somebody be quicker to take it, another is.
    async fn start(substrates: &[&Upstream]) -> Self {
        let target = |u: &&Upstream| json!({"targets": [u.address.to_string()], "labels": {"substrate": u.name}});
        let targets: Vec<Value> = substrates.iter().map(target).collect();
        let config = json!({"rule_files": ["rules.yml"], "scrape_configs": [
            {"job_name": "substrates", "scrape_interval": "100ms", "scrape_timeout": "100ms", "static_configs": targets}]});
        Self::start_with(&config, RULES).await
    }

    /// The same with another configuration; its rules are in `rules.yml`.
    pub async fn start_with(config: &Value, rules: &str) -> Self {
        let binary = binary();
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap();
            let mut one = Self::spawn(&binary, address, config, rules);
            let ready = eventually("Prometheus is ready or has ended", || {
                let ended = one.child.try_wait().unwrap().is_some();
                async move {
                    // Whoever took the port may answer too.
                    let seen = Ask::get(address, "/-/ready").send().await;
                    let ready = seen.is_ok_and(|seen| seen.status == 200 && seen.text().contains("Prometheus"));
                    if ended { Some(false) } else { ready.then_some(true) }
                }
            });
            if ready.await {
                return one;
            }
        }
        panic!("Prometheus did not start five times");
    }

    fn spawn(binary: &str, address: SocketAddr, config: &Value, rules: &str) -> Self {
        let dir = workdir();
        // JSON is YAML.
        std::fs::write(dir.join("prometheus.yml"), config.to_string()).unwrap();
        std::fs::write(dir.join("rules.yml"), rules).unwrap();
        let child = Command::new("/bin/sh")
            .args(["-c", WATCHED, "sh", binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, dir, address }
    }
}

/// What a model server shows of itself.
fn metrics(queue: u64) -> Script {
    Script::ok(&format!(
        "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{{engine=\"0\"}} {queue}\n\
         # TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{{engine=\"0\"}} 0.25\n"
    ))
}

#[tokio::test]
async fn one_answer_of_a_real_prometheus_tells_of_all_substrates_and_moves_traffic() {
    let (metal, onprem) = (Upstream::start("metal-fr").await, Upstream::start("onprem-de").await);
    let provider = Upstream::start("provider-us").await;
    let all = [&metal, &onprem, &provider];
    all.iter().for_each(|upstream| upstream.does_at("/metrics", metrics(0)));
    let prometheus = Prometheus::start(&all).await;

    let mut telemetry = telemetry_with(json!({"read": "anyone"}));
    let configuration = &mut telemetry["typed_config"]["config"]["configuration"]["value"];
    let mut read: Value = serde_json::from_str(configuration.as_str().unwrap()).unwrap();
    read["sources"] = json!([{"cluster": "prometheus", "path": "/api/v1/query?query=berth_signal", "format": "query",
        "interval_ms": 100, "timeout_ms": 1_000}]);
    *configuration = read.to_string().into();
    let bootstrap = Bootstrap::default()
        .cluster("metal-fr", metal.address)
        .cluster("onprem-de", onprem.address)
        .cluster("provider-us", provider.address)
        .cluster("prometheus", prometheus.address)
        .filter(wasm_filter(&built("berth.wasm"), "placement", &placement(&policy()), Carried::Text))
        .telemetry(telemetry);
    let envoy = Envoy::start(&bootstrap.build()).await;
    let state = || async {
        let seen = Ask::get(envoy.listener("telemetry"), "/state").send().await.unwrap();
        serde_json::from_slice::<Value>(&seen.body).unwrap()
    };
    let signal = |state: &Value, at: usize, name: &str| state["snapshot"]["substrates"][at]["signals"][name].clone();
    let chat = || async {
        let ask = Ask::post(envoy.listener(INGRESS), "/v1/chat/completions", "{}");
        ask.header("x-tenant", "acme").header("x-workload", "chat").send().await.unwrap().text()
    };

    eventually("all signals of all substrates are known", || async {
        let state = state().await;
        let known = |at| {
            signal(&state, at, "queue_depth")["value"] == 0 && signal(&state, at, "memory_pressure")["value"] == 250_000
        };
        (0..3).all(known).then_some(())
    })
    .await;
    assert_eq!(chat().await, "metal-fr");

    metal.does_at("/metrics", metrics(500));
    eventually("traffic leaves", || async { (chat().await == "onprem-de").then_some(()) }).await;
    // Whichever worker is asked.
    eventually("the queue is shown", || async {
        (signal(&state().await, 0, "queue_depth")["value"] == 500).then_some(())
    })
    .await;
    metal.does_at("/metrics", metrics(0));
    eventually("traffic returns", || async { (chat().await == "metal-fr").then_some(()) }).await;

    // A substrate that cannot be scraped is left out of the answers: what was heard of it grows old, nobody else's does.
    metal.does_at("/metrics", Script::status(500));
    eventually("what is known of it is a second old, and of the others it is not", || async {
        let state = state().await;
        let age =
            |at| state["now_ms"].as_u64().unwrap() - signal(&state, at, "memory_pressure")["at_ms"].as_u64().unwrap();
        (age(0) > 1_000 && age(1) < 700).then_some(())
    })
    .await;
}
