//! Which mutant is on: put into the mutated copy of the library only.
//!
//! `BERTH_MUTANT=17` turns one on. `BERTH_MUTANT=record:FILE` turns none on and writes which test reached which; a test
//! is known by the name of its thread.
#![allow(warnings)]

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const UNKNOWN: u32 = u32::MAX;
const RECORDS: u32 = u32::MAX - 1;
/// Number 0 is nobody's.
const NONE: u32 = 0;

static ON: AtomicU32 = AtomicU32::new(UNKNOWN);
static RECORD: OnceLock<std::fs::File> = OnceLock::new();

thread_local! {
    static SEEN: RefCell<(String, Vec<bool>)> = const { RefCell::new((String::new(), Vec::new())) };
}

#[inline]
pub fn is(mutant: u32) -> bool {
    let on = ON.load(Ordering::Relaxed);
    if on < RECORDS { on == mutant } else { slowly(on, mutant) }
}

#[cold]
fn slowly(on: u32, mutant: u32) -> bool {
    if on == RECORDS {
        record(mutant);
        return false;
    }
    let word = std::env::var("BERTH_MUTANT").unwrap_or_default();
    let on = match word.strip_prefix("record:") {
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            let _ = RECORD.set(file);
            RECORDS
        }
        None => word.parse().unwrap_or(NONE),
    };
    ON.store(on, Ordering::Relaxed);
    is(mutant)
}

fn record(mutant: u32) {
    let _ = SEEN.try_with(|seen| {
        let Ok(mut seen) = seen.try_borrow_mut() else { return };
        let (name, seen) = &mut *seen;
        if name.is_empty() {
            *name = std::thread::current().name().unwrap_or("?").to_string();
        }
        let at = mutant as usize;
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        if !std::mem::replace(&mut seen[at], true) {
            if let Some(mut file) = RECORD.get() {
                let _ = file.write_all(format!("{name}\t{mutant}\n").as_bytes());
            }
        }
    });
}
