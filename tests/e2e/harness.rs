//! The harness itself, proven without the filter: the route obeys the header, and every scripted fault is seen.

use crate::support::bootstrap::{Bootstrap, INGRESS};
use crate::support::client::{Ask, BOTH, Http};
use crate::support::envoy::Envoy;
use crate::support::upstream::{Script, Upstream};
use crate::support::{Nobody, TRIES};
use std::path::Path;
use std::time::Duration;

async fn two_clusters() -> (Envoy, Upstream, Upstream) {
    let (a, b) = (Upstream::start("a").await, Upstream::start("b").await);
    let bootstrap = Bootstrap::default()
        .cluster("a", a.address)
        .cluster_over("b", b.address, true)
        .without_early_removal()
        .otherwise("a");
    (Envoy::start(&bootstrap.build()).await, a, b)
}

#[tokio::test]
async fn the_route_obeys_the_cluster_header_and_serves_requests_without_one() {
    let (envoy, a, b) = two_clusters().await;
    for http in BOTH {
        let ask = || Ask::get(envoy.listener(INGRESS), "/x").over(http);
        assert_eq!(ask().header("x-placement-cluster", "b").send().await.unwrap().text(), "b");
        assert_eq!(ask().send().await.unwrap().text(), "a");
    }
    assert_eq!((a.received().len(), b.received().len()), (2, 2));
    assert!(b.received().iter().all(|r| r.http2), "b is spoken to over HTTP/2");
}

#[tokio::test]
async fn a_client_cannot_forge_headers_that_are_removed_natively() {
    let (a, b) = (Upstream::start("a").await, Upstream::start("b").await);
    let bootstrap = Bootstrap::default().cluster("a", a.address).cluster("b", b.address).otherwise("a");
    let envoy = Envoy::start(&bootstrap.build()).await;
    for http in BOTH {
        let ask = Ask::get(envoy.listener(INGRESS), "/x").over(http);
        let ask = ask.header("x-placement-cluster", "b").header("X-Envoy-Attempt-Count".to_lowercase().as_str(), "2");
        assert_eq!(ask.send().await.unwrap().text(), "a");
    }
    assert!(b.received().is_empty());
    assert!(a.received().iter().all(|r| !r.headers.contains_key("x-placement-cluster")));
}

#[tokio::test]
async fn every_scripted_fault_is_seen_by_the_client() {
    let (envoy, a, b) = two_clusters().await;
    for (upstream, http) in [(&a, Http::One), (&b, Http::Two)] {
        let ask = || {
            let ask = Ask::get(envoy.listener(INGRESS), "/x").over(http);
            ask.header("x-placement-cluster", &upstream.name).send()
        };
        upstream.does(Script::overloaded(7));
        let seen = ask().await.unwrap();
        assert_eq!((seen.status, seen.header("retry-after")), (429, Some("7")));

        upstream.does(Script::status(503));
        assert_eq!(ask().await.unwrap().status, 503);

        for script in [Script::Reset, Script::Close] {
            upstream.does(script);
            assert_eq!(ask().await.unwrap().status, 503, "an upstream that ends early is a 503 to the client");
        }

        upstream.does(Script::after(150, Script::ok("late")));
        let seen = ask().await.unwrap();
        assert!(seen.took >= Duration::from_millis(150) && seen.text() == "late");

        upstream.does(Script::Stream(4, Duration::from_millis(150)));
        let mut tries = Vec::new();
        while tries.last().is_none_or(|spread| *spread < Duration::from_millis(200)) && tries.len() < TRIES {
            let seen = ask().await.unwrap();
            tries.push(*seen.chunks_at.last().unwrap() - *seen.chunks_at.first().unwrap());
        }
        assert!(*tries.last().unwrap() >= Duration::from_millis(200), "events arrive as they are sent: {tries:?}");

        upstream.does(Script::BreakOff);
        let seen = ask().await.unwrap();
        assert!(seen.status == 200 && seen.broken, "a break after the headers is a cut answer");
    }
}

#[tokio::test]
async fn a_refused_connection_is_logged_with_its_cluster() {
    let gone = Nobody::here();
    let envoy = Envoy::start(&Bootstrap::default().cluster("gone", gone.address()).otherwise("gone").build()).await;
    assert_eq!(Ask::get(envoy.listener(INGRESS), "/x").send().await.unwrap().status, 503);
    let log = envoy.access_log(1).await;
    assert_eq!((log[0]["cluster"].as_str(), log[0]["flags"].as_str()), (Some("gone"), Some("UF")));
    assert_eq!(envoy.stat("cluster.gone.upstream_cx_connect_fail").await, 1);
}

#[tokio::test]
async fn nothing_is_left_running_when_a_test_ends() {
    let (envoy, _a, _b) = two_clusters().await;
    let (process, dir) = (format!("/proc/{}", envoy.pid()), envoy.dir().to_owned());
    assert!(Path::new(&process).exists());
    drop(envoy);
    // Its ports may be somebody else's by now.
    assert!(!Path::new(&process).exists(), "it has ended");
    assert!(!dir.exists(), "its files are gone");
}

/// The one that `tests/README.md` shows.
#[tokio::test]
async fn a_request_without_the_header_goes_to_the_default() {
    let a = Upstream::start("a").await;
    let envoy = Envoy::start(&Bootstrap::default().cluster("a", a.address).otherwise("a").build()).await;
    a.does(Script::overloaded(7));
    let seen = Ask::get(envoy.listener(INGRESS), "/x").over(Http::Two).send().await.unwrap();
    assert_eq!((seen.status, seen.header("retry-after")), (429, Some("7")));
}
