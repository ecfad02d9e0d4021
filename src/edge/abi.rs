//! The one file with `unsafe`: the host functions that Berth uses, each with every status as a value, and the
//! callbacks that the SDK cannot be left with.
//!
//! The SDK's own wrappers are not used because they panic on statuses they do not expect, and a panic kills the VM
//! and every stream in it; they also make a `String` of every header. Types, memory and `main!` stay the SDK's, and its
//! dispatch where streams have to be known for more than their first headers.
#![expect(unsafe_code, reason = "the proxy-wasm ABI is raw pointers; it is spoken here and nowhere else")]

use super::series;
use crate::filter::{Headers, Host, HostError, MapKind, MetricKind};
use core::ptr::null_mut;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, len: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, most: usize, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, key: *const u8, key_len: usize, value: *const u8, len: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_len: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_len: usize, data: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, len: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_len: usize,
        data: *mut *mut u8,
        len: *mut usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_len: usize, value: *const u8, len: usize, token: u32) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    #[cfg(not(feature = "telemetry"))]
    fn proxy_call_foreign_function(
        name: *const u8,
        name_len: usize,
        arguments: *const u8,
        arguments_len: usize,
        results: *mut *mut u8,
        results_len: *mut usize,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

const BUFFER_REQUEST_BODY: u32 = 0;
const BUFFER_CALL_BODY: u32 = 4;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
/// The host adds no `grpc-status` of its own.
const NO_GRPC_STATUS: i32 = -1;

/// The host that this module runs in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proxy;

const fn answer(status: u32) -> Result<(), HostError> {
    match HostError::from_status(status) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Runs a call that hands over bytes which the host allocated in this module's memory.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, HostError> {
    let (mut data, mut len) = (null_mut::<u8>(), 0usize);
    answer(call(&raw mut data, &raw mut len))?;
    if data.is_null() || len == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this block from the SDK's exported allocator, which makes a boxed slice of exactly `len`
    // bytes, and it hands the block over.
    Ok(unsafe { Vec::from_raw_parts(data, len, len) })
}

fn local_response(status: u16, grpc: i32, headers: &[(&str, &str)], body: &[u8]) -> Result<(), HostError> {
    const DETAILS: &str = "berth";
    let headers = Headers::encode(headers);
    // SAFETY: pointers and lengths describe slices that live through the call.
    answer(unsafe {
        proxy_send_local_response(
            u32::from(status),
            DETAILS.as_ptr(),
            DETAILS.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc,
        )
    })
}

/// One line in the host's log. A line that cannot be written is not worth failing for.
pub(super) fn log_line(level: u32, line: &str) {
    // SAFETY: pointer and length describe `line`.
    let _ = unsafe { proxy_log(level, line.as_ptr(), line.len()) };
}

impl Proxy {
    fn buffer(kind: u32, start: usize, most: usize) -> Result<Vec<u8>, HostError> {
        // SAFETY: the out-pointers live through the call.
        bytes(|data, len| unsafe { proxy_get_buffer_bytes(kind, start, most, data, len) })
    }
}

/// One of the functions that a proxy has beyond the ABI, by its name.
#[cfg(not(feature = "telemetry"))]
pub(super) fn foreign(name: &str, argument: &[u8]) -> Result<Vec<u8>, HostError> {
    // SAFETY: pointers and lengths describe slices that live through the call, and so do the out-pointers.
    bytes(|data, len| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), argument.as_ptr(), argument.len(), data, len)
    })
}

impl Host for Proxy {
    fn now_ns(&self) -> u64 {
        let mut time = 0;
        // SAFETY: the out-pointer lives through the call. A host without a clock leaves the zero.
        let _ = unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
        time
    }

    fn plugin_configuration(&self) -> Result<Vec<u8>, HostError> {
        Self::buffer(BUFFER_PLUGIN_CONFIGURATION, 0, usize::MAX >> 1)
    }

    fn set_tick_ms(&self, period_ms: u32) -> Result<(), HostError> {
        // SAFETY: no pointers.
        answer(unsafe { proxy_set_tick_period_milliseconds(period_ms) })
    }

    fn shared_get(&self, key: &str) -> Result<(Vec<u8>, u32), HostError> {
        let mut token = 0;
        // SAFETY: all pointers live through the call.
        let value =
            bytes(|data, len| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &raw mut token) })?;
        Ok((value, token))
    }

    fn shared_set(&self, key: &str, value: &[u8], token: Option<u32>) -> Result<(), HostError> {
        let token = token.unwrap_or(0);
        // SAFETY: pointers and lengths describe `key` and `value`.
        answer(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), token) })
    }

    fn call(&self, cluster: &str, headers: &[(&str, &str)], body: &[u8], timeout_ms: u32) -> Result<u32, HostError> {
        let headers = Headers::encode(headers);
        let trailers = Headers::encode(&[]);
        let mut token = 0;
        // SAFETY: pointers and lengths describe slices that live through the call.
        let status = unsafe {
            proxy_http_call(
                cluster.as_ptr(),
                cluster.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                trailers.as_ptr(),
                trailers.len(),
                timeout_ms,
                &raw mut token,
            )
        };
        answer(status).map(|()| token)
    }

    fn call_body(&self, start: usize, most: usize) -> Result<Vec<u8>, HostError> {
        Self::buffer(BUFFER_CALL_BODY, start, most)
    }

    fn headers(&self, map: MapKind) -> Result<Headers, HostError> {
        // SAFETY: the out-pointers live through the call.
        bytes(|data, len| unsafe { proxy_get_header_map_pairs(map as u32, data, len) }).map(Headers::new)
    }

    fn set_header(&self, map: MapKind, name: &str, value: &str) -> Result<(), HostError> {
        // SAFETY: pointers and lengths describe `name` and `value`.
        answer(unsafe {
            proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
        })
    }

    fn remove_header(&self, map: MapKind, name: &str) -> Result<(), HostError> {
        // SAFETY: pointer and length describe `name`.
        answer(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
    }

    fn request_body(&self, start: usize, most: usize) -> Result<Vec<u8>, HostError> {
        Self::buffer(BUFFER_REQUEST_BODY, start, most)
    }

    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError> {
        let path = path.join("\0");
        // SAFETY: all pointers live through the call.
        bytes(|data, len| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, len) })
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) -> Result<(), HostError> {
        // SAFETY: pointers and lengths describe `key` and `value`.
        answer(unsafe { proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
    }

    fn turn_to(&self, context: u32) -> Result<(), HostError> {
        // SAFETY: no pointers.
        answer(unsafe { proxy_set_effective_context(context) })
    }

    fn resume(&self) -> Result<(), HostError> {
        const REQUEST: u32 = 0;
        // SAFETY: no pointers.
        answer(unsafe { proxy_continue_stream(REQUEST) })
    }

    fn respond(&self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<(), HostError> {
        local_response(status, NO_GRPC_STATUS, headers, body)
    }

    fn respond_grpc(&self, status: u16, grpc: u8, headers: &[(&str, &str)], message: &str) -> Result<(), HostError> {
        local_response(status, i32::from(grpc), headers, message.as_bytes())
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<u32, HostError> {
        series::number(kind, name, || {
            let mut id = 0;
            // SAFETY: pointers describe `name` and `id`.
            answer(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) }).map(|()| id)
        })
    }

    fn increment(&self, metric: u32, by: i64) -> Result<(), HostError> {
        // SAFETY: no pointers.
        answer(unsafe { proxy_increment_metric(metric, by) })
    }

    fn record(&self, metric: u32, value: u64) -> Result<(), HostError> {
        // SAFETY: no pointers.
        answer(unsafe { proxy_record_metric(metric, value) })
    }
}

/// The answer of a call. The SDK's export panics on a token that its own (panicking) call wrapper did not register; the
/// build drops that export and gives this one its name.
#[cfg(feature = "telemetry")]
#[unsafe(no_mangle)]
pub(super) extern "C" fn berth_on_http_call_response(
    context: u32,
    token: u32,
    _headers: u32,
    body: u32,
    _trailers: u32,
) {
    super::on_call(context, token, usize::try_from(body).unwrap_or(0));
}

/// Time has passed. A call to a cluster enters this VM again before it returns, where a filter of ours is inside that
/// cluster; the SDK's export holds its table of contexts meanwhile, and panics. So the build drops that one too.
#[unsafe(no_mangle)]
pub(super) extern "C" fn berth_on_tick(context: u32) {
    super::on_tick(context);
}

/// The two callbacks that need the SDK to know of all streams; `direct.rs` says how they do without.
#[cfg(not(feature = "telemetry"))]
#[unsafe(no_mangle)]
pub(super) extern "C" fn berth_on_configure(context: u32, _size: u32) -> u32 {
    super::direct::on_configure(context).into()
}

/// A request has come.
#[cfg(not(feature = "telemetry"))]
#[unsafe(no_mangle)]
pub(super) extern "C" fn berth_on_request_headers(context: u32, _headers: u32, end_of_stream: u32) -> u32 {
    super::direct::on_request_headers(context, end_of_stream != 0) as u32
}
