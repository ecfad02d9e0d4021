//! The native tool: the same core as the filter, at a terminal.
fn main() {}
