//! Requests that come back: a substrate whose address is the proxy itself, and answers that Envoy follows by itself
//! (internal redirects). Each time the request is placed anew, by its own facts; and it ends.

use crate::attempts::{at, placement};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, Seen};
use crate::support::envoy::Envoy;
use crate::support::upstream::{Script, Upstream};
use crate::support::{TRIES, built, port};
use berth::manifest::envoy::cluster::Endpoint;
use berth::manifest::envoy::listener::{MOST_PASSES, MOST_PASSES_BEHIND, passes};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::time::Duration;

/// What the deadline of these tests' classes (600 ms) may be missed by: hundreds of streams end at once.
const MOST: Duration = Duration::from_millis(1_500);

struct World {
    envoy: Envoy,
    all: [Upstream; 4],
}

impl World {
    /// The substrates of `attempts`, of which `turned` are at the proxy's own listener; `redirects` are followed.
    async fn start(way: Way, turned: &[&str], redirects: Option<u32>) -> Self {
        Self::start_with(way, turned, redirects, false).await
    }

    /// The same, with passes counted or not.
    async fn start_with(way: Way, turned: &[&str], redirects: Option<u32>, counted: bool) -> Self {
        Self::start_as(way, turned, redirects, counted.then_some(false)).await
    }

    /// The same, as a proxy that believes the hops before it or does not, where passes are counted.
    async fn start_as(way: Way, turned: &[&str], redirects: Option<u32>, counted: Option<bool>) -> Self {
        let names = ["a", "b", "c", "forbidden"];
        let all = [
            Upstream::start("a").await,
            Upstream::start("b").await,
            Upstream::start("c").await,
            Upstream::start("forbidden").await,
        ];
        let own = port();
        let itself = Endpoint { hosts: vec![("127.0.0.1".into(), own)], ..Endpoint::default() };
        let filter = wasm_filter(&built("berth-placement.wasm"), "placement", &placement(way), Carried::Text);
        let bootstrap = all
            .iter()
            .fold(Bootstrap::default(), |bootstrap, upstream| {
                let turned = turned.contains(&upstream.name.as_str());
                bootstrap.substrate(&upstream.name, &if turned { itself.clone() } else { at(upstream, false) })
            })
            .filter(filter)
            .routes(way, &names, None);
        let mut bootstrap = bootstrap.build();
        let ingress = &mut bootstrap["static_resources"]["listeners"][0];
        ingress["address"]["socket_address"]["port_value"] = json!(own);
        if let Some(most) = redirects {
            follow(ingress, most);
        }
        if let Some(behind) = counted {
            let filters = &mut ingress["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
            filters.as_array_mut().unwrap().insert(0, passes(behind));
        }
        Self { envoy: Envoy::start(&bootstrap).await, all }
    }

    async fn ask(&self, tenant: &str, path: &str, streaming: &str) -> Seen {
        let ask = Ask::post(self.envoy.listener(INGRESS), path, "x").header("x-tenant", tenant);
        ask.header("x-workload", "once").header("x-stream", streaming).send().await.unwrap()
    }

    fn asked(&self, path: &str) -> [usize; 4] {
        self.all.each_ref().map(|upstream| upstream.asked(path))
    }

    /// How many requests have gone through the filter by now, when none is under way.
    async fn passes(&self) -> u64 {
        self.envoy.await_stat(&format!("http.{INGRESS}.downstream_rq_active"), |active| active == 0).await;
        self.envoy.stat(&format!("http.{INGRESS}.downstream_rq_total")).await
    }
}

/// Has each route that places follow what an answer says, at most so often.
fn follow(ingress: &mut Value, most: u32) {
    let routes = &mut ingress["filter_chains"][0]["filters"][0]["typed_config"]["route_config"];
    for route in routes["virtual_hosts"][0]["routes"].as_array_mut().unwrap() {
        if route["route"].is_object() {
            route["route"]["internal_redirect_policy"] =
                json!({"max_internal_redirects": most, "redirect_response_codes": [307]});
        }
    }
}

/// Where nothing counts how often a request came by, what ends it is the time of the first pass, which every class has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_substrate_that_is_the_proxy_itself_ends_with_its_deadline_and_others_are_served_meanwhile() {
    for way in [Way::Simple, Way::Full] {
        for streaming in ["false", "true"] {
            let world = World::start(way, &["a"], None).await;
            let mut tries = Vec::new();
            let others = loop {
                let before = world.passes().await;
                let (round, others) = tokio::join!(world.ask("acme", "/round", streaming), async {
                    let mut all = Vec::new();
                    for _ in 0..20 {
                        all.push(world.ask("initech", "/other", "false").await);
                    }
                    all
                });
                let passes = world.passes().await - before - 20;
                let slowest = others.iter().map(|seen| seen.took).max();
                println!(
                    "{way:?}, streaming {streaming}: {} after {:?} and {passes} passes; others waited {slowest:?} at most",
                    round.status, round.took
                );
                assert_eq!(round.status, 504);
                assert!(passes > 2, "it did come back");
                // Only time is measured again.
                if round.took < MOST && others.iter().all(|seen| seen.status != 504) {
                    break others;
                }
                tries.push((round.took, slowest));
                assert!(tries.len() < TRIES, "late each time: {tries:?}");
            };
            assert!(others.iter().all(|seen| seen.status == 200 && seen.text() == "forbidden"), "theirs, and served");
            assert_eq!(world.asked("/round"), [0; 4], "nowhere else, and never outside its envelope");
            assert_eq!(world.ask("initech", "/after", "false").await.status, 200);
        }
    }
}

/// As it is rendered. Who comes by once too often is told so at once, and who asked may go elsewhere.
#[tokio::test]
async fn a_request_that_goes_round_is_ended_when_it_comes_by_too_often() {
    for way in [Way::Simple, Way::Full] {
        let tries = if way == Way::Full { 3_u64 } else { 1 };
        for (turned, workload, status, tries) in [
            (&["a"][..], "once", 502, 1),
            (&["a", "b", "c"], "once", 502, 1),
            // What may be done twice goes elsewhere after the refusal, where the plan has somebody.
            (&["a"], "again", if way == Way::Full { 200 } else { 502 }, 1),
            // Where everybody is the proxy, each pass may try as often as its plan says, within the budget of retries.
            (&["a", "b", "c"], "again", 502, tries),
        ] {
            let world = World::start_with(way, turned, None, true).await;
            let before = world.passes().await;
            let ask = Ask::post(world.envoy.listener(INGRESS), "/round", "x").header("x-tenant", "acme");
            let seen = ask.header("x-workload", workload).send().await.unwrap();
            let passes = world.passes().await - before;
            println!("{way:?} {turned:?} {workload}: {} after {:?} and {passes} passes", seen.status, seen.took);
            assert!(passes > u64::from(MOST_PASSES), "it did come back");
            // The last of them are refused.
            let most: u64 = (0..=MOST_PASSES).map(|pass| tries.pow(pass)).sum();
            assert!(passes <= most, "{passes} passes");
            assert_eq!(seen.status, status, "{way:?} {turned:?} {workload}");
            let details = world.envoy.await_log_line(|line| line["details"] == "cdn_loop_detected").await;
            assert_eq!(details["decision"], serde_json::Value::Null, "refused before it is placed");
            assert_eq!(world.ask("initech", "/after", "false").await.text(), "forbidden");
        }
    }
}

/// What others have written into the header is no pass of ours, and one that nobody can read is refused.
#[tokio::test]
async fn passes_of_others_are_not_counted() {
    let world = World::start_with(Way::Full, &[], None, true).await;
    let ask = |value: &str| {
        let ask = Ask::post(world.envoy.listener(INGRESS), "/x", "x").header("x-tenant", "acme");
        ask.header("cdn-loop", value).send()
    };
    assert_eq!(ask("other, other, other, other, other").await.unwrap().status, 200);
    assert_eq!(ask("berth, berth, berth").await.unwrap().status, 200);
    assert_eq!(ask("berth, berth, other, berth, berth").await.unwrap().status, 502, "nobody gains by claiming");
    assert_eq!(ask("\"").await.unwrap().status, 400);
}

/// Whoever claims as many passes as the first hop lets by is let by by the next one: its refusals would count as failures of
/// the substrate that it is to the first.
#[tokio::test]
async fn a_claim_that_the_first_hop_takes_is_taken_by_the_next_ones() {
    let behind = World::start_as(Way::Full, &[], None, Some(true)).await;
    let ask = |value: String| {
        let ask = Ask::post(behind.envoy.listener(INGRESS), "/x", "x").header("x-tenant", "acme");
        ask.header("cdn-loop", &value).send()
    };
    // What comes of `MOST_PASSES - 1` claimed and one hop after the other.
    for came in MOST_PASSES..MOST_PASSES_BEHIND {
        let claimed = vec!["berth"; usize::try_from(came).unwrap()].join(", ");
        assert_eq!(ask(claimed).await.unwrap().status, 200, "{came}");
    }
    let claimed = vec!["berth"; usize::try_from(MOST_PASSES_BEHIND).unwrap()].join(", ");
    assert_eq!(ask(claimed).await.unwrap().status, 502, "and yet it ends");
}

#[tokio::test]
async fn an_answer_that_envoy_follows_by_itself_is_placed_anew_and_no_oftener_than_the_route_says() {
    let world = World::start(Way::Full, &[], Some(3)).await;
    let to = |path: &str| {
        let location = format!("http://{}{path}", world.envoy.listener(INGRESS));
        Script::Answer(307, vec![("location".into(), location)], String::new())
    };
    world.all[0].does_at("/first", to("/second"));
    let seen = world.ask("acme", "/first", "false").await;
    assert_eq!((seen.status, seen.text().as_str()), (200, "a"), "{}", world.envoy.log());
    assert_eq!((world.asked("/first"), world.asked("/second")), ([1, 0, 0, 0], [1, 0, 0, 0]));
    assert_eq!(world.passes().await, 2, "placed twice");

    world.all[0].does_at("/round", to("/round"));
    assert_eq!(world.ask("acme", "/round", "false").await.status, 307, "the client gets the last one");
    assert_eq!(world.asked("/round"), [4, 0, 0, 0], "once, and three times more");
}
