//! The plugin configuration: which role, which policy, which sources of facts. Refused as a whole if anything in it
//! is wrong, with one line that names the place and what was expected.

mod accounting;
mod bounds;
mod canary;
mod carry;
mod desk;
mod lanes;
mod observe;
mod raw;
mod read;
mod several;
mod sources;
mod telemetric;

use super::body::BodySource;
use super::canary::CanaryConfig;
use super::facts::{Property, Source, Sources};
use super::hop::Hops;
use super::observing::ObserveConfig;
use super::telemetry_config::TelemetryConfig;
use super::wire_struct;
use crate::model::{FactName, Watch};
use crate::policy::tree::Node;
use crate::policy::{self, Policy, json};
use bounds::{lower_case, only_for, period, within, within_numbers};
use carry::{body, hops};
use core::ops::RangeInclusive;
use desk::desk;
use lanes::lanes;
use observe::observing;
use raw::{RawConfig, RawFrom, RawRole, RawSource};
use several::ask_for_all;
use sources::scrape;
use std::rc::Rc;
use telemetric::RawTelemetric;

/// What placement does with its decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Decides, and the route obeys.
    #[default]
    Enforce,
    /// Decides and writes it down; the request goes where it went before.
    Shadow,
    /// Decides nothing.
    Passthrough,
}

pub use accounting::Accounting;
pub use lanes::Lane;
pub use telemetric::Telemetric;

/// How the route carries decisions out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// The route obeys the cluster header: one choice, no attempt on another cluster.
    #[default]
    Simple,
    /// The route looks the plan up at each attempt.
    Full,
    /// Where the proxy cannot do that: clusters that are lists of clusters, made beforehand.
    Lanes,
}

/// A valid configuration.
#[derive(Debug)]
pub enum Config {
    /// The placement role.
    Placement(Box<PlacementConfig>),
    /// The telemetry role.
    Telemetry(Box<TelemetryConfig>, Telemetric),
    /// The telemetry role inside a cluster.
    Observing(ObserveConfig, Telemetric),
}

/// What the placement role needs.
#[derive(Clone, Debug)]
pub struct PlacementConfig {
    /// The policy.
    pub policy: Rc<Policy>,
    /// The policy that may rule next, and when it goes back.
    pub canary: Option<CanaryConfig>,
    /// What becomes of decisions.
    pub mode: Mode,
    /// In shadow mode, has the proxy send a copy to where the request would have gone.
    pub mirror: bool,
    /// How the route carries them out.
    pub attach: Attach,
    /// The lists that were made beforehand.
    pub lanes: Vec<Lane>,
    /// Where facts come from.
    pub sources: Sources,
    /// What this hop tells the next, and whom it believes.
    pub hops: Hops,
    /// Whether and how bodies are read.
    pub body: Option<BodySource>,
    /// How often the picture is refreshed.
    pub refresh_ms: u32,
    /// Whether the router is told the deadline.
    pub deadline_header: bool,
    /// Whether the decision goes upstream as a header; never towards a provider.
    pub decision_upstream: bool,
    /// Whether refusals carry the decision. It names substrates, so not at public edges.
    pub decision_response: bool,
    /// What else decisions leave behind.
    pub accounting: Accounting,
}

/// The shortest and longest period between ticks.
const TICK_MS: RangeInclusive<u32> = 10..=60_000;
const DEFAULT_TICK_MS: u32 = 100;

/// Reads a plugin configuration.
///
/// # Errors
/// One line with the place, what was found and what was expected.
#[inline(never)]
pub fn parse(bytes: &[u8]) -> Result<Config, String> {
    // A `Struct` begins with the tag of its first field, which as JSON would be an empty first line.
    let converted = bytes.starts_with(b"\n").then(|| wire_struct::to_json(bytes)).flatten();
    let text = converted.as_deref().map_or(bytes, str::as_bytes);
    let tree = json::parse_around(text).map_err(|e| {
        // What was found may be the very line break that should not be there.
        let line = e.to_string().replace(|c: char| c.is_control(), " ");
        refuse(&format!("configuration: line {}: {line}", e.at.unwrap_or_default()))
    })?;
    let raw = RawConfig::read(&tree)?;
    let more = telemetric::of(&raw, text)?;
    if raw.observe == Some(true) {
        let config = Config::Observing(observing(&raw)?, telemetric::here()?);
        log::set_max_level(raw.log_level.unwrap_or(log::LevelFilter::Info));
        return Ok(config);
    }
    if raw.histograms.is_some() {
        return Err(refuse("histograms: found without `observe`, expected inside a cluster"));
    }
    let policy = raw.policy.ok_or_else(|| refuse("policy: missing, expected a policy document"))?;
    let policy = Rc::new(read_policy(policy, "policy")?);
    let config = match raw.role {
        RawRole::Placement => Config::Placement(Box::new(placement(&raw, policy)?)),
        RawRole::Telemetry => {
            let has = telemetric::here()?;
            Config::Telemetry(Box::new(telemetry(&raw, &more, &policy)?), has)
        }
    };
    // A refused configuration changes nothing, not even this.
    log::set_max_level(raw.log_level.unwrap_or(log::LevelFilter::Info));
    Ok(config)
}

fn refuse(line: &str) -> String {
    format!("berth: configuration refused: {line}")
}

#[inline(never)]
fn read_policy(node: &Node, place: &str) -> Result<Policy, String> {
    match policy::read_node(node, "") {
        Ok(checked) => Ok(Policy::new(checked.document, checked.digest.0)),
        Err(errors) => {
            let first = errors.first().map_or_else(|| String::from("invalid"), ToString::to_string);
            let more = match errors.len().saturating_sub(1) {
                0 => String::new(),
                n => format!(" (and {n} more; `berth check` shows all)"),
            };
            Err(refuse(&format!("{place}: {first}{more}")))
        }
    }
}

#[inline(never)]
fn placement(raw: &RawConfig<'_>, policy: Rc<Policy>) -> Result<PlacementConfig, String> {
    only_for("sources", raw.sources, "telemetry")?;
    only_for("tick_ms", raw.tick_ms.is_some(), "telemetry")?;
    only_for("listener", raw.listener, "telemetry")?;
    let trusted = lower_case("trusted_headers", raw.trusted_headers.iter().flatten())?;
    let features = lower_case("features_header", raw.features_header.iter())?.into_iter().next();
    let idempotency = lower_case("idempotency_header", raw.idempotency_header.iter())?.into_iter().next();
    let attach = raw.attach.unwrap_or_default();
    let mode = raw.mode.unwrap_or_default();
    let mirror = raw.mirror.unwrap_or(false);
    if mirror && mode != Mode::Shadow {
        return Err(refuse("mirror: belongs to mode `shadow`: in the others the request itself goes there"));
    }
    let deadline_header = raw.deadline_header.unwrap_or(true);
    if !deadline_header && attach != Attach::Simple {
        return Err(refuse(
            "deadline_header: found `false`, expected it with `attach: simple` only: a plan's attempts divide the deadline",
        ));
    }
    let lanes = lanes(raw.lanes.as_deref().unwrap_or_default(), attach, &policy)?;
    let canary = canary::canary(raw, &policy)?;
    let mut sources = Sources {
        facts: Vec::new(),
        properties: Vec::new(),
        features,
        idempotency,
        predicates: Vec::new(),
        trusted,
        trust_path: raw.trust_path.unwrap_or(false),
    };
    raw.facts.iter().flatten().try_for_each(|(name, source)| fact_source(&mut sources, name, source))?;
    let candidate = canary.as_ref().map(|canary| &*canary.policy);
    ask_for_all(&mut sources, &policy, candidate)?;
    Ok(PlacementConfig {
        accounting: Accounting::new(raw, &lanes, !policy.document().settings.budgets.is_empty())?,
        lanes,
        canary,
        policy,
        mode,
        mirror,
        attach,
        sources,
        body: raw.body.as_ref().map(body).transpose()?,
        hops: hops(raw.hops.clone().unwrap_or_default())?,
        refresh_ms: period("refresh_ms", raw.refresh_ms)?,
        deadline_header,
        decision_upstream: raw.decision_upstream.unwrap_or(false),
        decision_response: raw.decision_response.unwrap_or(false),
    })
}

/// Sorts the facts by what carries them.
#[inline(never)]
fn fact_source(sources: &mut Sources, name: &str, source: &RawSource) -> Result<(), String> {
    let place = format!("facts.{name}");
    let trusted = source.trusted;
    let fact = FactName::ALL.into_iter().find(|f| f.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = FactName::ALL.iter().map(|f| f.as_str()).collect();
        refuse(&format!("{place}: unknown fact `{name}`, expected one of {}", known.join(", ")))
    })?;
    match &source.from {
        RawFrom::Header(header) => {
            let header = lower_case(&format!("{place}.header"), std::iter::once(header))?.into_iter().next();
            sources.facts.push(Source { fact, header: header.unwrap_or_default(), trusted });
        }
        RawFrom::Property(path)
            if path.is_empty() || path.iter().any(|part| part.is_empty() || part.contains('\0')) =>
        {
            return Err(refuse(&format!(
                "{place}.property: found {path:?}, expected a list of names, such as `[connection, uri_san_peer_certificate]`"
            )));
        }
        RawFrom::Property(path) => sources.properties.push(Property { fact, path: path.clone(), trusted }),
    }
    Ok(())
}

#[inline(never)]
fn telemetry(raw: &RawConfig<'_>, more: &RawTelemetric<'_>, policy: &Policy) -> Result<TelemetryConfig, String> {
    telemetric::not_of_placement(raw)?;
    let sources =
        more.sources.iter().flatten().enumerate().map(|(i, s)| scrape(i, s, policy)).collect::<Result<Vec<_>, _>>()?;
    let desk = more.listener.as_ref().map(|listener| desk(listener, policy)).transpose()?;
    let tick_ms = period("tick_ms", raw.tick_ms)?;
    Ok(TelemetryConfig { desk, ..TelemetryConfig::new(Watch::of(policy.document()), tick_ms, sources) })
}
