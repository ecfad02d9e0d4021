//! The plugin configuration as it is written. What it means is decided beside this.

use super::read::Section;
use super::{Attach, Mode, refuse};
use crate::filter::canary::SplitBy;
use crate::policy::order;
use crate::policy::tree::{Entry, Node, shorten};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RawRole {
    #[default]
    Placement,
    Telemetry,
}

const ROLES: [(&str, RawRole); 2] = [("placement", RawRole::Placement), ("telemetry", RawRole::Telemetry)];
const MODES: [(&str, Mode); 3] =
    [("enforce", Mode::Enforce), ("shadow", Mode::Shadow), ("passthrough", Mode::Passthrough)];
const ATTACHMENTS: [(&str, Attach); 3] = [("simple", Attach::Simple), ("full", Attach::Full), ("lanes", Attach::Lanes)];
const SPLITS: [(&str, SplitBy); 3] =
    [("tenant", SplitBy::Tenant), ("session", SplitBy::Session), ("request", SplitBy::Request)];
const LEVELS: [(&str, log::LevelFilter); 5] = [
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];

/// Every field of either role.
const FIELDS: [&str; 32] = [
    "role",
    "policy",
    "log_level",
    "mode",
    "mirror",
    "attach",
    "lanes",
    "hops",
    "body",
    "candidate",
    "canary",
    "facts",
    "features_header",
    "idempotency_header",
    "trusted_headers",
    "trust_path",
    "refresh_ms",
    "deadline_header",
    "accounting",
    "decision_upstream",
    "decision_response",
    "replay",
    "hash_tenants",
    "keys",
    "sample",
    "time_sample",
    "outcomes",
    "sources",
    "tick_ms",
    "listener",
    "observe",
    "histograms",
];

#[derive(Debug, Default)]
pub(super) struct RawConfig<'n> {
    pub(super) role: RawRole,
    pub(super) policy: Option<&'n Node>,
    pub(super) log_level: Option<log::LevelFilter>,
    pub(super) mode: Option<Mode>,
    pub(super) mirror: Option<bool>,
    pub(super) attach: Option<Attach>,
    pub(super) lanes: Option<Vec<RawLane>>,
    pub(super) hops: Option<RawHops>,
    pub(super) body: Option<RawBody>,
    pub(super) candidate: Option<&'n Node>,
    pub(super) canary: Option<RawCanary>,
    pub(super) facts: Option<Vec<(&'n str, RawSource)>>,
    pub(super) features_header: Option<String>,
    pub(super) idempotency_header: Option<String>,
    pub(super) trusted_headers: Option<Vec<String>>,
    pub(super) trust_path: Option<bool>,
    pub(super) refresh_ms: Option<u32>,
    pub(super) deadline_header: Option<bool>,
    pub(super) accounting: Option<bool>,
    pub(super) decision_upstream: Option<bool>,
    pub(super) decision_response: Option<bool>,
    pub(super) replay: Option<bool>,
    pub(super) hash_tenants: Option<bool>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) sample: Option<u32>,
    pub(super) time_sample: Option<u32>,
    pub(super) outcomes: Option<u32>,
    /// Whether there are any; `telemetric` reads them.
    pub(super) sources: bool,
    pub(super) tick_ms: Option<u32>,
    /// Whether there is one; `telemetric` reads it.
    pub(super) listener: bool,
    pub(super) observe: Option<bool>,
    pub(super) histograms: Option<bool>,
}

impl<'n> RawConfig<'n> {
    pub(super) fn read(node: &'n Node) -> Result<Self, String> {
        let mut raw = Self::default();
        raw.fill(Section::open(node, "", &FIELDS)?)?;
        Ok(raw)
    }

    /// One field after the other into what is whole already: every way out drops the same, which halves the code.
    #[inline(never)]
    fn fill(&mut self, s: Section<'n>) -> Result<(), String> {
        // By name: a map has no order, and on its way through a `Struct` it loses the one that was written.
        let by_name = |facts: &'n [Entry]| order::sorted(facts.iter().collect(), |a: &&Entry, b| a.key.cmp(&b.key));
        let facts =
            s.map("facts")?.map(|f| by_name(f).into_iter().map(source).collect::<Result<_, _>>()).transpose()?;
        let lanes = s.list("lanes")?.map(|lanes| lanes.iter().enumerate().map(lane).collect::<Result<_, _>>());
        self.role = s.word("role", &ROLES)?.ok_or_else(|| s.missing("role", "one of placement, telemetry"))?;
        self.policy = s.get("policy");
        self.log_level = s.word("log_level", &LEVELS)?;
        self.mode = s.word("mode", &MODES)?;
        self.mirror = s.flag("mirror")?;
        self.attach = s.word("attach", &ATTACHMENTS)?;
        self.lanes = lanes.transpose()?;
        self.hops = s.get("hops").map(hops).transpose()?;
        self.body = s.get("body").map(body).transpose()?;
        self.candidate = s.get("candidate");
        self.canary = s.get("canary").map(canary).transpose()?;
        self.facts = facts;
        self.features_header = s.text("features_header")?;
        self.idempotency_header = s.text("idempotency_header")?;
        self.trusted_headers = s.texts("trusted_headers")?;
        self.trust_path = s.flag("trust_path")?;
        self.refresh_ms = s.number("refresh_ms")?;
        self.deadline_header = s.flag("deadline_header")?;
        self.accounting = s.flag("accounting")?;
        self.decision_upstream = s.flag("decision_upstream")?;
        self.decision_response = s.flag("decision_response")?;
        self.replay = s.flag("replay")?;
        self.hash_tenants = s.flag("hash_tenants")?;
        self.keys = s.texts("keys")?;
        self.sample = s.number("sample")?;
        self.time_sample = s.number("time_sample")?;
        self.outcomes = s.number("outcomes")?;
        self.sources = s.has("sources");
        self.tick_ms = s.number("tick_ms")?;
        self.listener = s.has("listener");
        self.observe = s.flag("observe")?;
        self.histograms = s.flag("histograms")?;
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct RawLane {
    pub(super) cluster: String,
    pub(super) substrates: Vec<String>,
}

#[inline(never)]
fn lane((at, node): (usize, &Node)) -> Result<RawLane, String> {
    let place = format!("lanes[{at}].");
    let s = Section::open(node, &place, &["cluster", "substrates"])?;
    Ok(RawLane {
        cluster: s.text("cluster")?.ok_or_else(|| s.missing("cluster", "the name of a cluster"))?,
        substrates: s.texts("substrates")?.ok_or_else(|| s.missing("substrates", "a list of substrates"))?,
    })
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawHops {
    pub(super) tell: bool,
    pub(super) trust: Vec<String>,
}

#[inline(never)]
fn hops(node: &Node) -> Result<RawHops, String> {
    let s = Section::open(node, "hops.", &["tell", "trust"])?;
    Ok(RawHops { tell: s.flag("tell")?.unwrap_or(false), trust: s.texts("trust")?.unwrap_or_default() })
}

#[derive(Debug)]
pub(super) struct RawSource {
    pub(super) from: RawFrom,
    pub(super) trusted: bool,
}

/// What carries a fact.
#[derive(Debug)]
pub(super) enum RawFrom {
    Header(String),
    Property(Vec<String>),
}

#[inline(never)]
fn source(entry: &Entry) -> Result<(&str, RawSource), String> {
    let place = format!("facts.{}.", shorten(&entry.key));
    let s = Section::open(&entry.node, &place, &["header", "property", "trusted"])?;
    let from = match (s.text("header")?, s.texts("property")?) {
        (Some(header), None) => RawFrom::Header(header),
        (None, Some(path)) => RawFrom::Property(path),
        (None, None) => return Err(s.missing("header", "the name of a header, or `property`, the way to one")),
        (Some(_), Some(_)) => {
            return Err(refuse(&format!("{place}property: found beside `header`, expected one of them")));
        }
    };
    Ok((&entry.key, RawSource { from, trusted: s.flag("trusted")?.unwrap_or(false) }))
}

#[derive(Clone, Debug)]
pub(super) struct RawBody {
    pub(super) headers_stop: bool,
    pub(super) prefix_bytes: Option<u32>,
    pub(super) hold_ms: Option<u32>,
    pub(super) data_key: Option<String>,
}

#[inline(never)]
fn body(node: &Node) -> Result<RawBody, String> {
    let s = Section::open(node, "body.", &["headers_stop", "prefix_bytes", "hold_ms", "data_key"])?;
    Ok(RawBody {
        headers_stop: s.flag("headers_stop")?.unwrap_or(false),
        prefix_bytes: s.number("prefix_bytes")?,
        hold_ms: s.number("hold_ms")?,
        data_key: s.text("data_key")?,
    })
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawCanary {
    pub(super) by: SplitBy,
    pub(super) window_s: Option<u32>,
    pub(super) least: Option<u32>,
    pub(super) failure: Option<f64>,
    pub(super) first_byte: Option<f64>,
    pub(super) cost: Option<f64>,
    pub(super) shed: Option<f64>,
    pub(super) outside: Option<f64>,
}

#[inline(never)]
fn canary(node: &Node) -> Result<RawCanary, String> {
    let known = ["by", "window_s", "least", "failure", "first_byte", "cost", "shed", "outside"];
    let s = Section::open(node, "canary.", &known)?;
    Ok(RawCanary {
        by: s.word("by", &SPLITS)?.unwrap_or_default(),
        window_s: s.number("window_s")?,
        least: s.number("least")?,
        failure: s.part("failure")?,
        first_byte: s.part("first_byte")?,
        cost: s.part("cost")?,
        shed: s.part("shed")?,
        outside: s.part("outside")?,
    })
}
