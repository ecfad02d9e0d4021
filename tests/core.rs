//! The core gives the same bytes natively and in WebAssembly: these tests run in both, natively with the others and
//! under Node with wasm-bindgen-test, against the same expectations.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use berth::{
    filter::Headers,
    model::{Attestation, Fact, Facts, Health, Local, Reading, Signal, Snapshot, WHOLE_PPM},
    place::{Placer, record::record},
    policy::{Digest, Policy, decimal, json, read_json},
};
use sha2::{Digest as _, Sha256};
#[cfg(not(target_family = "wasm"))]
use std::prelude::rust_2024::test as everywhere;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as everywhere;

/// The same numbers on every machine (SplitMix64).
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 0_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// A short fingerprint of many texts.
fn fingerprint(texts: impl Iterator<Item = String>) -> String {
    let mut hash = Sha256::new();
    texts.for_each(|text| hash.update(format!("{text}\n")));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[everywhere]
fn a_document_has_one_digest_however_it_is_written() {
    let digest = |text: &str| Digest::of(&json::parse(text.as_bytes()).unwrap()).short();
    assert_eq!(digest(r#"{"berth": 1, "share": 0.25, "name": "é"}"#), "79d78775");
    assert_eq!(digest(r#"{"name":"\u00e9","share":25e-2,"berth":1.0}"#), "79d78775");
}

#[everywhere]
fn numbers_are_written_with_the_same_digits() {
    let floats = numbers().map(f64::from_bits).filter(|number| number.is_finite()).take(10_000);
    assert_eq!(fingerprint(floats.map(decimal::es6)), "cd70829881c5d678");
}

#[everywhere]
fn decimals_become_the_same_integers() {
    let decimals = numbers().take(10_000).map(|bits| (bits % 2_000_000) as f64 / WHOLE_PPM as f64);
    assert_eq!(fingerprint(decimals.map(|number| format!("{:?}", decimal::scaled(number, 6)))), "46c07677cbb0aea4");
}

#[everywhere]
fn header_maps_are_read_as_they_were_written() {
    let pairs = [("x-tenant", "acme"), ("x-empty", ""), ("x-tenant", "second")];
    let headers = Headers::new(Headers::encode(&pairs));
    assert_eq!((headers.get("x-tenant"), headers.get("x-empty"), headers.get("x")), (Some("acme"), Some(""), None));
    assert_eq!(headers.iter().count(), 3);
}

/// A policy of the library as canonical JSON: the YAML reader is the tool's alone.
macro_rules! library {
    ($($name:literal)+) => { [$(($name, include_str!(concat!("golden/policies/", $name, ".json")))),+] };
}

const LIBRARY: [(&str, &str); 7] = library! {
    "agentic-production" "cost-first-batch" "edge-first" "mesh-today" "regulated-health" "sovereign-eu" "starter"
};

/// What becomes of the library, one line a policy and a decision: the same text in every world.
fn world() -> String {
    let mut out = String::new();
    for (name, text) in LIBRARY {
        let checked = read_json(text.as_bytes()).unwrap();
        let document = fingerprint(std::iter::once(format!("{:?}", checked.document)));
        out += &format!("{name} digest {} document {document}\n", checked.digest.short());
        let policy = Policy::new(checked.document, checked.digest.0);
        decisions(&policy, &mut out);
    }
    out
}

const NOW_MS: u64 = 1_800_000_000_000;

/// A few requests without a picture, and many with one whose numbers come from the same generator.
fn decisions(policy: &Policy, out: &mut String) {
    let snapshot = picture(policy, &mut numbers());
    let mut placer = Placer::new(policy);
    let mut placed = Vec::new();
    let words = ["/v1/chat/completions", "/v1/batches", "/safety/stop", "/"];
    for (i, draw) in numbers().take(200).enumerate() {
        placer.refresh((i >= 4).then_some(&snapshot), NOW_MS);
        let pick = |list: &[&'static str], by: u64| list[usize::try_from(by % list.len() as u64).unwrap()];
        let fact = |value| Some(Fact { value, trusted: draw & 1 == 0 });
        let headers =
            [("x-workload", Fact::trusted(pick(&["chat", "batch", "edge", "bedside", "nightly"], draw >> 8)))];
        let facts = Facts {
            tenant: fact(pick(&["acme", "globex", "initech", "analytics"], draw >> 16)),
            data: fact(pick(&["public", "personal", "phi", "secret"], draw >> 24)),
            path: Some(Fact::trusted(pick(&words, draw >> 32))),
            streaming: Some(Fact::claimed(draw & 2 == 0)),
            zone: Some(Fact::trusted(pick(&["par-1", "fra-1", "use1-a", "plant-1"], draw >> 40))),
            content_bytes: Some(draw >> 52),
            headers: &headers[..usize::from(draw & 4 == 0)],
            ..Facts::default()
        };
        let decision = placer.place(&Local::default(), &facts, NOW_MS, draw);
        placed.push(format!("{} {decision:?}", record(policy, &decision)));
        if i % 50 < 2 {
            *out += &format!("  {}\n", record(policy, &decision));
        }
    }
    *out += &format!("  all {}\n", fingerprint(placed.into_iter()));
}

fn picture(policy: &Policy, numbers: &mut impl Iterator<Item = u64>) -> Snapshot {
    let mut record = |s: &berth::model::Substrate| {
        let mut health = Health::unknown(s.name.as_str());
        for signal in Signal::ALL {
            let draw = numbers.next().unwrap();
            let (least, most) = signal.bounds();
            // Small values, where thresholds lie, and not all signals.
            let value = (least + i64::try_from(draw >> 32).unwrap() % 400_000).min(most);
            if draw & 7 == 0 {
                health.set(signal, Reading { value, at_ms: NOW_MS - (draw & 0xfff) });
            }
        }
        let at_ms = NOW_MS - 60_000;
        health.attestation = Some(Attestation { jurisdiction: s.location.jurisdiction, at_ms });
        health
    };
    let substrates = policy.document().substrates.iter().map(&mut record).collect();
    Snapshot { writer: 1, epoch: 4812, at_ms: NOW_MS - 700, interval_ms: 1_000, slots: 2, substrates }
}

#[everywhere]
fn the_library_compiles_to_the_same_documents_and_decides_the_same() {
    let actual = world();
    #[cfg(not(target_family = "wasm"))]
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/world.txt"), &actual).unwrap();
        return;
    }
    assert_eq!(actual, include_str!("golden/world.txt"), "BLESS=1 rewrites it, natively");
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn the_library_as_json_is_what_its_yaml_says() {
    use berth::policy::{canonical::canonical, yaml};
    for (name, text) in LIBRARY {
        let root = env!("CARGO_MANIFEST_DIR");
        let yaml = std::fs::read_to_string(format!("{root}/policies/{name}.yaml")).unwrap();
        let json = canonical(&yaml::parse(&yaml).unwrap().node) + "\n";
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(format!("{root}/tests/golden/policies/{name}.json"), json).unwrap();
        } else {
            assert_eq!(text, json, "{name} (BLESS=1 rewrites it)");
        }
    }
}
