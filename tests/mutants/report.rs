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

/// Prints the table and says whether all is well.
pub fn tell(mutants: &[Mutant], outcomes: &BTreeMap<usize, Outcome>, list: &Path, all: bool) -> bool {
    let mut files: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut survived: BTreeMap<&str, (usize, Outcome)> = BTreeMap::new();
    for (at, outcome) in outcomes {
        let mutant = &mutants[*at];
        let file = mutant.key.split(' ').next().unwrap_or_default();
        files.entry(file).or_default()[Outcome::ALL.iter().position(|o| o == outcome).unwrap_or(0)] += 1;
        if !outcome.noticed() {
            survived.insert(&mutant.key, (mutant.line, *outcome));
        }
    }
    println!("| file | tried | caught | endless | survived | unreached | caught of all |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let row = |name: &str, counts: &[usize; 4]| {
        let tried: usize = counts.iter().sum();
        let share = 100.0 * (counts[0] + counts[1]) as f64 / tried.max(1) as f64;
        println!("| {name} | {tried} | {} | {} | {} | {} | {share:.1} % |", counts[0], counts[1], counts[2], counts[3]);
        share
    };
    let mut total = [0; 4];
    for (file, counts) in &files {
        row(file, counts);
        counts.iter().zip(&mut total).for_each(|(count, sum)| *sum += count);
    }
    let share = row("all", &total);
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let explained: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("src/")).collect();
    let mut well = true;
    for (key, (line, outcome)) in survived.iter().filter(|(key, _)| !explained.contains(*key)) {
        println!("{} and not explained, line {line}: {key}", outcome.word());
        well = false;
    }
    let tried: BTreeSet<&str> = outcomes.keys().map(|at| mutants[*at].key.as_str()).collect();
    for key in explained.iter().filter(|key| !survived.contains_key(*key) && (all || tried.contains(*key))) {
        println!("explained in {} and not a survivor: {key}", list.display());
        well = false;
    }
    if share < LEAST && all {
        println!("{share:.1} % are caught, and {LEAST} % is the least");
        well = false;
    }
    well
}
