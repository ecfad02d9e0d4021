//! What is declared, what is documented, what rules and dashboard look at, and what the records carry: each list is
//! held against the others, and the rules against promtool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "laws/build.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod build;
#[path = "support/fake_host.rs"]
mod fake_host;
#[path = "laws/generate.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod generate;
#[path = "support/policy.rs"]
mod policy;

use berth::explain::line::Line;
use berth::filter::{MapKind, Role};
use berth::model::contract::Key;
use berth::model::metric::{ATTEMPTS, CHANGES, FAMILIES, Family, MOST_SERIES, OBSERVED, PREFIX, SPREADS, labels};
use berth::model::{Decision, Outcome};
use berth::place::{place, record::record};
use berth::policy::Policy;
use fake_host::FakeHost;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join(name)).unwrap()
}

/// A declared series, taken apart as the label rules do.
fn apart(series: &str) -> (String, Vec<(String, String)>) {
    let rest = series.strip_prefix(PREFIX).unwrap();
    let family = FAMILIES
        .iter()
        .filter(|f| rest == f.name || rest.strip_prefix(f.name).is_some_and(|r| r.starts_with('.')))
        .max_by_key(|f| f.name.len())
        .unwrap_or_else(|| panic!("{series}: of no metric in the list"));
    let parts: Vec<&str> = rest[family.name.len()..].split('.').skip(1).collect();
    let pairs: Vec<_> = parts.chunks(2).map(|c| (String::from(c[0]), String::from(c[1]))).collect();
    assert_eq!(pairs.iter().map(|(l, _)| l.as_str()).collect::<Vec<_>>(), family.labels, "{series}");
    (family.name.into(), pairs)
}

fn declared(host: &FakeHost) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    host.metric_names().iter().for_each(|series| *found.entry(apart(series).0).or_default() += 1);
    found
}

/// The policy with a budget a minute for each of these tenants.
fn with_budgets(budgets: &[(&str, f64)]) -> Value {
    let mut policy = policy::policy();
    let budget = |(tenant, usd): &(&str, f64)| json!({"tenant": tenant, "window_s": 60, "most_usd": usd});
    policy["budgets"] = budgets.iter().map(budget).collect();
    policy
}

#[test]
fn every_metric_of_the_list_is_declared_and_none_besides() {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&with_budgets(&[("acme", 0.01)]));
    configuration["outcomes"] = 1.into();
    host.set_configuration(&configuration.to_string());
    Role::configure(&host).unwrap();
    let listed: BTreeSet<String> = FAMILIES.iter().map(|f| String::from(f.name)).collect();
    assert_eq!(declared(&host).into_keys().collect::<BTreeSet<_>>(), listed);
}

#[test]
fn however_many_classes_and_substrates_there_are_a_metric_has_no_more_than_its_most_series() {
    let mut large = policy::policy();
    let (substrate, class) = (large["substrates"][1].clone(), large["classes"][0].clone());
    for n in 0..200 {
        let mut one = substrate.clone();
        one["name"] = format!("s{n}").into();
        one["cluster"] = format!("s{n}").into();
        one["location"]["zone"] = format!("z{n}").into();
        one["labels"] = json!({"hardware": format!("h{n}")});
        large["substrates"].as_array_mut().unwrap().push(one);
    }
    for n in 0..60 {
        let mut one = class.clone();
        one["name"] = format!("c{n}").into();
        large["classes"].as_array_mut().unwrap().push(one);
    }
    let host = FakeHost::new();
    let mut configuration = policy::placement(&large);
    configuration["outcomes"] = 1.into();
    host.set_configuration(&configuration.to_string());
    let mut role = Role::configure(&host).unwrap();
    for (name, count) in declared(&host) {
        assert!(count <= MOST_SERIES, "{name} has {count} series");
    }
    host.set_headers(MapKind::RequestHeaders, &[("x-tenant", "acme"), ("x-workload", "chat")]);
    role.on_request(&host);
    role.on_tick(&host);
    let told: i64 = host
        .metric_names()
        .iter()
        .filter(|name| name.starts_with("berth.decisions.class.all.substrate."))
        .map(|name| host.metric_value(name))
        .sum();
    assert_eq!(told, 1);
    for (stem, of) in [("berth.run.class.", "hardware.all.revision.all"), ("berth.ways.origin.all.", "")] {
        let names = host.metric_names().into_iter().filter(|name| name.starts_with(stem) && name.contains(of));
        assert_eq!(names.map(|name| host.metric_value(&name)).sum::<i64>(), 1, "{stem}");
    }
}

#[test]
fn the_telemetry_role_declares_what_changes() {
    let host = FakeHost::new();
    host.set_configuration(&policy::telemetry(&policy::policy()).to_string());
    Role::configure(&host).unwrap();
    for family in CHANGES {
        let stem = format!("{PREFIX}{}.substrate.metal-fr.to.", family.name);
        assert_eq!(host.metric_names().iter().filter(|name| name.starts_with(&stem)).count(), 3, "{stem}");
    }
    for family in CHANGES.iter().chain(ATTEMPTS) {
        let name = format!("`berth_{}`", family.name.replace('.', "_"));
        assert!(file("README.md").contains(&name), "{name}");
    }
}

#[test]
fn a_substrate_is_shown_with_its_layer_and_its_cluster() {
    let mut policy = policy::policy();
    policy["substrates"][0]["labels"] = json!({"capacity_layer": "2"});
    policy["substrates"][0]["cluster"] = "outbound|443||metal.fr".into();
    let host = FakeHost::new();
    host.set_configuration(&policy::placement(&policy).to_string());
    Role::configure(&host).unwrap();
    let info = |substrate: &str| {
        let stem = format!("berth.substrate_info.substrate.{substrate}.");
        host.metric_names().into_iter().find(|name| name.starts_with(&stem)).unwrap()
    };
    assert!(info("metal-fr").ends_with(".capacity_layer.2.cluster.outbound_443__metal_fr"), "{}", info("metal-fr"));
    assert!(info("onprem-de").ends_with(".capacity_layer.none.cluster.onprem-de"), "{}", info("onprem-de"));
}

#[test]
fn what_the_host_does_not_take_now_is_told_with_the_next_tick() {
    let host = FakeHost::new();
    host.set_configuration(&policy::placement(&policy::policy()).to_string());
    let mut role = Role::configure(&host).unwrap();
    let placed = "berth.decisions.class.interactive.substrate.metal-fr.outcome.placed";
    host.set_headers(MapKind::RequestHeaders, &[("x-tenant", "acme"), ("x-workload", "chat")]);
    role.on_request(&host);
    host.fail_always("increment", berth::filter::HostError::Internal);
    role.on_tick(&host);
    role.on_request(&host);
    host.heal();
    role.on_tick(&host);
    assert_eq!(host.metric_value(placed), 2);
    role.on_tick(&host);
    assert_eq!(host.metric_value(placed), 2, "told once");
}

const CHAT: [(&str, &str); 3] = [("x-tenant", "acme"), ("x-workload", "chat"), ("x-model", "llama-3.3-70b")];

#[test]
fn placed_requests_are_counted_by_what_they_were_placed_on_and_from_zone_to_zone() {
    let mut policy = policy::policy();
    policy["substrates"][0]["labels"] = json!({"hardware": "h200", "revision": "2026-10"});
    let mut configuration = policy::placement(&policy);
    configuration["facts"]["zone"] = json!({"header": "x-zone"});
    configuration["facts"]["model"] = json!({"header": "x-model"});
    let host = FakeHost::new();
    host.set_configuration(&configuration.to_string());
    let mut role = Role::configure(&host).unwrap();
    let mut expected_uusd = 0;
    for zone in [None, Some("z-onprem-de"), Some("moon"), Some("moon")] {
        let headers: Vec<_> = CHAT.into_iter().chain(zone.map(|zone| ("x-zone", zone))).collect();
        host.set_headers(MapKind::RequestHeaders, &headers);
        role.on_request(&host);
        let decision = String::from_utf8(host.filter_state("placement").unwrap()).unwrap();
        let line = Line::parse(&decision).unwrap();
        assert_eq!(line.get("substrate"), Some("metal-fr"), "{decision}");
        expected_uusd += line.get("cost").unwrap().parse::<i64>().unwrap();
    }
    role.on_tick(&host);
    let on = "class.interactive.hardware.h200.revision.2026-10";
    assert_eq!(host.metric_value(&format!("berth.run.{on}")), 4);
    assert_eq!(host.metric_value(&format!("berth.run_quality_ppm.{on}")), 4 * 800_000);
    assert!(expected_uusd > 0);
    assert_eq!(host.metric_value(&format!("berth.run_cost_uusd.{on}")), expected_uusd);
    for (origin, count) in [("none", 1), ("z-onprem-de", 1), ("other", 2), ("z-metal-fr", 0)] {
        let way = format!("berth.ways.origin.{origin}.destination.z-metal-fr");
        assert_eq!(host.metric(&way).unwrap().value, count, "{way}");
    }
}

fn started(host: &FakeHost, configuration: &Value) -> Role {
    host.set_configuration(&configuration.to_string());
    Role::configure(host).unwrap()
}

/// What the record says that a request costs.
fn asked(host: &FakeHost, role: &mut Role, tenant: &str) -> i64 {
    host.set_headers(MapKind::RequestHeaders, &[("x-tenant", tenant), ("x-workload", "chat")]);
    role.on_request(host);
    let decision = String::from_utf8(host.filter_state("placement").unwrap()).unwrap();
    Line::parse(&decision).unwrap().get("cost").map_or(0, |cost| cost.parse().unwrap())
}

#[test]
fn what_tenants_have_used_of_their_budgets_shows_the_same_from_every_worker_and_only_within_its_window() {
    let host = FakeHost::new();
    host.set_now_ms(120_000);
    let mut policy = with_budgets(&[("acme", 2.0), ("initech", 0.0), ("globex", 1.0)]);
    policy["budgets"][0]["fleet_share"] = json!(0.5);
    let configuration = policy::placement(&policy);
    let other = host.another_vm();
    let (mut here, mut there) = (started(&host, &configuration), started(&other, &configuration));
    let used = |tenant: &str| host.metric_value(&format!("berth.budget.used_ppm.tenant.{tenant}"));
    assert_eq!(host.metric_value("berth.budget.uusd.tenant.acme"), 1_000_000);
    assert_eq!(host.metric_value("berth.budget.window_s.tenant.acme"), 60);
    // A budget of nothing is used from the beginning.
    assert_eq!([used("acme"), used("globex"), used("initech")], [0, 0, 1_000_000]);
    let mut paid = asked(&host, &mut here, "acme") + asked(&host, &mut here, "acme");
    here.on_tick(&host);
    assert!(paid > 0);
    assert_eq!(used("acme"), paid);
    paid += asked(&other, &mut there, "acme");
    there.on_tick(&other);
    // Who has heard of less does not take it back.
    here.on_tick(&host);
    assert_eq!([used("acme"), used("globex")], [paid, 0]);
    host.advance_ms(60_000);
    here.on_tick(&host);
    assert_eq!(used("acme"), 0);
}

#[test]
fn a_tenant_whose_budget_is_taken_away_shows_nothing_used() {
    let host = FakeHost::new();
    host.set_now_ms(120_000);
    let used = |tenant: &str| host.metric_value(&format!("berth.budget.used_ppm.tenant.{tenant}"));
    let configuration = |budgets: &[(&str, f64)]| {
        let mut policy = with_budgets(budgets);
        policy["envelopes"][0]["applies_to"]["tenants"] = json!(["acme", "globex"]);
        policy::placement(&policy)
    };
    let mut before = started(&host, &configuration(&[("acme", 1.0), ("globex", 1.0)]));
    let paid = [asked(&host, &mut before, "acme"), asked(&host, &mut before, "globex")];
    before.on_tick(&host);
    assert!(paid[0] > 0 && paid[1] > 0);
    assert_eq!([used("acme"), used("globex")], paid);
    let mut after = started(&host, &configuration(&[("globex", 1.0)]));
    after.on_tick(&host);
    // What is told for one that was not heard is no end.
    before.tell(&host);
    assert_eq!([used("acme"), used("globex")], paid);
    before.leave(&host);
    assert_eq!(used("acme"), 0);
    host.advance_ms(10_000);
    after.on_tick(&host);
    assert_eq!([used("acme"), used("globex")], [0, paid[1]]);
}

#[test]
fn what_does_not_change_is_told_again_only_now_and_then() {
    let host = FakeHost::new();
    let configuration = policy::placement(&with_budgets(&[("acme", 1.0), ("globex", 1.0)]));
    let mut role = started(&host, &configuration);
    asked(&host, &mut role, "acme");
    role.on_tick(&host);
    let told = |role: &mut Role, passed_ms: u64| {
        host.advance_ms(passed_ms);
        host.reset_counts();
        role.on_tick(&host);
        host.count("record")
    };
    // The canary's state and the age; then both tenants besides.
    assert_eq!([told(&mut role, 100), told(&mut role, 10_000), told(&mut role, 100)], [2, 4, 2]);
}

#[test]
fn how_long_the_others_spending_is_unknown_shows() {
    let host = FakeHost::new();
    let mut role = started(&host, &policy::placement(&with_budgets(&[("acme", 1.0)])));
    host.advance_ms(700);
    role.on_tick(&host);
    assert_eq!(host.metric_value("berth.budget.age_ms"), 0);
    host.fail_always("shared_get", berth::filter::HostError::Internal);
    for age_ms in [700, 1_400] {
        host.advance_ms(700);
        role.on_tick(&host);
        assert_eq!(host.metric_value("berth.budget.age_ms"), age_ms);
    }
    host.advance_ms(100_000_000);
    role.on_tick(&host);
    assert_eq!(host.metric_value("berth.budget.age_ms"), 86_400_000, "a day is the most");
    host.heal();
    role.on_tick(&host);
    assert_eq!(host.metric_value("berth.budget.age_ms"), 0);
}

#[test]
fn tenants_with_budgets_are_named_only_where_names_may_be_seen_and_no_more_than_a_metric_has_series() {
    let names = |configuration: &Value| {
        let host = FakeHost::new();
        started(&host, configuration);
        let names = host.metric_names().into_iter();
        names
            .filter_map(|name| name.strip_prefix("berth.budget.used_ppm.tenant.").map(String::from))
            .collect::<Vec<_>>()
    };
    let mut configuration = policy::placement(&with_budgets(&[("acme", 1.0), ("spiffe://mesh/ns.a", 1.0)]));
    assert_eq!(names(&configuration), ["acme", "spiffe___mesh_ns_a"]);
    configuration["hash_tenants"] = true.into();
    let hashed = names(&configuration);
    assert_eq!(hashed[0], format!("{:016x}", berth::place::replay::pseudonym("acme")));
    assert_eq!(hashed.len(), 2);
    assert!(hashed.iter().all(|name| name.len() == 16 && !name.contains("acme")), "{hashed:?}");
    assert!(names(&policy::placement(&policy::policy())).is_empty());

    // No policy has more budgets than a metric has series; what cannot be told apart is shown by the one that used most.
    let many: Vec<String> = (0..=MOST_SERIES).map(|n| format!("t{n}")).collect();
    let mut budgets: Vec<(&str, f64)> = many.iter().map(|tenant| (tenant.as_str(), 1.0)).collect();
    let host = FakeHost::new();
    host.set_configuration(&policy::placement(&with_budgets(&budgets)).to_string());
    assert!(Role::configure(&host).unwrap_err().contains("at budgets"));
    budgets.truncate(MOST_SERIES - 2);
    budgets.extend([("a/cme", 9.0), ("a_cme", 1.0)]);
    let mut policy = with_budgets(&budgets);
    policy["envelopes"][0]["applies_to"]["tenants"] = json!(["a/cme", "a_cme"]);
    let mut role = started(&host, &policy::placement(&policy));
    let paid = [asked(&host, &mut role, "a/cme"), asked(&host, &mut role, "a_cme")];
    role.on_tick(&host);
    assert!(paid[0] == paid[1] && paid[1] > 0);
    assert_eq!(host.metric_value("berth.budget.used_ppm.tenant.a_cme"), paid[1]);
    assert!(declared(&host).into_iter().all(|(_, series)| series < MOST_SERIES));
}

#[test]
fn only_a_timed_decision_asks_for_the_time() {
    for (sample, timed) in [(0, 0), (1, 3)] {
        let host = FakeHost::new();
        let mut configuration = policy::placement(&policy::policy());
        configuration["time_sample"] = sample.into();
        host.set_configuration(&configuration.to_string());
        let mut role = Role::configure(&host).unwrap();
        host.set_headers(MapKind::RequestHeaders, &CHAT);
        host.reset_counts();
        for _ in 0..3 {
            role.on_request(&host);
        }
        // Once before the first stage and once after each of the five.
        assert_eq!(host.count("now_ns"), timed * 6);
        role.on_tick(&host);
        assert_eq!(host.metric_value("berth.timed"), i64::try_from(timed).unwrap());
    }
}

/// What the proxy says of a stream that has ended.
fn end(host: &FakeHost, cluster: &str, status: u64, flags: u64) {
    host.set_property(&["xds", "cluster_name"], cluster.as_bytes());
    for (path, figure) in [
        (["response", "code"], status),
        (["response", "flags"], flags),
        (["request", "size"], 100),
        (["response", "size"], 2_000),
    ] {
        host.set_property(&path, &figure.to_le_bytes());
    }
}

#[test]
fn the_end_of_a_request_says_what_it_came_to_and_where_it_really_went() {
    // Bits of the flags: the client reset, the upstream reset.
    let (gone, cut) = (1 << 28, 1 << 4);
    // The proxy was overloaded; nothing moved for too long; it took too long in all.
    let (overloaded, idle, long) = (1 << 25, 1 << 16, 1 << 22);
    for (cluster, status, flags, passed_ms, stream, came, went) in [
        ("metal-fr", 200, 0, 10, false, "good", "first"),
        ("metal-fr", 200, 0, 60_000, false, "good", "first"),
        ("metal-fr", 200, 0, 60_001, false, "late", "first"),
        ("metal-fr", 200, 0, 99_000, true, "good", "first"),
        ("onprem-de", 200, 0, 10, false, "good", "later"),
        ("provider-us", 200, 0, 10, false, "good", "elsewhere"),
        ("unheard-of", 503, 0, 10, false, "failed", "elsewhere"),
        ("metal-fr", 200, cut, 10, false, "failed", "first"),
        ("metal-fr", 200, overloaded, 10, false, "failed", "first"),
        ("metal-fr", 200, gone, 10, false, "abandoned", "first"),
        // It may be the client that did not read.
        ("metal-fr", 200, idle, 10, false, "abandoned", "first"),
        ("metal-fr", 200, long, 10, true, "abandoned", "first"),
        ("metal-fr", 504, idle, 10, false, "failed", "first"),
        // A socket is one good answer, however it ends and however long it lives.
        ("metal-fr", 101, cut, 99_000, true, "good", "first"),
        ("metal-fr", 101, gone, 99_000, true, "good", "first"),
        ("metal-fr", 101, 0, 99_000, false, "good", "first"),
        ("", 0, gone, 10, false, "abandoned", "nowhere"),
        ("", 503, 0, 10, false, "failed", "nowhere"),
        ("metal-fr", 429, 0, 10, false, "overloaded", "first"),
        ("metal-fr", 404, 0, 10, false, "refused", "first"),
        // What the proxy makes up of a status where nobody speaks gRPC says nothing.
        ("metal-fr", 200, 0, 20, false, "good", "first"),
        ("metal-fr", 200, 0, 30, false, "failed", "first"),
    ] {
        let case = format!("{cluster} {status} {flags} {passed_ms} {stream}");
        let mut configuration = policy::placement(&policy::policy());
        configuration["attach"] = "full".into();
        configuration["policy"]["classes"][0]["attempts"] = json!({"most": 2});
        // Long enough for two attempts to fit in.
        configuration["policy"]["classes"][0]["deadline_ms"] = 60_000.into();
        configuration["facts"]["streaming"] = json!({"header": "x-stream"});
        configuration["outcomes"] = 1.into();
        let host = FakeHost::new();
        host.set_configuration(&configuration.to_string());
        let mut role = Role::configure(&host).unwrap();
        let headers = CHAT.into_iter().chain(stream.then_some(("x-stream", "true")));
        let headers: Vec<_> =
            headers.chain((passed_ms == 30).then_some(("content-type", "application/grpc"))).collect();
        host.set_headers(MapKind::RequestHeaders, &headers);
        role.arrive(&host, 7, true);
        host.advance_ms(5);
        role.on_response(&host, 7);
        host.advance_ms(passed_ms - 5);
        end(&host, cluster, status, flags);
        if passed_ms > 10 {
            host.set_property(&["response", "grpc_status"], &14_u64.to_le_bytes());
        }
        role.on_done(&host, 7);
        role.forget(7);
        role.on_done(&host, 7);
        role.on_tick(&host);
        let on = "class.interactive.hardware.none.revision.none";
        assert_eq!(host.metric_value(&format!("berth.answers.{on}.answer.{came}")), 1, "{case}");
        assert_eq!(host.metric_value(&format!("berth.destinations.went.{went}")), 1, "{case}");
        let known = !matches!(cluster, "" | "unheard-of");
        // Who is answered by the second was at the first before.
        let crossed: &[&str] = match cluster {
            "metal-fr" => &["none"],
            "onprem-de" => &["none", "jurisdiction"],
            _ => &[],
        };
        for border in ["none", "jurisdiction"] {
            let name = format!("berth.crossed.border.{border}");
            assert_eq!(host.metric_value(&name), i64::from(crossed.contains(&border)), "{case}");
        }
        for (flow, bytes) in [("request", 100), ("answer", 2_000)] {
            let way = format!("berth.way_bytes.origin.none.destination.z-{cluster}.flow.{flow}");
            assert_eq!(host.metric_value(&way), if known { bytes } else { 0 }, "{case}");
        }
    }
}

#[test]
fn without_accounting_a_request_goes_the_same_way_and_leaves_nothing_behind() {
    let mut configuration = policy::placement(&policy::policy());
    for field in ["decision_upstream", "decision_response"] {
        configuration.as_object_mut().unwrap().remove(field);
    }
    configuration["accounting"] = false.into();
    let host = FakeHost::new();
    host.set_configuration(&configuration.to_string());
    let mut role = Role::configure(&host).unwrap();
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    role.on_request(&host);
    assert_eq!(host.header(MapKind::RequestHeaders, "x-placement-cluster").as_deref(), Some("metal-fr"));
    host.set_headers(MapKind::RequestHeaders, &[("x-tenant", "nobody")]);
    role.on_request(&host);
    assert_eq!(host.responses().len(), 1, "and is refused the same way");
    assert_eq!(host.filter_state("placement"), None);
    role.on_tick(&host);
    let counted = host.metric_names().into_iter().filter(|name| host.metric_value(name) != 0);
    let standing = ["berth.policy.", "berth.build.", "berth.substrate_info."];
    let counted: Vec<_> = counted.filter(|name| !standing.iter().any(|stem| name.starts_with(stem))).collect();
    assert!(counted.is_empty(), "{counted:?}");
    for field in ["replay", "decision_response", "decision_upstream"] {
        let mut configuration = configuration.clone();
        configuration[field] = true.into();
        host.set_configuration(&configuration.to_string());
        let refused = Role::configure(&host).unwrap_err();
        assert!(refused.contains(&format!("{field}: nothing is left behind with `accounting: false`")), "{refused}");
    }
}

#[test]
fn a_request_whose_end_nobody_awaits_asks_the_host_for_nothing() {
    let host = FakeHost::new();
    host.set_configuration(&policy::placement(&policy::policy()).to_string());
    let mut role = Role::configure(&host).unwrap();
    host.set_headers(MapKind::RequestHeaders, &CHAT);
    role.arrive(&host, 7, true);
    host.reset_counts();
    role.on_response(&host, 7);
    role.on_done(&host, 7);
    role.forget(7);
    assert_eq!(host.counts().len(), 0, "{:?}", host.counts());
}

/// The rows of the table under a heading of the README, as cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = file("README.md");
    let after = text.split_once(&format!("# {heading}\n")).unwrap_or_else(|| panic!("no heading `{heading}`")).1;
    let rows = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| String::from(cell.trim())).collect();
    rows.skip(2).map(cells).collect()
}

fn row(family: &Family) -> Vec<String> {
    let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    vec![
        format!("`berth_{}`", family.name.replace('.', "_")),
        family.kind.into(),
        labels.join(", "),
        family.meaning.into(),
    ]
}

#[test]
fn the_readme_lists_every_metric() {
    assert_eq!(table("Metrics of the placement role"), FAMILIES.iter().map(row).collect::<Vec<_>>());
    let of_telemetry: Vec<_> = [CHANGES, OBSERVED, SPREADS].concat().iter().map(row).collect();
    assert_eq!(table("Metrics of the telemetry role"), of_telemetry);
}

#[test]
fn the_readme_lists_every_label_rule() {
    let text = file("README.md");
    for label in labels() {
        assert!(
            text.contains(&format!("tag_name: {label}, regex: '{}'", berth::model::metric::tag_rule(label))),
            "{label}"
        );
    }
}

#[test]
fn the_readme_describes_every_member_of_the_record_and_every_key() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = generate::case();
    let (mut seen, mut said) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..3_000 {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        let policy = Policy::new(case.document, [0; 32]);
        let decision = place(&policy, case.snapshot.as_ref(), &case.local, &case.facts, build::NOW_MS, case.seed);
        // One that tries somebody is rare: what it says of itself is shown on all that were placed.
        let mut tried = Decision { trial: decision.outcome == Outcome::Placed, ..decision };
        tried.pace.hedge = tried.trial;
        for decision in [decision, tried] {
            let text = record(&policy, &decision);
            assert!(text.len() <= 1_024 && text.is_ascii(), "{text}");
            let line = Line::parse(&text).unwrap();
            seen.extend(line.names().map(String::from));
            let params = |name| {
                let of_items = line.items(name).iter().flat_map(|item| &item.params);
                of_items.chain(line.list_params(name)).map(move |(key, _)| (name, key))
            };
            said.extend(line.names().flat_map(params).map(|(name, key)| (name.to_string(), key.clone())));
        }
    }
    let names = |rows: Vec<Vec<String>>| -> BTreeSet<String> {
        let cells = rows.into_iter().flat_map(|row| row[0].split(", ").map(String::from).collect::<Vec<_>>());
        cells.map(|cell| String::from(cell.trim_matches('`'))).collect()
    };
    assert_eq!(names(table("The decision")), seen);
    for (name, key) in said {
        let rows = table("The decision");
        let row = rows.iter().find(|row| row[0].contains(&format!("`{name}`"))).unwrap();
        let told = [format!("`{key}`"), format!("`{key}=")].iter().any(|word| row[1].contains(word));
        assert!(told, "`{key}` of `{name}` is not described");
    }
    let keys: BTreeSet<String> = Key::ALL.iter().map(|key| String::from(key.state())).collect();
    assert_eq!(names(table("Single keys")), keys);
}

fn promtool(arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(root.join(".ci/tools")).arg("prometheus").output().unwrap();
    let prometheus = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    assert!(found.status.success(), "no Prometheus: {}", String::from_utf8_lossy(&found.stderr));
    let output =
        Command::new(prometheus.with_file_name("promtool")).args(arguments).current_dir(root).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_hold() {
    promtool(&["check", "rules", "envoy/rules/recording.yaml", "envoy/rules/alerts.yaml"]);
    promtool(&["test", "rules", "envoy/rules/tests.yaml"]);
}

#[test]
fn every_rule_is_tested() {
    let (tests, rules) = (file("rules/tests.yaml"), file("rules/recording.yaml") + &file("rules/alerts.yaml"));
    for line in rules.lines().map(str::trim) {
        let name = line.strip_prefix("- record: ").or_else(|| line.strip_prefix("- alert: "));
        if let Some(name) = name {
            assert!(tests.contains(name), "{name} is not tested");
        }
    }
}

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("berth_")).map(String::from).collect()
}

/// What is there to be asked for when something is wrong: how many were sampled, by what dimension routers would have
/// broken the policy, and which picture and which version each proxy has; whether they differ is drawn by the fingerprint.
const DRAWN_NOWHERE: [&str; 4] =
    ["berth_sampled", "berth_router_breaches", "berth_snapshot_epoch", "berth_policy_version"];

#[test]
fn rules_and_dashboard_look_at_metrics_that_there_are() {
    let host = FakeHost::new();
    host.set_configuration(&policy::telemetry(&policy::policy()).to_string());
    Role::configure(&host).unwrap();
    let plain = |name: &str| name.replace(['.', '-'], "_");
    let mut known: BTreeSet<String> =
        FAMILIES.iter().chain(ATTEMPTS).map(|f| plain(&format!("{PREFIX}{}", f.name))).collect();
    let parts = ["bucket", "sum", "count"];
    known.extend(OBSERVED.iter().flat_map(|f| parts.map(|part| plain(&format!("{PREFIX}{}_{part}", f.name)))));
    for series in host.metric_names() {
        let end = ["substrate", "reason", "region", "kind"]
            .iter()
            .filter_map(|label| series.find(&format!(".{label}.")))
            .min();
        known.insert(plain(&series[..end.unwrap_or(series.len())]));
    }
    for name in ["rules/recording.yaml", "rules/alerts.yaml", "rules/tests.yaml", "dashboard.json"] {
        let unknown: Vec<String> = named(&file(name)).into_iter().filter(|metric| !known.contains(metric)).collect();
        assert!(unknown.is_empty(), "{name} looks at {unknown:?}");
    }
    // What is drawn by no panel and watched by no rule is so on purpose.
    let looked_at = ["rules/recording.yaml", "rules/alerts.yaml", "dashboard.json"].map(file).concat();
    let looked_at = named(&looked_at);
    let unseen = FAMILIES.iter().chain(CHANGES).chain(ATTEMPTS).map(|f| plain(&format!("{PREFIX}{}", f.name)));
    let unseen: Vec<String> = unseen.filter(|name| !looked_at.contains(name)).collect();
    assert_eq!(unseen, DRAWN_NOWHERE);
    let dashboard: serde_json::Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let recorded = file("rules/recording.yaml");
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let words =
                target["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            for rule in words.filter(|word| word.starts_with("berth:")) {
                assert!(recorded.contains(&format!("record: {rule}\n")), "{rule} is recorded by no rule");
            }
        }
    }
}
