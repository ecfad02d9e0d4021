//! The trial: which test reaches which mutant, then each mutant against the tests that reach it, quick ones first, until
//! one fails.

use crate::report::Known;
use crate::tree::{Tree, cargo};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

/// What tests the core, besides the units in `src/`: what decides, and what reads or tells a decision.
const SUITES: [&str; 9] = ["laws", "cases", "core", "decisions", "trust", "replay", "policy", "roles", "accounts"];
/// Not run: it asks Node, for which the bound on memory is too low, and nothing of the core.
const NOT: &str = "an_editor_is_content_with_the_library_and_not_with_what_is_wrong";
/// Tests that take less are run together.
const QUICK_S: f64 = 0.03;
/// What a mutant is worth at first: this part of the time that all tests take. What the tests that notice most do not
/// notice in it counts as survived, until survivors are tried against all that reach them.
const MOST: f64 = 0.05;
/// Known to notice much, and so first, whatever they take.
const FIRST: [&str; 2] = [
    "the_library_compiles_to_the_same_documents_and_decides_the_same",
    "still::generated_cases_are_decided_as_they_were",
];
/// A test of which a notice costs less than this goes before the quick ones.
const CHEAP_S: f64 = 0.05;
/// So many times the time that the tests take is too much for a mutant.
const MANY: f64 = 2.0;
const HOUR_S: u64 = 3600;
const SIGKILL: i32 = 9;
/// Its share of the processor's time is used up.
const SIGXCPU: i32 = 24;
/// No mutant may fill the machine's memory.
const MOST_KIB: u64 = 4 << 20;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    binary: usize,
    name: String,
}

pub struct Trial {
    binaries: Vec<PathBuf>,
    at: PathBuf,
    seconds: BTreeMap<Test, f64>,
    /// By mutant: the tests that reach it.
    reached: BTreeMap<usize, BTreeSet<Test>>,
    /// How many each has noticed so far: those that notice much go first.
    noticed: Mutex<BTreeMap<Test, u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Caught,
    /// A test took many times as long as it does: it was noticed.
    Endless,
    Survived,
    /// No test comes by.
    Unreached,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Caught, Self::Endless, Self::Survived, Self::Unreached];

    /// Whether a test noticed.
    pub fn noticed(self) -> bool {
        matches!(self, Self::Caught | Self::Endless)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Endless => "endless",
            Self::Survived => "survived",
            Self::Unreached => "unreached",
        }
    }
}

fn build(tree: &Tree) -> Vec<PathBuf> {
    let mut command = cargo(&tree.at, &tree.build);
    command.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics", "--lib"]);
    for suite in SUITES {
        command.args(["--test", suite]);
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo");
    assert!(output.status.success(), "the mutated copy's tests do not build");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = artifacts.filter(|a| a["reason"] == "compiler-artifact" && a["profile"]["test"] == true);
    tests.filter_map(|a| a["executable"].as_str().map(PathBuf::from)).collect()
}

/// A test binary that reads nothing from where it was started but what every run reads.
/// `most` is the processor's time that it may take, in seconds: the clock's would say that a busy machine has noticed.
fn command(at: &Path, binary: &Path, switch: &str, most: u64) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {MOST_KIB}; ulimit -t {most}; exec \"$0\" \"$@\"")).arg(binary);
    command.current_dir(at).env("BERTH_MUTANT", switch).env("CARGO_MANIFEST_DIR", at);
    // What failed once must not be tried again with the next mutant, and how small it can be made is of no interest.
    command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true").env("PROPTEST_MAX_SHRINK_ITERS", "0");
    // The harness then tells how long a test took, which it otherwise does with a nightly compiler only.
    command.env("RUSTC_BOOTSTRAP", "1").env_remove("BLESS").env("RUST_BACKTRACE", "0");
    // A case that fails need not be made smaller: that it fails is enough.
    command.env("PROPTEST_MAX_SHRINK_ITERS", "0");
    command
}

impl Trial {
    /// Builds, sees that the copy does as the original with every switch off, and asks who reaches what.
    pub fn prepare(tree: &Tree, last: &BTreeMap<String, Known>) -> Self {
        let binaries = build(tree);
        assert_eq!(binaries.len(), SUITES.len() + 1, "{binaries:?}");
        let (at, noticed) = (tree.at.clone(), Mutex::default());
        let mut trial = Self { binaries, at, seconds: BTreeMap::new(), reached: BTreeMap::new(), noticed };
        for binary in 0..trial.binaries.len() {
            trial.record(binary);
        }
        for known in last.values() {
            if let Some(test) = trial.seconds.keys().find(|test| test.name == known.by) {
                *trial.noticed.get_mut().expect("lock").entry(test.clone()).or_insert(0) += 1;
            }
        }
        println!(
            "with every mutant off all {} tests pass, in {:.0} s",
            trial.seconds.len(),
            trial.seconds.values().sum::<f64>()
        );
        trial
    }

    /// Runs all tests of one program, once for each time that it is built: which pass, how long they take, and what
    /// each comes by.
    fn record(&mut self, binary: usize) {
        let path = &self.binaries[binary];
        let built = path.metadata().and_then(|of| of.modified()).expect("a test binary");
        let built = built.duration_since(UNIX_EPOCH).expect("a time").as_millis();
        let (times, marks) = (path.with_extension(format!("{built}.times")), path.with_extension(format!("{built}.marks")));
        if !times.exists() {
            let _ = fs::remove_file(&marks);
            let mut command = command(&self.at, path, &format!("record:{}", marks.display()), HOUR_S);
            // More than one thread: only then each test has one of its own, which is named after it.
            command.args(["--skip", NOT, "--test-threads=2", "-Z", "unstable-options", "--format=json", "--report-time"]);
            let output = command.output().expect("a test binary");
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "a test fails in the copy with every mutant off:\n{lines}");
            fs::write(&times, lines).expect("written");
        }
        for line in fs::read_to_string(&times).expect("read").lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            if line["type"] == "test" && line["event"] == "ok" {
                let name = line["name"].as_str().unwrap_or_default().to_string();
                self.seconds.insert(Test { binary, name }, line["exec_time"].as_f64().unwrap_or(1.0));
            }
        }
        for line in fs::read_to_string(&marks).unwrap_or_default().lines() {
            let Some((name, mutant)) = line.split_once('\t') else { continue };
            let Ok(mutant) = mutant.parse() else { continue };
            let test = Test { binary, name: name.into() };
            let reached = self.reached.entry(mutant).or_default();
            if self.seconds.contains_key(&test) {
                reached.insert(test);
            } else {
                // A thread without a test's name, or a tool that was started: it could have been any.
                reached.extend(self.seconds.keys().filter(|test| test.binary == binary).cloned());
            }
        }
    }

    /// Tries one mutant, against all tests that reach it or those that are worth most; says who noticed.
    pub fn one(&self, mutant: usize, against_all: bool) -> (Outcome, String) {
        let Some(tests) = self.reached.get(&mutant) else { return (Outcome::Unreached, String::new()) };
        let mut slow: Vec<(&Test, f64)> = tests.iter().map(|test| (test, self.seconds[test])).collect();
        let noticed = self.noticed.lock().expect("lock").clone();
        let first = |test: &Test| FIRST.contains(&test.name.as_str());
        let worth = |(test, seconds): &(&Test, f64)| {
            if first(test) { 0.0 } else { seconds / f64::from(1 + noticed.get(*test).copied().unwrap_or(0)) }
        };
        slow.sort_by(|a, b| worth(a).total_cmp(&worth(b)));
        let quick: Vec<(&Test, f64)> = slow.iter().copied().filter(|(_, seconds)| *seconds < QUICK_S).collect();
        slow.retain(|(_, seconds)| *seconds >= QUICK_S);
        let cheap = slow.iter().take_while(|one| worth(one) < CHEAP_S).count();
        let dear = slow.split_off(cheap);
        let mut groups: Vec<Vec<(&Test, f64)>> = slow.into_iter().map(|one| vec![one]).collect();
        for binary in 0..self.binaries.len() {
            groups.push(quick.iter().copied().filter(|(test, _)| test.binary == binary).collect());
        }
        groups.extend(dear.into_iter().map(|one| vec![one]));
        let (mut spent, most) = (0.0, MOST * self.seconds.values().sum::<f64>());
        groups.retain(|group| {
            let seconds = group.iter().map(|(_, seconds)| seconds).sum::<f64>();
            let quick = group.iter().all(|(_, seconds)| *seconds < QUICK_S);
            if against_all || quick || group.iter().any(|(test, _)| first(test)) {
                return true;
            }
            // One in any case: what few tests reach is worth one that takes long.
            let fits = spent == 0.0 || spent + seconds < most;
            spent += if fits { seconds } else { 0.0 };
            fits
        });
        for group in groups.iter().filter(|group| !group.is_empty()) {
            if let Some(found) = self.run(mutant, group) {
                if let [(test, _)] = &group[..] {
                    *self.noticed.lock().expect("lock").entry((*test).clone()).or_insert(0) += 1;
                }
                return found;
            }
        }
        (Outcome::Survived, String::new())
    }

    fn run(&self, mutant: usize, group: &[(&Test, f64)]) -> Option<(Outcome, String)> {
        let usual = group.iter().map(|(_, seconds)| seconds).sum::<f64>();
        let most = (5.0 + MANY * usual).ceil() as u64;
        let mut command = command(&self.at, &self.binaries[group[0].0.binary], &mutant.to_string(), most);
        command.args(["--test-threads=1", "--exact"]).args(group.iter().map(|(test, _)| &test.name));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a test binary");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let failed = lines.map_while(Result::ok).find(|line| line.starts_with("test ") && line.ends_with("FAILED"));
        if failed.is_some() {
            let _ = child.kill();
        }
        let status = child.wait().expect("its end");
        match failed {
            Some(line) => Some((Outcome::Caught, line[5..].trim_end_matches(" ... FAILED").to_string())),
            None if [Some(SIGXCPU), Some(SIGKILL)].contains(&status.signal()) => {
                Some((Outcome::Endless, group[0].0.name.clone()))
            }
            None if !status.success() => Some((Outcome::Caught, format!("{} ended with {status}", group[0].0.name))),
            None => None,
        }
    }
}
