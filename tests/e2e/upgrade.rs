//! An upgrade under load: five hundred policies pushed, the module swapped and swapped back on the way, and no request that
//! fails or is lost from the counts. `OTHER_MODULE=FILE` swaps with that one, say of an older release.

use crate::rendered::{Site, berth, policy};
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::Envoy;
use crate::support::{built, eventually};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const PUSHES: usize = 500;
/// The module is another from this push on, and the first again from that one on.
const SWAPS: [usize; 2] = [200, 350];
/// What memory may grow by over a hundred pushes of policies; next to nothing was seen.
const PUSHES_KIB: u64 = 3 * 1024;
/// And over all of them with two swaps, each of which compiles a module: 18 MiB were seen. It does not go on: eighty swaps
/// took 42 MiB, and the last forty of them nothing.
const SWAPS_KIB: u64 = 36 * 1024;

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

/// What a VM that goes may leave unsaid: a few requests a tick and worker.
const UNTOLD: u64 = 40;

/// The sum of a counter over its labels.
fn decisions(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with("berth_decisions{"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
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
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    eventually("the mesh places", || async {
        let seen = Ask::post(address, "/v1/chat/completions", "{}").header("x-tenant", "acme").send().await.ok()?;
        asked.fetch_add(1, Ordering::Relaxed);
        (seen.status == 200).then_some(())
    })
    .await;

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
    let first = built("berth.wasm").display().to_string();
    let other = site.dir.join("other.wasm");
    fs::copy(std::env::var_os("OTHER_MODULE").map_or_else(|| built("berth-placement.wasm"), Into::into), &other)
        .unwrap();
    let other = other.display().to_string();
    let of = |n: usize| {
        let pushed = text.replace(r#""version": 1,"#, &format!(r#""version": {n},"#));
        if (SWAPS[0]..SWAPS[1]).contains(&n) { pushed.replace(&first, &other) } else { pushed }
    };
    assert!(of(2) != text && !of(SWAPS[0]).contains(&first));
    let reload = "extension_config_discovery.http_filter.berth.placement.config_reload";
    let (mut early, mut before) = (0, 0);
    for n in 2..PUSHES + 2 {
        push(&site.dir, &of(n));
        let wanted = u64::try_from(n).unwrap();
        envoy.await_stat(version, |version| version == wanted).await;
        match n {
            99 => early = rss_kib(envoy_pid(&envoy)),
            199 => before = rss_kib(envoy_pid(&envoy)),
            _ => {}
        }
        if SWAPS.contains(&n) {
            // Whichever module it is reads the picture, and goes on reading it.
            let epoch = envoy.stat("wasmcustom.berth.snapshot.epoch").await;
            envoy.await_stat("wasmcustom.berth.snapshot.epoch", |now| now > epoch).await;
        }
    }
    let late = rss_kib(envoy_pid(&envoy));
    assert_eq!(envoy.stat("wasmcustom.berth.snapshot.refused").await, 0);

    stop.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for client in clients {
        failed.extend(client.await.unwrap());
    }
    let asked = asked.load(Ordering::Relaxed);
    println!(
        "{asked} requests, {} failed; {} configurations taken; {early} KiB after 100 pushes, {before} KiB after 200, \
         {late} KiB after {PUSHES} and two swaps",
        failed.len(),
        envoy.stat(reload).await,
    );
    assert!(failed.is_empty(), "{} of {asked} failed: {:?}", failed.len(), failed.iter().take(5).collect::<Vec<_>>());
    assert!(asked > 1_000, "there was load: {asked}");
    assert!(before < early + PUSHES_KIB, "{early} KiB after 100 pushes, {before} KiB after 200");
    assert!(late < early + SWAPS_KIB, "{early} KiB after 100 pushes, {late} KiB after {PUSHES} and two swaps");
    // Every request was decided once, by whichever policy and module, and counted; but for what the small module, which hears
    // of no root's end, had counted since its last tick when its VMs went.
    eventually("all decisions are counted", || async {
        let decided = decisions(&envoy.admin_get("/stats/prometheus").await.text());
        assert!(decided <= asked as u64, "{decided} decisions of {asked} requests");
        (decided + UNTOLD >= asked as u64).then(|| println!("{decided} decisions of {asked} requests"))
    })
    .await;
    eventually("the doctor is content", || async {
        let (well, said) = berth(&["doctor", &format!("http://{}", envoy.admin_address())], &site.dir);
        if !well {
            eprintln!("{said}");
        }
        well.then_some(())
    })
    .await;
}
