//! Both roles against a host without a proxy: what they ask of it, and that nothing it answers can stop them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "support/fake_host.rs"]
mod fake_host;
#[path = "support/policy.rs"]
mod policy;

#[path = "roles/attempts.rs"]
mod attempts;
#[path = "roles/body.rs"]
mod body;
#[path = "roles/canary.rs"]
mod canary;
#[path = "roles/headers.rs"]
mod headers;

use berth::filter::store::{self, Switch};
use berth::filter::{Host, HostError, MapKind, Role, Verdict, Vm};
use fake_host::{EVERY_ERROR, FakeHost};
use serde_json::Value;

const CHAT: [(&str, &str); 6] = [
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    ("x-request-id", "4f7c0e9a-0000-4000-8000-000000000001"),
    ("x-tenant", "acme"),
    ("x-workload", "chat"),
    ("x-model", "llama-3.3-70b"),
];

fn start(host: &FakeHost, configuration: &Value) -> Role {
    host.set_configuration(&configuration.to_string());
    Role::configure(host).unwrap_or_else(|line| panic!("{line}"))
}

fn ask(host: &FakeHost, role: &mut Role, headers: &[(&str, &str)]) -> Verdict {
    host.set_headers(MapKind::RequestHeaders, headers);
    role.on_request(host)
}

fn decision(host: &FakeHost) -> String {
    host.filter_state("placement").map(|d| String::from_utf8(d).unwrap()).unwrap_or_default()
}

/// Has a telemetry role in another VM of the same process pull and publish a healthy picture.
fn publish(host: &FakeHost) -> (FakeHost, Role) {
    let vm = host.another_vm();
    let mut role = start(&vm, &policy::telemetry(&policy::policy()));
    vm.advance_ms(1_000);
    role.on_tick(&vm);
    for call in vm.take_calls() {
        let report = format!(r#"{{"substrate":"{}","signals":{{"queue_depth":0}}}}"#, call.cluster);
        let size = vm.answer(&[(":status", "200")], report.as_bytes());
        role.on_call(&vm, call.token, size);
    }
    vm.advance_ms(50);
    role.on_tick(&vm);
    (vm, role)
}

#[test]
fn a_decided_request_carries_its_cluster_and_leaves_its_decision_in_filter_state() {
    let host = FakeHost::new();
    let mut role = start(&host, &policy::placement(&policy::policy()));
    assert_eq!(ask(&host, &mut role, &CHAT), Verdict::Continue);
    assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster").as_deref(), Some("metal-fr"));
    let decision = decision(&host);
    assert!(decision.contains("substrate=metal-fr") && decision.contains("fresh=stale"), "{decision}");
    // Counted in memory: the host is told on the tick.
    let placed = "berth.decisions.class.interactive.substrate.metal-fr.outcome.placed";
    assert_eq!(host.metric_value(placed), 0);
    role.on_tick(&host);
    role.on_tick(&host);
    assert_eq!(host.metric_value(placed), 1);
    assert_eq!(host.metric_value("berth.binding.dimension.sovereignty.reason.jurisdiction"), 1);
}

#[test]
fn the_request_path_makes_few_host_calls_and_reads_no_shared_data() {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["decision_upstream"] = false.into();
    let mut role = start(&host, &configuration);
    host.reset_counts();
    ask(&host, &mut role, &CHAT);
    let counts: Vec<_> = host.counts().into_iter().collect();
    // The budget of simple mode: one read, three writes (state, cluster, deadline); what is counted is told on the tick.
    assert_eq!(counts, [("headers", 1), ("set_filter_state", 1), ("set_header", 2)]);
}

#[test]
fn a_new_root_reads_the_picture_when_it_is_configured_not_at_its_first_tick() {
    let host = FakeHost::new();
    let _telemetry = publish(&host);
    let mut role = start(&host, &policy::placement(&policy::policy()));
    ask(&host, &mut role, &CHAT);
    assert!(decision(&host).contains("fresh=live"), "{}", decision(&host));
}

#[test]
fn a_picture_is_decoded_once_and_then_only_its_mark_is_read() {
    let host = FakeHost::new();
    let _telemetry = publish(&host);
    let mut role = start(&host, &policy::placement(&policy::policy()));
    ask(&host, &mut role, &CHAT);
    role.on_tick(&host);
    host.reset_counts();
    for _ in 0..5 {
        role.on_tick(&host);
    }
    // A tick reads the switch, the mark, and its own slot in order to write it.
    assert_eq!((host.count("shared_get"), host.count("shared_set")), (15, 5));
}

#[test]
fn a_picture_that_cannot_be_read_is_counted_once_and_the_last_good_one_ages() {
    let host = FakeHost::new();
    let (vm, mut telemetry) = publish(&host);
    let mut role = start(&host, &policy::placement(&policy::policy()));
    role.on_tick(&host);
    let shown = |what: &str| host.metric_value(&format!("berth.snapshot.{what}"));
    let (epoch, age_ms) = (shown("epoch"), shown("age_ms"));
    vm.advance_ms(1_000);
    telemetry.on_tick(&vm);
    let mut bytes = host.shared(store::SNAPSHOT).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    host.plant(store::SNAPSHOT, &bytes);
    (0..3).for_each(|_| role.on_tick(&host));
    assert_eq!((shown("refused"), shown("epoch"), shown("age_ms")), (1, epoch, age_ms + 1_000));
    ask(&host, &mut role, &CHAT);
    assert!(decision(&host).contains("fresh=live"), "{}", decision(&host));
}

#[test]
fn without_the_deadline_header_the_route_s_own_times_rule_and_only_a_single_choice_can_do_without() {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["deadline_header"] = false.into();
    let mut role = start(&host, &configuration);
    ask(&host, &mut role, &CHAT);
    assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster").as_deref(), Some("metal-fr"));
    assert_eq!(host.header(MapKind::RequestHeaders, "x-envoy-upstream-rq-timeout-ms"), None);
    configuration["attach"] = "full".into();
    host.set_configuration(&configuration.to_string());
    let line = Role::configure(&host).map(|_| ()).unwrap_err();
    assert!(line.contains("deadline_header: found `false`, expected it with `attach: simple`"), "{line}");
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_in_one_line_with_its_place_and_what_was_expected() {
    let policy = policy::policy().to_string();
    for (text, said) in [
        ("[]", "configuration: found `an empty list`, expected a JSON object"),
        ("{\"role\": \"a\nb\"}", "configuration: line 1:12: BTH0003 syntax"),
        ("{", "configuration: line 1:2: BTH0003 syntax at the document: found `the end`"),
        ("{}", "role: missing, expected one of placement, telemetry"),
        (r#"{"role": "both"}"#, "role: found `both`, expected one of placement, telemetry"),
        (r#"{"role": "placement", "role": "placement"}"#, "duplicate-key"),
        (r#"{"role": "placement", "attach": 1}"#, "attach: found `1`, expected one of simple, full, lanes"),
        (r#"{"role": "placement", "refresh_ms": "x"}"#, "refresh_ms: found `x`, expected a whole number from 0 to"),
        (r#"{"role": "placement", "refresh_ms": 1.5}"#, "refresh_ms: found `1.5`, expected a whole number from 0 to"),
        (r#"{"role": "placement", "refresh_ms": -1}"#, "refresh_ms: found `-1`, expected a whole number from 0 to"),
        (r#"{"role": "placement", "mirror": "yes"}"#, "mirror: found `yes`, expected true or false"),
        (r#"{"role": "placement", "keys": [1]}"#, "keys: found `1`, expected a list of texts"),
        (r#"{"role": "placement", "hops": []}"#, "hops: found `an empty list`, expected a JSON object"),
        (r#"{"role": "placement", "facts": {"tenant": {}}}"#, "facts.tenant.header: missing, expected the name"),
        (
            r#"{"role": "placement", "facts": {"tenant": {"property": "a"}}}"#,
            "facts.tenant.property: found `a`, expected a",
        ),
        (
            r#"{"role": "placement", "facts": {"tenant": {"property": ["a"], "header": "a"}}}"#,
            "facts.tenant.property: found beside `header`, expected one of them",
        ),
        (r#"{"role": "placement", "lanes": [{"cluster": "a"}]}"#, "lanes[0].substrates: missing, expected a list"),
        (r#"{"role": "placement", "canary": {"by": 1}}"#, "canary.by: found `1`, expected one of tenant, session"),
        (r#"{"role": "placement", "refreshms": 1}"#, "unknown field `refreshms`, expected one of `role`"),
        (r#"{"role": "placement"}"#, "policy: missing, expected a policy document"),
    ] {
        let host = FakeHost::new();
        host.set_configuration(text);
        let line = Role::configure(&host).map(|_| ()).unwrap_err();
        assert!(line.contains(said) && line.lines().count() == 1, "{text}: {line}");
    }
    for path in ["[]", r#"["a", ""]"#] {
        let host = FakeHost::new();
        let facts = format!(r#"{{"tenant": {{"property": {path}}}}}"#);
        host.set_configuration(&format!(r#"{{"role": "placement", "facts": {facts}, "policy": {policy}}}"#));
        let line = Role::configure(&host).map(|_| ()).unwrap_err();
        assert!(line.contains("facts.tenant.property: found [") && line.contains("expected a list of names"), "{line}");
    }
    // What says nothing is as good as absent.
    let host = FakeHost::new();
    host.set_configuration(&format!(r#"{{"role": "placement", "keys": null, "policy": {policy}}}"#));
    assert!(Role::configure(&host).is_ok());
}

#[test]
fn a_fact_by_a_property_is_asked_for_once_and_is_no_fact_unless_it_is_a_text() {
    let mut configuration = policy::placement(&policy::policy());
    configuration["facts"]["tenant"] = serde_json::json!({"property": ["metadata", "tenant"], "trusted": true});
    let host = FakeHost::new();
    let mut role = start(&host, &configuration);
    // The header says nothing any more.
    assert!(matches!(ask(&host, &mut role, &CHAT), Verdict::Answered));
    host.set_property(&["metadata", "tenant"], b"acme");
    host.reset_counts();
    assert_eq!(ask(&host, &mut role, &CHAT), Verdict::Continue);
    assert_eq!(host.counts()["property"], 1);
    assert!(decision(&host).contains("substrate=metal-fr"), "{}", decision(&host));
    host.set_property(&["metadata", "tenant"], &4096f64.to_le_bytes());
    assert!(matches!(ask(&host, &mut role, &CHAT), Verdict::Answered));
}

#[test]
fn shadow_writes_down_and_leaves_the_request_alone() {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["mode"] = "shadow".into();
    let mut role = start(&host, &configuration);
    assert_eq!(ask(&host, &mut role, &CHAT), Verdict::Continue);
    assert!(decision(&host).contains("substrate=metal-fr"));
    assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster"), None);
    ask(&host, &mut role, &[(":path", "/"), ("x-tenant", "nobody")]);
    assert!(host.responses().is_empty(), "a shadow refuses nobody");
}

#[test]
fn passthrough_decides_nothing_but_still_removes_forged_headers() {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["mode"] = "passthrough".into();
    let mut role = start(&host, &configuration);
    ask(&host, &mut role, &[(":path", "/"), ("x-tenant", "acme"), ("x-placement-cluster", "provider-us")]);
    assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster"), None);
    assert_eq!(host.filter_state("placement"), None);
}

#[test]
fn the_switch_makes_every_filter_decide_nothing_on_its_next_tick_and_outlives_a_reload() {
    let host = FakeHost::new();
    let configuration = policy::placement(&policy::policy());
    let mut role = start(&host, &configuration);
    store::throw(&host, Switch::Passthrough, None, host.now_ms()).unwrap();
    ask(&host, &mut role, &CHAT);
    assert!(host.header(MapKind::RequestHeaders, "x-placement-cluster").is_some(), "not before the tick");
    role.on_tick(&host);
    let forged = [&CHAT[..], &[("x-placement-cluster", "provider-us")]].concat();
    let mut reloaded = start(&host.another_vm(), &configuration);
    let elsewhere = host.another_vm();
    for (host, role) in [(&host, &mut role), (&elsewhere, &mut reloaded)] {
        assert_eq!(ask(host, role, &forged), Verdict::Continue);
        assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster"), None);
    }
    store::throw(&host, Switch::Current, None, host.now_ms()).unwrap();
    role.on_tick(&host);
    ask(&host, &mut role, &CHAT);
    assert!(host.header(MapKind::RequestHeaders, "x-placement-cluster").is_some());
}

#[test]
fn a_refusal_answers_exactly_once_and_names_no_substrate() {
    let host = FakeHost::new();
    let mut role = start(&host, &policy::placement(&policy::policy()));
    assert_eq!(ask(&host, &mut role, &[(":path", "/"), ("x-tenant", "nobody")]), Verdict::Answered);
    let responses = host.responses();
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].status, 403);
    let body = String::from_utf8(responses[0].body.clone()).unwrap();
    assert!(body.contains("governance/no-envelope"), "{body}");
    assert!(["metal-fr", "onprem-de", "provider-us"].iter().all(|name| !body.contains(name)), "{body}");
}

#[test]
fn a_refusal_tells_clients_of_substrates_only_where_that_is_switched_on() {
    for (switched_on, told) in [(None, false), (Some(true), true)] {
        let host = FakeHost::new();
        let mut configuration = policy::placement(&policy::policy());
        configuration["decision_response"] = switched_on.into();
        let mut role = start(&host, &configuration);
        ask(&host, &mut role, &[(":path", "/"), ("x-tenant", "nobody")]);
        let headers = host.responses().remove(0).headers;
        assert_eq!(headers.iter().any(|(name, _)| name == "x-placement-decision"), told);
    }
}

#[test]
fn who_is_not_known_is_told_the_reason_of_a_refusal_and_no_names() {
    for (trusted, names) in [(true, true), (false, false)] {
        let host = FakeHost::new();
        let mut configuration = policy::placement(&policy::policy());
        configuration["facts"]["tenant"]["trusted"] = trusted.into();
        let mut role = start(&host, &configuration);
        ask(&host, &mut role, &[(":path", "/"), ("x-tenant", "nobody")]);
        let headers = host.responses().remove(0).headers;
        let told = &headers.iter().find(|(name, _)| name == "x-placement-decision").unwrap().1;
        assert!(told.contains("refused=403, reason=governance/no-envelope"), "{told}");
        for word in ["class=", "policy=", "epoch=", "binding="] {
            assert_eq!(told.contains(word), names, "{told}");
        }
        // The log has all of it.
        assert!(decision(&host).contains("policy="), "{}", decision(&host));
    }
}

#[test]
fn a_decision_is_never_sent_to_a_provider() {
    let host = FakeHost::new();
    let mut role = start(&host, &policy::placement(&policy::policy()));
    ask(&host, &mut role, &[(":path", "/"), ("x-tenant", "initech"), ("x-workload", "chat")]);
    assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster").as_deref(), Some("provider-us"));
    assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-decision"), None);
}

#[test]
fn no_status_of_any_host_call_stops_a_role() {
    let calls = FakeHost::new();
    let every_call = [
        "headers",
        "set_header",
        "remove_header",
        "set_filter_state",
        "respond",
        "define_metric",
        "increment",
        "record",
        "shared_get",
        "shared_set",
        "call",
        "call_body",
        "set_tick_ms",
        "plugin_configuration",
        "property",
        "request_body",
    ];
    drop(calls);
    for configuration in [policy::placement(&policy::policy()), policy::telemetry(&policy::policy())] {
        for call in every_call {
            for error in EVERY_ERROR {
                for from_the_start in [true, false] {
                    live_through(&configuration, call, error, from_the_start);
                }
            }
        }
    }
}

/// A whole life of a role during which one kind of call always fails.
fn live_through(configuration: &Value, call: &str, error: HostError, from_the_start: bool) {
    let host = FakeHost::new();
    host.set_configuration(&configuration.to_string());
    if from_the_start {
        host.fail_always(call, error);
    }
    let Ok(mut role) = Role::configure(&host) else { return };
    host.fail_always(call, error);
    for _ in 0..3 {
        host.advance_ms(300);
        role.on_tick(&host);
        for sent in host.take_calls() {
            let size = host.answer(&[(":status", "200")], br#"{"substrate":"metal-fr","signals":{"queue_depth":1}}"#);
            role.on_call(&host, sent.token, size);
        }
        role.on_call(&host, 4_711, 10);
        ask(&host, &mut role, &CHAT);
        ask(&host, &mut role, &[(":path", "/"), ("x-tenant", "nobody"), ("x-placement-cluster", "x")]);
    }
    let _ = host.now_ns();
}

/// The policy with a budget for acme: a dollar cent a minute, which is ninety-seven chats.
fn with_budget() -> Value {
    let mut policy = policy::policy();
    policy["budgets"] = serde_json::json!([{"tenant": "acme", "window_s": 60, "most_usd": 0.01}]);
    policy::placement(&policy)
}

#[test]
fn what_a_tenant_spends_in_one_vm_counts_in_all_of_them_after_a_tick_and_only_within_its_window() {
    let host = FakeHost::new();
    let mut vms: Vec<(FakeHost, Role)> = (0..2)
        .map(|_| {
            let vm = host.another_vm();
            let role = start(&vm, &with_budget());
            (vm, role)
        })
        .collect();
    let mut placed = 0;
    for n in 0..400 {
        let (vm, role) = &mut vms[n % 2];
        placed += usize::from(ask(vm, role, &CHAT) == Verdict::Continue);
        vms.iter_mut().for_each(|(vm, role)| role.on_tick(vm));
        host.advance_ms(10);
    }
    // Either VM alone would have placed as many.
    assert!((90..=100).contains(&placed), "{placed} placed");
    let (vm, role) = &mut vms[0];
    assert_eq!(ask(vm, role, &CHAT), Verdict::Answered);
    assert!(decision(vm).contains("refused=429, reason=cost/tenant-budget"), "{}", decision(vm));

    // A VM that begins now knows it from its first request on; one more window, and it is forgotten.
    let late = host.another_vm();
    let mut role = start(&late, &with_budget());
    assert_eq!(ask(&late, &mut role, &CHAT), Verdict::Answered);
    host.advance_ms(60_000);
    role.on_tick(&late);
    assert_eq!(ask(&late, &mut role, &CHAT), Verdict::Continue);
}

#[test]
fn a_ledger_that_cannot_be_read_or_written_costs_exactness_and_never_a_request() {
    for rubbish in [&b""[..], b"x", &[255; 32], &[0; 4_000]] {
        let host = FakeHost::new();
        let mut role = start(&host, &with_budget());
        host.plant(store::LEDGER, rubbish);
        role.on_tick(&host);
        assert_eq!(ask(&host, &mut role, &CHAT), Verdict::Continue, "{rubbish:?}");
    }
    let host = FakeHost::new();
    let mut role = start(&host, &with_budget());
    host.fail_always("shared_set", HostError::CasMismatch);
    let mut placed = 0;
    for _ in 0..200 {
        placed += usize::from(ask(&host, &mut role, &CHAT) == Verdict::Continue);
        role.on_tick(&host);
        host.advance_ms(10);
    }
    assert!((90..=100).contains(&placed), "{placed}: what is not shared still counts here");
}

#[test]
fn without_budgets_the_ledger_is_not_looked_at() {
    let host = FakeHost::new();
    let mut role = start(&host, &policy::placement(&policy::policy()));
    role.on_tick(&host);
    assert!(!host.shared_keys().contains(&store::LEDGER.to_string()));
}

/// The slots that somebody has.
fn slots(host: &FakeHost) -> Vec<String> {
    let taken = |key: &String| key.contains("/slot/") && host.shared(key).is_some_and(|bytes| !bytes.is_empty());
    host.shared_keys().into_iter().filter(taken).collect()
}

#[test]
fn only_who_decides_has_a_slot_and_who_has_left_or_decides_no_more_gives_it_back() {
    let host = FakeHost::new();
    let configuration = policy::placement(&policy::policy());
    let (mut idle, mut replaced, mut role) =
        (start(&host, &configuration), start(&host, &configuration), start(&host, &configuration));
    let mut tick = |host: &FakeHost, replaced: &mut Role, role: &mut Role| {
        [&mut idle, replaced, role].into_iter().for_each(|role| role.on_tick(host));
    };
    ask(&host, &mut replaced, &CHAT);
    ask(&host, &mut role, &CHAT);
    tick(&host, &mut replaced, &mut role);
    assert_eq!(slots(&host), [store::slot_key(0), store::slot_key(1)], "and none for a thread that is never asked");
    for _ in 0..40 {
        host.advance_ms(1_000);
        ask(&host, &mut role, &CHAT);
        tick(&host, &mut replaced, &mut role);
    }
    assert_eq!(slots(&host), [store::slot_key(1)], "nobody asks the one that was replaced");
    ask(&host, &mut replaced, &CHAT);
    tick(&host, &mut replaced, &mut role);
    assert_eq!(slots(&host).len(), 2, "unless a connection from before does");
    role.leave(&host);
    assert_eq!(slots(&host), [store::slot_key(0)]);
}

#[test]
fn a_configuration_that_is_replaced_has_no_slot_from_the_next_one_s_first_tick_on_though_nobody_told_it() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let start = |name: &str| {
        host.set_property(&["plugin_name"], name.as_bytes());
        Role::configure_in(&host, &vm).unwrap()
    };
    host.set_configuration(&policy::placement(&policy::policy()).to_string());
    let (mut before, mut beside) = (start("one"), start("another"));
    for role in [&mut before, &mut beside] {
        ask(&host, role, &CHAT);
        role.on_tick(&host);
    }
    let mut after = start("one");
    assert_eq!(slots(&host).len(), 2, "it may only be tried out");
    after.on_tick(&host);
    assert_eq!(slots(&host), [store::slot_key(1)], "another filter of the VM keeps its own");
    // It has ended, or is not asked any more; or it is.
    before.on_tick(&host);
    assert_eq!(slots(&host), [store::slot_key(1)]);
    ask(&host, &mut before, &CHAT);
    for role in [&mut after, &mut before, &mut beside] {
        role.on_tick(&host);
    }
    assert_eq!(slots(&host).len(), 2, "where a connection from before still asks it");
    ask(&host, &mut after, &CHAT);
    after.on_tick(&host);
    assert_eq!(slots(&host).len(), 3);
}

#[test]
fn of_many_filters_in_a_vm_the_last_eight_free_the_slot_of_the_configuration_that_they_replace() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    host.set_configuration(&policy::placement(&policy::policy()).to_string());
    let tells = |name: &str| {
        host.set_property(&["plugin_name"], name.as_bytes());
        let mut role = Role::configure_in(&host, &vm).unwrap();
        ask(&host, &mut role, &CHAT);
        role.on_tick(&host);
        role
    };
    let names: Vec<String> = (0..8).map(|n| format!("f{n}")).collect();
    // Each in another order than they came, and twice: none gives way to itself.
    let mut now: Vec<Role> = names.iter().map(|name| tells(name)).collect();
    for _ in 0..2 {
        let next = names.iter().rev().map(|name| tells(name)).collect();
        // Nobody tells the ones before that they end.
        core::mem::replace(&mut now, next).into_iter().for_each(core::mem::forget);
        assert_eq!(slots(&host).len(), 8);
    }
    let ninth = tells("f8");
    let _tenth = (ninth, tells("f7"));
    assert_eq!(slots(&host).len(), 10, "the oldest of nine is left to expire");
}

#[test]
fn a_worker_without_a_slot_serves_and_is_counted() {
    let host = FakeHost::new();
    let mut role = start(&host, &policy::placement(&policy::policy()));
    ask(&host, &mut role, &CHAT);
    host.fail_always("shared_set", HostError::CasMismatch);
    for _ in 0..3 {
        role.on_tick(&host);
        host.advance_ms(100);
        assert_eq!(ask(&host, &mut role, &CHAT), Verdict::Continue);
    }
    assert_eq!(host.metric_value("berth.unslotted"), 2, "told with the tick that follows");
}
