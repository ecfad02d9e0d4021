//! What becomes of a request after it was decided: its answer, its end; and what is left to tell when the role ends. Only the full module has callbacks for these.

use super::{Placement, Side};
use crate::filter::{CALLBACKS, Host, MapKind};
use crate::model::Decision;

impl Placement {
    pub(in crate::filter) const fn tick_ms(&self) -> u32 {
        self.config.refresh_ms
    }

    /// Has the answer of a request counted for its side, while a canary is judged.
    #[inline(never)]
    pub(super) fn judge<H: Host>(&mut self, host: &H, context: u32, side: Side, decision: &Decision) {
        let Some(canary) = self.canary.as_deref_mut().filter(|canary| side != Side::Previous && !canary.is_back())
        else {
            return;
        };
        let ticket = canary.decided(decision, side == Side::Candidate, host.now_ns());
        if let (true, Some(ticket)) = (CALLBACKS, ticket) {
            self.tickets.keep(context, ticket);
        }
    }

    /// The headers of an answer have come.
    pub fn on_answer<H: Host>(&mut self, host: &H, context: u32) {
        self.arms().for_each(|arm| arm.account.answered(host, context));
        let (Some(ticket), Some(canary)) = (self.tickets.take(context), self.canary.as_deref_mut()) else { return };
        let Ok(headers) = host.headers(MapKind::ResponseHeaders) else { return };
        // Overload is no failure of a policy's choice alone, but who chose the overloaded one could have known.
        let failed = headers.get(":status").and_then(|s| s.parse::<u16>().ok()).is_none_or(|s| s >= 500 || s == 429);
        canary.answered(ticket, failed, host.now_ns());
    }

    /// A stream has ended, and the proxy still knows how. Who was never answered was not served: left out, the slowest
    /// would not count against whoever chose them.
    pub fn on_end<H: Host>(&mut self, host: &H, context: u32) {
        if let (Some(ticket), Some(canary)) = (self.tickets.take(context), self.canary.as_deref_mut()) {
            canary.answered(ticket, true, host.now_ns());
        }
        self.arms().for_each(|arm| arm.ended(host, context));
    }

    /// Another configuration has taken over: what was counted and spent since the last tick is told, or nobody ever
    /// would. What cannot be told now is lost.
    pub fn leave<H: Host>(&mut self, host: &H) {
        let now_ms = self.now_ms;
        self.arms().for_each(|arm| {
            arm.settle(host, now_ms, 0);
            arm.leave(host);
        });
        self.reporter.fall_silent(host);
    }

    /// What was counted since the last tick is told.
    pub fn tell<H: Host>(&mut self, host: &H) {
        self.arms().for_each(|arm| arm.flush(host));
    }

    /// A stream is gone.
    pub fn forget(&mut self, context: u32) {
        self.held.release(context);
        self.tickets.take(context);
        self.arms().for_each(|arm| arm.account.forget(context));
    }
}
