//! The proxy-wasm edge: callbacks in, host calls out, no decisions. Thin enough to be read in one sitting.

mod abi;
#[cfg(feature = "telemetry")]
mod attempt;
mod lines;
mod series;

use crate::filter::{Kept, Role, Verdict, Vm};
use abi::Proxy;
#[cfg(feature = "telemetry")]
use attempt::AttemptStream;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};
use std::cell::RefCell;
use std::rc::Rc;

/// A role, shared by the root context and its streams. Nothing re-enters it; where the host would, the second
/// entry does nothing rather than panic.
type SharedRole = Rc<RefCell<Role>>;

thread_local! {
    /// The roots of this VM that have a role, for the callbacks that do not come through the SDK.
    static ROOTS: RefCell<Vec<(u32, SharedRole)>> = const { RefCell::new(Vec::new()) };
    /// What they have in common.
    static VM: Vm = Vm::default();
}

proxy_wasm::main! {{
    std::panic::set_hook(Box::new(|info| Proxy.last_words(&info.to_string())));
    // Only the first logger of a VM is taken, and it is this one; the configuration sets the level.
    if log::set_logger(&Proxy).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    proxy_wasm::set_root_context(|id| Box::new(Root { id, role: None, observes: false }));
}}

fn root(context: u32) -> Option<SharedRole> {
    ROOTS.with_borrow(|roots| roots.iter().find(|(id, _)| *id == context).map(|(_, role)| role.clone()))
}

/// The answer of a call, for the root that sent it.
fn on_call(context: u32, token: u32, body_size: usize) {
    if let Some(Ok(mut role)) = root(context).as_ref().map(|role| role.try_borrow_mut()) {
        role.on_call(&Proxy, token, body_size);
    }
}

fn on_tick(context: u32) {
    if let Some(Ok(mut role)) = root(context).as_ref().map(|role| role.try_borrow_mut()) {
        role.on_tick(&Proxy);
    }
}

struct Root {
    id: u32,
    role: Option<SharedRole>,
    observes: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match VM.with(|vm| Role::configure_in(&Proxy, vm)) {
            Ok(role) => {
                self.observes = role.observes();
                let role = Rc::new(RefCell::new(role));
                ROOTS.with_borrow_mut(|roots| {
                    roots.retain(|(id, _)| *id != self.id);
                    roots.push((self.id, role.clone()));
                });
                self.role = Some(role);
                true
            }
            Err(line) => {
                log::error!("{line}");
                false
            }
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        #[cfg(feature = "telemetry")]
        if let Some(role) = self.role.clone().filter(|_| self.observes) {
            return Some(Box::new(AttemptStream::new(role)));
        }
        Some(Box::new(Stream {
            id,
            role: self.role.clone(),
            kept: None,
            #[cfg(feature = "telemetry")]
            size: 0,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        ROOTS.with_borrow_mut(|roots| roots.retain(|(id, _)| *id != self.id));
        if let Some(Ok(mut role)) = self.role.as_ref().map(|role| role.try_borrow_mut()) {
            role.leave(&Proxy);
        }
    }
}

struct Stream {
    id: u32,
    role: Option<SharedRole>,
    /// What is held until its body has come.
    kept: Option<Kept>,
    /// How much of that has come.
    #[cfg(feature = "telemetry")]
    size: usize,
}

const fn action(verdict: Verdict) -> Action {
    match verdict {
        Verdict::Continue => Action::Continue,
        Verdict::Answered | Verdict::Held => Action::Pause,
    }
}

#[cfg(feature = "telemetry")]
impl Stream {
    fn body(&mut self, ends: bool) -> Action {
        let Some(kept) = &self.kept else { return Action::Continue };
        match self.role.as_ref().map(|role| role.try_borrow_mut()) {
            Some(Ok(mut role)) => {
                let verdict = role.on_body(&Proxy, kept, self.size, ends);
                if verdict != Verdict::Held {
                    self.kept = None;
                }
                action(verdict)
            }
            _ => Action::Pause,
        }
    }
}

impl Context for Stream {
    #[cfg(feature = "telemetry")]
    fn on_done(&mut self) -> bool {
        if let Some(Ok(mut role)) = self.role.as_ref().map(|role| role.try_borrow_mut()) {
            role.on_done(&Proxy, self.id);
        }
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, end_of_stream: bool) -> Action {
        let Some(Ok(mut role)) = self.role.as_ref().map(|role| role.try_borrow_mut()) else { return Action::Continue };
        let (verdict, kept) = role.arrive(&Proxy, self.id, end_of_stream);
        self.kept = kept;
        action(verdict)
    }

    #[cfg(feature = "telemetry")]
    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.size = size;
        self.body(end_of_stream)
    }

    /// They end a body as well as its last byte does.
    #[cfg(feature = "telemetry")]
    fn on_http_request_trailers(&mut self, _trailers: usize) -> Action {
        self.body(true)
    }

    #[cfg(feature = "telemetry")]
    fn on_http_response_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        if let Some(Ok(mut role)) = self.role.as_ref().map(|role| role.try_borrow_mut()) {
            role.on_response(&Proxy, self.id);
        }
        Action::Continue
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(Ok(mut role)) = self.role.as_ref().map(|role| role.try_borrow_mut()) {
            role.forget(self.id);
        }
    }
}
