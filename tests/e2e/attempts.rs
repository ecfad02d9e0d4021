//! Attempts across substrates inside one request: which faults are tried again where, in which order, in which time,
//! in each way to attach. The order is a (the home), b, c; none of them may be reached that the envelope forbids.

use crate::identity::{TLS, certificate, shown};
use crate::mesh::{Mesh, health};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::calm::Watch;
use crate::support::client::{Ask, BOTH, Http};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::upstream::{Received, Script, Upstream};
use crate::support::{TRIES, built, everywhere, golden, port};
use berth::manifest::envoy::cluster::{Credential, Endpoint, Tls, separate};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// The deadline of the classes in these tests.
const DEADLINE_MS: u64 = 600;
/// What a deadline may be missed by.
pub const LATE_MS: u64 = 50;

/// Three substrates in order of preference, one that the envelope forbids, and an Envoy in front.
pub struct Lanes {
    pub envoy: Envoy,
    pub a: Upstream,
    pub b: Upstream,
    pub c: Upstream,
    pub forbidden: Upstream,
}

pub fn policy() -> Value {
    let substrate = |name: &str, country: &str, quality: f64| {
        json!({
            "name": name, "cluster": name, "kind": "gpu", "account": "acme",
            "location": {"jurisdiction": country, "region": "r1", "zone": "z1", "failure_domain": format!("d-{name}")},
            "sovereignty": {"subject_to": [country]},
            "capabilities": {"models": {"m": {"quality": quality}}, "context_tokens": 4_000_000, "features": ["streaming"]},
            "latency": {"first_token_ms": 20, "prefill_ms_per_ktok": 0, "ms_per_token": 0.01},
            "cost": {"regime": "reserved", "input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4},
            "capacity": {"concurrency": 64}
        })
    };
    let class = |name: &str, attempts: Value| {
        json!({"name": name, "match": {"header": "x-workload", "is": name}, "home": ["a", "b", "c"],
            "deadline_ms": DEADLINE_MS, "attempts": attempts, "worth": {"answer_usd": 1, "second_usd": 0, "failure_usd": 0}})
    };
    json!({
        "berth": 1, "policy": {"name": "lanes", "version": 1, "owner": "tests"}, "jurisdictions": {"EU": ["DE", "FR"]},
        "substrates": [substrate("forbidden", "US", 1.0), substrate("a", "FR", 0.9), substrate("b", "DE", 0.7),
            substrate("c", "FR", 0.5)],
        "classes": [class("once", json!({"most": 3})), class("again", json!({"most": 3, "repeatable": true})),
            class("hedged", json!({"most": 2, "repeatable": true, "hedge": true}))],
        "default_class": "once", "selection": {"margin": 0.01, "plan": 3},
        "envelopes": [{"name": "eu", "applies_to": {"tenants": ["acme"]}, "permit": {"jurisdictions": ["EU"]},
            "spillover": "jurisdiction"},
            {"name": "eu-without-b", "applies_to": {"tenants": ["globex"]}, "permit": {"jurisdictions": ["EU"]},
            "forbid": {"substrates": ["b"]}, "spillover": "jurisdiction"},
            {"name": "us", "applies_to": {"tenants": ["initech"]}, "permit": {"jurisdictions": ["US"]}, "spillover": "any"}]
    })
}

/// How tests attach that would do with less: in full, unless `ATTACH=simple` says that this Envoy cannot.
pub fn usual() -> Way {
    if std::env::var("ATTACH").is_ok_and(|way| way == "simple") { Way::Simple } else { Way::Full }
}

/// The placement role's configuration over this policy.
pub fn placement(way: Way) -> Value {
    let lanes =
        json!([{"cluster": "a-b-c", "substrates": ["a", "b", "c"]}, {"cluster": "a-b", "substrates": ["a", "b"]}]);
    let (attach, lanes) = match way {
        Way::Simple => ("simple", None),
        Way::Full => ("full", None),
        Way::Lanes => ("lanes", Some(lanes)),
    };
    json!({"role": "placement", "attach": attach, "lanes": lanes, "policy": policy(), "trusted_headers": ["x-workload"],
        "idempotency_header": "idempotency-key",
        "facts": {"tenant": {"header": "x-tenant", "trusted": true}, "streaming": {"header": "x-stream"},
            "deadline_ms": {"header": "x-deadline-ms"}}})
}

/// How cluster `a` is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    There,
    Refusing,
    WithoutHosts,
    Unknown,
}

impl Lanes {
    /// Starts it attached in one of the three ways, with its home there or not.
    pub async fn start(way: Way, home: Home) -> Self {
        let a = Upstream::start("a").await;
        let (b, c) = (Upstream::start("b").await, Upstream::start("c").await);
        let forbidden = Upstream::start("forbidden").await;
        let mut bootstrap = Bootstrap::default();
        match home {
            Home::There => bootstrap = bootstrap.substrate("a", &at(&a, false)),
            Home::Refusing => bootstrap = bootstrap.substrate("a", &nobody().await),
            Home::WithoutHosts => bootstrap = bootstrap.substrate("a", &Endpoint::default()),
            Home::Unknown => {}
        }
        bootstrap = bootstrap.substrate("b", &at(&b, true)).substrate("c", &at(&c, false));
        bootstrap = bootstrap.substrate("forbidden", &at(&forbidden, false));
        let filter = wasm_filter(&built("berth-placement.wasm"), "placement", &placement(way), Carried::Text);
        bootstrap = bootstrap.filter(filter).routes(way, &["a", "b", "c", "forbidden"], None);
        if way == Way::Lanes {
            bootstrap = bootstrap.lane("a-b-c", &["a", "b", "c"]).lane("a-b", &["a", "b"]);
        }
        Self { envoy: Envoy::start(&bootstrap.build()).await, a, b, c, forbidden }
    }

    pub fn ask(&self, class: &str) -> Ask {
        Ask::post(self.envoy.listener(INGRESS), "/v1/x", "the body")
            .header("x-tenant", "acme")
            .header("x-workload", class)
    }

    /// Where the last request went, in order, by the count of attempts that each upstream saw.
    pub fn went(&self, path: &str) -> String {
        let mut seen: Vec<(u32, &str)> = Vec::new();
        for upstream in [&self.a, &self.b, &self.c, &self.forbidden] {
            let of_this = |r: &Received| r.path == path;
            for received in upstream.received().iter().filter(|r| of_this(r)) {
                let attempt = received.headers.get("x-envoy-attempt-count").map_or(0, |n| n.parse().unwrap());
                seen.push((attempt, &upstream.name));
            }
        }
        seen.sort_unstable();
        seen.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    }
}

pub fn at(upstream: &Upstream, http2: bool) -> Endpoint {
    at_address(upstream.address, http2)
}

pub fn at_address(address: std::net::SocketAddr, http2: bool) -> Endpoint {
    let hosts = vec![(address.ip().to_string(), address.port())];
    Endpoint { hosts, http2, ..Endpoint::default() }
}

/// An address at which nobody listens any more.
async fn nobody() -> Endpoint {
    at(&Upstream::start("gone").await, false)
}

/// What goes wrong at `a`, and the request's class.
fn faults() -> Vec<(&'static str, Home, Script)> {
    let ok = || Script::ok("a");
    vec![
        ("nothing", Home::There, ok()),
        ("429", Home::There, Script::overloaded(1)),
        ("503", Home::There, Script::status(503)),
        ("500", Home::There, Script::status(500)),
        ("400", Home::There, Script::status(400)),
        ("reset", Home::There, Script::Reset),
        ("slow first byte", Home::There, Script::after(2_000, ok())),
        ("breaks off", Home::There, Script::BreakOff),
        ("long stream", Home::There, Script::Stream(10, Duration::from_millis(200))),
        ("refused", Home::Refusing, ok()),
        ("no host", Home::WithoutHosts, ok()),
        ("unknown cluster", Home::Unknown, ok()),
    ]
}

/// One row of the table: what a request met, where it went, what came of it; and whether it came in time.
async fn row(
    lanes: &Lanes,
    way: Way,
    fault: &str,
    class: &str,
    stream: bool,
    http: Http,
    path: &str,
) -> (String, bool) {
    let ask = lanes.ask(class).over(http).at(path);
    let ask = if stream { ask.header("x-stream", "true") } else { ask };
    let seen = ask.send().await.unwrap();
    let log = lanes.envoy.await_log_line(|l| l["path"] == path).await;
    let bodies = [&lanes.a, &lanes.b, &lanes.c].map(|u| u.received()).concat();
    assert!(bodies.iter().filter(|r| r.path == path).all(|r| r.body == b"the body"), "{path}: the body came whole");
    let answer = match (seen.broken, seen.body.is_empty()) {
        (true, _) => "broken",
        (_, true) => "empty",
        _ => "whole",
    };
    let text = |name: &str| log[name].as_str().filter(|s| !s.is_empty()).unwrap_or("-").to_string();
    // A stream is as long as it is: its deadline is for the first byte.
    let until = seen.chunks_at.first().copied().unwrap_or(seen.took);
    let row = format!(
        "{fault:<16} {class:<6} {:<7} {:<7} {:<6} {:<4} {answer:<7} {:<8} {:<6} {}",
        if stream { "stream" } else { "answer" },
        format!("{way:?}").to_lowercase(),
        lanes.went(path),
        seen.status,
        text("cluster"),
        text("flags"),
        used(until),
    );
    (row, until < Duration::from_millis(DEADLINE_MS + LATE_MS))
}

/// How much of the deadline was used, in thirds.
fn used(until: Duration) -> &'static str {
    let thirds = (until.as_millis() as u64 + LATE_MS) / (DEADLINE_MS / 3);
    ["none", "1/3", "2/3", "all"][thirds.min(3) as usize]
}

/// A row over both versions of HTTP, which must be the same and in time. `held` takes up the paths of tries during which
/// time was taken from this machine: what they show is no failure, and believed only where two of them show it alike.
async fn both(lanes: &Lanes, way: Way, fault: &str, class: &str, stream: bool, held: &mut BTreeSet<String>) -> String {
    let (mut late, mut shown) = (0, None);
    for n in 0..TRIES * 3 {
        let paths = BOTH.map(|http| format!("/{}/{class}/{stream}/{http:?}/{n}", fault.replace(' ', "-")));
        let of = |http, path| row(lanes, way, fault, class, stream, http, path);
        let watch = Watch::begin();
        let ((one, in_time), (two, too)) = tokio::join!(of(BOTH[0], &paths[0]), of(BOTH[1], &paths[1]));
        if watch.held_up().is_some() {
            held.extend(paths);
            // What two such tries show alike, over both versions and in time, is no accident of theirs.
            let alike = (in_time && too && one == two).then_some(one);
            match alike {
                Some(row) if shown.as_ref() == Some(&row) => return row,
                alike => shown = alike.or(shown),
            }
            continue;
        }
        // Only time is measured again: where a request goes is no matter of luck.
        let but_time = |row: &str| row.rsplit_once(' ').map(|(but_time, _)| but_time.to_string());
        if in_time && too {
            assert_eq!(but_time(&one), but_time(&two), "HTTP/1 and HTTP/2");
            if one == two {
                return one;
            }
        }
        eprintln!("again: {one} / {two}");
        late += 1;
        assert!(late < TRIES, "{fault} {class} {way:?}: late {TRIES} times");
    }
    panic!("{fault} {class} {way:?}: time was taken from this machine in nearly every try");
}

/// How many were in time, of how many, and the latest in milliseconds.
type Tally = (usize, usize, u64);

fn added(one: Tally, other: Tally) -> Tally {
    (one.0 + other.0, one.1 + other.1, one.2.max(other.2))
}

/// How many of the whole answers came in time by the proxy's own measure, of how many, and how long the last one took: all
/// tries of the rows are among them, so that a proxy that is late nine times of ten is seen although rows are measured again.
/// Those during which time was taken from the machine are not.
async fn all_tries(lanes: &Lanes, held: &BTreeSet<String>) -> Tally {
    let lines = lanes.envoy.access_log(0).await;
    // A stream is as long as it is.
    let counts = |path: &str| path.contains("/false/") && !held.contains(path);
    let whole = lines.iter().filter(|line| line["path"].as_str().is_some_and(counts));
    let took: Vec<u64> = whole.map(|line| line["ms"].as_u64().unwrap()).collect();
    let in_time = took.iter().filter(|&&ms| ms < DEADLINE_MS + LATE_MS).count();
    (in_time, took.len(), took.into_iter().max().unwrap_or_default())
}

/// All rows of one way, in the order of the faults.
async fn rows(way: Way) -> (Vec<String>, Tally) {
    let mut rows = std::collections::BTreeMap::new();
    let mut tally = (0, 0, 0);
    for home in [Home::There, Home::Refusing, Home::WithoutHosts, Home::Unknown] {
        let lanes = Lanes::start(way, home).await;
        let mut held = BTreeSet::new();
        for (number, (fault, _, script)) in faults().into_iter().enumerate().filter(|(_, f)| f.1 == home) {
            lanes.a.does(script);
            for (class, stream) in [("once", false), ("once", true), ("again", false), ("again", true)] {
                rows.insert(
                    (number, class == "again", stream),
                    both(&lanes, way, fault, class, stream, &mut held).await,
                );
            }
        }
        assert!(lanes.forbidden.received().is_empty(), "an attempt left the envelope");
        tally = added(tally, all_tries(&lanes, &held).await);
    }
    (rows.into_values().collect(), tally)
}

/// The file from which Envoy reads a key.
fn secret(dir: &Path, name: &str, key: &str) -> Credential {
    let file = format!("{name}.json");
    let value = json!({"resources": [{"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": name, "generic_secret": {"secret": {"inline_string": key}}}]});
    replace_file(dir, &file, &value);
    let sds_file = dir.join(&file).to_str().unwrap().to_string();
    Credential { header: "authorization".into(), sds_file, secret: name.into() }
}

/// One address behind which everybody is, told apart by nothing but the name that is asked for before anything is said (SNI).
fn front(upstreams: &[Upstream], at: u16) -> (Value, Vec<Value>) {
    let mut chains = Vec::new();
    let mut clusters = Vec::new();
    for Upstream { name, address, .. } in upstreams {
        let behind = format!("behind-{name}");
        let socket = |port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        chains.push(json!({"filter_chain_match": {"server_names": [format!("{name}.test")]},
            "transport_socket": {"name": "tls", "typed_config": {"@type": format!("{TLS}.DownstreamTlsContext"),
                "common_tls_context": {"tls_certificates": shown(&format!("{name}.test"))}}},
            "filters": [{"name": "tcp", "typed_config": {"stat_prefix": behind, "cluster": behind,
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}}]}));
        clusters.push(json!({"name": behind, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {
            "cluster_name": behind, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address.port())}}]}]}}));
    }
    let inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    let listener = json!({"name": "front", "address": {"socket_address": {"address": "127.0.0.1", "port_value": at}},
        "listener_filters": [{"name": "sni", "typed_config": {"@type": inspector}}], "filter_chains": chains});
    (listener, clusters)
}

#[tokio::test]
async fn three_attempts_are_three_hosts_three_paths_and_three_keys() {
    let all = [Upstream::start("a").await, Upstream::start("b").await, Upstream::start("c").await];
    let (dir, front_port) = (workdir(), port());
    certificate(&dir, "authority", None, None);
    for Upstream { name, .. } in &all {
        certificate(&dir, &format!("{name}.test"), Some(&format!("DNS:{name}.test")), Some("authority"));
    }
    let trusted_ca = dir.join("authority.pem").to_str().unwrap().to_string();
    let own = |upstream: &Upstream| {
        let name = &upstream.name;
        // The last one has no key: it must not be shown those of the others.
        let credential = || secret(&dir, &format!("key-{name}"), &format!("Bearer {name}"));
        Endpoint {
            authority: Some(format!("{name}.test")),
            path_prefix: Some(format!("/of/{name}")),
            credential: (name != "c").then(credential),
            tls: Some(Tls { sni: format!("{name}.test"), trusted_ca: trusted_ca.clone(), own: None }),
            hosts: vec![("127.0.0.1".into(), front_port)],
            ..at(upstream, name == "b")
        }
    };
    let mut endpoints: Vec<Endpoint> = all.iter().map(own).collect();
    separate(&mut endpoints);
    let with = |bootstrap: Bootstrap, (upstream, endpoint): (&Upstream, &Endpoint)| {
        bootstrap.substrate(&upstream.name, endpoint)
    };
    let bootstrap = all.iter().zip(&endpoints).fold(Bootstrap::default(), with);
    let filter = wasm_filter(&built("berth-placement.wasm"), "placement", &placement(Way::Full), Carried::Text);
    let bootstrap = bootstrap.filter(filter).routes(Way::Full, &["a", "b", "c"], None);
    let mut bootstrap = bootstrap.build();
    let (listener, behind) = front(&all, front_port);
    bootstrap["static_resources"]["listeners"].as_array_mut().unwrap().push(listener);
    bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().extend(behind);
    let envoy = Envoy::start_in(dir, &bootstrap).await;
    let [a, b, c] = all;
    a.does(Script::status(429));
    b.does(Script::status(503));
    for http in BOTH {
        let ask = Ask::post(envoy.listener(INGRESS), "/v1/x?q=1", "the body").over(http);
        let ask = ask.header("x-tenant", "acme").header("authorization", "Bearer client").header("x-api-key", "client");
        let ask = ask.header("x-envoy-original-path", "/elsewhere");
        assert_eq!(ask.send().await.unwrap().text(), "c");
        for upstream in [&a, &b, &c] {
            let (name, received) = (&upstream.name, upstream.received().pop().unwrap());
            assert_eq!(received.path, format!("/of/{name}/v1/x"), "{name}");
            let key = (name != "c").then(|| format!("Bearer {name}"));
            assert_eq!(received.headers.get("authorization"), key.as_ref(), "{name}");
            assert_eq!(received.headers["host"], format!("{name}.test"));
            let foreign = received.headers.iter().find(|(k, v)| k.starts_with("x-placement-") || v.contains("client"));
            assert_eq!(foreign, None, "{name} sees what is not meant for it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_way_in_each_way_to_attach() {
    let ((simple, one), (full, two), (by_lanes, three)) =
        tokio::join!(rows(Way::Simple), rows(Way::Full), rows(Way::Lanes));
    let (in_time, all, latest) = added(added(one, two), three);
    println!("{in_time} of {all} whole answers in time, all tries among them, the latest after {latest} ms");
    assert!(in_time * 10 >= all * 9, "{in_time} of {all} in time, the latest after {latest} ms");
    let mut table =
        String::from("fault            class  kind    way     went   seen answer  logged   flags  deadline used\n");
    for (one, others) in simple.iter().zip(full.iter().zip(&by_lanes)) {
        for row in [one, others.0, others.1] {
            table.push_str(row.trim_end());
            table.push('\n');
        }
    }
    golden("attempts.txt", &table);
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_what_is_kept_of_it() {
    let lanes = Lanes::start(Way::Full, Home::There).await;
    lanes.a.does(Script::overloaded(1));
    for (bytes, http) in [(200_000, Http::One), (1_000_000, Http::One), (1_000_000, Http::Two)] {
        let path = format!("/{bytes}/{http:?}");
        let body: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        let ask = Ask::post(lanes.envoy.listener(INGRESS), &path, body.clone()).over(http);
        let seen = ask.header("x-tenant", "acme").header("x-workload", "once").send().await.unwrap();
        assert_eq!((seen.status, lanes.went(&path).as_str()), (200, "a b"), "{path}");
        assert!(lanes.b.received().iter().any(|r| r.path == path && r.body == body), "{path}: the body came whole");
    }
    // More than is kept: one attempt, and its answer as it is.
    let ask = Ask::post(lanes.envoy.listener(INGRESS), "/large", vec![7; 3_000_000]);
    let seen = ask.header("x-tenant", "acme").header("x-workload", "once").send().await.unwrap();
    assert_eq!((seen.status, lanes.went("/large").as_str()), (429, "a"));
}

#[tokio::test]
async fn a_grpc_client_is_refused_in_its_own_language() {
    let mesh = Mesh::start().await;
    for upstream in [&mesh.metal, &mesh.onprem] {
        upstream.does_at("/health", health(&upstream.name, 500));
    }
    let ask = |tenant: &str, model: &str| {
        let ask = Ask::post(mesh.envoy.listener(INGRESS), "/inference.Service/Generate", "").over(Http::Two);
        ask.header("x-tenant", tenant).header("x-model", model)
    };
    let known = "llama-3.3-70b";
    everywhere("both workers know that the queues are full", || async {
        ask("acme", known).send().await.unwrap().status == 503
    })
    .await;
    // Resource exhausted, which is 8, is where load is shed (`shedding`).
    for (tenant, model, plain, grpc, reason) in [
        ("nobody", known, 403, "7", "governance/no-envelope"),
        ("acme", "unheard-of", 422, "9", "workload/model"),
        ("acme", known, 503, "14", "availability/queue-full"),
    ] {
        assert_eq!(ask(tenant, model).send().await.unwrap().status, plain);
        let ask = ask(tenant, model).header("content-type", "application/grpc").header("te", "trailers");
        let seen = ask.send().await.unwrap();
        let message = seen.header("grpc-message").unwrap_or_default();
        assert_eq!((seen.status, seen.header("grpc-status")), (200, Some(grpc)), "{plain}: {message}");
        assert!(message.starts_with(reason), "{message}");
    }
}

/// How long the first of these refusals took that came in time; one does.
async fn punctual(lanes: &Lanes, until: Duration, ask: impl Fn(Ask) -> Ask) -> Duration {
    let mut last = Duration::ZERO;
    for _ in 0..TRIES {
        let seen = ask(lanes.ask("once")).send().await.unwrap();
        assert_eq!(seen.status, 504);
        last = seen.took;
        if last < until {
            return last;
        }
    }
    panic!("later than {until:?} every time, the last time {last:?}");
}

#[tokio::test]
async fn a_shorter_deadline_of_the_caller_holds_whoever_asks_for_it() {
    let lanes = Lanes::start(Way::Full, Home::There).await;
    lanes.a.does(Script::after(2_000, Script::ok("a")));
    for (header, value) in [
        ("grpc-timeout", "300m"),
        ("x-envoy-expected-rq-timeout-ms", "300"),
        ("x-envoy-upstream-rq-timeout-ms", "300"),
        ("x-deadline-ms", "300"),
    ] {
        // The proxy keeps its own headers only from inside the mesh.
        let until = Duration::from_millis(300 + LATE_MS);
        let took = punctual(&lanes, until, |ask| ask.header("x-forwarded-for", "10.0.0.1").header(header, value)).await;
        assert!(took >= Duration::from_millis(290), "{header}: {took:?}");
    }
    // A longer one does not: nobody gets more than the class has, and of two the shorter one holds.
    for (header, value) in
        [("grpc-timeout", "9S"), ("x-envoy-upstream-rq-timeout-ms", "9000"), ("x-deadline-ms", "9000")]
    {
        let inside = |ask: Ask| ask.header("x-forwarded-for", "10.0.0.1").header(header, value);
        let took = punctual(&lanes, Duration::from_millis(DEADLINE_MS + LATE_MS), inside).await;
        assert!(took >= Duration::from_millis(DEADLINE_MS - 10), "{header}: {took:?}");
    }
    let until = Duration::from_millis(300 + LATE_MS);
    punctual(&lanes, until, |ask| ask.header("x-deadline-ms", "300").header("grpc-timeout", "500m")).await;
}

#[tokio::test]
async fn a_late_attempt_is_left_running_beside_the_next_where_the_class_allows_it() {
    let lanes = Lanes::start(Way::Lanes, Home::There).await;
    // The first is late, but earlier than the second, which begins at half of the deadline.
    lanes.a.does(Script::after(420, Script::ok("a")));
    lanes.b.does(Script::after(900, Script::ok("b")));
    for http in BOTH {
        let path = format!("/hedged/{http:?}");
        let seen = lanes.ask("hedged").over(http).at(&path).send().await.unwrap();
        assert_eq!((seen.status, seen.text().as_str()), (200, "a"), "{path}");
        assert_eq!(lanes.went(&path), "a b", "both were asked");
        assert!(seen.took < Duration::from_millis(DEADLINE_MS + LATE_MS), "{:?}", seen.took);
        // Where the class does not allow it, the late one is given up for the next.
        let path = format!("/again/{http:?}");
        let seen = lanes.ask("again").over(http).at(&path).send().await.unwrap();
        assert_eq!((seen.status, lanes.went(&path).as_str()), (200, "a b c"), "{path}");
    }
    assert!(lanes.forbidden.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hedges_are_three_at_a_time_and_the_others_wait_for_the_first_attempt() {
    let lanes = std::sync::Arc::new(Lanes::start(Way::Lanes, Home::There).await);
    // Late enough for another attempt beside it, which begins at half of the deadline, and in time by itself.
    lanes.a.does(Script::after(430, Script::ok("a")));
    lanes.b.does(Script::after(430, Script::ok("b")));
    let overflow = || lanes.envoy.stat("cluster.a-b.upstream_rq_retry_overflow");
    // The lane's budget is a fifth of what is under way and three at least; what is under way is booked within it.
    for (many, least, most) in [(3, 3, 3), (60, 3, 6)] {
        let path = format!("/{many}");
        let asks: Vec<_> = (0..many).map(|_| tokio::spawn(lanes.ask("hedged").at(&path).send())).collect();
        for ask in asks {
            let seen = ask.await.unwrap().unwrap();
            assert_eq!((seen.status, seen.text().as_str()), (200, "a"), "who is not hedged still has its answer");
        }
        let at = |upstream: &Upstream| upstream.received().iter().filter(|r| r.path == path).count();
        println!("{many} at once, {} hedged", at(&lanes.b));
        assert_eq!(at(&lanes.a), many);
        assert!((least..=most).contains(&at(&lanes.b)), "{many} at once, {} hedged", at(&lanes.b));
        assert_eq!(overflow().await > 0, many > 3);
    }
    assert!(lanes.c.received().is_empty() && lanes.forbidden.received().is_empty());
}

#[tokio::test]
async fn what_is_held_and_then_refused_begins_within_its_deadline_or_not_at_all() {
    let lanes = Lanes::start(Way::Full, Home::There).await;
    let deadline = DEADLINE_MS;
    let part = deadline / 3;
    let refused = |ms: u64| Script::after(ms, Script::overloaded(1));
    let ok = |ms: u64| Script::after(ms, Script::ok("answer"));
    let long = |ms: u64| Script::after(ms, Script::Stream(10, Duration::from_millis(deadline * 3 / 10)));
    // What a, b and c do; the class; whether it streams; what the client sees, where it went, and from when on.
    let rows = [
        // Each attempt of a stream has a third of the deadline, whether it may be begun twice or not.
        ([refused(590), refused(590), ok(0)], "once", true, 504, "a", part),
        ([refused(450), ok(300), ok(0)], "once", true, 504, "a", part),
        ([refused(120), ok(120), ok(0)], "once", true, 200, "a b", 240),
        ([refused(120), refused(120), ok(120)], "once", true, 200, "a b c", 360),
        ([refused(120), refused(120), refused(120)], "once", true, 429, "a b c", 360),
        ([refused(120), refused(120), ok(2_000)], "once", true, 504, "a b c", 240 + part),
        ([refused(120), refused(120), long(120)], "once", true, 200, "a b c", 360),
        ([refused(450), ok(0), ok(0)], "again", true, 200, "a b", part),
        ([refused(450), ok(2_000), ok(0)], "again", true, 200, "a b c", part * 2),
        ([refused(120), ok(2_000), long(0)], "again", true, 200, "a b c", 120 + part),
        // A whole answer of what may not be begun twice has all that is left of the deadline, and no more.
        ([refused(450), ok(100), ok(0)], "once", false, 200, "a b", 550),
        ([refused(450), ok(300), ok(0)], "once", false, 504, "a b", deadline),
        ([refused(590), refused(590), ok(0)], "once", false, 504, "a b", deadline),
    ];
    for (n, (scripts, class, stream, status, went, from)) in rows.into_iter().enumerate() {
        for (upstream, script) in [&lanes.a, &lanes.b, &lanes.c].into_iter().zip(&scripts) {
            upstream.does(script.clone());
        }
        for attempt in 0.. {
            let path = format!("/held/{n}/{attempt}");
            let ask = lanes.ask(class).at(&path);
            let ask = if stream { ask.header("x-stream", "true") } else { ask };
            let seen = ask.send().await.unwrap();
            let until = seen.chunks_at.first().copied().unwrap_or(seen.took).as_millis() as u64;
            let came = (seen.status, lanes.went(&path));
            println!("{path} {class} stream={stream}: {came:?} after {until} ms");
            let punctual = until < deadline + LATE_MS;
            if punctual && (came.0, came.1.as_str()) == (status, went) {
                // Both count in whole milliseconds, each from where it begins.
                assert!(until + 10 >= from, "{path}: {until} ms, from {from} on");
                if matches!(scripts.last(), Some(Script::Delay(_, then)) if matches!(**then, Script::Stream(..))) {
                    assert!(!seen.broken, "{path}: it came whole");
                    assert!(seen.took.as_millis() as u64 >= deadline * 27 / 10, "{path}: for three deadlines");
                }
                break;
            }
            // On a machine that is busy something may be late: what a proxy makes late, is late every time.
            assert!(attempt < TRIES, "{path}: {came:?} after {until} ms, expected {:?}", (status, went));
        }
    }
}

/// A host that answers nothing to whoever would connect, while it is held: its queue is full.
pub async fn silent() -> (Endpoint, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    // As soon as one has to wait, the others would too.
    while let Ok(connection) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        held.push(connection.unwrap());
    }
    let hosts = vec![(address.ip().to_string(), address.port())];
    // As it is rendered for a policy whose shortest class has three attempts in this time.
    let connect_ms = Some(DEADLINE_MS as u32 / 3);
    (Endpoint { hosts, connect_ms, ..Endpoint::default() }, (listener, held))
}

#[tokio::test]
async fn hosts_that_say_nothing_leave_time_for_others() {
    let filter = || wasm_filter(&built("berth-placement.wasm"), "placement", &placement(Way::Full), Carried::Text);
    let (gone, _held) = silent().await;
    let b = Upstream::start("b").await;
    let there = at(&b, false);
    for (second, status, from) in [(&there, 200, DEADLINE_MS / 3), (&gone, 503, DEADLINE_MS)] {
        let bootstrap = Bootstrap::default().substrate("a", &gone).substrate("b", second).substrate("c", &gone);
        let envoy = Envoy::start(&bootstrap.filter(filter()).routes(Way::Full, &["a", "b", "c"], None).build()).await;
        for (class, stream) in [("once", "true"), ("again", "true"), ("once", "false"), ("again", "false")] {
            for attempt in 0.. {
                let ask = Ask::post(envoy.listener(INGRESS), "/x", "b").header("x-tenant", "acme");
                let seen = ask.header("x-workload", class).header("x-stream", stream).send().await.unwrap();
                let until = seen.took.as_millis() as u64;
                println!("{class} stream={stream}: {} after {until} ms", seen.status);
                // At the last moment the deadline of a whole answer may come first.
                let expected = seen.status == status || (status == 503 && stream == "false" && seen.status == 504);
                assert!(until + 10 >= from, "{until} ms, from {from} on");
                if expected && until < DEADLINE_MS + LATE_MS {
                    break;
                }
                assert!(attempt < TRIES, "{} after {until} ms each time, expected {status}", seen.status);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_at_most_a_fifth_of_what_is_under_way_and_three_in_any_case() {
    let lanes = std::sync::Arc::new(Lanes::start(Way::Full, Home::There).await);
    // All are turned away at once, and those that are tried again take their time.
    lanes.a.does(Script::after(200, Script::overloaded(1)));
    lanes.b.does(Script::after(200, Script::ok("b")));
    let overflow = || lanes.envoy.stat("cluster.a.upstream_rq_retry_overflow");
    // A fifth of sixty is twelve; a few more where the first of them have ended before the last are turned away.
    for (many, least, most) in [(3, 3, 3), (60, 3, 15)] {
        let path = format!("/{many}");
        let asks: Vec<_> = (0..many).map(|_| tokio::spawn(lanes.ask("once").at(&path).send())).collect();
        let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
        for ask in asks {
            *statuses.entry(ask.await.unwrap().unwrap().status).or_default() += 1;
        }
        let again = lanes.b.received().iter().filter(|r| r.path == path).count();
        println!("{many} at once, {again} tried again: {statuses:?}");
        assert!((least..=most).contains(&again), "{many} at once, {again} tried again");
        assert_eq!(statuses.get(&200).copied().unwrap_or(0), again);
        assert_eq!(statuses.get(&429).copied().unwrap_or(0), many - again, "who is not tried again sees the answer");
        assert_eq!(overflow().await > 0, many > 3);
    }
}

#[tokio::test]
async fn what_may_be_begun_twice_is_said_by_the_class_the_method_or_the_header() {
    let lanes = Lanes::start(Way::Full, Home::There).await;
    lanes.a.does(Script::status(500));
    let to = lanes.envoy.listener(INGRESS);
    for http in BOTH {
        let cases = [
            ("post", lanes.ask("once"), "a"),
            ("post-of-a-repeatable-class", lanes.ask("again"), "a b"),
            ("post-with-a-key", lanes.ask("once").header("idempotency-key", "1"), "a b"),
            ("put", Ask::put(to, "/", "the body").header("x-workload", "once").header("x-tenant", "acme"), "a b"),
            ("get", Ask::get(to, "/").header("x-workload", "once").header("x-tenant", "acme"), "a b"),
        ];
        for (what, ask, went) in cases {
            let path = format!("/{what}/{http:?}");
            let seen = ask.over(http).at(&path).send().await.unwrap();
            assert_eq!(lanes.went(&path), went, "{path}");
            assert_eq!(seen.status, if went == "a" { 500 } else { 200 }, "{path}");
        }
    }
}
