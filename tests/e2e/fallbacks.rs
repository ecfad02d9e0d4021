//! Why a request was tried again, and where it went on: what the tool reads in the lines of its attempts, what the filters
//! inside the clusters count, and what they leave in the request's own line, for every fault.

use crate::account::Books;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH};
use crate::support::policy::observe;
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// What `berth log` counts of the router's own log.
pub fn summed_up(books: &Books) -> Value {
    let log = books.envoy.dir().join("attempts.log");
    let output =
        Command::new(env!("CARGO_BIN_EXE_berth")).arg("log").arg(log).args(["--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A filter inside every cluster, which tells those who place nothing: what it sees moves no traffic here.
pub fn watched(bootstrap: &mut Value) {
    let mut filter = wasm_filter(&built("berth.wasm"), "telemetry", &observe(), Carried::Text);
    filter["typed_config"]["config"]["vm_config"]["vm_id"] = "apart".into();
    Bootstrap::watch_in(bootstrap, &filter);
}

#[tokio::test]
async fn every_fallback_has_its_cause_in_the_log_from_where_and_to_where() {
    let books = Books::open_with(watched).await;
    let gone = Upstream::start("gone").await.address.port();
    let refusing = Books::open_with(|bootstrap| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
        let a = clusters.iter_mut().find(|c| c["name"] == "a").unwrap();
        let host = &mut a["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        host["socket_address"]["port_value"] = json!(gone);
        watched(bootstrap);
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
        let counted = eventually("the counters say the same", || async {
            let metrics = books.metrics().await;
            let of = |(name, n): (String, u64)| Some((name.strip_prefix("berth_fallbacks{")?.to_string(), n));
            let counted: BTreeMap<String, u64> = metrics.into_iter().filter_map(of).collect();
            (counted.len() == causes.len()).then_some(counted)
        })
        .await;
        for cause in causes {
            let word = match *cause {
                "500" => "5xx",
                "slow first byte" => "slow",
                other => other,
            };
            let series = format!("cause=\"{word}\",from=\"a\",to=\"b\"}}");
            assert_eq!(counted.get(&series), Some(&(BOTH.len() as u64)), "{cause}: {counted:?}");
            let told = books
                .lines("access.log")
                .into_iter()
                .filter(|line| line["request_id"].as_str().is_some_and(|id| id.starts_with(&format!("{cause} "))));
            let told: Vec<Value> = told.map(|line| line["fell"].clone()).collect();
            assert_eq!(told, vec![json!(format!("a={word}>")); BOTH.len()]);
        }
        // As often as the second one was asked.
        assert_eq!(books.upstream("b").received().iter().filter(|r| r.path == "/v1/x").count(), made / 2);
    }
}
