//! The plan, left where Envoy's router carries it out: the first attempt is the cluster header, the later ones are
//! filter state that the route looks up at each retry; how often and how long are the router's own request headers.
//!
//! Whatever the client sent under these names is replaced or removed where a plan is carried out: a retry is a placement,
//! and placements are ours.

use super::config::Lane;
use super::{Host, HostError, MapKind};
use crate::model::Decision;
use crate::model::contract::{HEDGE, LATER_STATE, MOST_RETRIES, PER_TRY, RETRY_ON, ROUTER_HEADERS, TIMEOUT};
use crate::model::digits::push_number;
use crate::policy::Policy;

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
    again(host, decision, decision.plan.len(), text)
}

/// The longest lane that goes the plan's way: the same substrates in the same order, from the first on.
#[inline(never)]
pub(super) fn lane<'a>(lanes: &'a [Lane], policy: &Policy, decision: &Decision) -> Option<&'a Lane> {
    let goes = |lane: &&Lane| {
        let planned = decision.plan.iter().filter_map(|attempt| policy.substrate(attempt.substrate));
        let planned = planned.map(|substrate| substrate.name.as_str()).take(lane.substrates.len());
        lane.substrates.len() <= decision.plan.len() && lane.substrates.iter().map(String::as_str).eq(planned)
    };
    lanes.iter().filter(goes).max_by_key(|lane| lane.substrates.len())
}

/// Has the router follow a lane, which may also start the next attempt beside a late one.
#[inline(never)]
pub(super) fn follow<H: Host>(
    host: &H,
    lane: Option<&Lane>,
    decision: &Decision,
    text: &mut String,
) -> Result<(), HostError> {
    if lane.is_some() && decision.pace.hedge && decision.pace.per_try_ms > 0 {
        host.set_header(MapKind::RequestHeaders, HEDGE, "true")?;
    }
    again(host, decision, lane.map_or(1, |lane| lane.substrates.len()), text)
}

/// How often, and what else than the route's own list, is tried again.
fn again<H: Host>(host: &H, decision: &Decision, attempts: usize, text: &mut String) -> Result<(), HostError> {
    let retries = attempts.saturating_sub(1);
    number(host, text, MOST_RETRIES, retries as u64)?;
    if retries > 0 && decision.pace.repeatable {
        host.set_header(MapKind::RequestHeaders, RETRY_ON, ALSO_BEGUN)?;
    }
    Ok(())
}

/// Holds the request to its deadline, of which each of so many attempts has its part.
pub(super) fn bound<H: Host>(
    host: &H,
    decision: &Decision,
    attempts: usize,
    text: &mut String,
) -> Result<(), HostError> {
    let pace = decision.pace;
    // No total time for a stream: its deadline is for the first byte, and it may then run as long as it likes.
    number(host, text, TIMEOUT, if pace.stream { 0 } else { u64::from(pace.deadline_ms) })?;
    per_try_ms(decision, attempts).map_or(Ok(()), |ms| number(host, text, PER_TRY, u64::from(ms)))
}

/// How long each of so many attempts may take until its first byte, where that is not the deadline alone.
pub(super) fn per_try_ms(decision: &Decision, attempts: usize) -> Option<u32> {
    let pace = decision.pace;
    // A plan that is not carried out leaves its only attempt all the time.
    let alone = attempts == 1 && decision.plan.len() > 1;
    let ms = match (alone, pace.stream) {
        (false, _) => pace.per_try_ms,
        (true, true) => pace.deadline_ms,
        (true, false) => 0,
    };
    (ms > 0).then_some(ms)
}

fn number<H: Host>(host: &H, text: &mut String, name: &str, value: u64) -> Result<(), HostError> {
    text.clear();
    push_number(text, value);
    host.set_header(MapKind::RequestHeaders, name, text)
}

/// The router's own headers that a request came with, by their order in [`ROUTER_HEADERS`]. They stay where nothing of
/// ours is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steering(u16);

impl Steering {
    /// Takes note of a header.
    pub(super) fn see(&mut self, name: &str) {
        if name.starts_with("x-envoy-")
            && let Some(at) = ROUTER_HEADERS.iter().position(|known| *known == name)
        {
            self.0 |= 1 << at;
        }
    }

    /// Takes them away: how often and how long is the plan's word.
    pub(super) fn end<H: Host>(self, host: &H) {
        for (at, name) in ROUTER_HEADERS.iter().enumerate() {
            if self.0 >> at & 1 == 1 {
                let _ = host.remove_header(MapKind::RequestHeaders, name);
            }
        }
    }
}
