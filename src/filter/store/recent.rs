//! The last decisions of each VM, for people who look at the telemetry page: kept in the VM's own memory as requests
//! pass, told with the tick under the VM's slot, read when somebody looks. What is kept is the decision's record, which
//! holds names of the policy only.

use super::{read, word};
use crate::filter::Host;
use crate::model::order;
use core::str;

/// The most that a VM keeps, and that are shown of all.
pub const LAST: usize = 20;
/// A record that is longer is left out: there is none where names have their usual length.
const MOST_TEXT: usize = 1_536;
const MAGIC: [u8; 4] = *b"BRRD";
/// When, how it was carried out, how long its text is.
const HEAD: usize = 8 + 1 + 2;
const MOST_BYTES: usize = MAGIC.len() + LAST * (HEAD + MOST_TEXT);

/// One decision, as it was written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// When, to within a tick.
    pub at_ms: u64,
    /// Whether the request went that way; otherwise it was only decided.
    pub enforced: bool,
    /// The record.
    pub text: String,
}

/// Where the last decisions of the VM with this slot are.
#[must_use]
pub fn recent_key(slot: u8) -> String {
    ["berth/1/recent/", &slot.to_string()].concat()
}

/// The last decisions of this VM.
#[derive(Debug, Default)]
pub struct Recent {
    ring: Vec<Decided>,
    /// The place of the oldest one, once the ring is full.
    next: usize,
    untold: bool,
    bytes: Vec<u8>,
}

impl Recent {
    /// Keeps one, in the place of the oldest. Once the ring is full it takes no memory.
    pub fn keep(&mut self, at_ms: u64, enforced: bool, record: &str) {
        if record.len() > MOST_TEXT {
            return;
        }
        if self.ring.len() < LAST {
            self.ring.push(Decided::default());
        }
        let Some(place) = self.ring.get_mut(self.next) else { return };
        (place.at_ms, place.enforced) = (at_ms, enforced);
        place.text.clear();
        place.text.push_str(record);
        self.next = (self.next + 1) % LAST;
        self.untold = true;
    }

    /// Tells the others, if there is something new. It is a copy: losing it loses no decision.
    pub fn tell<H: Host>(&mut self, host: &H, slot: u8) {
        if !self.untold {
            return;
        }
        self.bytes.clear();
        self.bytes.extend(MAGIC);
        let (young, old) = self.ring.split_at(self.next.min(self.ring.len()));
        for decided in old.iter().chain(young) {
            let Ok(length) = u16::try_from(decided.text.len()) else { continue };
            self.bytes.extend(decided.at_ms.to_le_bytes());
            self.bytes.push(u8::from(decided.enforced));
            self.bytes.extend(length.to_le_bytes());
            self.bytes.extend(decided.text.as_bytes());
        }
        self.untold = host.shared_set(&recent_key(slot), &self.bytes, None).is_err();
    }
}

/// The last decisions of all VMs with these slots, newest first.
pub fn recent<H: Host>(host: &H, slots: impl Iterator<Item = u8>) -> Vec<Decided> {
    let mut all = Vec::new();
    for slot in slots {
        let Ok((Some(bytes), _)) = read(host, &recent_key(slot)) else { continue };
        let from = all.len();
        parse(&bytes, &mut all);
        // Each VM wrote its own in order: the sort below keeps that order within a tick.
        all.get_mut(from..).unwrap_or_default().reverse();
    }
    let mut all = order::sorted(all, |a, b| b.at_ms.cmp(&a.at_ms));
    all.truncate(LAST);
    all
}

/// What can be read of the bytes; what follows something that cannot is left.
fn parse(bytes: &[u8], all: &mut Vec<Decided>) {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC).filter(|_| bytes.len() <= MOST_BYTES) else { return };
    for _ in 0..LAST {
        let Some((decided, after)) = one(rest) else { return };
        all.push(decided);
        rest = after;
    }
}

fn one(bytes: &[u8]) -> Option<(Decided, &[u8])> {
    let at_ms = word(bytes, 0)?;
    let enforced = *bytes.get(8)? == 1;
    let length = usize::from(u16::from_le_bytes(*bytes.get(9..)?.first_chunk()?));
    let (text, after) = bytes.get(HEAD..)?.split_at_checked(length)?;
    let text = String::from(str::from_utf8(text).ok()?);
    Some((Decided { at_ms, enforced, text }, after))
}

#[cfg(test)]
mod tests {
    use super::{Decided, LAST, MAGIC, Recent, parse};

    fn bytes(recent: &Recent) -> Vec<Decided> {
        let mut all = Vec::new();
        parse(&recent.bytes, &mut all);
        all
    }

    #[test]
    fn bytes_that_are_none_hold_none_and_what_comes_before_a_fault_is_kept() {
        let good = [&MAGIC[..], &7_u64.to_le_bytes(), &[1], &2_u16.to_le_bytes(), b"v=", &[9, 9]].concat();
        let mut all = Vec::new();
        for bad in [&b""[..], b"BRR", b"XXXX\0\0\0\0\0\0\0\0\x01\0\0", &[0; 40_000]] {
            parse(bad, &mut all);
        }
        assert_eq!(all, []);
        parse(&good, &mut all);
        assert_eq!(all, [Decided { at_ms: 7, enforced: true, text: String::from("v=") }]);
    }

    #[test]
    fn a_record_that_is_too_long_is_left_out() {
        let mut recent = Recent::default();
        recent.keep(1, true, &"x".repeat(2_000));
        assert!(recent.ring.is_empty() && !recent.untold && bytes(&recent).is_empty());
        for n in 0..100 {
            recent.keep(n, true, "v=1");
        }
        assert_eq!(recent.ring.len(), LAST);
    }
}
