//! Ten thousand requests of three tenants with faults on all sides: no attempt reaches a substrate that the tenant's
//! envelope does not permit, counted where the attempts arrive.

use crate::attempts::{Home, Lanes};
use crate::support::bootstrap::INGRESS;
use crate::support::client::{Ask, Http};
use crate::support::upstream::{Script, Upstream};
use berth::manifest::envoy::route::Way;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const REQUESTS: usize = 10_000;
const AT_ONCE: usize = 24;
/// How many requests come between two changes of the faults.
const CHANGE_EVERY: usize = 50;

/// Who may go where.
const PERMITTED: [(&str, &[&str]); 3] =
    [("acme", &["a", "b", "c"]), ("globex", &["a", "c"]), ("initech", &["forbidden"])];

/// A small generator: the same faults and requests in every run.
struct Dice(u64);

impl Dice {
    fn of(number: usize) -> Self {
        let mut dice = Self((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.roll(2);
        dice
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn fault(dice: &mut Dice, name: &str) -> Script {
    match dice.roll(12) {
        0 => Script::overloaded(1),
        1 => Script::status(503),
        2 => Script::status(500),
        3 => Script::Reset,
        4 => Script::Close,
        5 => Script::after(250, Script::ok(name)),
        6 => Script::BreakOff,
        7 => Script::status(400),
        8 => Script::Stream(3, Duration::from_millis(5)),
        _ => Script::ok(name),
    }
}

fn request(to: SocketAddr, number: usize, dice: &mut Dice) -> Ask {
    let (tenant, _) = PERMITTED[dice.roll(3) as usize];
    let path = format!("/{tenant}/{number}");
    let ask = match dice.roll(3) {
        0 => Ask::get(to, &path),
        _ => Ask::post(to, &path, vec![b'x'; dice.roll(20_000) as usize]),
    };
    let ask = ask.header("x-tenant", tenant).header("x-workload", ["once", "again", "else"][dice.roll(3) as usize]);
    let ask = if dice.roll(2) == 0 { ask.header("x-stream", "true") } else { ask };
    // What a client may try.
    let ask = match dice.roll(5) {
        0 => ask.header("x-placement-cluster", "forbidden").header("x-envoy-attempt-count", "1"),
        1 => ask.header("x-envoy-max-retries", "9").header("x-envoy-retry-on", "5xx"),
        _ => ask,
    };
    ask.over(if dice.roll(2) == 0 { Http::One } else { Http::Two })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attempt_of_ten_thousand_leaves_its_envelope() {
    let lanes = Arc::new(Lanes::start(Way::Full, Home::There).await);
    let (next, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(BTreeMap::<u16, usize>::new())));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (lanes, next, seen) = (lanes.clone(), next.clone(), seen.clone());
        asking.spawn(async move {
            let to = lanes.envoy.listener(INGRESS);
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= REQUESTS {
                    return;
                }
                let mut dice = Dice::of(number);
                if number.is_multiple_of(CHANGE_EVERY) {
                    for upstream in [&lanes.a, &lanes.b, &lanes.c, &lanes.forbidden] {
                        upstream.does(fault(&mut dice, &upstream.name));
                    }
                }
                let answer = request(to, number, &mut dice).send().await.unwrap();
                *seen.lock().unwrap().entry(answer.status).or_insert(0) += 1;
            }
        });
    }
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.values().sum::<usize>(), REQUESTS, "every request has an answer");
    // What the access log says was tried is what arrived.
    let lines = lanes.envoy.access_log(REQUESTS).await;
    let tried = |line: &Value| line["attempts"].as_u64().unwrap_or(0) as usize;
    let logged: usize = lines.iter().map(tried).sum();
    let again = lines.iter().filter(|line| tried(line) > 1).count();
    let mut attempts = BTreeMap::new();
    for upstream in [&lanes.a, &lanes.b, &lanes.c, &lanes.forbidden] {
        for (tenant, count) in by_tenant(upstream) {
            let (_, permitted) = PERMITTED.iter().find(|(name, _)| *name == tenant).unwrap();
            assert!(permitted.contains(&upstream.name.as_str()), "{count} attempts of {tenant} at {}", upstream.name);
            *attempts.entry(tenant).or_insert(0) += count;
        }
    }
    let all: usize = attempts.values().sum();
    println!(
        "{REQUESTS} requests, {all} attempts, {again} requests tried again; by tenant {attempts:?}; answers {seen:?}"
    );
    // An attempt on a connection that its upstream has just closed is in the log and never arrives.
    let lost = logged.checked_sub(all).expect("what arrived was logged");
    assert!(lost <= REQUESTS / 100, "{logged} attempts in the log, {all} at the upstreams");
    assert!(again > REQUESTS / 50, "enough was tried again to mean something: {again}");
}

fn by_tenant(upstream: &Upstream) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for received in upstream.received() {
        let tenant = received.path.split('/').nth(1).unwrap_or_default().to_string();
        *counts.entry(tenant).or_insert(0) += 1;
    }
    counts
}
