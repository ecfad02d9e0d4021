//! What fails together.

use super::Window;
use crate::model::Watch;

/// Substrates that fail together.
#[derive(Debug)]
pub(super) struct Domain {
    pub(super) members: Vec<usize>,
    pub(super) window: Window,
}

/// Failure domains that have several members, in the policy's order.
pub(super) fn domains(watch: &Watch) -> Vec<Domain> {
    let mut domains: Vec<(&str, Domain)> = Vec::new();
    for (at, watched) in watch.substrates.iter().enumerate() {
        match domains.iter_mut().find(|(name, _)| *name == watched.failure_domain) {
            Some((_, domain)) => domain.members.push(at),
            None => {
                domains.push((&watched.failure_domain, Domain { members: vec![at], window: Window::default() }));
            }
        }
    }
    domains.into_iter().map(|(_, domain)| domain).filter(|domain| domain.members.len() > 1).collect()
}
