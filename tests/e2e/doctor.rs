//! `berth doctor` against real proxies: content with what `berth render` makes, and not with what was broken after.

use crate::rendered::{Site, berth, policy};
use crate::support::envoy::Envoy;
use crate::support::eventually;
use berth::manifest::doctor::{Patient, examine};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn admin(envoy: &Envoy) -> String {
    format!("http://{}", envoy.admin_address())
}

/// Renders, breaks, starts, and waits for the doctor to say so.
async fn broken(changes: &[(&str, &str)], slug: &str, well: bool) {
    let site = Site::open(&policy(), "").await;
    site.render("envoy");
    let file = site.dir.join("envoy.yaml");
    let mut text = fs::read_to_string(&file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    fs::write(&file, text).unwrap();
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    eventually(slug, || async {
        let (content, said) = berth(&["doctor", &admin(&envoy)], &site.dir);
        (content == well && said.contains(slug)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_rendered_is_well() {
    for target in ["envoy", "envoy-discovered"] {
        let site = Site::open(&policy(), "").await;
        site.render(target);
        let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
        eventually("the doctor finds nothing", || async {
            let (well, said) = berth(&["doctor", &admin(&envoy)], &site.dir);
            (well && said.contains("0 errors, 0 warnings") && said.contains("starter@1#")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn every_broken_part_is_named() {
    let apart = [("vm_id: berth", "vm_id: other")];
    let simple =
        [("cluster_specifier_plugin: berth", "cluster: gpu-de"), ("refresh_cluster_on_retry: true", "num_retries: 0")];
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("roles-apart", &apart),
        ("no-refresh", &[("refresh_cluster_on_retry: true", "refresh_cluster_on_retry: false")]),
        ("no-route", &simple),
        ("not-stripped", &[("prefix: x-placement-", "prefix: x-other-")]),
        ("no-cluster", &[(r#""name": "gpu-fr","#, r#""name": "gpu-fr", "cluster": "gone","#)]),
        ("no-reload", &[("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_CLOSED")]),
    ];
    for (slug, changes) in cases {
        // Of these, one is only a warning.
        broken(changes, slug, slug == "no-reload").await;
    }
}

/// The rest of the page's table: what a proxy says of itself when it is well, with one thing changed in it.
#[tokio::test]
async fn every_other_finding_is_made_of_what_a_proxy_says() {
    let site = Site::open(&policy(), "").await;
    let file = site.dir.join("deployment.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let writer = format!("{{name: agent, token_sha256: '{}', reports: ['*']}}", "0".repeat(64));
    let listener = format!("  tick_ms: 50\n  listener: {{read: anyone, writers: [{writer}]}}\n");
    fs::write(&file, text.replace("  tick_ms: 50\n", &listener)).unwrap();
    site.render("envoy");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    envoy.await_stat("wasmcustom.berth.snapshot.epoch", |epoch| epoch > 0).await;
    let says = async |path: &str| serde_json::from_slice::<Value>(&envoy.admin_get(path).await.body).unwrap();
    let [dump, stats, server] =
        [says("/config_dump").await, says("/stats?format=json").await, says("/server_info").await];
    let well = Patient { name: "p".into(), dump, stats, server };
    assert_eq!(examine(std::slice::from_ref(&well)), []);

    let dumped = |from: &str, to: &str| {
        let text = well.dump.to_string();
        assert!(text.contains(from), "{from}");
        Patient { dump: serde_json::from_str(&text.replace(from, to)).unwrap(), ..well.clone() }
    };
    let counted = |name: &str, value: u64| {
        let mut stats = well.stats.clone();
        let all = stats["stats"].as_array_mut().unwrap();
        all.iter_mut().find(|stat| stat["name"] == name).unwrap_or_else(|| panic!("no {name}"))["value"] = value.into();
        Patient { stats, ..well.clone() }
    };
    let mut old = well.clone();
    old.server["version"] = well.server["version"].as_str().unwrap().replace("/1.", "/0.").into();
    let vm = |role: &str| format!(r#""value":"{role}""#);
    let cases = [
        ("no-placement", dumped(r#""root_id":"placement""#, r#""root_id":"other""#)),
        ("no-telemetry", dumped(r#""root_id":"telemetry""#, r#""root_id":"other""#)),
        ("roles-in-one-vm", dumped(&vm("telemetry"), &vm("placement"))),
        (
            "may-not-wait",
            dumped(r#""allow_on_headers_stop_iteration":true"#, r#""allow_on_headers_stop_iteration":false"#),
        ),
        ("no-policy", dumped(r#"\"envelopes\""#, r#"\"envelops\""#)),
        ("not-running", counted("wasmcustom.berth.policy.fingerprint", 7)),
        ("no-picture", counted("wasmcustom.berth.snapshot.epoch", 0)),
        ("old-picture", counted("wasmcustom.berth.snapshot.age_ms", 31_000)),
        ("draining", counted("listener_manager.total_listeners_draining", 1)),
        ("too-old", old),
    ];
    for (slug, patient) in cases {
        let found: BTreeSet<&str> = examine(&[patient]).iter().map(|finding| finding.slug).collect();
        // What cannot be read is not what runs.
        let also = (slug == "no-policy").then_some("not-running");
        assert_eq!(found, BTreeSet::from_iter([slug].into_iter().chain(also)));
    }
}

#[tokio::test]
async fn a_refused_configuration_and_a_fleet_that_disagrees_are_named() {
    let (one, two) =
        (Site::open(&policy(), "").await, Site::open(&policy().replace("version: 1", "version: 2"), "").await);
    one.render("envoy-discovered");
    two.render("envoy-discovered");
    let first = Envoy::start_file(one.dir.clone(), "envoy.yaml").await;
    let second = Envoy::start_file(two.dir.clone(), "envoy.yaml").await;
    eventually("two policies in one fleet are named", || async {
        let (well, said) = berth(&["doctor", &admin(&first), &admin(&second)], &one.dir);
        let all = ["fleet-disagrees", "starter@1#", "starter@2#"];
        (!well && all.iter().all(|word| said.contains(word))).then_some(())
    })
    .await;

    let good = fs::read_to_string(one.dir.join("placement.yaml")).unwrap();
    fs::write(one.dir.join("new"), good.replace(r#""jurisdiction": "DE""#, r#""jurisdiction": "XX""#)).unwrap();
    fs::rename(one.dir.join("new"), one.dir.join("placement.yaml")).unwrap();
    eventually("the refused configuration is named", || async {
        let (well, said) = berth(&["doctor", &admin(&first)], &one.dir);
        (!well && said.contains("refused") && said.contains("berth.placement")).then_some(())
    })
    .await;
}

/// A mesh names what it discovers as it likes, and what is in shadow needs no route.
#[tokio::test]
async fn a_discovered_filter_of_another_name_is_looked_at_too() {
    let site = Site::open(&policy(), "").await;
    site.render("envoy-discovered");
    for file in ["listeners.yaml", "placement.yaml"] {
        let text = fs::read_to_string(site.dir.join(file)).unwrap();
        let text = text.replace("name: berth.placement", "name: inference.berth");
        let text = text
            .replace("prefix: x-placement-", "prefix: x-other-")
            .replace("cluster_specifier_plugin: berth", "cluster: gpu-de");
        let text = text.replace(r#""attach": "full""#, r#""attach": "full", "mode": "shadow""#);
        fs::write(site.dir.join(file), text.replace("refresh_cluster_on_retry: true", "num_retries: 0")).unwrap();
    }
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    let said = eventually("the doctor finds it", || async {
        let (well, said) = berth(&["doctor", &admin(&envoy)], &site.dir);
        (!well && said.contains("not-stripped")).then_some(said)
    })
    .await;
    assert!(!said.contains("no-route"), "{said}");
}

#[test]
fn every_finding_of_the_page_is_tried_here() {
    let here = include_str!("doctor.rs");
    let table = include_str!("../../envoy/deploy.md").split("| finding |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let slugs: Vec<&str> = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(slugs.len() > 15, "{slugs:?}");
    for slug in slugs {
        assert!(here.contains(&format!("\"{slug}\"")), "{slug}");
    }
}

#[test]
fn what_is_no_proxy_is_said() {
    for url in ["http://127.0.0.1:1", "ftp://x", "http://a/b"] {
        let (well, said) = berth(&["doctor", url], Path::new("."));
        assert!(!well && said.contains(url.trim_start_matches("http://")), "{said}");
    }
}
