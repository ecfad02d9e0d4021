//! What the roots of one VM have in common: one reporter, and so one slot of shared data, however many clusters are
//! observed there and however many configurations are replaced.

use super::Host;
use super::fallen::Fallen;
use super::store::Reporter;
use crate::policy::Policy;
use std::cell::RefCell;
use std::rc::Rc;

/// What the roots of one VM have in common. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Vm(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    reporter: Option<Reporter>,
    /// Roots that have not left.
    members: u32,
    /// Roots that ever joined.
    joined: u64,
    /// The policies that ruled here, the last two of each name.
    ruled: Vec<Rc<Policy>>,
    /// Attempts that failed just now.
    fallen: Fallen,
}

/// One root's part in it.
#[derive(Debug)]
pub(super) struct Member {
    vm: Vm,
    nth: u64,
    left: bool,
}

/// The low bits of an incarnation are its slot's: they tell VMs apart, and stay.
const SLOT_BITS: u32 = 7;

/// The most policies that are remembered.
const MOST_RULED: usize = 8;

impl Vm {
    /// A policy begins to rule; the one that ruled before it under the same name, if this VM has had one.
    pub(super) fn succeed(&self, policy: &Rc<Policy>) -> Option<Rc<Policy>> {
        let mut inner = self.0.try_borrow_mut().ok()?;
        let name = &policy.document().identity.name;
        let same = |known: &Rc<Policy>| known.document().identity.name == *name;
        let before = inner.ruled.iter().rev().find(|known| same(known) && known.digest() != policy.digest()).cloned();
        if !inner.ruled.iter().any(|known| known.digest() == policy.digest()) {
            if inner.ruled.len() == MOST_RULED {
                inner.ruled.remove(0);
            }
            inner.ruled.push(policy.clone());
        }
        before
    }

    /// A root joins; the first one says from when and how often the VM tells.
    pub(super) fn join<H: Host>(&self, host: &H, tick_ms: u32) -> Member {
        let mut nth = 0;
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.members = inner.members.saturating_add(1);
            (nth, inner.joined) = (inner.joined, inner.joined.saturating_add(1));
            let reporter = || Reporter::new(host.now_ns(), u64::from(tick_ms), false, core::iter::empty());
            inner.reporter.get_or_insert_with(reporter);
        }
        Member { vm: self.clone(), nth, left: false }
    }
}

impl Member {
    /// Does something with the reporter. Nothing re-enters a role; were it so, the second entry would get nothing.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Reporter) -> T) -> Option<T> {
        let mut inner = self.vm.0.try_borrow_mut().ok()?;
        inner.reporter.as_mut().map(act)
    }

    /// Does something with the attempts that failed just now.
    pub(super) fn with_fallen<T>(&self, act: impl FnOnce(&mut Fallen) -> T) -> Option<T> {
        self.vm.0.try_borrow_mut().ok().map(|mut inner| act(&mut inner.fallen))
    }

    /// Who this root is to other VMs and to other roots of this one, once the VM has had a slot.
    pub(super) fn identity(&self) -> Option<u64> {
        let incarnation = self.with(|reporter| reporter.incarnation())??;
        Some(incarnation ^ (self.nth << SLOT_BITS))
    }

    /// Leaves for good. Where it was the last one, the VM falls silent, and the others need not wait for its slot.
    pub(super) fn leave<H: Host>(&mut self, host: &H) {
        if self.resign() {
            self.with(|reporter| reporter.fall_silent(host));
        }
    }

    /// Says whether nobody is left.
    fn resign(&mut self) -> bool {
        let Ok(mut inner) = self.vm.0.try_borrow_mut() else { return false };
        if !core::mem::replace(&mut self.left, true) {
            inner.members = inner.members.saturating_sub(1);
        }
        inner.members == 0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.resign();
    }
}
