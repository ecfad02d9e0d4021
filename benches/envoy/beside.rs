//! What is beside the request path: streams of a thousand events, and what the telemetry role costs while requests come
//! at a steady rate.

use crate::load::{Load, request};
use crate::process::{Side, cpu_ns, pin};
use crate::stats::{Figure, difference, median};
use crate::support::bootstrap::{Carried, plugin};
use crate::support::envoy::{Envoy, workdir};
use crate::table::Table;
use crate::upstream::EVENTS;
use crate::variants::{self, Filter, LISTENER, Modules, Variant};
use crate::world;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Requests a second, and substrates that are asked for their health each second.
const RATE: u32 = 1_000;
const SUBSTRATES: usize = 32;

struct At {
    envoy: Envoy,
    load: Load,
    ask: Vec<u8>,
}

async fn at(bootstrap: &Value, names: bool, size: usize, path: &str, body: &str) -> At {
    let envoy = Envoy::start_with(workdir(), bootstrap, 1).await;
    pin(envoy.pid(), Side::Proxy);
    let load = Load::open(envoy.listener(LISTENER), 1).unwrap();
    let named = world::expected(size);
    let mut headers = world::HEADERS.to_vec();
    if names {
        headers.push(("x-placement-cluster", &named));
    }
    At { envoy, load, ask: request(path, &headers, body) }
}

/// Milliseconds of processor for a stream of a thousand events without a filter, and what Berth adds, in microseconds.
///
/// Both are listeners of one proxy: what two proxies differ by, started alike, is more than what is looked for. The tick
/// is in neither figure, since it goes on in both.
pub(crate) async fn streams(modules: &Modules, upstream: SocketAddr, sessions: usize, rounds: usize) -> (f64, Figure) {
    const STREAMS: usize = 4;
    const PLAIN: &str = "plain";
    let none = Variant::plain("none", "", 6, Filter::None);
    let berth = Variant::plain("berth", "", 6, Filter::Berth(modules.placement.clone(), variants::by_default()));
    let mut plain = none.bootstrap(upstream, None)["static_resources"]["listeners"][0].take();
    plain["name"] = json!(PLAIN);
    let mut bootstrap = berth.bootstrap(upstream, None);
    bootstrap["static_resources"]["listeners"].as_array_mut().unwrap().push(plain);
    let (mut pairs, mut levels) = (Vec::new(), Vec::new());
    for session in 0..sessions {
        let mut with = at(&bootstrap, false, 6, "/stream", "").await;
        let named = world::expected(6);
        let headers = [&world::HEADERS[..], &[("x-placement-cluster", &*named)]].concat();
        let (mut load, ask) = (Load::open(with.envoy.listener(PLAIN), 1).unwrap(), request("/stream", &headers, ""));
        let pid = with.envoy.pid();
        let one = |load: &mut Load, ask: &[u8]| {
            let before = cpu_ns(pid);
            for _ in 0..STREAMS {
                let answer = load.ask(ask).unwrap();
                assert!(answer.status == 200 && answer.body_bytes > EVENTS * 40, "{answer:?}");
            }
            (cpu_ns(pid) - before) as f64 / 1e3 / STREAMS as f64
        };
        // The first ones are not counted.
        one(&mut load, &ask);
        one(&mut with.load, &with.ask);
        let mut differences = Vec::new();
        for round in 0..rounds {
            // Who goes first changes from round to round.
            let (a, b) = if (round + session) % 2 == 0 {
                let a = one(&mut load, &ask);
                (a, one(&mut with.load, &with.ask))
            } else {
                let b = one(&mut with.load, &with.ask);
                (one(&mut load, &ask), b)
            };
            levels.push(a);
            differences.push(b - a);
        }
        pairs.push(differences);
    }
    (median(&levels) / 1e3, difference(&pairs))
}

/// The telemetry role's cost: processor a second at a steady rate, without it, with it, and with its filter inside the
/// clusters too.
pub(crate) async fn telemetry(modules: &Modules, upstream: SocketAddr, rounds: usize, seconds: u64) -> Table {
    let berth = Filter::Berth(modules.placement.clone(), variants::by_default());
    let alone = Variant::plain("alone", "", SUBSTRATES, berth);
    let pulling = Variant { telemetry: Some(modules.full.clone()), ..alone.clone() };
    let mut observing = pulling.bootstrap(upstream, None);
    observe(&mut observing, modules);
    let ways = [
        ("placement alone", alone.bootstrap(upstream, None)),
        ("and telemetry, pulling", pulling.bootstrap(upstream, None)),
        ("and observing answers", observing),
    ];
    let body = world::body(400);
    let mut running = Vec::new();
    for (_, bootstrap) in &ways {
        running.push(at(bootstrap, false, SUBSTRATES, "/v1/chat/completions", &body).await);
    }
    let mut seen = vec![Vec::new(); ways.len()];
    let time = Duration::from_secs(seconds);
    for _ in 0..rounds {
        for (at, seen) in running.iter_mut().zip(&mut seen) {
            let before = cpu_ns(at.envoy.pid());
            let good = at.load.paced(&at.ask, RATE, time).unwrap();
            assert_eq!(good as u64, u64::from(RATE) * seconds, "{}", at.envoy.log());
            seen.push((cpu_ns(at.envoy.pid()) - before) as f64 / 1e6 / time.as_secs_f64());
        }
    }
    let mut table = Table::new(&[
        &format!("{RATE} requests/s, {SUBSTRATES} substrates pulled each second"),
        "CPU, ms a second",
        "share of a worker",
        "added",
    ]);
    let base = median(&seen[0]);
    for ((label, _), seen) in ways.iter().zip(&seen) {
        let own = median(seen);
        let share = |ms: f64| format!("{:.2} %", ms / 10.0);
        table.row(vec![(*label).into(), format!("{own:.1}"), share(own), share(own - base)]);
    }
    table
}

/// The observing filter inside every cluster.
fn observe(bootstrap: &mut Value, modules: &Modules) {
    let configuration = json!({"role": "telemetry", "observe": true});
    let filter = json!({"name": "berth.telemetry", "typed_config": plugin(&modules.full, "telemetry", &configuration, Carried::Text)});
    let codec = json!({"name": "codec", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"}});
    for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().unwrap() {
        let options = &mut cluster["typed_extension_protocol_options"];
        options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"] = json!([filter, codec]);
    }
}
