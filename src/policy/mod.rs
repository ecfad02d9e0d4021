//! From text to something that cannot be wrong: text → located tree → raw → [`crate::model::Document`] → [`Policy`].

pub mod canonical;
pub mod codes;
pub mod decimal;
pub mod error;
pub mod json;
pub mod path;
pub mod tree;
#[cfg(not(target_family = "wasm"))]
pub mod yaml;

pub use canonical::Digest;
pub use error::{InvalidPolicy, Severity};
