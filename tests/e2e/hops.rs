//! Two hops of one mesh, a sidecar and an egress gateway, over mutual TLS: one id, one deadline, attempts that do not
//! multiply; and a stranger who says the same is not believed.

use crate::attempts::{at, policy};
use crate::rendered::Site;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::Envoy;
use crate::support::upstream::{Script, Upstream};
use crate::support::{TRIES, built, eventually};
use berth::manifest::envoy::cluster::{Endpoint, Tls};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) fn pem(name: &str) -> String {
    format!("{}/tests/support/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The policy of the sidecar: everything leaves by the gateway.
fn sidecar_policy() -> Value {
    let mut policy = policy();
    policy["substrates"] = json!([policy["substrates"][1]]);
    policy["substrates"][0]["name"] = json!("egress");
    policy["substrates"][0]["cluster"] = json!("egress");
    for class in policy["classes"].as_array_mut().unwrap() {
        class["home"] = json!(["egress"]);
    }
    policy["envelopes"] = json!([policy["envelopes"][0]]);
    policy
}

fn placement(policy: &Value, attach: &str, hops: Value) -> Value {
    json!({"role": "placement", "policy": policy, "attach": attach, "trusted_headers": ["x-workload"], "hops": hops,
        "facts": {"tenant": {"header": "x-tenant", "trusted": true}}})
}

/// A sidecar of this identity in front of the gateway.
pub(crate) async fn sidecar(identity: &str, gateway: SocketAddr) -> Envoy {
    let own = Some((pem(&format!("{identity}.pem")), pem(&format!("{identity}.key"))));
    let egress = Endpoint {
        hosts: vec![(gateway.ip().to_string(), gateway.port())],
        http2: true,
        next_hop: true,
        tls: Some(Tls { sni: "gateway.test".into(), trusted_ca: pem("ca.pem"), own }),
        ..Endpoint::default()
    };
    let filter = placement(&sidecar_policy(), "simple", json!({"tell": true}));
    let bootstrap = Bootstrap::default()
        .substrate("egress", &egress)
        .filter(wasm_filter(&built("berth-placement.wasm"), "placement", &filter, Carried::Text))
        .routes(Way::Simple, &["egress"], None);
    Envoy::start(&bootstrap.build()).await
}

fn id(decision: &str) -> &str {
    decision.split("id=\"").nth(1).unwrap().split('"').next().unwrap()
}

/// The same where the second hop is what `berth render` makes: what it removes early is not what the first hop says.
#[tokio::test]
async fn a_rendered_second_hop_believes_whom_it_trusts() {
    let (slow, quick) = ("prefill_ms_per_ktok: 40, ms_per_token: 18", "prefill_ms_per_ktok: 1, ms_per_token: 0.1");
    let policy = crate::rendered::policy();
    assert!(policy.contains(slow), "the first hop's deadline is short");
    let site = Site::open(&policy.replace(slow, quick).replace("first_token_ms: 250", "first_token_ms: 5"), "").await;
    let file = site.dir.join("deployment.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let [own, key, ca] = ["gateway.pem", "gateway.key", "ca.pem"].map(pem);
    let listen = format!("listen: {{at: '127.0.0.1:0', certificate: '{own}', key: '{key}', client_ca: '{ca}'}}");
    let trust = "\n  refresh_ms: 20\n  hops: {trust: ['spiffe://mesh.test/sa/sidecar']}";
    let text = text.replace("listen: {at: '127.0.0.1:0'}", &listen).replace("\n  refresh_ms: 20", trust);
    std::fs::write(&file, text).unwrap();
    site.render("envoy");
    let gateway = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    for (number, (identity, believed)) in [("sidecar", true), ("stranger", false)].into_iter().enumerate() {
        let near = sidecar(identity, gateway.listener("ingress")).await;
        for http in BOTH {
            let path = format!("/{number}/{http:?}");
            let ask = Ask::post(near.listener(INGRESS), &path, "x").over(http);
            let seen = ask.header("x-tenant", "acme").header("x-workload", "again").send().await.unwrap();
            assert_eq!(seen.status, 200, "{}", seen.text());
            let first = near.await_log_line(|l| l["path"] == path.as_str()).await;
            let second = eventually("the second hop wrote it down", || async {
                let text = std::fs::read_to_string(gateway.dir().join("stdout.log")).unwrap_or_default();
                let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                lines.into_iter().find(|line| line["path"] == path.as_str() && line["decision"].is_string())
            })
            .await;
            let [first, second] = [&first, &second].map(|line| id(line["decision"].as_str().unwrap()).to_string());
            assert_eq!(first == second, believed, "{identity}: one request, one id: {first} and {second}");
        }
    }
}

#[tokio::test]
async fn the_second_hop_goes_on_where_the_first_left_off() {
    let all = [Upstream::start("a").await, Upstream::start("b").await, Upstream::start("c").await];
    let mut bootstrap = Bootstrap::default().mutual_tls(&pem("gateway.pem"), &pem("gateway.key"), &pem("ca.pem"));
    for upstream in &all {
        bootstrap = bootstrap.substrate(&upstream.name, &at(upstream, false));
    }
    let trust = json!({"trust": ["spiffe://mesh.test/sa/sidecar"]});
    let filter = placement(&policy(), "full", trust);
    let filter = wasm_filter(&built("berth-placement.wasm"), "placement", &filter, Carried::Text);
    let gateway = Envoy::start(&bootstrap.filter(filter).routes(Way::Full, &["a", "b", "c"], None).build()).await;
    let near = sidecar("sidecar", gateway.listener(INGRESS)).await;
    let stranger = sidecar("stranger", gateway.listener(INGRESS)).await;
    let [a, b, c] = all;

    for http in BOTH {
        for (number, (from, believed)) in [(&near, true), (&stranger, false)].into_iter().enumerate() {
            let path = format!("/{number}/{http:?}");
            let ask = Ask::post(from.listener(INGRESS), &path, "x").over(http);
            let ask = ask.header("x-tenant", "acme").header("x-workload", "again");
            let seen = ask.send().await.unwrap();
            assert_eq!((seen.status, seen.text().as_str()), (200, "a"), "{}", gateway.log());
            let first = from.await_log_line(|l| l["path"] == path.as_str()).await;
            let second = gateway.await_log_line(|l| l["path"] == path.as_str()).await;
            let [first, second] = [&first, &second].map(|line| id(line["decision"].as_str().unwrap()).to_string());
            assert_eq!(first == second, believed, "one request, one id: {first} and {second}");
        }
    }
    let received = a.received().pop().unwrap();
    assert!(!received.headers.keys().any(|name| name.starts_with("x-placement-")), "{:?}", received.headers);

    // The caller has 300 ms. The gateway's class has 600, and three attempts in its plan.
    a.does(Script::after(2_000, Script::ok("a")));
    b.does(Script::after(2_000, Script::ok("b")));
    c.does(Script::after(2_000, Script::ok("c")));
    let mut seen_late = Vec::new();
    for n in 0..TRIES {
        let path = format!("/late/{n}");
        let ask =
            Ask::post(near.listener(INGRESS), &path, "x").header("x-tenant", "acme").header("x-workload", "again");
        let seen = ask.header("grpc-timeout", "300m").send().await.unwrap();
        assert_eq!(seen.status, 504);
        // It had them all, within those 300 ms; the sidecar itself made one.
        let tried = [&a, &b, &c].map(|u| u.received().iter().filter(|r| r.path == path).count());
        assert!(tried.iter().all(|times| *times <= 1), "{tried:?}");
        if seen.took < Duration::from_millis(350) && tried == [1, 1, 1] {
            return;
        }
        seen_late.push((seen.took, tried));
    }
    panic!("late {TRIES} times: {seen_late:?}");
}
