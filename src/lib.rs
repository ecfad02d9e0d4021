//! Berth decides, inside the data plane, on which substrate each request runs.
//!
//! The rooms and their directions (a test holds them):
//! `model <- policy <- place`, `model <- health`, and `filter` joins them behind a [`filter::Host`];
//! `edge` is the proxy-wasm boundary and is compiled for `wasm32-wasip1` only.

pub mod filter;
pub mod health;
pub mod model;
pub mod place;
pub mod policy;

#[cfg(target_os = "wasi")]
mod edge;

#[cfg(not(target_family = "wasm"))]
pub mod explain;
#[cfg(not(target_family = "wasm"))]
pub mod manifest;
#[cfg(not(target_family = "wasm"))]
pub mod simulate;
