//! The streams of a filter inside a cluster: each is one attempt.

use super::SharedRole;
use super::abi::Proxy;
use crate::filter::Attempt;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

pub(super) struct AttemptStream {
    role: SharedRole,
    attempt: Attempt,
}

impl AttemptStream {
    pub(super) fn new(role: SharedRole) -> Self {
        Self { role, attempt: Attempt::default() }
    }
}

impl Context for AttemptStream {
    fn on_done(&mut self) -> bool {
        if let Ok(mut role) = self.role.try_borrow_mut() {
            role.on_end(&Proxy, &mut self.attempt);
        }
        true
    }
}

impl HttpContext for AttemptStream {
    fn on_http_request_headers(&mut self, _headers: usize, end_of_stream: bool) -> Action {
        if let Ok(mut role) = self.role.try_borrow_mut() {
            self.attempt = role.on_attempt(&Proxy);
        }
        self.attempt.on_request_part(0, end_of_stream);
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.attempt.on_request_part(u64::try_from(size).unwrap_or(0), end_of_stream);
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _trailers: usize) -> Action {
        self.attempt.on_request_part(0, true);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _headers: usize, end_of_stream: bool) -> Action {
        if let Ok(mut role) = self.role.try_borrow_mut() {
            role.on_answer(&Proxy, &mut self.attempt);
        }
        self.attempt.on_part(0, end_of_stream);
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if size > 0
            && self.attempt.is_open()
            && let Ok(mut role) = self.role.try_borrow_mut()
        {
            role.on_message(&Proxy, &mut self.attempt);
        }
        self.attempt.on_part(u64::try_from(size).unwrap_or(0), end_of_stream);
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _trailers: usize) -> Action {
        if let Ok(mut role) = self.role.try_borrow_mut() {
            role.on_trailers(&Proxy, &mut self.attempt);
        }
        Action::Continue
    }
}
