//! A mesh and a gateway around what is rendered for them: clusters that the mesh made itself, requests to other hosts,
//! filters of others.

use crate::hops::pem;
use crate::identity::TLS;
use crate::rendered::{HASTE, berth};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::{Envoy, validate, workdir};
use crate::support::patches::{self, OTHER, yaml};
use crate::support::upstream::{Received, Script, Upstream};
use crate::support::{built, eventually};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the applications send what is to be placed.
const HOST: &str = "llm.inference.svc.cluster.local:80";
const POLICY: &str = include_str!("../../examples/istio/policy.yaml");

/// The example for Istio, where the provider is the first choice of those who may go there.
fn abroad() -> String {
    let (home, attempts) = ("home: [gpu-de, metal-fr]\n    deadline_ms: 60000", "attempts: {repeatable: true}");
    assert!(POLICY.contains(home) && POLICY.contains(attempts));
    let (slow, quick) =
        ("    kind: provider\n", "    kind: provider\n    latency: {first_token_ms: 5, ms_per_token: 1}\n");
    let first = POLICY.replace(home, "home: [provider-us]\n    deadline_ms: 60000").replace(slow, quick);
    let eu = "permit: {jurisdictions: [EU]}\n";
    assert!(first.contains(eu));
    let first = first.replace(eu, "permit: {jurisdictions: [EU]}\n    spillover: any\n");
    first.replace(attempts, "attempts: {most: 3, repeatable: true}") + HASTE
}

/// Everything that came but for what was asked for by the telemetry role.
fn came(upstream: &Upstream) -> Vec<Received> {
    upstream.take_received().into_iter().filter(|r| r.method == "POST").collect()
}

/// Three upstreams, one of them a provider, the files to reach them and what the tool makes of these.
struct World {
    dir: PathBuf,
    de: Upstream,
    fr: Upstream,
    us: Upstream,
}

/// The substrates of the example, or those of a Gateway, where all clusters are ours.
const MESH: [&str; 3] = ["gpu-de", "metal-fr", "provider-us"];

impl World {
    async fn open(policy: &str, place: &str, more: &str, metal: &str) -> Self {
        let (de, fr, us) =
            (Upstream::start(MESH[0]).await, Upstream::start(MESH[1]).await, Upstream::start(MESH[2]).await);
        let dir = workdir();
        let deployment = format!(
            "berth: 1
policy: policy.yaml
envoy: '1.39'
module: {{file: '{}'}}
admin: '127.0.0.1:0'
desk: '127.0.0.1:0'
{place}
placement:
  facts: {{tenant: {{header: x-tenant, trusted: true}}}}
  trust_path: true
{more}substrates:
  gpu-de: {{hosts: ['{}'], http2: true}}
  metal-fr: {{hosts: ['{}']{metal}}}
  provider-us: {{hosts: ['{}']}}
",
            built("berth.wasm").display(),
            de.address,
            fr.address,
            us.address
        );
        for (file, text) in [("policy.yaml", policy), ("deployment.yaml", &deployment)] {
            fs::write(dir.join(file), text).unwrap();
        }
        Self { dir, de, fr, us }
    }

    fn rendered(&self, target: &str, file: &str) -> Value {
        let (content, said) = berth(&["render", target, "deployment.yaml", "-o", "."], &self.dir);
        assert!(content, "{said}");
        yaml(&fs::read_to_string(self.dir.join(file)).unwrap())
    }

    async fn start(&self, bootstrap: &Value) -> Envoy {
        fs::write(self.dir.join("patched.json"), bootstrap.to_string()).unwrap();
        let (content, said) = validate(&self.dir, "patched.json");
        assert!(content, "{said}");
        Envoy::start_file(self.dir.clone(), "patched.json").await
    }

    /// A sidecar of the mesh around what is rendered.
    async fn sidecar(&self, change: impl FnOnce(&mut Value)) -> Envoy {
        let mut sidecar = patches::sidecar();
        patches::mesh_cluster(&mut sidecar, "outbound|8000||gpu-de.inference.svc.cluster.local", self.de.address);
        patches::mesh_cluster(&mut sidecar, "outbound|8443||metal.par.example", self.fr.address);
        patches::mesh_cluster(&mut sidecar, "outbound|443||api.provider.example", self.us.address);
        change(&mut sidecar);
        patches::istio(&mut sidecar, &self.rendered("istio", "envoyfilter.yaml"), &self.dir);
        self.start(&sidecar).await
    }
}

fn sidecar_of(host: &str) -> String {
    format!("istio: {{namespace: inference, place: sidecar, selector: {{app: chat}}, host: '{host}'}}")
}

/// The mesh's own clusters have no filters of ours: what is ours ends before them, at every attempt.
#[tokio::test]
async fn the_mesh_s_own_clusters_are_sent_nothing_of_ours() {
    let world = World::open(&abroad(), &sidecar_of(HOST), "  decision_upstream: true\n", "").await;
    let envoy = world.sidecar(|_| {}).await;
    let World { de, fr, us, .. } = &world;
    for http in BOTH {
        us.does(Script::status(503));
        de.does(Script::status(503));
        fr.does(Script::ok("metal-fr"));
        let seen = eventually("the third attempt answers", || async {
            [de, fr, us].into_iter().for_each(|upstream| drop(came(upstream)));
            let ask = Ask::post(envoy.listener("0.0.0.0_80"), "/other", "{}").over(http).header("host", HOST);
            let seen = ask.header("x-tenant", "initech").send().await.unwrap();
            (seen.status == 200 && seen.text() == "metal-fr").then_some([came(us), came(de), came(fr)])
        })
        .await;
        for at in &seen.map(|all| <[Received; 1]>::try_from(all).unwrap()) {
            let [at] = at;
            assert_eq!(at.path, "/other");
            assert_eq!(at.headers.keys().find(|name| name.starts_with("x-placement-")), None);
        }
    }
}

/// Headers by which the filter tells the router what to do.
const ROUTERS: [&str; 3] = ["x-envoy-max-retries", "x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on"];

/// What is sent to other hosts is neither refused nor changed nor tried again, whatever the policy says and whatever happens
/// there.
async fn leaves_others_alone(at: SocketAddr, elsewhere: &Upstream) {
    for (script, status) in [(Script::ok("elsewhere"), 200), (Script::status(503), 503)] {
        elsewhere.does(script);
        for http in BOTH {
            for tenant in ["acme", "initech"] {
                elsewhere.take_received();
                let ask = Ask::post(at, "/other", "{}").over(http).header("host", OTHER);
                let ask = ask.header("authorization", "Bearer theirs").header("cookie", "theirs");
                let seen = ask.header("x-tenant", tenant).send().await.unwrap();
                assert_eq!(seen.status, status, "{}", seen.text());
                let [came] = <[Received; 1]>::try_from(elsewhere.take_received()).unwrap();
                let ours = |name: &&String| {
                    name.starts_with("x-placement-") || *name == "cdn-loop" || ROUTERS.contains(&name.as_str())
                };
                assert_eq!(came.headers.keys().find(ours), None);
                assert_eq!(came.path, "/other");
                let keys = ["authorization", "cookie"].map(|name| came.headers.get(name).map(String::as_str));
                assert_eq!(keys, [Some("Bearer theirs"), Some("theirs")], "keys of theirs are for whom they ask");
            }
        }
    }
}

/// European customers may go nowhere, so that a filter that looks at their requests refuses them.
fn closed() -> String {
    let home = "home: [gpu-de, metal-fr]";
    let policy = POLICY.replace("permit: {jurisdictions: [EU]}", "permit: {jurisdictions: [EU], kinds: [cpu]}");
    assert!(policy.contains("cpu") && policy.contains(home));
    policy
}

#[tokio::test]
async fn what_the_mesh_sends_to_other_hosts_goes_where_it_went_whatever_the_policy_says() {
    for cluster in ["PassthroughCluster", "outbound|8443||metal.par.example"] {
        others_by(cluster).await;
    }
}

/// Through a cluster of nobody's, or one that a substrate shares with them.
async fn others_by(cluster: &str) {
    let world = World::open(&closed(), &sidecar_of(HOST), "", "").await;
    let passed = Upstream::start("elsewhere").await;
    let elsewhere = if cluster == "PassthroughCluster" { &passed } else { &world.fr };
    let envoy = world
        .sidecar(|sidecar| {
            patches::mesh_cluster(sidecar, "PassthroughCluster", passed.address);
            let listener = &mut sidecar["static_resources"]["listeners"][0];
            let hosts =
                &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"];
            let route = hosts[1]["routes"][0].as_object_mut().unwrap();
            route.remove("direct_response");
            route.insert("route".into(), serde_json::json!({"cluster": cluster}));
        })
        .await;
    let ask = |tenant| {
        Ask::post(envoy.listener("0.0.0.0_80"), "/other", "{}").header("host", HOST).header("x-tenant", tenant)
    };
    assert_eq!(ask("acme").send().await.unwrap().status, 403, "it is placed, which here is refused");
    assert_eq!(ask("initech").send().await.unwrap().status, 200);
    leaves_others_alone(envoy.listener("0.0.0.0_80"), elsewhere).await;
}

/// A gateway with two servers, each with two hosts, as a mesh has them.
async fn gateway_of(world: &World, host: &str, elsewhere: &Upstream) -> Envoy {
    let (certificate, key) = (json!({"filename": pem("gateway.pem")}), json!({"filename": pem("gateway.key")}));
    let secret = json!({"@type": format!("{TLS}.Secret"), "name": patches::CREDENTIAL,
        "tls_certificate": {"certificate_chain": certificate, "private_key": key}});
    let secrets = world.dir.join("secrets.json");
    fs::write(&secrets, json!({"resources": [secret]}).to_string()).unwrap();
    let mut gateway = patches::mesh_gateway_with_servers(host, "elsewhere", &secrets);
    for (cluster, upstream) in [
        ("outbound|8000||gpu-de.inference.svc.cluster.local", &world.de),
        ("outbound|8443||metal.par.example", &world.fr),
        ("outbound|443||api.provider.example", &world.us),
        ("elsewhere", elsewhere),
    ] {
        patches::mesh_cluster(&mut gateway, cluster, upstream.address);
    }
    patches::istio(&mut gateway, &world.rendered("istio", "envoyfilter.yaml"), &world.dir);
    world.start(&gateway).await
}

/// Clients that speak TLS to a server and ask it for one of these hosts each: what they are sent they send on.
async fn clients_of(server: SocketAddr, hosts: &[&str]) -> Envoy {
    let address = |port: u16| json!({"socket_address": {"address": server.ip().to_string(), "port_value": port}});
    let listener = |host: &&str| {
        let proxy = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "client", "cluster": host});
        json!({"name": host, "address": address(0), "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}]})
    };
    let cluster = |host: &&str| {
        let trusted = json!({"validation_context": {"trusted_ca": {"filename": pem("ca.pem")}}});
        let tls = json!({"@type": format!("{TLS}.UpstreamTlsContext"), "sni": host, "common_tls_context": trusted});
        json!({"name": host, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": host, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(server.port())}}]}]},
            "transport_socket": {"name": "tls", "typed_config": tls}})
    };
    let (listeners, clusters): (Vec<_>, Vec<_>) = hosts.iter().map(|host| (listener(host), cluster(host))).unzip();
    let resources = json!({"listeners": listeners, "clusters": clusters});
    Envoy::start(&json!({"admin": {"address": address(0)}, "static_resources": resources})).await
}

/// By whom a request of this customer is answered, and how.
async fn asked(at: SocketAddr, host: &str, tenant: &str) -> (u16, String) {
    let ask = Ask::post(at, "/other", "{}").header("host", host).header("x-tenant", tenant);
    let seen = ask.send().await.unwrap();
    (seen.status, if seen.status == 200 { seen.text().to_string() } else { String::new() })
}

#[tokio::test]
async fn of_a_gateway_with_several_servers_one_host_at_one_port_is_placed_or_all_are() {
    const PLAIN: &str = "0.0.0.0_8080";
    const SECURE: &str = "0.0.0.0_8443";
    let place =
        |host: &str| format!("istio: {{namespace: inference, place: gateway, selector: {{istio: edge}}{host}}}");
    let elsewhere = Upstream::start("elsewhere").await;
    let to_elsewhere = (200, String::from("elsewhere"));
    let refused = (403, String::new());
    for named in ["llm.example", "*.llm.example"] {
        let world = World::open(&closed(), &place(&format!(", host: '{named}:8443'")), "", "").await;
        let envoy = gateway_of(&world, named, &elsewhere).await;
        let host = named.replace('*', "a");
        elsewhere.does(Script::ok("elsewhere"));
        let (plain, clients) = (envoy.listener(PLAIN), clients_of(envoy.listener(SECURE), &[&host, OTHER]).await);
        let secure = clients.listener(&host);
        assert_eq!(asked(secure, &host, "acme").await, refused, "{host} is placed, which here is refused");
        let (status, by) = asked(secure, &host, "initech").await;
        assert!(status == 200 && by != "elsewhere", "{host}: {status} by {by}");
        assert_eq!(asked(plain, &host, "acme").await, to_elsewhere, "at the other port it goes where it went");
        assert!(Ask::post(envoy.listener(SECURE), "/other", "{}").send().await.is_err(), "only TLS is spoken there");
        for at in [plain, clients.listener(OTHER)] {
            leaves_others_alone(at, &elsewhere).await;
        }
    }
    // Without a host: all of them, at every port.
    let world = World::open(&closed(), &place(""), "", "").await;
    let envoy = gateway_of(&world, "llm.example", &elsewhere).await;
    let hosts = ["llm.example", OTHER];
    let clients = clients_of(envoy.listener(SECURE), &hosts).await;
    for host in hosts {
        for at in [envoy.listener(PLAIN), clients.listener(host)] {
            assert_eq!(asked(at, host, "acme").await, refused, "{host}");
        }
    }
}

/// The filter believes what the Gateway's own filters found out, not what the client wrote, and all that the Gateway says
/// itself goes on: with TLS, where there is a filter chain a host, too.
#[tokio::test]
async fn a_gateway_s_own_filters_mutations_and_hosts_go_on() {
    let elsewhere = Upstream::start("elsewhere").await;
    let policy = abroad()
        .replace("outbound|8000||gpu-de.inference.svc.cluster.local", "gpu-de")
        .replace("outbound|8443||metal.par.example", "metal-fr")
        .replace("outbound|443||api.provider.example", "provider-us");
    let world = World::open(&policy, "gateway: {name: eg, namespace: inference}", "", "").await;
    let mut gateway = patches::gateway_with_its_own("elsewhere");
    patches::mesh_cluster(&mut gateway, "elsewhere", elsewhere.address);
    patches::envoy_gateway(&mut gateway, &world.rendered("envoy-gateway", "envoypatchpolicy.yaml"));
    let envoy = world.start(&gateway).await;
    for http in BOTH {
        let ask = Ask::post(envoy.listener("inference/eg/http"), "/other", "{}").over(http);
        // The Gateway knows that this is `acme`, whose work stays in Europe; the client says that it is somebody else.
        let ask = ask
            .header("x-tenant", "initech")
            .header("x-client-says", "so")
            .header("x-placement-cluster", "provider-us");
        let seen = ask.send().await.unwrap();
        assert_eq!((seen.status, seen.text().as_str()), (200, "gpu-de"));
        let [came] = <[Received; 1]>::try_from(came(&world.de)).unwrap();
        assert_eq!(came.headers.get("x-tenant").map(String::as_str), Some("acme"));
        assert_eq!(came.headers.get("x-client-says"), None, "the Gateway's own early mutation");
        assert!(!came.headers.keys().any(|name| name.starts_with("x-placement-")));
    }
    assert!(came(&world.us).is_empty());
    leaves_others_alone(envoy.listener("inference/eg/http"), &elsewhere).await;
}
