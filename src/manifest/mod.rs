//! What the tool makes for a proxy to load: the module's files, and what is rendered around them.

pub mod envoy;
pub mod module;
