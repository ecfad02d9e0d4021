//! Hosts and clients that speak byte by byte, and an Envoy between them that sees every attempt.

use crate::attempts::{at_address, placement, policy};
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::envoy::Envoy;
use crate::support::policy::observe;
use crate::support::{PATIENCE, built, eventually};
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The deadline of the classes in these tests.
pub const DEADLINE_MS: u64 = 600;

/// What attempts were counted as.
pub async fn counting(envoy: &Envoy) -> [u64; 5] {
    let text = envoy.admin_get("/stats?filter=berth.observed").await.text();
    ["good", "failed", "overloaded", "refused", "abandoned"].map(|word| {
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(": "));
        let line = lines.find(|(name, _)| name.ends_with(&format!("berth.observed.{word}")));
        line.map_or(0, |(_, n)| n.parse().unwrap())
    })
}

/// What so many more were counted as since then, once there are so many.
pub async fn counted(envoy: &Envoy, before: &[u64; 5], many: u64) -> [u64; 5] {
    eventually("they are counted", || async {
        let now = counting(envoy).await;
        let more = std::array::from_fn(|at| now[at] - before[at]);
        (more.iter().sum::<u64>() >= many).then_some(more)
    })
    .await
}

/// All ways to attach.
pub const WAYS: [Way; 3] = [Way::Simple, Way::Full, Way::Lanes];

/// What a host does once it has the head of a request, one step after the other; then it closes.
#[derive(Clone, Debug)]
pub enum Step {
    Say(String),
    Wait(u64),
    /// Reads so many bytes.
    Take(usize),
    /// Says again what it hears, until the other side ends it.
    Echo,
    /// Hears, and says nothing.
    Hold,
    /// Ends it with a reset.
    Reset,
}

pub fn say(text: &str) -> Step {
    Step::Say(text.into())
}

type Heads = Arc<Mutex<Vec<String>>>;

/// A host that speaks HTTP/1 by bytes.
#[derive(Debug)]
pub struct Host {
    pub name: &'static str,
    pub address: SocketAddr,
    does: Arc<Mutex<Vec<Step>>>,
    heads: Heads,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Host {
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (does, heads) = (Arc::new(Mutex::new(Vec::new())), Heads::default());
        let accepting = tokio::spawn(accept(listener, does.clone(), heads.clone()));
        Self { name, address, does, heads, accepting }
    }

    pub fn does(&self, steps: &[Step]) {
        *self.does.lock().unwrap() = steps.to_vec();
    }

    /// The heads of the requests for this path.
    pub fn heads(&self, path: &str) -> Vec<String> {
        let of = |head: &&String| head.split(' ').nth(1) == Some(path);
        self.heads.lock().unwrap().iter().filter(of).cloned().collect()
    }
}

async fn accept(listener: TcpListener, does: Arc<Mutex<Vec<Step>>>, heads: Heads) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, does.clone(), heads.clone()));
    }
}

async fn serve(mut stream: TcpStream, does: Arc<Mutex<Vec<Step>>>, heads: Heads) {
    let Some(head) = until(&mut stream, b"\r\n\r\n").await else { return };
    heads.lock().unwrap().push(head);
    let steps = does.lock().unwrap().clone();
    for step in steps {
        let mut buffer = [0; 4_096];
        match step {
            Step::Say(text) => drop(stream.write_all(text.as_bytes()).await),
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Take(bytes) => drop(stream.read_exact(&mut vec![0; bytes]).await),
            Step::Echo => {
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            }
            Step::Hold => while matches!(stream.read(&mut buffer).await, Ok(1..)) {},
            Step::Reset => drop(stream.set_zero_linger()),
        }
    }
}

/// Reads up to and with these bytes; nothing if it ends before.
async fn until(stream: &mut TcpStream, end: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(end) {
        text.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A client that speaks by bytes.
#[derive(Debug)]
pub struct Talk {
    pub stream: TcpStream,
    began: Instant,
}

impl Talk {
    pub async fn open(to: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(to).await.unwrap(), began: Instant::now() }
    }

    pub async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends so many bytes, as far as anybody takes them.
    pub async fn pours(&mut self, bytes: usize) {
        for _ in 0..bytes.div_ceil(10_000) {
            if self.stream.write_all(&[7; 10_000]).await.is_err() {
                return;
            }
        }
    }

    /// The head of an answer and when it came; nothing if the connection ended without.
    pub async fn head(&mut self) -> Option<(u16, String, u64)> {
        let read = until(&mut self.stream, b"\r\n\r\n");
        let head = tokio::time::timeout(PATIENCE, read).await.expect("an answer or an end in time")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, head, self.ms()))
    }

    pub async fn hears(&mut self, text: &str) -> bool {
        let mut heard = vec![0; text.len()];
        let read = tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut heard)).await;
        read.expect("in time").is_ok() && heard == text.as_bytes()
    }

    /// Waits until the other side ends it.
    pub async fn ends(&mut self) -> u64 {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("an end in time");
        self.ms()
    }

    pub fn ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// Three substrates a, b, c in the order of preference, and an Envoy that places, observes and publishes.
#[derive(Debug)]
pub struct Scene {
    pub envoy: Envoy,
    pub hosts: [Host; 3],
}

impl Scene {
    pub async fn start(way: Way) -> Self {
        Self::start_with(way, false, |_| {}).await
    }

    /// The same, with the manager of the listener changed.
    pub async fn start_with(way: Way, publishes: bool, change: impl FnOnce(&mut Value)) -> Self {
        let hosts = [Host::start("a").await, Host::start("b").await, Host::start("c").await];
        let addresses = [&hosts[0], &hosts[1], &hosts[2]].map(|host| host.address);
        let mut bootstrap = between(way, &addresses, false, publishes);
        change(&mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]);
        Self { envoy: Envoy::start(&bootstrap).await, hosts }
    }

    pub async fn talk(&self) -> Talk {
        Talk::open(self.envoy.listener(INGRESS)).await
    }

    /// Where a request went, in the order of its attempts.
    pub fn went(&self, path: &str) -> String {
        let mut went = Vec::new();
        for host in &self.hosts {
            for head in host.heads(path) {
                let count = head.lines().find_map(|line| line.strip_prefix("x-envoy-attempt-count: "));
                went.push((count.map_or(0, |n| n.parse::<u32>().unwrap()), host.name));
            }
        }
        went.sort_unstable();
        went.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    }
}

/// The bootstrap around three addresses.
pub fn between(way: Way, addresses: &[SocketAddr; 3], http2: bool, publishes: bool) -> Value {
    let module = built("berth.wasm");
    let mut placement = placement(way);
    placement["outcomes"] = json!(1);
    let mut bootstrap = Bootstrap::default();
    for (name, address) in ["a", "b", "c"].into_iter().zip(addresses) {
        bootstrap = bootstrap.substrate(name, &at_address(*address, http2));
    }
    bootstrap = bootstrap.filter(wasm_filter(&module, "placement", &placement, Carried::Text)).routes(
        way,
        &["a", "b", "c"],
        None,
    );
    if publishes {
        let telemetry = json!({"role": "telemetry", "policy": policy(), "tick_ms": 50,
            "listener": {"headers_stop": true, "read": "anyone"}});
        bootstrap = bootstrap.telemetry(wasm_filter(&module, "telemetry", &telemetry, Carried::Text));
    }
    if way == Way::Lanes {
        bootstrap = bootstrap.lane("a-b-c", &["a", "b", "c"]).lane("a-b", &["a", "b"]);
    }
    let mut bootstrap = bootstrap.build();
    let observing = wasm_filter(&module, "telemetry", &observe(), Carried::Text);
    Bootstrap::watch_in(&mut bootstrap, &observing);
    bootstrap
}
