//! What a request's headers may and may not do.

use crate::fake_host::FakeHost;
use crate::{CHAT, ask, decision, policy, start};
use berth::filter::{MapKind, Verdict};
use serde_json::{Value, json};

/// Where data that are special may go is less than where others may; both facts are believed.
fn special() -> Value {
    let mut policy = policy::policy();
    policy["envelopes"] = json!([
        {"name": "acme", "applies_to": {"tenants": ["acme"]}, "permit": {"jurisdictions": ["EU", "US"]}, "spillover": "any"},
        {"name": "special", "applies_to": {"data": ["special"]}, "permit": {"jurisdictions": ["EU"]}, "spillover": "any"}
    ]);
    let mut configuration = policy::placement(&policy);
    configuration["facts"]["data"] = json!({"header": "x-data-class", "trusted": true});
    configuration["facts"]["residency"] = json!({"header": "x-residency"});
    configuration
}

/// Where the request goes, if anywhere.
fn placed(configuration: &Value, headers: &[(&str, &str)]) -> Option<String> {
    let host = FakeHost::new();
    let mut role = start(&host, configuration);
    ask(&host, &mut role, headers);
    host.header(MapKind::RequestHeaders, "x-placement-cluster")
}

#[test]
fn a_second_value_of_any_header_never_adds_a_candidate() {
    let asked: [(&str, &[&str]); 6] = [
        ("x-tenant", &["acme", "nobody", ""]),
        ("x-data-class", &["special", "public", ""]),
        ("x-model", &["llama-3.3-70b", "unknown"]),
        ("x-workload", &["chat", "standard", "none"]),
        ("x-residency", &["FR", "US", "nowhere"]),
        ("x-other", &["a", "b"]),
    ];
    let (mut compared, mut refused) = (0, 0);
    let special = special();
    for (name, values) in asked {
        for value in values {
            let base: Vec<_> = [&CHAT[..], &[("x-data-class", "special")]].concat();
            let base: Vec<_> = base.into_iter().filter(|(n, _)| *n != name).chain([(name, *value)]).collect();
            let before = placed(&special, &base);
            for more in values.iter().filter(|more| *more != value) {
                for at in [0, base.len()] {
                    let mut both = base.clone();
                    both.insert(at, (name, *more));
                    let after = placed(&special, &both);
                    assert!(after.is_none() || after == before, "{name}: {value} and {more}: {before:?} -> {after:?}");
                    compared += 1;
                    refused += usize::from(after.is_none());
                }
            }
        }
    }
    assert!(refused >= 50 && compared - refused == 4, "{refused} of {compared}: the one nobody asks for is no matter");
}

#[test]
fn a_request_that_contradicts_itself_is_told_so_and_its_record_says_it() {
    let host = FakeHost::new();
    let mut configuration = special();
    configuration["replay"] = true.into();
    let mut role = start(&host, &configuration);
    let twice = [&CHAT[..], &[("x-data-class", "public"), ("x-data-class", "special")]].concat();
    assert_eq!(ask(&host, &mut role, &twice), Verdict::Answered);
    assert!(decision(&host).contains("refused=403, reason=governance/contradicted"), "{}", decision(&host));
    let record = String::from_utf8(host.filter_state("placement_replay").unwrap()).unwrap();
    assert!(record.split(';').any(|member| member == "c"), "{record}");
}

const STEERING: [(&str, &str); 3] = [
    ("x-envoy-upstream-rq-timeout-ms", "120000"),
    ("x-envoy-max-retries", "7"),
    ("x-envoy-upstream-rq-timeout-alt-response", "1"),
];

#[test]
fn the_router_s_headers_are_the_plan_s_where_there_is_one_and_the_client_s_elsewhere() {
    for (mode, ours) in [("enforce", true), ("shadow", false), ("passthrough", false)] {
        let host = FakeHost::new();
        let mut configuration = policy::placement(&policy::policy());
        (configuration["mode"], configuration["attach"]) = (mode.into(), "full".into());
        let mut role = start(&host, &configuration);
        let forged =
            [&CHAT[..], &STEERING[..], &[("x-placement-cluster", "provider-us"), ("x-envoy-attempt-count", "2")]];
        ask(&host, &mut role, &forged.concat());
        for (name, value) in STEERING {
            let there = host.header(MapKind::RequestHeaders, name);
            assert_eq!(there.as_deref() == Some(value), !ours, "{mode}: {name} is {there:?}");
        }
        let alternative = host.header(MapKind::RequestHeaders, STEERING[2].0);
        assert_eq!(alternative.is_none(), ours, "{mode}");
        let cluster = host.header(MapKind::RequestHeaders, "x-placement-cluster");
        assert_eq!(cluster.as_deref(), ours.then_some("metal-fr"), "{mode}: what is reserved is so in every mode");
        assert_eq!(host.header(MapKind::RequestHeaders, "x-envoy-attempt-count"), None, "{mode}");
    }
}

#[test]
fn the_host_is_a_header_like_others_in_either_version_of_http() {
    let mut policy = policy::policy();
    policy["classes"][0]["match"] = json!({"header": "host", "is": "chat.example"});
    let mut configuration = policy::placement(&policy);
    configuration["trusted_headers"] = json!(["host"]);
    configuration["facts"]["zone"] = json!({"header": "host"});
    for name in [":authority", "host"] {
        let host = FakeHost::new();
        let mut role = start(&host, &configuration);
        ask(&host, &mut role, &[&CHAT[..], &[(name, "chat.example")]].concat());
        assert!(decision(&host).contains("class=interactive,"), "{name}: {}", decision(&host));
    }
}
