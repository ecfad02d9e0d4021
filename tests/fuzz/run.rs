//! One target under libFuzzer: `FUZZ_TARGET=policy-json fuzz FOLDER…`.
#![no_main]

mod corpus;
mod seeds;
#[allow(dead_code, reason = "how much memory is held is looked at by the bounded run")]
mod targets;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fn chosen() -> &'static targets::Target {
    static CHOSEN: OnceLock<&targets::Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        targets::TARGETS.iter().find(|target| target.name == name).expect("FUZZ_TARGET names a target")
    })
}

fuzz_target!(init: corpus::serve(), |bytes: &[u8]| (chosen().run)(bytes));
