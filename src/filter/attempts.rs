//! The plan, left where Envoy's router carries it out: the first attempt is the cluster header, the later ones are
//! filter state that the route looks up at each retry; how often and how long are the router's own request headers.
//!
//! Whatever the client sent under these names is replaced or removed: a retry is a placement, and placements are ours.

use super::{Host, HostError, MapKind};
use crate::model::Decision;
use crate::model::contract::{LATER_STATE, MOST_RETRIES, PER_TRY, RETRY_ON, ROUTER_HEADERS, TIMEOUT};
use crate::policy::Policy;
use core::fmt::Write;

/// What may be tried again besides the route's own list, where work that was begun may be begun again.
const ALSO_BEGUN: &str = "5xx,reset";

/// Leaves the plan for the router. The cluster header is set afterwards: setting it has the route chosen anew.
pub(super) fn leave<H: Host>(
    host: &H,
    policy: &Policy,
    decision: &Decision,
    text: &mut String,
) -> Result<(), HostError> {
    for (attempt, key) in decision.plan.iter().skip(1).zip(LATER_STATE) {
        if let Some(substrate) = policy.substrate(attempt.substrate) {
            host.set_filter_state(key, substrate.cluster.as_bytes())?;
        }
    }
    let pace = decision.pace;
    let retries = decision.plan.len().saturating_sub(1);
    let mut set = |name: &str, value: u64| {
        text.clear();
        // Writing to a String cannot fail.
        let _ = write!(text, "{value}");
        host.set_header(MapKind::RequestHeaders, name, text)
    };
    set(MOST_RETRIES, retries as u64)?;
    // No total time for a stream: its deadline is for the first byte, and it may then run as long as it likes.
    set(TIMEOUT, if pace.stream { 0 } else { u64::from(pace.deadline_ms) })?;
    if pace.per_try_ms > 0 {
        set(PER_TRY, u64::from(pace.per_try_ms))?;
    }
    if retries > 0 && pace.repeatable {
        host.set_header(MapKind::RequestHeaders, RETRY_ON, ALSO_BEGUN)?;
    }
    Ok(())
}

/// Whether a client's header would change what the router does with a plan.
#[must_use]
pub fn steers_the_router(name: &str) -> bool {
    name.starts_with("x-envoy-") && ROUTER_HEADERS.contains(&name)
}
