//! The plugin configuration as it is written. What it means is decided beside this.

use super::desk::RawListener;
use super::lanes::RawLane;
use super::sources::RawScrape;
use super::{Attach, Mode};
use crate::filter::canary::SplitBy;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawRole {
    Placement,
    Telemetry,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl From<RawLevel> for log::LevelFilter {
    fn from(level: RawLevel) -> Self {
        match level {
            RawLevel::Error => Self::Error,
            RawLevel::Warn => Self::Warn,
            RawLevel::Info => Self::Info,
            RawLevel::Debug => Self::Debug,
            RawLevel::Trace => Self::Trace,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig<'a> {
    pub(super) role: RawRole,
    #[serde(borrow)]
    pub(super) policy: Option<&'a RawValue>,
    pub(super) log_level: Option<RawLevel>,
    pub(super) mode: Option<Mode>,
    pub(super) mirror: Option<bool>,
    pub(super) attach: Option<Attach>,
    pub(super) lanes: Option<Vec<RawLane>>,
    pub(super) hops: Option<RawHops>,
    pub(super) body: Option<RawBody>,
    #[serde(borrow)]
    pub(super) candidate: Option<&'a RawValue>,
    pub(super) canary: Option<RawCanary>,
    pub(super) facts: Option<BTreeMap<String, RawSource>>,
    pub(super) features_header: Option<String>,
    pub(super) idempotency_header: Option<String>,
    pub(super) trusted_headers: Option<Vec<String>>,
    pub(super) trust_path: Option<bool>,
    pub(super) refresh_ms: Option<u32>,
    pub(super) accounting: Option<bool>,
    pub(super) decision_upstream: Option<bool>,
    pub(super) decision_response: Option<bool>,
    pub(super) replay: Option<bool>,
    pub(super) hash_tenants: Option<bool>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) sample: Option<u32>,
    pub(super) time_sample: Option<u32>,
    pub(super) outcomes: Option<u32>,
    #[serde(borrow)]
    pub(super) sources: Option<Vec<RawScrape<'a>>>,
    pub(super) tick_ms: Option<u32>,
    pub(super) listener: Option<RawListener>,
    pub(super) observe: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHops {
    #[serde(default)]
    pub(super) tell: bool,
    #[serde(default)]
    pub(super) trust: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) header: String,
    #[serde(default)]
    pub(super) trusted: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBody {
    #[serde(default)]
    pub(super) headers_stop: bool,
    pub(super) prefix_bytes: Option<u32>,
    pub(super) hold_ms: Option<u32>,
    pub(super) data_key: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCanary {
    #[serde(default)]
    pub(super) by: SplitBy,
    pub(super) window_s: Option<u32>,
    pub(super) least: Option<u32>,
    pub(super) failure: Option<f64>,
    pub(super) first_byte: Option<f64>,
    pub(super) cost: Option<f64>,
    pub(super) shed: Option<f64>,
    pub(super) outside: Option<f64>,
}
