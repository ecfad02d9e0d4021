//! Cases as they are written: what is known of a request and of the substrates, and what should become of it.

use super::{
    MOST_ITEMS,
    document::Version,
    expectations::{Expected, expected},
    flag,
    predicate::fact_doc,
    substrate::features,
};
use crate::model::{Admission, Country, FactName, Features, Name, Signal, Unit};
use crate::policy::{
    codes,
    countries::OneCountry,
    forms::{Decimal, Flag, Header, Named, Text, Word, decimal, usd, whole},
    source::{Source, must_to},
    time::Moment,
};

/// A file of cases.
#[derive(Clone, Debug)]
pub struct RawCases {
    /// When they happen, unless a case says otherwise.
    pub now_ms: Option<u64>,
    /// The state of substrates in every case that does not say otherwise.
    pub health: Vec<(Name, RawHealth)>,
    /// The cases.
    pub cases: Vec<RawCase>,
}

/// What a fact says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Text.
    Text(String),
    /// A number.
    Number(u32),
    /// Yes or no.
    Flag(bool),
}

/// One case.
#[derive(Clone, Debug)]
pub struct RawCase {
    /// What it shows.
    pub name: String,
    /// Facts from trusted sources.
    pub facts: Vec<(FactName, Said)>,
    /// Facts that anybody can write.
    pub claims: Vec<(FactName, Said)>,
    /// Headers from trusted sources.
    pub headers: Vec<(String, String)>,
    /// Headers that anybody can write.
    pub claimed_headers: Vec<(String, String)>,
    /// Features asked for.
    pub features: Features,
    /// The request's size.
    pub content_bytes: Option<u64>,
    /// The state of substrates; an entry replaces that of the file.
    pub health: Vec<(Name, RawHealth)>,
    /// When it happens.
    pub now_ms: Option<u64>,
    /// How old the picture is.
    pub snapshot_age_ms: u64,
    /// There is no picture at all.
    pub no_snapshot: bool,
    /// Placed by this proxy since the picture was taken.
    pub placed: Vec<(Name, u32)>,
    /// Spent of tenants' budgets.
    pub spent_uusd: Vec<(String, i64)>,
    /// What decides between equals.
    pub seed: u64,
    /// What should become of it.
    pub expect: Expected,
}

/// The state of one substrate.
#[derive(Clone, Debug)]
pub struct RawHealth {
    /// What was heard.
    pub readings: Vec<(Signal, i64)>,
    /// How long ago.
    pub age_ms: u64,
    /// Its circuit.
    pub circuit: RawCircuit,
    /// Whether it takes new work.
    pub admission: Admission,
    /// Where it proved to be, if not where the policy says, and how long ago.
    pub attestation: Option<(Option<Country>, u64)>,
    /// For how long it asked to be left alone.
    pub retry_after_ms: u64,
}

/// A circuit's state without its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawCircuit {
    /// Work flows.
    Closed,
    /// No work.
    Open,
    /// This proxy may probe once.
    HalfOpen,
}

/// A file of cases.
pub fn cases<S: Source>(s: &mut S) -> Option<RawCases> {
    s.required("berth", "The version of the schema.", Version);
    let now = s.optional("now", "When the cases happen; `2026-01-01`, if it is not given.", Moment);
    let doc = "The state of substrates in every case; what is not named here is unknown.";
    let health = s.section_map("health", doc, Named, health);
    let cases = s.sections("cases", "The cases.", must_to(MOST_ITEMS), case);
    Some(RawCases { now_ms: now.map(|n| n.unix_ms), health, cases })
}

fn case<S: Source>(s: &mut S) -> Option<RawCase> {
    let name = s.required("name", "What it shows.", Text(200));
    let known = s.section_or_empty("facts", "What is known of the request, from trusted sources.", facts);
    let claims = s.section_or_empty("claims", "What the request says of itself, and anybody could say.", facts);
    let (known, claims) = (known.unwrap_or_default(), claims.unwrap_or_default());
    if known.iter().any(|(fact, _)| claims.iter().any(|(claimed, _)| claimed == fact)) {
        s.wrong("claims", codes::CONTRADICTION, "each fact in `facts` or in `claims`: a trusted one speaks louder");
    }
    let value = || (Header, Text(512));
    let headers = s.map("headers", "Headers that predicates look at, from trusted sources.", value());
    let claimed_headers = s.map("claimed_headers", "The same, as anybody could send them.", value());
    let features = features(s, "features", "Features that the request asks for.");
    let most_bytes = whole::<u64>(0, 1_000_000_000);
    let content_bytes = s.optional("content_bytes", "Its size: the estimate of its tokens.", most_bytes);
    let doc = "The state of substrates; an entry replaces the file's for that substrate.";
    let health = s.section_map("health", doc, Named, health);
    let now = s.optional("now", "When it happens; the file's `now`, if it is not given.", Moment);
    let snapshot_age_ms = s.or("snapshot_age_ms", "How old the picture of all substrates is.", ages(), 0);
    let no_snapshot = flag(s, "no_snapshot", "There is no picture at all, whatever `health` says.");
    let placed = (Named, whole::<u32>(0, 10_000_000));
    let placed = s.map("placed", "Requests placed by this proxy since the picture was taken.", placed);
    let spent = s.map("spent_usd", "Spent by tenants that have a budget.", (Text(128), usd(1_000_000_000)));
    let seed = s.or("seed", "What decides between equals.", whole::<u64>(0, MOST_SEED), 1);
    let expect = s.section("expect", "What should become of it; at least one line.", expected);
    Some(RawCase {
        name: name?,
        facts: known,
        claims,
        headers,
        claimed_headers,
        features,
        content_bytes,
        health,
        now_ms: now.map(|n| n.unix_ms),
        snapshot_age_ms,
        no_snapshot,
        placed,
        spent_uusd: spent,
        seed,
        expect: expect?,
    })
}

/// The largest whole number that a document can say exactly.
const MOST_SEED: i64 = 9_007_199_254_740_991;

fn ages() -> Decimal<u64> {
    whole(0, 31_536_000_000)
}

fn facts<S: Source>(s: &mut S) -> Option<Vec<(FactName, Said)>> {
    let mut all = Vec::new();
    for fact in FactName::ALL {
        let (name, doc) = (fact.as_str(), fact_doc(fact));
        let said = match fact {
            FactName::InputTokens | FactName::OutputTokens | FactName::Deadline => {
                s.optional(name, doc, whole::<u32>(0, i64::from(u32::MAX))).map(Said::Number)
            }
            FactName::Streaming => s.optional(name, doc, Flag).map(Said::Flag),
            _ => s.optional(name, doc, Text(512)).map(Said::Text),
        };
        all.extend(said.map(|said| (fact, said)));
    }
    Some(all)
}

fn health<S: Source>(s: &mut S) -> Option<RawHealth> {
    let readings = s.section_or_empty("signals", "What was heard of it.", signals);
    let age_ms = s.or("age_ms", "How long ago.", ages(), 0);
    let circuit = s.or("circuit", "Its circuit.", Word(&CIRCUITS, circuit), RawCircuit::Closed);
    let admission = s.or("admission", "Whether it takes new work.", Word(&ADMISSIONS, admission), Admission::All);
    let attestation = s.section_if("attestation", "The last proof of where it is.", |s| {
        let place =
            s.optional("jurisdiction", "Where it proved to be; where the policy says, if not given.", OneCountry);
        let age = s.or("age_s", "How long ago.", whole::<u64>(0, 31_536_000), 0);
        Some((place, age * 1_000))
    });
    let retry_after_ms = s.or("retry_after_ms", "For how long it asked to be left alone.", ages(), 0);
    Some(RawHealth { readings: readings?, age_ms, circuit, admission, attestation, retry_after_ms })
}

fn signals<S: Source>(s: &mut S) -> Option<Vec<(Signal, i64)>> {
    let mut all = Vec::new();
    for signal in Signal::ALL {
        let (least, most) = signal.bounds();
        let (scale, unit) = match signal.unit() {
            Unit::Count => (0, ""),
            Unit::Ppm => (6, ""),
            Unit::Micros => (3, "ms"),
            Unit::PicoUsd => (0, "pico-dollars per token"),
        };
        let value =
            s.optional(signal_name(signal), "As a substrate's report says it.", decimal(scale, least, most, unit));
        all.extend(value.map(|value| (signal, value)));
    }
    Some(all)
}

/// The name of a signal's field in reports: times are written in milliseconds.
const fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::FirstToken => "first_token_ms",
        Signal::PerToken => "per_token_ms",
        Signal::Total => "total_ms",
        Signal::Jitter => "jitter_ms",
        _ => signal.as_str(),
    }
}

const CIRCUITS: [RawCircuit; 3] = [RawCircuit::Closed, RawCircuit::Open, RawCircuit::HalfOpen];

const fn circuit(circuit: RawCircuit) -> &'static str {
    match circuit {
        RawCircuit::Closed => "closed",
        RawCircuit::Open => "open",
        RawCircuit::HalfOpen => "half-open",
    }
}

const ADMISSIONS: [Admission; 3] = [Admission::All, Admission::Existing, Admission::Closed];

const fn admission(admission: Admission) -> &'static str {
    match admission {
        Admission::All => "all",
        Admission::Existing => "existing",
        Admission::Closed => "closed",
    }
}
