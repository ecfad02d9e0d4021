//! How long the stages of a decision take: a few decisions are timed, the others do not ask for the time.

use super::Metrics;
use crate::filter::Host;
use crate::place::stage::Stage;

/// The stages of one decision.
#[derive(Debug)]
pub(in crate::filter) struct Stopwatch<'a, H> {
    host: &'a H,
    last_ns: u64,
    spent_ns: [u64; Stage::ALL.len()],
}

impl<'a, H: Host> Stopwatch<'a, H> {
    pub(in crate::filter) fn start(host: &'a H) -> Self {
        Self { host, last_ns: host.now_ns(), spent_ns: [0; Stage::ALL.len()] }
    }

    /// A stage has ended.
    pub(in crate::filter) fn ended(&mut self, stage: Stage) {
        let now_ns = self.host.now_ns();
        if let Some(spent) = self.spent_ns.get_mut(stage as usize) {
            *spent = now_ns.saturating_sub(self.last_ns);
        }
        self.last_ns = now_ns;
    }
}

impl Metrics {
    /// A decision was timed.
    pub(in crate::filter) fn timed<H>(&mut self, watch: &Stopwatch<'_, H>) {
        self.cells.add(self.timed, 1);
        for (at, spent_ns) in watch.spent_ns.iter().enumerate() {
            self.cells.add(self.stages + at, *spent_ns);
        }
    }
}
