//! What may be linked: licences from the list in `.deny.toml`, and versions that are pinned on purpose.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The packages that are built for this machine.
fn packages() -> Vec<Value> {
    let platform = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let platform = String::from_utf8(platform).unwrap();
    let platform = platform.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let cargo = std::env::var("CARGO").unwrap();
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", platform];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let built: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let all = metadata["packages"].as_array().unwrap();
    all.iter().filter(|package| built.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// The strings of the list `allow` in `.deny.toml`.
fn permitted() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(".deny.toml")).unwrap();
    let list = text.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    list.split(',').map(|word| word.trim().trim_matches('"').to_owned()).filter(|word| !word.is_empty()).collect()
}

/// Whether an SPDX expression can be met with permitted licences: every part joined by AND, one of those by OR.
fn met(expression: &str, permitted: &BTreeSet<String>) -> bool {
    let flat = expression.replace(" / ", " OR ").replace('/', " OR ");
    let alternatives = |part: &str| {
        part.split(" OR ").any(|licence| permitted.contains(licence.trim_matches(|c: char| "() ".contains(c))))
    };
    flat.split(" AND ").all(alternatives)
}

#[test]
fn every_dependency_has_a_permitted_licence() {
    let permitted = permitted();
    let packages = packages();
    assert!(packages.len() > 20, "the packages were found");
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(met(licence, &permitted), "{} is licensed under {licence}", package["name"]);
    }
}

#[test]
fn a_licence_must_be_met_in_all_its_parts() {
    let permitted = ["MIT".to_owned(), "Unicode-3.0".to_owned()].into();
    assert!(met("(MIT OR GPL-3.0) AND Unicode-3.0", &permitted));
    assert!(met("Apache-2.0/MIT", &permitted));
    assert!(!met("MIT AND GPL-3.0", &permitted));
    assert!(!met("GPL-3.0", &permitted));
}

#[test]
fn the_finished_codec_stays_where_it_was_looked_at() {
    let found = packages().into_iter().find(|package| package["name"] == "bincode").unwrap();
    assert_eq!(found["version"], "2.0.1", "a newer bincode is another, empty crate");
}
