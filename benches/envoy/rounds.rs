//! Sessions and rounds: in a session every variant has a proxy of its own, started anew, since a start alone moves what
//! it costs; in a round each of them answers the same number of requests, in an order that differs from round to round.
//! What is compared is compared within a round.

use crate::load::{Load, request};
use crate::process::{Side, cpu_ns, pin};
use crate::support::envoy::{Envoy, workdir};
use crate::support::random::Random;
use crate::variants::{Filter, LISTENER, Variant};
use crate::world;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) sessions: usize,
    pub(crate) rounds: usize,
    /// Requests of one variant in one round.
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    /// Requests before anything is measured.
    pub(crate) warm: usize,
    /// Of these, how many sessions also measure with a hop.
    pub(crate) proxied_sessions: usize,
    /// Requests one at a time, a session.
    pub(crate) alone: usize,
}

/// Whether the proxy answers itself or asks an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    NoHop,
    Proxied,
}

/// What was measured of one variant in one setting: microseconds of processor a request, by session and round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) sessions: Vec<Vec<f64>>,
    /// The same of the process that was asked, where there is one.
    pub(crate) beside: Vec<Vec<f64>>,
    /// Of requests one at a time: how long each took, in microseconds.
    pub(crate) alone: Vec<f64>,
}

/// By the variant's id.
pub(crate) type Measured = BTreeMap<(&'static str, Setting), Series>;

/// The process that is asked over gRPC; ended when dropped.
pub(crate) struct Asked {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Asked {
    /// Starts this very program again.
    pub(crate) fn start(size: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(["ext-proc", &size.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: line.trim().parse().unwrap(), child }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A variant at work.
pub(crate) struct Running<'a> {
    pub(crate) variant: &'a Variant,
    pub(crate) envoy: Envoy,
    load: Load,
    direct: Vec<u8>,
    proxied: Vec<u8>,
    asked: Option<u32>,
}

impl<'a> Running<'a> {
    pub(crate) async fn start(variant: &'a Variant, upstream: SocketAddr, asked: &Asked, connections: usize) -> Self {
        let ext_proc = matches!(variant.filter, Filter::ExtProc).then_some(asked);
        let bootstrap = variant.bootstrap(upstream, ext_proc.map(|asked| asked.address));
        let envoy = Envoy::start_with(workdir(), &bootstrap, 1).await;
        pin(envoy.pid(), Side::Proxy);
        let load = Load::open(envoy.listener(LISTENER), connections).unwrap();
        let named = world::expected(variant.size);
        let mut headers = world::HEADERS.to_vec();
        if variant.client_names() {
            headers.push(("x-placement-cluster", &named));
        }
        let direct = request("/direct", &headers, "");
        let proxied = request("/v1/chat/completions", &headers, &world::body(variant.body));
        Self { variant, envoy, load, direct, proxied, asked: ext_proc.map(|asked| asked.child.id()) }
    }

    /// Sends one request through and says where it went and what was left behind.
    pub(crate) fn check(&mut self) -> Result<String, String> {
        let direct = self.load.ask(&self.direct).map_err(|e| e.to_string())?;
        if direct.status != 200 {
            return Err(format!("answered {} without a hop, expected 200", direct.status));
        }
        if !self.variant.places() {
            return Ok(String::new());
        }
        let answer = self.load.ask(&self.proxied).map_err(|e| e.to_string())?;
        let (went, wanted) = (answer.header("x-got").unwrap_or("nowhere"), world::expected(self.variant.size));
        if answer.status != 200 || went != wanted {
            return Err(format!("answered {} by {went}, expected 200 by {wanted}", answer.status));
        }
        Ok(answer.header("x-placement-decision").unwrap_or_default().to_string())
    }

    pub(crate) fn run(&mut self, setting: Setting, count: usize) -> f64 {
        self.measure(setting, count).0
    }

    /// Microseconds of processor a request, of the proxy and of who is asked; not a number where answers were bad.
    fn measure(&mut self, setting: Setting, count: usize) -> (f64, f64) {
        let request = if setting == Setting::NoHop { &self.direct } else { &self.proxied };
        let time = |pid: Option<u32>| pid.map_or(0, cpu_ns);
        let before = (cpu_ns(self.envoy.pid()), time(self.asked));
        let good = self.load.run(request, count).unwrap_or(0);
        let after = (cpu_ns(self.envoy.pid()), time(self.asked));
        if good < count {
            eprintln!("{}: {good} good answers of {count}", self.variant.label);
            return (f64::NAN, f64::NAN);
        }
        let each = |ns: u64| ns as f64 / 1e3 / count as f64;
        (each(after.0 - before.0), each(after.1 - before.1))
    }
}

/// Measures all variants.
pub(crate) async fn measure(variants: &[Variant], upstream: SocketAddr, effort: Effort) -> Measured {
    let mut measured = Measured::new();
    let began = Instant::now();
    for session in 0..effort.sessions {
        let asked = Asked::start(6);
        pin(asked.child.id(), Side::Rest);
        let mut running = Vec::new();
        for variant in variants {
            let mut it = Running::start(variant, upstream, &asked, effort.connections).await;
            match it.check() {
                Ok(record) if session == 0 => eprintln!("{:<36} {record}", variant.label),
                Ok(_) => {}
                Err(why) => panic!("{}: {why}\n{}", variant.label, it.envoy.log()),
            }
            it.run(Setting::NoHop, effort.warm);
            running.push(it);
        }
        for setting in [Setting::NoHop, Setting::Proxied] {
            if setting == Setting::NoHop || session < effort.proxied_sessions {
                rounds(&mut running, setting, session, effort, &mut measured);
                let done = format!("session {} of {}, {setting:?}", session + 1, effort.sessions);
                eprintln!("{done}: {} s, load {}", began.elapsed().as_secs(), crate::process::busy());
            }
        }
    }
    measured
}

fn rounds(running: &mut [Running<'_>], setting: Setting, session: usize, effort: Effort, measured: &mut Measured) {
    let mut random = Random::new(1 + session as u64 * 2 + setting as u64 * 1_000);
    let mut order: Vec<usize> =
        (0..running.len()).filter(|&i| running[i].variant.settings.contains(&setting)).collect();
    for &i in &order {
        let series = measured.entry((running[i].variant.id, setting)).or_default();
        series.sessions.push(Vec::new());
        series.beside.push(Vec::new());
        if setting == Setting::Proxied {
            running[i].run(setting, effort.warm / 2);
            let it = &mut running[i];
            let times = it.load.times(&it.proxied, effort.alone).unwrap_or_default();
            series.alone.extend(times.iter().map(|time| time.as_secs_f64() * 1e6));
        }
    }
    for _ in 0..effort.rounds {
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        for &i in &order {
            let (own, beside) = running[i].measure(setting, effort.requests);
            let series = measured.entry((running[i].variant.id, setting)).or_default();
            series.sessions.last_mut().unwrap().push(own);
            series.beside.last_mut().unwrap().push(beside);
        }
    }
}
