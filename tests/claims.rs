//! Every promise that a document makes names the test that holds it, and that test is there: a row without one, or one
//! that names a test that was renamed or taken out, fails here.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use berth::model::Code;
use std::{fs, path::Path};

/// The documents whose tables promise something, how these tables begin, and at least how many rows they have.
const DOCUMENTS: [(&str, &str, usize); 3] = [
    ("envoy/faults.md", "| fault |", 30),
    ("envoy/faults.md", "| what is bounded |", 50),
    (".github/SECURITY.md", "| threat |", 12),
];

/// How a row says that nothing holds it.
const RESIDUAL: &str = "*residual:*";
/// What makes a function a test.
const MARKS: [&str; 3] = ["#[test]", "#[tokio::test", "#[everywhere]"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands in backticks and looks like `file.rs::function`.
fn tests_named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|word| word.split_once("::")).filter(|(file, _)| file.ends_with(".rs")).collect()
}

/// Whether a file has a test of that name: a function under an attribute or in a block that makes it one.
fn has_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let here = line.starts_with(&function) || line.starts_with(&format!("async {function}"));
        let attributes = lines.iter().take(at).rev().take_while(|l| l.starts_with("#[") || l.starts_with("///"));
        here && attributes.into_iter().any(|l| MARKS.iter().any(|mark| l.starts_with(mark)))
    })
}

/// What is wrong with the promises of a text; `read` gives a source by its path.
fn wrong(text: &str, table: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (file, name) in tests_named(text) {
        let path = if file.starts_with("src/") { file.to_string() } else { format!("tests/{file}") };
        match read(&path) {
            None => found.push(format!("`{file}::{name}`: there is no {path}")),
            Some(source) if !has_test(&source, name) => found.push(format!("`{file}::{name}`: no such test")),
            Some(_) => {}
        }
    }
    // A threat may also be left standing, if that is said.
    let unproven = rows(text, table).into_iter().filter(|row| tests_named(row).is_empty() && !row.contains(RESIDUAL));
    found.extend(unproven.map(|row| format!("a row without a test: {row}")));
    found
}

/// The rows of all tables that begin so.
fn rows<'a>(text: &'a str, table: &str) -> Vec<&'a str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let begins = line.starts_with(table);
        inside = begins || (inside && line.starts_with('|'));
        if inside && !begins && !line.starts_with("| ---") {
            found.push(line);
        }
    }
    found
}

/// From the record alone one can tell what fails: each code has a row, with what it means and what it is a sign of.
#[test]
fn every_reason_is_a_sign_of_a_rule_an_overload_or_a_dependency() {
    let text = fs::read_to_string(root().join("envoy/faults.md")).unwrap();
    let written: Vec<Vec<&str>> =
        rows(&text, "| reason |").iter().map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let means = |code: Code| {
        let text = code.meaning().split_whitespace().collect::<Vec<_>>().join(" ");
        match (text.find(" (needed"), text.rfind(')')) {
            (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to + 1..]),
            _ => text,
        }
    };
    assert_eq!(written.len(), Code::ALL.len());
    for (row, code) in written.iter().zip(Code::ALL) {
        let name = format!("`{}/{}`", code.dimension().as_str(), code.as_str());
        assert_eq!(row[..2], [name.as_str(), &means(*code)]);
        assert!(["rule", "overload", "dependency"].contains(&row[2]), "{name}: {}", row[2]);
    }
}

#[test]
fn the_table_of_tests_has_every_file() {
    let table = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let sources = |folder: &str| {
        let entries = fs::read_dir(root().join("tests").join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".rs")).map(|name| format!("{folder}{name}")).collect::<Vec<_>>()
    };
    let files = [sources(""), sources("e2e/")].concat();
    assert!(files.len() > 40, "{files:?}");
    let missing: Vec<_> = files.iter().filter(|file| !table.contains(&format!("`{file}`"))).collect();
    assert!(missing.is_empty(), "tests/README.md does not speak of {missing:?}");
}

#[test]
fn every_promise_names_a_test_that_there_is() {
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    for (document, table, least) in DOCUMENTS {
        let text = read(document).unwrap();
        let wrong = wrong(&text, table, &read);
        assert!(wrong.is_empty(), "{document}:\n{}", wrong.join("\n"));
        let rows = rows(&text, table).len();
        assert!(rows >= least, "{document} has {rows} rows, {least} are expected");
    }
}

#[test]
fn a_promise_that_nothing_holds_is_noticed() {
    let source = "#[test]\nfn it_holds() {}\n\nfn helper() {}\n#[tokio::test]\nasync fn it_holds_too() {}\n";
    let read = |path: &str| (path == "tests/a.rs").then(|| source.to_string());
    let row = |said: &str| format!("| fault | shown by |\n| --- | --- |\n| it rains | {said} |\n");
    for good in ["`a.rs::it_holds`", "`a.rs::it_holds_too`, `a.rs::it_holds`"] {
        assert_eq!(wrong(&row(good), "| fault |", &read), Vec::<String>::new());
    }
    for bad in ["`a.rs::helper`", "`a.rs::it_hold`", "`b.rs::it_holds`", "nothing", "it_holds"] {
        assert_eq!(wrong(&row(bad), "| fault |", &read).len(), 1, "{bad}");
    }
}
