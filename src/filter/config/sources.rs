//! The sources of the telemetry role, as they stand in the configuration.

use super::{refuse, within};
use crate::filter::telemetry_config::mapping::{RawMapping, with_mappings};
use crate::filter::telemetry_config::{Format, SourceConfig};
use crate::policy::Policy;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScrape<'a> {
    cluster: String,
    path: String,
    authority: Option<String>,
    substrate: Option<String>,
    format: Option<String>,
    #[serde(borrow)]
    mappings: Option<Vec<RawMapping<'a>>>,
    interval_ms: Option<u32>,
    timeout_ms: Option<u32>,
    jitter: Option<f64>,
    except: Option<Vec<String>>,
}

pub(super) fn scrape(i: usize, raw: &RawScrape<'_>, policy: &Policy) -> Result<SourceConfig, String> {
    let place = |field: &str| format!("sources[{i}].{field}");
    let format = raw.format.as_deref().unwrap_or("berth");
    let format = Format::parse(format).ok_or_else(|| {
        refuse(&format!("{}: found `{format}`, expected one of {}", place("format"), Format::names().join(", ")))
    })?;
    let format = with_mappings(format, raw.mappings.as_deref())
        .map_err(|(field, why)| refuse(&format!("{}{why}", place(field))))?;
    if raw.substrate.is_none() && matches!(format, Format::Prometheus(_)) {
        return Err(refuse(&format!("{}: missing, a scrape does not say whose it is", place("substrate"))));
    }
    let format = match (format, &raw.except, &raw.substrate) {
        (Format::Clusters(_), _, Some(_)) => {
            return Err(refuse(&format!(
                "{}: found beside `clusters`, which speaks of all of them",
                place("substrate")
            )));
        }
        (Format::Clusters(_), except, None) => Format::Clusters(except.clone().unwrap_or_default()),
        (_, Some(_), _) => return Err(refuse(&format!("{}: belongs to format `clusters`", place("except")))),
        (format, None, _) => format,
    };
    if !raw.path.starts_with('/') {
        return Err(refuse(&format!("{}: found `{}`, expected a path from `/`", place("path"), raw.path)));
    }
    if raw.cluster.is_empty() {
        return Err(refuse(&format!("{}: empty, expected the name of a cluster", place("cluster"))));
    }
    let mut known = policy.document().substrates.iter().map(|s| s.name.as_str());
    if let Some(named) = raw.substrate.as_deref()
        && !known.clone().any(|name| name == named)
    {
        let names: Vec<_> = known.by_ref().take(16).collect();
        return Err(refuse(&format!("{}: found `{named}`, expected one of {}", place("substrate"), names.join(", "))));
    }
    Ok(SourceConfig {
        authority: raw.authority.clone(),
        format,
        substrate: raw.substrate.clone(),
        interval_ms: within(&place("interval_ms"), raw.interval_ms.unwrap_or(1_000), 50..=3_600_000)?,
        timeout_ms: within(&place("timeout_ms"), raw.timeout_ms.unwrap_or(500), 10..=60_000)?,
        jitter_ppm: share(&place("jitter"), raw.jitter.unwrap_or(0.1))?,
        cluster: raw.cluster.clone(),
        path: raw.path.clone(),
    })
}

/// A part of the whole, such as 0.1.
fn share(place: &str, value: f64) -> Result<u32, String> {
    if (0.0..=1.0).contains(&value) {
        return Ok((value * 1_000_000.0 + 0.5) as u32);
    }
    Err(refuse(&format!("{place}: found {value}, expected a number from 0 to 1, such as 0.1")))
}
