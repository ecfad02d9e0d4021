//! How long attempts take, as histograms by cluster and by the size of the request: where time does not follow size,
//! something else takes it. Only where it is asked for: each series costs the proxy memory and a page of its metrics,
//! and each attempt two host calls, as a distribution cannot be told by a sum.

use crate::filter::metrics::{define, word};
use crate::filter::{Host, MetricKind};
use crate::model::metric::{self, SIZES};
use hashbrown::HashMap;

/// How many clusters are told apart. They are the proxy's own, so that nobody outside makes one up.
const MOST: usize = 64;
/// What the others are together.
const OTHER: &str = "other";

/// The histograms of one cluster, by size.
#[derive(Clone, Copy, Debug)]
struct Row {
    first: [Option<u32>; SIZES.len()],
    total: [Option<u32>; SIZES.len()],
}

/// Those of all clusters, by their place in the VM's account.
#[derive(Debug)]
pub(super) struct Times {
    rows: HashMap<usize, Row>,
    other: Row,
}

impl Row {
    fn declare<H: Host>(host: &H, cluster: &str) -> Self {
        let of = |family| SIZES.map(|(size, _)| define(host, MetricKind::Histogram, family, &[cluster, size]));
        Self { first: of(&metric::FIRST_BYTE_MS), total: of(&metric::TOTAL_MS) }
    }
}

impl Times {
    pub(super) fn declare<H: Host>(host: &H) -> Self {
        Self { rows: HashMap::new(), other: Row::declare(host, OTHER) }
    }

    /// An attempt goes there. Which clusters there are nobody has told this role, so each is declared when it is met.
    pub(super) fn meet<H: Host>(&mut self, host: &H, at: usize, cluster: &[u8]) {
        if self.rows.len() < MOST && !self.rows.contains_key(&at) {
            let row = Row::declare(host, &word(&String::from_utf8_lossy(cluster)));
            self.rows.insert(at, row);
        }
    }

    /// One was answered well, and to the end.
    pub(super) fn took<H: Host>(&self, host: &H, at: usize, sent_bytes: u64, first_us: u64, total_us: u64) {
        let row = self.rows.get(&at).unwrap_or(&self.other);
        let size = SIZES.iter().position(|(_, most)| sent_bytes <= *most).unwrap_or(SIZES.len() - 1);
        for (ids, time_us) in [(&row.first, first_us), (&row.total, total_us)] {
            if let Some(id) = ids.get(size).copied().flatten() {
                let _ = host.record(id, time_us / 1_000);
            }
        }
    }
}
