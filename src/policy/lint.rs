//! What is legal, but suspicious.

use super::{InvalidPolicy, tree::Node};
use crate::model::Document;

/// Everything suspicious about a document.
#[must_use]
pub fn lint(_document: &Document, _root: &Node, _base: &str) -> Vec<InvalidPolicy> {
    Vec::new()
}
