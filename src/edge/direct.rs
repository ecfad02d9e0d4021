//! The dispatch of `berth-placement.wasm`: a request is one entry into the VM.
//!
//! The SDK has to be told when a stream begins and ends, two more entries that cost 0.7 µs together, only to know which
//! root it belongs to; a placement filter keeps nothing of a stream. So roots are known here by their
//! configuration, and by nothing else that the proxy says:
//!
//! * Nearly always a VM has one root, whose the stream then is. Where there are several (while listeners drain, or with
//!   several placement filters in one VM), each leaves its id with the proxy as a constant expression, which the proxy
//!   keeps by root and evaluates in its streams. Where a proxy cannot do that, the newest configuration of a filter rules,
//!   and a second filter is refused: its streams must not be decided by another's policy.
//! * A root's end shows by its ticks, which have ended; another's tick notices. What it counted last is not left until then,
//!   for the VM may go before: a tick tells the counts of all that have missed one.

use super::abi::{Proxy, foreign};
use super::{Known, ROOTS, SharedRole, action};
use crate::filter::{Host, HostError, identity};
use proxy_wasm::types::Action;
use std::cell::Cell;

/// What shows whether a root is still there.
#[derive(Default)]
pub(super) struct Life {
    /// Which of the VM's filters it is.
    identity: Vec<u8>,
    /// It has left its id with the proxy.
    marked: bool,
    /// When it ticked last, or was configured.
    heard_ms: u64,
}

thread_local! {
    /// What the clock said at the last tick of any root, and how much time has passed by ticks.
    static CLOCK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The token of a root's first expression. Later ones, of a root that is configured again, say the same.
const FIRST: [u8; 4] = 0_u32.to_le_bytes();

/// A root that has missed so many of its ticks, and nothing for so long, has ended.
const MISSED: u64 = 20;
const LEAST_MS: u64 = 10_000;

fn mark(root: u32) -> bool {
    foreign("expr_create", root.to_string().as_bytes()).is_ok_and(|token| token.len() == FIRST.len())
}

/// The id that was left with the root of the stream whose callback this is: a number of 64 bits.
fn marked() -> Result<u32, HostError> {
    let value = foreign("expr_evaluate", &FIRST)?;
    let value = value.first_chunk().and_then(|value| u32::try_from(i64::from_le_bytes(*value)).ok());
    value.ok_or(HostError::Parse)
}

/// The role of the stream whose callback this is.
fn role() -> Option<SharedRole> {
    ROOTS.with_borrow(|roots| {
        let known = match roots.as_slice() {
            [] => None,
            [only] => Some(only),
            [.., newest] => match marked() {
                Ok(id) => roots.iter().find(|known| known.id == id),
                // Of those that came when others were there, each has left its id.
                Err(HostError::NotFound) if newest.life.marked => roots.iter().find(|known| !known.life.marked),
                Err(_) => Some(newest).filter(|_| alike(roots)),
            },
        };
        known.map(|known| known.role.clone())
    })
}

/// Whether all roots are configurations of one filter.
fn alike(roots: &[Known]) -> bool {
    let mut identities = roots.iter().map(|known| &known.life.identity);
    identities.next().is_none_or(|first| identities.all(|another| another == first))
}

/// A root has a configuration; says whether it is taken.
pub(super) fn on_configure(context: u32) -> bool {
    if super::configure(context).is_none() {
        return false;
    }
    let identity = identity(&Proxy);
    ROOTS.with_borrow_mut(|roots| {
        for known in roots.iter_mut().filter(|known| known.id == context) {
            known.life.identity.clone_from(&identity);
            known.life.heard_ms = CLOCK.get().1;
        }
    });
    mark_if_several(context);
    let told_apart = |known: &Known| known.id != context || known.life.marked;
    let taken = ROOTS.with_borrow(|roots| alike(roots) || roots.iter().all(told_apart));
    if !taken {
        super::forget(context);
        log::error!(
            "berth: configuration refused: this VM has another placement filter, and the proxy does not say whose a stream is; \
             give each its own VM configuration, or grant `proxy_call_foreign_function`"
        );
    }
    taken
}

fn mark_if_several(context: u32) {
    ROOTS.with_borrow_mut(|roots| {
        let several = roots.len() > 1;
        if let Some(known) = roots.iter_mut().find(|known| several && known.id == context && !known.life.marked) {
            known.life.marked = mark(context);
        }
    });
}

/// A root's tick is over.
pub(super) fn ticked(context: u32) {
    mark_if_several(context);
    let tick_ms = period(super::root(context).as_ref());
    let now_ms = pass(tick_ms);
    ROOTS.with_borrow_mut(|roots| {
        for known in roots.iter_mut() {
            if known.id == context {
                known.life.heard_ms = now_ms;
            } else if let (true, Ok(mut role)) =
                (now_ms.saturating_sub(known.life.heard_ms) > tick_ms, known.role.try_borrow_mut())
            {
                role.tell(&Proxy);
            }
        }
    });
    while let Some(role) = ended(now_ms) {
        if let Ok(mut role) = role.try_borrow_mut() {
            role.leave(&Proxy);
        }
    }
}

/// Time goes on, by no more than two ticks at once: neither a clock that jumps nor a worker that stood still ends anybody.
fn pass(tick_ms: u64) -> u64 {
    let clock_ms = Proxy.now_ns() / 1_000_000;
    let (before_ms, now_ms) = CLOCK.get();
    let now_ms = now_ms.saturating_add(clock_ms.saturating_sub(before_ms).min(tick_ms.saturating_mul(2)));
    CLOCK.set((clock_ms, now_ms));
    now_ms
}

fn period(role: Option<&SharedRole>) -> u64 {
    role.and_then(|role| role.try_borrow().ok()).map_or(0, |role| u64::from(role.tick_ms()))
}

/// One that has ended, and is known no more.
fn ended(now_ms: u64) -> Option<SharedRole> {
    ROOTS.with_borrow_mut(|roots| {
        let ended = roots.iter().find(|known| {
            let most = period(Some(&known.role)).saturating_mul(MISSED).max(LEAST_MS);
            now_ms.saturating_sub(known.life.heard_ms) > most
        })?;
        let (id, role) = (ended.id, ended.role.clone());
        roots.retain(|known| known.id != id);
        Some(role)
    })
}

/// A request has come.
pub(super) fn on_request_headers(context: u32, end_of_stream: bool) -> Action {
    match role().as_ref().map(|role| role.try_borrow_mut()) {
        Some(Ok(mut role)) => action(role.arrive(&Proxy, context, end_of_stream).0),
        _ => Action::Continue,
    }
}
