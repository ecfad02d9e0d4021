//! What came of it: kept from run to run, as a table, and beside the list of survivors that are explained.

use crate::operators::Mutant;
use crate::trial::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// The share that must be caught, in percent.
const LEAST: f64 = 95.0;

/// The outcomes of the last run, and of which sources they are.
pub fn read(kept: &Path) -> (u64, BTreeMap<String, Outcome>) {
    let text = std::fs::read_to_string(kept).unwrap_or_default();
    let mut lines = text.lines();
    let of = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let outcome = |word: &str| Outcome::ALL.into_iter().find(|outcome| outcome.word() == word);
    let all = lines.filter_map(|line| {
        let mut cells = line.split('\t');
        let (word, key) = (cells.next()?, cells.next()?);
        Some((key.to_string(), outcome(word)?))
    });
    (of, all.collect())
}

/// Begins the file anew with what still holds.
pub fn keep(kept: &Path, fingerprint: u64, known: &BTreeMap<String, Outcome>) -> File {
    let mut file = File::create(kept).expect("written");
    writeln!(file, "{fingerprint}").expect("written");
    known.iter().for_each(|(key, outcome)| writeln!(file, "{}\t{key}\t", outcome.word()).expect("written"));
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
        if matches!(outcome, Outcome::Survived | Outcome::Unreached) {
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
