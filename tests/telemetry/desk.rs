//! The telemetry listener without a proxy: who may do what, what is kept of a report, and that it reaches whoever leads.

use crate::fake_host::{EVERY_ERROR, FakeHost};
use crate::policy::{placement, policy};
use berth::filter::observing::{ObserveConfig, Observing};
use berth::filter::store::{
    LAST, RECALL, ROLLOUT, Recall, RolloutReader, SnapshotReader, Switch, TRAYS, deliver, recalls, recent_key, rollout,
    tray_key,
};
use berth::filter::{Kept, MapKind, Role, Verdict};
use berth::health::heard::Heard;
use berth::health::json;
use berth::model::{Reading, Signal, Snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

const AGENT: &str = "agent-token-0123456789";
const FLEET: &str = "fleet-token-0123456789";
const TICK_MS: u64 = 100;

fn listener() -> Value {
    json!({"headers_stop": true, "most_body_bytes": 2_048, "most_per_s": 1_000, "writers": [
        {"name": "agent", "token": AGENT, "reports": ["metal-fr"]},
        {"name": "fleet", "token_sha256": sha256(FLEET), "reports": ["*"], "rollout": true},
        {"name": "mesh", "san": "spiffe://mesh/agent", "reports": ["onprem-de"]}
    ]})
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

struct Vm {
    host: FakeHost,
    role: Role,
}

impl Vm {
    fn start(host: FakeHost, listener: &Value) -> Self {
        host.set_configuration(&json!({"role": "telemetry", "policy": policy(), "listener": listener}).to_string());
        let role = Role::configure(&host).unwrap_or_else(|line| panic!("{line}"));
        Self { host, role }
    }

    fn tick(&mut self) {
        self.role.on_tick(&self.host);
    }

    /// The headers of a request, its body in two parts, and the answer; `None` if nothing of ours answered.
    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<(u16, Value)> {
        let before = self.host.responses().len();
        let pairs = [&[(":method", method), (":path", path)], headers].concat();
        self.host.set_headers(MapKind::RequestHeaders, &pairs);
        let (mut verdict, visit): (Verdict, Option<Kept>) = self.role.arrive(&self.host, 1, body.is_empty());
        if let Some(visit) = &visit {
            assert_eq!(verdict, Verdict::Held);
            self.host.set_request_body(body.as_bytes());
            verdict = self.role.on_body(&self.host, visit, body.len() / 2, false);
            if verdict == Verdict::Held {
                verdict = self.role.on_body(&self.host, visit, body.len(), true);
            }
        }
        let mut answers = self.host.responses().split_off(before);
        assert_eq!(verdict == Verdict::Answered, answers.len() == 1);
        let answer = answers.pop()?;
        Some((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    fn put(&mut self, token: &str, substrate: &str, body: &Value) -> (u16, Value) {
        let token = format!("Bearer {token}");
        let headers = [("authorization", token.as_str())];
        self.ask("PUT", &format!("/substrates/{substrate}"), &headers, &body.to_string()).unwrap()
    }
}

fn queue(sequence: u64, depth: u64) -> Value {
    json!({"sequence": sequence, "signals": {"queue_depth": depth}})
}

fn published(host: &FakeHost) -> Snapshot {
    let mut reader = SnapshotReader::default();
    assert!(reader.poll(host), "nothing was published");
    reader.snapshot().unwrap().clone()
}

fn depth(host: &FakeHost, name: &str) -> Option<i64> {
    published(host).of(name).unwrap().reading(Signal::QueueDepth).map(|r| r.value)
}

#[test]
fn a_report_handed_in_at_a_vm_that_does_not_lead_is_in_the_next_snapshot() {
    let mut leader = Vm::start(FakeHost::new(), &listener());
    leader.tick();
    let mut other = Vm::start(leader.host.another_vm(), &listener());
    other.tick();
    let report = json!({"substrate": "metal-fr", "sequence": 7, "signals": {"queue_depth": 3, "memory_pressure": 0.5},
        "attestation": {"jurisdiction": "FR", "at_ms": 1_789_999_999_000_u64}});
    let (status, answer) = other.put(AGENT, "metal-fr", &report);
    assert_eq!((status, &answer["kept"]), (200, &json!(["memory_pressure", "queue_depth", "attestation"])), "{answer}");
    assert_eq!((&answer["dropped"], &answer["sequence"]), (&json!({}), &json!(7)));
    leader.host.advance_ms(TICK_MS);
    leader.tick();
    let metal = published(&leader.host).of("metal-fr").unwrap().clone();
    assert_eq!(metal.reading(Signal::QueueDepth).unwrap().value, 3);
    assert_eq!(metal.attestation.unwrap().jurisdiction.as_str(), "FR");
    assert_eq!(leader.host.metric_value("berth.telemetry.reported"), 1);
}

#[test]
fn every_answer_says_what_was_kept_and_what_was_dropped_and_why() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let signals = json!({"queue_depth": 3, "memory_pressure": 7, "warp_drive": 1, "running": "many",
        "link": {"value": 0.5, "at_ms": 99_999_999_999_999_u64}});
    let (status, answer) = vm.put(AGENT, "metal-fr", &json!({"sequence": 1, "signals": signals}));
    assert_eq!((status, &answer["kept"]), (200, &json!(["queue_depth"])));
    let dropped =
        json!({"memory_pressure": "out-of-range", "warp_drive": "unknown", "running": "malformed", "link": "future"});
    assert_eq!(answer["dropped"], dropped);

    let (status, answer) = vm.put(AGENT, "metal-fr", &json!({"sequence": 2, "signals": {"warp_drive": 1}}));
    assert_eq!((status, &answer["reason"]), (422, &json!("nothing-kept")));
    assert_eq!((&answer["kept"], &answer["dropped"]), (&json!([]), &json!({"warp_drive": "unknown"})));

    let many: serde_json::Map<_, _> = (0..50).map(|n| (format!("x{n}"), json!(1))).collect();
    let (_, answer) = vm.put(FLEET, "metal-fr", &json!({"sequence": 3, "signals": many}));
    assert_eq!(answer["dropped"].as_object().unwrap().len(), 32);
    assert_eq!(answer["dropped_besides"], 18);
}

#[test]
fn what_was_dropped_of_reports_is_counted_as_what_was_dropped_of_scrapes_is() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let signals = json!({"queue_depth": -3, "memory_pressure": 7, "warp_drive": 1, "running": 2});
    vm.put(AGENT, "metal-fr", &json!({"sequence": 1, "signals": signals}));
    vm.put(AGENT, "metal-fr", &json!({"sequence": 2, "signals": {"warp_drive": 1}}));
    let dropped = |why: &str| vm.host.metric_value(&format!("berth.telemetry.dropped.reason.{why}"));
    assert_eq!((dropped("out-of-range"), dropped("unknown"), dropped("malformed")), (2, 2, 0));
}

#[test]
fn what_is_older_than_what_came_before_is_not_called_kept_whoever_has_taken_that() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    vm.tick();
    let now_ms = vm.host.now_ms();
    let proof = |at_ms: u64| json!({"jurisdiction": "FR", "at_ms": at_ms});
    let fresh = json!({"sequence": 1, "signals": {"running": 50}, "attestation": proof(now_ms)});
    assert_eq!(vm.put(AGENT, "metal-fr", &fresh).1["kept"], json!(["running", "attestation"]));
    let old = |sequence: u64| json!({"sequence": sequence, "at_ms": 1_000, "signals": {"running": 7, "hosts": 1}, "attestation": proof(1_000)});
    // In the tray, and once it was published.
    for sequence in [2, 3] {
        let (status, answer) = vm.put(AGENT, "metal-fr", &old(sequence));
        assert_eq!((status, &answer["kept"]), (200, &json!(["hosts"])));
        assert_eq!(answer["dropped"], json!({"running": "stale", "attestation": "stale"}));
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        let metal = published(&vm.host).of("metal-fr").unwrap().clone();
        assert_eq!(metal.reading(Signal::Running).unwrap().value, 50);
        assert_eq!(metal.attestation.unwrap().at_ms, now_ms);
    }
    assert_eq!(vm.host.metric_value("berth.telemetry.dropped.reason.stale"), 4);
}

#[test]
fn what_the_proxies_measure_is_not_called_kept_at_whichever_vm_it_is_handed_in() {
    let mut leader = Vm::start(FakeHost::new(), &listener());
    leader.tick();
    let mut other = Vm::start(leader.host.another_vm(), &listener());
    let inside = other.host.another_vm();
    inside.set_property(&["xds", "cluster_name"], b"metal-fr");
    let mut observer =
        Observing::configure(&inside, ObserveConfig { tick_ms: 100, histograms: false }, &berth::filter::Vm::default())
            .unwrap();
    for _ in 0..3 {
        let mut attempt = observer.on_attempt(&inside);
        leader.host.advance_ms(TICK_MS);
        inside.set_headers(MapKind::ResponseHeaders, &[(":status", "200")]);
        observer.on_answer(&inside, &mut attempt);
        observer.on_end(&inside, &mut attempt);
        observer.on_tick(&inside);
        leader.tick();
    }
    let signals = json!({"first_token_ms": 9_000, "failure_rate": 1, "running": 4});
    let (status, answer) = other.put(AGENT, "metal-fr", &json!({"sequence": 1, "signals": signals}));
    assert_eq!((status, &answer["kept"]), (200, &json!(["running"])), "{answer}");
    assert_eq!(answer["dropped"], json!({"first_token": "measured", "failure_rate": "measured"}));
    assert_eq!(leader.host.metric_value("berth.telemetry.dropped.reason.measured"), 2);
    // Of another nothing is measured, and what is reported is all that there is.
    assert_eq!(other.put(FLEET, "onprem-de", &json!({"sequence": 1, "signals": signals})).1["dropped"], json!({}));
}

#[test]
fn a_value_that_is_no_number_costs_its_field() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let text = r#"{"sequence": 1, "signals": {"queue_depth": NaN, "running": 4}}"#;
    let bearer = format!("Bearer {AGENT}");
    let (status, answer) = vm.ask("PUT", "/substrates/metal-fr", &[("authorization", &bearer)], text).unwrap();
    assert_eq!(
        (status, &answer["kept"], &answer["dropped"]),
        (200, &json!(["running"]), &json!({"queue_depth": "not-finite"}))
    );
}

#[test]
fn nobody_who_is_not_written_down_may_do_anything() {
    for (listener, token) in [(json!({}), FLEET), (listener(), "somebody-elses-token"), (listener(), "")] {
        let mut vm = Vm::start(FakeHost::new(), &listener);
        let bearer = format!("Bearer {token}");
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &bearer)] };
        for (method, path) in [
            ("PUT", "/substrates/metal-fr"),
            ("PUT", "/substrates/mars"),
            ("PUT", "/rollout"),
            ("GET", "/"),
            ("GET", "/snapshot"),
            ("GET", "/state"),
            ("GET", "/rollout"),
        ] {
            let (status, answer) = vm.ask(method, path, headers, &queue(1, 1).to_string()).unwrap();
            assert_eq!((status, &answer["reason"]), (401, &json!("unauthenticated")), "{method} {path}");
        }
        assert!(!vm.host.shared_keys().iter().any(|key| key.contains("inbox") || key == ROLLOUT));
        assert_eq!(vm.host.metric_value("berth.telemetry.turned-away.reason.unauthenticated"), 7);
    }
}

#[test]
fn who_is_known_may_do_what_is_written_down_and_no_more() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    assert_eq!(vm.put(AGENT, "metal-fr", &queue(1, 1)).0, 200);
    let (status, answer) = vm.put(AGENT, "onprem-de", &queue(1, 1));
    assert_eq!((status, &answer["reason"]), (403, &json!("forbidden")));
    assert_eq!(vm.put(AGENT, "mars", &queue(1, 1)).0, 404);
    assert_eq!(vm.host.metric_value("berth.telemetry.turned-away.reason.unknown-substrate"), 1);
    let bearer = format!("Bearer {AGENT}");
    let agent = [("authorization", bearer.as_str())];
    assert_eq!(vm.ask("PUT", "/rollout", &agent, r#"{"to": "passthrough"}"#).unwrap().0, 403);
    assert_eq!(vm.put(FLEET, "provider-us", &queue(1, 1)).0, 200, "a token may be kept as its digest");
    for scheme in ["bearer", "BEARER"] {
        let value = format!("{scheme} {AGENT}");
        let seen = vm.ask("PUT", "/substrates/metal-fr", &[("authorization", &value)], &queue(2, 1).to_string());
        assert!(matches!(seen, Some((200 | 409, _))), "{seen:?}");
    }
    for wrong in [format!("Basic {AGENT}"), AGENT.to_string(), format!("Bearer {}", "x".repeat(600)), String::new()] {
        let seen = vm.ask("PUT", "/substrates/metal-fr", &[("authorization", &wrong)], &queue(3, 1).to_string());
        assert_eq!(seen.unwrap().0, 401, "{wrong}");
    }
}

#[test]
fn a_client_certificate_is_a_credential_where_it_is_written_down() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let mut put = |san: &str, substrate: &str| {
        vm.host.set_property(&["connection", "uri_san_peer_certificate"], san.as_bytes());
        vm.ask("PUT", &format!("/substrates/{substrate}"), &[], &queue(1, 1).to_string()).unwrap().0
    };
    assert_eq!(put("spiffe://mesh/agent", "onprem-de"), 200);
    assert_eq!(put("spiffe://mesh/agent", "metal-fr"), 403);
    for stranger in ["", "spiffe://mesh/agent2", "spiffe://mesh/agen", "SPIFFE://mesh/agent", &"x".repeat(5_000)] {
        assert_eq!(put(stranger, "onprem-de"), 401, "{stranger}");
    }
}

#[test]
fn a_report_that_was_replayed_or_overtaken_is_refused_at_every_vm_and_says_what_was_last() {
    let mut one = Vm::start(FakeHost::new(), &listener());
    let mut two = Vm::start(one.host.another_vm(), &listener());
    one.tick();
    assert_eq!(one.put(AGENT, "metal-fr", &queue(10, 3)).0, 200);
    for sequence in [10, 9, 0] {
        let (status, answer) = two.put(AGENT, "metal-fr", &queue(sequence, 500));
        assert_eq!((status, &answer["reason"], &answer["last"]), (409, &json!("not-newer"), &json!(10)));
    }
    assert_eq!(two.put(AGENT, "metal-fr", &queue(11, 4)).0, 200);
    one.host.advance_ms(TICK_MS);
    one.tick();
    assert_eq!(depth(&one.host, "metal-fr"), Some(4));
}

#[test]
fn a_report_is_taken_once_even_when_the_leader_changes() {
    let host = FakeHost::new();
    let mut one = Vm::start(host.another_vm(), &listener());
    let mut two = Vm::start(host.another_vm(), &listener());
    one.tick();
    two.tick();
    assert_eq!(two.put(AGENT, "metal-fr", &queue(1, 3)).0, 200);
    host.advance_ms(TICK_MS);
    one.tick();
    let first = published(&host);
    assert_eq!(depth(&host, "metal-fr"), Some(3));
    drop(one);
    for _ in 0..40 {
        host.advance_ms(TICK_MS);
        two.tick();
    }
    let after = published(&host);
    assert_ne!(after.writer, first.writer, "another leads");
    let (before, after) = (first.of("metal-fr").unwrap(), after.of("metal-fr").unwrap());
    assert_eq!(after.readings, before.readings, "nothing was taken a second time, and it ages");
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let host = FakeHost::new();
    let mut one = Vm::start(host.another_vm(), &listener());
    let two = std::rc::Rc::new(std::cell::RefCell::new(Vm::start(host.another_vm(), &listener())));
    one.tick();
    let rival = two.clone();
    let once = std::cell::Cell::new(true);
    one.host.meddle(move |_, call, key| {
        if call == "shared_set" && key.contains("inbox") && once.replace(false) {
            let report = json!({"sequence": 5, "signals": {"running": 9}});
            assert_eq!(rival.borrow_mut().put(FLEET, "metal-fr", &report).0, 200);
        }
    });
    assert_eq!(one.put(AGENT, "metal-fr", &queue(6, 3)).0, 200);
    one.host.leave_alone();
    host.advance_ms(TICK_MS);
    one.tick();
    let metal = published(&host).of("metal-fr").unwrap().clone();
    let value = |signal| metal.reading(signal).map(|r| r.value);
    assert_eq!((value(Signal::QueueDepth), value(Signal::Running)), (Some(3), Some(9)));
}

#[test]
fn what_is_wrong_with_a_body_is_said_and_nothing_of_it_is_kept() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let bearer = format!("Bearer {AGENT}");
    let headers = [("authorization", bearer.as_str())];
    let many = json!({"substrates": [{"substrate": "metal-fr"}, {"substrate": "onprem-de"}]}).to_string();
    for (body, why) in [
        ("not json", "expected a JSON object"),
        ("[1]", "expected a JSON object"),
        (r#"{"sequence": 1, "signals": {"queue_depth": }}"#, "expected value at line 1 column"),
        (r#"{"sequence": 1, "substrates": 7}"#, "substrates: expected one list of reports"),
        (r#"{"signals": {"queue_depth": 1}}"#, "sequence: expected a whole number"),
        (r#"{"sequence": -1, "signals": {"queue_depth": 1}}"#, "sequence: expected a whole number"),
        (r#"{"sequence": 1, "sequence": 2, "signals": {"queue_depth": 1}}"#, "sequence: expected a whole number"),
        (
            r#"{"sequence": 9007199254740993, "signals": {"queue_depth": 1}}"#,
            "sequence: expected a whole number up to 2^53",
        ),
        (r#"{"substrate": "onprem-de", "sequence": 1, "signals": {"queue_depth": 1}}"#, "another than in the path"),
        (&many, "expected one report"),
        ("", "expected a body"),
    ] {
        let (status, answer) = vm.ask("PUT", "/substrates/metal-fr", &headers, body).unwrap();
        assert_eq!((status, &answer["reason"], &answer["kept"]), (400, &json!("malformed"), &json!([])), "{body}");
        assert!(answer["detail"].as_str().unwrap().contains(why), "{body}: {answer}");
    }
    assert!(!vm.host.shared_keys().iter().any(|key| key.contains("inbox")));
}

#[test]
fn a_sequence_far_ahead_of_every_clock_locks_nobody_out() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let (status, answer) = vm.put(AGENT, "metal-fr", &queue(1 << 53, 1));
    assert_eq!((status, &answer["reason"]), (400, &json!("malformed")));
    assert!(answer["detail"].as_str().unwrap().contains("a day from now"), "{answer}");
    // A writer that counts in microseconds, then one in milliseconds: it is told where to go on.
    let micros = vm.host.now_ms() * 1_000;
    assert_eq!(vm.put(AGENT, "metal-fr", &queue(micros, 2)).0, 200);
    let (status, answer) = vm.put(AGENT, "metal-fr", &queue(vm.host.now_ms(), 3));
    assert_eq!((status, &answer["last"]), (409, &json!(micros)));
    assert_eq!(vm.put(AGENT, "metal-fr", &queue(micros + 1, 3)).0, 200);
}

#[test]
fn a_snapshot_that_is_not_kept_is_no_unknown_substrate() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let bearer = format!("Bearer {AGENT}");
    let (status, answer) = vm.ask("GET", "/snapshots/1", &[("authorization", &bearer)], "").unwrap();
    assert_eq!((status, &answer["reason"]), (404, &json!("unknown-epoch")));
    assert!(answer["detail"].as_str().unwrap().contains("none are kept"), "{answer}");
}

#[test]
fn a_body_that_is_too_long_is_refused_by_its_declared_length_and_by_what_comes() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let long = json!({"sequence": 1, "signals": {"queue_depth": 1}, "x": "y".repeat(9_000)}).to_string();
    let bearer = format!("Bearer {AGENT}");
    vm.host.reset_counts();
    for headers in
        [&[("authorization", bearer.as_str()), ("content-length", "9100")][..], &[("authorization", &bearer)]]
    {
        let (status, answer) = vm.ask("PUT", "/substrates/metal-fr", headers, &long).unwrap();
        assert_eq!((status, &answer["detail"]), (413, &json!("expected at most 2048 bytes")));
    }
    assert_eq!(vm.host.count("request_body"), 0, "nothing of it was copied");
}

#[test]
fn more_writes_a_second_than_are_taken_are_put_off() {
    let mut config = listener();
    config["most_per_s"] = 2.into();
    let mut vm = Vm::start(FakeHost::new(), &config);
    let statuses: Vec<u16> = (1..5).map(|n| vm.put(AGENT, "metal-fr", &queue(n, 1)).0).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert!(vm.host.responses().last().unwrap().headers.iter().any(|(name, _)| name == "retry-after"));
    vm.host.advance_ms(500);
    assert_eq!(vm.put(AGENT, "metal-fr", &queue(9, 1)).0, 200);
    // Who is turned away at the door takes nothing of it.
    for _ in 0..10 {
        assert_eq!(vm.put("an-unknown-token-000", "metal-fr", &queue(9, 1)).0, 401);
    }
    vm.host.advance_ms(500);
    assert_eq!(vm.put(AGENT, "metal-fr", &queue(10, 1)).0, 200);
}

#[test]
fn without_a_listener_in_the_configuration_and_on_other_paths_requests_pass() {
    let host = FakeHost::new();
    host.set_configuration(&json!({"role": "telemetry", "policy": policy()}).to_string());
    let mut silent = Vm { role: Role::configure(&host).unwrap(), host };
    assert_eq!(silent.ask("PUT", "/substrates/metal-fr", &[], "{}"), None);
    let mut vm = Vm::start(FakeHost::new(), &listener());
    for path in ["/healthz", "/substrates", "/snapshots", "//"] {
        assert_eq!(vm.ask("GET", path, &[], ""), None, "{path}");
    }
    let (status, answer) = vm.ask("DELETE", "/snapshot", &[], "").unwrap();
    assert_eq!((status, &answer["detail"]), (405, &json!("expected one of GET, HEAD")));
    assert_eq!(vm.ask("GET", "/substrates/metal-fr", &[], "").unwrap().0, 405);
}

#[test]
fn the_snapshot_is_shown_as_the_tool_prints_it_and_the_page_draws_it() {
    let mut config = listener();
    config["read"] = "anyone".into();
    let mut vm = Vm::start(FakeHost::new(), &config);
    assert_eq!(vm.ask("GET", "/snapshot", &[], "").unwrap().0, 503, "nothing was published yet");
    assert_eq!(vm.ask("GET", "/state", &[], "").unwrap().1["snapshot"], Value::Null);
    assert_eq!(vm.put(AGENT, "metal-fr", &queue(1, 3)).0, 200);
    vm.tick();
    assert_eq!(vm.ask("GET", "/snapshot?x=1", &[], "").unwrap().0, 200);
    let body = vm.host.responses().pop().unwrap().body;
    let (snapshot, beside) = json::read_beside(&body).unwrap();
    assert_eq!(snapshot, published(&vm.host));
    assert_eq!(beside.unwrap().rollout.as_deref(), Some("current"));
    let why = String::from("class=standard failure_ppm=500000 current=0");
    Recall { digest: 0x9f2c_41ab, at_ms: 7, why: why.clone() }.tell(&vm.host).unwrap();
    assert_eq!(vm.ask("GET", "/snapshot", &[], "").unwrap().1["rollout"]["recalled"]["why"], json!(why));
    // Another listener's candidate is called back; the first is so still, and as often as anybody says it again.
    for digest in (0..20).chain([0x9f2c_41ab]) {
        let recall = Recall { digest, at_ms: 8, why: "€".repeat(200) };
        recall.tell(&vm.host).unwrap();
        let all = recalls(&vm.host);
        assert!(all.len() <= 16 && all.iter().filter(|r| r.digest == digest).count() == 1);
        assert!(digest > 14 || all.iter().any(|r| r.digest == 0x9f2c_41ab));
        assert_eq!(all.last().map(|r| (r.digest, r.why.len())), Some((digest, 255)), "cut between characters");
    }
    vm.host.plant(RECALL, b"BRRS, and then rubbish");
    assert_eq!(recalls(&vm.host), []);
    let (_, state) = vm.ask("GET", "/state", &[], "").unwrap();
    assert_eq!(state["snapshot"]["substrates"][0]["signals"]["queue_depth"]["value"], 3);
    assert_eq!(
        (&state["signals"][0], &state["ages"]["soft_ms"]),
        (&json!(["queue_depth", "count", false]), &json!(3_000))
    );
    // What the policy bounds, and what stands beside one another, is there whether it was heard or not.
    let about = &state["about"]["metal-fr"];
    let named = ["kind", "region", "cluster", "layer"].map(|what| about[what].as_str().unwrap());
    assert_eq!(named, ["sovereign", "r1", "metal-fr", ""]);
    assert_eq!((&about["bounds"][0], &about["bounds"][1]), (&json!("queue_depth"), &json!("memory_pressure")));
    assert_eq!(state["about"]["provider-us"]["bounds"], json!(["rate_remaining"]));
    assert_eq!(state["regions"], json!([["r1", null]]));
    assert_eq!(state["kinds"], json!([["gpu", null], ["provider", null], ["sovereign", null]]));
    assert_eq!(vm.ask("GET", "/", &[], "").unwrap().0, 200);
    let page = vm.host.responses().pop().unwrap();
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains(r#""queue_depth""#) && !text.contains("/*STATE*/"));
    let policy = page.headers.iter().find(|(name, _)| name == "content-security-policy").unwrap();
    assert!(policy.1.contains("default-src 'none'") && policy.1.contains("script-src 'sha256-"), "{}", policy.1);
}

#[test]
fn the_last_decisions_of_all_vms_are_shown_newest_first_and_hold_no_tenant() {
    let mut vm = Vm::start(FakeHost::new(), &json!({"read": "anyone"}));
    let mut placers: Vec<Vm> = (0..2)
        .map(|_| {
            let host = vm.host.another_vm();
            host.set_configuration(&placement(&policy()).to_string());
            let role = Role::configure(&host).unwrap();
            Vm { host, role }
        })
        .collect();
    let decide = |vm: &mut Vm, workload: &str| {
        let headers = [(":method", "POST"), (":path", "/x"), ("x-tenant", "acme"), ("x-workload", workload)];
        vm.host.set_headers(MapKind::RequestHeaders, &headers);
        vm.role.on_request(&vm.host);
    };
    let decisions = |vm: &mut Vm| vm.ask("GET", "/state", &[], "").unwrap().1["decisions"].as_array().unwrap().clone();
    assert_eq!(decisions(&mut vm), Vec::<Value>::new());
    for placer in &mut placers {
        placer.host.advance_ms(TICK_MS);
        placer.tick();
        for _ in 0..3 * LAST {
            decide(placer, "chat");
        }
        decide(placer, "standard");
    }
    let writes = |vm: &Vm| vm.host.count("shared_set");
    let before = placers.iter().map(writes).sum::<u64>();
    assert_eq!(decisions(&mut vm), Vec::<Value>::new(), "nothing is told per request");
    placers[0].tick();
    placers[1].tick();
    // Its slot, and its last decisions in one piece.
    assert_eq!(placers.iter().map(writes).sum::<u64>() - before, 4);
    let shown = decisions(&mut vm);
    assert_eq!(shown.len(), LAST);
    let records: Vec<&str> = shown.iter().map(|d| d["record"].as_str().unwrap()).collect();
    assert!(records[0].contains("class=standard") && records[1..].iter().all(|r| r.contains("class=interactive")));
    assert!(records.iter().all(|r| r.starts_with("v=1, id=") && !r.contains("acme")), "{records:?}");
    let now_ms = vm.host.now_ms();
    assert!(shown.iter().all(|d| d["at_ms"] == json!(now_ms) && d["enforced"] == json!(true)));
    let most = placers[0].host.shared_keys().into_iter().filter(|k| k.contains("/recent/")).collect::<Vec<_>>();
    assert_eq!(most.len(), 2, "one key for each VM, however much it decides");
    assert!(most.iter().all(|key| vm.host.shared(key).unwrap().len() < 10_000));
    // A later one of either is the first, and with nothing new nothing is written.
    vm.host.advance_ms(TICK_MS);
    placers[0].tick();
    decide(&mut placers[0], "nobody-knows-this");
    placers[0].tick();
    assert!(decisions(&mut vm)[0]["record"].as_str().unwrap().contains("by=default"));
    let before = writes(&placers[0]);
    placers[0].tick();
    assert_eq!(writes(&placers[0]) - before, 1, "its slot only");
}

#[test]
fn the_switch_is_thrown_by_who_may_and_is_read_by_all() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    let bearer = format!("Bearer {FLEET}");
    let fleet = [("authorization", bearer.as_str())];
    let mut reader = RolloutReader::default();
    assert!(!reader.poll(&vm.host), "it was never thrown");
    assert_eq!(reader.rollout().switch, Switch::Current);
    let (status, answer) = vm.ask("PUT", "/rollout", &fleet, r#"{"to": "passthrough"}"#).unwrap();
    assert_eq!(
        (status, &answer["rollout"], &answer["before"], &answer["generation"]),
        (200, &json!("passthrough"), &json!("current"), &json!(1))
    );
    assert!(reader.poll(&vm.host) && !reader.poll(&vm.host));
    assert_eq!(reader.rollout().switch, Switch::Passthrough);
    // A reload: a new root, the same shared data.
    let mut vm = Vm::start(vm.host.another_vm(), &listener());
    let (_, answer) = vm.ask("GET", "/rollout", &fleet, "").unwrap();
    assert_eq!((&answer["rollout"], &answer["generation"]), (&json!("passthrough"), &json!(1)));
    let (status, answer) = vm.ask("PUT", "/rollout", &fleet, r#"{"to": "current", "generation": 0}"#).unwrap();
    assert_eq!((status, &answer["rollout"], &answer["generation"]), (409, &json!("passthrough"), &json!(1)));
    assert_eq!(vm.ask("PUT", "/rollout", &fleet, r#"{"to": "current", "generation": 1}"#).unwrap().0, 200);
    for (body, why) in [
        (r#"{"to": "backwards"}"#, "to: expected `current`, `passthrough` or `previous`"),
        (r#"{"to": "current", "when": 1}"#, "unknown field `when`"),
        ("passthrough", "expected value"),
        ("[]", "expected"),
    ] {
        let (status, answer) = vm.ask("PUT", "/rollout", &fleet, body).unwrap();
        assert_eq!(status, 400, "{body}");
        assert!(answer["detail"].as_str().unwrap().contains(why), "{body}: {answer}");
    }
    assert_eq!(vm.host.metric_value("berth.telemetry.rollout.thrown"), 2);
}

#[test]
fn a_switch_that_is_none_counts_as_never_thrown_and_a_host_that_fails_changes_nothing() {
    let host = FakeHost::new();
    let mut reader = RolloutReader::default();
    for rubbish in [&b""[..], b"x", &[0; 21], &[255; 21], b"BRLO\x07aaaaaaaabbbbbbbb", &[7; 4_000]] {
        host.plant(ROLLOUT, rubbish);
        assert_eq!(rollout(&host).unwrap().switch, Switch::Current);
        assert!(!reader.poll(&host));
    }
    berth::filter::store::throw(&host, Switch::Passthrough, None, 5).unwrap();
    assert!(reader.poll(&host));
    for error in EVERY_ERROR {
        host.fail_always("shared_get", error);
        reader.poll(&host);
        let expected = if error == berth::filter::HostError::NotFound { Switch::Current } else { Switch::Passthrough };
        assert_eq!(reader.rollout().switch, expected, "{error}");
        host.heal();
        reader.poll(&host);
    }
}

#[test]
fn no_status_of_any_host_call_stops_the_desk_and_what_it_could_not_keep_it_did_not_acknowledge() {
    for call in ["headers", "request_body", "respond", "shared_get", "shared_set", "property", "now_ns", "increment"] {
        for error in EVERY_ERROR {
            let mut vm = Vm::start(FakeHost::new(), &listener());
            vm.tick();
            vm.host.fail_always(call, error);
            let bearer = format!("Bearer {FLEET}");
            let fleet = [("authorization", bearer.as_str())];
            let seen = vm.ask("PUT", "/substrates/metal-fr", &fleet, &queue(1, 3).to_string());
            let _ = vm.ask("PUT", "/rollout", &fleet, r#"{"to": "passthrough"}"#);
            let _ = vm.ask("GET", "/", &fleet, "");
            vm.host.heal();
            vm.host.advance_ms(TICK_MS);
            vm.tick();
            if matches!(seen, Some((200, _))) {
                assert_eq!(depth(&vm.host, "metal-fr"), Some(3), "{call} {error}");
            }
        }
    }
}

#[test]
fn trays_that_are_rubbish_are_counted_and_written_over() {
    let mut vm = Vm::start(FakeHost::new(), &listener());
    for tray in 0..TRAYS {
        vm.host.plant(&tray_key(tray), b"rubbish");
    }
    vm.tick();
    assert_eq!(vm.host.metric_value("berth.telemetry.unreadable"), i64::from(TRAYS));
    assert_eq!(vm.put(AGENT, "metal-fr", &queue(1, 3)).0, 200);
    vm.host.advance_ms(TICK_MS);
    vm.tick();
    assert_eq!(depth(&vm.host, "metal-fr"), Some(3));
}

#[test]
fn however_many_substrates_are_reported_of_the_set_of_keys_is_fixed() {
    let host = FakeHost::new();
    let heard = Heard { readings: vec![(Signal::QueueDepth, Reading { value: 1, at_ms: 5 })], ..Heard::default() };
    for n in 0..5_000 {
        deliver(&host, &format!("substrate-{n}"), 1, &heard, None, 1_000 + n).unwrap();
    }
    assert_eq!(host.shared_keys().len(), usize::from(TRAYS));
    let largest = host.shared_keys().iter().filter_map(|key| host.shared(key)).map(|bytes| bytes.len()).max();
    assert!(largest < Some(16 << 10), "{largest:?} bytes");
}

#[test]
fn the_clock_may_jump_and_reports_go_on() {
    for jump in [-86_400_000_i64, -5_000, 86_400_000] {
        let mut vm = Vm::start(FakeHost::new(), &listener());
        vm.tick();
        assert_eq!(vm.put(AGENT, "metal-fr", &queue(1, 3)).0, 200);
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        vm.host.set_now_ms(vm.host.now_ms().checked_add_signed(jump).unwrap());
        assert_eq!(vm.put(AGENT, "metal-fr", &queue(2, 4)).0, 200, "after a jump of {jump} ms");
        for _ in 0..40 {
            vm.host.advance_ms(TICK_MS);
            vm.tick();
        }
        assert_eq!(depth(&vm.host, "metal-fr"), Some(4), "after a jump of {jump} ms");
    }
}

#[test]
fn what_is_wrong_with_the_listener_is_said_with_its_place_and_never_with_a_token() {
    let with = |writer: Value| json!({"headers_stop": true, "writers": [writer]});
    let secret = "s3cret";
    for (listener, why) in [
        (
            json!({"writers": [{"name": "a", "token": AGENT, "reports": ["*"]}]}),
            "listener.headers_stop: missing, expected `true`",
        ),
        (
            with(json!({"name": "a", "reports": ["*"]})),
            "listener.writers[0]: expected one of token, token_sha256 and san",
        ),
        (with(json!({"name": "a", "token": AGENT, "san": "x", "reports": ["*"]})), "expected one of token"),
        (
            with(json!({"name": "a", "token": secret, "reports": ["*"]})),
            "listener.writers[0].token: expected 16 to 512 visible",
        ),
        (
            with(json!({"name": "a", "token_sha256": "abc", "reports": ["*"]})),
            "listener.writers[0].token_sha256: expected 64 hex",
        ),
        (with(json!({"name": "a", "token_sha256": "+".repeat(64), "reports": ["*"]})), "expected 64 hex"),
        (with(json!({"name": "a", "token": AGENT})), "listener.writers[0]: may do nothing"),
        (with(json!({"name": "a", "token": AGENT, "reports": ["mars"]})), "listener.writers[0].reports: found `mars`"),
        (with(json!({"name": "a", "token": AGENT, "reports": ["*", "metal-fr"]})), "found `*` beside others"),
        (with(json!({"name": "", "token": AGENT, "reports": ["*"]})), "listener.writers[0].name"),
        (with(json!({"name": "a", "token": AGENT, "report": ["*"]})), "unknown field `report`"),
        (
            json!({"headers_stop": true, "writers": [{"name": "a", "token": AGENT, "reports": ["*"]},
            {"name": "b", "token_sha256": sha256(AGENT), "reports": ["*"]}]}),
            "listener.writers[1]: has the credential of writers[0]",
        ),
        (json!({"read": "everyone"}), "unknown variant `everyone`"),
        (json!({"most_body_bytes": 5}), "listener.most_body_bytes: found 5, expected 256 to"),
        (json!({"most_per_s": 0}), "listener.most_per_s: found 0"),
    ] {
        let host = FakeHost::new();
        host.set_configuration(&json!({"role": "telemetry", "policy": policy(), "listener": listener}).to_string());
        let line = Role::configure(&host).map(|_| ()).unwrap_err();
        assert!(line.contains(why), "{line}");
        assert!(!line.contains(secret) && !line.contains(AGENT), "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_known_writer_sends_stops_the_desk(
        method in "GET|HEAD|PUT|POST|[A-Z]{0,8}", path in "/(substrates/|rollout|snapshot|state)?[ -~]{0,40}",
        noise in prop::collection::vec(any::<u8>(), 1..300), fields in "[ -~]{0,200}", wrap in any::<bool>(),
    ) {
        let mut vm = Vm::start(FakeHost::new(), &listener());
        vm.tick();
        let body = if wrap { format!("{{\"sequence\": 1, \"signals\": {{{fields}}}}}") } else { String::from_utf8_lossy(&noise).into_owned() };
        let bearer = format!("Bearer {FLEET}");
        let fleet = [("authorization", bearer.as_str())];
        for path in [path.as_str(), "/substrates/metal-fr", "/rollout"] {
            if let Some((status, _)) = vm.ask(&method, path, &fleet, &body) {
                prop_assert!([200, 400, 404, 405, 409, 422, 503].contains(&status), "{status}");
            }
        }
        vm.host.plant(&tray_key(5), &noise);
        vm.host.plant("berth/1/sources", &noise);
        vm.host.plant(&recent_key(3), &[b"BRRD", &noise[..]].concat());
        let _ = vm.ask("GET", "/", &fleet, "");
        vm.host.advance_ms(TICK_MS);
        vm.tick();
        prop_assert!(SnapshotReader::default().poll(&vm.host), "it publishes on");
    }
}
