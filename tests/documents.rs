//! Every command and snippet that stands in a block of a document does what the document says: commands are run, or
//! name the test that runs them; what Envoy is to load, a real Envoy looks at, with the real module; what is shown as
//! printed is what is printed. A block of a kind that is not known here fails.

#![cfg(not(target_family = "wasm"))]
#![allow(unreachable_pub, missing_docs, reason = "a test, not a library")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

#[path = "documents/blocks.rs"]
mod blocks;
#[path = "documents/commands.rs"]
mod commands;
#[path = "documents/snippets.rs"]
mod snippets;
