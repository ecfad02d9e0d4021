//! Whether this machine was there all the time. One that is shared takes time from all its processes at once, and one that
//! is busy lets upstreams wait that live in the test's own process: no deadline of a fraction of a second survives that,
//! and what goes wrong then says nothing of the proxy.

use super::TRIES;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What somebody who sleeps may be late by on a machine that is busy, but there.
const HELD_UP: Duration = Duration::from_millis(60);
/// How often it is looked.
const LOOKS: Duration = Duration::from_millis(5);

/// A stretch of time that is watched, where clients and upstreams run.
#[derive(Debug)]
pub struct Watch {
    held: Arc<AtomicBool>,
    watcher: tokio::task::JoinHandle<()>,
}

impl Watch {
    pub fn begin() -> Self {
        let held = Arc::new(AtomicBool::new(false));
        let seen = held.clone();
        let watcher = tokio::spawn(async move {
            let mut last = Instant::now();
            loop {
                tokio::time::sleep(LOOKS).await;
                let now = Instant::now();
                if now - last > LOOKS + HELD_UP {
                    seen.store(true, Ordering::Relaxed);
                }
                last = now;
            }
        });
        Self { held, watcher }
    }

    /// Whether time was taken from this process since the watch began; looks once more before it says so.
    pub async fn held_up(&self) -> bool {
        tokio::time::sleep(LOOKS * 3).await;
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Tries again what went wrong while time was taken from this process. What goes wrong while it was there has gone wrong.
pub async fn calmly<T, F, Fut>(mut attempt: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    for _ in 0..TRIES {
        let watch = Watch::begin();
        match attempt().await {
            Ok(value) => return value,
            Err(wrong) if watch.held_up().await => eprintln!("held up, so again: {wrong}"),
            Err(wrong) => panic!("{wrong}"),
        }
    }
    panic!("time was taken from this process in each of {TRIES} tries");
}
