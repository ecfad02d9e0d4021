//! What only answers show: attempts are seen inside the clusters, and nothing is asked of the substrates.

use crate::mesh::{Mesh, health};
use crate::support::bootstrap::listener_by_lds;
use crate::support::client::Seen;
use crate::support::envoy::replace_file;
use crate::support::eventually;
use crate::support::policy::{PERIOD_MS, placement, policy, telemetry};
use crate::support::upstream::Script;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Circuits that open and are probed quickly; everything else as in the policy of all tests.
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

    /// Asks for so long, slowly enough that a worker never has more in flight than there is capacity.
    async fn ask_for(&self, ms: u64) -> Vec<Seen> {
        let until = Instant::now() + Duration::from_millis(ms);
        let (mut seen, mut pace) = (Vec::new(), tokio::time::interval(Duration::from_millis(5)));
        while Instant::now() < until {
            pace.tick().await;
            seen.push(self.ask().await);
        }
        seen
    }
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
    let seen = mesh.ask().await;
    assert!(decision(&seen).contains("spill=metal-fr"), "{}", decision(&seen));
    mesh.envoy.await_stat("wasmcustom.berth.health.circuit.substrate.metal-fr", |n| n == 2).await;

    // Open for a second and a half, then one probe, which fails: open for three more.
    let failed = mesh.metal.received().len();
    let seen = mesh.ask_for(4_000).await;
    let bad = seen.iter().filter(|seen| seen.status != 200).count();
    let probes = mesh.metal.received().len() - failed;
    assert!((1..=2).contains(&probes) && bad == probes, "{probes} probes and {bad} bad answers of {}", seen.len());

    mesh.metal.does(Script::ok("metal-fr"));
    eventually("a probe finds it well, and traffic returns", || async {
        let mut home = 0;
        for _ in 0..8 {
            home += usize::from(mesh.ask().await.text() == "metal-fr");
        }
        (home == 8).then_some(())
    })
    .await;
    mesh.envoy.await_stat("wasmcustom.berth.health.circuit.substrate.metal-fr", |n| n == 0).await;
}

/// A good answer with one more header.
fn saying(name: &str, header: &str, value: &str) -> Script {
    Script::Answer(200, vec![(header.into(), value.into())], name.into())
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
    mesh.metal.does(Script::overloaded(2));
    let asked = Instant::now();
    eventually("traffic leaves", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) }).await;
    mesh.metal.does(Script::ok("metal-fr"));
    let left = mesh.metal.received().len();
    let seen = mesh.ask_for(1_000).await;
    assert_eq!((turns(&seen), mesh.metal.received().len()), (vec!["onprem-de".to_string()], left));
    eventually("traffic returns", || async { (mesh.ask().await.text() == "metal-fr").then_some(()) }).await;
    assert!(asked.elapsed() >= Duration::from_millis(1_900), "left alone for {:?}", asked.elapsed());
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
        let seen = eventually("traffic leaves", || async {
            let seen = mesh.ask().await;
            (seen.text() == "onprem-de").then_some(seen)
        })
        .await;
        assert!(decision(&seen).contains("spill=metal-fr"), "{}", decision(&seen));
        mesh.metal.does(Script::ok("metal-fr"));
        let left = Instant::now();
        eventually("traffic returns", || async { (mesh.ask().await.text() == "metal-fr").then_some(()) }).await;
        assert!(left.elapsed() > Duration::from_millis(1_000), "{header}: back after {:?}", left.elapsed());
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
        let asking = mesh.chat().over(http).send();
        assert!(tokio::time::timeout(Duration::from_millis(100), asking).await.is_err());
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
    mesh.metal.does_at("/health", health("metal-fr", 500));
    let started = Instant::now();
    eventually("traffic leaves", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) }).await;
    assert!(started.elapsed() < Duration::from_millis(2 * PERIOD_MS + 300), "took {:?}", started.elapsed());
    // A queue that swings around the threshold brings nobody back and forth.
    let mut seen = Vec::new();
    for depth in [500, 0, 500, 0, 500, 0] {
        mesh.metal.does_at("/health", health("metal-fr", depth));
        seen.extend(mesh.ask_for(PERIOD_MS).await);
    }
    mesh.metal.does_at("/health", health("metal-fr", 0));
    seen.extend(mesh.ask_for(3_000).await);
    let turns = turns(&seen);
    assert_eq!(turns.last().map(String::as_str), Some("metal-fr"));
    // Both workers turn back by themselves, a tick apart: while one has and the other has not, requests alternate.
    let last = seen.iter().rposition(|seen| seen.text() == "onprem-de").unwrap();
    let first = seen.iter().position(|seen| seen.text() == "metal-fr").unwrap();
    let between = last.saturating_sub(first);
    assert!(between < 80, "turned back over {between} of {} requests: {turns:?}", seen.len());
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
    eventually("traffic leaves", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) }).await;

    mesh.envoy.replace_file("lds.json", &json!({"version_info": "2", "resources": []}));
    let fresh = |seen: &Seen| {
        assert_eq!(seen.status, 200, "{}", seen.text());
        decision(seen).split("fresh=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default().to_string()
    };
    let mut said = Vec::new();
    let seen = eventually("decisions are made from declared values", || async {
        let seen = mesh.ask().await;
        (fresh(&seen) == "stale").then_some(seen)
    });
    let watch = async {
        loop {
            said.push(fresh(&mesh.ask().await));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = tokio::select! { seen = seen => seen, () = watch => unreachable!() };
    assert_eq!(seen.text(), "metal-fr", "nothing is known against it any more");
    assert!(said.contains(&"uncertain".to_string()), "{said:?}");
    // Every worker, from now on.
    let seen = mesh.ask_for(500).await;
    assert!(seen.iter().skip(20).all(|seen| fresh(seen) == "stale" && seen.text() == "metal-fr"));

    file["version_info"] = json!("3");
    mesh.envoy.replace_file("lds.json", &file);
    mesh.await_live().await;
    eventually("what is known counts again", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) }).await;
}

#[tokio::test]
async fn when_only_the_sources_fall_silent_decisions_say_so_too() {
    let mut policy = quick();
    policy["ages"] = json!({"soft_ms": 800, "hard_ms": 2_000});
    let mesh = Mesh::observed(&placement(&policy), &telemetry(&policy), |_, _| {}).await;
    mesh.await_live().await;
    mesh.metal.does_at("/health", Script::status(500));
    for word in ["fresh=uncertain", "fresh=stale"] {
        eventually(word, || async { decision(&mesh.ask().await).contains(word).then_some(()) }).await;
    }
    assert!(mesh.envoy.stat("wasmcustom.berth.snapshot.age_ms").await < 800, "the picture itself is young");
    assert_eq!(mesh.ask().await.text(), "metal-fr");
}

#[tokio::test]
async fn a_cluster_without_hosts_or_without_itself_is_avoided_and_said_so() {
    let mut policy = quick();
    policy["substrates"][0]["cluster"] = json!("metal-gone");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    telemetry["sources"] =
        json!([{"cluster": "admin", "path": "/clusters?format=json", "format": "clusters", "interval_ms": 100}]);
    let mut placing = placement(&policy);
    placing["facts"]["residency"] = json!({"header": "x-residency"});
    for exists in [true, false] {
        let mesh = Mesh::observed(&placing, &telemetry, |bootstrap, _| {
            bootstrap["admin"]["address"]["socket_address"]["port_value"] = json!(port);
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
        eventually("the empty cluster is avoided", || async { (mesh.ask().await.text() == "onprem-de").then_some(()) })
            .await;
        let seen = mesh.ask_for(500).await;
        assert!(seen.iter().skip(20).all(|seen| seen.text() == "onprem-de"), "{exists}: {:?}", turns(&seen));
        // Who can go nowhere else hears why.
        let refused = mesh.chat().header("x-residency", "FR").send().await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.text().contains("availability/no-host"), "{}", refused.text());
        assert!(decision(&refused).contains("reason=availability/no-host"), "{}", decision(&refused));
        drop(mesh);
    }
}
