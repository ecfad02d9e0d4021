//! What has changed from one published picture to the next: a circuit that opened and closed between two scrapes of a
//! gauge is seen by nobody.

use crate::filter::{Host, MetricKind};
use crate::model::metric::{self, Family, PREFIX};
use crate::model::{Admission, Circuit, Health, Snapshot, Watch};

/// With more substrates than these, nothing is declared for each.
const MOST: usize = metric::MOST_SERIES / 3;
const CIRCUITS: [&str; 3] = ["closed", "half-open", "open"];
const ADMISSIONS: [&str; 3] = ["all", "existing", "closed"];

/// How a substrate stands, as places in the two lists.
pub(super) const fn standing(health: &Health) -> [usize; 2] {
    let circuit = match health.circuit {
        Circuit::Closed => 0,
        Circuit::HalfOpen { .. } => 1,
        Circuit::Open { .. } => 2,
    };
    let admission = match health.admission {
        Admission::All => 0,
        Admission::Existing => 1,
        Admission::Closed => 2,
    };
    [circuit, admission]
}

/// The counters of each substrate, and how it stood.
#[derive(Debug)]
pub(super) struct Changes {
    counters: Vec<[[Option<u32>; 3]; 2]>,
    last: Vec<[usize; 2]>,
}

impl Changes {
    pub(super) fn declare<H: Host>(host: &H, watch: &Watch) -> Self {
        let names = watch.substrates.iter().map(|watched| watched.name.as_str());
        let names = names.take(if watch.substrates.len() > MOST { 0 } else { MOST });
        let counter = |family: &Family, name: &str, to: &str| {
            let series = [PREFIX, family.name, ".substrate.", name, ".to.", to].concat();
            host.define_metric(MetricKind::Counter, &series).ok()
        };
        let of = |name: &str| {
            [
                CIRCUITS.map(|to| counter(&metric::CIRCUIT_CHANGES, name, to)),
                ADMISSIONS.map(|to| counter(&metric::ADMISSION_CHANGES, name, to)),
            ]
        };
        Self { counters: names.map(of).collect(), last: Vec::new() }
    }

    /// Goes on from this picture, which somebody else has counted.
    pub(super) fn begin(&mut self, snapshot: &Snapshot) {
        self.last = snapshot.substrates.iter().map(standing).collect();
    }

    /// This picture was published: counts what has changed.
    pub(super) fn count<H: Host>(&mut self, host: &H, snapshot: &Snapshot) {
        for (counters, (health, last)) in self.counters.iter().zip(snapshot.substrates.iter().zip(&self.last)) {
            for (counters, (now, last)) in counters.iter().zip(standing(health).into_iter().zip(last)) {
                if let Some(Some(id)) = counters.get(now).filter(|_| now != *last) {
                    let _ = host.increment(*id, 1);
                }
            }
        }
        self.begin(snapshot);
    }
}
