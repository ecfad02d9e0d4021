//! The telemetry role inside a cluster, as it stands in the configuration: small, and the same for all clusters, so that
//! the proxy tries it once and one root of a VM sees them all.

use super::raw::{RawConfig, RawRole};
use super::telemetric::not_of_placement;
use super::{only_for, period, refuse};
use crate::filter::observing::ObserveConfig;

pub(super) fn observing(raw: &RawConfig<'_>) -> Result<ObserveConfig, String> {
    only_for("observe", raw.role != RawRole::Telemetry, "telemetry")?;
    not_of_placement(raw)?;
    for (name, present) in [("policy", raw.policy.is_some()), ("sources", raw.sources), ("listener", raw.listener)] {
        if present {
            return Err(refuse(&format!("{name}: found beside `observe`, expected on a listener of the role instead")));
        }
    }
    Ok(ObserveConfig { tick_ms: period("tick_ms", raw.tick_ms)?, histograms: raw.histograms.unwrap_or(false) })
}
