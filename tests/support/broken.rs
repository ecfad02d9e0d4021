//! A module that breaks when it is told to: the built one with two of its callbacks wrapped, so that what a trap costs
//! can be measured without a fault in what is shipped. A request with [`TRAPS`] headers or more traps at once; one with
//! [`ARMS`] or more makes the next tick of its VM trap.

use std::path::{Path, PathBuf};

/// From so many headers on a request traps.
pub const TRAPS: usize = 70;
/// From so many headers on a request is served and arms the tick.
pub const ARMS: usize = 50;

const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;

/// Writes the broken form of a built module into a folder.
pub fn broken(module: &Path, folder: &Path) -> PathBuf {
    let path = folder.join(format!("broken-{}", module.file_name().unwrap().to_str().unwrap()));
    std::fs::write(&path, rewrite(&std::fs::read(module).unwrap())).unwrap();
    path
}

/// Reads numbers as WebAssembly writes them.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn number(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    fn text(&mut self) -> &'a [u8] {
        let length = self.number();
        self.take(length)
    }
}

fn number(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

/// The sections of a module, which can be changed one by one.
struct Module(Vec<(u8, Vec<u8>)>);

impl Module {
    fn section(&mut self, id: u8) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(other, _)| *other == id).unwrap().1
    }

    /// How many entries a section has.
    fn count(&mut self, id: u8) -> usize {
        Bytes(self.section(id)).number()
    }

    /// Adds an entry to the end of a section; gives its position in it.
    fn push(&mut self, id: u8, entry: &[u8]) -> usize {
        let section = self.section(id);
        let mut rest = Bytes(section);
        let count = rest.number();
        *section = [&number(count + 1), rest.0, entry].concat();
        count
    }

    /// How many functions are imported. The module imports nothing else.
    fn imported(&mut self) -> usize {
        let section = self.section(IMPORTS).clone();
        let mut rest = Bytes(&section);
        let count = rest.number();
        for _ in 0..count {
            rest.text();
            rest.text();
            assert_eq!(rest.byte(), 0, "a function is imported");
            rest.number();
        }
        count
    }

    /// Puts a function of the same type in place of an exported one: `body` is given the number of that one.
    fn wrap(&mut self, export: &str, body: impl Fn(usize) -> Vec<u8>) {
        let imported = self.imported();
        let exports = self.section(EXPORTS).clone();
        let mut rest = Bytes(&exports);
        let count = rest.number();
        let mut out = number(count);
        for _ in 0..count {
            let (name, kind, index) = (rest.text(), rest.byte(), rest.number());
            let wrapped = name == export.as_bytes();
            let index = if wrapped { self.around(index, imported, &body(index)) } else { index };
            out.extend([number(name.len()), name.to_vec(), vec![kind], number(index)].concat());
            if wrapped {
                out.extend_from_slice(rest.0);
                break;
            }
        }
        *self.section(EXPORTS) = out;
    }

    fn around(&mut self, function: usize, imported: usize, body: &[u8]) -> usize {
        let functions = self.section(FUNCTIONS).clone();
        let mut rest = Bytes(&functions);
        let count = rest.number();
        let types: Vec<usize> = (0..count).map(|_| rest.number()).collect();
        let of = types[function.checked_sub(imported).unwrap()];
        assert!(of < self.count(TYPES));
        let at = self.push(FUNCTIONS, &number(of));
        // No locals, the body, and its end.
        let code = [&[0], body, &[0x0b]].concat();
        self.push(CODE, &[number(code.len()), code].concat());
        imported + at
    }
}

const LOCAL: u8 = 0x20;
const CONST: u8 = 0x41;
const AT_LEAST: u8 = 0x4f;
const IF: [u8; 2] = [0x04, 0x40];
const END: u8 = 0x0b;
const UNREACHABLE: u8 = 0x00;
const CALL: u8 = 0x10;

/// A constant; those from 64 on take two bytes, as they have a sign.
fn constant(value: usize) -> Vec<u8> {
    let (low, high) = (u8::try_from(value & 0x7f).unwrap(), u8::try_from(value >> 7).unwrap());
    vec![CONST, low | 0x80, high]
}

fn rewrite(module: &[u8]) -> Vec<u8> {
    let (head, rest) = module.split_at(8);
    let mut rest = Bytes(rest);
    let mut sections = Vec::new();
    while !rest.0.is_empty() {
        sections.push((rest.byte(), rest.text().to_vec()));
    }
    let mut module = Module(sections);
    // A number that can be changed, 0 at first.
    let armed = module.push(GLOBALS, &[0x7f, 1, CONST, 0, END]);
    let armed = |op: u8| [vec![op], number(armed)].concat();
    let (get, set) = (0x23, 0x24);
    module.wrap("proxy_on_request_headers", |original| {
        let headers_at_least = |count| [vec![LOCAL, 1], constant(count), vec![AT_LEAST], IF.to_vec()].concat();
        let arm = [vec![CONST, 1], armed(set), vec![END]].concat();
        let call = [vec![LOCAL, 0, LOCAL, 1, LOCAL, 2, CALL], number(original)].concat();
        [headers_at_least(TRAPS), vec![UNREACHABLE, END], headers_at_least(ARMS), arm, call].concat()
    });
    module.wrap("proxy_on_tick", |original| {
        [armed(get), IF.to_vec(), vec![UNREACHABLE, END, LOCAL, 0, CALL], number(original)].concat()
    });
    let sections = module.0.iter().flat_map(|(id, bytes)| [vec![*id], number(bytes.len()), bytes.clone()].concat());
    head.iter().copied().chain(sections).collect()
}
