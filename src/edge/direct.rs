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
//! * A root's end shows by its ticks, which have ended. The others' ticks notice, so that what it counted last is told.

use super::abi::{Proxy, foreign};
use super::{Known, ROOTS, SharedRole, action};
use crate::filter::{HostError, identity};
use proxy_wasm::types::Action;

/// What shows whether a root is still there.
#[derive(Default)]
pub(super) struct Life {
    /// Which of the VM's filters it is.
    identity: Vec<u8>,
    /// It has left its id with the proxy.
    marked: bool,
    /// For how long others have ticked since it did.
    silent_ms: u64,
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
        roots
            .iter_mut()
            .filter(|known| known.id == context)
            .for_each(|known| known.life.identity.clone_from(&identity));
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
    while let Some(role) = ended(context) {
        if let Ok(mut role) = role.try_borrow_mut() {
            role.leave(&Proxy);
        }
    }
    let period = root_period(context);
    ROOTS.with_borrow_mut(|roots| {
        for known in roots {
            known.life.silent_ms = if known.id == context { 0 } else { known.life.silent_ms.saturating_add(period) };
        }
    });
}

fn root_period(context: u32) -> u64 {
    super::root(context).map_or(0, |role| period(&role))
}

fn period(role: &SharedRole) -> u64 {
    role.try_borrow().map_or(0, |role| u64::from(role.tick_ms()))
}

/// One that has ended, and is known no more. Time is counted in ticks, so that a clock that jumps ends nobody; each of
/// the others counts them.
fn ended(ticking: u32) -> Option<SharedRole> {
    ROOTS.with_borrow_mut(|roots| {
        let others = u64::try_from(roots.len()).unwrap_or(u64::MAX).saturating_sub(1);
        let ended = roots.iter().find(|known| {
            let most = period(&known.role).saturating_mul(MISSED).max(LEAST_MS).saturating_mul(others);
            known.id != ticking && known.life.silent_ms > most
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
