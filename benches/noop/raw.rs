//! A filter on the bare ABI that does nothing: one callback is exported, and no host call is made. The least that a
//! wasm filter can cost.
#![cfg(target_os = "wasi")]
#![expect(unsafe_code, reason = "exported names are a promise that the compiler cannot check")]
#![allow(missing_docs, reason = "it has nothing to say")]

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// The host asks for memory where it has something to hand over; nothing is ever asked of it here.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(_size: usize) -> *mut u8 {
    core::ptr::null_mut()
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(_context: u32, _headers: usize, _end_of_stream: u32) -> u32 {
    0
}
