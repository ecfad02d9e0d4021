//! The host functions, for the world of a [`FakeHost`]. A module may import anything: what is not here answers
//! "unimplemented", as a host that does not grant it would answer with an error.

use super::{Answer, State};
use berth::filter::{Headers, Host, HostError, MapKind, MetricKind};
use wasmi::{Caller, Error, ExternType, Linker, Module, Val};

const OK: u32 = 0;
const BAD_ARGUMENT: u32 = 2;
const INTERNAL: u32 = 10;
const UNIMPLEMENTED: u32 = 12;
/// What the proxy itself allows.
const MOST_LOG_LINES: usize = 10_000;

/// Defines every import of the module.
pub(super) fn define(linker: &mut Linker<State>, module: &Module) {
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else { panic!("{} is no function", import.name()) };
        let (name, system) = (import.name().to_string(), import.module() != "env");
        let has_result = !ty.results().is_empty();
        linker
            .func_new(import.module(), import.name(), ty.clone(), move |mut caller, arguments, results| {
                let a: Vec<u64> = arguments.iter().map(raw).collect();
                let status = if system { wasi(&mut caller, &name, &a)? } else { call(&mut caller, &name, &a)? };
                if has_result {
                    results[0] = Val::I32(status.cast_signed());
                }
                Ok(())
            })
            .unwrap();
    }
}

fn raw(value: &Val) -> u64 {
    match value {
        Val::I32(v) => u64::from(v.cast_unsigned()),
        Val::I64(v) => v.cast_unsigned(),
        _ => 0,
    }
}

fn wasi(caller: &mut Caller<'_, State>, name: &str, a: &[u64]) -> Result<u32, Error> {
    match name {
        "environ_sizes_get" => {
            put(caller, a[0], &0u32.to_le_bytes());
            put(caller, a[1], &0u32.to_le_bytes());
            Ok(OK)
        }
        "environ_get" => Ok(OK),
        "proc_exit" => Err(Error::new(format!("proc_exit({})", a[0]))),
        // Nothing of ours writes to a file: 8 is "bad file descriptor".
        _ => Ok(8),
    }
}

fn call(caller: &mut Caller<'_, State>, name: &str, a: &[u64]) -> Result<u32, Error> {
    let state = caller.data_mut();
    *state.calls.entry(name.to_string()).or_default() += 1;
    state.order.push(name.to_string());
    let bytes_at = gives_bytes(name).map(|(at, len)| (a[at], a[len]));
    match (state.answers.get(name).cloned(), bytes_at) {
        (None, _) => truth(caller, name, a),
        (Some(Answer::Status(status)), _) => Ok(status),
        (Some(Answer::Nothing), _) => Ok(OK),
        (Some(Answer::Null(len)), Some((_, len_at))) => {
            put(caller, len_at, &len.to_le_bytes());
            Ok(OK)
        }
        (Some(Answer::Bytes(bytes)), Some((at, len))) => give(caller, at, len, &bytes),
        (Some(Answer::Part(hundredths)), Some((at, len))) => match data(caller, name, a) {
            Ok(bytes) => give(caller, at, len, &bytes[..bytes.len() * hundredths / 100]),
            Err(error) => Ok(status(&Err(error))),
        },
        (Some(_), None) => Ok(OK),
    }
}

/// Which arguments are the out-pointers of data and its length.
pub(crate) fn gives_bytes(name: &str) -> Option<(usize, usize)> {
    Some(match name {
        "proxy_get_buffer_bytes" => (3, 4),
        "proxy_get_header_map_pairs" => (1, 2),
        "proxy_get_property" | "proxy_get_shared_data" => (2, 3),
        "proxy_call_foreign_function" => (4, 5),
        _ => return None,
    })
}

/// The bytes that a call would give.
fn data(caller: &mut Caller<'_, State>, name: &str, a: &[u64]) -> Result<Vec<u8>, HostError> {
    let host = caller.data().host.clone();
    match name {
        "proxy_get_buffer_bytes" => {
            let (start, most) = (size(a[1]), size(a[2]));
            match a[0] {
                0 => host.request_body(start, most),
                4 => host.call_body(start, most),
                7 => host.plugin_configuration().map(|all| all.into_iter().skip(start).take(most).collect()),
                _ => Err(HostError::BadArgument),
            }
        }
        "proxy_get_header_map_pairs" => {
            let headers = host.headers(map(a[0]).ok_or(HostError::BadArgument)?)?;
            let pairs: Vec<_> = headers.iter().collect();
            Ok(encode(&pairs))
        }
        "proxy_get_property" => {
            let path = text(caller, a[0], a[1]);
            host.property(&path.split('\0').collect::<Vec<_>>())
        }
        "proxy_get_shared_data" => {
            let key = text(caller, a[0], a[1]);
            let (bytes, token) = host.shared_get(&key)?;
            put(caller, a[4], &token.to_le_bytes());
            Ok(bytes)
        }
        "proxy_call_foreign_function" => {
            let (name, argument) = (text(caller, a[0], a[1]), read(caller, a[2], a[3]));
            foreign(caller.data_mut(), &name, &argument)
        }
        _ => Err(HostError::Unimplemented),
    }
}

/// Constant expressions, which the proxy keeps by root and evaluates in the root's streams.
fn foreign(state: &mut State, name: &str, argument: &[u8]) -> Result<Vec<u8>, HostError> {
    let root = state.parents.get(&state.entered).copied().unwrap_or(state.entered);
    let kept = state.expressions.entry(root).or_default();
    match name {
        "expr_create" => {
            let constant = std::str::from_utf8(argument).ok().and_then(|text| text.parse::<i64>().ok());
            kept.push(constant.ok_or(HostError::BadArgument)?);
            Ok(u32::try_from(kept.len() - 1).unwrap().to_le_bytes().into())
        }
        "expr_evaluate" => {
            let token = argument.first_chunk().map(|token| u32::from_le_bytes(*token)).ok_or(HostError::BadArgument)?;
            let constant = kept.get(size(u64::from(token))).ok_or(HostError::NotFound)?;
            Ok(constant.to_le_bytes().into())
        }
        _ => Err(HostError::NotFound),
    }
}

/// A header map in the host's own form, from bytes that need not be text.
pub(crate) fn encode(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let word = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut out = word(pairs.len()).to_vec();
    for (k, v) in pairs {
        out.extend(word(k.len()));
        out.extend(word(v.len()));
    }
    for text in pairs.iter().flat_map(|(k, v)| [k, v]) {
        out.extend_from_slice(text);
        out.push(0);
    }
    out
}

fn truth(caller: &mut Caller<'_, State>, name: &str, a: &[u64]) -> Result<u32, Error> {
    if let Some((at, len)) = gives_bytes(name) {
        return match data(caller, name, a) {
            Ok(bytes) => give(caller, a[at], a[len], &bytes),
            Err(error) => Ok(status(&Err(error))),
        };
    }
    let host = caller.data().host.clone();
    let said = |at: usize| text(caller, a[at], a[at + 1]);
    let done = match name {
        "proxy_log" => {
            let line = said(1);
            let log = &mut caller.data_mut().log;
            if log.len() < MOST_LOG_LINES {
                log.push((u32::try_from(a[0]).unwrap_or(0), line));
            }
            Ok(())
        }
        "proxy_get_current_time_nanoseconds" => {
            put(caller, a[0], &host.now_ns().to_le_bytes());
            Ok(())
        }
        "proxy_set_tick_period_milliseconds" => host.set_tick_ms(size(a[0]) as u32),
        "proxy_replace_header_map_value" => {
            map(a[0]).map_or(Err(HostError::BadArgument), |map| host.set_header(map, &said(1), &said(3)))
        }
        "proxy_remove_header_map_value" => {
            map(a[0]).map_or(Err(HostError::BadArgument), |map| host.remove_header(map, &said(1)))
        }
        "proxy_set_effective_context" => host.turn_to(size(a[0]) as u32),
        "proxy_continue_stream" => host.resume(),
        "proxy_set_property" => host.set_filter_state(&said(0), &read(caller, a[2], a[3])),
        "proxy_set_shared_data" => {
            host.shared_set(&said(0), &read(caller, a[2], a[3]), (a[4] != 0).then_some(size(a[4]) as u32))
        }
        "proxy_increment_metric" => host.increment(size(a[0]) as u32, a[1].cast_signed()),
        "proxy_record_metric" => host.record(size(a[0]) as u32, a[1]),
        "proxy_define_metric" => {
            let kind = [MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram][size(a[0]).min(2)];
            let id = host.define_metric(kind, &said(1));
            id.map(|id| put(caller, a[3], &id.to_le_bytes()))
        }
        "proxy_http_call" => {
            let headers = Headers::new(read(caller, a[2], a[3]));
            let token = host.call(&said(0), &pairs(&headers), &read(caller, a[4], a[5]), size(a[8]) as u32);
            token.map(|token| put(caller, a[9], &token.to_le_bytes()))
        }
        "proxy_send_local_response" => {
            let headers = Headers::new(read(caller, a[5], a[6]));
            let (code, body) = (size(a[0]) as u16, read(caller, a[3], a[4]));
            match u8::try_from(a[7]) {
                Ok(grpc) => host.respond_grpc(code, grpc, &pairs(&headers), &String::from_utf8_lossy(&body)),
                Err(_) => host.respond(code, &pairs(&headers), &body),
            }
        }
        _ => return Ok(UNIMPLEMENTED),
    };
    Ok(status(&done))
}

fn pairs(headers: &Headers) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).expect("what the module sends is text");
    headers.iter().map(|(k, v)| (text(k), text(v))).collect()
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

const fn map(kind: u64) -> Option<MapKind> {
    Some(match kind {
        0 => MapKind::RequestHeaders,
        2 => MapKind::ResponseHeaders,
        3 => MapKind::ResponseTrailers,
        6 => MapKind::CallHeaders,
        _ => return None,
    })
}

const fn status(done: &Result<(), HostError>) -> u32 {
    match done {
        Ok(()) => OK,
        Err(HostError::NotFound) => 1,
        Err(HostError::BadArgument) => BAD_ARGUMENT,
        Err(HostError::Serialization) => 3,
        Err(HostError::Parse) => 4,
        Err(HostError::Empty) => 7,
        Err(HostError::CasMismatch) => 8,
        Err(HostError::Internal) => INTERNAL,
        Err(HostError::Unimplemented) => UNIMPLEMENTED,
        Err(HostError::Unexpected(other)) => *other,
    }
}

fn read(caller: &Caller<'_, State>, at: u64, len: u64) -> Vec<u8> {
    let memory = caller.data().memory.expect("a memory");
    memory.data(caller)[size(at)..size(at) + size(len)].to_vec()
}

fn text(caller: &Caller<'_, State>, at: u64, len: u64) -> String {
    String::from_utf8(read(caller, at, len)).expect("what the module says is text")
}

fn put(caller: &mut Caller<'_, State>, at: u64, bytes: &[u8]) {
    let memory = caller.data().memory.expect("a memory");
    memory.write(caller, size(at), bytes).expect("out-pointers lie in the memory");
}

/// Hands bytes over as the host does: in a block that the module is asked for.
fn give(caller: &mut Caller<'_, State>, at: u64, len_at: u64, bytes: &[u8]) -> Result<u32, Error> {
    let len = u32::try_from(bytes.len()).unwrap();
    let mut block = 0;
    if len > 0 {
        caller.data_mut().upcalls += 1;
        let allocate = caller.get_export("proxy_on_memory_allocate").and_then(wasmi::Extern::into_func).unwrap();
        let mut results = [Val::I32(0)];
        allocate.call(&mut *caller, &[Val::I32(len.cast_signed())], &mut results)?;
        block = results[0].i32().unwrap_or(0).cast_unsigned();
        if block == 0 {
            return Ok(INTERNAL);
        }
        put(caller, u64::from(block), bytes);
    }
    put(caller, at, &block.to_le_bytes());
    put(caller, len_at, &len.to_le_bytes());
    Ok(OK)
}
