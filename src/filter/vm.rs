//! What the roots of one VM have in common: one reporter, and so one slot of shared data, however many clusters are
//! observed there and however many configurations are replaced.

use super::Host;
use super::store::{Reporter, SlotKeeper};
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
    /// The policies that ruled here, the last one at the end: two of each name and root, as far as there is room.
    ruled: Vec<Reign>,
    /// Through what the last root of each name that places tells the others; the oldest gives way.
    keepers: Vec<(Vec<u8>, Rc<RefCell<SlotKeeper>>)>,
    /// When an attempt failed for the last time.
    failed_ns: u64,
}

/// A policy and where it ruled.
#[derive(Clone, Debug)]
struct Reign {
    /// Which of the VM's filters it was, by what the proxy calls it.
    root: Vec<u8>,
    policy: Rc<Policy>,
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

/// What the proxy calls a root. Filters that share both are one to us.
const ROOT: [[&str; 1]; 2] = [["plugin_name"], ["plugin_root_id"]];

/// The most policies, and the most filters, that are remembered; the oldest gives way.
const MOST_RULED: usize = 8;

/// Which of the VM's filters the root is whose callback this is.
pub fn identity<H: Host>(host: &H) -> Vec<u8> {
    ROOT.map(|path| host.property(&path).unwrap_or_default()).join(&0)
}

impl Vm {
    /// A policy begins to rule at a root; the one that ruled there before it under the same name, if this VM has had
    /// one. To come back to a policy is to begin anew: what ruled in between is then the one before.
    pub(super) fn succeed<H: Host>(&self, host: &H, policy: &Rc<Policy>) -> Option<Rc<Policy>> {
        let root = identity(host);
        let mut inner = self.0.try_borrow_mut().ok()?;
        let name = &policy.document().identity.name;
        let here = |reign: &Reign| reign.root == root && reign.policy.document().identity.name == *name;
        let another = |reign: &&Reign| here(reign) && reign.policy.digest() != policy.digest();
        let before = inner.ruled.iter().rev().find(another).cloned();
        inner.ruled.retain(|reign| !here(reign));
        let reign = Reign { root: root.clone(), policy: policy.clone() };
        inner.ruled.extend(before.iter().cloned().chain([reign]));
        while inner.ruled.len() > MOST_RULED {
            inner.ruled.remove(0);
        }
        before.map(|reign| reign.policy)
    }

    /// A root begins to tell what it places. The one that it replaces may already have ended, of which the module is not
    /// told; its slot would be given a share of the capacity, and turns to probe, until it expires.
    pub(super) fn tells<H: Host>(&self, host: &H, root: &[u8], reporter: &Reporter) {
        let Ok(mut inner) = self.0.try_borrow_mut() else { return };
        inner.keepers.iter().filter(|(name, _)| name == root).for_each(|(_, keeper)| {
            if let Ok(mut keeper) = keeper.try_borrow_mut() {
                keeper.succeed(host);
            }
        });
        inner.keepers.retain(|(name, _)| name != root);
        let mut over = inner.keepers.len().saturating_sub(MOST_RULED - 1);
        inner.keepers.retain(|_| {
            let stays = over == 0;
            over = over.saturating_sub(1);
            stays
        });
        inner.keepers.push((root.to_vec(), reporter.keeper()));
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

    /// An attempt has failed, in whichever cluster.
    pub(super) fn fails(&self, now_ns: u64) {
        if let Ok(mut inner) = self.vm.0.try_borrow_mut() {
            inner.failed_ns = now_ns;
        }
    }

    /// When one did for the last time; 0 if none ever has.
    pub(super) fn failed_ns(&self) -> u64 {
        self.vm.0.try_borrow().map_or(0, |inner| inner.failed_ns)
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
