//! The policy as its authors meet it: whole documents, whole answers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use berth::policy::{read_json, read_yaml};
use std::{fs, path::Path};

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn policies() -> Vec<(String, String)> {
    let mut all: Vec<_> = fs::read_dir(root("policies"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn every_policy_of_the_library_compiles_without_a_warning() {
    for (name, text) in policies() {
        match read_yaml(&text) {
            Err(errors) => panic!("{name}: {}", errors.iter().map(|e| format!("\n{e}")).collect::<String>()),
            Ok(checked) => assert_eq!(checked.warnings, [], "{name}"),
        }
    }
}

#[test]
fn a_policy_is_the_same_as_yaml_and_as_json() {
    use berth::policy::{canonical, yaml};
    for (name, text) in policies() {
        let json = canonical::canonical(&yaml::parse(&text).unwrap().node);
        let (from_yaml, from_json) = (read_yaml(&text).unwrap(), read_json(json.as_bytes()).unwrap());
        assert!(from_yaml.document == from_json.document, "{name}");
        assert_eq!(from_yaml.digest, from_json.digest, "{name}");
    }
}
