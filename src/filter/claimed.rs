//! What a client says of its request can make an attempt end badly wherever it runs: that it has less time than the work
//! takes, or that it wants a socket. Placement leaves word of it in the request's own filter state, only where that is so,
//! and whoever sees the attempt end without an answer reads it: no client must be able to open a circuit for all.

use super::Host;
use super::attempts::per_try_ms;
use crate::model::Decision;
use crate::model::contract::CLAIMED_STATE;
use crate::model::digits::push_number;

/// Timers and clocks do not agree to the millisecond (seen on 1.40: 98.7 ms of 100).
const SLACK_MS: u64 = 5;

/// What a request claims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// The time that it would have if nobody were believed who is not trusted.
    pub(super) own_ms: u32,
    /// It asks for a socket.
    pub(super) socket: bool,
}

impl Claim {
    /// Leaves word, if there is anything to say: how long an attempt may take and until when all of them may, if less
    /// than the request's own time, and whether a socket is asked for.
    pub(super) fn leave<H: Host>(self, host: &H, decision: &Decision, tries: usize, text: &mut String) {
        let hurried = decision.pace.deadline_ms < self.own_ms;
        if hurried || self.socket {
            let deadline_ms = u64::from(decision.pace.deadline_ms);
            let most_ms = per_try_ms(decision, tries).map_or(deadline_ms, u64::from);
            let until_ms = (host.now_ns() / 1_000_000).saturating_add(deadline_ms);
            text.clear();
            let [most_ms, until_ms] = if hurried { [most_ms, until_ms] } else { [u64::MAX; 2] };
            for number in [most_ms, until_ms, u64::from(decision.pace.stream), u64::from(self.socket)] {
                push_number(text, number);
                text.push(' ');
            }
            // Without it the attempt counts as any other.
            let _ = host.set_filter_state(CLAIMED_STATE, text.as_bytes());
        }
    }
}

/// The word that was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    most_ms: u64,
    until_ms: u64,
    /// Its time is over with the first byte.
    stream: bool,
    pub(super) socket: bool,
}

impl Claimed {
    pub(super) fn read<H: Host>(host: &H) -> Option<Self> {
        let bytes = host.property(&[CLAIMED_STATE]).ok()?;
        let mut words = core::str::from_utf8(&bytes).ok()?.split(' ').map(str::parse::<u64>);
        let mut number = || words.next()?.ok();
        Some(Self { most_ms: number()?, until_ms: number()?, stream: number()? == 1, socket: number()? == 1 })
    }

    /// Whether an attempt, asked in full, was ended because the time that the client claims was over.
    pub(super) const fn is_over(&self, silent: bool, begun_ns: u64, now_ns: u64) -> bool {
        let lasted_ms = now_ns.saturating_sub(begun_ns) / 1_000_000 + SLACK_MS;
        let over = now_ns / 1_000_000 + SLACK_MS >= self.until_ms;
        if silent { lasted_ms >= self.most_ms || over } else { over && !self.stream }
    }
}
