//! The whole way, end to end: health is pulled, published and read; requests are placed, refused and recorded.

use crate::mesh::{Mesh, health};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, ecds_resource, wasm_filter, wasm_filter_by_ecds};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::policy::{placement, policy, telemetry};
use crate::support::upstream::Upstream;
use crate::support::{built, eventually};
use serde_json::json;

#[tokio::test]
async fn a_request_goes_home_and_the_decision_is_in_the_answer_upstream_and_in_the_log() {
    let mesh = Mesh::start().await;
    for http in BOTH {
        let seen = mesh.chat().over(http).send().await.unwrap();
        assert_eq!((seen.status, seen.text().as_str()), (200, "metal-fr"));
        let decision = seen.header("x-placement-decision").unwrap();
        for part in ["v=1, id=\"", "class=interactive", "substrate=metal-fr", "fresh=live", "policy=\"test-mesh@3#"] {
            assert!(decision.contains(part), "{part} is missing from {decision}");
        }
        // The provider would have been quicker; a border keeps it out, and the decision says so.
        assert!(decision.contains("binding=sovereignty") && decision.contains("unbound=provider-us"), "{decision}");
        let received = mesh.metal.received().pop().unwrap();
        assert_eq!(received.headers["x-placement-cluster"], "metal-fr");
        assert_eq!(received.headers["x-placement-decision"], decision);
        mesh.envoy.await_log_line(|l| l["decision"] == decision && l["cluster"] == "metal-fr").await;
    }
}

#[tokio::test]
async fn traffic_leaves_a_substrate_with_a_deep_queue_within_two_periods_and_returns() {
    let mesh = Mesh::start().await;
    let spilled = mesh.leaves_in_time().await;
    let decision = spilled.header("x-placement-decision").unwrap();
    assert!(decision.contains("spill=metal-fr;x=zone+jurisdiction"), "{decision}");
    // The best of all would still have been the provider, which a border keeps out.
    assert!(decision.contains("binding=sovereignty;by=jurisdiction, unbound=provider-us"), "{decision}");

    mesh.metal.does_at("/health", health("metal-fr", 0));
    mesh.await_all_at("metal-fr").await;
}

#[tokio::test]
async fn when_nothing_permitted_is_available_the_answer_is_503_with_a_hint_and_the_border_holds() {
    let mesh = Mesh::start().await;
    mesh.metal.does_at("/health", health("metal-fr", 500));
    mesh.onprem.does_at("/health", health("onprem-de", 500));
    for http in BOTH {
        let refused = eventually("the request is refused", || async {
            let seen = mesh.chat().over(http).send().await.unwrap();
            (seen.status != 200).then_some(seen)
        })
        .await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(body["reason"], "availability/queue-full");
        assert!(!refused.text().contains("provider"), "the answer names no substrate that is not the caller's");
    }
    assert!(mesh.provider.received().is_empty(), "a border was crossed");
}

#[tokio::test]
async fn a_tenant_that_no_envelope_speaks_for_is_refused() {
    let mesh = Mesh::start().await;
    let ask = Ask::get(mesh.envoy.listener(INGRESS), "/x").header("x-tenant", "nobody");
    let seen = ask.send().await.unwrap();
    assert_eq!(seen.status, 403);
    assert!(seen.text().contains("governance/no-envelope"), "{}", seen.text());
}

#[tokio::test]
async fn the_filter_itself_removes_forged_headers() {
    let mesh = Mesh::start_with(Carried::Text, Bootstrap::without_early_removal).await;
    for http in BOTH {
        let ask = mesh.chat().over(http).header("x-placement-cluster", "provider-us").header("x-placement-budget", "9");
        assert_eq!(ask.header("x-envoy-attempt-count", "2").send().await.unwrap().text(), "metal-fr");
    }
    let received = mesh.metal.received().pop().unwrap();
    assert!(!received.headers.contains_key("x-placement-budget"));
    assert!(mesh.provider.received().is_empty());
}

#[tokio::test]
async fn the_policy_digest_is_the_same_however_the_configuration_travels() {
    let mut digests = Vec::new();
    for carried in [Carried::Text, Carried::Struct] {
        let mesh = Mesh::start_with(carried, |b| b).await;
        let seen = mesh.chat().send().await.unwrap();
        let decision = seen.header("x-placement-decision").unwrap().to_string();
        digests.push(decision.split("policy=").nth(1).unwrap().split(',').next().unwrap().to_string());
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_its_place_and_the_old_one_serves_on() {
    let (metal, onprem) = (Upstream::start("metal-fr").await, Upstream::start("onprem-de").await);
    let provider = Upstream::start("provider-us").await;
    let (module, policy, dir) = (built("berth.wasm"), policy(), workdir());
    let good = placement(&policy);
    replace_file(&dir, "ecds.json", &ecds_resource(&module, "placement", "1", &good));
    let bootstrap = Bootstrap::default()
        .cluster("metal-fr", metal.address)
        .cluster("onprem-de", onprem.address)
        .cluster("provider-us", provider.address)
        .filter(wasm_filter_by_ecds("placement", &dir.join("ecds.json")))
        .telemetry(wasm_filter(&module, "telemetry", &telemetry(&policy), Carried::Text));
    let envoy = Envoy::start_in(dir, &bootstrap.build()).await;
    let ask = || Ask::get(envoy.listener(INGRESS), "/x").header("x-tenant", "acme").send();
    assert_eq!(ask().await.unwrap().text(), "metal-fr");

    let mut unknown_kind = good.clone();
    unknown_kind["policy"]["substrates"][0]["kind"] = json!("mainframe");
    let bad = [
        (
            json!({"role": "navigator", "policy": policy}),
            "role: found `navigator`, expected one of placement, telemetry",
        ),
        (json!({"role": "placement"}), "policy: missing, expected a policy document"),
        (json!({"role": "placement", "policy": policy, "polices": 1}), "unknown field `polices`"),
        (unknown_kind, "substrates[0].kind"),
        (
            json!("role: placement"),
            "configuration: line 1:1: BTH0003 syntax at the document: found `r`, expected a value (JSON)",
        ),
        (
            json!("{\"role\": \"placement\""),
            "configuration: line 1:21: BTH0003 syntax at the document: found `the end`",
        ),
        (json!("[]"), "configuration: found `an empty list`, expected a JSON object"),
    ];
    for (i, (configuration, place)) in bad.iter().enumerate() {
        let version = format!("bad-{i}");
        envoy.replace_file("ecds.json", &ecds_resource(&module, "placement", &version, configuration));
        eventually(&format!("`{place}` is in the log"), || async { envoy.log().contains(place).then_some(()) }).await;
        assert_eq!(ask().await.unwrap().text(), "metal-fr", "the old configuration serves on");
    }
    let refused = "extension_config_discovery.http_filter.berth.placement.config_fail";
    envoy.await_stat(refused, |n| n >= bad.len() as u64).await;

    let mut newer = good.clone();
    newer["policy"]["policy"]["version"] = json!(4);
    envoy.replace_file("ecds.json", &ecds_resource(&module, "placement", "2", &newer));
    eventually("a good configuration is taken", || async {
        let seen = ask().await.unwrap();
        seen.header("x-placement-decision").unwrap().contains("test-mesh@4#").then_some(())
    })
    .await;
}
