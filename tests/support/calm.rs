//! Whether this machine was there all the time. One that is shared takes time from all its processes at once, and one that
//! is busy lets upstreams wait that live in the test's own process: no deadline of a fraction of a second survives that,
//! and what goes wrong then says nothing of the proxy.

use super::TRIES;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

/// What somebody who sleeps may be late by on a machine that is busy, but there.
const HELD_UP: Duration = Duration::from_millis(60);
/// How often it is looked.
const LOOKS: Duration = Duration::from_millis(5);
/// How long a core has to be gone within four times as long: what waits for that one is as late, whoever else runs.
pub const GONE_MS: u64 = 100;

/// How long each core was taken away by whoever runs this machine (`steal`), in Linux's hundredths of a second; nothing
/// where nobody says so.
pub fn taken_ms() -> Vec<u64> {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cores = text.lines().filter(|line| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' ')));
    cores.filter_map(|line| Some(line.split_whitespace().nth(8)?.parse::<u64>().ok()? * 10)).collect()
}

/// Whether one of the cores was gone between two readings.
pub fn gone(then: &[u64], now: &[u64]) -> bool {
    now.iter().zip(then).any(|(now, then)| now.saturating_sub(*then) >= GONE_MS)
}

/// What a watcher has seen.
#[derive(Debug)]
struct Seen {
    /// Nothing once it looks no more.
    looked: Option<Instant>,
    /// The longest time that was taken at once.
    held: Option<Duration>,
}

impl Seen {
    fn look(&mut self) {
        if let Some(looked) = &mut self.looked {
            let by = looked.elapsed().saturating_sub(LOOKS);
            *looked = Instant::now();
            self.held = self.held.max(Some(by).filter(|by| *by > HELD_UP));
        }
    }
}

/// All watches of each test, by its name, which is that of its thread.
static ALL: Mutex<BTreeMap<String, Vec<Arc<Mutex<Seen>>>>> = Mutex::new(BTreeMap::new());

fn test() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// From now on, a test that goes wrong and was held up says so, in the words that `.ci/e2e` looks for.
fn tell() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let all = ALL.lock().unwrap().get(&test()).cloned().unwrap_or_default();
        let held = all.iter().filter_map(|seen| {
            let mut seen = seen.lock().unwrap();
            seen.look();
            seen.held
        });
        if let Some(by) = held.max() {
            eprintln!("held up: this process or a core was gone for {by:?} at once");
        }
    }));
}

/// A stretch of time that is watched, where clients and upstreams run.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    watcher: tokio::task::JoinHandle<()>,
}

impl Watch {
    pub fn begin() -> Self {
        static TOLD: Once = Once::new();
        TOLD.call_once(tell);
        let seen = Arc::new(Mutex::new(Seen { looked: Some(Instant::now()), held: None }));
        ALL.lock().unwrap().entry(test()).or_default().push(seen.clone());
        let watcher = tokio::spawn(watch(seen.clone()));
        Self { seen, watcher }
    }

    /// Looks no more: who ends something waits for it, and that is no wrong of the machine.
    pub fn end(&self) {
        self.watcher.abort();
        let mut seen = self.seen.lock().unwrap();
        seen.look();
        seen.looked = None;
    }

    /// By how much this process was held up at most since the watch began.
    pub fn held_up(&self) -> Option<Duration> {
        let mut seen = self.seen.lock().unwrap();
        seen.look();
        seen.held
    }
}

async fn watch(seen: Arc<Mutex<Seen>>) {
    let part = Duration::from_millis(GONE_MS);
    let mut readings = VecDeque::from([(Instant::now(), taken_ms())]);
    loop {
        tokio::time::sleep(LOOKS).await;
        seen.lock().unwrap().look();
        let now = Instant::now();
        if readings.back().is_none_or(|(read, _)| now - *read >= part) {
            let taken = taken_ms();
            if readings.iter().any(|(_, then)| gone(then, &taken)) {
                let mut seen = seen.lock().unwrap();
                seen.held = seen.held.max(Some(part));
            }
            readings.push_back((now, taken));
            if readings.len() > 4 {
                readings.pop_front();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
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
            Err(wrong) if watch.held_up().is_some() => eprintln!("held up, so again: {wrong}"),
            Err(wrong) => panic!("{wrong}"),
        }
    }
    panic!("time was taken from this process in each of {TRIES} tries");
}
