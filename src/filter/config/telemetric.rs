//! The sections that only the telemetry role has. They are read by serde, as what its sources answer is.

use super::desk::RawListener;
use super::raw::RawConfig;
use super::sources::RawScrape;
use super::{accounting, only_for, refuse};
use serde::Deserialize;

/// The other fields are none of its business: whoever reads the configuration has refused what nobody knows.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawTelemetric<'a> {
    #[serde(borrow)]
    pub(super) sources: Option<Vec<RawScrape<'a>>>,
    pub(super) listener: Option<RawListener>,
}

/// Reads them if they are there, in either role: a mistake in them is said before they are said to belong to the other.
pub(super) fn of<'a>(raw: &RawConfig<'_>, text: &'a [u8]) -> Result<RawTelemetric<'a>, String> {
    if cfg!(not(feature = "telemetry")) || !(raw.sources || raw.listener) {
        return Ok(RawTelemetric::default());
    }
    serde_json::from_slice(text).map_err(|e| refuse(&format!("configuration: {e}")))
}

/// That this build has the telemetry role. Without it there is no value of this type, so no variant that holds one is
/// ever made, and the compiler links nothing of the role.
#[cfg(feature = "telemetry")]
#[derive(Clone, Copy, Debug)]
pub struct Telemetric;
/// The same, in a build without the role.
#[cfg(not(feature = "telemetry"))]
#[derive(Clone, Copy, Debug)]
pub enum Telemetric {}

#[cfg(feature = "telemetry")]
pub(super) const fn here() -> Result<Telemetric, String> {
    Ok(Telemetric)
}

#[cfg(not(feature = "telemetry"))]
pub(super) fn here() -> Result<Telemetric, String> {
    Err(refuse("role: found `telemetry`, expected `placement`: this file has no other, `berth.wasm` has both"))
}

/// Refuses what only the placement role understands.
pub(super) fn not_of_placement(raw: &RawConfig<'_>) -> Result<(), String> {
    let given = [
        ("mode", raw.mode.is_some()),
        ("mirror", raw.mirror.is_some()),
        ("attach", raw.attach.is_some()),
        ("lanes", raw.lanes.is_some()),
        ("hops", raw.hops.is_some()),
        ("body", raw.body.is_some()),
        ("candidate", raw.candidate.is_some()),
        ("canary", raw.canary.is_some()),
        ("idempotency_header", raw.idempotency_header.is_some()),
        ("facts", raw.facts.is_some()),
        ("features_header", raw.features_header.is_some()),
        ("trusted_headers", raw.trusted_headers.is_some()),
        ("trust_path", raw.trust_path.is_some()),
        ("refresh_ms", raw.refresh_ms.is_some()),
        ("deadline_header", raw.deadline_header.is_some()),
    ];
    only_for("accounting", raw.accounting.is_some(), "placement")?;
    for (name, present) in given.into_iter().chain(accounting::given(raw)) {
        only_for(name, present, "placement")?;
    }
    Ok(())
}
