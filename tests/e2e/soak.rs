//! Load, faults, configurations and telemetry that come and go, for SOAK_SECONDS: every answer is explained, nothing
//! leaves its envelope, memory stays, and what the metrics counted is what the log says. Prints a table.

use crate::attempts::{self, at};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, ecds_resource, wasm_filter, wasm_filter_by_ecds};
use crate::support::client::{Http, Line};
use crate::support::envoy::{Envoy, replace_file, workdir};
use crate::support::policy::observe;
use crate::support::random::Random;
use crate::support::upstream::{Script, Upstream};
use crate::support::{PATIENCE, built};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What one minute shows in a test run; `make soak` takes ten.
const SECONDS: u64 = 60;
/// The steps of the ramp by which capacity is found: so many clients that each ask as fast as they are answered.
const RAMP: [usize; 4] = [8, 16, 32, 64];
/// How long a step lasts.
const STEP: Duration = Duration::from_secs(2);
/// Connections at most: at a fixed rate more of them are under way when answers are late.
const LINES: usize = 512;
/// The share of its capacity that Envoy is given to do.
const LOAD: f64 = 0.7;
const NAMES: [&str; 4] = ["a", "b", "c", "forbidden"];
/// Who may go where.
const PERMITTED: [(&str, &str, &[&str]); 3] =
    [("acme", "/acme", &["a", "b", "c"]), ("globex", "/globex", &["a", "c"]), ("initech", "/initech", &["forbidden"])];
/// What a fault may still be felt after it: the deadline and the time a retry or an open circuit takes to pass.
const FELT_MS: u64 = 1_500;
/// How much later than asked for this program has to wake up to know that the machine did not let it run: the
/// substrates are in it, and answer as late.
const STALLED_MS: u64 = 200;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn policy(version: usize) -> Value {
    let mut policy = attempts::policy();
    policy["policy"]["version"] = version.into();
    for class in policy["classes"].as_array_mut().unwrap() {
        class["deadline_ms"] = 1_000.into();
    }
    // A circuit that opens here closes again within the test.
    policy["breaking"] = json!({"open_ms": 500, "open_most_ms": 2_000, "dwell_ms": 200, "hold_down_ms": 400});
    policy
}

fn placement(version: usize) -> Value {
    let mut configuration = attempts::placement(Way::Full);
    configuration["policy"] = policy(version);
    configuration
}

fn health(name: &str, queue_depth: usize) -> Script {
    Script::ok(&json!({"substrate": name, "signals": {"queue_depth": queue_depth, "memory_pressure": 0.3}}).to_string())
}

struct World {
    envoy: Envoy,
    upstreams: Vec<Upstream>,
    /// When which substrate was made to fail, and until when.
    faults: std::sync::Mutex<Vec<(usize, u64, u64)>>,
    /// From when until when nothing here ran.
    stalls: std::sync::Mutex<Vec<(u64, u64)>>,
    answered: AtomicU64,
    statuses: std::sync::Mutex<BTreeMap<u16, u64>>,
    broken: AtomicU64,
    unanswered: AtomicU64,
}

impl World {
    async fn start() -> Self {
        let (mut upstreams, dir, module) = (Vec::new(), workdir(), built("berth.wasm"));
        let watch = wasm_filter(&module, "telemetry", &observe(), Carried::Text);
        let mut bootstrap = Bootstrap::default();
        for name in NAMES {
            let upstream = Upstream::start(name).await;
            upstream.does_at("/health", health(name, 0));
            let endpoint = berth::manifest::envoy::cluster::Endpoint {
                filters: vec![watch.clone()],
                ..at(&upstream, name == "b")
            };
            bootstrap = bootstrap.substrate(name, &endpoint);
            upstreams.push(upstream);
        }
        let source = |u: &Upstream| json!({"cluster": u.name, "path": "/health", "substrate": u.name, "interval_ms": 200, "timeout_ms": 150});
        let telemetry = json!({"role": "telemetry", "policy": policy(1), "tick_ms": 100,
            "sources": upstreams.iter().map(source).collect::<Vec<_>>()});
        replace_file(
            &dir,
            "placement.json",
            &ecds_resource(&built("berth-placement.wasm"), "placement", "1", &placement(1)),
        );
        let mut bootstrap = bootstrap
            .filter(wasm_filter_by_ecds("placement", &dir.join("placement.json")))
            .routes(Way::Full, &NAMES, None)
            .telemetry(wasm_filter(&module, "telemetry", &telemetry, Carried::Text))
            .build();
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        http["access_log"][0]["typed_config"]["log_format"]["json_format"]["begun"] = "%START_TIME(%s%3f)%".into();
        let envoy = Envoy::start_in(dir, &bootstrap).await;
        Self {
            envoy,
            upstreams,
            faults: std::sync::Mutex::default(),
            stalls: std::sync::Mutex::default(),
            answered: AtomicU64::default(),
            statuses: std::sync::Mutex::default(),
            broken: AtomicU64::default(),
            unanswered: AtomicU64::default(),
        }
    }

    /// One request on one of the connections, which is opened anew when it has ended.
    async fn request(&self, number: usize, line: &mut Line, http: Http) {
        let mut random = Random::new((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (tenant, path, _) = PERMITTED[random.below(PERMITTED.len())];
        let class = ["once", "again", "else"][random.below(3)];
        let headers = [("x-tenant", tenant), ("x-workload", class), ("x-placement-cluster", "forbidden")];
        if line.is_closed() {
            *line = Line::open(self.envoy.listener(INGRESS), http).await;
        }
        match line.post(path, &headers, vec![b'x'; random.below(2_000)]).await {
            Ok((status, whole)) => {
                *self.statuses.lock().unwrap().entry(status).or_insert(0) += 1;
                self.broken.fetch_add(u64::from(!whole), Ordering::Relaxed);
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                *line = Line::open(self.envoy.listener(INGRESS), http).await;
            }
        }
    }

    async fn open(&self, number: usize) -> (Line, Http) {
        let http = if number.is_multiple_of(2) { Http::One } else { Http::Two };
        (Line::open(self.envoy.listener(INGRESS), http).await, http)
    }

    /// The most requests a second that are answered when so many clients ask as fast as they are answered, and nothing
    /// fails.
    async fn capacity(self: &Arc<Self>) -> f64 {
        let mut most = 0.0_f64;
        for clients in RAMP {
            let (before, begun) = (self.answered.load(Ordering::Relaxed), Instant::now());
            let mut all = tokio::task::JoinSet::new();
            for client in 0..clients {
                let world = self.clone();
                all.spawn(async move {
                    let (mut line, http) = world.open(client).await;
                    for nth in 0.. {
                        if begun.elapsed() >= STEP {
                            break;
                        }
                        world.request(client * 1_000_000 + nth, &mut line, http).await;
                    }
                });
            }
            all.join_all().await;
            most = most.max((self.answered.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64());
        }
        most
    }

    /// Sends requests at a rate, whether those before are answered or not; gives how many could not be sent as every
    /// connection was waiting.
    async fn offer(self: &Arc<Self>, rate: f64, lasting: Duration) -> u64 {
        let idle = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (mut opened, mut sent, mut put_off) = (0, 0, 0);
        let (mut all, begun) = (tokio::task::JoinSet::new(), Instant::now());
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        while begun.elapsed() < lasting {
            tick.tick().await;
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            while sent + put_off < due {
                let next = idle.lock().unwrap().pop();
                let line = match next {
                    Some(line) => line,
                    None if opened < LINES => {
                        opened += 1;
                        self.open(opened).await
                    }
                    None => {
                        put_off += 1;
                        continue;
                    }
                };
                sent += 1;
                let (world, idle, number, (mut line, http)) = (self.clone(), idle.clone(), sent as usize, line);
                all.spawn(async move {
                    world.request(number, &mut line, http).await;
                    idle.lock().unwrap().push((line, http));
                });
            }
            while all.try_join_next().is_some() {}
        }
        all.join_all().await;
        put_off
    }

    /// Makes the substrates fail and recover, every few seconds in another way.
    async fn break_substrates(self: Arc<Self>, done: Arc<AtomicBool>) {
        let mut random = Random::new(0xfa17);
        while !done.load(Ordering::Relaxed) {
            for (at, upstream) in self.upstreams.iter().enumerate() {
                let script = match random.below(20) {
                    0 => Script::overloaded(1),
                    1 => Script::status(503),
                    2 => Script::status(500),
                    3 => Script::Reset,
                    4 => Script::Close,
                    5 => Script::after(400, Script::ok(&upstream.name)),
                    6 => Script::BreakOff,
                    _ => Script::ok(&upstream.name),
                };
                let fails = !matches!(script, Script::Answer(200, ..));
                upstream.does(script);
                let mut faults = self.faults.lock().unwrap();
                // The fault before ends now; this one has no end yet.
                if let Some(open) = faults.iter_mut().rev().find(|(of, _, until)| *of == at && *until == u64::MAX) {
                    open.2 = now_ms();
                }
                if fails {
                    faults.push((at, now_ms(), u64::MAX));
                }
            }
            let health_of = |random: &mut Random, name: &str| match random.below(8) {
                0 => Script::status(500),
                1 => Script::after(3_000, Script::ok("{}")),
                2 => Script::ok("<html>"),
                3 => Script::BreakOff,
                _ => health(name, random.below(6)),
            };
            self.upstreams.iter().for_each(|u| u.does_at("/health", health_of(&mut random, &u.name)));
            tokio::time::sleep(Duration::from_millis(1_500 + random.below(2_500) as u64)).await;
        }
    }

    /// Pushes configurations, one of three of which is wrong; gives how many.
    async fn push(self: Arc<Self>, done: Arc<AtomicBool>) -> usize {
        let mut pushed = 0;
        while !done.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            pushed += 1;
            let mut configuration = placement(pushed + 1);
            if pushed % 3 == 0 {
                configuration["policy"]["substrates"][0]["kind"] = "mainframe".into();
            }
            let resource =
                ecds_resource(&built("berth-placement.wasm"), "placement", &(pushed + 1).to_string(), &configuration);
            self.envoy.replace_file("placement.json", &resource);
        }
        pushed
    }

    /// Takes over what arrived, and says how much of it was outside its envelope.
    async fn count(self: Arc<Self>, done: Arc<AtomicBool>) -> (u64, u64) {
        let (mut arrived, mut outside) = (0, 0);
        loop {
            let last = done.load(Ordering::Relaxed);
            for upstream in &self.upstreams {
                for received in upstream.take_received().into_iter().filter(|r| r.path != "/health") {
                    let permitted =
                        PERMITTED.iter().any(|(_, path, at)| *path == received.path && at.contains(&&*upstream.name));
                    arrived += 1;
                    outside += u64::from(!permitted);
                }
            }
            if last {
                return (arrived, outside);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn resident_kib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.envoy.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    async fn weigh(self: Arc<Self>, done: Arc<AtomicBool>) -> Vec<(f64, f64)> {
        let (begun, mut weights) = (Instant::now(), Vec::new());
        while !done.load(Ordering::Relaxed) {
            weights.push((begun.elapsed().as_secs_f64(), self.resident_kib()));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        weights
    }

    /// Whether this substrate was made to fail at a time when the request could have met it.
    fn failed_at(&self, name: &str, begun_ms: u64) -> bool {
        let faults = self.faults.lock().unwrap();
        let met = |(at, from, until): &(usize, u64, u64)| {
            NAMES[*at] == name && begun_ms + FELT_MS >= *from && begun_ms <= until.saturating_add(FELT_MS)
        };
        faults.iter().any(met)
    }

    /// Writes down when the machine did not let this program run.
    async fn watch_machine(self: Arc<Self>, done: Arc<AtomicBool>) {
        while !done.load(Ordering::Relaxed) {
            let from = now_ms();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let until = now_ms();
            if until > from + 20 + STALLED_MS {
                self.stalls.lock().unwrap().push((from, until));
            }
        }
    }

    /// Whether a request was late for no other reason than that nothing ran.
    fn stalled(&self, line: &Value, begun_ms: u64) -> bool {
        let within = |(from, until): &(u64, u64)| begun_ms + FELT_MS >= *from && begun_ms <= *until;
        line["status"] == 504 && self.stalls.lock().unwrap().iter().any(within)
    }

    /// Whether a line of the log has a reason for what the client saw.
    fn explains(&self, line: &Value) -> bool {
        let status = line["status"].as_u64().unwrap_or(0);
        let decision = line["decision"].as_str().unwrap_or_default();
        if decision.contains("refused=") {
            return decision.contains(&format!("refused={status}"))
                && line["cluster"].as_str().is_none_or(str::is_empty);
        }
        let begun_ms = line["begun"].as_str().and_then(|t| t.parse().ok()).unwrap_or(0);
        let cluster = line["cluster"].as_str().unwrap_or_default();
        let explained = (200..300).contains(&status) || self.failed_at(cluster, begun_ms);
        !decision.is_empty() && (explained || self.stalled(line, begun_ms))
    }
}

/// What the log says of all requests.
#[derive(Debug, Default)]
struct Logged {
    lines: u64,
    placed: u64,
    refused: u64,
    again: u64,
    not_well: u64,
    reasons: BTreeMap<String, u64>,
    unexplained: Vec<Value>,
}

fn read_log(world: &World) -> Logged {
    let file = std::fs::File::open(world.envoy.dir().join("access.log")).unwrap();
    let mut logged = Logged::default();
    for line in BufReader::new(file).lines() {
        // The last line may be half written.
        let Ok(line) = serde_json::from_str::<Value>(&line.unwrap()) else { break };
        logged.lines += 1;
        let decision = line["decision"].as_str().unwrap_or_default();
        logged.placed += u64::from(decision.contains(" substrate="));
        if decision.contains("refused=") {
            logged.refused += 1;
            let reason = decision.split(", ").find_map(|member| member.strip_prefix("reason=")).unwrap_or_default();
            *logged.reasons.entry(reason.to_string()).or_default() += 1;
        }
        logged.again += u64::from(line["attempts"].as_u64().unwrap_or(0) > 1);
        logged.not_well += u64::from(!(200..300).contains(&line["status"].as_u64().unwrap_or(0)));
        if !world.explains(&line) {
            logged.unexplained.push(line);
        }
    }
    logged
}

/// Seconds of processor time that a process has used.
fn used_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks: f64 = after.split_whitespace().skip(11).take(2).map(|n| n.parse::<f64>().unwrap()).sum();
    // Linux tells programs hundredths of a second, whatever it counts itself.
    ticks / 100.0
}

/// How steep a line through the points is.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (sx, sy) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let (mx, my) = (sx / n, sy / n);
    let over: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    over / points.iter().map(|(x, _)| (x - mx) * (x - mx)).sum::<f64>()
}

/// All decisions that the metrics counted, by outcome.
async fn counted(world: &World) -> (u64, u64) {
    let text = world.envoy.admin_get("/stats?filter=wasmcustom.berth.decisions").await.text();
    let of = |outcome: &str| {
        let lines = text.lines().filter(|line| line.contains(outcome));
        lines.filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum()
    };
    (of("outcome.placed"), of("outcome.refused"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_and_faults_every_answer_is_explained_and_nothing_leaves_its_envelope() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SECONDS);
    let world = Arc::new(World::start().await);
    let capacity = world.capacity().await;
    let offered = capacity * LOAD;
    let done = Arc::new(AtomicBool::new(false));
    let breaking = tokio::spawn(world.clone().break_substrates(done.clone()));
    let pushing = tokio::spawn(world.clone().push(done.clone()));
    let counting = tokio::spawn(world.clone().count(done.clone()));
    let weighing = tokio::spawn(world.clone().weigh(done.clone()));
    let watching = tokio::spawn(world.clone().watch_machine(done.clone()));
    let begun = Instant::now();
    let before = world.answered.load(Ordering::Relaxed);
    let busy = (used_s(world.envoy.pid()), used_s(std::process::id()));
    let put_off = world.offer(offered, Duration::from_secs(seconds)).await;
    let took = begun.elapsed().as_secs_f64();
    let achieved = (world.answered.load(Ordering::Relaxed) - before) as f64 / took;
    let busy = (used_s(world.envoy.pid()) - busy.0, used_s(std::process::id()) - busy.1);
    done.store(true, Ordering::Relaxed);
    breaking.await.unwrap();
    watching.await.unwrap();
    let (pushed, (arrived, outside), weights) =
        (pushing.await.unwrap(), counting.await.unwrap(), weighing.await.unwrap());

    let answered = world.answered.load(Ordering::Relaxed);
    // Metrics are told on the tick, and the log is written behind: both get the time to agree, and are shown if not.
    let until = Instant::now() + PATIENCE;
    let (logged, metrics) = loop {
        let (logged, metrics) = (read_log(&world), counted(&world).await);
        let agree = logged.lines >= answered && metrics == (logged.placed, logged.refused);
        if agree || Instant::now() > until {
            break (logged, metrics);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let refused = "extension_config_discovery.http_filter.berth.placement.config_fail";
    let refused_configurations = world.envoy.await_stat(refused, |n| n >= pushed as u64 / 3).await;
    let steady: Vec<(f64, f64)> = weights.iter().filter(|(at, _)| *at > seconds as f64 / 3.0).copied().collect();
    let (steep, first, (last_at, last)) = (slope(&steady), steady[0].1, steady[steady.len() - 1]);
    let deviation = (steady.iter().map(|(x, y)| (y - (first + steep * (x - steady[0].0))).powi(2)).sum::<f64>()
        / steady.len() as f64)
        .sqrt();

    println!("| what | seen |\n| --- | --- |");
    println!(
        "| capacity, load | {capacity:.0}/s, {achieved:.0}/s ({:.0} %) for {seconds} s |",
        100.0 * achieved / capacity
    );
    println!("| sent at their time; not sent, as all {LINES} connections waited | {}, {put_off} |", answered - before);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "| cores; busy with Envoy; with clients and substrates | {cores}; {:.2}; {:.2} |",
        busy.0 / took,
        busy.1 / took
    );
    println!("| requests, attempts that arrived | {answered}, {arrived} |");
    println!("| answers by status | {:?} |", world.statuses.lock().unwrap());
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!("| broken off, without an answer | {}, {} |", of(&world.broken), of(&world.unanswered));
    println!("| tried again | {} |", logged.again);
    println!("| not 2xx, of these unexplained | {}, {} |", logged.not_well, logged.unexplained.len());
    println!("| refused, by reason | {:?} |", logged.reasons);
    println!(
        "| times that the machine let nothing run for over {STALLED_MS} ms | {} |",
        world.stalls.lock().unwrap().len()
    );
    println!("| outside their envelope | {outside} |");
    println!(
        "| faults, configurations pushed, refused | {}, {pushed}, {refused_configurations} |",
        world.faults.lock().unwrap().len()
    );
    println!(
        "| placed, refused: in the log; in the metrics | {}, {}; {}, {} |",
        logged.placed, logged.refused, metrics.0, metrics.1
    );
    println!(
        "| resident after warm-up | {:.1} MiB to {:.1} MiB, {:.1} KiB/min, ± {:.1} KiB |",
        first / 1024.0,
        last / 1024.0,
        steep * 60.0,
        deviation
    );

    assert_eq!(logged.unexplained.len(), 0, "{:?}", &logged.unexplained[..logged.unexplained.len().min(5)]);
    assert_eq!(outside, 0, "outside the envelope");
    assert_eq!(metrics, (logged.placed, logged.refused), "metrics and log agree");
    // A connection may end under a request before Envoy has read it.
    let unanswered = world.unanswered.load(Ordering::Relaxed);
    assert!(unanswered <= answered / 1_000, "{unanswered} requests had no answer");
    assert!((answered..=answered + unanswered).contains(&logged.lines), "the log has each request once: {logged:?}");
    assert!(logged.not_well > 0 && logged.again > 0, "faults were met: {logged:?}");
    // What else the machine does may keep a minute from its rate; ten minutes at another load would show another thing.
    assert!(seconds < 600 || achieved > 0.65 * capacity, "{achieved:.0}/s of {capacity:.0}/s");
    assert!(logged.placed > answered / 3, "most of the load was carried: {logged:?}");
    // Configurations that are taken cost some 2 KiB each, of the proxy's own; requests cost nothing that stays.
    let grown = steep * (last_at - steady[0].0);
    assert!(grown < 6.0 * 1_024.0, "{grown:.0} KiB more after warm-up");
    assert_eq!(refused_configurations, pushed as u64 / 3);
}
