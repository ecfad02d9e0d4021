//! The compiled policy: the document with every name turned into a position and every question that the decision
//! will ask answered beforehand, for all substrates at once. It cannot be changed and it cannot be wrong: whatever
//! the document says, compiling it succeeds.
//!
//! A text reader bounds what may be written (substrates × envelopes and substrates × classes are held as tables).
//! Hash maps are looked up, never walked.

mod bits;
mod classes;
mod columns;
mod envelopes;
mod lookups;

pub(crate) use bits::{Bits, positions};
pub(crate) use classes::Classed;
pub(crate) use columns::*;
pub(crate) use envelopes::Envelopes;
pub(crate) use lookups::{LinkTo, Lookups, Named, Names, Reserve, Share, hash_text, mix, reserve_of, share_of};

use crate::model::order;
use crate::model::{
    Class, ClassId, Document, Fact, Predicate, Substrate, SubstrateId, Tier,
    class::{Attempts, Limits, Worth},
};
use hashbrown::HashMap;

/// Names to positions.
pub(crate) type Positions = HashMap<String, u16>;

/// The compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    document: Document,
    digest: [u8; 32],
    short_digest: String,
    label: String,
    wanted_headers: Vec<String>,
    pub(crate) columns: Columns,
    pub(crate) envelopes: Envelopes,
    pub(crate) lookups: Lookups,
    classed: Vec<Classed>,
    default_class: ClassId,
    fallback: (Class, Classed),
}

impl Policy {
    /// Compiles a document; `digest` is that of its canonical text.
    #[must_use]
    #[inline(never)]
    pub fn new(document: Document, digest: [u8; 32]) -> Self {
        let lookups = Lookups::new(&document);
        let columns = Columns::new(&document);
        let short_digest: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let fallback = nobody(&document);
        Self {
            label: format!("{}@{}#{short_digest}", document.identity.name, document.identity.version),
            short_digest,
            wanted_headers: wanted_headers(&document),
            envelopes: Envelopes::new(&document, &lookups.substrates),
            classed: document.classes.iter().map(|c| Classed::new(&document, c, &lookups.substrates)).collect(),
            default_class: lookups.classes.get(document.default_class.as_str()).copied().unwrap_or(0),
            fallback: (fallback.clone(), Classed::new(&document, &fallback, &lookups.substrates)),
            columns,
            lookups,
            document,
            digest,
        }
    }

    /// The document, as it was checked.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The digest of the canonical text.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The digest's first eight hexadecimal digits.
    #[must_use]
    pub fn short_digest(&self) -> &str {
        &self.short_digest
    }

    /// The same digits as a number.
    #[must_use]
    pub fn digest_word(&self) -> u64 {
        u64::from_str_radix(&self.short_digest, 16).unwrap_or(0)
    }

    /// `name@version#digest`, as records and metrics name this policy.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The class at a position. A policy without classes has one that expects nothing.
    #[must_use]
    pub fn class(&self, id: ClassId) -> &Class {
        self.document.classes.get(usize::from(id)).unwrap_or(&self.fallback.0)
    }

    /// The substrate at a position.
    #[must_use]
    pub fn substrate(&self, id: SubstrateId) -> Option<&Substrate> {
        self.document.substrates.get(usize::from(id))
    }

    /// The name of the substrate at a position, or `-`.
    #[must_use]
    pub fn substrate_name(&self, id: SubstrateId) -> &str {
        self.substrate(id).map_or("-", |s| s.name.as_str())
    }

    /// The position of a substrate by its name.
    #[must_use]
    pub fn substrate_id(&self, name: &str) -> Option<SubstrateId> {
        self.lookups.substrates.get(name).copied()
    }

    /// The headers that predicates look at, sorted: what the filter has to bring along.
    #[must_use]
    pub fn wanted_headers(&self) -> &[String] {
        &self.wanted_headers
    }

    /// The class of requests that match none.
    #[must_use]
    pub const fn default_class(&self) -> ClassId {
        self.default_class
    }

    /// The position of a tenant's budget in `settings.budgets` and [`crate::model::Local::spent_uusd`].
    #[must_use]
    pub fn budget_of(&self, tenant: &str) -> Option<usize> {
        self.lookups.budgets.get(tenant).map(|&b| usize::from(b))
    }

    /// The position of a tenant's share of a substrate in [`crate::model::Local::tenant_placed`].
    #[must_use]
    pub fn share_of(&self, tenant: &str, id: SubstrateId) -> Option<usize> {
        self.lookups.share(tenant, id)
    }

    /// The same where a part of a substrate is kept for a tenant; that of its share, if it has one there too.
    #[must_use]
    pub fn reserve_of(&self, tenant: &str, id: SubstrateId) -> Option<usize> {
        self.lookups.reserve(tenant, id)
    }

    /// Where what a tenant has in flight on a substrate is counted: as its share, and else, unless somebody only says to be
    /// it, as what is kept for it. Who has both is counted once, whoever says so: a fact has one source, so within one
    /// configuration either all that a tenant's requests say of it is trusted or nothing is.
    #[must_use]
    pub fn counted_of(&self, tenant: Fact<&str>, id: SubstrateId) -> Option<usize> {
        let kept = || self.reserve_of(tenant.value, id).filter(|_| tenant.trusted);
        self.share_of(tenant.value, id).or_else(kept)
    }

    pub(crate) fn classed(&self, id: ClassId) -> &Classed {
        self.classed.get(usize::from(id)).unwrap_or(&self.fallback.1)
    }
}

/// The class of a policy that has none.
fn nobody(document: &Document) -> Class {
    Class {
        name: document.default_class.clone(),
        matches: Predicate::Any(Vec::new()),
        tier: Tier::Batch,
        home: Vec::new(),
        deadline_ms: 0,
        attempts: Attempts { most: 1, per_try_ms: None, repeatable: false, hedge: false },
        worth: Worth::default(),
        limits: Limits::default(),
        needs: crate::model::Features::default(),
        usual_output_tokens: 0,
        synchronous: true,
        allow_throughput: false,
        air_gapped: false,
        approval_for: crate::model::Borders::NONE,
    }
}

fn wanted_headers(document: &Document) -> Vec<String> {
    let mut names = Vec::new();
    let mut todo: Vec<&Predicate> = document.classes.iter().map(|c| &c.matches).collect();
    todo.extend(document.settings.rollout.as_ref().map(|r| &r.only));
    while let Some(predicate) = todo.pop() {
        match predicate {
            Predicate::All(list) | Predicate::Any(list) => todo.extend(list),
            Predicate::Not(inner) => todo.push(inner),
            Predicate::Header(name, _) => names.push(name.clone()),
            Predicate::Fact(..) => {}
        }
    }
    let mut names = order::sorted(names, Ord::cmp);
    names.dedup();
    names
}
