//! The core gives the same bytes natively and in WebAssembly: these tests run in both, natively with the others and
//! under Node with wasm-bindgen-test, against the same expectations.

use berth::{
    filter::Headers,
    model::WHOLE_PPM,
    policy::{Digest, decimal, json},
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
