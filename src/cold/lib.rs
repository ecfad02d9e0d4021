//! Reading a policy happens once for each configuration and is a third of the module's code, which every proxy compiles
//! at every load. Cargo sets a level of optimisation for each package and not below, so what reads is compiled here for
//! size, from the sources where they are, and only for the module: everywhere else these rooms are part of Berth itself.

#[path = "../model/mod.rs"]
pub mod model;
#[path = "../policy/mod.rs"]
pub mod policy;
