//! Of whom a row speaks: of the substrate of that name, or of all behind a cluster.

use super::slot::{key_of, key_of_cluster};
use crate::model::{Watch, Watched, order};

/// Positions of substrates by the keys of their names and clusters, sorted.
#[derive(Debug)]
pub(super) struct Keys(Vec<(u64, usize)>);

impl Keys {
    pub(super) fn of(watch: &Watch) -> Self {
        let of = |(at, w): (usize, &Watched)| [(key_of(&w.name), at), (key_of_cluster(w.cluster.as_bytes()), at)];
        Self(order::sorted(watch.substrates.iter().enumerate().flat_map(of).collect(), Ord::cmp))
    }

    /// The positions under a key: several substrates may stand behind one cluster.
    pub(super) fn behind(&self, key: u64) -> impl Iterator<Item = usize> {
        let from = self.0.partition_point(|(known, _)| *known < key);
        self.0.get(from..).unwrap_or_default().iter().take_while(move |(known, _)| *known == key).map(|(_, at)| *at)
    }
}
