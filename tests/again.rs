//! When `.ci/e2e` runs tests again: only those that were held up, only if none failed that was not, and twice at most.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what goes wrong here fails the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Stands in for cargo: says the next of `runs` and ends as it says, and writes down what it was asked.
const CARGO: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/asked"
run=$(wc -l < "$here/asked")
cat "$here/run-$run"
! grep -q '^---- ' "$here/run-$run"
"#;

/// A run in which these failed, and whether each was held up.
fn run(failed: &[(&str, bool)]) -> String {
    let each = failed.iter().map(|(name, held)| {
        format!("---- {name} stdout ----\nassertion failed\n{}\n", if *held { "held up: for 300ms" } else { "" })
    });
    each.collect::<String>() + "test result\n"
}

/// Whether all is well in the end, and which tests each run was asked for.
fn runs(name: &str, runs: &[String]) -> (bool, Vec<String>) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("again-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    for (n, run) in (1..).zip(runs) {
        fs::write(dir.join(format!("run-{n}")), run).unwrap();
    }
    let cargo = dir.join("cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/e2e");
    let done = Command::new(script).env("CARGO", &cargo).output().unwrap();
    let asked = fs::read_to_string(dir.join("asked")).unwrap();
    fs::remove_dir_all(dir).unwrap();
    let of = |line: &str| line.split_once("--test-threads=1").unwrap().1.trim().replacen("--exact ", "", 1);
    (done.status.success(), asked.lines().map(of).collect())
}

fn asked(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn only_what_was_held_up_is_run_again() {
    let (good, a) = (run(&[]), run(&[("x::a", true)]));
    assert_eq!(runs("good", std::slice::from_ref(&good)), (true, asked(&[""])));
    assert_eq!(
        runs("once", &[run(&[("x::a", true), ("x::b", true)]), good.clone()]),
        (true, asked(&["", "x::a x::b"]))
    );
    assert_eq!(runs("twice", &[a.clone(), a.clone(), good.clone()]), (true, asked(&["", "x::a", "x::a"])));
    assert_eq!(runs("thrice", &[a.clone(), a.clone(), a.clone()]), (false, asked(&["", "x::a", "x::a"])));
    // It was not held up, or another one was not: what failed has failed.
    let b = run(&[("x::b", false)]);
    assert_eq!(runs("there", std::slice::from_ref(&b)), (false, asked(&[""])));
    assert_eq!(runs("another", &[run(&[("x::a", true), ("x::b", false)])]), (false, asked(&[""])));
    assert_eq!(runs("then", &[a, b]), (false, asked(&["", "x::a"])));
    let names: Vec<_> = (0..11).map(|n| format!("x::t{n:02}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), true)).collect();
    assert_eq!(runs("many", &[run(&all)]), (false, asked(&[""])));
    assert!(runs("ten", &[run(&all[..10]), good]).0);
}
