//! What a client claims of itself, in a real Envoy: its class, its data, where they must stay. Whatever it writes takes
//! candidates away or changes nothing; no claim, and no two of them, bring one that it would not have had without.

use crate::mesh::Mesh;
use crate::support::TRIES;
use crate::support::bootstrap::INGRESS;
use crate::support::client::{Ask, BOTH};
use crate::support::policy::{placement, policy, telemetry};
use serde_json::json;
use std::collections::BTreeSet;

const METAL: &str = "metal-fr";
const ONPREM: &str = "onprem-de";
const PROVIDER: &str = "provider-us";

/// What a client may claim: words of the policy's, of nobody's, and two that contradict each other.
const CLAIMS: [(&str, &str); 12] = [
    ("x-class", "bulk"),
    ("x-class", "interactive"),
    ("x-class", "unknown"),
    ("x-data", "public"),
    ("x-data", "personal"),
    ("x-data", "unknown"),
    ("x-residency", "US"),
    ("x-residency", "EU"),
    ("x-residency", "FR"),
    ("x-residency", "nowhere"),
    ("x-team", "initech"),
    ("x-team", "acme"),
];
/// Of each tenant, by the trusted header: where it may go.
const TENANTS: [(&str, &[&str]); 3] =
    [("acme", &[METAL, ONPREM]), ("initech", &[METAL, ONPREM, PROVIDER]), ("stranger", &[])];

/// Where requests with these claims went, several over each protocol, and what the others were answered.
async fn went(mesh: &Mesh, tenant: &str, claims: &[(&str, &str)], each: usize) -> (BTreeSet<String>, BTreeSet<u16>) {
    let (mut to, mut statuses) = (BTreeSet::new(), BTreeSet::new());
    for http in BOTH.repeat(each) {
        let ask = Ask::post(mesh.envoy.listener(INGRESS), "/v1/chat/completions", "{}").over(http);
        let ask = ask.header("x-tenant", tenant).header("x-workload", "chat");
        let seen = claims.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await.unwrap();
        statuses.insert(seen.status);
        if seen.status == 200 {
            to.insert(seen.text());
        }
    }
    (to, statuses)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// They go to all of these, and nowhere else ever. Whoever answers late what its health is, is not asked for a while.
async fn all_of(mesh: &Mesh, tenant: &str, claims: &[(&str, &str)], permitted: &[&str]) -> BTreeSet<String> {
    let permitted = set(permitted);
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let (to, statuses) = went(mesh, tenant, claims, 15).await;
        assert!(to.is_subset(&permitted), "{tenant} {claims:?}: {to:?}");
        if to == permitted {
            return to;
        }
        seen.push((to, statuses));
    }
    panic!("{tenant} {claims:?}: {seen:?}, and they may go to {permitted:?}");
}

#[tokio::test]
async fn whatever_a_client_claims_of_itself_brings_it_nowhere_where_it_might_not_go() {
    let mut policy = policy();
    for at in [1, 2] {
        policy["substrates"][at]["latency"] = policy["substrates"][0]["latency"].clone();
    }
    // Whoever were believed to have such work, such data or that name would go over the border.
    let mut bulk = policy["classes"][1].clone();
    (bulk["name"], bulk["home"], bulk["match"]) =
        (json!("bulk"), json!([PROVIDER]), json!({"header": "x-workload", "is": "bulk"}));
    policy["classes"].as_array_mut().unwrap().push(bulk);
    policy["classes"][0]["home"] = json!([METAL, ONPREM, PROVIDER]);
    policy["adaptive"] = json!({"latency": false, "risk": false});
    policy["envelopes"][0]["spillover"] = json!("any");
    let of_data = |data: &str, permit| json!({"name": data, "applies_to": {"data": [data]}, "permit": permit, "spillover": "any"});
    let envelopes = policy["envelopes"].as_array_mut().unwrap();
    envelopes.extend([of_data("public", json!({})), of_data("personal", json!({"jurisdictions": ["DE"]}))]);
    let mut placing = placement(&policy);
    for fact in ["class", "data", "residency"] {
        placing["facts"][fact] = json!({"header": format!("x-{fact}")});
    }
    let mesh = Mesh::observed(&placing, &telemetry(&policy), |_, _| {}).await;
    mesh.await_live().await;

    for (tenant, permitted) in TENANTS {
        let plain = all_of(&mesh, tenant, &[], permitted).await;
        // Whoever may go everywhere can gain nothing.
        for (at, first) in CLAIMS.into_iter().enumerate().filter(|_| permitted.len() < 3) {
            let second = CLAIMS.into_iter().skip(at + 1).map(|second| vec![first, second]);
            for claims in second.chain([vec![first], vec![first, first]]) {
                let (to, statuses) = went(&mesh, tenant, &claims, 2).await;
                assert!(to.is_subset(&plain), "{tenant} {claims:?}: {to:?}");
                assert!(
                    statuses.iter().all(|status| [200, 403, 422, 503].contains(status)),
                    "{claims:?}: {statuses:?}"
                );
            }
        }
    }
    // Claims are heard, or all this would say nothing.
    for (tenant, claim, expected) in [
        ("acme", ("x-data", "personal"), &[ONPREM][..]),
        ("acme", ("x-residency", "FR"), &[METAL]),
        ("acme", ("x-residency", "US"), &[]),
        ("initech", ("x-residency", "US"), &[PROVIDER]),
        ("stranger", ("x-data", "public"), &[]),
    ] {
        all_of(&mesh, tenant, &[claim], expected).await;
    }
    // By what arrived, whatever was answered.
    for (upstream, only) in
        [(&mesh.metal, &["acme", "initech"][..]), (&mesh.onprem, &["acme", "initech"]), (&mesh.provider, &["initech"])]
    {
        let tenants: BTreeSet<String> =
            upstream.received().iter().map(|seen| seen.headers["x-tenant"].clone()).collect();
        assert_eq!(tenants, set(only), "{}", upstream.name);
    }
}
