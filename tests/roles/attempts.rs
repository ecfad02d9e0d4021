//! What the router and the next hop are told of a plan.

use crate::fake_host::FakeHost;
use crate::{CHAT, ask, policy, start};
use berth::filter::{MapKind, Verdict};
use serde_json::{Value, json};

const PEER: &str = "spiffe://mesh/hop";
/// Long enough for three attempts.
const DEADLINE_MS: u32 = 60_000;
const BUDGET: &str = "x-placement-budget";
const PER_TRY: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

/// A class whose plans are of three attempts, with everybody to be had.
fn configuration(attach: &str) -> Value {
    let mut policy = policy::policy();
    policy["classes"][0]["attempts"] = json!({"most": 3, "repeatable": true});
    policy["classes"][0]["deadline_ms"] = DEADLINE_MS.into();
    let mut configuration = policy::placement(&policy);
    configuration["attach"] = attach.into();
    configuration["facts"]["streaming"] = json!({"header": "x-stream"});
    configuration["hops"] = json!({"tell": true, "trust": [PEER]});
    configuration
}

/// What of a request's headers is there once it was placed for a tenant that may go anywhere.
fn sent(configuration: &Value, more: &[(&str, &str)], header: &str) -> Option<String> {
    let host = FakeHost::new();
    host.set_property(&["connection", "uri_san_peer_certificate"], PEER.as_bytes());
    let mut role = start(&host, configuration);
    let headers = [&CHAT[..3], &[("x-tenant", "initech")], &CHAT[4..], more].concat();
    assert_eq!(ask(&host, &mut role, &headers), Verdict::Continue);
    host.header(MapKind::RequestHeaders, header)
}

#[test]
fn three_hops_try_no_more_often_than_one() {
    for (attach, told, left) in [
        ("full", None, "attempts=1"),
        ("full", Some("attempts=3"), "attempts=1"),
        // Where this hop has one attempt, the next has what this one was left, and not its class's again.
        ("full", Some("attempts=1"), "attempts=1"),
        ("simple", None, "attempts=3"),
        ("simple", Some("attempts=2"), "attempts=2"),
        ("simple", Some("attempts=1"), "attempts=1"),
        ("simple", Some("attempts=200"), "attempts=3"),
    ] {
        let more: Vec<_> = told.map(|told| (BUDGET, told)).into_iter().collect();
        let tells = sent(&configuration(attach), &more, BUDGET).unwrap_or_default();
        assert!(tells.contains(left), "{attach}, told {told:?}: tells {tells}");
    }
}

#[test]
fn a_lane_shorter_than_the_plan_divides_the_deadline_as_the_plan_does() {
    let mut lanes = configuration("lanes");
    let names = ["provider-us", "metal-fr"];
    lanes["lanes"] = json!([{"cluster": "lane", "substrates": names}]);
    let of_the_plan = |stream: &str| {
        let per_try = sent(&configuration("full"), &[("x-stream", stream)], PER_TRY).unwrap();
        per_try.parse::<u32>().unwrap()
    };
    for stream in ["true", "false"] {
        let more = [("x-stream", stream)];
        assert_eq!(sent(&lanes, &more, "x-placement-cluster").as_deref(), Some("lane"));
        let per_try = sent(&lanes, &more, PER_TRY).map(|ms| ms.parse::<u32>().unwrap());
        assert_eq!(per_try, Some(of_the_plan(stream)), "stream: {stream}");
        assert!(per_try.is_some_and(|ms| ms * 2 <= DEADLINE_MS), "two attempts within the deadline: {per_try:?}");
    }
    // Without a lane there is one attempt, with all the time.
    lanes["lanes"] = json!([{"cluster": "lane", "substrates": ["onprem-de", "provider-us"]}]);
    assert_eq!(sent(&lanes, &[("x-stream", "true")], PER_TRY).as_deref(), Some("60000"));
    assert_eq!(sent(&lanes, &[("x-stream", "false")], PER_TRY), None);
}

#[test]
fn what_a_client_claims_to_be_in_a_hurry_for_or_wants_to_become_is_noted_and_nothing_else() {
    let noted = |change: &dyn Fn(&mut Value), more: &[(&str, &str)]| {
        let mut configuration = configuration("simple");
        configuration["facts"]["deadline_ms"] = json!({"header": "x-deadline", "trusted": true});
        change(&mut configuration);
        let host = FakeHost::new();
        let mut role = start(&host, &configuration);
        assert_eq!(ask(&host, &mut role, &[&CHAT[..], more].concat()), Verdict::Continue);
        let text = host.filter_state("placement_claimed").map(|bytes| String::from_utf8(bytes).unwrap());
        text.map(|text| text.replace(&(host.now_ms() + 30_000).to_string(), "until"))
    };
    let never = format!("{0} {0} 0 1 ", u64::MAX);
    for (more, expected) in [
        (&[][..], None),
        (&[("grpc-timeout", "30S")], Some("30000 until 0 0 ")),
        (&[("grpc-timeout", "30S"), ("x-stream", "true")], Some("30000 until 1 0 ")),
        (&[("grpc-timeout", "60S")], None),
        (&[("x-deadline", "30000")], None),
        (&[("x-deadline", "30000"), ("grpc-timeout", "40S")], None),
        (&[("x-deadline", "40000"), ("grpc-timeout", "30S")], Some("30000 until 0 0 ")),
        (&[("upgrade", "websocket")], Some(never.as_str())),
        (&[("upgrade", "websocket"), ("grpc-timeout", "30S")], Some("30000 until 0 1 ")),
    ] {
        assert_eq!(noted(&|_| {}, more).as_deref(), expected, "{more:?}");
    }
    // Nobody holds it to its time.
    assert_eq!(noted(&|it| it["deadline_header"] = false.into(), &[("grpc-timeout", "30S")]), None);
    // A class that nobody trusted says, with less time.
    let claimed = |it: &mut Value| {
        it["trusted_headers"] = json!([]);
        it["policy"]["classes"][0]["deadline_ms"] = 30_000.into();
        it["policy"]["classes"][1]["deadline_ms"] = 60_000.into();
    };
    assert_eq!(noted(&claimed, &[]).as_deref(), Some("30000 until 0 0 "));
}
