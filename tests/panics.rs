//! Where the built modules could still panic: every place that the compiler left in them is found, counted and explained
//! by a row of the table in `README.md` beside this, and so is every `unreachable` that anything comes to. A new one fails
//! here; a row that explains nothing now is printed. `BLESS=1` writes the numbers anew, not the reasons.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

#[path = "panics/traps.rs"]
mod traps;

use berth::model::Signal;
use std::{collections::BTreeMap, fmt, fs, path::Path, sync::Mutex};
use traps::Traps;
use wasmparser::{DataKind, Operator, Parser, Payload};

fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `make wasm`", path.display()))
}

/// A place that a panic would name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: String,
    line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The initialised memory of a module, by address.
fn memory(module: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::DataSection(section) = payload.unwrap() else { continue };
        for data in section {
            let data = data.unwrap();
            let DataKind::Active { offset_expr, .. } = data.kind else { panic!("data without an address") };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read().unwrap() else {
                panic!("an address that is not constant")
            };
            found.push((value.cast_unsigned(), data.data.to_vec()));
        }
    }
    found
}

/// All places: structures of an address and length of a file's name, a line and a column.
fn places(module: &[u8]) -> Vec<Place> {
    let memory = memory(module);
    let text = |at: u32, length: u32| {
        let (from, data) = memory.iter().find(|(from, data)| at >= *from && at - *from < data.len() as u32)?;
        let start = (at - from) as usize;
        core::str::from_utf8(data.get(start..start + length as usize)?).ok()
    };
    let mut found = Vec::new();
    for (from, data) in &memory {
        let aligned = (4 - *from as usize % 4) % 4;
        for words in data.get(aligned..).unwrap_or_default().windows(16).step_by(4) {
            let word = |n: usize| u32::from_le_bytes(words[n * 4..n * 4 + 4].try_into().unwrap());
            let (length, line, column) = (word(1), word(2), word(3));
            if !(6..400).contains(&length) || !(1..50_000).contains(&line) || !(1..500).contains(&column) {
                continue;
            }
            if let Some(file) = text(word(0), length).filter(|file| file.ends_with(".rs") && file.contains('/')) {
                found.push(Place { file: file.into(), line });
            }
        }
    }
    found
}

const MODULES: [&str; 2] = ["dist/berth.wasm", "dist/berth-placement.wasm"];

/// A row: what it is about, how it says so, and how many in each module.
struct Row {
    names: Vec<String>,
    says: String,
    counts: [usize; 2],
    text: String,
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(String::from).collect()
}

/// The rows of a table, by the word in its head, as lines and cells. All of them count in the third and fourth.
fn lines<'a>(text: &'a str, head: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let head = format!("| {head} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&head)).skip(2).take_while(|l| l.starts_with('|'));
    let cells = |line: &'a str| line.trim_matches('|').split(" | ").map(str::trim).collect();
    let found: Vec<(&str, Vec<&str>)> = rows.map(|line| (line, cells(line))).collect();
    assert!(!found.is_empty(), "no table {head}");
    for (line, cells) in &found {
        assert!(cells.len() == 5 && !cells[4].is_empty(), "{line}");
    }
    found
}

fn counts(cells: &[&str]) -> [usize; 2] {
    [2, 3].map(|at| cells[at].parse().unwrap_or_else(|_| panic!("no number: {cells:?}")))
}

fn table(text: &str) -> Vec<Row> {
    let row = |(line, cells): (&str, Vec<&str>)| Row {
        names: quoted(cells[0]),
        says: quoted(cells[1]).into_iter().next().unwrap_or_default(),
        counts: counts(&cells),
        text: line.into(),
    };
    lines(text, "in").into_iter().map(row).collect()
}

/// The table with other numbers: `BLESS=1` writes it.
fn bless(line: &str, counts: [usize; 2]) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let text = String::from_utf8(read(README)).unwrap();
    let mut cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect();
    (cells[2], cells[3]) = (counts[0].to_string(), counts[1].to_string());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(README);
    fs::write(path, text.replace(line, &format!("| {} |", cells.join(" | ")))).unwrap();
}

const README: &str = "tests/README.md";

/// Another compiler proves other places away: numbers are of the one that is named, by what stands in its own places.
fn counted_here(text: &str) -> bool {
    let compiler = text.split("counted with").nth(1).and_then(|rest| rest.split('`').nth(1)).unwrap();
    let known =
        |module: &str| places(&read(module)).iter().any(|place| place.file.contains(&format!("/rustc/{compiler}")));
    MODULES.into_iter().all(known)
}

/// What a row says is what is there.
fn check(line: &str, says: [usize; 2], found: [usize; 2], wrong: &mut Vec<String>) {
    if says != found && std::env::var_os("BLESS").is_some() {
        bless(line, found);
    } else if says != found {
        wrong.push(format!("{found:?} and not {says:?}: {line}"));
    }
}

/// Another compiler leaves others, but not many more: what would be a new kind of them is to be looked at.
fn compare(exact: bool, line: &str, says: [usize; 2], found: [usize; 2], wrong: &mut Vec<String>) {
    if exact {
        check(line, says, found, wrong);
    } else if found.iter().zip(says).any(|(found, says)| *found > says + says / 4 + 4) {
        wrong.push(format!("{found:?} is far more than {says:?}: {line}"));
    }
}

/// Whether a row speaks of this place: by the file and what stands in the line, or by the library.
fn explains(row: &Row, place: &Place, line: &dyn Fn(&Place) -> String) -> bool {
    row.names.iter().any(|name| {
        if name.starts_with("src/") {
            place.file.starts_with(name.as_str()) && line(place).contains(&row.says)
        } else if name.starts_with("library/") {
            place.file.contains(&format!("/{name}/"))
        } else {
            place.file.rsplit('/').any(|part| {
                part.strip_prefix(name.as_str())
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        }
    })
}

/// Which places each row explains, and what no row explains.
fn explained(
    rows: &[Row],
    found: &[Place],
    line: &dyn Fn(&Place) -> String,
) -> (BTreeMap<usize, Vec<String>>, Vec<String>) {
    let (mut used, mut unexplained) = (BTreeMap::<usize, Vec<String>>::new(), Vec::new());
    for place in found {
        match rows.iter().position(|row| explains(row, place, line)) {
            Some(row) => used.entry(row).or_default().push(place.to_string()),
            None => unexplained.push(place.to_string()),
        }
    }
    (used, unexplained)
}

fn line_of(place: &Place) -> String {
    let source = String::from_utf8(read(&place.file)).unwrap();
    source.lines().nth(place.line as usize - 1).unwrap_or_default().to_string()
}

#[test]
fn every_place_that_could_panic_is_counted_and_explained() {
    let text = String::from_utf8(read(README)).unwrap();
    let rows = table(&text);
    let found = MODULES.map(|module| {
        let mut found = places(&read(module));
        // If the compiler wrote places in another way, none would be found and all would seem well.
        for known in ["/library/alloc/src/", "/library/std/src/", "/proxy-wasm-"] {
            assert!(
                found.iter().any(|place| place.file.contains(known)),
                "{module}: of {} none is in {known}",
                found.len()
            );
        }
        found.sort();
        explained(&rows, &found, &line_of)
    });
    for (module, (used, unexplained)) in MODULES.iter().zip(&found) {
        assert!(unexplained.is_empty(), "{module}: not explained in {README}:\n{}", unexplained.join("\n"));
        println!("{module}: {} places", used.values().map(Vec::len).sum::<usize>());
    }
    let (mut wrong, exact) = (Vec::new(), counted_here(&text));
    for (at, row) in rows.iter().enumerate() {
        let of_this = [0, 1].map(|module: usize| found[module].0.get(&at).map_or(0, Vec::len));
        // Whether the compiler proves one away depends on what is around it: such a row may be needed again.
        if of_this == [0, 0] {
            println!("explains nothing now: {}", row.text);
        }
        compare(exact, &row.text, row.counts, of_this, &mut wrong);
    }
    assert!(wrong.is_empty(), "look at each, then BLESS=1:\n{}", wrong.join("\n"));
}

#[test]
fn every_trap_that_anything_comes_to_is_counted_and_explained() {
    let text = String::from_utf8(read(README)).unwrap();
    let found = MODULES.map(|module| Traps::of(&read(module)));
    println!("{MODULES:?}: {found:?}");
    let rows = lines(&text, "`unreachable`");
    let kinds: [fn(&Traps) -> usize; 3] = [|t| t.functions, |t| t.tables, |t| t.others];
    assert_eq!(rows.len(), kinds.len());
    let (mut wrong, exact) = (Vec::new(), counted_here(&text));
    for ((line, cells), kind) in rows.iter().zip(kinds) {
        compare(exact, line, counts(cells), found.each_ref().map(kind), &mut wrong);
    }
    assert!(wrong.is_empty(), "look at each, then BLESS=1:\n{}", wrong.join("\n"));
}

#[test]
fn bounds_of_signals_can_be_clamped_to() {
    for signal in Signal::ALL {
        let (least, most) = signal.bounds();
        assert!(least <= most, "{}", signal.as_str());
    }
}

/// A module with nothing in it but a file's name and, behind it, one place of a panic.
fn planted(file: &str, line: u32) -> Vec<u8> {
    fn leb(mut value: usize, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    const AT: u32 = 64;
    let mut data = file.as_bytes().to_vec();
    data.resize(data.len().next_multiple_of(4), 0);
    for word in [AT, file.len() as u32, line, 7] {
        data.extend(word.to_le_bytes());
    }
    // One segment: active, at a constant address (64 in two bytes, as it is signed), of this length.
    let mut section = vec![1, 0, 0x41, 0xc0, 0x00, 0x0b];
    leb(data.len(), &mut section);
    section.extend(data);
    let mut module = b"\0asm\x01\0\0\0\x0b".to_vec();
    leb(section.len(), &mut module);
    module.extend(section);
    module
}

#[test]
fn a_place_that_is_planted_is_found_and_not_explained() {
    let rows = table(&String::from_utf8(read(README)).unwrap());
    let of = |file: &str, line: &str| {
        let found = places(&planted(file, 12));
        assert_eq!(found, [Place { file: file.into(), line: 12 }]);
        explained(&rows, &found, &|_| line.into()).1
    };
    assert_eq!(of("src/place/gate.rs", "let first = rows[0];"), ["src/place/gate.rs:12"]);
    assert_eq!(of("src/filter/held.rs", "let last = self.0[at];"), ["src/filter/held.rs:12"]);
    assert_eq!(of("/registry/unheard-of-1.2.3/src/lib.rs", "x.unwrap()"), ["/registry/unheard-of-1.2.3/src/lib.rs:12"]);
    assert!(of("src/filter/held.rs", "let open = self.0.remove(at);").is_empty(), "a row of the table explains it");
}

#[test]
fn a_new_place_and_a_library_by_its_name_are_told_apart() {
    let row =
        |names: &str, says: &str| Row { names: quoted(names), says: says.into(), counts: [0; 2], text: String::new() };
    let place = |file: &str| Place { file: file.into(), line: 1 };
    let line = |_: &Place| String::from("let x = list.remove(at);");
    assert!(explains(&row("`src/a.rs`", "list.remove(at)"), &place("src/a.rs"), &line));
    assert!(!explains(&row("`src/a.rs`", "list.insert(at)"), &place("src/a.rs"), &line));
    assert!(!explains(&row("`src/b.rs`", "list.remove(at)"), &place("src/a.rs"), &line));
    assert!(explains(&row("`serde_json`", "3"), &place("/registry/serde_json-1.0.1/src/de.rs"), &line));
    assert!(!explains(&row("`serde`", "3"), &place("/registry/serde_json-1.0.1/src/de.rs"), &line));
    assert!(explains(&row("`library/core/src/num`", "3"), &place("/rustc/x/library/core/src/num/mod.rs"), &line));
}
