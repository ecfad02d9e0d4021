//! Roots and streams as the SDK dispatches them.

use super::abi::Proxy;
use super::attempt::AttemptStream;
use super::{SharedRole, action};
use crate::filter::{Kept, Verdict};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

/// A root, which has no role yet.
pub(super) fn root(id: u32) -> Box<dyn RootContext> {
    Box::new(Root { id, role: None, observes: false })
}

struct Root {
    id: u32,
    role: Option<SharedRole>,
    observes: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.role = super::configure(self.id);
        self.observes = self.role.as_ref().is_some_and(|role| role.try_borrow().is_ok_and(|role| role.observes()));
        self.role.is_some()
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        if let Some(role) = self.role.clone().filter(|_| self.observes) {
            return Some(Box::new(AttemptStream::new(role)));
        }
        Some(Box::new(Stream { id, role: self.role.clone(), kept: None, size: 0 }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        super::forget(self.id);
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
    size: usize,
}

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

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.size = size;
        self.body(end_of_stream)
    }

    /// They end a body as well as its last byte does.
    fn on_http_request_trailers(&mut self, _trailers: usize) -> Action {
        self.body(true)
    }

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
