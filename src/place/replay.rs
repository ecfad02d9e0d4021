//! The replay record: everything that a decision was made of besides the policy and the snapshot, which it names, so
//! that the same decision can be made again anywhere.
//!
//! One line of a few hundred bytes, of letters, digits and marks that need no escape in a log, in JSON or in a shell:
//! members divided by `;`, each a letter and a value, from `r1` to a closing `.` by which a line that was cut off is
//! known. There is no text of a prompt in it. An approval is written as its digest, a session as the number that
//! spreads it, a tenant as its digest where that is asked for; the policy's own words tell them apart again.

mod mean;
mod read;

pub use read::{Replay, Resolved, Unreadable};

use crate::model::{Fact, FactName, Facts, Local};
use crate::policy::Policy;
use crate::policy::index::{Share, hash_text, share_of};
use core::fmt::Write;
use sha2::{Digest as _, Sha256};

/// Which snapshot a decision was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Who wrote it.
    pub writer: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The checksum that its bytes carry.
    pub checksum: u32,
}

/// What a decision was made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The snapshot, if there was one.
    pub snapshot: Option<Identity>,
    /// What this VM had placed and spent since.
    pub local: &'a Local,
    /// The facts.
    pub facts: &'a Facts<'a>,
    /// The time.
    pub now_ms: u64,
    /// The seed.
    pub seed: u64,
}

/// The most bytes of a record. What does not fit is named as missing.
pub const MOST_BYTES: usize = 2_048;
/// The most bytes of one value; of a longer one the beginning is written.
const MOST_VALUE: usize = 128;
/// Room for the names of what is missing, and for the end.
const TAIL: usize = 32;
/// The letters of the facts, in the order of [`FactName::ALL`].
const LETTERS: [char; FactName::ALL.len()] =
    ['T', 'C', 'M', 'I', 'O', 'D', 'R', 'S', 'L', 'G', 'Z', 'A', 'F', 'H', 'P'];
/// Begins the session that stands for itself: the number that spreads it.
const KEY: char = '~';

/// The number that spreads a session. One that was written down as its number stands for itself.
pub(crate) fn session_key(session: &str) -> u64 {
    let written = session.strip_prefix(KEY).filter(|digits| digits.len() == 16);
    written.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_else(|| hash_text(session))
}

/// The digest by which a name is written where the name itself must not be: 64 bits, the same everywhere.
#[must_use]
pub fn pseudonym(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// Writes the record into `out`, which is cleared first and can be used again.
pub fn write_replay(inputs: &Inputs, hash_tenants: bool, out: &mut String) {
    out.clear();
    let mut pen = Pen { out, missing: [false; 128] };
    // Writing to a String cannot fail.
    let _ = write!(pen.out, "r1;k{};t{};s{:016x}", inputs.policy.short_digest(), inputs.now_ms, inputs.seed);
    if let Some(Identity { writer, epoch, checksum }) = inputs.snapshot {
        let _ = write!(pen.out, ";w{writer:x}.{epoch}.{checksum:08x}");
    }
    facts(inputs.facts, hash_tenants, &mut pen);
    local(inputs, &mut pen);
    pen.end();
}

fn facts(facts: &Facts, hash_tenants: bool, pen: &mut Pen) {
    // Named one by one, so that a fact that is new is not forgotten here.
    let Facts {
        tenant: _,
        class: _,
        model: _,
        input_tokens: _,
        output_tokens: _,
        features,
        data: _,
        residency: _,
        session: _,
        deadline_ms: _,
        region: _,
        zone: _,
        approval: _,
        streaming: _,
        method: _,
        path: _,
        content_bytes,
        headers,
        idempotent,
        contradicted,
        attempts_left,
    } = *facts;
    for (name, letter) in FactName::ALL.into_iter().zip(LETTERS) {
        if let Some(fact) = facts.number(name) {
            pen.member(letter, |out| write!(out, "{}{}", trust(fact.trusted), fact.value));
        }
        let Some(fact) = facts.text(name) else { continue };
        let hashed = match name {
            FactName::Session => Some(session_key(fact.value)),
            FactName::Approval => Some(pseudonym(fact.value)),
            FactName::Tenant if hash_tenants => Some(pseudonym(fact.value)),
            _ => None,
        };
        pen.member(letter, |out| match hashed {
            Some(hash) => write!(out, "{}#{hash:016x}", trust(fact.trusted)),
            None => text(out, fact),
        });
    }
    if features.0 != 0 {
        pen.member('f', |out| write!(out, "{}", features.0));
    }
    if let Some(bytes) = content_bytes {
        pen.member('b', |out| write!(out, "{bytes}"));
    }
    if idempotent {
        pen.member('i', |_| Ok(()));
    }
    if contradicted {
        pen.member('c', |_| Ok(()));
    }
    if let Some(left) = attempts_left {
        pen.member('n', |out| write!(out, "{left}"));
    }
    for (name, fact) in headers {
        pen.member('h', |out| {
            write!(out, "{name}:")?;
            text(out, *fact)
        });
    }
}

/// What of this VM's own counts could matter: all of placements and probes, of money, shares and reserves the tenant's own.
fn local(inputs: &Inputs, pen: &mut Pen) {
    let Local { slot, placed, probes, spent_uusd, tenant_placed } = inputs.local;
    pen.member('l', |out| write!(out, "{slot}"));
    pen.counts('q', probes.iter().map(|&n| i64::from(n)).enumerate());
    if let Some(tenant) = inputs.facts.tenant {
        let own = inputs.policy.budget_of(tenant.value);
        pen.counts('m', own.into_iter().filter_map(|at| Some((at, *spent_uusd.get(at)?))));
        let lookups = &inputs.policy.lookups;
        let shares = lookups.shares.get(tenant.value).map_or(&[] as &[Share], Vec::as_slice);
        let kept = lookups.reserves.get(tenant.value).filter(|_| tenant.trusted).into_iter().flatten();
        // Those with a share are counted there.
        let kept = kept.filter(|own| share_of(shares, own.substrate).is_none());
        let positions = shares.iter().map(|share| share.position).chain(kept.map(|own| own.position));
        pen.counts('u', positions.filter_map(|at| Some((at, i64::from(*tenant_placed.get(at)?)))));
    }
    pen.counts('p', placed.iter().map(|&n| i64::from(n)).enumerate());
}

const fn trust(trusted: bool) -> char {
    if trusted { '+' } else { '-' }
}

fn text(out: &mut String, fact: Fact<&str>) -> core::fmt::Result {
    out.push(trust(fact.trusted));
    let bytes = fact.value.as_bytes();
    // Never within a character, so that what is read is text again.
    let end = (0..=bytes.len().min(MOST_VALUE)).rev().find(|&at| fact.value.is_char_boundary(at)).unwrap_or(0);
    for &byte in bytes.iter().take(end) {
        if byte.is_ascii_alphanumeric() || b"-_.:/@~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02x}")?;
        }
    }
    if end < bytes.len() {
        out.push('*');
    }
    Ok(())
}

/// Writes members and notes what did not fit.
struct Pen<'a> {
    out: &'a mut String,
    missing: [bool; 128],
}

impl Pen<'_> {
    fn member(&mut self, letter: char, write: impl FnOnce(&mut String) -> core::fmt::Result) {
        let before = self.out.len();
        self.out.push(';');
        self.out.push(letter);
        let written = write(self.out);
        if written.is_err() || self.out.len() + TAIL > MOST_BYTES {
            self.out.truncate(before);
            if let Some(missing) = self.missing.get_mut(letter as usize) {
                *missing = true;
            }
        }
    }

    /// Positions and counts, zeros left out; nothing where all are.
    fn counts(&mut self, letter: char, counts: impl Iterator<Item = (usize, i64)>) {
        let mut counts = counts.filter(|(_, count)| *count != 0).peekable();
        if counts.peek().is_none() {
            return;
        }
        self.member(letter, |out| {
            counts
                .enumerate()
                .try_for_each(|(i, (at, count))| write!(out, "{}{at}:{count}", if i > 0 { "," } else { "" }))
        });
    }

    fn end(self) {
        let missing = || (0_u8..).zip(&self.missing).filter(|(_, missing)| **missing).map(|(letter, _)| letter);
        if missing().next().is_some() {
            self.out.push_str(";!");
            missing().for_each(|letter| self.out.push(char::from(letter)));
        }
        self.out.push_str(";.");
    }
}
