//! Changes the gates of `policy/` and the stages of `place/` in small ways and sees whether the tests notice.
//!
//! `mutants ROOT TARGET`, with `MUTANTS=i/n` for a share of them (from 0), `MUTANTS=survived` for those that were not
//! caught last time, against all tests, `MUTANTS=left` for the same in the time of a first try, or `MUTANTS=word` for
//! those whose line of the list contains it. What was tried is not tried again
//! while it holds (`report::Known`). Ends with 1 if fewer than 95 % are caught, or the survivors are not those that
//! are explained.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a tool of the tests")]

mod operators;
mod report;
mod tree;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;
use report::Known;
use trial::Trial;

fn chosen(word: &str, at: usize, key: &str, last: &BTreeMap<String, Known>, explained: &BTreeSet<String>) -> bool {
    match word.split_once('/').map(|(i, n)| (i.parse::<usize>(), n.parse::<usize>())) {
        Some((Ok(i), Ok(n))) => at % n.max(1) == i,
        _ if word == "survived" || word == "left" => {
            !explained.contains(key) && last.get(key).is_some_and(|known| !known.outcome.noticed())
        }
        _ => key.contains(word),
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What all sources of the copy are, in a number.
fn fingerprint(tree: &tree::Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![tree.at.clone()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|e| e != "md") {
                path.hash(&mut hasher);
                std::fs::read(&path).expect("a file").hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, root, target] = &arguments[..] else { panic!("mutants ROOT TARGET") };
    let (root, target) = (Path::new(root), Path::new(target));
    let word = std::env::var("MUTANTS").unwrap_or_else(|_| "0/1".into());
    let begun = Instant::now();
    let tree = tree::Tree::make(root, target);
    println!(
        "{} mutants, {} more do not compile; not changed:",
        tree.mutants.len() - tree.unfit.len(),
        tree.unfit.len()
    );
    tree.skipped.iter().for_each(|(why, count)| println!("  {count} {why}"));
    let kept = target.join("outcomes");
    let last = report::read(&kept);
    let all_sources = fingerprint(&tree);
    let trial = Trial::prepare(&tree, &last);
    let fit = |at: &usize| !tree.unfit.contains(&(at + 1));
    let all: Vec<usize> = (0..tree.mutants.len()).filter(fit).collect();
    let list = root.join("tests/mutants/survivors.txt");
    let explained = report::explained(&list);
    let key = |at: &usize| tree.mutants[*at].key.as_str();
    let wanted = all.iter().enumerate().filter(|(nth, at)| chosen(&word, *nth, key(at), &last, &explained));
    let mut wanted: Vec<usize> = wanted.map(|(_, at)| *at).collect();
    // What was never tried goes first, and that in no order that means something: what was tried when it is ended is a
    // fair share.
    wanted.sort_by_key(|at| (last.contains_key(key(at)) || explained.contains(key(at)), hash(&key(at))));
    let file_of = |at: usize| tree.files[tree.mutants[at].key.split(' ').next().unwrap_or_default()];
    let known: BTreeMap<String, Known> = all
        .iter()
        .filter_map(|at| last.get_key_value(&tree.mutants[*at].key).map(|(key, known)| (*at, key, known)))
        .filter(|(at, _, known)| known.file == file_of(*at))
        .map(|(_, key, known)| (key.clone(), known.clone()))
        .collect();
    println!("built and timed in {:.0} s; {} to try", begun.elapsed().as_secs_f64(), wanted.len());
    let file = report::keep(&kept, &known);
    if wanted.is_empty() && !["survived", "left"].contains(&word.as_str()) {
        println!("`{word}` is in no mutant: files and functions such as `gate.rs` and `Scene::kept` are");
        std::process::exit(2);
    }
    let (next, file, outcomes) = (Mutex::new(wanted.iter()), Mutex::new(file), Mutex::new(BTreeMap::new()));
    let jobs = std::env::var("JOBS").ok().and_then(|jobs| jobs.parse().ok());
    let jobs: usize = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, Into::into));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(&at) = next.lock().expect("lock").next() else { return };
                    let mutant = &tree.mutants[at];
                    let holds = |known: &&Known| {
                        known.outcome.noticed() || word != "survived" && known.sources == all_sources
                    };
                    let outcome = match known.get(&mutant.key).filter(holds) {
                        Some(known) => known.outcome,
                        None => {
                            let (outcome, by) = trial.one(at + 1, word == "survived");
                            let now = Known { outcome, by, file: file_of(at), sources: all_sources };
                            let _ = writeln!(file.lock().expect("lock"), "{}", now.line(&mutant.key));
                            outcome
                        }
                    };
                    let mut outcomes = outcomes.lock().expect("lock");
                    outcomes.insert(at, outcome);
                    if outcomes.len() % 200 == 0 {
                        println!("{} of {} after {:.0} s", outcomes.len(), wanted.len(), begun.elapsed().as_secs_f64());
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("lock");
    let well = report::tell(&tree.mutants, &outcomes, &explained, wanted.len() == all.len());
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    std::process::exit(i32::from(!well));
}
