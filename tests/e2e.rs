//! The filter in a real Envoy, with real upstreams, over HTTP/1 and HTTP/2.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, reason = "a test, not a library")]

mod support;

#[path = "e2e/attempts.rs"]
mod attempts;
#[path = "e2e/harness.rs"]
mod harness;
#[path = "e2e/many.rs"]
mod many;
#[path = "e2e/mesh.rs"]
mod mesh;
#[path = "e2e/slice.rs"]
mod slice;
