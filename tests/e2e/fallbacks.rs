//! Why a request was tried again, and where it went on: what the tool reads in the lines of its attempts, for every fault.

use crate::account::Books;
use crate::support::bootstrap::{Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH};
use crate::support::policy::observe;
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use berth::manifest::envoy::cluster::Endpoint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// What `berth log` counts of the router's own log.
fn summed_up(books: &Books) -> Value {
    let log = books.envoy.dir().join("attempts.log");
    let output =
        Command::new(env!("CARGO_BIN_EXE_berth")).arg("log").arg(log).args(["--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn every_fallback_has_its_cause_in_the_log_from_where_and_to_where() {
    let books = Books::open().await;
    let gone = Upstream::start("gone").await.address.port();
    let refusing = Books::open_with(|bootstrap| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
        let a = clusters.iter_mut().find(|c| c["name"] == "a").unwrap();
        let host = &mut a["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        host["socket_address"]["port_value"] = json!(gone);
    })
    .await;
    let faults = [
        ("429", &books, Script::overloaded(1)),
        ("503", &books, Script::status(503)),
        ("500", &books, Script::status(500)),
        ("reset", &books, Script::Reset),
        ("slow first byte", &books, Script::after(4_000, Script::ok("a"))),
        ("refused", &refusing, Script::ok("a")),
    ];
    for (fault, books, script) in faults {
        books.upstream("a").does(script);
        for (n, http) in BOTH.into_iter().enumerate() {
            let ask = Ask::post(books.envoy.listener(INGRESS), "/v1/x", "x").over(http);
            let ask = ask.header("x-tenant", "acme").header("x-workload", "again");
            let seen = ask.header("x-request-id", &format!("{fault} {n}")).send().await.unwrap();
            assert_eq!((seen.status, seen.text().as_str()), (200, "b"), "{fault}");
        }
    }
    for (books, causes) in
        [(&books, &["429", "503", "500", "reset", "slow first byte"] as &[_]), (&refusing, &["refused"])]
    {
        let expected: BTreeMap<String, usize> =
            causes.iter().map(|cause| (format!("a → b, {cause}"), BOTH.len())).collect();
        let made = 2 * BOTH.len() * causes.len();
        let sums = eventually("every attempt is in the log", || async {
            let sums = summed_up(books);
            (sums["attempts"] == made).then_some(sums)
        })
        .await;
        let lines = fs::read_to_string(books.envoy.dir().join("attempts.log")).unwrap();
        assert_eq!(sums["fallbacks"], json!(expected), "{lines}");
        // As often as the second one was asked.
        assert_eq!(books.upstream("b").received().iter().filter(|r| r.path == "/v1/x").count(), made / 2);
    }
}

/// Has a filter inside each substrate's cluster see the attempts there.
fn observed(bootstrap: &mut Value) {
    let observing = wasm_filter(&built("berth.wasm"), "telemetry", &observe(), Carried::Text);
    for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().unwrap() {
        let name = cluster["name"].as_str().unwrap().to_string();
        let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        let address = &address["socket_address"];
        if let (true, Some(port)) = (["a", "b", "c"].contains(&name.as_str()), address["port_value"].as_u64()) {
            let hosts = vec![(address["address"].as_str().unwrap().to_string(), port as u16)];
            let (http2, filters) = (name == "b", vec![observing.clone()]);
            *cluster = Endpoint { hosts, http2, filters, ..Endpoint::default() }.render(&name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_clusters_filters_count_by_cause_is_what_the_log_says() {
    let books = Books::open_with(observed).await;
    for (round, script) in [Script::overloaded(1), Script::status(500), Script::Reset].into_iter().enumerate() {
        books.upstream("a").does(script);
        books.ask_many(round, 60).await;
    }
    let counted = |cause: &str| format!("berth_observed_fallbacks{{cause=\"{cause}\"}}");
    eventually("the log and the metrics say the same", || async {
        let (sums, metrics) = (summed_up(&books), books.metrics().await);
        let mut expected = BTreeMap::<&str, u64>::new();
        for (fallback, n) in sums["fallbacks"].as_object()? {
            let cause = match fallback.rsplit_once(", ")?.1 {
                "429" => "overloaded",
                "500" => "failed",
                "reset" => "broken",
                _ => return None,
            };
            *expected.entry(cause).or_default() += n.as_u64()?;
        }
        let same = |cause: &&str| metrics.get(&counted(cause)).copied() == expected.get(*cause).copied();
        let all = ["overloaded", "failed", "broken"];
        println!("{expected:?} {:?}", all.map(|cause| metrics.get(&counted(cause)).copied()));
        (expected.len() == 3 && all.iter().all(same)).then_some(())
    })
    .await;
}
