//! Names on which the filter and what is rendered around it agree: what one writes, the other reads.

use super::Plan;

/// The header by which the route finds the first attempt's cluster.
pub const CLUSTER_HEADER: &str = "x-placement-cluster";
/// The header that carries the decision upstream, where that is switched on.
pub const DECISION_HEADER: &str = "x-placement-decision";
/// The header that names the cluster of a shadow copy.
pub const SHADOW_HEADER: &str = "x-placement-shadow";
/// The header that tells the next hop of the same mesh what is left of time and attempts.
pub const BUDGET_HEADER: &str = "x-placement-budget";
/// Marks the telemetry role's own questions, so that they do not count as work where they pass. Clients cannot send it.
pub const PULL_HEADER: &str = "x-placement-pull";
/// How all headers begin that only Berth may set.
pub const OWN_HEADERS: &str = "x-placement-";
/// Those that there are.
pub const OWN: [&str; 5] = [CLUSTER_HEADER, DECISION_HEADER, SHADOW_HEADER, BUDGET_HEADER, PULL_HEADER];
/// The router's count of attempts: at a retry it still holds the number of the attempt before.
pub const ATTEMPT_HEADER: &str = "x-envoy-attempt-count";
/// The path as the client asked for it, kept where substrates have paths of their own. Nobody else may set it: it would
/// take a request somewhere else than where the policy looked.
pub const ORIGINAL_PATH_HEADER: &str = "x-envoy-original-path";
/// Filter state: the decision. Logs read it as `%FILTER_STATE(wasm.placement:PLAIN)%`.
pub const DECISION_STATE: &str = "placement";
/// Filter state: the clusters of the second and third attempt.
pub const LATER_STATE: [&str; Plan::MOST - 1] = ["placement_2", "placement_3"];
/// Filter state: the replay record, where it is asked for.
pub const REPLAY_STATE: &str = "placement_replay";
/// Filter state: the attempts that came to nothing, and why, left inside the clusters.
pub const FELL_STATE: &str = "placement_fell";
/// Filter state: what a client said that makes attempts end badly wherever they run, only where it did.
pub const CLAIMED_STATE: &str = "placement_claimed";
/// Metadata of a host: the filter's name, and the key under which it says to which cluster it belongs.
pub const METADATA: &str = "berth";
/// The key of the cluster's name.
pub const METADATA_CLUSTER: &str = "cluster";
/// What the proxy puts before the keys of a filter's state.
pub const STATE_PREFIX: &str = "wasm.";

/// Router headers that the placement role alone sets where it carries out plans.
pub const ROUTER_HEADERS: [&str; 10] = [
    MOST_RETRIES,
    RETRY_ON,
    TIMEOUT,
    PER_TRY,
    "x-envoy-retry-grpc-on",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    HEDGE,
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-stream-duration-ms",
];
/// How many attempts may follow the first.
pub const MOST_RETRIES: &str = "x-envoy-max-retries";
/// What may be tried again besides the route's own list.
pub const RETRY_ON: &str = "x-envoy-retry-on";
/// Whether the next attempt starts beside one that is late.
pub const HEDGE: &str = "x-envoy-hedge-on-per-try-timeout";
/// The time for the whole answer; 0 for no end.
pub const TIMEOUT: &str = "x-envoy-upstream-rq-timeout-ms";
/// The time until the first byte of one attempt.
pub const PER_TRY: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

/// The router's word to an upstream: how long this attempt may take.
pub const EXPECTED: &str = "x-envoy-expected-rq-timeout-ms";

/// A single key of a decision, for logs that are filtered by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Where it went.
    Substrate,
    /// The class.
    Class,
    /// What bound.
    Binding,
    /// What a spillover crossed.
    Spill,
    /// How many attempts are planned.
    Attempts,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Substrate, Self::Class, Self::Binding, Self::Spill, Self::Attempts];

    /// Its name in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Substrate => "substrate",
            Self::Class => "class",
            Self::Binding => "binding",
            Self::Spill => "spill",
            Self::Attempts => "attempts",
        }
    }

    /// Its name in filter state.
    #[must_use]
    pub const fn state(self) -> &'static str {
        match self {
            Self::Substrate => "placement_substrate",
            Self::Class => "placement_class",
            Self::Binding => "placement_binding",
            Self::Spill => "placement_spill",
            Self::Attempts => "placement_attempts",
        }
    }
}
