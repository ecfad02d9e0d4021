//! Attempts that came to nothing, until the next one of the same request begins: then it is known what was fallen back
//! from. All attempts of a request are made by one worker, so one VM sees them all. Where nothing fails nobody is asked
//! for anything.

use super::Host;
use crate::health::Meaning;
use std::collections::VecDeque;

/// The most that are remembered.
const MOST: usize = 256;
/// For how long: the router waits a few milliseconds between two attempts.
const WITHIN_NS: u64 = 1_000_000_000;
/// Who the request is.
const REQUEST: [&str; 3] = ["request", "headers", "x-request-id"];

/// What an attempt came to nothing by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cause {
    /// An answer that says so: 429, 503.
    Overloaded = 0,
    /// An answer that is a failure.
    Failed = 1,
    /// No answer: refused, reset, closed or too late.
    Broken = 2,
}

impl Cause {
    /// The words used in metrics, in their order.
    pub(super) const WORDS: [&str; 3] = ["overloaded", "failed", "broken"];

    /// What an answer means for the next attempt.
    pub(super) const fn of(meaning: Meaning) -> Option<Self> {
        match meaning {
            Meaning::Overloaded => Some(Self::Overloaded),
            Meaning::Failed => Some(Self::Failed),
            Meaning::Good | Meaning::Refused => None,
        }
    }
}

/// The last ones, in their order.
#[derive(Debug, Default)]
pub(super) struct Fallen(VecDeque<(Vec<u8>, Cause, u64)>);

impl Fallen {
    /// An attempt came to nothing. One whose request nobody names cannot be told from others.
    pub(super) fn fell<H: Host>(&mut self, host: &H, cause: Cause, now_ns: u64) {
        let Some(id) = host.property(&REQUEST).ok().filter(|id| !id.is_empty()) else { return };
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((id, cause, now_ns));
    }

    /// An attempt begins: what the one before it came to nothing by, if it is a fallback.
    pub(super) fn follow<H: Host>(&mut self, host: &H, now_ns: u64) -> Option<Cause> {
        while self.0.front().is_some_and(|(.., then)| now_ns.saturating_sub(*then) > WITHIN_NS) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            return None;
        }
        let id = host.property(&REQUEST).ok()?;
        let at = self.0.iter().position(|(known, ..)| *known == id)?;
        self.0.remove(at).map(|(_, cause, _)| cause)
    }
}
