//! `berth doctor` against real proxies: content with what `berth render` makes, and not with what was broken after.

use crate::rendered::{Site, berth, policy};
use crate::support::envoy::Envoy;
use crate::support::eventually;
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

#[test]
fn what_is_no_proxy_is_said() {
    for url in ["http://127.0.0.1:1", "ftp://x", "http://a/b"] {
        let (well, said) = berth(&["doctor", url], Path::new("."));
        assert!(!well && said.contains(url.trim_start_matches("http://")), "{said}");
    }
}
