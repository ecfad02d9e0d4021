//! Circuits and admission as the policy sets them by default, for tests and benchmarks that build without a policy.

use berth::model::settings::Breaking;

/// The shipped defaults; a test of telemetry holds them against a compiled policy.
pub(crate) const AS_SHIPPED: Breaking = Breaking {
    consecutive: 5,
    failure_ppm: 500_000,
    least: 20,
    window_ms: 10_000,
    open_ms: 5_000,
    open_most_ms: 60_000,
    jitter_ppm: 200_000,
    probes: 1,
    enter_ppm: 850_000,
    exit_ppm: 700_000,
    bad_samples: 2,
    good_samples: 3,
    dwell_ms: 1_000,
    hold_down_ms: 1_000,
};
