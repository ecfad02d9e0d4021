//! The least that a placement in WebAssembly can be: on the bare ABI, the header map in one call, one pass over it, and
//! the cluster header. Nothing is decided, nothing is left behind, and streams are not told apart. What Berth costs over
//! this is Berth's; what this costs is the proxy's.
//!
//! With any configuration it makes all the calls that Berth makes by default, with what Berth says in them, known
//! beforehand.
#![cfg(target_os = "wasi")]
#![expect(unsafe_code, reason = "the ABI is raw pointers, and exported names are a promise")]
#![allow(missing_docs, reason = "it has nothing to say")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, key: *const u8, key_len: usize, value: *const u8, len: usize) -> u32;
    fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, len: usize) -> u32;
}

/// Where the host writes the header map. One at a time, since nothing else is asked of it.
struct Room(UnsafeCell<[u8; 65_536]>);
// SAFETY: a module has one thread.
unsafe impl Sync for Room {}
static ROOM: Room = Room(UnsafeCell::new([0; 65_536]));

/// Whether all calls are made.
static ALL: AtomicBool = AtomicBool::new(false);

/// What everybody decides in the world of six.
const CLUSTER: (&str, &str) = ("x-placement-cluster", "s4");
const RECORD: &str = "v=1, id=\"cf906644aa4af3c0\", class=chat, substrate=s4, binding=sovereignty;by=jurisdiction, \
    unbound=s3, epoch=0, policy=\"bench@1#abe3d079\", fresh=stale, plan=(s4 s2;x=zone+jurisdiction s0;x=zone), cost=223";
const STATES: [(&str, &str); 3] = [("placement", RECORD), ("placement_2", "s2"), ("placement_3", "s0")];
const HEADERS: [(&str, &str); 6] = [
    ("x-envoy-upstream-rq-timeout-ms", "60000"),
    ("x-envoy-upstream-rq-per-try-timeout-ms", "20000"),
    ("x-envoy-max-retries", "2"),
    ("x-envoy-retry-on", "5xx,reset"),
    CLUSTER,
    ("x-placement-decision", RECORD),
];
const WANTED: [&[u8]; 4] = [b"x-tenant", b"x-workload", b"x-model", b"x-prompt-tokens"];

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    if size <= 65_536 { ROOM.0.get().cast() } else { core::ptr::null_mut() }
}

/// Any but the empty object.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(_context: u32, size: usize) -> u32 {
    ALL.store(size > "{}".len(), Ordering::Relaxed);
    1
}

fn word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*word) as usize, rest))
}

/// How many of the wanted headers there are.
fn found(map: &[u8]) -> Option<usize> {
    let (count, rest) = word(map)?;
    let (mut lengths, mut texts) = rest.split_at_checked(count * 8)?;
    let mut found = 0;
    for _ in 0..count {
        let (key, rest) = word(lengths)?;
        let (value, rest) = word(rest)?;
        lengths = rest;
        let (name, _) = texts.split_at_checked(key)?;
        found += usize::from(WANTED.contains(&name));
        texts = texts.get(key + value + 2..)?;
    }
    Some(found)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(_context: u32, _headers: usize, _end_of_stream: u32) -> u32 {
    let (mut data, mut len) = (core::ptr::null_mut(), 0);
    // SAFETY: the out-pointers live through the call.
    let status = unsafe { proxy_get_header_map_pairs(0, &raw mut data, &raw mut len) };
    if status != 0 || data.is_null() {
        return 0;
    }
    // SAFETY: the host wrote so many bytes into the room that it was given, and nobody else does before the next call.
    let map = unsafe { core::slice::from_raw_parts(data, len) };
    if found(map) != Some(WANTED.len()) {
        return 0;
    }
    let all = ALL.load(Ordering::Relaxed);
    for (key, value) in STATES.iter().filter(|_| all) {
        // SAFETY: pointers and lengths describe slices that live through the call.
        let _ = unsafe { proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
    }
    for (key, value) in if all { &HEADERS[..] } else { &[CLUSTER] } {
        // SAFETY: as above.
        let _ = unsafe { proxy_replace_header_map_value(0, key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
    }
    0
}
