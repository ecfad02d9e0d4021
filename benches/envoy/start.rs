//! What a module costs before the first request: its size, the time to load it, memory by workers, and how long a new
//! configuration takes to rule.

use crate::load::{Load, request};
use crate::process::{Side, cpu_ns, pin, resident_kib};
use crate::stats::median;
use crate::support::bootstrap::{ecds_resource, wasm_filter_by_ecds};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::table::Table;
use crate::variants::{self, Filter, LISTENER, Modules, Variant};
use crate::world;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

const WORKERS: [u32; 3] = [1, 2, 4];
/// Requests before memory is looked at.
const REQUESTS: usize = 2_000;

/// One way to start.
#[derive(Debug)]
struct Way {
    label: &'static str,
    variant: Variant,
    modules: Vec<PathBuf>,
}

/// What was measured of one way.
#[derive(Debug, Default)]
struct Started {
    cpu_ms: f64,
    wall_ms: f64,
    /// In MiB, by workers.
    memory: Vec<f64>,
}

/// The table, and of one role: MiB over no filter with one worker, and for each further one; both roles' as well.
#[derive(Debug)]
pub(crate) struct Starts {
    pub(crate) table: Table,
    pub(crate) first_mib: f64,
    pub(crate) further_mib: f64,
}

fn ways(modules: &Modules) -> Vec<Way> {
    let variant = |id, filter| Variant::plain(id, "", 6, filter);
    let placement = || Filter::Berth(modules.placement.clone(), variants::by_default());
    let both = Variant { telemetry: Some(modules.full.clone()), ..variant("both", placement()) };
    vec![
        Way { label: "no filter", variant: variant("none", Filter::None), modules: Vec::new() },
        Way {
            label: "no-op, SDK",
            variant: variant("sdk", Filter::NoOp(modules.sdk.clone())),
            modules: vec![modules.sdk.clone()],
        },
        Way {
            label: "Berth, placement",
            variant: variant("one", placement()),
            modules: vec![modules.placement.clone()],
        },
        Way {
            label: "Berth, both roles",
            variant: both,
            modules: vec![modules.placement.clone(), modules.full.clone()],
        },
    ]
}

/// Starts proxies and looks at them.
pub(crate) async fn starts(modules: &Modules, upstream: SocketAddr, repeats: usize) -> Starts {
    let ways = ways(modules);
    let mut seen: Vec<Vec<[Vec<f64>; 3]>> = vec![vec![Default::default(); WORKERS.len()]; ways.len()];
    for _ in 0..repeats {
        for (way, seen) in ways.iter().zip(&mut seen) {
            for (workers, seen) in WORKERS.iter().zip(seen) {
                let one = start(&way.variant, upstream, *workers).await;
                seen.iter_mut().zip(one).for_each(|(all, one)| all.push(one));
            }
        }
    }
    let started = |seen: &Vec<[Vec<f64>; 3]>| Started {
        cpu_ms: median(&seen[0][0]),
        wall_ms: median(&seen[0][1]),
        memory: seen.iter().map(|by_workers| median(&by_workers[2])).collect(),
    };
    let started: Vec<Started> = seen.iter().map(started).collect();
    let mut table = Table::new(&[
        "start",
        "module, bytes",
        "CPU to ready, ms",
        "over no filter",
        "wall, ms",
        "memory, MiB: 1 worker",
        "2",
        "4",
    ]);
    let base = &started[0];
    for (way, it) in ways.iter().zip(&started) {
        let bytes: Vec<String> = way.modules.iter().map(|path| size(path).to_string()).collect();
        let mut row = vec![way.label.to_string(), bytes.join(" + ")];
        row.extend([it.cpu_ms, it.cpu_ms - base.cpu_ms, it.wall_ms].map(|ms| format!("{ms:.0}")));
        row.extend(it.memory.iter().zip(&base.memory).map(|(own, base)| format!("{own:.1} (+{:.1})", own - base)));
        table.row(row);
    }
    let over = |at: usize| started[2].memory[at] - base.memory[at];
    Starts { table, first_mib: over(0), further_mib: (over(2) - over(0)) / 3.0 }
}

/// Bytes of a file.
pub(crate) fn size(path: &std::path::Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Milliseconds of processor and of the clock until it was ready, and MiB after some requests.
async fn start(variant: &Variant, upstream: SocketAddr, workers: u32) -> [f64; 3] {
    let bootstrap = variant.bootstrap(upstream, None);
    let began = Instant::now();
    let envoy = Envoy::start_with(workdir(), &bootstrap, workers).await;
    let (wall, cpu) = (began.elapsed(), cpu_ns(envoy.pid()));
    let named = world::expected(variant.size);
    let mut headers = world::HEADERS.to_vec();
    headers.push(("x-placement-cluster", &named));
    let mut load = Load::open(envoy.listener(LISTENER), 32).unwrap();
    let good = load.run(&request("/direct", &headers, ""), REQUESTS).unwrap();
    assert_eq!(good, REQUESTS, "{}", envoy.log());
    [cpu as f64 / 1e6, wall.as_secs_f64() * 1e3, resident_kib(envoy.pid()) as f64 / 1_024.0]
}

/// How long a new policy takes until requests are decided by it, from the moment that its file is in place.
pub(crate) async fn pushes(modules: &Modules, upstream: SocketAddr, repeats: usize) -> Table {
    let mut table = Table::new(&["configuration push (ECDS)", "until it rules, ms", "CPU, ms"]);
    for size in [6, 64, 512] {
        let mut configuration = world::placement(size, &variants::by_default());
        let resource = |configuration: &Value, version: usize| {
            ecds_resource(&modules.placement, "placement", &version.to_string(), configuration)
        };
        let dir = workdir();
        replace_file(&dir, "ecds.json", &resource(&configuration, 1));
        let filter = Filter::Berth(modules.placement.clone(), variants::by_default());
        let mut bootstrap = Variant::plain("push", "", size, filter).bootstrap(upstream, None);
        let filters = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        filters["typed_config"]["http_filters"][0] = wasm_filter_by_ecds("placement", &dir.join("ecds.json"));
        let envoy = Envoy::start_with(dir, &bootstrap, 1).await;
        pin(envoy.pid(), Side::Proxy);
        let mut load = Load::open(envoy.listener(LISTENER), 1).unwrap();
        let ask = request("/direct", &world::HEADERS, "");
        let (mut wall_ms, mut cpu_ms) = (Vec::new(), Vec::new());
        for version in 2..2 + repeats {
            configuration["policy"]["policy"]["version"] = version.into();
            let label = format!("bench@{version}#");
            let before = cpu_ns(envoy.pid());
            envoy.replace_file("ecds.json", &resource(&configuration, version));
            let began = Instant::now();
            let rules = |load: &mut Load| {
                load.ask(&ask).unwrap().header("x-placement-decision").is_some_and(|d| d.contains(&label))
            };
            while !rules(&mut load) {
                assert!(began.elapsed().as_secs() < 30, "the push was not taken:\n{}", envoy.log());
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            wall_ms.push(began.elapsed().as_secs_f64() * 1e3);
            cpu_ms.push((cpu_ns(envoy.pid()) - before) as f64 / 1e6);
        }
        let ms = |all: &[f64]| format!("{:.0}", median(all));
        table.row(vec![format!("{size} substrates"), ms(&wall_ms), ms(&cpu_ms)]);
    }
    table
}
