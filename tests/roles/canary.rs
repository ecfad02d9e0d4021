//! Several policies in one VM: the current one, a candidate beside it and the one before.

use crate::fake_host::FakeHost;
use crate::{CHAT, ask, decision, policy, start};
use berth::filter::store::{self, RECALL, Switch};
use berth::filter::{MapKind, Role, Vm};
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

#[test]
fn a_candidate_is_refused_that_would_place_where_nothing_leads() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut configuration = configuration(&policy::policy());
        configuration["candidate"] = strict();
        change(&mut configuration["candidate"]["substrates"]);
        let host = FakeHost::new();
        host.set_configuration(&configuration.to_string());
        Role::configure(&host).err().unwrap_or_default()
    };
    let named = refused(&|substrates| {
        let mut new = substrates[0].clone();
        (new["name"], new["cluster"]) = (json!("metal-nl"), json!("metal-nl"));
        substrates.as_array_mut().unwrap().push(new);
    });
    assert!(named.contains("candidate.substrates[3].name: found `metal-nl`, expected a substrate of"), "{named}");
    let moved = refused(&|substrates| substrates[1]["cluster"] = json!("elsewhere"));
    assert!(moved.contains("candidate.substrates[1].cluster: found `elsewhere`, expected `onprem-de`"), "{moved}");
    assert_eq!(refused(&|substrates| drop(substrates.as_array_mut().unwrap().pop())), "", "it may have fewer");
}

#[test]
fn there_is_no_way_back_to_a_policy_whose_substrates_may_be_gone() {
    let back_from = |change: &dyn Fn(&mut Value)| {
        let (host, vm) = (FakeHost::new(), Vm::default());
        let mut next = policy::policy();
        next["policy"]["version"] = json!(4);
        change(&mut next["substrates"]);
        let mut role = start(&host, &configuration(&next));
        for policy in [policy::policy(), next] {
            host.set_configuration(&configuration(&policy).to_string());
            role = Role::configure_in(&host, &vm).unwrap();
        }
        store::throw(&host, Switch::Previous, None, host.now_ms()).unwrap();
        role.on_tick(&host);
        ask(&host, &mut role, &CHAT);
        decision(&host)
    };
    // Another cluster, or none: requests would find out whether the old one is still there.
    let moved = back_from(&|substrates| substrates[1]["cluster"] = json!("elsewhere"));
    assert!(moved.contains("test-mesh@4#"), "{moved}");
    let renamed = back_from(&|substrates| {
        let mut other = substrates[0].clone();
        (other["name"], other["cluster"]) = (json!("metal-nl"), json!("metal-nl"));
        substrates.as_array_mut().unwrap().push(other);
    });
    assert!(renamed.contains("test-mesh@3#"), "one more is no matter: {renamed}");
}

/// Whether a request was the candidate's.
fn tried(host: &FakeHost, role: &mut Role, more: &[(&str, &str)]) -> bool {
    ask(host, role, &[&CHAT[..2], &CHAT[4..], more].concat());
    decision(host).contains("test-mesh@4#")
}

#[test]
fn all_of_one_tenant_or_of_one_session_are_on_the_same_side_and_the_share_holds_over_many() {
    for (by, header) in [("tenant", "x-tenant"), ("session", "x-session")] {
        let host = FakeHost::new();
        let mut configuration = configuration(&policy::policy());
        configuration["facts"]["session"] = json!({"header": "x-session"});
        configuration["candidate"] = policy::policy();
        configuration["candidate"]["policy"]["version"] = json!(4);
        configuration["candidate"]["rollout"] = json!({"share": 0.25});
        configuration["canary"] = json!({ "by": by });
        let mut role = start(&host, &configuration);
        let mut on_trial = 0;
        for n in 0..400 {
            let name = format!("who-{n}");
            let mut sides = (0..4).map(|m| {
                let id = format!("{n}-{m}");
                tried(&host, &mut role, &[("x-request-id", &id), (header, &name)])
            });
            let first = sides.next().unwrap();
            assert!(sides.all(|side| side == first), "{by} {name}");
            on_trial += usize::from(first);
        }
        assert!((70..130).contains(&on_trial), "a quarter of 400 by {by}: {on_trial}");
    }
}

#[test]
fn requests_that_the_candidate_may_not_have_are_not_compared_with_its_own() {
    let host = FakeHost::new();
    let mut configuration = configuration(&policy::policy());
    configuration["trust_path"] = true.into();
    configuration["candidate"] = policy::policy();
    configuration["candidate"]["policy"]["version"] = json!(4);
    configuration["candidate"]["rollout"] = json!({"share": 0.5, "only": {"path_prefix": "/slow"}});
    configuration["canary"] = json!({"by": "request", "least": 20});
    let mut role = start(&host, &configuration);
    // What the candidate may have takes longer with either policy.
    let mut both = [0, 0];
    for n in 0..2_000_u32 {
        let (path, took_ms) = if n % 4 == 0 { ("/slow", 90) } else { ("/quick", 10) };
        let id = n.to_string();
        let headers = [&CHAT[..1], &CHAT[3..], &[("x-request-id", &*id), (":path", path)]].concat();
        host.set_headers(MapKind::RequestHeaders, &headers);
        role.arrive(&host, n, true);
        both[usize::from(decision(&host).contains("test-mesh@4#"))] += 1;
        host.advance_ms(took_ms);
        host.set_headers(MapKind::ResponseHeaders, &[(":status", "200")]);
        role.on_response(&host, n);
        if n % 10 == 0 {
            role.on_tick(&host);
        }
    }
    assert!(both[1] > 150, "{both:?}");
    assert_eq!(host.shared(RECALL), None, "{both:?}");
}

/// Whether a request with these headers is the candidate's, which is tried on these of its classes.
fn tried_on(classes: &[&str], only: Option<Value>, trusted: &[&str], more: &[(&str, &str)]) -> bool {
    let mut configuration = configuration(&policy::policy());
    configuration["trusted_headers"] = json!(trusted);
    configuration["facts"]["class"] = json!({"header": "x-class", "trusted": true});
    configuration["candidate"] = strict();
    configuration["candidate"]["rollout"] = json!({"share": 1, "classes": classes});
    if let Some(only) = only {
        configuration["candidate"]["rollout"]["only"] = only;
    }
    let host = FakeHost::new();
    let mut role = start(&host, &configuration);
    ask(&host, &mut role, &[&CHAT[..3], &CHAT[5..], more].concat());
    decision(&host).contains("test-mesh@4#")
}

#[test]
fn a_candidate_is_tried_on_requests_that_it_puts_into_one_of_its_classes_by_trusted_facts() {
    let (secret, chat, other) = (("x-secret", "yes"), ("x-workload", "chat"), ("x-workload", "else"));
    let all = ["x-workload", "x-secret"];
    for (classes, more, expected) in [
        // The current policy has no such class.
        (&["secret"][..], &[secret][..], true),
        (&["secret"], &[chat], false),
        (&["interactive"], &[chat], true),
        (&["interactive"], &[other], false),
        // The first class takes it.
        (&["interactive"], &[secret, chat], false),
        (&["secret", "interactive"], &[secret, chat], true),
        // What matches nothing is of the default class; what is named is what it is named.
        (&["standard"], &[other], true),
        (&["standard"], &[chat], false),
        (&["interactive"], &[other, ("x-class", "interactive")], true),
    ] {
        assert_eq!(tried_on(classes, None, &all, more), expected, "{classes:?} {more:?}");
    }
    // What callers only claim brings nobody in, nor keeps anybody out.
    assert!(!tried_on(&["secret"], None, &["x-workload"], &[secret]));
    assert!(tried_on(&["interactive"], None, &["x-workload"], &[secret, chat]));
    // Both must hold where both are written.
    let of_acme = || Some(json!({"tenant": "acme"}));
    assert!(tried_on(&["interactive"], of_acme(), &all, &[chat, ("x-tenant", "acme")]));
    assert!(!tried_on(&["interactive"], of_acme(), &all, &[chat, ("x-tenant", "globex")]));
    assert!(!tried_on(&["secret"], of_acme(), &all, &[chat, ("x-tenant", "acme")]));
}

/// The version by which a request was decided.
fn version(host: &FakeHost, role: &mut Role) -> String {
    ask(host, role, &CHAT);
    let text = decision(host);
    text.split("test-mesh@").nth(1).and_then(|rest| rest.split('#').next()).unwrap_or_default().into()
}

/// A configuration whose policy is this version.
fn versioned(version: u32) -> Value {
    let mut policy = policy::policy();
    policy["policy"]["version"] = json!(version);
    configuration(&policy)
}

#[test]
fn the_policy_before_is_the_one_that_ruled_last_also_after_a_way_back() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let mut before = Vec::new();
    for next in [1, 2, 1, 3, 3] {
        host.set_configuration(&versioned(next).to_string());
        let mut role = Role::configure_in(&host, &vm).unwrap();
        store::throw(&host, Switch::Previous, None, host.now_ms()).unwrap();
        role.on_tick(&host);
        before.push(version(&host, &mut role));
        store::throw(&host, Switch::Current, None, host.now_ms()).unwrap();
    }
    assert_eq!(before, ["1", "1", "2", "1", "1"]);
}

#[test]
fn of_many_policies_that_a_vm_has_had_the_oldest_gives_way_and_there_is_no_way_back_to_it() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let goes_back_to = |name: &str, next: u32| {
        host.set_property(&["plugin_name"], name.as_bytes());
        host.set_configuration(&versioned(next).to_string());
        let mut role = Role::configure_in(&host, &vm).unwrap();
        store::throw(&host, Switch::Previous, None, host.now_ms()).unwrap();
        role.on_tick(&host);
        version(&host, &mut role)
    };
    goes_back_to("first", 1);
    // Eight are remembered, of all filters together.
    (0..7).for_each(|n| drop(goes_back_to(&format!("f{n}"), 1)));
    assert_eq!(goes_back_to("first", 2), "1");
    (0..8).for_each(|n| drop(goes_back_to(&format!("g{n}"), 1)));
    assert_eq!(goes_back_to("first", 3), "3", "the current one goes on");
}

#[test]
fn filters_of_one_vm_are_not_each_other_s_past() {
    let (host, vm) = (FakeHost::new(), Vm::default());
    let mut roles = Vec::new();
    for (name, next) in [("inside", 1), ("outside", 2), ("inside", 3)] {
        host.set_property(&["plugin_name"], name.as_bytes());
        host.set_configuration(&versioned(next).to_string());
        roles.push(Role::configure_in(&host, &vm).unwrap());
    }
    store::throw(&host, Switch::Previous, None, host.now_ms()).unwrap();
    let before = roles.iter_mut().map(|role| {
        role.on_tick(&host);
        version(&host, role)
    });
    assert_eq!(before.collect::<Vec<_>>(), ["1", "2", "1"], "the first ones have nothing to go back to");
}

#[test]
fn where_there_is_no_way_back_the_switch_still_ends_the_trial() {
    let host = FakeHost::new();
    let mut trying = versioned(3);
    trying["candidate"] = versioned(4)["policy"].clone();
    trying["candidate"]["rollout"] = json!({"share": 1});
    let mut role = start(&host, &trying);
    assert_eq!(version(&host, &mut role), "4");
    store::throw(&host, Switch::Previous, None, host.now_ms()).unwrap();
    role.on_tick(&host);
    assert_eq!(version(&host, &mut role), "3");
}

/// A role that tries a candidate of this version on half of its requests, and what comes of these many of them.
fn trying(version: u32) -> Value {
    let mut trying = versioned(3);
    trying["candidate"] = versioned(version)["policy"].clone();
    trying["candidate"]["rollout"] = json!({"share": 0.5});
    trying["canary"] = json!({"by": "request", "least": 20});
    trying
}

/// Asks so often; what the candidate decides is never answered.
fn leave_unanswered(host: &FakeHost, role: &mut Role, of: &str, requests: u32) {
    for n in 0..requests {
        let id = format!("{n}-{of}");
        host.set_headers(MapKind::RequestHeaders, &[&CHAT[..2], &CHAT[3..], &[("x-request-id", &*id)]].concat());
        role.arrive(host, n, true);
        if !decision(host).contains(&format!("test-mesh@{of}#")) {
            host.set_headers(MapKind::ResponseHeaders, &[(":status", "200")]);
            role.on_response(host, n);
        }
        role.on_done(host, n);
        role.forget(n);
        host.advance_ms(10);
        if n % 10 == 0 {
            role.on_tick(host);
        }
    }
}

#[test]
fn a_candidate_whose_requests_are_never_answered_goes_back() {
    let host = FakeHost::new();
    let mut role = start(&host, &trying(4));
    leave_unanswered(&host, &mut role, "4", 1_000);
    assert_eq!(host.metric_value("berth.canary"), 2);
    let recall = store::recalls(&host).pop().unwrap();
    assert!(recall.why.contains("failure_ppm=1000000 current=0"), "{recall:?}");
}

#[test]
fn candidates_of_two_listeners_stay_back_both() {
    let host = FakeHost::new();
    let both = [4, 5].map(|candidate| {
        let vm = host.another_vm();
        let mut role = start(&vm, &trying(candidate));
        leave_unanswered(&vm, &mut role, &candidate.to_string(), 1_000);
        (vm, role)
    });
    for (at, (vm, mut role)) in both.into_iter().enumerate() {
        role.on_tick(&vm);
        let taken = (0..40).filter(|n| {
            let id = format!("after-{n}");
            ask(&vm, &mut role, &[&CHAT[..2], &CHAT[3..], &[("x-request-id", &*id)]].concat());
            !decision(&vm).contains("test-mesh@3#")
        });
        assert_eq!(taken.count(), 0, "of candidate {at}");
    }
}

#[test]
fn a_tenant_s_share_is_one_whichever_policy_decides() {
    let placed = |candidate: bool| {
        let mut current = policy::policy();
        for substrate in current["substrates"].as_array_mut().unwrap() {
            substrate["capacity"] = json!({"concurrency": 64, "tenant_share": {"acme": 0.25}});
        }
        let mut configuration = configuration(&current);
        if candidate {
            current["policy"]["version"] = json!(4);
            current["rollout"] = json!({"share": 0.5});
            configuration["candidate"] = current;
            configuration["canary"] = json!({"by": "request"});
        }
        let host = FakeHost::new();
        let mut role = start(&host, &configuration);
        let mut sides = [0, 0];
        for n in 0..200 {
            let id = format!("{n}");
            ask(&host, &mut role, &[&CHAT[..2], &CHAT[3..], &[("x-request-id", &*id)]].concat());
            let decision = decision(&host);
            if decision.contains("substrate=") {
                sides[usize::from(decision.contains("test-mesh@4#"))] += 1;
            }
        }
        sides
    };
    let ([alone, _], both) = (placed(false), placed(true));
    assert!(alone > 0 && both[1] > 0, "{both:?}");
    assert_eq!(both[0] + both[1], alone, "{both:?}");
}
