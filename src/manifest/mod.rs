//! What the tool makes for a proxy to load: the module's files, and what is rendered around them.

pub mod bom;
pub mod deployment;
pub mod doctor;
pub mod envoy;
pub mod json;
pub mod module;
pub mod oci;
pub mod plugin;
pub mod rights;
pub mod target;
pub mod yaml;
