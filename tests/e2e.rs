//! The filter in a real Envoy, with real upstreams, over HTTP/1 and HTTP/2.

mod support;

#[path = "e2e/harness.rs"]
mod harness;
