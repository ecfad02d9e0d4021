//! From text to something that cannot be wrong: text → located tree → raw → [`crate::model::Document`] → [`Policy`].


pub mod index;

pub use index::Policy;
