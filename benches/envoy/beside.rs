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

/// A stream of a thousand events.
pub(crate) struct Streams {
    /// Milliseconds of processor without a filter.
    pub(crate) whole_ms: f64,
    /// What a filter adds that does nothing, in microseconds.
    pub(crate) noop: Figure,
    /// What one adds that makes Berth's calls and decides nothing.
    pub(crate) calls: Figure,
    /// What Berth adds.
    pub(crate) berth: Figure,
    /// What Berth adds to the filter that makes its calls.
    pub(crate) over: Figure,
}

impl Streams {
    /// In words.
    pub(crate) fn text(&self) -> String {
        let us = |f: Figure| format!("{:.0} µs ({:.0} to {:.0})", f.value, f.low, f.high);
        format!(
            "{:.1} ms of processor without a filter. One that does nothing, on the bare ABI, adds {}; one that makes the calls \
             of Berth by default, with its route, {}; Berth by default {}, over that one {}.\n",
            self.whole_ms,
            us(self.noop),
            us(self.calls),
            us(self.berth),
            us(self.over)
        )
    }
}

/// What a stream of a thousand events costs without a filter, with ones that decide nothing, and with Berth by default.
///
/// All are listeners of one proxy: what two proxies differ by, started alike, is more than what is looked for. The tick
/// is in no figure, since it goes on in all.
pub(crate) async fn streams(modules: &Modules, upstream: SocketAddr, sessions: usize, rounds: usize) -> Streams {
    const STREAMS: usize = 4;
    let filters = [
        Filter::None,
        Filter::NoOp(modules.raw.clone()),
        Filter::Floor(modules.floor.clone(), true),
        Filter::Berth(modules.placement.clone(), variants::by_default()),
    ];
    let variants = filters.map(|filter| Variant::plain("", "", 6, filter));
    let mut bootstrap = variants[3].bootstrap(upstream, None);
    let listeners = variants.iter().enumerate().map(|(at, variant)| {
        let mut listener = variant.bootstrap(upstream, None)["static_resources"]["listeners"][0].take();
        listener["name"] = json!(format!("streams-{at}"));
        listener
    });
    bootstrap["static_resources"]["listeners"] = listeners.collect();
    let named = world::expected(6);
    let headers = [&world::HEADERS[..], &[("x-placement-cluster", &*named)]].concat();
    let asks =
        [&headers[..], &headers, &world::HEADERS, &world::HEADERS].map(|headers| request("/stream", headers, ""));
    let (mut levels, mut pairs) = (Vec::new(), [const { Vec::new() }; 4]);
    for session in 0..sessions {
        let envoy = Envoy::start_with(workdir(), &bootstrap, 1).await;
        pin(envoy.pid(), Side::Proxy);
        let mut loads = [0, 1, 2, 3].map(|at| Load::open(envoy.listener(&format!("streams-{at}")), 1).unwrap());
        let mut one = |at: usize| {
            let before = cpu_ns(envoy.pid());
            for _ in 0..STREAMS {
                let answer = loads[at].ask(&asks[at]).unwrap();
                assert!(answer.status == 200 && answer.body_bytes > EVENTS * 40, "{answer:?}");
            }
            (cpu_ns(envoy.pid()) - before) as f64 / 1e3 / STREAMS as f64
        };
        // The first ones are not counted.
        (0..variants.len()).for_each(|at| _ = one(at));
        let mut seen = Vec::new();
        for round in 0..rounds {
            // Who goes first changes from round to round.
            let mut took = [0.0; 4];
            for at in (0..variants.len()).map(|at| (at + round + session) % variants.len()) {
                took[at] = one(at);
            }
            seen.push(took);
        }
        levels.extend(seen.iter().map(|took| took[0]));
        for (pairs, (of, from)) in pairs.iter_mut().zip([(1, 0), (2, 0), (3, 0), (3, 2)]) {
            pairs.push(seen.iter().map(|took| took[of] - took[from]).collect::<Vec<f64>>());
        }
    }
    let [noop, calls, berth, over] = pairs.map(|pairs| difference(&pairs));
    Streams { whole_ms: median(&levels) / 1e3, noop, calls, berth, over }
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
