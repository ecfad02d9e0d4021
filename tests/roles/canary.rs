//! Several policies in one VM: the current one, a candidate beside it and the one before.

use crate::fake_host::FakeHost;
use crate::{CHAT, ask, decision, policy, start};
use berth::filter::store::{self, Switch};
use berth::filter::{Role, Vm};
use serde_json::{Value, json};

/// A configuration that believes the header which only the strict policy asks for.
fn configuration(policy: &Value) -> Value {
    let mut configuration = policy::placement(policy);
    configuration["trusted_headers"] = json!(["x-workload", "x-secret"]);
    configuration
}

/// The policy of the tests as its next version: what a header calls secret is a class of its own, which an envelope
/// keeps away from the best substrate.
fn strict() -> Value {
    let mut policy = policy::policy();
    policy["policy"]["version"] = json!(4);
    let mut secret = policy["classes"][0].clone();
    secret["name"] = json!("secret");
    secret["match"] = json!({"header": "x-secret", "is": "yes"});
    secret["home"] = json!(["metal-fr", "onprem-de"]);
    policy["classes"].as_array_mut().unwrap().insert(0, secret);
    let away = json!({"name": "away", "applies_to": {"classes": ["secret"]}, "permit": {},
        "forbid": {"substrates": ["metal-fr"]}, "spillover": "any"});
    policy["envelopes"].as_array_mut().unwrap().push(away);
    policy["rollout"] = json!({"share": 1, "only": {"header": "x-secret", "is": "yes"}});
    policy
}

fn secret() -> Vec<(&'static str, &'static str)> {
    [&CHAT[..], &[("x-secret", "yes")]].concat()
}

#[test]
fn one_document_decides_the_same_as_the_policy_as_the_candidate_and_as_the_one_before() {
    let decided = |host: &FakeHost, role: &mut Role| {
        ask(host, role, &secret());
        decision(host)
    };
    let host = FakeHost::new();
    let ruling = decided(&host, &mut start(&host, &configuration(&strict())));
    assert!(ruling.contains("class=secret") && ruling.contains("substrate=onprem-de"), "{ruling}");

    let host = FakeHost::new();
    let mut trying = configuration(&policy::policy());
    trying["candidate"] = strict();
    let mut role = start(&host, &trying);
    assert_eq!(decided(&host, &mut role), ruling, "as the candidate");
    ask(&host, &mut role, &CHAT);
    assert!(decision(&host).contains("test-mesh@3#"), "the rest is not the candidate's: {}", decision(&host));

    let (host, vm) = (FakeHost::new(), Vm::default());
    for policy in [strict(), policy::policy()] {
        host.set_configuration(&configuration(&policy).to_string());
        role = Role::configure_in(&host, &vm).unwrap();
    }
    store::throw(&host, Switch::Previous, None, host.now_ms()).unwrap();
    role.on_tick(&host);
    assert_eq!(decided(&host, &mut role), ruling, "as the one before");
}

#[test]
fn headers_of_all_policies_are_bounded_together() {
    let asking_for = |headers: std::ops::Range<usize>| {
        let mut policy = policy::policy();
        policy["policy"]["version"] = json!(headers.start + 1);
        let any: Vec<_> = headers.map(|n| json!({"header": format!("x-h{n}"), "is": "yes"})).collect();
        policy["classes"][0]["match"] = json!({ "any": any });
        policy["rollout"] = json!({"share": 1});
        policy
    };
    let (host, vm) = (FakeHost::new(), Vm::default());
    let mut both = configuration(&asking_for(0..40));
    both["candidate"] = asking_for(40..70);
    host.set_configuration(&both.to_string());
    let refused = Role::configure_in(&host, &vm).unwrap_err();
    assert!(
        refused.contains("candidate: with its predicates, 71 headers are looked at, expected at most 64"),
        "{refused}"
    );

    // Blind, the policy before would not bind what it was written for: the current one goes on.
    for policy in [asking_for(0..40), asking_for(40..70)] {
        host.set_configuration(&configuration(&policy).to_string());
        let mut role = Role::configure_in(&host, &vm).unwrap();
        store::throw(&host, Switch::Previous, None, host.now_ms()).unwrap();
        role.on_tick(&host);
        ask(&host, &mut role, &CHAT);
        let version = policy["policy"]["version"].to_string();
        assert!(decision(&host).contains(&format!("test-mesh@{version}#")), "{}", decision(&host));
    }
}
