//! What the proxies see for themselves, and believe nobody else about.

use super::Fold;
use crate::health::heard::is_measurable;
use crate::model::Signal;

impl Fold {
    /// By substrate, what the proxies measure themselves, so that nobody else is believed about it.
    pub fn measured(&self, now_ms: u64) -> impl Iterator<Item = (&str, impl Iterator<Item = Signal> + '_)> + '_ {
        self.states.iter().map(move |state| {
            let measures = move |signal: &Signal| state.measures(*signal, now_ms, &self.watch.ages);
            (state.health.name.as_str(), Signal::ALL.into_iter().filter(|s| is_measurable(*s)).filter(measures))
        })
    }
}
