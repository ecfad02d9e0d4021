//! Facts that no header carries: the claim of a verified token, the identity of the peer, metadata of the route and of
//! the node. What a client writes into headers of the same meaning changes nothing.

use crate::attempts::at;
use crate::hops::{pem, sidecar};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::built;
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::Envoy;
use crate::support::policy::policy;
use crate::support::upstream::Upstream;
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};

/// The secret of the tokens below, as a set of keys.
const KEYS: &str =
    r#"{"keys": [{"kty": "oct", "alg": "HS256", "kid": "test", "k": "YSBrZXkgb2YgdGhpcnR5LXR3byBieXRlcywgb3Igc28"}]}"#;
/// `{"iss": "mesh.test", "tenant": "acme"}`, and the same of `initech`.
const ACME: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6InRlc3QifQ.eyJpc3MiOiJtZXNoLnRlc3QiLCJ0ZW5hbnQiOiJhY21lIn0.BorGOMFzTCODEyOlm1oAmKdb97MOvSG9Q3ratjh22mQ";
const INITECH: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6InRlc3QifQ.eyJpc3MiOiJtZXNoLnRlc3QiLCJ0ZW5hbnQiOiJpbml0ZWNoIn0.w3MletLj3LrHlN06O8YHZy-fkmLceYrmAmQU4joxICs";

fn verified() -> Value {
    json!({"name": "envoy.filters.http.jwt_authn", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"mesh": {"issuer": "mesh.test", "local_jwks": {"inline_string": KEYS}, "payload_in_metadata": "claims"}},
        "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
            {"provider_name": "mesh"}, {"allow_missing": {}}]}}}]}})
}

#[tokio::test]
async fn the_claim_of_a_verified_token_says_the_tenant_and_a_header_of_the_client_does_not() {
    let all =
        [Upstream::start("metal-fr").await, Upstream::start("onprem-de").await, Upstream::start("provider-us").await];
    let mut policy = policy();
    // What the route and the node say counts as well: without both, nothing would be permitted to this tenant.
    policy["envelopes"][1]["applies_to"] = json!({"tenants": ["initech"], "data": ["public"], "regions": ["anywhere"]});
    let placement = json!({"role": "placement", "policy": policy, "decision_response": true, "facts": {
        "tenant": {"property": ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "claims", "tenant"], "trusted": true},
        "data": {"property": ["xds", "route_metadata", "filter_metadata", "berth", "data"], "trusted": true},
        "region": {"property": ["xds", "node", "metadata", "REGION"], "trusted": true},
        "model": {"header": "x-model"}}});
    let mut bootstrap = Bootstrap::default().filter(verified());
    for upstream in &all {
        bootstrap = bootstrap.cluster(&upstream.name, upstream.address);
    }
    let filter = wasm_filter(&built("berth-placement.wasm"), "placement", &placement, Carried::Text);
    let mut bootstrap = bootstrap.filter(filter).build();
    bootstrap["node"]["metadata"] = json!({"REGION": "anywhere"});
    let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    for route in manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap() {
        route["metadata"] = json!({"filter_metadata": {"berth": {"data": "public"}}});
    }
    let envoy = Envoy::start(&bootstrap).await;
    for http in BOTH {
        // The quickest is beyond a border that one tenant may cross and the other may not.
        for (token, status, answer) in
            [(Some(ACME), 200, "metal-fr"), (Some(INITECH), 200, "provider-us"), (None, 403, "")]
        {
            for header in [None, Some("acme"), Some("initech")] {
                let mut ask = Ask::post(envoy.listener(INGRESS), "/v1", "{}").over(http).header("x-workload", "chat");
                if let Some(token) = token {
                    ask = ask.header("authorization", &format!("Bearer {token}"));
                }
                if let Some(tenant) = header {
                    ask = ask.header("x-tenant", tenant);
                }
                let seen = ask.send().await.unwrap();
                assert_eq!(seen.status, status, "{token:?} {header:?}: {}", seen.text());
                assert!(status != 200 || seen.text() == answer, "{token:?} {header:?}: {}", seen.text());
            }
        }
    }
}

#[tokio::test]
async fn the_identity_of_the_peer_says_the_tenant() {
    let upstream = Upstream::start("metal-fr").await;
    let mut policy = policy();
    policy["substrates"] = json!([policy["substrates"][0]]);
    policy["envelopes"] = json!([{"name": "sidecars", "applies_to": {"tenants": ["spiffe://mesh.test/sa/sidecar"]},
        "permit": {}, "spillover": "any"}]);
    let placement = json!({"role": "placement", "policy": policy,
        "facts": {"tenant": {"property": ["connection", "uri_san_peer_certificate"], "trusted": true}}});
    let filter = wasm_filter(&built("berth-placement.wasm"), "placement", &placement, Carried::Text);
    let gateway = Bootstrap::default()
        .mutual_tls(&pem("gateway.pem"), &pem("gateway.key"), &pem("ca.pem"))
        .substrate("metal-fr", &at(&upstream, false))
        .filter(filter)
        .routes(Way::Simple, &["metal-fr"], None);
    let gateway = Envoy::start(&gateway.build()).await;
    for (identity, status) in [("sidecar", 200), ("stranger", 403)] {
        let near = sidecar(identity, gateway.listener(INGRESS)).await;
        let ask =
            Ask::post(near.listener(INGRESS), "/v1", "x").header("x-tenant", "acme").header("x-workload", "again");
        let seen = ask.send().await.unwrap();
        assert_eq!(seen.status, status, "{identity}: {}", seen.text());
    }
}
