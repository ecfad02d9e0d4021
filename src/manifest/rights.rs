//! What an operator grants a module: what it calls, and the callbacks that it is called back by. A module that asks for
//! more fails the build.

use super::module::Cut;

/// The host functions that Berth calls.
const CALLED: [&str; 19] = [
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// What only the file with both roles calls: the other pulls nothing, and holds no request that would have to go on.
const OF_BOTH: [&str; 3] = ["proxy_continue_stream", "proxy_http_call", "proxy_set_effective_context"];

/// What only the file with the placement role alone calls, which is not told which configuration a stream belongs to.
pub const ALONE: &str = "proxy_call_foreign_function";

/// What Rust's standard library asks of the system: to write a panic, to read an environment, to end.
pub const SYSTEM: [&str; 4] = ["environ_get", "environ_sizes_get", "fd_write", "proc_exit"];

/// The host functions that one of the two files calls.
pub fn called(cut: Cut) -> impl Iterator<Item = &'static str> {
    CALLED.into_iter().filter(move |name| match cut {
        Cut::Full => *name != ALONE,
        Cut::Placement => !OF_BOTH.contains(name),
    })
}

/// What tells the SDK's dispatch of roots and streams. The file with the placement role alone does without; the one with
/// both needs them in whichever role.
const DISPATCH: [&str; 3] = ["proxy_on_context_create", "proxy_on_delete", "proxy_on_vm_start"];

/// Everything that is granted to one of the two files, or to the other in its role.
pub fn rights(cut: Cut) -> impl Iterator<Item = &'static str> {
    let dispatch = if cut == Cut::Placement { &DISPATCH[..] } else { &[] };
    called(cut).chain(SYSTEM).chain(cut.callbacks()).chain(dispatch.iter().copied())
}
