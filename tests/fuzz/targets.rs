//! Every parser of bytes from outside as a function of any bytes, with what must hold whatever they are: no panic (the
//! caller sees to that), and what was read and written again reads the same. The bounded run of `make test` and the
//! guided one of `make fuzz` share this.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what does not hold fails, here by a panic, which is what a fuzzer looks for"
)]

use berth::explain::line::Line;
use berth::filter::body::Body;
use berth::filter::config;
use berth::filter::facts::{Source, Sources};
use berth::filter::hop::Told;
use berth::filter::{Headers, wire_struct};
use berth::health::heard::Heard;
use berth::health::hosts::Clusters;
use berth::health::inbox::Tray;
use berth::health::prometheus::Scrape;
use berth::health::query::Labels;
use berth::health::{answer, codec, json as picture, orca, presets, query, report};
use berth::manifest::deployment;
use berth::manifest::doctor::{Patient, examine, policies};
use berth::manifest::target::{self, File, Subject};
use berth::model::{FactName, Local, Signal, Snapshot};
use berth::place::replay::Replay;
use berth::policy::canonical::canonical;
use berth::policy::{Digest, Policy, cases, json, read_json, read_yaml};
use std::cell::OnceCell;

/// The present, to parsers that ask for it.
pub(crate) const NOW_MS: u64 = 1_790_000_000_000;

/// What a parser is tried by.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Its name, as the corpus is called.
    pub(crate) name: &'static str,
    /// Tries it.
    pub(crate) run: fn(&[u8]),
    /// The longest input that is worth trying.
    pub(crate) most_bytes: usize,
    /// How many bytes of memory it may hold at once for each byte of input,
    pub(crate) most_held: usize,
    /// and besides.
    pub(crate) fixed: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), most_bytes: usize, most_held: usize) -> Target {
    Target { name, run, most_bytes, most_held, fixed: 256 << 10 }
}

/// Shared data is believed to hold as many elements as it says, up to this, until they turn out not to be there.
const fn claiming(target: Target) -> Target {
    Target { fixed: 17 << 20, ..target }
}

/// A short file is rendered into long ones, all of which are held at once.
const fn rendering(target: Target) -> Target {
    Target { fixed: 1 << 20, ..target }
}

/// All of them.
pub(crate) const TARGETS: [Target; 20] = [
    target("policy-json", policy_json, 16_384, 400),
    target("policy-yaml", policy_yaml, 8_192, 400),
    target("cases", policy_cases, 4_096, 400),
    target("scenario", scenario, 4_096, 400),
    rendering(target("deployment", deployment_file, 4_096, 400)),
    target("doctor", doctor, 40_960, 400),
    target("configuration", configuration, 16_384, 400),
    target("struct", proto_struct, 4_096, 400),
    claiming(target("snapshot", snapshot, 4_096, 400)),
    target("snapshot-json", snapshot_json, 8_192, 400),
    claiming(target("slot", slot, 4_096, 400)),
    target("tray", tray, 8_192, 400),
    target("prometheus", prometheus, 8_192, 100),
    target("query", prometheus_query, 8_192, 400),
    target("clusters", clusters, 8_192, 100),
    target("report", substrate_report, 8_192, 400),
    target("answer", answer_headers, 4_096, 400),
    target("request", request, 8_192, 100),
    target("body", body, 8_192, 100),
    target("log", log_line, 4_096, 400),
];

fn policy_json(bytes: &[u8]) {
    if let Ok(node) = json::parse(bytes) {
        let text = canonical(&node);
        let again = json::parse(text.as_bytes()).unwrap();
        assert_eq!(canonical(&again), text, "the canonical form is its own");
        assert_eq!(Digest::of(&again), Digest::of(&node));
    }
    match read_json(bytes) {
        Ok(checked) => {
            let digest = checked.digest.short();
            let policy = Policy::new(checked.document, checked.digest.0);
            assert!(policy.label().contains(&digest));
        }
        Err(errors) => said(&errors),
    }
}

/// What is wrong is said, and not at any length.
fn said(errors: &[berth::policy::InvalidPolicy]) {
    assert!(!errors.is_empty(), "refused without a reason");
    for error in errors {
        assert!(error.to_string().len() < 2_000, "{error}");
    }
}

fn policy_yaml(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    match read_yaml(text) {
        Ok(checked) => {
            let node = berth::policy::yaml::parse(text).unwrap().node;
            let as_json = read_json(canonical(&node).as_bytes()).unwrap();
            assert_eq!((as_json.digest, as_json.document), (checked.digest, checked.document), "the same as JSON");
        }
        Err(errors) => said(&errors),
    }
}

thread_local! {
    static STARTER: OnceCell<Policy> = const { OnceCell::new() };
}

const STARTER_TEXT: &str = include_str!("../../policies/starter.yaml");

fn with_starter<T>(what: impl FnOnce(&Policy) -> T) -> T {
    STARTER.with(|starter| {
        what(starter.get_or_init(|| {
            let checked = read_yaml(STARTER_TEXT).unwrap();
            Policy::new(checked.document, checked.digest.0)
        }))
    })
}

fn policy_cases(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    with_starter(|policy| {
        if let Err(errors) = cases::read(text, policy.document()) {
            said(&errors);
        }
    });
}

fn scenario(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Err(errors) = berth::simulate::read(text) {
        said(&errors);
    }
}

/// A deployment file beside the starter policy: what is accepted is rendered for every target, the same each time.
fn deployment_file(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let read = match deployment::read(text) {
        Ok(read) => read,
        Err(errors) => return said(&errors),
    };
    let file = berth::policy::yaml::parse(text).unwrap();
    let node = berth::policy::yaml::parse(STARTER_TEXT).unwrap().node;
    with_starter(|policy| {
        let subject = Subject {
            deployment: &read,
            policy: policy.document(),
            text: STARTER_TEXT,
            node: &node,
            label: policy.label(),
        };
        let mistakes = subject.mistakes(&file.node);
        if !mistakes.is_empty() {
            return said(&mistakes);
        }
        subject.suspicious(&file.node, true).iter().for_each(|warning| assert!(warning.to_string().len() < 2_000));
        for render in RENDERED {
            match render(&subject) {
                Ok(files) => {
                    assert!(!files.is_empty() && files.iter().all(|file| !file.text.is_empty()));
                    assert_eq!(render(&subject).as_ref(), Ok(&files), "the same each time");
                }
                Err(why) => assert!(!why.is_empty() && why.len() < 2_000, "{why}"),
            }
        }
    });
}

/// How one target is rendered.
type Rendering = fn(&Subject<'_>) -> Result<Vec<File>, String>;

const RENDERED: [Rendering; 5] = [
    target::envoy::whole,
    target::envoy::discovered,
    target::istio::render,
    target::gateway::render,
    target::kustomize::render,
];

/// What a proxy says of itself, in one document, alone and beside another proxy.
fn doctor(bytes: &[u8]) {
    let Ok(mut all) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let mut part = |name: &str| all.get_mut(name).map(serde_json::Value::take).unwrap_or_default();
    let patient = Patient { name: String::from("a"), dump: part("dump"), stats: part("stats"), server: part("server") };
    let other = Patient { name: String::from("b"), dump: patient.stats.clone(), ..patient.clone() };
    let findings = examine(core::slice::from_ref(&patient));
    assert_eq!(examine(core::slice::from_ref(&patient)), findings, "the same each time");
    assert!(findings.iter().all(|finding| finding.proxy == "a" && !finding.what.is_empty()));
    assert!(!policies(&patient).is_empty() || !findings.is_empty(), "nothing to place by, and all is well");
    let both = examine(&[patient, other]);
    assert!(findings.iter().all(|finding| both.contains(finding)), "another proxy does not make this one well");
}

fn configuration(bytes: &[u8]) {
    if let Err(line) = config::parse(bytes) {
        assert!(!line.is_empty() && !line.contains('\n'), "one line: {line}");
    }
}

fn proto_struct(bytes: &[u8]) {
    if let Some(text) = wire_struct::to_json(bytes) {
        assert!(json::parse(text.as_bytes()).is_ok() || text.len() > 1 << 20 || has_odd_number(&text), "{text}");
    }
}

/// Numbers that are legal to JSON and refused by policies, and depth, are the next reader's to refuse.
fn has_odd_number(text: &str) -> bool {
    json::parse(text.as_bytes()).is_err() && serde_json::from_str::<serde_json::Value>(text).is_ok()
}

/// The payload in a frame that is right, so that what is behind the checksum is reached.
fn framed(good: &[u8], payload: &[u8]) -> Vec<u8> {
    const CHECKED: core::ops::Range<usize> = 4..10;
    let mut bytes = good[..6].to_vec();
    bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[CHECKED]);
    hasher.update(payload);
    bytes.extend(hasher.finalize().to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn snapshot(bytes: &[u8]) {
    let good = codec::encode(&Snapshot::default());
    for bytes in [bytes.to_vec(), framed(&good, bytes)] {
        if let Ok(read) = codec::decode(&bytes) {
            assert_eq!(codec::decode(&codec::encode(&read)).as_ref(), Ok(&read), "read, written and read again");
            let text = picture::write(&read);
            if let Ok(from_text) = picture::read(text.as_bytes()) {
                assert_eq!(from_text, read, "and as JSON");
            }
            with_starter(|policy| {
                let facts = berth::model::Facts::default();
                let _ = berth::place::place(policy, Some(&read), &Local::default(), &facts, NOW_MS, 1);
            });
        }
    }
}

fn snapshot_json(bytes: &[u8]) {
    if let Ok(read) = picture::read(bytes) {
        let text = picture::write(&read);
        assert_eq!(picture::read(text.as_bytes()).as_ref(), Ok(&read), "read, written and read again");
        let encoded = codec::encode(&read);
        if encoded.len() <= berth::health::MOST_BYTES {
            assert_eq!(codec::decode(&encoded).as_ref(), Ok(&read), "and as bytes");
        }
    }
}

fn slot(bytes: &[u8]) {
    let good = codec::encode_slot(&berth::health::slot::SlotRecord::default());
    for bytes in [bytes.to_vec(), framed(&good, bytes)] {
        if let Ok(read) = codec::decode_slot(&bytes) {
            assert_eq!(codec::decode_slot(&codec::encode_slot(&read)).as_ref(), Ok(&read));
        }
    }
}

fn tray(bytes: &[u8]) {
    let good = Tray::default().to_bytes();
    for bytes in [bytes.to_vec(), framed(&good, bytes)] {
        if let Ok(read) = Tray::parse(&bytes) {
            let again = Tray::parse(&read.to_bytes()).unwrap();
            assert_eq!(again.to_bytes(), read.to_bytes());
        }
    }
}

/// What was heard is within what its signal can be.
fn believable(heard: &Heard) {
    for (signal, reading) in &heard.readings {
        assert!(reading.at_ms <= NOW_MS, "{} is from the future", signal.as_str());
    }
}

fn prometheus(bytes: &[u8]) {
    for name in ["vllm", "dcgm", "node"] {
        let mappings = presets::preset(name).unwrap();
        let (mut before, mut same) = (Vec::new(), Vec::new());
        let mut whole = Scrape::new(&mappings);
        whole.feed(bytes);
        let whole = whole.finish(&mut before, NOW_MS);
        let mut pieces = Scrape::new(&mappings);
        bytes.chunks(7).for_each(|piece| pieces.feed(piece));
        let pieces = pieces.finish(&mut same, NOW_MS);
        assert_eq!(whole, pieces, "the pieces in which it comes do not matter");
        whole.iter().for_each(believable);
    }
}

fn prometheus_query(bytes: &[u8]) {
    if let Some((all, _)) = query::parse(bytes, &Labels::default(), NOW_MS) {
        all.iter().for_each(|(_, heard)| believable(heard));
    }
}

fn clusters(bytes: &[u8]) {
    let read = |size: usize| {
        let (mut clusters, mut seen) = (Clusters::default(), Vec::new());
        for piece in bytes.chunks(size) {
            clusters.feed(piece, &mut |name, hosts| seen.push((name.to_vec(), hosts)));
        }
        (clusters.is_whole(), seen)
    };
    assert_eq!(read(usize::MAX), read(3), "the pieces in which it comes do not matter");
}

fn substrate_report(bytes: &[u8]) {
    match report::parse(bytes, NOW_MS) {
        Some(reports) => reports.iter().for_each(|report| believable(&report.heard)),
        None => assert!(!report::complaint(bytes).is_empty()),
    }
}

/// The first byte says of which form: the value of a header, or all headers of an answer, a line each.
fn answer_headers(bytes: &[u8]) {
    let said = |list: &[(Signal, i64)]| list.iter().for_each(|(_, value)| assert!(*value != i64::MIN));
    said(&orca::parse(bytes).said);
    said(&orca::parse_binary(bytes).said);
    said(&orca::parse(&[b"BIN ", bytes].concat()).said);
    let lines = bytes.split(|b| *b == b'\n').filter_map(|line| {
        let colon = line.iter().skip(1).position(|b| *b == b':')? + 1;
        Some((&line[..colon], &line[colon + 1..]))
    });
    let answer = answer::read(lines, NOW_MS);
    let _ = answer.meaning();
}

fn sources() -> Sources {
    let source = |fact, header: &str, trusted| Source { fact, header: header.into(), trusted };
    Sources {
        facts: vec![
            source(FactName::Tenant, "x-tenant", true),
            source(FactName::Data, "x-data", true),
            source(FactName::Model, "x-model", false),
            source(FactName::InputTokens, "x-tokens", false),
            source(FactName::Session, "x-session", false),
            source(FactName::Deadline, "x-deadline", false),
        ],
        features: Some("x-needs".into()),
        idempotency: Some("idempotency-key".into()),
        predicates: vec![("x-workload".into(), true)],
        ..Sources::default()
    }
}

/// A header map as it is, and the same bytes as lines of headers.
fn request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(": ")).take(100).collect();
    let encoded = Headers::encode(&lines);
    for map in [bytes.to_vec(), encoded] {
        let (headers, sources) = (Headers::new(map), sources());
        let found = sources.read(&headers);
        if let Some(budget) = found.budget {
            let _ = Told::read(budget);
        }
        let facts = found.facts();
        with_starter(|policy| {
            let decision = berth::place::place(policy, None, &Local::default(), &facts, NOW_MS, 7);
            let again = berth::place::place(policy, None, &Local::default(), &facts, NOW_MS, 7);
            assert_eq!(decision, again);
        });
    }
    let _ = Told::read(&text);
}

fn body(bytes: &[u8]) {
    let whole = Body::read(bytes, Some("data_class"));
    assert_eq!(whole, Body::read(bytes, Some("data_class")));
    // It says the same if it comes in pieces.
    let mut pieces = Body::default();
    [bytes.len() / 3, bytes.len() / 2, bytes.len()]
        .iter()
        .for_each(|&end| pieces.read_on(&bytes[..end], Some("data_class")));
    assert_eq!(pieces, whole);
    // A shorter piece never panics, and has not ended where the whole has not.
    for at in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        assert!(!Body::read(&bytes[..at], Some("data_class")).ended || whole.ended);
    }
}

fn log_line(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(line) = Line::parse(text) {
        assert!(line.differences(&line).is_empty());
        let _ = (line.sentences(), line.names().count());
    }
    if let Ok(replay) = Replay::parse(text) {
        with_starter(|policy| {
            if let Ok(resolved) = replay.resolve(policy) {
                let headers = resolved.headers();
                let _ = berth::place::place(
                    policy,
                    None,
                    &replay.local,
                    &resolved.facts(&headers),
                    replay.now_ms,
                    replay.seed,
                );
            }
        });
    }
}
