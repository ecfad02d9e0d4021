//! Headers that only Berth may set, sent by a client in every form that HTTP/1 and HTTP/2 know, and in some that they
//! forbid: whatever is served is served as without them, whether Envoy removes them or the filter alone does.

use crate::attempts::{at, placement};
use crate::rendered::berth;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::built;
use crate::support::client::Http;
use crate::support::envoy::{Envoy, workdir};
use crate::support::patches::{self, yaml};
use crate::support::raw::{Coding, Fate, Line, http1, http2};
use crate::support::upstream::{Received, Script, Upstream};
use berth::manifest::envoy::cluster::Endpoint;
use berth::manifest::envoy::route::Way;
use berth::model::contract::{
    ATTEMPT_HEADER, BUDGET_HEADER, CLUSTER_HEADER, HEDGE, MOST_RETRIES, ORIGINAL_PATH_HEADER, OWN, PER_TRY, RETRY_ON,
    ROUTER_HEADERS, SHADOW_HEADER, TIMEOUT,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

/// As much as fits into the 60 KiB that Envoy takes, beside the rest of a request.
const LONG: usize = 58 << 10;

/// Every request's. It seems to come from inside the mesh: there Envoy leaves headers for its router alone.
const USUAL: [(&str, &str); 3] = [("x-tenant", "acme"), ("x-workload", "once"), ("x-forwarded-for", "10.0.0.1")];

/// What a client would gain most by.
fn value_of(header: &str) -> &'static str {
    match header {
        CLUSTER_HEADER | SHADOW_HEADER => "forbidden",
        ATTEMPT_HEADER => "1",
        ORIGINAL_PATH_HEADER => "/elsewhere",
        MOST_RETRIES => "3",
        RETRY_ON => "5xx,reset,retriable-status-codes",
        "x-envoy-retriable-status-codes" => "500",
        TIMEOUT => "99999999",
        PER_TRY => "1",
        HEDGE => "true",
        BUDGET_HEADER => "ms=99999999;attempts=3;id=0123456789abcdef",
        _ => "forged",
    }
}

fn headers() -> Vec<&'static str> {
    OWN.into_iter()
        .chain(["x-placement-of-tomorrow", ATTEMPT_HEADER, ORIGINAL_PATH_HEADER])
        .chain(ROUTER_HEADERS)
        .collect()
}

fn mixed(name: &str) -> String {
    name.chars().enumerate().map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect()
}

/// The forms of HTTP/1: a word for each, the lines, and what follows the end of the headers.
fn forms_of_http1(name: &str) -> Vec<(&'static str, String, &'static str)> {
    let value = value_of(name);
    let (upper, mixed, long) = (name.to_uppercase(), mixed(name), "f".repeat(LONG));
    let line = |name: &str, value: &str| format!("{name}: {value}\r\n");
    vec![
        ("plain", line(name, value), ""),
        ("twice", line(name, value).repeat(2), ""),
        ("eighty times", line(name, value).repeat(80), ""),
        ("empty, then not", line(name, "") + &line(name, value), ""),
        ("upper case", line(&upper, value), ""),
        ("mixed case, two ways", line(&mixed, value) + &line(name, value), ""),
        ("empty", line(name, ""), ""),
        ("a list", line(name, &format!("{value}, ,{value}")), ""),
        ("blanks around", format!("{name}: \t {value} \t \r\n"), ""),
        ("long", line(name, &long), ""),
        ("folded", format!("{name}: x\r\n {value}\r\n"), ""),
        ("behind a folded one", format!("x-other: x\r\n {name}: {value}\r\n"), ""),
        ("named by connection", format!("connection: close, {name}\r\n{name}: {value}\r\n"), ""),
        ("blank before the colon", format!("{name} : {value}\r\n"), ""),
        ("blank before the name", format!(" {name}: {value}\r\n"), ""),
        ("line feed only", format!("{name}: {value}\n"), ""),
        ("carriage return within", format!("x-other: x\r{name}: {value}\r\n"), ""),
        ("nul in the value", format!("{name}: {value}\0\r\n"), ""),
        ("no text", format!("{name}: {value}\u{80}\r\n"), ""),
        ("a trailer", format!("te: trailers\r\ntrailer: {name}\r\ntransfer-encoding: chunked\r\n"), "trailer"),
    ]
}

/// The forms of HTTP/2: a word for each, the lines before and after the others, and how they are written.
fn forms_of_http2(name: &str) -> Vec<(&'static str, Vec<Line>, Vec<Line>, Coding)> {
    let value = value_of(name);
    let line = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let plain = || line(name, value);
    let after = |what, lines: Vec<Line>| (what, Vec::new(), lines, Coding::Plain);
    vec![
        after("plain", vec![plain()]),
        after("eighty times", vec![plain(); 80]),
        after("empty", vec![line(name, "")]),
        after("empty, then not", vec![line(name, ""), plain()]),
        after("a list", vec![line(name, &format!("{value}, ,{value}"))]),
        after("long", vec![line(name, &"f".repeat(LONG))]),
        after("mixed case", vec![line(&mixed(name), value)]),
        after("upper case", vec![line(&name.to_uppercase(), value), plain()]),
        after("a pseudo-header", vec![line(&format!(":{name}"), value)]),
        after("a pseudo-header after the others", vec![line("x-other", "x"), line(":path", "/elsewhere"), plain()]),
        after("two authorities", vec![plain(), line("host", "elsewhere")]),
        after("a line end in the value", vec![line("x-other", &format!("x\r\n{name}: {value}"))]),
        after("a line end in the name", vec![line(&format!("x-other: x\r\n{name}"), value)]),
        after("blank in the name", vec![line(&format!("{name} "), value)]),
        after("nul in the value", vec![line(name, &format!("{value}\0"))]),
        after("connection names it", vec![line("connection", name), plain()]),
        after("no text", vec![(name.as_bytes().to_vec(), [value.as_bytes(), &[0x80, 0xff]].concat())]),
        ("before the pseudo-headers", vec![plain()], Vec::new(), Coding::Plain),
        ("by number", Vec::new(), vec![plain()], Coding::Indexed),
        ("in pieces of seven bytes", Vec::new(), vec![plain()], Coding::Pieces(7)),
    ]
}

/// Four substrates behind a filter.
struct World {
    envoy: Envoy,
    all: Vec<Upstream>,
    listener: &'static str,
    host: &'static str,
}

/// What is around the filter: what comes is left to it alone, or removed by Envoy first, as a test says or what is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    /// The same with `attach: lanes`.
    NothingLanes,
    Removal,
    Rendered,
    /// The same with `attach: simple`.
    Simple,
    /// And with `attach: lanes`.
    Lanes,
    Sidecar,
    Gateway,
}

const HOST: &str = "llm.inference.svc.cluster.local:80";

/// Where a request arrived, with which path and headers of ours and the router's.
type Arrived = (String, String, BTreeSet<(String, String)>);

/// What a request came to: the answer, where it arrived, and with which headers.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    fate: Fate,
    arrived: Vec<Arrived>,
}

impl Around {
    fn way(self) -> Way {
        match self {
            Self::Simple => Way::Simple,
            Self::Lanes | Self::NothingLanes => Way::Lanes,
            _ => Way::Full,
        }
    }

    /// What a substrate has of its own in front of its paths: in a lane nothing can put it there.
    fn prefix(self, name: &str) -> Option<String> {
        (self.way() != Way::Lanes).then(|| format!("/of/{name}"))
    }
}

impl World {
    async fn start(around: Around) -> Self {
        let mut all = Vec::new();
        let mut bootstrap = Bootstrap::default();
        for name in ["a", "b", "c", "forbidden"] {
            let upstream = Upstream::start(name).await;
            // Late and failed, which this class does not try again: whoever gets more attempts or time is seen.
            upstream.does(Script::after(20, Script::status(500)));
            let in_lane = around.way() == Way::Lanes && name != "forbidden";
            let endpoint = Endpoint { path_prefix: around.prefix(name), in_lane, ..at(&upstream, name == "b") };
            bootstrap = bootstrap.substrate(name, &endpoint);
            all.push(upstream);
        }
        let mut configuration = placement(around.way());
        // So long that nothing is late on a busy machine.
        for class in configuration["policy"]["classes"].as_array_mut().unwrap() {
            class["deadline_ms"] = 30_000.into();
        }
        let filter = wasm_filter(&built("berth-placement.wasm"), "placement", &configuration, Carried::Text);
        bootstrap = bootstrap.filter(filter).routes(around.way(), &["a", "b", "c", "forbidden"], None);
        if around.way() == Way::Lanes {
            let members = ["a", "b", "c"].map(|name| (name, Endpoint { in_lane: true, ..Endpoint::default() }));
            let members = members.each_ref().map(|(name, endpoint)| (*name, endpoint));
            bootstrap = bootstrap.lane_over("a-b-c", &members).lane_over("a-b", &members[..2]);
        }
        let (listener, host) = match around {
            Around::Nothing | Around::NothingLanes | Around::Removal => (INGRESS, "berth.test"),
            Around::Rendered | Around::Simple | Around::Lanes => ("ingress", "berth.test"),
            Around::Sidecar => ("0.0.0.0_80", HOST),
            Around::Gateway => ("inference/eg/http", "berth.test"),
        };
        let envoy = match around {
            Around::Nothing | Around::NothingLanes => Envoy::start(&bootstrap.without_early_removal().build()).await,
            Around::Removal => Envoy::start(&bootstrap.build()).await,
            rendered => Self::rendered(rendered, &all, configuration).await,
        };
        Self { envoy, all, listener, host }
    }

    /// The same as `berth render` makes it.
    async fn rendered(around: Around, all: &[Upstream], mut configuration: Value) -> Envoy {
        let dir = workdir();
        let way = configuration["attach"].as_str().unwrap().to_string();
        let fields = configuration.as_object_mut().unwrap();
        fs::write(dir.join("policy.yaml"), fields.remove("policy").unwrap().to_string()).unwrap();
        fields.retain(|name, value| !["role", "attach"].contains(&name.as_str()) && !value.is_null());
        let module = built("berth-placement.wasm");
        let mut deployment = format!(
            "berth: 1\nattach: {way}\npolicy: policy.yaml\nmodule: {{file: '{}'}}\nlisten: {{at: '127.0.0.1:0'}}\nadmin: '127.0.0.1:0'\n\
             istio: {{namespace: inference, place: sidecar, host: '{HOST}'}}\ngateway: {{name: eg, namespace: inference}}\n\
             placement: {configuration}\nsubstrates:\n",
            module.display()
        );
        for Upstream { name, address, .. } in all {
            let http2 = name == "b";
            let prefix = around.prefix(name).map(|prefix| format!(", path_prefix: {prefix}")).unwrap_or_default();
            let _ = writeln!(deployment, "  {name}: {{hosts: ['{address}'], http2: {http2}{prefix}}}");
        }
        fs::write(dir.join("deployment.yaml"), deployment).unwrap();
        let (target, file) = match around {
            Around::Sidecar => ("istio", "envoyfilter.yaml"),
            Around::Gateway => ("envoy-gateway", "envoypatchpolicy.yaml"),
            _ => ("envoy", "envoy.yaml"),
        };
        let (content, said) = berth(&["render", target, "deployment.yaml", "-o", "."], &dir);
        assert!(content, "{said}");
        let text = fs::read_to_string(dir.join(file)).unwrap();
        match around {
            Around::Sidecar => {
                let mut sidecar = patches::sidecar();
                patches::istio(&mut sidecar, &yaml(&text), &dir);
                Envoy::start_in(dir, &sidecar).await
            }
            Around::Gateway => {
                let mut gateway = patches::gateway();
                patches::envoy_gateway(&mut gateway, &yaml(&text));
                Envoy::start_in(dir, &gateway).await
            }
            _ => Envoy::start_file(dir, file).await,
        }
    }

    fn to(&self) -> SocketAddr {
        self.envoy.listener(self.listener)
    }

    async fn send_http1(&self, case: &str, lines: &str, follows: &str, trailer: &str) -> Fate {
        let mut text = format!("POST /{case} HTTP/1.1\r\n");
        for (name, value) in USUAL.iter().chain(&[("host", self.host)]) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if !lines.contains("connection: ") {
            text.push_str("connection: close\r\n");
        }
        if follows == "trailer" {
            let _ = write!(text, "{lines}\r\n0\r\n{trailer}: {}\r\n\r\n", value_of(trailer));
        } else {
            let _ = write!(text, "{lines}content-length: 0\r\n\r\n");
        }
        // The one byte that is no text is a Latin letter here, of one byte.
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        http1(self.to(), &bytes).await
    }

    async fn send_http2(&self, case: &str, before: Vec<Line>, after: Vec<Line>, coding: Coding) -> Fate {
        let path = format!("/{case}");
        let usual = [(":method", "POST"), (":scheme", "http"), (":authority", self.host), (":path", path.as_str())];
        let usual = usual.iter().chain(&USUAL);
        let usual = usual.map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()));
        let lines: Vec<Line> = before.into_iter().chain(usual).chain(after).collect();
        http2(self.to(), &lines, coding).await
    }

    /// What became of a case, by where its path arrived.
    fn outcome(&self, case: &str, fate: Fate) -> Outcome {
        let mut arrived = Vec::new();
        for upstream in &self.all {
            for received in upstream.received().into_iter().filter(|r| r.path.ends_with(&format!("/{case}"))) {
                let path = received.path.replace(case, "case");
                let own = |name: &str| name.starts_with("x-placement-") || name.starts_with("x-envoy-");
                let lines = received.lines.into_iter().filter(|(name, _)| own(name));
                let lines = lines.map(|(name, value)| (name, value.replace(case, "case")));
                arrived.push((upstream.name.clone(), path, lines.collect()));
            }
        }
        Outcome { fate, arrived }
    }
}

/// A form that was sent: its word, and what came of it.
type Sent = (String, String, Outcome);

async fn all_of(world: Arc<World>, http: Http) -> Vec<Sent> {
    let mut sending = tokio::task::JoinSet::new();
    for (h, header) in headers().into_iter().enumerate() {
        let world = world.clone();
        sending.spawn(async move {
            let mut sent = Vec::new();
            if http == Http::One {
                for (f, (form, lines, follows)) in forms_of_http1(header).into_iter().enumerate() {
                    let case = format!("one-{h}-{f}");
                    let fate = world.send_http1(&case, &lines, follows, header).await;
                    sent.push((header.to_string(), form.to_string(), world.outcome(&case, fate)));
                }
            } else {
                for (f, (form, before, after, coding)) in forms_of_http2(header).into_iter().enumerate() {
                    let case = format!("two-{h}-{f}");
                    let fate = world.send_http2(&case, before, after, coding).await;
                    sent.push((header.to_string(), form.to_string(), world.outcome(&case, fate)));
                }
            }
            sent
        });
    }
    sending.join_all().await.into_iter().flatten().collect()
}

/// The forms that Envoy does not let in, whatever the header: the others are served.
const NOT_LET_IN: [(Http, &[&str]); 2] = [
    (Http::One, &["blank before the colon", "nul in the value"]),
    (
        Http::Two,
        &[
            "a line end in the name",
            "a line end in the value",
            "a pseudo-header",
            "a pseudo-header after the others",
            "before the pseudo-headers",
            "blank in the name",
            "connection names it",
            "mixed case",
            "nul in the value",
            "upper case",
        ],
    ),
];

/// In one world: what is served is served as without it, what is not let in is not let in whatever the header.
async fn changes_nothing(around: Around) {
    let world = Arc::new(World::start(around).await);
    for (http, not_let_in) in NOT_LET_IN {
        let (case, fate) = match http {
            Http::One => ("plain-one", world.send_http1("plain-one", "", "", "").await),
            Http::Two => ("plain-two", world.send_http2("plain-two", Vec::new(), Vec::new(), Coding::Plain).await),
        };
        let without = world.outcome(case, fate);
        assert_eq!((fate, without.arrived.len()), (Fate::Answered(500), 1), "{without:?}");
        assert_eq!(without.arrived[0].0, "a");
        if around == Around::NothingLanes {
            let line = world.envoy.await_log_line(|l| l["path"] == format!("/{case}").as_str()).await;
            assert_eq!(line["cluster"], "a-b-c", "all three may be tried: {line}");
        }
        let mut refused: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (header, form, outcome) in all_of(world.clone(), http).await {
            if outcome.arrived.is_empty() {
                assert_ne!(
                    outcome.fate,
                    Fate::Answered(500),
                    "{around:?} {http:?} {header}, {form}: answered and never sent"
                );
                refused.entry(form).or_default().insert(header);
            } else {
                assert_eq!(outcome, without, "{around:?} {http:?} {header}, {form}");
            }
        }
        let refused: Vec<(&str, usize)> = refused.iter().map(|(form, of)| (form.as_str(), of.len())).collect();
        let expected: Vec<(&str, usize)> = not_let_in.iter().map(|form| (*form, headers().len())).collect();
        assert_eq!(refused, expected, "{around:?} {http:?}: not let in, and for how many headers");
    }
    for upstream in &world.all {
        for Received { lines, .. } in upstream.received() {
            let ours = lines.iter().find(|(name, value)| {
                OWN.contains(&name.as_str()) && (value.contains("forged") || *value == value_of(name))
            });
            assert!(ours.is_none(), "{around:?}: {ours:?} at {}", upstream.name);
        }
        let elsewhere = upstream.received().into_iter().find(|r| !r.path.contains("-"));
        assert!(elsewhere.is_none(), "{elsewhere:?} at {}", upstream.name);
    }
}

#[tokio::test]
async fn whatever_a_client_sends_under_our_names_and_in_whatever_form_changes_nothing() {
    let by_hand = [Around::Removal, Around::Nothing, Around::NothingLanes];
    let rendered = [Around::Rendered, Around::Simple, Around::Lanes, Around::Sidecar, Around::Gateway];
    let all: Vec<Around> = by_hand.into_iter().chain(rendered).collect();
    // Most of the time is waited: two at once.
    for two in all.chunks(2) {
        let mut running: tokio::task::JoinSet<()> = two.iter().copied().map(changes_nothing).collect();
        while let Some(done) = running.join_next().await {
            done.unwrap();
        }
    }
}
