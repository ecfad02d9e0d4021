//! A scrape of 2 MB is read as a stream: in pieces, within a bound of memory that does not grow with it, counted by the
//! allocator itself.

#![allow(unsafe_code, reason = "an allocator is unsafe by its signature")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use berth::health::presets::preset;
use berth::health::prometheus::{Before, Scrape};
use berth::model::Signal;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that are held now, and the most that were.
    static HELD: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

fn hold(by: i64) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + by, most.max(now + by)));
    });
}

struct Weighing;

fn bytes(layout: Layout) -> i64 {
    i64::try_from(layout.size()).unwrap_or(i64::MAX)
}

// SAFETY: every call goes to the system's allocator unchanged; weighing touches a thread-local without allocating.
unsafe impl GlobalAlloc for Weighing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(bytes(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-bytes(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Weighing = Weighing;

/// A vLLM server that shows a great many buckets besides what is mapped, no two of the same name and labels.
fn scrape_of(lines: usize) -> Vec<u8> {
    let line =
        |n| format!("vllm:bucket_{}{{engine=\"{n}\",le=\"0.{n}\",model_name=\"llama-3.3-70b\"}} {n}.0\n", n % 997);
    let mut text: String = (0..lines).map(line).collect();
    text += "vllm:num_requests_waiting{engine=\"0\"} 3.0\nvllm:num_requests_waiting{engine=\"1\"} 4.0\n";
    text.into_bytes()
}

/// What reading it gives, and how many bytes more than before were held at the most.
fn weigh(text: &[u8], piece: usize) -> (Option<i64>, i64) {
    let mappings = preset("vllm").unwrap();
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let mut scrape = Scrape::new(&mappings);
    text.chunks(piece).for_each(|piece| scrape.feed(piece));
    let heard = scrape.finish(&mut Before::new(), 1_790_000_000_000).unwrap();
    let (_, most) = HELD.get();
    let depth = heard.readings.iter().find(|(signal, _)| *signal == Signal::QueueDepth).map(|(_, r)| r.value);
    (depth, most - before)
}

#[test]
fn a_large_scrape_is_read_in_memory_that_does_not_grow_with_it() {
    let (small, large) = (scrape_of(100), scrape_of(32_000));
    assert!(large.len() > 2_000_000, "{} bytes", large.len());
    for piece in [64 << 10, 1 << 10, 7] {
        let (few, of_small) = weigh(&small, piece);
        let (many, of_large) = weigh(&large, piece);
        assert_eq!((few, many), (Some(7), Some(7)));
        assert!(of_large <= 8 << 10, "{of_large} bytes for {} in pieces of {piece}", large.len());
        assert!(of_large <= of_small + 1_024, "{of_small} bytes became {of_large} in pieces of {piece}");
    }
}

#[test]
fn a_line_without_an_end_is_bounded_too() {
    let mut text = b"vllm:num_requests_waiting 7\nvllm:num_requests_running{x=\"".to_vec();
    text.resize(2 << 20, b'y');
    let (depth, held) = weigh(&text, 64 << 10);
    assert_eq!(depth, Some(7), "what came before it is kept");
    assert!(held <= 64 << 10, "{held} bytes");
}
