//! The candidates of one request. Stages add to the codes that reject; they never remove a candidate. Those that its
//! ground shuts are not asked anything more unless somebody looks at them. The memory is kept from one request to the
//! next.

use super::ground::Ground;
use super::rows::Survey;
use super::spread::{Luckiest, Ticket};
use super::tally::Tally;
use super::{Scene, availability, cost, rows, score};
use crate::model::{Code, Codes, Dimension, SubstrateId};

/// What does not keep a candidate from being permitted and able: the rest may pass by itself.
pub(crate) const PASSING: u64 = UNAVAILABLE | Codes::all_of(Dimension::Cost).0;
/// What may pass by waiting, and says something of the substrate. That a tenant has its share of one is not counted
/// here: how those fare that are permitted and able must not depend on who somebody says to be.
pub(crate) const UNAVAILABLE: u64 = Codes::all_of(Dimension::Availability).0 & !SHARE;
/// The tenant has its share.
pub(crate) const SHARE: u64 = Codes::of(Code::TenantShare).0;

/// One request against its ground.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) ground: Box<Ground>,
    /// Of the open ones, by their rows: why each is rejected, as the bits of [`Codes`].
    pub(crate) codes: Vec<u64>,
    pub(crate) utility_pusd: Vec<i64>,
    /// Those that are equals, in policy order.
    pub(crate) equals: Vec<Ticket>,
    pub(crate) luckiest: Luckiest,
    pub(crate) survey: Survey,
    /// Codes have changed since the survey.
    pub(crate) changed: bool,
    /// The substrate where the session belongs.
    pub(crate) affine: Option<SubstrateId>,
    /// Soft marks were taken back.
    pub(crate) panic: bool,
    /// The chosen one is tried, although others are worth more.
    pub(crate) trial: bool,
    /// The share of requests that is shed now, and whether this one is.
    pub(crate) shed_ppm: i64,
    pub(crate) shed: bool,
    /// How much of what is paid for is in use, where anybody has to wait for it.
    pub(crate) prepaid_ppm: Option<i64>,
    /// Everybody, by policy order: why rejected, and the utility. Only for those who ask.
    pub(crate) whole: Vec<(u64, i64)>,
    /// What rejected the candidates of all requests that were counted.
    pub(crate) tally: Tally,
}

impl Table {
    /// Forgets the request before.
    pub(crate) fn reset(&mut self) {
        (self.affine, self.panic, self.shed_ppm, self.shed, self.prepaid_ppm) = (None, false, 0, false, None);
        (self.changed, self.trial) = (false, false);
    }

    /// The row of an open one.
    pub(crate) fn row(&self, id: SubstrateId) -> Option<usize> {
        cell(&self.ground.at, id).map(usize::from)
    }

    /// The substrate of a row.
    pub(crate) fn id(&self, row: usize) -> SubstrateId {
        self.ground.ids.get(row).copied().unwrap_or(SubstrateId::MAX)
    }

    /// Rows that stand: substrate, utility.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (SubstrateId, i64)> {
        let rows = self.ground.ids.iter().zip(self.codes.iter().zip(&self.utility_pusd));
        rows.filter(|(_, (codes, _))| **codes == 0).map(|(id, (_, utility))| (*id, *utility))
    }

    /// Adds codes to a candidate, if it is an open one.
    pub(crate) fn mark(&mut self, id: SubstrateId, codes: Codes) {
        if let Some(cell) = self.row(id).and_then(|row| self.codes.get_mut(row)) {
            *cell |= codes.0;
            self.changed = true;
        }
    }

    /// Takes codes back from a candidate, if it is an open one.
    pub(crate) fn clear(&mut self, id: SubstrateId, codes: Codes) {
        if let Some(cell) = self.row(id).and_then(|row| self.codes.get_mut(row)) {
            *cell &= !codes.0;
            self.changed = true;
        }
    }
}

/// Why a candidate is rejected. Of those that will not stand, it is worked out now.
pub(crate) fn verdict(scene: &Scene, table: &Table, id: SubstrateId) -> Codes {
    if let Some(codes) = table.row(id).and_then(|row| table.codes.get(row)) {
        return Codes(*codes);
    }
    let ground = &table.ground;
    let share = scene.shares.iter().any(|share| share.substrate == id && availability::tenant_share(scene, share));
    let after = cell(&ground.after_ppm, id);
    let rated = score::rated(scene, ground, id);
    let codes = Codes(
        cell(&ground.codes, id)
            | rows::pressed(scene, ground, id, rated.need_us)
            | cost::now(scene, rated.cost_pusd)
            | cost::waits(table.prepaid_ppm, after)
            | bit(Code::TenantShare, share)
            | bit(Code::Shed, table.shed),
    );
    if availability::may_probe(scene, id) { codes.minus(Codes::of(Code::CircuitOpen)) } else { codes }
}

/// The utility of a candidate.
pub(crate) fn utility(scene: &Scene, table: &Table, id: SubstrateId) -> i64 {
    let known = table.row(id).and_then(|row| table.utility_pusd.get(row));
    known.copied().unwrap_or_else(|| score::rated(scene, &table.ground, id).utility_pusd)
}

/// Lays everybody's verdict and utility out, for those who look at all.
pub(crate) fn unfold(scene: &Scene, table: &mut Table) {
    let mut whole = core::mem::take(&mut table.whole);
    whole.clear();
    let ids = (0..SubstrateId::MAX).take(table.ground.codes.len());
    whole.extend(ids.map(|id| (verdict(scene, table, id).0, utility(scene, table, id))));
    table.whole = whole;
}

/// One cell of a column; the default beyond its end.
#[inline(always)]
pub(crate) fn cell<T: Copy + Default>(column: &[T], id: SubstrateId) -> T {
    column.get(usize::from(id)).copied().unwrap_or_default()
}

/// Makes a column of `len` equal cells.
pub(crate) fn refill<T: Copy>(column: &mut Vec<T>, len: usize, value: T) {
    column.clear();
    column.resize(len, value);
}

/// A code's bit where a condition holds.
pub(crate) const fn bit(code: crate::model::Code, on: bool) -> u64 {
    (on as u64) << code as u8
}
