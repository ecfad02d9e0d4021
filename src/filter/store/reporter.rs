//! What a VM of either role tells the others: everything it has seen and placed, once a tick, through its slot.

use super::{Recent, SlotKeeper, Unslotted};
use crate::filter::Host;
use crate::health::Observer;
use crate::health::slot::SlotRecord;
use std::cell::RefCell;
use std::rc::Rc;

/// A slot lives through so many ticks without renewal, and at least so long.
const TICKS: u64 = 5;
const LEAST_MS: u64 = 5_000;
/// Who has had nothing to tell for so long needs no slot.
const IDLE_MS: u64 = 30_000;

/// What a VM tells the others.
#[derive(Debug)]
pub struct Reporter {
    /// What it sees: fed as requests pass.
    pub observer: Observer,
    /// What it decided last.
    pub recent: Recent,
    /// Whoever follows in this VM frees it, if its owner no longer can.
    keeper: Rc<RefCell<SlotKeeper>>,
    record: SlotRecord,
    told_ms: Option<u64>,
    /// When there was something to tell for the last time.
    busy_ms: Option<u64>,
}

impl Reporter {
    /// A VM that began at `born_ns` and tells every `tick_ms` of the substrates with these names, by their position.
    /// Only one that places requests can be asked to probe.
    #[inline(never)]
    pub fn new<'a>(born_ns: u64, tick_ms: u64, places: bool, names: impl Iterator<Item = &'a str>) -> Self {
        Self {
            observer: Observer::new(names),
            recent: Recent::default(),
            keeper: Rc::new(RefCell::new(SlotKeeper::new(born_ns, tick_ms.saturating_mul(TICKS).max(LEAST_MS)))),
            record: SlotRecord { places, ..SlotRecord::default() },
            told_ms: None,
            busy_ms: None,
        }
    }

    /// Tells.
    ///
    /// # Errors
    /// Why it could not; the counters go on, so the next tick tells what this one would have.
    pub fn tell<H: Host>(&mut self, host: &H, now_ms: u64) -> Result<u8, Unslotted> {
        self.observer.write(&mut self.record);
        self.told_ms = Some(now_ms);
        // Nothing re-enters a role; were it so, the slot would be busy.
        let mut keeper = self.keeper.try_borrow_mut().map_err(|_| Unslotted::Busy)?;
        let slot = keeper.publish(host, now_ms, &mut self.record)?;
        self.recent.tell(host, slot);
        Ok(slot)
    }

    /// There is something to tell at the next tick.
    pub const fn busy(&mut self, now_ms: u64) {
        self.busy_ms = Some(now_ms);
    }

    /// Tells as long as there was something to tell within the last while; otherwise it falls silent, and somebody else
    /// may have its slot: a configuration that was replaced, or a thread that no request comes to.
    ///
    /// # Errors
    /// As [`Reporter::tell`].
    pub fn tell_while_busy<H: Host>(&mut self, host: &H, now_ms: u64) -> Result<Option<u8>, Unslotted> {
        if self.keeper.try_borrow_mut().is_ok_and(|mut keeper| keeper.was_succeeded()) {
            self.busy_ms = None;
        }
        if self.busy_ms.is_some_and(|busy_ms| now_ms.abs_diff(busy_ms) < IDLE_MS) {
            return self.tell(host, now_ms).map(Some);
        }
        self.fall_silent(host);
        Ok(None)
    }

    /// Tells, unless it has been told within so many milliseconds.
    ///
    /// # Errors
    /// As [`Reporter::tell`].
    pub fn tell_again<H: Host>(&mut self, host: &H, now_ms: u64, most_ms: u64) -> Result<(), Unslotted> {
        match self.told_ms {
            Some(told_ms) if now_ms.abs_diff(told_ms) < most_ms => Ok(()),
            _ => self.tell(host, now_ms).map(drop),
        }
    }

    /// This VM's slot, once it has one: what probes are leased to.
    #[must_use]
    pub fn slot(&self) -> Option<u8> {
        self.keeper.try_borrow().ok()?.slot()
    }

    /// Which life of which VM this is, once it has had a slot.
    #[must_use]
    pub fn incarnation(&self) -> Option<u64> {
        self.keeper.try_borrow().ok()?.incarnation()
    }

    /// What this VM tells through, for those who come after.
    pub(in crate::filter) fn keeper(&self) -> Rc<RefCell<SlotKeeper>> {
        self.keeper.clone()
    }

    /// Falls silent: the others need not wait until the slot expires.
    pub fn fall_silent<H: Host>(&mut self, host: &H) {
        if let Ok(mut keeper) = self.keeper.try_borrow_mut() {
            keeper.release(host);
        }
    }
}
