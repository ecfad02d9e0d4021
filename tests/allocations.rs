//! After warming up, a decision takes no memory from the heap: counted by the allocator itself.

#![allow(unsafe_code, reason = "an allocator is unsafe by its signature")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "laws/build.rs"]
#[allow(dead_code, reason = "shared with the laws")]
mod build;

use berth::health::slot::key_of;
use berth::health::{Observation, Observer};
use berth::model::*;
use berth::place::Placer;
use berth::policy::Policy;
use build::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_decision_allocates_nothing_once_warm() {
    let called: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
    let substrates = called.iter().map(|n| substrate(n)).collect();
    let policy = Policy::new(document(substrates, vec![class("chat", &["s0", "s1"])], vec![envelope("open")]), [0; 32]);
    let health = snapshot(called.iter().map(|n| health(n, &[(Signal::InFlight, 3)])).collect());
    let mut placer = Placer::new(&policy);
    placer.refresh(Some(&health), NOW_MS);
    let facts = Facts { model: Some(Fact::trusted("m")), session: Some(Fact::claimed("s")), ..Facts::default() };
    let local = Local { placed: vec![1; 200], ..Local::default() };
    let _ = placer.place(&local, &facts, NOW_MS, 1);
    let before = COUNT.with(Cell::get);
    let mut placed = 0;
    for seed in 0..1_000 {
        placed += placer.place(&local, &facts, NOW_MS + seed, seed).plan.len();
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0);
    assert_eq!(placed, 3_000);
}

#[test]
fn an_observation_allocates_nothing_once_the_substrate_is_known() {
    let mut observer = Observer::new(["a", "b"].into_iter());
    let said = [(Signal::QueueDepth, 4), (Signal::RateRemaining, 900)];
    let seen = |n: u64| Observation {
        substrate: usize::try_from(n % 2).unwrap(),
        status: if n.is_multiple_of(7) { 503 } else { 200 },
        first_byte_us: Some(300_000 + n),
        total_us: Some(2_000_000),
        bytes: 4_096,
        output_tokens: Some(100),
        said: &said,
        retry_after_s: None,
    };
    let before = COUNT.with(Cell::get);
    for n in 0..1_000 {
        observer.began(usize::try_from(n % 2).unwrap());
        observer.observe(&seen(n), NOW_MS + n);
        assert!(observer.know(key_of("a")).is_some());
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}
