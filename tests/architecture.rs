//! Reads the sources and holds the directions of the house: who may name whom, what the core may not name, where the
//! few dangerous things live. Test modules at the end of a file are apart.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

#[path = "architecture/source.rs"]
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use source::Source;

/// Every room, and the rooms that it may name besides itself.
const DIRECTIONS: [(&str, &[&str]); 11] = [
    ("model", &[]),
    ("cold", &["model", "policy"]),
    ("policy", &["model"]),
    ("place", &["model", "policy"]),
    ("health", &["model"]),
    ("explain", &["model", "policy", "place"]),
    ("manifest", &["model", "policy"]),
    ("simulate", &["model", "policy", "place", "health"]),
    ("filter", &["model", "policy", "place", "health"]),
    ("edge", &["model", "filter"]),
    ("bin", &["model", "policy", "place", "health", "explain", "manifest", "simulate"]),
];

/// The rooms that must give the same answer everywhere, whatever surrounds them.
const CORE: [&str; 4] = ["model", "policy", "place", "health"];

/// What the core may not name, as the beginnings of paths.
const SURROUNDINGS: [&str; 14] = [
    "proxy_wasm",
    "log",
    "rand",
    "getrandom",
    "std::time",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::sync",
    "std::hash::RandomState",
    "std::collections::hash_map::RandomState",
];

/// Keywords and macros of things that outlive a call, or reach out of it.
const OUTLIVING: [&str; 7] = ["static", "thread_local", "print", "println", "eprint", "eprintln", "dbg"];

/// Functions whose last digits differ between machines.
const INEXACT: [&str; 15] = [
    "exp", "exp2", "exp_m1", "ln", "ln_1p", "log", "log2", "log10", "powf", "powi", "sin", "cos", "tan", "tanh", "cbrt",
];

/// Beginnings of the names of the SDK's helpers, all of which panic on a status that they do not expect.
const HELPERS: [&str; 18] = [
    "get_http_",
    "set_http_",
    "add_http_",
    "remove_http_",
    "send_http_",
    "send_grpc_",
    "resume_http_",
    "reset_http_",
    "dispatch_http_call",
    "dispatch_grpc_",
    "get_shared_data",
    "set_shared_data",
    "get_property",
    "set_property",
    "get_plugin_configuration",
    "get_vm_configuration",
    "set_tick_period",
    "get_current_time",
];

const MOST_LINES: usize = 300;

/// Everything that is wrong with one file; `path` begins below `src/`.
fn complaints(path: &str, text: &str) -> Vec<String> {
    let source = Source::read(text);
    let room = path.split('/').next().filter(|_| path.contains('/')).unwrap_or("root");
    let mut found = Vec::new();
    directions(path, room, &source, &mut found);
    if CORE.contains(&room) {
        surroundings(&source, &mut found);
    }
    dangers(path, room, &source, &mut found);
    if source.lines > MOST_LINES {
        found.push(format!("{} lines, {MOST_LINES} at most", source.lines));
    }
    found.into_iter().map(|complaint| format!("src/{path}: {complaint}")).collect()
}

fn directions(path: &str, room: &str, source: &Source, found: &mut Vec<String>) {
    let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == room) else {
        if room != "root" {
            found.push(format!("no such room: {room}"));
        }
        return;
    };
    for named in source.paths.iter().filter_map(|segments| room_of(path, segments)) {
        let known = DIRECTIONS.iter().any(|(name, _)| *name == named);
        if known && named != room && !allowed.contains(&named) {
            found.push(format!("{room} names {named}"));
        }
    }
}

/// The room that a path leads to: from the root of the crate, by the crate's name, or upwards.
fn room_of<'a>(file: &str, segments: &'a [String]) -> Option<&'a str> {
    let up = segments.iter().take_while(|segment| *segment == "super").count();
    // `model/mod.rs` is one module below the root, `model/name.rs` two.
    let depth = file.split('/').count() - usize::from(file.ends_with("/mod.rs"));
    let at = match segments.first()?.as_str() {
        "crate" | "berth" => 1,
        "super" if up >= depth => up,
        _ => return None,
    };
    segments.get(at).map(String::as_str)
}

fn surroundings(source: &Source, found: &mut Vec<String>) {
    for segments in &source.paths {
        let path = segments.join("::");
        let reaches = |begin: &&&str| path.strip_prefix(**begin).is_some_and(|r| r.is_empty() || r.starts_with("::"));
        let outside = SURROUNDINGS.iter().find(reaches);
        // A lone word is a variable or a field, unless it is brought in by name.
        if let Some(outside) = outside.filter(|outside| segments.len() > 1 || outside.contains('_')) {
            found.push(format!("the core names {outside}"));
        }
    }
    let outliving = OUTLIVING.iter().filter(|word| source.words.iter().any(|w| w == *word));
    found.extend(outliving.map(|word| format!("the core uses {word}")));
    let inexact = INEXACT.iter().filter(|name| source.calls.iter().any(|call| call == *name));
    found.extend(inexact.map(|name| format!("the core calls {name}(), which is not exact")));
}

fn dangers(path: &str, room: &str, source: &Source, found: &mut Vec<String>) {
    let words = |word: &str| source.words.iter().any(|w| w == word);
    if words("unsafe") && path != "edge/abi.rs" {
        found.push("unsafe outside edge/abi.rs".into());
    }
    if words("bincode") && path != "health/codec.rs" {
        found.push("bincode outside health/codec.rs".into());
    }
    if words("saphyr_parser") && path != "policy/yaml.rs" && room != "bin" {
        found.push("saphyr_parser outside policy/yaml.rs".into());
    }
    if words("hostcalls") {
        found.push("hostcalls of the SDK".into());
    }
    if words("proxy_wasm") && room != "edge" {
        found.push("proxy_wasm outside edge".into());
    }
    let helpers = source.calls.iter().filter(|call| HELPERS.iter().any(|begin| call.starts_with(begin)));
    found.extend(helpers.map(|call| format!("calls the SDK's helper {call}()")));
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // A file of tests is a test module of its own.
        let of_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !of_tests {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !of_tests {
            into.push(path);
        }
    }
}

#[test]
fn the_house_keeps_its_directions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "the sources were found");
    let check = |file: &PathBuf| {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        complaints(&path, &fs::read_to_string(file).unwrap())
    };
    let found: Vec<String> = files.iter().flat_map(check).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Small files that break one rule each, and what must be said of them.
const BROKEN: [(&str, &str, &str); 24] = [
    ("model/name.rs", "use crate::policy::Policy;", "model names policy"),
    ("place/gate.rs", "use crate::{model::Name, health::Breaker};", "place names health"),
    ("health/mod.rs", "fn f() { crate::place::place() }", "health names place"),
    ("health/mod.rs", "use super::policy::Policy;", "health names policy"),
    ("policy/raw.rs", "use super::super::{model, place as p};", "policy names place"),
    ("policy/deep/raw.rs", "use super::super::super::filter;", "policy names filter"),
    ("bin/berth/main.rs", "use berth::filter::Host;", "bin names filter"),
    ("bin/berth/main.rs", "fn f() { berth::edge::go() }", "bin names edge"),
    ("edge/mod.rs", "use crate::place::place;", "edge names place"),
    ("cellar/mod.rs", "", "no such room: cellar"),
    ("place/mod.rs", "use std::time::Instant;", "the core names std::time"),
    ("place/mod.rs", "use std::{collections::BTreeMap, env};", "the core names std::env"),
    ("policy/mod.rs", "fn f() { std::fs::read(\"x\"); }", "the core names std::fs"),
    ("health/mod.rs", "fn f() { log::warn!(\"x\"); }", "the core names log"),
    ("model/mod.rs", "static mut COUNT: u32 = 0;", "the core uses static"),
    ("place/mod.rs", "fn f() { println!(\"x\"); }", "the core uses println"),
    ("health/ewma.rs", "fn f(x: f64) -> f64 { x.exp() }", "the core calls exp(), which is not exact"),
    ("health/ewma.rs", "fn f(x: f64) -> f64 { f64::powf(x, 2.5) }", "the core calls powf(), which is not exact"),
    ("filter/store.rs", "use bincode::config;", "bincode outside health/codec.rs"),
    ("manifest/mod.rs", "use saphyr_parser::Parser;", "saphyr_parser outside policy/yaml.rs"),
    ("edge/mod.rs", "fn f() { proxy_wasm::hostcalls::log(); }", "hostcalls of the SDK"),
    ("edge/mod.rs", "fn f(&self) { self.get_http_request_header(\"x\"); }", "get_http_request_header()"),
    ("filter/mod.rs", "use proxy_wasm::types::Action;", "proxy_wasm outside edge"),
    ("edge/mod.rs", "fn f() { unsafe { g() } }", "unsafe outside edge/abi.rs"),
];

#[test]
fn every_broken_direction_is_noticed() {
    for (path, text, expected) in BROKEN {
        let found = complaints(path, text);
        assert!(found.iter().any(|complaint| complaint.contains(expected)), "{path}: {text}: found {found:?}");
    }
}

/// What looks like a breach and is none.
const WHOLE: [(&str, &str); 9] = [
    ("place/mod.rs", "use crate::{model::{Name, Plan}, policy::Policy};"),
    ("place/mod.rs", "// crate::health and unsafe, in a comment\n/* std::time /* nested */ static */"),
    ("place/mod.rs", "const A: &str = \"use std::time; unsafe\"; const B: &str = r#\"\"log::x\"#;"),
    ("place/mod.rs", "fn f<'a>(x: &'static str, c: char) -> bool { c == '\"' || c == '\\'' }"),
    ("place/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::time::Instant; use crate::health; }"),
    ("model/facts.rs", "fn f(log: u32) -> u32 { let rand = log; rand }"),
    ("edge/abi.rs", "fn f() { unsafe { g() } }"),
    ("health/codec.rs", "use bincode::config;"),
    ("policy/yaml.rs", "use saphyr_parser::Parser; use super::tree::Node; use super::super::model::Name;"),
];

#[test]
fn what_is_permitted_is_left_alone() {
    for (path, text) in WHOLE {
        assert_eq!(complaints(path, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_file_that_grew_too_long_is_noticed_and_its_tests_do_not_count() {
    let code = "fn f() {}\n".repeat(MOST_LINES);
    let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert_eq!(complaints("model/mod.rs", &tests), Vec::<String>::new());
    assert_eq!(
        complaints("model/mod.rs", &format!("{code}fn g() {{}}\n")),
        ["src/model/mod.rs: 301 lines, 300 at most"]
    );
}
