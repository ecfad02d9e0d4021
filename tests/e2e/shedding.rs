//! Admission by tier in a real Envoy: as load grows, batch work gives way first and in proportion, critical work never
//! before it must; whoever is turned away hears when to come again, gRPC clients in their own words.

use crate::mesh::Mesh;
use crate::support::bootstrap::INGRESS;
use crate::support::client::{Ask, BOTH, Http, Seen};
use crate::support::eventually;
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::Script;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TIERS: [&str; 3] = ["overnight", "standard", "chat"];

/// Two substrates that are permitted, of this capacity each, all of it for everybody; and a class of each tier.
fn tiers(capacity: u32) -> Value {
    let mut policy = policy();
    for substrate in policy["substrates"].as_array_mut().unwrap() {
        substrate["capacity"] = json!({"concurrency": capacity});
    }
    let mut overnight = policy["classes"][1].clone();
    overnight["name"] = json!("overnight");
    overnight["tier"] = json!("batch");
    overnight["match"] = json!({"header": "x-workload", "is": "overnight"});
    policy["classes"].as_array_mut().unwrap().push(overnight);
    policy["headroom"] = json!(0);
    policy["adaptive"] = json!({"latency": false, "risk": false});
    policy["shedding"] = json!({"from": {"batch": 0.5, "standard": 0.75, "critical": 1}, "retry_after_s": 7,
        "most": {"batch": 0.8, "standard": 0.5, "critical": 0}});
    policy
}

/// By the law: nothing up to where the tier begins to give way, then with the square up to its most.
fn law(tier: &str, used: f64) -> f64 {
    let (from, most) = match tier {
        "overnight" => (0.5, 0.8),
        "standard" => (0.75, 0.5),
        _ => return 0.0,
    };
    most * ((used - from).max(0.0) / (1.0 - from)).powi(2)
}

fn ask(mesh: &Mesh, workload: &str, http: Http) -> Ask {
    let ask = Ask::post(mesh.envoy.listener(INGRESS), "/v1/chat/completions", "{}").over(http);
    ask.header("x-tenant", "acme").header("x-workload", workload)
}

/// Says that it was shed, and how.
fn shed(seen: &Seen) -> bool {
    if seen.status == 200 {
        return false;
    }
    assert_eq!((seen.status, seen.header("retry-after")), (429, Some("7")), "{}", seen.text());
    assert_eq!(seen.header("content-type"), Some("application/problem+json"));
    assert!(seen.text().contains(r#""reason":"availability/shed""#), "{}", seen.text());
    true
}

#[tokio::test]
async fn the_load_that_substrates_report_sheds_batch_first_and_in_proportion_and_critical_never() {
    let policy = tiers(10_000);
    let mesh = Mesh::observed(&placement(&policy), &telemetry(&policy), |_, _| {}).await;
    mesh.await_live().await;
    for used in [0.4, 0.7, 0.9] {
        let running = (used * 10_000.0) as u64;
        for upstream in [&mesh.metal, &mesh.onprem] {
            let report = json!({"substrate": upstream.name, "signals": {"running": running}});
            upstream.does_at("/health", Script::ok(&report.to_string()));
        }
        mesh.await_news().await;
        for tier in TIERS {
            let mut turned = 0;
            for http in BOTH.repeat(150) {
                turned += u32::from(shed(&ask(&mesh, tier, http).send().await.unwrap()));
            }
            let (share, law) = (f64::from(turned) / 300.0, law(tier, used));
            println!("{tier:<9} at {used}: {share:.3} shed, {law:.3} by the law");
            // Four standard deviations of three hundred draws.
            let most = 4.0 * (law * (1.0 - law) / 300.0).sqrt() + 0.003;
            assert!((share - law).abs() <= most, "{tier} at {used}: {share}, not {law}");
        }
    }
    // In gRPC's own words.
    let seen = eventually("a gRPC request is shed", || async {
        let ask =
            ask(&mesh, "overnight", Http::Two).header("content-type", "application/grpc").header("te", "trailers");
        let seen = ask.send().await.unwrap();
        assert_eq!(seen.status, 200, "gRPC refuses by its own status");
        seen.header("grpc-status").is_some().then_some(seen)
    })
    .await;
    assert_eq!(seen.header("grpc-status"), Some("8"), "resource exhausted");
    assert!(seen.header("grpc-message").unwrap().starts_with("availability/shed"));
    assert_eq!((seen.header("retry-after"), seen.header("grpc-retry-pushback-ms")), (Some("7"), Some("7000")));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_really_under_way_sheds_batch_and_leaves_critical_alone_and_passes_with_the_load() {
    let mut policy = tiers(16);
    policy["shedding"]["from"]["batch"] = json!(0.3);
    // Nobody reports anything: what is under way is what the filters inside the clusters see.
    let telemetry = json!({"role": "telemetry", "policy": policy, "tick_ms": 50});
    let mesh = Arc::new(Mesh::observed(&placement(&policy), &telemetry, |_, _| {}).await);
    for upstream in [&mesh.metal, &mesh.onprem] {
        upstream.does(Script::after(400, Script::ok(&upstream.name)));
    }
    let over = Arc::new(AtomicBool::new(false));
    // Eighteen of thirty-two at a time: a busy machine learns late of those that are over, and counts some twice.
    let busy: Vec<_> = (0..18)
        .map(|_| {
            let (mesh, over) = (mesh.clone(), over.clone());
            tokio::spawn(async move {
                let mut turned = 0;
                while !over.load(Ordering::Relaxed) {
                    let seen = ask(&mesh, "chat", Http::One).send().await.unwrap();
                    turned += u32::from(seen.status != 200);
                }
                turned
            })
        })
        .collect();
    eventually("batch work is shed", || async {
        shed(&ask(&mesh, "overnight", Http::Two).send().await.unwrap()).then_some(())
    })
    .await;
    over.store(true, Ordering::Relaxed);
    for task in busy {
        assert_eq!(task.await.unwrap(), 0, "critical work was turned away");
    }
    eventually("twenty in a row of batch work are served again", || async {
        for _ in 0..20 {
            (!shed(&ask(&mesh, "overnight", Http::One).send().await.unwrap())).then_some(())?;
        }
        Some(())
    })
    .await;
}
