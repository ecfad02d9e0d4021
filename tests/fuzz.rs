//! Every parser of bytes from outside, tried for seconds by each test run: real documents, what earlier runs kept, and
//! some thousand changes of them. `make fuzz` goes on from here, guided by what the parsers' code does.

#![allow(unsafe_code, reason = "an allocator is unsafe by its signature")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

#[path = "support/random.rs"]
mod random;
#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use random::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use targets::{TARGETS, Target};

/// How many changed inputs each target is tried with.
const CHANGED: usize = 1_500;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count(change: impl Fn(usize) -> usize) {
    let held = HELD.try_with(|held| {
        held.set(change(held.get()));
        held.get()
    });
    let _ = MOST.try_with(|most| most.set(most.get().max(held.unwrap_or(0))));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|held| held.saturating_add(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(|held| held.saturating_sub(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs one input; gives the most bytes that were held at once.
fn held(target: &Target, input: &[u8]) -> usize {
    let before = HELD.with(Cell::get);
    MOST.with(|most| most.set(before));
    let done = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(done.is_ok(), "{}: {}", target.name, input.escape_ascii());
    MOST.with(Cell::get).saturating_sub(before)
}

/// A change as inputs meet them: bytes flipped, cut, repeated, moved, put in from elsewhere.
fn changed(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    const ODD: [&[u8]; 14] = [
        b"\"",
        b"\\u0000",
        b"{",
        b"[",
        b"}",
        b"1e999",
        b"-0",
        b"NaN",
        b"\xff",
        b"\n",
        b": ",
        b";",
        b"99999999999999999999",
        b"\0",
    ];
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next().to_le_bytes()[2],
            2 => bytes.truncate(at),
            3 => {
                let piece = ODD[random.below(ODD.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            4 => {
                let end = (at + random.below(24)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            5 => {
                let end = (at + random.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece.repeat(1 + random.below(8)));
            }
            _ if !other.is_empty() => {
                let from = random.below(other.len());
                let end = (from + random.below(64)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn no_bytes_make_a_parser_panic_or_hold_more_than_they_are_worth() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = Vec::new();
    for target in &TARGETS {
        // What a target keeps for all inputs is not any input's.
        held(target, b"");
        let mut inputs = [seeds::documents(target.name), seeds::kept(target.name), vec![Vec::new()]].concat();
        inputs.retain(|input| input.len() <= 1 << 16);
        let mut random = Random::new(0x0f02_2347);
        let seeds = inputs.len();
        let short: Vec<usize> = (0..seeds).filter(|at| inputs[*at].len() <= target.most_bytes).collect();
        for _ in 0..CHANGED {
            let one = short[random.below(short.len())];
            let other = random.below(seeds);
            inputs.push(changed(&mut random, &inputs[one], &inputs[other].clone()));
        }
        let mut most = (0, 0);
        for input in &inputs {
            let outcome = catch_unwind(AssertUnwindSafe(|| held(target, input)));
            let Ok(held) = outcome else {
                failed.push(format!("{} panicked: {}", target.name, input.escape_ascii()));
                break;
            };
            if held > target.fixed + target.most_held * input.len() {
                failed.push(format!("{} held {held} bytes: {}", target.name, input.escape_ascii()));
                break;
            }
            most = most.max((held, input.len()));
        }
        println!("{:14} {seeds:4} seeds, at most {} bytes held, for an input of {}", target.name, most.0, most.1);
    }
    let _ = std::panic::take_hook();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_target_has_something_to_begin_with() {
    for target in &TARGETS {
        assert!(target.name == "tray" || seeds::documents(target.name).iter().any(|s| s.len() > 8), "{}", target.name);
    }
}
