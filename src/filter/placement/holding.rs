//! Requests that are held until their body says more. Only the full module has callbacks for these.

use super::{Known, Placement, Verdict};
use crate::filter::{CALLBACKS, Host};

impl Placement {
    /// More of a held request's body has come; `size` is all of it so far. Decides as soon as nothing more is wanted.
    pub fn on_body<H: Host>(&mut self, host: &H, context: u32, size: usize, ends: bool) -> Verdict {
        let Some(source) = &self.config.body else { return Verdict::Continue };
        // What is no longer held was decided when its time was over.
        let Some(worth) = self.held.look(context, size, source.prefix_bytes) else { return Verdict::Continue };
        let whole = ends || size >= source.prefix_bytes;
        if !(whole || worth) {
            return Verdict::Held;
        }
        let prefix = host.request_body(0, size.min(source.prefix_bytes)).unwrap_or_default();
        let Some(body) = self.held.body(context) else { return Verdict::Continue };
        body.read_on(&prefix, source.data_key.as_deref());
        let released = if whole || body.ended { self.held.release(context) } else { None };
        released.map_or(Verdict::Held, |(headers, body)| self.decide(host, context, &headers, Known::Body(&body, size)))
    }

    /// Clients that stall are decided by their headers.
    #[inline(never)]
    pub(super) fn hasten<H: Host>(&mut self, host: &H) {
        if !CALLBACKS {
            return;
        }
        let Some(hold_ms) = self.config.body.as_ref().map(|body| body.hold_ms) else { return };
        while let Some((context, headers)) = self.held.overdue(self.now_ms, hold_ms) {
            self.current.account.late();
            if host.turn_to(context).is_ok() && self.decide(host, context, &headers, Known::Late) == Verdict::Continue {
                let _ = host.resume();
            }
        }
    }
}
