//! The mutated copy: every mutant behind a switch, all in one build. What does not compile is found by the compiler and
//! left out, as no mutant.

use crate::hash;
use crate::operators::{Change, File, Mutant, Skipped, walk};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

pub struct Tree {
    pub mutants: Vec<Mutant>,
    pub skipped: Skipped,
    /// Mutants that do not compile.
    pub unfit: BTreeSet<usize>,
    /// Each file that is changed and what it is without the tests in it, in a number.
    pub files: BTreeMap<String, u64>,
    pub at: PathBuf,
    pub build: PathBuf,
}

/// The files whose code is changed.
fn mutated(path: &str) -> bool {
    let policy = ["src/policy/index.rs", "src/policy/permits.rs", "src/policy/narrow.rs"];
    path.ends_with(".rs")
        && (path.starts_with("src/place/") || path.starts_with("src/policy/index/") || policy.contains(&path))
}

/// The text with every mutant that is fit behind its switch. `changes` are sorted, outer ones first.
fn render(file: &File, unfit: &BTreeSet<usize>) -> String {
    let mut sorted: Vec<&(Range<usize>, Change)> = file.changes.iter().collect();
    // The order of the walk decides among those of the same range: it is kept.
    sorted.sort_by_key(|(range, _)| (range.start, core::cmp::Reverse(range.end)));
    let mut out = String::new();
    let mut rest = sorted.as_slice();
    within(&file.source, 0..file.source.len(), &mut rest, unfit, &mut out);
    assert!(rest.is_empty(), "{}: changes that overlap", file.path);
    out
}

fn within(
    source: &str,
    range: Range<usize>,
    rest: &mut &[&(Range<usize>, Change)],
    unfit: &BTreeSet<usize>,
    out: &mut String,
) {
    let mut at = range.start;
    while let Some((inner, change)) = rest.first().filter(|(inner, _)| inner.start >= at && inner.end <= range.end) {
        *rest = &rest[1..];
        out.push_str(&source[at..inner.start]);
        let mut text = String::new();
        within(source, inner.clone(), rest, unfit, &mut text);
        apply(change, &text, unfit, out);
        at = inner.end;
    }
    out.push_str(&source[at..range.end]);
}

/// Each alternative stands between marks, by which errors of the compiler are known.
fn apply(change: &Change, text: &str, unfit: &BTreeSet<usize>, out: &mut String) {
    let fit = |id: &usize| !unfit.contains(id);
    match change {
        Change::Instead(all) => {
            let all: Vec<_> = all.iter().filter(|(id, _)| fit(id)).collect();
            if all.is_empty() {
                out.push_str(text);
                return;
            }
            out.push('(');
            for (id, other) in all {
                let _ = write!(out, "if crate::mutant::is({id}) {{ /*<{id}*/{other}/*{id}>*/ }} else ");
            }
            let _ = write!(out, "{{ {text} }})");
        }
        Change::Guard { always, never } => {
            let _ = write!(out, "(crate::mutant::is({always}) || (!crate::mutant::is({never}) && ({text})))");
        }
        Change::Arm { gone, guarded: true } => {
            let _ = write!(out, "(!crate::mutant::is({gone}) && ({text}))");
        }
        Change::Arm { gone, guarded: false } => {
            if fit(gone) {
                let _ = write!(out, " /*<{gone}*/ if !crate::mutant::is({gone}) /*{gone}>*/ ");
            }
        }
        Change::Early(all) => {
            for (id, value) in all.iter().filter(|(id, _)| fit(id)) {
                let _ = write!(out, " /*<{id}*/ if crate::mutant::is({id}) {{ return {value}; }} /*{id}>*/ ");
            }
        }
        Change::Nothing(gone) => {
            if fit(gone) {
                let _ = write!(
                    out,
                    "{{ /*<{gone}*/ Iterator::filter({text}, |_| !crate::mutant::is({gone})) /*{gone}>*/ }}"
                );
            } else {
                out.push_str(text);
            }
        }
        Change::NotConst => {}
    }
}

/// Writes a file if it is not so already: what did not change is not built again.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|now| now == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().expect("a folder"))?;
    fs::write(path, bytes)
}

impl Tree {
    /// Copies what git knows, or could know, and puts the mutants in until all of them compile.
    pub fn make(root: &Path, target: &Path) -> Self {
        let (at, build) = (target.join("tree"), target.join("build"));
        let listed = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root).output();
        let listed = String::from_utf8(listed.expect("git").stdout).expect("names");
        let (mut sources, mut kept) = (Vec::new(), BTreeSet::new());
        for path in listed.lines().filter(|path| !path.starts_with("tests/mutants/") && root.join(path).is_file()) {
            kept.insert(PathBuf::from(path));
            let bytes = fs::read(root.join(path)).expect("a file");
            match path {
                _ if mutated(path) => sources.push((path.to_string(), String::from_utf8(bytes).expect("text"))),
                // Not a part of the package around it, and built to run fast enough.
                "Cargo.toml" => {
                    let more = "\n[workspace]\n\n[profile.test]\nopt-level = 1\ndebug = 0\n";
                    let text = String::from_utf8(bytes)
                        .expect("text")
                        .replace("debug = \"line-tables-only\"", "debug = 0\nopt-level = 1");
                    put(&at.join(path), (text + more).as_bytes()).expect("written");
                }
                "src/lib.rs" => {
                    // The compiler sees that some mutants would panic: they are to do so in a test.
                    let before = "#![allow(arithmetic_overflow, unconditional_panic)]\n";
                    let after = "\n#[doc(hidden)]\npub mod mutant;\n";
                    put(&at.join(path), &[before.as_bytes(), &bytes, after.as_bytes()].concat()).expect("written");
                }
                _ => put(&at.join(path), &bytes).expect("written"),
            }
        }
        put(&at.join("src/mutant.rs"), include_bytes!("switch.rs")).expect("written");
        remove_others(&at, &at, &kept);
        let (mut constant, mut unfit) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let (mut mutants, mut skipped) = (Vec::new(), Skipped::new());
            let files: Vec<File> = sources
                .iter()
                .map(|(path, source)| walk(path, source.clone(), &constant, &mut mutants, &mut skipped))
                .collect();
            for file in &files {
                put(&at.join(&file.path), render(file, &unfit).as_bytes()).expect("written");
            }
            let before = (constant.len(), unfit.len());
            let errors = check(&at, &build, &mut constant, &mut unfit);
            if constant.len() > before.0 {
                // The numbers are others now.
                unfit.clear();
                continue;
            }
            if unfit.len() == before.1 {
                assert!(errors.is_empty(), "the mutated copy does not compile:\n{}", errors.join("\n"));
                let shipped = |source: &str| hash(&source.split("\n#[cfg(test)]\nmod ").next());
                let files = sources.iter().map(|(path, source)| (path.clone(), shipped(source))).collect();
                return Self { mutants, skipped, unfit, files, at, build };
            }
            println!("left out as they do not compile: {}", unfit.len());
        }
    }
}

/// Files of an earlier copy that are no longer there.
fn remove_others(at: &Path, folder: &Path, kept: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let inner = path.strip_prefix(at).expect("within");
        if path.is_dir() {
            remove_others(at, &path, kept);
        } else if !kept.contains(inner) && inner != Path::new("src/mutant.rs") {
            fs::remove_file(&path).expect("removed");
        }
    }
}

pub fn cargo(at: &Path, build: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(at).env("CARGO_TARGET_DIR", build).env("RUSTFLAGS", "-Awarnings");
    command
}

/// Asks the compiler; notes which functions must stay constant and which mutants do not compile, and gives the rest.
fn check(at: &Path, build: &Path, constant: &mut BTreeSet<String>, unfit: &mut BTreeSet<usize>) -> Vec<String> {
    let output = cargo(at, build)
        .args(["check", "--locked", "--quiet", "--lib", "--profile", "test", "--message-format=json"])
        .output()
        .expect("cargo");
    let mut errors = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        let text = message["message"].as_str().unwrap_or_default();
        let code = message["code"]["code"].as_str().unwrap_or_default();
        if code == "E0015" && !text.contains("`is`") && !text.contains("mutant::is`") {
            let named = text.split('`').nth(1).unwrap_or_default();
            let bare = named.split("::<").next().unwrap_or_default();
            constant.insert(bare.rsplit("::").next().unwrap_or_default().to_string());
            continue;
        }
        let spans = message["spans"].as_array().cloned().unwrap_or_default();
        let (primary, other): (Vec<Value>, Vec<Value>) = spans.into_iter().partition(|span| span["is_primary"] == true);
        let mut blamed: Vec<usize> = primary.iter().filter_map(|span| blame(at, span)).collect();
        if blamed.is_empty() {
            blamed = other.iter().filter_map(|span| blame(at, span)).collect();
        }
        if blamed.is_empty() {
            // A value that must live longer than a switch lets it: what stands within is left out.
            blamed = primary.iter().flat_map(|span| marked(at, span)).collect();
        }
        if blamed.is_empty() {
            errors.push(message["rendered"].as_str().unwrap_or(text).to_string());
        }
        unfit.extend(blamed);
    }
    if !output.status.success() && errors.is_empty() && unfit.is_empty() && constant.is_empty() {
        errors.push(String::from_utf8_lossy(&output.stderr).into());
    }
    errors
}

/// The mutant between whose marks a place lies.
fn blame(at: &Path, span: &Value) -> Option<usize> {
    let text = fs::read_to_string(at.join(span["file_name"].as_str()?)).ok()?;
    let place = usize::try_from(span["byte_start"].as_u64()?).ok()?;
    let id: usize = text[..place].rsplit_once("/*<")?.1.split_once("*/")?.0.parse().ok()?;
    let closed = text[..place].rfind(&format!("/*{id}>*/")).unwrap_or(0);
    let opened = text[..place].rfind(&format!("/*<{id}*/"))?;
    (opened >= closed).then_some(id)
}

/// All mutants that stand within a place.
fn marked(at: &Path, span: &Value) -> Vec<usize> {
    let text = span["file_name"].as_str().and_then(|file| fs::read_to_string(at.join(file)).ok()).unwrap_or_default();
    let place = |name: &str| span[name].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
    let within = text.get(place("byte_start")..place("byte_end")).unwrap_or_default();
    within.split("/*<").skip(1).filter_map(|rest| rest.split_once("*/")?.0.parse().ok()).collect()
}
