//! Counters that are kept in this VM's memory and told to the host on the tick: a request then pays an addition for
//! each, not a host call.

use crate::filter::{Host, MetricKind};
use crate::model::metric::{Family, PREFIX};
use core::fmt::Write;

/// One series.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// `None` where the host refused it: then it is left out, never fatal.
    id: Option<u32>,
    pending: u64,
}

/// All series of the role.
#[derive(Debug, Default)]
pub(super) struct Cells {
    cells: Vec<Cell>,
    /// Those that have something to tell, each once.
    dirty: Vec<usize>,
}

impl Cells {
    /// How many there are: the place of the next one.
    pub(super) const fn len(&self) -> usize {
        self.cells.len()
    }

    /// Declares a counter.
    pub(super) fn counter<H: Host>(&mut self, host: &H, family: &Family, values: &[&str]) {
        self.cells.push(Cell { id: define(host, MetricKind::Counter, family, values), pending: 0 });
    }

    /// After this, counting takes no memory.
    pub(super) fn seal(&mut self) {
        self.dirty.reserve(self.cells.len());
    }

    pub(super) fn add(&mut self, at: usize, by: u64) {
        let Some(cell) = self.cells.get_mut(at).filter(|_| by > 0) else { return };
        if cell.pending == 0 {
            self.dirty.push(at);
        }
        cell.pending = cell.pending.saturating_add(by);
    }

    /// Tells the host. What it does not take now is told with the next tick.
    pub(super) fn flush<H: Host>(&mut self, host: &H) {
        let cells = &mut self.cells;
        self.dirty.retain(|&at| {
            let Some(cell) = cells.get_mut(at) else { return false };
            let by = i64::try_from(cell.pending).unwrap_or(i64::MAX);
            let told = cell.id.is_none_or(|id| host.increment(id, by).is_ok());
            if told {
                cell.pending = 0;
            }
            !told
        });
    }
}

/// The name of a series.
fn name(family: &Family, values: &[&str]) -> String {
    let mut name = format!("{PREFIX}{}", family.name);
    for (label, value) in family.labels.iter().zip(values) {
        // Writing to a String cannot fail.
        let _ = write!(name, ".{label}.{value}");
    }
    name
}

pub(in crate::filter) fn define<H: Host>(host: &H, kind: MetricKind, family: &Family, values: &[&str]) -> Option<u32> {
    host.define_metric(kind, &name(family, values)).ok()
}
