//! What end-to-end tests stand on: a real Envoy, scripted upstreams, a client, and waiting on conditions.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails the test"
)]

pub mod bootstrap;
pub mod broken;
pub mod calm;
pub mod client;
pub mod envoy;
pub mod generated;
pub mod patches;
pub mod policy;
pub mod random;
pub mod raw;
pub mod upstream;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a condition may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value; fails with `what` when it never does.
pub async fn eventually<T, F, Fut>(what: &str, mut condition: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < end, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// So many in a row have asked both workers: connections land on either, and on one alone once in a million runs.
pub const RUN: usize = 20;

/// Waits until so many in a row are as wanted that both workers are: each learns of a change at its own tick.
pub async fn everywhere<F, Fut>(what: &str, condition: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let condition = &condition;
    eventually(what, || async move {
        for _ in 0..RUN {
            condition().await.then_some(())?;
        }
        Some(())
    })
    .await;
}

/// How often a measurement of time is made: on a machine that is busy with something else one may be late; a proxy that
/// is, is late every time.
pub const TRIES: usize = 10;

/// What those who asked until they were told to stop have seen.
pub async fn stopped<T>(stop: &AtomicBool, asking: Vec<tokio::task::JoinHandle<Vec<T>>>) -> Vec<T> {
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for asking in asking {
        all.extend(asking.await.unwrap());
    }
    all
}

/// An address at which nobody listens, for as long as this is held: nobody else gets its port either.
#[derive(Debug)]
pub struct Nobody(std::net::SocketAddr, #[allow(dead_code, reason = "held")] tokio::net::TcpSocket);

impl Nobody {
    pub fn here() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket.local_addr().unwrap(), socket)
    }

    pub const fn address(&self) -> std::net::SocketAddr {
        self.0
    }
}

/// A port for a proxy that has to know it beforehand: one that nobody has, below those that are given to whoever asks for
/// any.
pub fn port() -> u16 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut random = random::Random::new(u64::try_from(now.as_nanos()).unwrap());
    (0..1_000)
        .map(|_| 15_000 + random.below(17_000) as u16)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// A file that the build must have made; says how where it has not.
pub fn built(name: &str) -> std::path::PathBuf {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(name);
    assert!(path.is_file(), "{} is missing: run `make wasm` first", path.display());
    path
}

/// Compares with a text under `tests/golden/`, or rewrites it where that is asked for.
pub fn golden(name: &str, actual: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{}: BLESS=1 rewrites it", path.display());
}
