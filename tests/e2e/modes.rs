//! Shadow and passthrough, in each way to attach: what is decided, what is not, and where requests go meanwhile. And
//! several placement filters in one VM, each with a policy of its own.

use crate::attempts::{at, placement, usual};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::Envoy;
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::time::Duration;

struct Modes {
    envoy: Envoy,
    chosen: Upstream,
    before: Upstream,
}

async fn start(way: Way, change: impl FnOnce(&mut Value)) -> Modes {
    let (chosen, before) = (Upstream::start("a").await, Upstream::start("before").await);
    let mut configuration = placement(way);
    change(&mut configuration);
    let bootstrap = Bootstrap::default()
        .substrate("a", &at(&chosen, false))
        .substrate("before", &at(&before, true))
        .filter(wasm_filter(&built("berth-placement.wasm"), "placement", &configuration, Carried::Text))
        .routes(way, &["a"], Some("before"));
    Modes { envoy: Envoy::start(&bootstrap.build()).await, chosen, before }
}

impl Modes {
    fn ask(&self, body: Vec<u8>) -> Ask {
        let ask = Ask::post(self.envoy.listener(INGRESS), "/v1/x", body);
        ask.header("x-tenant", "acme").header("x-workload", "once")
    }
}

#[tokio::test]
async fn shadow_decides_writes_it_down_and_routes_as_before() {
    for way in [Way::Simple, usual()] {
        let modes = start(way, |c| c["mode"] = json!("shadow")).await;
        for http in BOTH {
            let seen = modes.ask(b"x".to_vec()).over(http).send().await.unwrap();
            assert_eq!(seen.text(), "before");
            assert!(seen.header("x-placement-decision").unwrap().contains("substrate=a"), "the decision is there");
        }
        assert!(modes.chosen.received().is_empty(), "no copy unless it is asked for");
    }
}

#[tokio::test]
async fn shadow_sends_a_whole_copy_where_it_is_asked_to_and_nobody_waits_for_it() {
    for way in [Way::Simple, usual()] {
        let modes = start(way, |c| (c["mode"], c["mirror"]) = (json!("shadow"), json!(true))).await;
        modes.chosen.does(Script::after(60_000, Script::ok("late")));
        let body: Vec<u8> = (0..200_000).map(|i| (i % 251) as u8).collect();
        for http in BOTH {
            let seen = modes.ask(body.clone()).over(http).send().await.unwrap();
            assert_eq!(seen.text(), "before");
            assert!(seen.took < Duration::from_secs(30), "{:?}", seen.took);
        }
        eventually("both copies arrived whole", || async {
            (modes.chosen.received().iter().filter(|r| r.body == body).count() == 2).then_some(())
        })
        .await;
        let copy = modes.chosen.received().pop().unwrap();
        assert!(!copy.headers.contains_key("x-placement-cluster"), "{:?}", copy.headers);
        assert_eq!(modes.before.received().len(), 2);
    }
}

#[tokio::test]
async fn passthrough_decides_nothing() {
    for way in [Way::Simple, usual()] {
        let modes = start(way, |c| c["mode"] = json!("passthrough")).await;
        let seen = modes.ask(b"x".to_vec()).header("x-placement-cluster", "a").send().await.unwrap();
        assert_eq!((seen.text().as_str(), seen.header("x-placement-decision")), ("before", None));
    }
}

/// The module is not told which filter a stream belongs to: the proxy keeps that for it.
#[tokio::test]
async fn each_of_several_filters_in_one_vm_decides_its_own_streams() {
    let module = built("berth-placement.wasm");
    let of = |version: u32| {
        let mut configuration = placement(Way::Simple);
        configuration["policy"]["policy"]["version"] = json!(version);
        wasm_filter(&module, "placement", &configuration, Carried::Text)
    };
    let a = Upstream::start("a").await;
    let bootstrap = Bootstrap::default().substrate("a", &at(&a, false)).filter(of(71)).telemetry(of(72));
    let envoy = Envoy::start(&bootstrap.build()).await;
    for round in 0..3 {
        for (listener, version) in [(INGRESS, "@71#"), ("telemetry", "@72#")] {
            let ask = Ask::post(envoy.listener(listener), "/v1/x", "x").header("x-tenant", "acme");
            let seen = ask.header("x-workload", "once").send().await.unwrap();
            let decision = seen.header("x-placement-decision").unwrap_or_default();
            assert!(decision.contains(version), "round {round}, {listener}: {decision}");
        }
    }
}
