//! Corpora as libFuzzer wants them, a file for each input, and as they are kept, a line for each.

use super::{seeds, targets};
use std::{env, fs, path::Path};

/// What is kept for each target.
const MOST_KEPT: usize = 64;
const MOST_BYTES: usize = 512;

/// Does what `CORPUS` asks for instead of fuzzing: `list` names the targets and their longest inputs, `unpack` writes a
/// file for each input into `FOLDER`, `pack` keeps the shortest of a folder.
pub(crate) fn serve() {
    let of = |name: &str| env::var(name).unwrap_or_default();
    let (target, folder) = (of("FUZZ_TARGET"), of("FOLDER"));
    match of("CORPUS").as_str() {
        "" => return,
        "list" => targets::TARGETS.iter().for_each(|t| println!("{} {}", t.name, t.most_bytes)),
        "unpack" => unpack(&target, Path::new(&folder)),
        "pack" => pack(&target, Path::new(&folder)),
        other => panic!("CORPUS={other}: expected list, unpack or pack"),
    }
    std::process::exit(0);
}

fn unpack(target: &str, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let all = [seeds::documents(target), seeds::kept(target)].concat();
    for (number, input) in all.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:04}")), input).unwrap();
    }
}

fn pack(target: &str, folder: &Path) {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<Vec<u8>> = paths.map(|path| fs::read(path).unwrap()).collect();
    inputs.retain(|input| !input.is_empty() && input.len() <= MOST_BYTES);
    inputs.sort_by_key(|input| (input.len(), input.clone()));
    inputs.dedup();
    // Of more than fit, every so many: the shortest say least.
    let every = inputs.len().div_ceil(MOST_KEPT).max(1);
    let lines: Vec<String> = inputs.iter().step_by(every).map(|input| format!("{}\n", input.escape_ascii())).collect();
    fs::write(seeds::file(target), lines.concat()).unwrap();
}
