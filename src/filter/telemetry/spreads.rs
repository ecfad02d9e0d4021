//! Gauges of what no substrate shows alone: regions against one another, kinds within themselves.

use crate::filter::metrics::define;
use crate::filter::{Host, MetricKind};
use crate::health::spread::Peers;
use crate::model::metric::{self, MOST_SERIES};
use crate::model::{Kind, Snapshot, Watch};

/// The gauges, and what they compare.
#[derive(Debug)]
pub(super) struct Spreads {
    peers: Peers,
    regions: Vec<Option<u32>>,
    kinds: [Option<u32>; Kind::ALL.len()],
}

impl Spreads {
    pub(super) fn declare<H: Host>(host: &H, watch: &Watch) -> Self {
        let peers = Peers::of(watch);
        let region = |name: &String| define(host, MetricKind::Gauge, &metric::DIVERGENCE, &[name]);
        let kind = |kind: Kind| {
            let there = watch.substrates.iter().any(|watched| watched.kind == kind);
            if there { define(host, MetricKind::Gauge, &metric::TOKEN_SPREAD, &[kind.as_str()]) } else { None }
        };
        let most = if peers.regions().len() > MOST_SERIES { 0 } else { MOST_SERIES };
        let regions = peers.regions().iter().take(most).map(region).collect();
        Self { regions, kinds: Kind::ALL.map(kind), peers }
    }

    /// Shows what was published. What cannot be compared any more is nothing, and not what it was.
    pub(super) fn show<H: Host>(&self, host: &H, snapshot: &Snapshot, hard_ms: u64) {
        let regions = self.peers.divergence(snapshot, hard_ms);
        let kinds = self.peers.token_spread(snapshot, hard_ms);
        for (id, ppm) in self.regions.iter().zip(regions).chain(self.kinds.iter().zip(kinds)) {
            super::counters::set(host, *id, ppm.unwrap_or(0));
        }
    }
}
