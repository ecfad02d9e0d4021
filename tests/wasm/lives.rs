//! Whole lives of streams in each role of the built module: a plan for the router and a body that is waited for, a report
//! handed in, an attempt inside a cluster. Under every answer to every host call, and with callbacks that are left out,
//! doubled or in another order, nothing traps, every request has at most one answer and nothing leaves its envelope.

use super::faults::{CALLED, answers};
use super::{FULL, policy};
use crate::fake_host::FakeHost;
use crate::random::Random;
use crate::wasm_host::{Answer, Built, ROOT, Trapped, Vm, Went};
use berth::filter::MapKind;
use serde_json::{Value, json};

const TOKEN: &str = "agent-token-0123456789";
const BODY: &[u8] = br#"{"model": "llama-3.3-70b", "max_tokens": 90, "stream": true, "messages": []}"#;
const REPORT: &[u8] = br#"{"sequence": 9, "signals": {"queue_depth": 3, "memory_pressure": 7}}"#;
/// The hold of bodies, and more.
const LONG_MS: u64 = 400;

const CHAT: [(&str, &str); 8] = [
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    ("content-type", "application/json"),
    ("x-tenant", "acme"),
    ("x-workload", "chat"),
    ("x-placement-cluster", "provider-us"),
    ("x-placement-budget", "ms=600, attempts=2, id=\"00f1\""),
    ("grpc-timeout", "9S"),
];
const NOBODY: [(&str, &str); 3] = [(":method", "GET"), (":path", "/"), ("x-tenant", "nobody")];

/// Everything that a placement filter can be asked to do for a request.
fn everything() -> Value {
    let mut candidate = policy::policy();
    candidate["policy"]["version"] = 4.into();
    candidate["rollout"] = json!({"share": 0.5});
    let mut it = policy::placement(&policy::policy());
    it["policy"]["classes"][0]["attempts"] = json!({"most": 3, "repeatable": true});
    let more = json!({"attach": "full", "replay": true, "hash_tenants": true, "sample": 1, "candidate": candidate,
        "canary": {"least": 1}, "body": {"headers_stop": true, "hold_ms": 100}, "features_header": "x-needs",
        "keys": ["substrate", "class", "binding", "spill", "attempts"],
        "hops": {"tell": true, "trust": ["spiffe://mesh/sidecar"]}});
    it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    it
}

fn desk() -> Value {
    let mut it = policy::telemetry(&policy::policy());
    it["listener"] = json!({"headers_stop": true, "read": "anyone", "keep_snapshots": 4, "most_per_s": 100_000, "writers": [
        {"name": "agent", "token": TOKEN, "reports": ["metal-fr"], "rollout": true},
        {"name": "mesh", "san": "spiffe://mesh/sidecar", "reports": ["*"]}]});
    it
}

/// A role, how it is configured, and one of its lives.
struct Role {
    name: &'static str,
    configuration: Value,
    live: fn(&mut Vm, &FakeHost) -> Result<(), Trapped>,
}

fn roles() -> [Role; 3] {
    [
        Role { name: "placement", configuration: everything(), live: place },
        Role { name: "desk", configuration: desk(), live: hand_in },
        Role { name: "observing", configuration: policy::observe(), live: attempt },
    ]
}

fn start(role: &Role) -> (FakeHost, Vm) {
    let host = FakeHost::new();
    host.set_property(&["connection", "uri_san_peer_certificate"], b"spiffe://mesh/sidecar");
    host.set_property(&["xds", "cluster_name"], b"metal-fr");
    let (mut vm, taken) = Built::load(FULL).start(&host, &role.configuration.to_string()).unwrap();
    assert!(taken, "{}: {:?}", role.name, vm.log());
    vm.tick().unwrap();
    (host, vm)
}

fn answer_headers(vm: &mut Vm, host: &FakeHost, id: u32, status: &str) -> Result<(), Trapped> {
    let load = ("endpoint-load-metrics", "TEXT cpu_utilization=0.4, named_metrics.queue_depth=7");
    host.set_headers(MapKind::ResponseHeaders, &[(":status", status), ("retry-after", "2"), load]);
    vm.enter("proxy_on_response_headers", &[id, 3, 0])?;
    vm.enter("proxy_on_response_body", &[id, 900, 0])?;
    vm.enter("proxy_on_response_trailers", &[id, 1]).map(drop)
}

/// Requests that wait for their bodies, one whose client stalls, and one that is refused.
fn place(vm: &mut Vm, host: &FakeHost) -> Result<(), Trapped> {
    for ends_at in [BODY.len(), 20] {
        host.set_headers(MapKind::RequestHeaders, &CHAT);
        let (id, _) = vm.open(false)?;
        host.set_request_body(BODY);
        vm.body(id, ends_at / 2, false)?;
        vm.body(id, ends_at, true)?;
        answer_headers(vm, host, id, "503")?;
        vm.close(id)?;
    }
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    let (late, _) = vm.open(false)?;
    host.advance_ms(LONG_MS);
    vm.tick()?;
    vm.body(late, BODY.len(), true)?;
    vm.close(late)?;
    host.set_headers(MapKind::RequestHeaders, &NOBODY);
    let (id, _) = vm.open(true)?;
    // The proxy shows the filter its own refusal as it shows any other answer.
    answer_headers(vm, host, id, "403")?;
    vm.close(id)
}

/// A visitor to the telemetry listener for each thing that can be wanted there.
fn hand_in(vm: &mut Vm, host: &FakeHost) -> Result<(), Trapped> {
    let bearer = format!("Bearer {TOKEN}");
    let visits: [(&str, &str, &[u8]); 8] = [
        ("PUT", "/substrates/metal-fr", REPORT),
        ("PUT", "/substrates/mars", REPORT),
        ("PUT", "/rollout", br#"{"to": "passthrough"}"#),
        ("PUT", "/rollout", br#"{"to": "current"}"#),
        ("GET", "/", b""),
        ("GET", "/state", b""),
        ("GET", "/snapshot", b""),
        ("GET", "/snapshots/1", b""),
    ];
    for (method, path, body) in visits {
        let headers = [(":method", method), (":path", path), ("authorization", bearer.as_str())];
        host.set_headers(MapKind::RequestHeaders, &headers);
        let (id, _) = vm.open(body.is_empty())?;
        host.set_request_body(body);
        if !body.is_empty() {
            vm.body(id, body.len() / 2, false)?;
            vm.body(id, body.len(), true)?;
        }
        answer_headers(vm, host, id, "200")?;
        vm.close(id)?;
    }
    host.advance_ms(LONG_MS);
    vm.tick()?;
    for sent in host.take_calls() {
        let size = host.answer(&[(":status", "200")], REPORT);
        vm.answered(sent.token, size)?;
    }
    vm.tick()
}

/// Attempts that are answered, that fail, and that never are.
fn attempt(vm: &mut Vm, host: &FakeHost) -> Result<(), Trapped> {
    for status in ["200", "429", "500", ""] {
        host.set_headers(MapKind::RequestHeaders, &[(":method", "POST"), (":path", "/x")]);
        let (id, _) = vm.open(true)?;
        host.advance_ms(3);
        if !status.is_empty() {
            answer_headers(vm, host, id, status)?;
        }
        vm.close(id)?;
    }
    host.advance_ms(LONG_MS);
    vm.tick()
}

/// What must hold whatever went wrong in between.
fn within_bounds(host: &FakeHost, said: &dyn Fn() -> String) {
    let cluster = host.header(MapKind::RequestHeaders, "x-placement-cluster");
    let sent_by_client = cluster.as_deref() == Some("provider-us") && host.filter_state("placement").is_none();
    assert!(sent_by_client || cluster.as_deref() != Some("provider-us"), "{}: outside the envelope", said());
}

#[test]
fn no_answer_to_a_host_call_stops_a_role_in_any_part_of_a_streams_life() {
    for role in roles() {
        let (host, mut vm) = start(&role);
        let mut tried = 0;
        for import in CALLED {
            for answer in answers(import) {
                let said = || format!("{}: {import} answered {answer:?}", role.name);
                vm.answer(import, answer.clone());
                let before = host.responses().len();
                (role.live)(&mut vm, &host).unwrap_or_else(|trap| panic!("{}: {trap}", said()));
                // Two requests of a placement's life may be refused at most three times over, a visit answered once.
                let most = if role.name == "desk" { 8 } else { 4 };
                assert!(host.responses().len() - before <= most, "{}: answered too often", said());
                if !import.contains("header_map") && !matches!(answer, Answer::Nothing) {
                    within_bounds(&host, &said);
                }
                vm.heal();
                tried += 1;
            }
        }
        assert!(tried > 250, "{tried}");
        // And it works as before.
        works(&role, &mut vm, &host);
    }
}

fn works(role: &Role, vm: &mut Vm, host: &FakeHost) {
    host.advance_ms(10 * LONG_MS);
    vm.tick().unwrap();
    match role.name {
        "placement" => {
            host.set_headers(MapKind::RequestHeaders, &CHAT);
            let (id, went) = vm.open(false).unwrap();
            assert_eq!(went, Went::Stopped, "it waits for the body");
            host.set_request_body(BODY);
            assert_eq!(vm.body(id, BODY.len(), true).unwrap(), Went::On);
            let cluster = host.header(MapKind::RequestHeaders, "x-placement-cluster");
            assert!(["metal-fr", "onprem-de"].map(Some).contains(&cluster.as_deref()), "{cluster:?}");
            vm.close(id).unwrap();
        }
        "desk" => {
            host.set_headers(MapKind::RequestHeaders, &[(":method", "GET"), (":path", "/snapshot")]);
            let before = host.responses().len();
            vm.request().unwrap();
            assert_eq!(host.responses().len(), before + 1);
            assert_eq!(host.responses().last().unwrap().status, 200);
        }
        _ => {
            let before = host.metric_value("berth.observed.good");
            attempt(vm, host).unwrap();
            assert_eq!(host.metric_value("berth.observed.good"), before + 1);
        }
    }
}

#[test]
fn a_refusal_is_given_once_and_its_own_answer_changes_nothing() {
    let role = &roles()[0];
    let (host, mut vm) = start(role);
    host.set_headers(MapKind::RequestHeaders, &NOBODY);
    let (id, went) = vm.open(false).unwrap();
    assert_eq!((went, host.responses().len()), (Went::Stopped, 1));
    let before = host.counts();
    for _ in 0..3 {
        answer_headers(&mut vm, &host, id, "403").unwrap();
        vm.body(id, 10, true).unwrap();
    }
    vm.close(id).unwrap();
    assert_eq!(host.responses().len(), 1, "answered once");
    let sent = |counts: &std::collections::BTreeMap<&str, u64>| counts.get("respond").copied();
    assert_eq!(sent(&host.counts()), sent(&before));
}

/// Callbacks in any order: what a proxy would call once, later or never.
#[test]
fn callbacks_that_are_left_out_doubled_or_out_of_order_trap_nothing() {
    for role in roles() {
        let (host, mut vm) = start(&role);
        let mut random = Random::new(0x11fe);
        let mut open: Vec<u32> = Vec::new();
        let mut next = 1_000_000;
        for round in 0..6_000 {
            let headers: &[(&str, &str)] = if random.below(2) == 0 { &CHAT } else { &NOBODY };
            host.set_headers(MapKind::RequestHeaders, headers);
            host.set_request_body(&BODY[..random.below(BODY.len())]);
            let any = |random: &mut Random| open.get(random.below(open.len().max(1))).copied();
            let most = 1 << random.below(20);
            let size = u32::try_from(random.below(most)).unwrap();
            let ends = u32::from(random.below(3) == 0);
            let done = match (random.below(14), any(&mut random)) {
                (0 | 1, _) | (_, None) => {
                    next += 1;
                    open.push(next);
                    vm.enter("proxy_on_context_create", &[next, ROOT])
                }
                (2 | 3, Some(id)) => vm.enter("proxy_on_request_headers", &[id, 5, ends]),
                (4 | 5, Some(id)) => vm.enter("proxy_on_request_body", &[id, size, ends]),
                (6, Some(id)) => vm.enter("proxy_on_response_headers", &[id, 3, ends]),
                (7, Some(id)) => vm.enter("proxy_on_response_body", &[id, size, ends]),
                (8, Some(id)) => vm.enter("proxy_on_response_trailers", &[id, 1]),
                (9, Some(id)) => vm.enter("proxy_on_done", &[id]),
                (10 | 11, Some(id)) => {
                    open.retain(|other| *other != id);
                    vm.enter("proxy_on_delete", &[id])
                }
                (12, _) => {
                    host.advance_ms(u64::try_from(random.below(500)).unwrap());
                    vm.enter("proxy_on_tick", &[ROOT])
                }
                (_, _) => {
                    let token = host.take_calls().first().map_or(size, |sent| sent.token);
                    let size = host.answer(&[(":status", "200")], REPORT);
                    vm.answered(token, size).map(|()| None)
                }
            };
            done.unwrap_or_else(|trap| panic!("{}, round {round}: {trap}", role.name));
        }
        for id in open {
            vm.enter("proxy_on_delete", &[id]).unwrap();
        }
        works(&role, &mut vm, &host);
    }
}

/// A new configuration while streams of the old one are open, which then end under a root that is gone.
#[test]
fn streams_outlive_the_root_that_they_were_born_under() {
    for role in roles() {
        let (host, mut vm) = start(&role);
        for generation in 0..20 {
            let (old, new) = (ROOT + 100_000 * generation, ROOT + 100_000 * (generation + 1));
            let ids: Vec<u32> = (0..6).map(|n| old + 10 + n).collect();
            host.set_headers(MapKind::RequestHeaders, &CHAT);
            for id in &ids {
                vm.enter("proxy_on_context_create", &[*id, old]).unwrap();
                vm.enter("proxy_on_request_headers", &[*id, 5, 0]).unwrap();
            }
            let size = u32::try_from(role.configuration.to_string().len()).unwrap();
            vm.enter("proxy_on_context_create", &[new, 0]).unwrap();
            assert_eq!(vm.enter("proxy_on_configure", &[new, size]).unwrap(), Some(1), "{:?}", vm.log());
            host.advance_ms(LONG_MS);
            vm.enter("proxy_on_tick", &[old]).unwrap();
            vm.enter("proxy_on_tick", &[new]).unwrap();
            if generation % 2 == 0 {
                vm.enter("proxy_on_delete", &[old]).unwrap();
            }
            host.set_request_body(BODY);
            for id in &ids {
                vm.body(*id, BODY.len(), true).unwrap();
                answer_headers(&mut vm, &host, *id, "200").unwrap();
                vm.close(*id).unwrap();
            }
        }
    }
}

#[test]
fn a_root_that_is_replaced_tells_what_it_counted_since_its_last_tick() {
    let host = FakeHost::new();
    let configuration = policy::placement(&policy::policy()).to_string();
    let (mut vm, _) = Built::load(FULL).start(&host, &configuration).unwrap();
    host.set_headers(MapKind::RequestHeaders, &NOBODY);
    for _ in 0..5 {
        vm.request().unwrap();
    }
    let refused = || host.metric_value("berth.refusals.class.standard.dimension.governance.reason.no-envelope");
    assert_eq!(refused(), 0, "a request makes no host call for it");
    vm.enter("proxy_on_delete", &[ROOT]).unwrap();
    assert_eq!(refused(), 5, "{:?}", host.metric_names());
}
