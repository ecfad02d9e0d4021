//! Requests that wait for the beginning of their body, each with the headers that were read when it came.

use super::Headers;
use super::body::Body;

/// The most that wait in one VM; the next are decided by their headers.
const MOST: usize = 1_024;

/// The waiting ones, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<Request>);

#[derive(Debug)]
struct Request {
    context: u32,
    since_ms: u64,
    headers: Headers,
    /// How much of its body was looked at the last time, and in all.
    looked: usize,
    spent: usize,
    /// What it has said so far.
    body: Body,
}

/// How often as many bytes as are ever looked at of one body may be gone over again, as more of it comes.
const BUDGET: usize = 3;

impl Held {
    pub(super) const fn has_room(&self) -> bool {
        self.0.len() < MOST
    }

    pub(super) fn keep(&mut self, context: u32, since_ms: u64, headers: Headers) {
        self.0.push(Request { context, since_ms, headers, looked: 0, spent: 0, body: Body::default() });
    }

    /// Whether it is worth to look at a body of which so much has come; `None` if nobody waits for it. However small the
    /// pieces are in which it comes, what is spent on them stays in proportion to `most`, the bytes that are ever looked at.
    pub(super) fn look(&mut self, context: u32, size: usize, most: usize) -> Option<bool> {
        let request = self.0.iter_mut().find(|request| request.context == context)?;
        let spent = request.spent.saturating_add(size);
        let worth = size >= request.looked.saturating_mul(2) || spent <= most.saturating_mul(BUDGET);
        if worth {
            (request.looked, request.spent) = (size, spent);
        }
        Some(worth)
    }

    /// What the body of a request has said so far.
    pub(super) fn body(&mut self, context: u32) -> Option<&mut Body> {
        self.0.iter_mut().find(|request| request.context == context).map(|request| &mut request.body)
    }

    /// A request's headers, and what its body has said; it waits no longer.
    pub(super) fn release(&mut self, context: u32) -> Option<(Headers, Body)> {
        let at = self.0.iter().position(|request| request.context == context)?;
        let request = self.0.remove(at);
        Some((request.headers, request.body))
    }

    /// The next that has waited for so long. A clock that jumped back makes nobody wait longer than the jump.
    pub(super) fn overdue(&mut self, now_ms: u64, hold_ms: u32) -> Option<(u32, Headers)> {
        let late = |request: &Request| now_ms.saturating_sub(request.since_ms) >= u64::from(hold_ms);
        let at = self.0.iter().position(late)?;
        let request = self.0.remove(at);
        Some((request.context, request.headers))
    }
}
