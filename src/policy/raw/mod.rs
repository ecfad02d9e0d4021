//! The schema, section by section: one walk over a [`Source`] each, from which come validation, JSON Schema and the
//! reference. What a walk returns is complete and within bounds, but names in it need not exist yet: that is the
//! matter of `checks`, once everything is read.

#[cfg(not(target_family = "wasm"))]
pub mod cases;
pub mod class;
pub mod document;
pub mod envelope;
#[cfg(not(target_family = "wasm"))]
pub mod expectations;
pub mod overrides;
pub mod predicate;
pub mod settings;
pub mod substrate;
pub mod thresholds;

use super::{
    codes,
    forms::{Flag, Word},
    source::Source,
};
use crate::model::{Border, Borders};

/// The widest list of a section: substrates.
pub const MOST_SUBSTRATES: usize = 4096;
/// Any other list of sections.
pub const MOST_ITEMS: usize = 1024;
/// A list of words.
pub const MOST_WORDS: usize = 256;

/// Borders as a list of their names.
fn borders<S: Source>(s: &mut S, name: &'static str, doc: &'static str) -> Borders {
    let listed = s.list(name, doc, Word(&Border::ALL, Border::as_str), super::source::up_to(Border::ALL.len()));
    listed.unwrap_or_default().into_iter().fold(Borders::NONE, Borders::with)
}

/// A flag that is off unless it is set.
fn flag<S: Source>(s: &mut S, name: &'static str, doc: &'static str) -> bool {
    s.or(name, doc, Flag, false)
}

/// Notes that two bounds contradict one another.
fn ordered<S: Source, T: PartialOrd>(s: &mut S, low: T, high: T, name: &'static str, expected: &str) {
    if low > high {
        s.wrong(name, codes::CONTRADICTION, expected);
    }
}
