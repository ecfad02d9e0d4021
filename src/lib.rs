//! Berth decides, inside the data plane, on which substrate each request runs.
//!
//! The rooms and their directions (a test holds them):
//! `model <- policy <- place`, `model <- health`, and `filter` joins them behind a [`filter::Host`];
//! `edge` is the proxy-wasm boundary and is compiled for `wasm32-wasip1` only.

pub mod filter;
pub mod health;
#[cfg(not(target_os = "wasi"))]
pub mod model;
pub mod place;
#[cfg(not(target_os = "wasi"))]
pub mod policy;

// In the module, what only reads configurations is compiled for size: `src/cold/lib.rs`.
#[cfg(target_os = "wasi")]
pub use berth_cold::model;
/// The policy: what reads it, and what requests look at.
#[cfg(target_os = "wasi")]
pub mod policy {
    pub mod index;
    pub mod permits;

    pub use berth_cold::policy::*;
    pub use index::Policy;
}

#[cfg(target_os = "wasi")]
mod edge;

#[cfg(not(target_family = "wasm"))]
pub mod explain;
#[cfg(not(target_family = "wasm"))]
pub mod manifest;
#[cfg(not(target_family = "wasm"))]
pub mod simulate;
