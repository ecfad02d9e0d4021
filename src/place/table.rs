//! The candidates of one request: one row a substrate, one column a figure. Stages fill columns and add to the codes
//! that reject; they never remove a row. The memory is kept from one request to the next.

use super::spread::Ticket;
use crate::model::{Codes, Dimension, SubstrateId};

/// What does not keep a candidate from being permitted and able: the rest may pass by itself.
pub(crate) const PASSING: u64 = Codes::all_of(Dimension::Availability).0 | Codes::all_of(Dimension::Cost).0;

/// Rows by policy order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Why each is rejected, as the bits of [`Codes`].
    pub(crate) codes: Vec<u64>,
    pub(crate) quality_ppm: Vec<u32>,
    pub(crate) context: Vec<u32>,
    /// The borders that each lies behind, as the bits of [`crate::model::Borders`].
    pub(crate) crosses: Vec<u8>,
    /// Price of each byte on its way back; empty while nobody prices any.
    pub(crate) byte_pusd: Vec<i64>,
    /// Time of the path; empty while nobody declares any.
    pub(crate) path_us: Vec<i64>,
    /// Time that the deadline bounds: until the first token of a stream, else the whole.
    pub(crate) need_us: Vec<i64>,
    pub(crate) total_us: Vec<i64>,
    pub(crate) cost_pusd: Vec<i64>,
    pub(crate) utility_pusd: Vec<i64>,
    pub(crate) placed: Vec<i32>,
    /// The envelopes that apply, as words of bits.
    pub(crate) envelopes: Vec<u64>,
    /// Those that stand, in policy order.
    pub(crate) standing: Vec<SubstrateId>,
    pub(crate) equals: Vec<Ticket>,
    /// The substrate where the session belongs.
    pub(crate) affine: Option<SubstrateId>,
    /// Soft marks were taken back.
    pub(crate) panic: bool,
    /// The share of requests that is shed now.
    pub(crate) shed_ppm: i64,
    /// How much of what is paid for is in use.
    pub(crate) prepaid_ppm: Option<i64>,
}

impl Table {
    /// Empties every column for `len` candidates.
    pub(crate) fn reset(&mut self, len: usize, placed: &[u32]) {
        refill(&mut self.codes, len, 0);
        refill(&mut self.placed, len, 0);
        self.placed.iter_mut().zip(placed).for_each(|(cell, &n)| *cell = n.min(i32::MAX as u32) as i32);
        for column in [&mut self.need_us, &mut self.total_us, &mut self.cost_pusd, &mut self.utility_pusd] {
            column.resize(len, 0);
        }
        self.standing.clear();
        self.equals.clear();
        (self.affine, self.panic, self.shed_ppm, self.prepaid_ppm) = (None, false, 0, None);
    }

    /// Collects those that stand.
    pub(crate) fn stand(&mut self) {
        let rows = (0..=SubstrateId::MAX).zip(&self.codes);
        self.standing.extend(rows.filter(|(_, codes)| **codes == 0).map(|(id, _)| id));
    }

    /// Why a candidate is rejected.
    pub(crate) fn codes(&self, id: SubstrateId) -> Codes {
        Codes(cell(&self.codes, id))
    }

    /// Adds a code to a candidate.
    pub(crate) fn mark(&mut self, id: SubstrateId, codes: Codes) {
        if let Some(cell) = self.codes.get_mut(usize::from(id)) {
            *cell |= codes.0;
        }
    }

    /// Takes codes back from a candidate.
    pub(crate) fn clear(&mut self, id: SubstrateId, codes: Codes) {
        if let Some(cell) = self.codes.get_mut(usize::from(id)) {
            *cell &= !codes.0;
        }
    }
}

/// One cell of a column; the default beyond its end.
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
