//! Whose failure it is that an attempt broke off, where the client's own words may have made it.

use super::fell::CONNECTED;
use super::{Attempt, Observing};
use crate::filter::Host;
use crate::filter::claimed::Claimed;
use crate::health::Ending;

/// Whoever waited so many times as long as nearly all good answers took has waited long enough to say that none comes,
/// however little time it claimed to have.
const LONG_ENOUGH: u64 = 2;

impl Observing {
    /// An attempt broke off by the substrate or by its own time. If it never had an answer, whatever follows it is told.
    #[inline(never)]
    pub(super) fn blame<H: Host>(&self, host: &H, at: usize, attempt: &Attempt) -> Ending {
        let now_ns = host.now_ns();
        let silent = attempt.answered.is_none();
        if silent {
            self.fell.silent(host, &self.member, (at, &attempt.before), (attempt.begun_ns, now_ns));
        }
        let Some(claimed) = Claimed::read(host) else { return Ending::Broken };
        let lasted_us = now_ns.saturating_sub(attempt.begun_ns) / 1_000;
        let (usual_us, sockets) = self.member.with(|reporter| reporter.observer.usual(at)).unwrap_or_default();
        let patient = usual_us.is_none_or(|us| lasted_us >= us.saturating_mul(LONG_ENOUGH));
        // Whoever has begun to answer is not one that says nothing.
        let over = attempt.asked && claimed.is_over(silent, attempt.begun_ns, now_ns);
        let hurried = over && !(silent && patient);
        // Over HTTP/2 the proxy itself breaks off a handshake with whoever serves no sockets, and nothing says so.
        let connected = || host.property(&CONNECTED).is_ok_and(|address| !address.is_empty());
        let none_there = claimed.socket && silent && !sockets && connected();
        if hurried || none_there { Ending::Abandoned } else { Ending::Broken }
    }
}
