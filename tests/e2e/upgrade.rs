//! An upgrade under load: five hundred policies pushed, the module swapped and swapped back, and no request that fails.

use crate::rendered::{Site, berth, policy};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::Envoy;
use crate::support::{built, eventually};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const PUSHES: usize = 500;
/// What memory may grow by over the other four hundred: about 2 KiB a push were seen.
const MOST_KIB: u64 = 6 * 1024;

/// The memory of a process that is in use.
fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The proxy behind the shell that watches over it.
fn envoy_pid(envoy: &Envoy) -> u32 {
    envoy.pid()
}

fn push(dir: &Path, text: &str) {
    fs::write(dir.join("placement.new"), text).unwrap();
    fs::rename(dir.join("placement.new"), dir.join("placement.yaml")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_policies_and_modules_change() {
    let site = Site::open(&policy(), "").await;
    site.render("envoy-discovered");
    let envoy = Envoy::start_file(site.dir.clone(), "envoy.yaml").await;
    let version = "wasmcustom.berth.policy.version";
    envoy.await_stat(version, |version| version == 1).await;
    let address = envoy.listener("ingress");
    eventually("the mesh places", || async {
        let seen = Ask::post(address, "/v1/chat/completions", "{}").header("x-tenant", "acme").send().await.ok()?;
        (seen.status == 200).then_some(())
    })
    .await;

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (stop, asked) = (stop.clone(), asked.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let ask = Ask::post(address, "/v1/chat/completions", "{}").over(BOTH[client % 2]);
                    match ask.header("x-tenant", "acme").send().await {
                        Ok(seen) if seen.status == 200 => {}
                        Ok(seen) => failed.push(format!("{} {}", seen.status, seen.text())),
                        Err(why) => failed.push(why),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        })
        .collect();

    let text = fs::read_to_string(site.dir.join("placement.yaml")).unwrap();
    let of = |n: usize| text.replace(r#""version": 1,"#, &format!(r#""version": {n},"#));
    assert_ne!(of(2), text);
    let reload = "extension_config_discovery.http_filter.berth.placement.config_reload";
    let mut early = 0;
    for n in 2..PUSHES + 2 {
        push(&site.dir, &of(n));
        let wanted = u64::try_from(n).unwrap();
        envoy.await_stat(version, |version| version == wanted).await;
        if n == 102 {
            early = rss_kib(envoy_pid(&envoy));
        }
    }
    let late = rss_kib(envoy_pid(&envoy));

    // Another module with the same policy, then the one from before: the picture that is there is read by both.
    let other = site.dir.join("other.wasm");
    fs::copy(built("berth-placement.wasm"), &other).unwrap();
    let (old, new) = (built("berth.wasm").display().to_string(), other.display().to_string());
    for (round, swapped) in [of(1001).replace(&old, &new), of(1002)].into_iter().enumerate() {
        push(&site.dir, &swapped);
        envoy.await_stat(version, |version| version == 1001 + round as u64).await;
    }
    let epoch = envoy.stat("wasmcustom.berth.snapshot.epoch").await;
    envoy.await_stat("wasmcustom.berth.snapshot.epoch", |now| now > epoch).await;
    assert_eq!(envoy.stat("wasmcustom.berth.snapshot.refused").await, 0);

    stop.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for client in clients {
        failed.extend(client.await.unwrap());
    }
    let asked = asked.load(Ordering::Relaxed);
    println!(
        "{asked} requests, {} failed; {} configurations taken; {early} KiB after 100 pushes, {late} KiB after {PUSHES}",
        failed.len(),
        envoy.stat(reload).await,
    );
    assert!(failed.is_empty(), "{} of {asked} failed: {:?}", failed.len(), failed.iter().take(5).collect::<Vec<_>>());
    assert!(asked > 1_000, "there was load: {asked}");
    assert!(late < early + MOST_KIB, "{early} KiB after 100 pushes, {late} KiB after {PUSHES}");
    eventually("the doctor is content", || async {
        let (well, said) = berth(&["doctor", &format!("http://{}", envoy.admin_address())], &site.dir);
        if !well {
            eprintln!("{said}");
        }
        well.then_some(())
    })
    .await;
}
