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

/// Why a document is refused, one line an error.
fn problems(name: &str, text: &str) -> String {
    let result = if name.ends_with(".json") { read_json(text.as_bytes()) } else { read_yaml(text) };
    let found = result.err().unwrap_or_default();
    found.iter().map(|p| format!("{} {p}\n", p.at.map_or_else(|| "-".into(), |at| at.to_string()))).collect()
}

fn same_as_golden(path: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(actual, expected, "{} (BLESS=1 rewrites it)", path.display());
}

#[test]
fn every_broken_document_is_refused_with_the_errors_written_next_to_it() {
    let mut count = 0;
    for entry in fs::read_dir(root("tests/bad")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".txt") {
            continue;
        }
        let said = problems(name, &fs::read_to_string(&path).unwrap());
        assert!(!said.is_empty(), "{name} is not refused");
        same_as_golden(&path.with_extension("txt"), &said);
        count += 1;
    }
    assert!(count >= 60, "{count}");
}

#[test]
fn the_reference_is_what_the_schema_and_the_codes_say() {
    same_as_golden(&root("policies/README.md"), &berth::policy::reference::reference());
}

mod mutations {
    use super::*;
    use proptest::prelude::*;

    /// One careless edit of a text.
    #[derive(Clone, Debug)]
    enum Edit {
        DropLine(usize),
        DoubleLine(usize),
        SwapLines(usize, usize),
        DropChars(usize, usize),
        Put(usize, &'static str),
        Indent(usize),
    }

    const STUFF: [&str; 24] = [
        "0",
        "-1",
        "1e9",
        "null",
        "true",
        "NO",
        "\"\"",
        "[",
        "]",
        "{",
        "}",
        ": ",
        ",",
        "#",
        "&a ",
        "*a",
        "!!str ",
        "\t",
        "é",
        "\u{0}",
        "- ",
        "---\n",
        "9007199254740993",
        "${x}",
    ];

    fn edit() -> impl Strategy<Value = Edit> {
        let any = || 0..100_000_usize;
        prop_oneof![
            any().prop_map(Edit::DropLine),
            any().prop_map(Edit::DoubleLine),
            (any(), any()).prop_map(|(a, b)| Edit::SwapLines(a, b)),
            (any(), 1..20_usize).prop_map(|(at, n)| Edit::DropChars(at, n)),
            (any(), 0..STUFF.len()).prop_map(|(at, i)| Edit::Put(at, STUFF[i])),
            any().prop_map(Edit::Indent),
        ]
    }

    fn apply(text: &str, edit: &Edit) -> String {
        let mut lines: Vec<&str> = text.lines().collect();
        let indented;
        let n = lines.len().max(1);
        match edit {
            Edit::DropLine(i) => drop(lines.remove(i % n)),
            Edit::DoubleLine(i) => lines.insert(i % n, lines[i % n]),
            Edit::SwapLines(a, b) => lines.swap(a % n, b % n),
            Edit::Indent(i) => {
                indented = format!("  {}", lines[i % n]);
                lines[i % n] = &indented;
            }
            Edit::DropChars(at, count) => {
                let chars: Vec<char> = text.chars().collect();
                let at = at % chars.len().max(1);
                return chars.iter().take(at).chain(chars.iter().skip(at + count)).collect();
            }
            Edit::Put(at, stuff) => {
                let at = at % text.chars().count().max(1);
                return text.chars().take(at).chain(stuff.chars()).chain(text.chars().skip(at)).collect();
            }
        }
        lines.join("\n") + "\n"
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_mutated_policy_compiles_or_is_refused_with_a_place(
            which in 0..64_usize,
            edits in proptest::collection::vec(edit(), 1..4),
        ) {
            let all = policies();
            let (name, text) = &all[which % all.len()];
            let mutated = edits.iter().fold(text.clone(), |text, edit| if text.is_empty() { text } else { apply(&text, edit) });
            if let Err(errors) = read_yaml(&mutated) {
                prop_assert!(!errors.is_empty(), "{} was refused in silence", name);
                let named = errors.iter().any(|e| e.at.is_some() || !e.path.is_empty());
                prop_assert!(named, "{}: no place in {:?}", name, errors);
            }
        }

        #[test]
        fn any_bytes_as_json_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Err(errors) = read_json(&bytes) {
                prop_assert!(!errors.is_empty());
            }
        }
    }
}
