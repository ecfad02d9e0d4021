//! What only answers show: attempts are seen inside the clusters, and nothing is asked of the substrates.

use crate::mesh::{Mesh, health};
use crate::support::bootstrap::{INGRESS, listener_by_lds};
use crate::support::client::{Ask, BOTH, Http, Line, Seen};
use crate::support::envoy::replace_file;
use crate::support::policy::{observe, placement, policy, telemetry};
use crate::support::upstream::Script;
use crate::support::{PATIENCE, RUN, eventually, everywhere};
use berth::model::contract::OWN;
use berth::model::metric::{labels, tag_rule};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Circuits that open and are probed quickly; everything else as in the policy of all tests.
#[allow(clippy::indexing_slicing, reason = "a helper of tests may fail a test")]
fn quick() -> Value {
    let mut policy = policy();
    policy["breaking"] =
        json!({"dwell_ms": 200, "hold_down_ms": 400, "open_ms": 1500, "open_most_ms": 3000, "jitter": 0});
    // A substrate that comes back gets its traffic at once. These upstreams answer a thousand times as fast as they
    // declare, so that whoever was measured would beat whoever was not; and the first failures would drive traffic away
    // as a risk, before there are enough of them for a circuit.
    policy["selection"] = json!({"ramp_ms": 0});
    policy["adaptive"] = json!({"latency": false, "risk": false});
    policy
}

/// A mesh whose substrates nobody asks for anything.
async fn silent(policy: &Value) -> Mesh {
    let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    Mesh::observed(&placement(policy), &telemetry, |_, _| {}).await
}

impl Mesh {
    /// Sends a request and says where it went and what became of it.
    async fn ask(&self) -> Seen {
        self.chat().send().await.unwrap()
    }

    /// Asks for so long.
    async fn ask_for(&self, ms: u64) -> Vec<Seen> {
        let until = Instant::now() + Duration::from_millis(ms);
        self.ask_while(|| Instant::now() < until).await
    }

    async fn ask_while(&self, goes_on: impl Fn() -> bool) -> Vec<Seen> {
        let (mut seen, mut pace) = (Vec::new(), pace(5));
        while goes_on() {
            pace.tick().await;
            seen.push(self.ask().await);
        }
        seen
    }
}

/// Slowly enough that a worker never has more in flight than there is capacity: what was held up is not caught up with.
fn pace(ms: u64) -> Interval {
    let mut pace = interval(Duration::from_millis(ms));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

fn decision(seen: &Seen) -> &str {
    seen.header("x-placement-decision").unwrap_or_default()
}

#[tokio::test]
async fn a_circuit_opens_by_answers_alone_is_probed_within_bounds_and_closes_again() {
    let mesh = silent(&quick()).await;
    assert_eq!(mesh.ask().await.text(), "metal-fr");
    mesh.metal.does(Script::status(500));
    eventually("traffic leaves", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) }).await;
    mesh.envoy.await_stat("wasmcustom.berth.health.circuit.substrate.metal-fr", |n| n == 2).await;
    mesh.await_all_at("onprem-de").await;
    let seen = mesh.ask().await;
    assert!(decision(&seen).contains("spill=metal-fr"), "{}", decision(&seen));

    // Open for a second and a half, then one probe, which fails: open for three more.
    let failed = mesh.metal.received().len();
    let seen = mesh.ask_for(4_000).await;
    let bad = seen.iter().filter(|seen| seen.status != 200).count();
    let probes = mesh.metal.received().len() - failed;
    assert!((1..=2).contains(&probes) && bad == probes, "{probes} probes and {bad} bad answers of {}", seen.len());

    mesh.metal.does(Script::ok("metal-fr"));
    mesh.await_all_at("metal-fr").await;
    mesh.envoy.await_stat("wasmcustom.berth.health.circuit.substrate.metal-fr", |n| n == 0).await;
}

/// A good answer with one more header.
fn saying(name: &str, header: &str, value: &str) -> Script {
    Script::Answer(200, vec![(header.into(), value.into())], name.into())
}

#[tokio::test]
async fn what_an_answer_carries_under_our_names_is_nobody_s_word_and_the_next_go_where_they_went() {
    let mesh = silent(&quick()).await;
    let ours = OWN.iter().map(|name| (name.to_string(), "onprem-de".to_string())).collect();
    mesh.metal.does(Script::Answer(200, ours, "metal-fr".into()));
    for http in BOTH {
        let mut seen = Vec::new();
        for _ in 0..10 {
            seen.push(mesh.chat().over(http).send().await.unwrap());
        }
        assert_eq!(turns(&seen), ["metal-fr"]);
        // As it came: whoever is behind the proxy may say what it likes in its answers.
        assert!(seen.iter().all(|seen| seen.header(OWN[0]) == Some("onprem-de")));
    }
    assert!(mesh.onprem.received().is_empty());
}

/// Where requests went, one after another, without repetitions.
fn turns(seen: &[Seen]) -> Vec<String> {
    let mut turns: Vec<String> = seen.iter().map(Seen::text).collect();
    turns.dedup();
    turns
}

#[tokio::test]
async fn a_substrate_that_asks_for_time_is_left_alone_for_it_and_no_circuit_opens() {
    let mesh = silent(&quick()).await;
    mesh.metal.does(Script::overloaded(5));
    let asked = Instant::now();
    mesh.await_all_at("onprem-de").await;
    mesh.metal.does(Script::ok("metal-fr"));
    let left = mesh.metal.received().len();
    let seen = mesh.ask_while(|| asked.elapsed() < Duration::from_millis(4_500)).await;
    assert_eq!((turns(&seen), mesh.metal.received().len()), (vec!["onprem-de".to_string()], left));
    eventually("traffic returns", || async { (mesh.ask().await.text() == "metal-fr").then_some(()) }).await;
    assert!(asked.elapsed() >= Duration::from_millis(4_900), "left alone for {:?}", asked.elapsed());
    assert_eq!(mesh.envoy.stat("wasmcustom.berth.observed.failed").await, 0);
    assert!(mesh.envoy.stat("wasmcustom.berth.observed.overloaded").await >= 1);
    assert_eq!(mesh.envoy.stat("wasmcustom.berth.health.circuit.substrate.metal-fr").await, 0);
}

#[tokio::test]
async fn the_load_that_an_answer_reports_moves_traffic_until_it_is_too_old_to_be_believed() {
    let mut policy = quick();
    policy["ages"] = json!({"soft_ms": 800, "hard_ms": 2_000});
    for (header, value) in [
        ("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=500"),
        ("endpoint-load-metrics", r#"JSON {"named_metrics": {"num_requests_waiting": 500}}"#),
        // named_metrics {num_requests_waiting: 500}
        ("endpoint-load-metrics-bin", "Qh8KFG51bV9yZXF1ZXN0c193YWl0aW5nEQAAAAAAQH9A"),
    ] {
        let mesh = silent(&policy).await;
        mesh.metal.does(saying("metal-fr", header, value));
        let reported = mesh.await_all_at("onprem-de").await;
        mesh.metal.does(Script::ok("metal-fr"));
        let seen = mesh.ask().await;
        assert!(decision(&seen).contains("spill=metal-fr"), "{}", decision(&seen));
        eventually("traffic returns", || async { (mesh.ask().await.text() == "metal-fr").then_some(()) }).await;
        assert!(reported.elapsed() > Duration::from_millis(1_150), "{header}: back after {:?}", reported.elapsed());
    }
}

#[tokio::test]
async fn resets_refusals_and_broken_streams_are_failures_and_a_client_that_leaves_is_not() {
    let mesh = silent(&quick()).await;
    let counts = || async {
        let stat = async |what: &str| mesh.envoy.stat(&format!("wasmcustom.berth.observed.{what}")).await;
        [stat("good").await, stat("failed").await, stat("refused").await, stat("abandoned").await]
    };
    let mut expected = [0; 4];
    for (script, change) in [
        (Script::ok("x"), [1, 0, 0, 0]),
        (Script::status(404), [0, 0, 1, 0]),
        (Script::Reset, [0, 1, 0, 0]),
        (Script::Close, [0, 1, 0, 0]),
        (Script::Stream(3, Duration::from_millis(20)), [1, 0, 0, 0]),
        // It began well: both are counted.
        (Script::BreakOff, [1, 1, 0, 0]),
    ] {
        mesh.metal.does(script.clone());
        let _ = mesh.chat().send().await;
        expected.iter_mut().zip(change).for_each(|(all, more)| *all += more);
        eventually(&format!("{script:?} is counted"), || async { (counts().await == expected).then_some(()) }).await;
    }
    mesh.metal.does(Script::after(5_000, Script::ok("late")));
    for http in crate::support::client::BOTH {
        let before = mesh.metal.received().len();
        let asking = tokio::spawn(mesh.chat().over(http).send());
        eventually("it is under way", || async { (mesh.metal.received().len() > before).then_some(()) }).await;
        asking.abort();
        expected[3] += 1;
        eventually("a client that leaves is counted", || async { (counts().await == expected).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_degraded_substrate_is_left_within_two_periods_and_returned_to_without_flapping() {
    let policy = quick();
    let mesh = Mesh::observed(&placement(&policy), &telemetry(&policy), |_, _| {}).await;
    mesh.await_live().await;
    // Reachable, 200 OK, and a deep queue.
    mesh.leaves_in_time().await;
    mesh.await_all_at("onprem-de").await;
    // Connections that are kept stay with their worker: what each of them sees is what one worker does.
    let mut lines = Vec::new();
    for _ in 0..8 {
        lines.push((Line::open(mesh.envoy.listener(INGRESS), Http::One).await, Vec::new()));
    }
    let mut pace = pace(20);
    let chat = [("x-tenant", "acme"), ("x-workload", "chat"), ("x-model", "llama-3.3-70b")];
    let mut ask_all = async || {
        pace.tick().await;
        for (line, went) in &mut lines {
            went.push(line.send("/v1/chat/completions", &chat, b"{}".to_vec()).await.unwrap().text());
        }
        lines.iter().all(|(_, went)| went.last().is_some_and(|last| last == "metal-fr"))
    };
    // A queue that swings around the threshold from one question to the next brings nobody back and forth.
    for depth in [500, 0, 500, 0, 500, 0] {
        mesh.metal.does_at("/health", health("metal-fr", depth));
        let asked = mesh.metal.asked("/health");
        while mesh.metal.asked("/health") == asked {
            ask_all().await;
        }
    }
    mesh.metal.does_at("/health", health("metal-fr", 0));
    let end = Instant::now() + PATIENCE;
    while !ask_all().await {
        assert!(Instant::now() < end, "everybody returns");
    }
    for _ in 0..50 {
        assert!(ask_all().await, "and stays");
    }
    for (_, mut went) in lines {
        went.dedup();
        assert_eq!(went, ["onprem-de", "metal-fr"], "one change, and no other");
    }
}

#[tokio::test]
async fn only_the_class_leaves_that_does_not_join_such_a_queue() {
    let mut policy = quick();
    policy["classes"][0]["limits"] = json!({"max_queue": 5});
    let mesh = Mesh::observed(&placement(&policy), &telemetry(&policy), |_, _| {}).await;
    mesh.await_live().await;
    // Too deep for one class, and far from the threshold of its kind, which holds for the other.
    mesh.metal.does_at("/health", health("metal-fr", 8));
    let of = |workload: &'static str| {
        let ask = Ask::post(mesh.envoy.listener(INGRESS), "/v1/chat/completions", "{}");
        ask.header("x-tenant", "acme").header("x-workload", workload).header("x-model", "llama-3.3-70b").send()
    };
    eventually("the class that forbids it leaves", || async {
        for _ in 0..12 {
            let seen = of("chat").await.ok().filter(|seen| seen.text() == "onprem-de")?;
            assert!(seen.header("x-placement-decision").unwrap().contains("queue-full"));
            let seen = of("standard").await.ok().filter(|seen| seen.text() == "metal-fr");
            assert!(seen.is_some(), "the other stays");
        }
        Some(())
    })
    .await;
}

#[tokio::test]
async fn with_telemetry_killed_decisions_go_on_first_uncertain_then_from_declared_values() {
    let mut policy = quick();
    policy["ages"] = json!({"soft_ms": 1_000, "hard_ms": 2_500});
    let mut file = json!(null);
    let mesh = Mesh::observed(&placement(&policy), &telemetry(&policy), |bootstrap, dir| {
        file = listener_by_lds(bootstrap, "telemetry", &dir.join("lds.json"));
        replace_file(dir, "lds.json", &file);
    })
    .await;
    mesh.await_live().await;
    mesh.metal.does_at("/health", health("metal-fr", 500));
    mesh.await_all_at("onprem-de").await;

    mesh.envoy.replace_file("lds.json", &json!({"version_info": "2", "resources": []}));
    let fresh = |seen: &Seen| {
        assert_eq!(seen.status, 200, "{}", seen.text());
        decision(seen).split("fresh=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default().to_string()
    };
    // Slowly: what was placed since the last news counts as under way for as long as such a request should take.
    let (mut said, mut pace) = (Vec::new(), pace(100));
    let end = Instant::now() + PATIENCE;
    loop {
        pace.tick().await;
        let seen = mesh.ask().await;
        said.push(fresh(&seen));
        // Nothing is known against it any more.
        if fresh(&seen) == "stale" && seen.text() == "metal-fr" {
            break;
        }
        assert!(Instant::now() < end, "{said:?}");
    }
    said.dedup();
    assert_eq!(said.last().map(String::as_str), Some("stale"));
    assert!(said.contains(&"uncertain".to_string()), "{said:?}");
    // Every worker, from now on.
    let there = |seen: &Seen| fresh(seen) == "stale" && seen.text() == "metal-fr";
    everywhere("nothing is known any more", || async { there(&mesh.ask().await) }).await;
    assert!(mesh.ask_for(500).await.iter().all(there));

    file["version_info"] = json!("3");
    mesh.envoy.replace_file("lds.json", &file);
    mesh.await_live().await;
    eventually("what is known counts again", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) }).await;
}

#[tokio::test]
async fn when_only_the_sources_fall_silent_decisions_and_metrics_say_so_and_a_required_freshness_holds() {
    let mut policy = quick();
    policy["ages"] = json!({"soft_ms": 800, "hard_ms": 2_000});
    // The same, for a tenant that asks for news of health.
    let mut careful = policy["envelopes"][0].clone();
    careful["name"] = json!("careful");
    careful["applies_to"] = json!({"tenants": ["careful"]});
    careful["require"] = json!({"health_max_age_s": 2});
    policy["envelopes"].as_array_mut().unwrap().push(careful);
    let mesh = Mesh::observed(&placement(&policy), &telemetry(&policy), |_, _| {}).await;
    mesh.await_live().await;
    let careful = || async {
        let ask = Ask::post(mesh.envoy.listener(INGRESS), "/v1/chat/completions", "{}");
        let ask = ask.header("x-tenant", "careful").header("x-workload", "chat").header("x-model", "llama-3.3-70b");
        ask.send().await.unwrap()
    };
    assert_eq!(careful().await.text(), "metal-fr");
    mesh.metal.does_at("/health", Script::status(500));
    for word in ["fresh=uncertain", "fresh=stale"] {
        eventually(word, || async { decision(&mesh.ask().await).contains(word).then_some(()) }).await;
    }
    // The picture itself is young.
    mesh.envoy.await_stat("wasmcustom.berth.snapshot.age_ms", |age| age < 800).await;
    mesh.envoy.await_stat("wasmcustom.berth.health.silent.substrate.metal-fr", |silent| silent == 1).await;
    assert_eq!(mesh.envoy.stat("wasmcustom.berth.health.silent.substrate.onprem-de").await, 0);
    mesh.envoy.await_stat("wasmcustom.berth.health.queue_depth_age_ms.substrate.metal-fr", |age| age >= 2_000).await;
    // Requests go on, so that its load is known all the while, and its answers are good: neither is news of it.
    everywhere("who asks for news goes elsewhere", || async {
        assert_eq!(mesh.ask().await.text(), "metal-fr");
        let seen = careful().await;
        seen.text() == "onprem-de" && decision(&seen).contains("unverified")
    })
    .await;
    // Questions of the role itself pass the same clusters and are no work.
    let worked: usize = [&mesh.metal, &mesh.onprem, &mesh.provider].iter().map(|u| u.received().len()).sum();
    assert!(mesh.metal.asked("/health") > 5);
    // Told at the next tick.
    mesh.envoy.await_stat("wasmcustom.berth.observed.good", |n| n == u64::try_from(worked).unwrap()).await;
    assert_eq!(mesh.ask().await.text(), "metal-fr");
}

/// A series of a histogram as Prometheus reads it, once Envoy has merged what its workers recorded.
async fn await_series(mesh: &Mesh, series: &str, wanted: u64) {
    eventually(series, || async {
        let text = mesh.envoy.admin_get("/stats/prometheus").await.text();
        let found = text.lines().filter_map(|line| line.rsplit_once(' ')).find(|(name, _)| *name == series);
        found.is_some_and(|(_, n)| n.parse() == Ok(wanted)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn times_are_told_by_size_and_a_region_that_is_slow_beside_others_shows() {
    let mut policy = quick();
    for (at, region) in ["north", "south"].into_iter().enumerate() {
        policy["substrates"][at]["kind"] = "gpu".into();
        policy["substrates"][at]["location"]["region"] = region.into();
    }
    let only = json!({"name": "south", "applies_to": {"classes": ["standard"]}, "permit": {"substrates": ["onprem-de"]}, "spillover": "any"});
    policy["envelopes"].as_array_mut().unwrap().push(only);
    let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    let mesh = Mesh::observed(&placement(&policy), &telemetry, |bootstrap, _| {
        let mut measuring = observe();
        measuring["histograms"] = true.into();
        let carried = |it: &Value| serde_json::to_string(&it.to_string()).unwrap();
        let text = bootstrap.to_string().replace(&carried(&observe()), &carried(&measuring));
        *bootstrap = serde_json::from_str(&text).unwrap();
        let rule = |label: &&str| json!({"tag_name": label, "regex": tag_rule(label)});
        bootstrap["stats_config"] = json!({"stats_tags": labels().iter().map(rule).collect::<Vec<_>>()});
        bootstrap["stats_flush_interval"] = "0.5s".into();
    })
    .await;
    // Three times as slow as declared, and as slow as declared.
    mesh.metal.does(Script::after(600, Script::ok("metal-fr")));
    mesh.onprem.does(Script::after(400, Script::ok("onprem-de")));
    let ask = |class: &str, bytes: usize| {
        let ask = Ask::post(mesh.envoy.listener(INGRESS), "/v1/chat/completions", "x".repeat(bytes));
        ask.header("x-tenant", "acme").header("x-workload", class).header("x-model", "llama-3.3-70b")
    };
    for (class, bytes, times) in [("chat", 100, 4), ("chat", 20_000, 3), ("standard", 300_000, 2)] {
        for _ in 0..times {
            let seen = ask(class, bytes).send().await.unwrap();
            assert_eq!(seen.text(), if class == "chat" { "metal-fr" } else { "onprem-de" });
        }
    }
    for (cluster, size, count) in [("metal-fr", "4k", 4), ("metal-fr", "64k", 3), ("onprem-de", "more", 2)] {
        for what in ["first_byte", "total"] {
            let of = |part: &str, le: &str| {
                format!("berth_observed_{what}_ms_{part}{{cluster=\"{cluster}\",size=\"{size}\"{le}}}")
            };
            await_series(&mesh, &of("count", ""), count).await;
            await_series(&mesh, &of("bucket", ",le=\"250\""), 0).await;
            await_series(&mesh, &of("bucket", ",le=\"3600000\""), count).await;
        }
    }
    // A busy machine adds to both, and to the quicker one relatively more.
    let divergence = |region: &str| format!("wasmcustom.berth.health.region_divergence.region.{region}");
    mesh.envoy.await_stat(&divergence("north"), |ppm| (1_500_000..3_500_000).contains(&ppm)).await;
    mesh.envoy.await_stat(&divergence("south"), |ppm| (280_000..700_000).contains(&ppm)).await;
    assert_eq!(mesh.envoy.stat(&divergence("r1")).await, 0, "the provider has no peer");
}

/// An address that hands on to another one, which is known later: Envoy's administration as a cluster of its own, on
/// whatever port it gets.
pub async fn relay(to: Arc<OnceLock<SocketAddr>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let Some(to) = to.get().copied() else { continue };
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_cluster_without_hosts_or_without_itself_is_avoided_and_said_so() {
    let mut policy = quick();
    policy["substrates"][0]["cluster"] = json!("metal-gone");
    let mut telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    telemetry["sources"] =
        json!([{"cluster": "admin", "path": "/clusters?format=json", "format": "clusters", "interval_ms": 100}]);
    let mut placing = placement(&policy);
    placing["facts"]["residency"] = json!({"header": "x-residency"});
    for exists in [true, false] {
        let admin = Arc::new(OnceLock::new());
        let port = relay(admin.clone()).await.port();
        let mesh = Mesh::observed(&placing, &telemetry, |bootstrap, _| {
            let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
            let mut admin = clusters[0].clone();
            admin["name"] = json!("admin");
            let endpoint = &mut admin["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
            endpoint["address"]["socket_address"]["port_value"] = json!(port);
            clusters.push(admin);
            if exists {
                clusters.push(json!({"name": "metal-gone", "type": "STATIC", "connect_timeout": "1s",
                    "load_assignment": {"cluster_name": "metal-gone"}}));
            }
        })
        .await;
        admin.set(mesh.envoy.admin_address()).unwrap();
        mesh.await_all_at("onprem-de").await;
        let seen = mesh.ask_for(500).await;
        assert!(seen.iter().all(|seen| seen.text() == "onprem-de"), "{exists}: {:?}", turns(&seen));
        // Who can go nowhere else hears why.
        let refused = mesh.chat().header("x-residency", "FR").send().await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().contains("availability/no-host"), "{}", refused.text());
        assert!(decision(&refused).contains("reason=availability/no-host"), "{}", decision(&refused));
    }
}

#[tokio::test]
async fn an_aggregate_cluster_is_seen_as_itself_and_a_full_circuit_breaker_of_envoys_own_is_nobodys_failure() {
    let mut policy = quick();
    policy["substrates"][0]["cluster"] = json!("both");
    // No probes while this lasts.
    policy["breaking"]["open_ms"] = json!(60_000);
    policy["breaking"]["open_most_ms"] = json!(60_000);
    let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    let mesh = Mesh::observed(&placement(&policy), &telemetry, |bootstrap, _| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
        clusters.push(json!({"name": "both", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "1s",
            "typed_extension_protocol_options": clusters[0]["typed_extension_protocol_options"],
            "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": ["metal-fr", "provider-us"]}}}));
        clusters[1]["circuit_breakers"] = json!({"thresholds": [{"max_requests": 0}]});
    })
    .await;
    mesh.metal.does(Script::status(500));
    eventually("the circuit opens", || async {
        mesh.ask().await;
        (mesh.envoy.stat("wasmcustom.berth.health.circuit.substrate.metal-fr").await == 2).then_some(())
    })
    .await;
    everywhere("both workers go where Envoy's own circuit breaker is", || async {
        mesh.ask().await.header("x-envoy-overloaded").is_some()
    })
    .await;
    // The first of each worker had to wait for a connection: the filter saw it begin, and end without an answer. Of those
    // that are turned away at once it sees nothing.
    let counted = || async { mesh.envoy.stat("wasmcustom.berth.observed.failed").await };
    let (failed, answered) = (counted().await, u64::try_from(mesh.metal.received().len()).unwrap());
    assert!((answered..=answered + 2).contains(&failed), "{failed} failed, {answered} of them were answered");
    for _ in 0..RUN {
        assert!(mesh.ask().await.header("x-envoy-overloaded").is_some());
    }
    assert_eq!(counted().await, failed);
    assert_eq!(mesh.envoy.stat("wasmcustom.berth.health.circuit.substrate.onprem-de").await, 0);
}

#[tokio::test]
async fn a_budget_is_the_proxys_and_not_each_workers() {
    let mut policy = quick();
    // Ninety-seven chats of 103 micro-dollars. Two workers that did not tell each other would place twice as many.
    policy["budgets"] = json!([{"tenant": "acme", "window_s": 86_400, "most_usd": 0.01}]);
    let mesh = silent(&policy).await;
    let (mut seen, mut pace) = (Vec::new(), pace(10));
    while seen.len() < 250 {
        pace.tick().await;
        seen.push(mesh.ask().await);
    }
    let placed = seen.iter().filter(|seen| seen.status == 200).count();
    let refused: Vec<&Seen> = seen.iter().filter(|seen| seen.status != 200).collect();
    // Over by what both place until they know of each other: a quarter of a second, at a hundred requests a second.
    assert!((90..=125).contains(&placed), "{placed} of {} placed", seen.len());
    assert!(refused.len() > 100);
    for seen in refused {
        assert_eq!((seen.status, seen.text().contains("cost/tenant-budget")), (429, true), "{}", seen.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_substrate_that_was_slow_is_found_again_within_a_bound_though_others_are_better_than_it_declares() {
    const HARD_MS: u64 = 4_000;
    let mut policy = quick();
    policy["adaptive"] = json!({"latency": true, "risk": false});
    policy["ages"] = json!({"soft_ms": 1_500, "hard_ms": HARD_MS});
    // A second is so dear that whoever was measured to be faster beats what anybody declares: nobody is an equal.
    policy["classes"][0]["worth"] = json!({"answer_usd": 0.001, "second_usd": 1, "failure_usd": 0});
    policy["classes"][0]["home"] = json!(["metal-fr", "onprem-de"]);
    policy["substrates"][1]["location"] = policy["substrates"][0]["location"].clone();
    for (at, first) in [(0, 200), (1, 250)] {
        policy["substrates"][at]["latency"] =
            json!({"first_token_ms": first, "prefill_ms_per_ktok": 0, "ms_per_token": 0});
    }
    let mesh = Arc::new(silent(&policy).await);
    assert_eq!(mesh.ask().await.text(), "metal-fr", "it declares to be the faster one");
    mesh.metal.does(Script::after(300, Script::ok("metal-fr")));
    mesh.onprem.does(Script::after(100, Script::ok("onprem-de")));
    // Six at a time, all the while.
    let heard = Arc::new(Mutex::new(Vec::new()));
    let busy: Vec<_> = (0..6)
        .map(|_| {
            let (mesh, heard) = (mesh.clone(), heard.clone());
            tokio::spawn(async move {
                loop {
                    let seen = mesh.ask().await;
                    heard.lock().unwrap().push((seen.text(), decision(&seen).ends_with(", trial")));
                }
            })
        })
        .collect();
    let lately = |many: usize| {
        let heard = heard.lock().unwrap();
        heard.iter().rev().take(many).filter(|(name, _)| name == "metal-fr").count()
    };
    let so_far = || heard.lock().unwrap().len();
    eventually("traffic leaves", || async { (so_far() > 100 && lately(50) == 0).then_some(()) }).await;

    // As long as it is slow, few requests meet it: one at a time from each worker, and none while it is known.
    heard.lock().unwrap().clear();
    eventually("it was tried", || async { (so_far() > 300 && lately(300) > 0).then_some(()) }).await;
    let (all, tried) = (so_far(), lately(usize::MAX));
    assert!(tried * 30 <= all, "{tried} of {all} tried it");
    assert!(heard.lock().unwrap().iter().all(|(name, trial)| (name == "metal-fr") == *trial), "and they say so");

    // It recovers, and is faster than the other one.
    mesh.metal.does(Script::ok("metal-fr"));
    let recovered = Instant::now();
    eventually("traffic returns", || async { (lately(50) > 45).then_some(()) }).await;
    let took = recovered.elapsed();
    busy.iter().for_each(tokio::task::JoinHandle::abort);
    println!("{tried} of {all} tried it while it was slow; found again after {took:?}");
    // What is known of it has faded within the hard age; then one in 32 of fifty requests a second tries it.
    assert!(took < Duration::from_millis(HARD_MS + 6_000), "{took:?}");
}
