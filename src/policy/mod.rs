//! From text to something that cannot be wrong: text → located tree → raw → [`crate::model::Document`] → [`Policy`].
//!
//! Text becomes a tree (`json`, `yaml`) in which every value knows its place; the tree has a digest (`canonical`).
//! Templates are filled in (`template`), then one walk a section (`raw`) reads it (`reading`) or describes the schema
//! (`describe`); names are checked across sections (`checks`), and what is legal but suspicious is said (`lint`).

pub mod canonical;
pub mod checks;
pub mod codes;
pub mod compile;
pub mod countries;
pub mod decimal;
pub mod double;
pub mod error;
pub mod forms;
#[cfg(not(feature = "apart"))]
pub mod index;
pub mod json;
pub mod narrow;
pub mod path;
#[cfg(not(feature = "apart"))]
pub mod permits;
pub mod raw;
pub mod reading;
pub mod source;
pub mod template;
pub mod time;
pub mod tree;

#[cfg(not(target_family = "wasm"))]
pub mod cases;
#[cfg(not(target_family = "wasm"))]
pub mod describe;
#[cfg(not(target_family = "wasm"))]
pub mod editor;
#[cfg(not(target_family = "wasm"))]
pub mod layered;
#[cfg(not(target_family = "wasm"))]
pub mod lint;
#[cfg(not(target_family = "wasm"))]
pub mod reference;
#[cfg(not(target_family = "wasm"))]
pub mod yaml;

pub use crate::model::order;
pub use canonical::Digest;
#[cfg(not(target_family = "wasm"))]
pub use compile::read_yaml;
pub use compile::{Checked, read_json, read_node};
pub use error::{InvalidPolicy, Severity};
#[cfg(not(feature = "apart"))]
pub use index::Policy;
