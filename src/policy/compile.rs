//! A document, read and checked as a whole: every mistake at once, or a [`Document`] with its digest and what is
//! suspicious about it.

use super::{
    Digest, InvalidPolicy, checks, codes, json, order,
    path::{Path, Step},
    raw,
    reading::{self, MOST_REPORTED},
    template,
    tree::Node,
};
use crate::model::Document;

/// A document without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it says.
    pub document: Document,
    /// The digest of what was written.
    pub digest: Digest,
    /// What is legal, but suspicious.
    pub warnings: Vec<InvalidPolicy>,
}

/// Reads a policy from JSON.
///
/// # Errors
/// Every mistake that could be found, in the order of the text.
pub fn read_json(bytes: &[u8]) -> Result<Checked, Vec<InvalidPolicy>> {
    read_node(&json::parse(bytes).map_err(|e| vec![e])?, "")
}

/// Reads a policy from YAML.
///
/// # Errors
/// Every mistake that could be found, in the order of the text.
#[cfg(not(target_family = "wasm"))]
pub fn read_yaml(text: &str) -> Result<Checked, Vec<InvalidPolicy>> {
    let yaml = super::yaml::parse(text)?;
    let mut checked = read_node(&yaml.node, "")?;
    checked.warnings.splice(0..0, yaml.warnings);
    Ok(checked)
}

/// Reads a policy from a tree; `base` is where the tree stands in a larger document, such as `policy`.
///
/// # Errors
/// Every mistake that could be found, in the order of the text.
// Out of line: who calls it may be compiled for speed, and what is inlined there is too.
#[inline(never)]
pub fn read_node(node: &Node, base: &str) -> Result<Checked, Vec<InvalidPolicy>> {
    let mut found = Vec::new();
    let resolved = template::resolve(node, base, &mut found);
    let root = resolved.root.as_ref().unwrap_or(node);
    let (document, wrong) = reading::read(root, base, raw::document::document);
    let orphans: Vec<String> = resolved.orphans.iter().map(|i| orphan(base, *i)).collect();
    let lacks = |e: &InvalidPolicy| e.code == codes::MISSING_FIELD.id && orphans.iter().any(|o| e.path.starts_with(o));
    found.extend(wrong.into_iter().filter(|e| !lacks(e)));
    checks::check(root, base, &mut found);
    match document {
        Some(document) if found.is_empty() => {
            #[cfg(not(target_family = "wasm"))]
            let warnings = super::lint::lint(&document, root, base);
            // Warnings are for people at a terminal; a proxy that has been given the policy has nobody to tell.
            #[cfg(target_family = "wasm")]
            let warnings = Vec::new();
            Ok(Checked { document, digest: Digest::of(node), warnings })
        }
        _ => Err(tidy(found)),
    }
}

/// The beginning of every path of a substrate.
fn orphan(base: &str, index: usize) -> String {
    let mut path = Path { base, steps: &[Step::Field("substrates"), Step::Item(index)] }.to_string();
    path.push('.');
    path
}

/// In the order of the text; what a template made appear several times, once.
pub(super) fn tidy(mut found: Vec<InvalidPolicy>) -> Vec<InvalidPolicy> {
    found = order::sorted(found, |a, b| (a.at, a.code, &a.found).cmp(&(b.at, b.code, &b.found)));
    found
        .dedup_by(|b, a| a.at.is_some() && (a.at, a.code, &a.found) == (b.at, b.code, &b.found) && !b.found.is_empty());
    found.truncate(MOST_REPORTED + 1);
    found
}
