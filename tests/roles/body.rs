//! Requests that wait for the beginning of their body.

use crate::fake_host::FakeHost;
use crate::{CHAT, decision, policy, start};
use berth::filter::{Kept, MapKind, Role, Verdict};
use serde_json::{Value, json};

fn configuration() -> Value {
    let mut configuration = policy::placement(&policy::policy());
    configuration["body"] = json!({"headers_stop": true, "hold_ms": 100});
    configuration
}

/// A chat that says only in its body which model it wants, held until that comes.
fn hold(host: &FakeHost, role: &mut Role) -> Kept {
    let headers: Vec<_> = CHAT.into_iter().filter(|(name, _)| *name != "x-model").collect();
    let headers = [&headers[..], &[("content-type", "application/json")]].concat();
    host.set_headers(MapKind::RequestHeaders, &headers);
    let (verdict, kept) = role.arrive(host, 1, false);
    assert_eq!(verdict, Verdict::Held);
    kept.unwrap()
}

#[test]
fn a_body_in_the_smallest_frames_is_not_gone_over_again_with_each() {
    let host = FakeHost::new();
    let mut role = start(&host, &configuration());
    let kept = hold(&host, &mut role);
    let body = format!(r#"{{"messages": "{}", "model": "nobody-has-it"}}"#, "x".repeat(16_000));
    host.set_request_body(body.as_bytes());
    host.reset_counts();
    let mut verdict = Verdict::Held;
    let mut frames = 0;
    while verdict == Verdict::Held {
        frames += 1;
        verdict = role.on_body(&host, &kept, frames, frames == body.len());
    }
    assert_eq!((verdict, frames), (Verdict::Answered, body.len()), "{}", decision(&host));
    assert!(decision(&host).contains("reason=workload/model"), "{}", decision(&host));
    // Each time from its beginning: 600 times are 180 kB of the 16 that there are, and 16,000 times were 128 MB.
    assert!(host.count("request_body") < 600, "{}", host.count("request_body"));
}

#[test]
fn a_body_in_a_few_frames_is_decided_as_soon_as_nothing_more_is_wanted() {
    let host = FakeHost::new();
    let mut role = start(&host, &configuration());
    let kept = hold(&host, &mut role);
    let body = format!(r#"{{"messages": "{}", "model": "llama-3.3-70b"}} "#, "x".repeat(8_000));
    host.set_request_body(body.as_bytes());
    for part in 1..10 {
        assert_eq!(role.on_body(&host, &kept, body.len() * part / 10, false), Verdict::Held, "{part}");
    }
    assert_eq!(
        role.on_body(&host, &kept, body.len(), false),
        Verdict::Continue,
        "its client has not said that it ends"
    );
    assert!(decision(&host).contains("substrate=metal-fr"));
}

#[test]
fn what_came_of_a_body_is_paid_for_also_where_nobody_said_how_long_it_is() {
    let host = FakeHost::new();
    let mut configuration = configuration();
    configuration["policy"]["classes"][0]["limits"] = json!({"cost_usd": 0.0005});
    let mut role = start(&host, &configuration);
    let kept = hold(&host, &mut role);
    let body = format!(r#"{{"model": "llama-3.3-70b", "messages": "{}"}}"#, "x".repeat(60_000));
    host.set_request_body(body.as_bytes());
    assert_eq!(role.on_body(&host, &kept, body.len(), true), Verdict::Answered);
    assert!(decision(&host).contains("reason=cost/request-cost"), "{}", decision(&host));
}

#[test]
fn a_body_that_ended_without_saying_so_is_decided_when_its_trailers_come() {
    let host = FakeHost::new();
    let mut role = start(&host, &configuration());
    let kept = hold(&host, &mut role);
    let body = b"{\"model\": \"nobody-has-it\", \"messages\": ";
    host.set_request_body(body);
    assert_eq!(role.on_body(&host, &kept, body.len(), false), Verdict::Held);
    assert_eq!(role.on_body(&host, &kept, body.len(), true), Verdict::Answered, "as the edge says it of trailers");
    assert!(decision(&host).contains("reason=workload/model"), "{}", decision(&host));
}

#[test]
fn bodies_are_refused_where_the_filter_may_not_wait_for_them() {
    let mut configuration = configuration();
    configuration["body"] = json!({"hold_ms": 100});
    let host = FakeHost::new();
    host.set_configuration(&configuration.to_string());
    let line = Role::configure(&host).unwrap_err();
    assert!(line.contains("headers_stop") && line.contains("allow_on_headers_stop_iteration"), "{line}");
}
