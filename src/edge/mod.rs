//! The proxy-wasm edge: callbacks in, host calls out, no decisions. Thin enough to be read in one sitting.
//!
//! `berth.wasm` is dispatched by the SDK. `berth-placement.wasm`, linked without the telemetry role, does without its
//! dispatch, which has to be told of each stream's beginning and end: `direct.rs`.

mod abi;
#[cfg(feature = "telemetry")]
mod attempt;
#[cfg(not(feature = "telemetry"))]
mod direct;
mod lines;
mod series;
#[cfg(feature = "telemetry")]
mod streams;

use crate::filter::{Role, Verdict, Vm};
use abi::{Proxy, log_line};
use proxy_wasm::types::Action;
use std::cell::RefCell;
use std::rc::Rc;

/// A role, shared by the root context and its streams. Nothing re-enters it; where the host would, the second
/// entry does nothing rather than panic.
type SharedRole = Rc<RefCell<Role>>;

/// A root that has a role.
struct Known {
    id: u32,
    role: SharedRole,
    #[cfg(not(feature = "telemetry"))]
    life: direct::Life,
}

thread_local! {
    /// The roots of this VM that have a role, the newest last, for the callbacks that do not come through the SDK.
    static ROOTS: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
    /// What they have in common.
    static VM: Vm = Vm::default();
}

/// The severity of last words.
const CRITICAL: u32 = 5;

proxy_wasm::main! {{
    std::panic::set_hook(Box::new(|info| log_line(CRITICAL, &info.to_string())));
    // Only the first logger of a VM is taken, and it is this one; the configuration sets the level.
    if log::set_logger(&Proxy).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    #[cfg(feature = "telemetry")]
    proxy_wasm::set_root_context(streams::root);
}}

/// Gives a root the role that its configuration names.
fn configure(id: u32) -> Option<SharedRole> {
    match VM.with(|vm| Role::configure_in(&Proxy, vm)) {
        Ok(role) => {
            let role = Rc::new(RefCell::new(role));
            forget(id);
            ROOTS.with_borrow_mut(|roots| {
                roots.push(Known {
                    id,
                    role: role.clone(),
                    #[cfg(not(feature = "telemetry"))]
                    life: direct::Life::default(),
                });
            });
            Some(role)
        }
        Err(line) => {
            log::error!("{line}");
            None
        }
    }
}

fn forget(root: u32) {
    ROOTS.with_borrow_mut(|roots| roots.retain(|known| known.id != root));
}

fn root(context: u32) -> Option<SharedRole> {
    ROOTS.with_borrow(|roots| roots.iter().find(|known| known.id == context).map(|known| known.role.clone()))
}

/// The answer of a call, for the root that sent it.
#[cfg(feature = "telemetry")]
fn on_call(context: u32, token: u32, body_size: usize) {
    if let Some(Ok(mut role)) = root(context).as_ref().map(|role| role.try_borrow_mut()) {
        role.on_call(&Proxy, token, body_size);
    }
}

fn on_tick(context: u32) {
    if let Some(Ok(mut role)) = root(context).as_ref().map(|role| role.try_borrow_mut()) {
        role.on_tick(&Proxy);
    }
    #[cfg(not(feature = "telemetry"))]
    direct::ticked(context);
}

const fn action(verdict: Verdict) -> Action {
    match verdict {
        Verdict::Continue => Action::Continue,
        Verdict::Answered | Verdict::Held => Action::Pause,
    }
}
