//! What came of it: kept from run to run, as a table, and beside the list of survivors that are explained.

use crate::operators::Mutant;
use crate::trial::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// The share that must be caught, in percent.
const LEAST: f64 = 95.0;

/// What is known of a mutant from the last run.
#[derive(Clone)]
pub struct Known {
    pub outcome: Outcome,
    /// The test that noticed.
    pub by: String,
    /// What its file was, without the tests in it. What was noticed holds as long as this is the same, so that it
    /// outlives tests that are added and changes elsewhere.
    pub file: u64,
    /// What all sources were, the tests too. What was not noticed holds as long as this is the same.
    pub sources: u64,
}

impl Known {
    pub fn line(&self, key: &str) -> String {
        format!("{}\t{key}\t{}\t{}\t{}", self.outcome.word(), self.by, self.file, self.sources)
    }
}

/// The outcomes of the last run, by key.
pub fn read(kept: &Path) -> BTreeMap<String, Known> {
    let text = std::fs::read_to_string(kept).unwrap_or_default();
    let all = text.lines().filter_map(|line| {
        let mut cells = line.split('\t');
        let (word, key, by) = (cells.next()?, cells.next()?, cells.next()?.to_string());
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.word() == word)?;
        let (file, sources) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
        Some((key.to_string(), Known { outcome, by, file, sources }))
    });
    all.collect()
}

/// Begins the file anew with what still holds.
pub fn keep(kept: &Path, known: &BTreeMap<String, Known>) -> File {
    let mut file = File::create(kept).expect("written");
    known.iter().for_each(|(key, known)| writeln!(file, "{}", known.line(key)).expect("written"));
    file
}

/// The survivors that a list explains.
pub fn explained(list: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(list).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("src/")).map(String::from).collect()
}

/// What is counted of a file: each outcome, and how many of those that nobody noticed are explained.
type Counts = [usize; Outcome::ALL.len() + 1];

/// Prints the table and says whether all is well.
pub fn tell(
    mutants: &[Mutant],
    outcomes: &BTreeMap<usize, Outcome>,
    explained: &BTreeSet<String>,
    all: bool,
) -> bool {
    let mut files: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut survived: BTreeMap<&str, (usize, Outcome)> = BTreeMap::new();
    for (at, outcome) in outcomes {
        let mutant = &mutants[*at];
        let counts = files.entry(mutant.key.split(' ').next().unwrap_or_default()).or_default();
        counts[Outcome::ALL.iter().position(|o| o == outcome).unwrap_or(0)] += 1;
        if !outcome.noticed() {
            survived.insert(&mutant.key, (mutant.line, *outcome));
            counts[Outcome::ALL.len()] += usize::from(explained.contains(&mutant.key));
        }
    }
    println!("| file | tried | caught | endless | survived | unreached | of these do the same | caught of the others |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let row = |name: &str, counts: &Counts| {
        let [caught, endless, survived, unreached, same] = *counts;
        let tried = caught + endless + survived + unreached;
        let share = 100.0 * (caught + endless) as f64 / (tried - same).max(1) as f64;
        println!("| {name} | {tried} | {caught} | {endless} | {survived} | {unreached} | {same} | {share:.1} % |");
        share
    };
    let mut total = Counts::default();
    for (file, counts) in &files {
        row(file, counts);
        counts.iter().zip(&mut total).for_each(|(count, sum)| *sum += count);
    }
    let share = row("all", &total);
    let mut well = true;
    for (key, (line, outcome)) in survived.iter().filter(|(key, _)| !explained.contains(**key)) {
        println!("{} and not explained, line {line}: {key}", outcome.word());
        well = false;
    }
    let noticed = outcomes.iter().filter(|(_, outcome)| outcome.noticed());
    let noticed: BTreeSet<&str> = noticed.map(|(at, _)| mutants[*at].key.as_str()).collect();
    for key in explained.iter().map(String::as_str) {
        if noticed.contains(key) || all && !survived.contains_key(key) {
            println!("explained and not a survivor: {key}");
            well = false;
        }
    }
    if share < LEAST && all {
        println!("{share:.1} % of those that do something else are caught, and {LEAST} % is the least");
        well = false;
    }
    well
}
