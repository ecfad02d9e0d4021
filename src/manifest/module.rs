//! What a built module imports and exports, and how the build cuts its exports down to what a role needs: a proxy
//! enters the VM for every callback that is exported, whether or not it does anything.
//!
//! Reads only the sections it needs and copies the others as they are. Total: bytes that are no module are an error.

mod reader;

use reader::Reader;
use std::{error::Error, fmt};

/// The callbacks that every role needs, and what the ABI asks of a module.
const BASE: [&str; 7] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_request_headers",
];

/// What the telemetry role needs besides, and the SDK's dispatch. A callback that the edge begins to implement is named
/// here, or it is never called; `tests/module.rs` notices.
const TELEMETRY: [&str; 10] = [
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_done",
];

/// The names under which our own handlers are linked (two symbols of the ABI's name do not link), and the ABI's
/// names; ours take the place of the SDK's. In the file with both roles those of the SDK trap: one on a token that it
/// does not know, one when a call that it makes enters the VM again.
const RENAMED: [(&str, &str); 2] =
    [("berth_on_http_call_response", "proxy_on_http_call_response"), ("berth_on_tick", "proxy_on_tick")];

/// In the file with the placement role alone those of the SDK would have to be told of each stream's beginning and end.
const RENAMED_ALONE: [(&str, &str); 3] = [
    ("berth_on_configure", "proxy_on_configure"),
    ("berth_on_tick", "proxy_on_tick"),
    ("berth_on_request_headers", "proxy_on_request_headers"),
];

/// Which of the two files is to be made of what was linked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both roles.
    Full,
    /// A placement filter that looks at headers only.
    Placement,
}

impl Cut {
    /// Whether the file keeps this export.
    #[must_use]
    pub fn keeps(self, export: &str) -> bool {
        BASE.contains(&export) || (self == Self::Full && TELEMETRY.contains(&export))
    }

    /// The callbacks by which the proxy enters it.
    pub fn callbacks(self) -> impl Iterator<Item = &'static str> {
        let all = BASE.iter().chain(&TELEMETRY).copied();
        all.filter(move |name| self.keeps(name) && name.starts_with("proxy_on_"))
    }
}

/// Why bytes are no module that can be worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidModule {
    /// The bytes contradict the format: where, and what was expected there.
    Malformed {
        /// Offset of the byte.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// An export that is to be renamed is not there.
    NoExport(String),
    /// Two exports would have this name.
    Duplicate(String),
}

impl fmt::Display for InvalidModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { at, expected } => write!(f, "not a WebAssembly module: byte {at}: expected {expected}"),
            Self::NoExport(name) => write!(f, "the module does not export `{name}`"),
            Self::Duplicate(name) => write!(f, "the module would export `{name}` twice"),
        }
    }
}

impl Error for InvalidModule {}

/// Something imported: from which namespace, under which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import<'a> {
    /// The namespace, such as `env`.
    pub module: &'a str,
    /// The name in it.
    pub name: &'a str,
}

/// What the module imports, in its order.
///
/// # Errors
/// When the bytes are no module.
pub fn imports(module: &[u8]) -> Result<Vec<Import<'_>>, InvalidModule> {
    let Some(section) = section(module, IMPORTS)? else { return Ok(Vec::new()) };
    let mut reader = section;
    let count = reader.number("how many imports there are")?;
    (0..count).map(|_| reader.import()).collect()
}

/// The names that the module exports, in its order.
///
/// # Errors
/// When the bytes are no module.
pub fn exports(module: &[u8]) -> Result<Vec<&str>, InvalidModule> {
    Ok(export_entries(module)?.into_iter().map(|export| export.name).collect())
}

/// Makes one of the two files of a module that was linked.
///
/// # Errors
/// When the bytes are no module, or our own handlers are not in it.
pub fn cut(module: &[u8], cut: Cut) -> Result<Vec<u8>, InvalidModule> {
    let renamed: &[(&str, &str)] = if cut == Cut::Full { &RENAMED } else { &RENAMED_ALONE };
    let ours = |name: &str| renamed.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
    let replaced = |name: &str| renamed.iter().any(|(_, to)| *to == name);
    let names = exports(module)?;
    let drop: Vec<&str> =
        names.into_iter().filter(|name| replaced(name) || !cut.keeps(ours(name).unwrap_or(name))).collect();
    trim(module, &drop, renamed)
}

/// Drops exports, then renames some of those that are left. Dropping what is not there is no error.
///
/// # Errors
/// When the bytes are no module, an export to rename is missing, or two would have the same name.
pub fn trim(module: &[u8], drop: &[&str], rename: &[(&str, &str)]) -> Result<Vec<u8>, InvalidModule> {
    let mut kept = export_entries(module)?;
    kept.retain(|export| !drop.contains(&export.name));
    for (from, to) in rename {
        let export = kept.iter_mut().find(|export| export.name == *from);
        export.ok_or_else(|| InvalidModule::NoExport((*from).to_owned()))?.name = to;
    }
    let mut names: Vec<&str> = kept.iter().map(|export| export.name).collect();
    names.sort_unstable();
    if let Some(name) = names.windows(2).find_map(|pair| (pair.first() == pair.last()).then(|| pair.first())).flatten()
    {
        return Err(InvalidModule::Duplicate((*name).to_owned()));
    }

    let mut out = HEADER.to_vec();
    for found in sections(module)? {
        let body = if found.kind == EXPORTS { encode(&kept) } else { found.body.bytes.to_vec() };
        out.push(found.kind);
        push_number(&mut out, body.len());
        out.extend_from_slice(&body);
    }
    Ok(out)
}

const HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";
const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;

struct Section<'a> {
    kind: u8,
    body: Reader<'a>,
}

struct Export<'a> {
    name: &'a str,
    kind: u8,
    index: usize,
}

fn sections(module: &[u8]) -> Result<Vec<Section<'_>>, InvalidModule> {
    let mut reader = Reader { bytes: module, at: 0 };
    if reader.take(HEADER.len(), "the header of a module, version 1")? != HEADER {
        return Err(InvalidModule::Malformed { at: 0, expected: "the header of a module, version 1" });
    }
    let mut found = Vec::new();
    while !reader.bytes.is_empty() {
        let kind = reader.byte("a section")?;
        let size = reader.number("the size of a section")?;
        let at = reader.at;
        found.push(Section {
            kind,
            body: Reader { bytes: reader.take(size, "as many bytes as the section says")?, at },
        });
    }
    Ok(found)
}

fn section(module: &[u8], kind: u8) -> Result<Option<Reader<'_>>, InvalidModule> {
    Ok(sections(module)?.into_iter().find(|section| section.kind == kind).map(|section| section.body))
}

fn export_entries(module: &[u8]) -> Result<Vec<Export<'_>>, InvalidModule> {
    let Some(mut reader) = section(module, EXPORTS)? else { return Ok(Vec::new()) };
    let count = reader.number("how many exports there are")?;
    let mut entry = || {
        Ok(Export {
            name: reader.name()?,
            kind: reader.byte("the kind of an export")?,
            index: reader.number("the index of an export")?,
        })
    };
    (0..count).map(|_| entry()).collect()
}

fn encode(exports: &[Export<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    push_number(&mut out, exports.len());
    for export in exports {
        push_number(&mut out, export.name.len());
        out.extend_from_slice(export.name.as_bytes());
        out.push(export.kind);
        push_number(&mut out, export.index);
    }
    out
}

/// Unsigned LEB128.
fn push_number(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        out.push(low | if number == 0 { 0 } else { 0x80 });
        if number == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with one imported function, one of its own, a memory and three exports.
    fn sample() -> Vec<u8> {
        let mut out = HEADER.to_vec();
        let mut section = |kind: u8, body: &[u8]| {
            out.push(kind);
            push_number(&mut out, body.len());
            out.extend_from_slice(body);
        };
        section(1, &[1, 0x60, 0, 0]);
        section(2, b"\x01\x03env\x09proxy_log\x00\x00");
        section(3, &[1, 0]);
        section(5, &[1, 0, 1]);
        section(7, b"\x03\x06memory\x02\x00\x01a\x00\x01\x01b\x00\x00");
        section(10, &[1, 2, 0, 0x0b]);
        out
    }

    #[test]
    fn imports_and_exports_are_listed_in_order() {
        assert_eq!(imports(&sample()).unwrap(), [Import { module: "env", name: "proxy_log" }]);
        assert_eq!(exports(&sample()).unwrap(), ["memory", "a", "b"]);
    }

    #[test]
    fn trimming_nothing_changes_no_byte() {
        assert_eq!(trim(&sample(), &[], &[]).unwrap(), sample());
    }

    #[test]
    fn a_dropped_name_may_be_taken_over_by_another_export() {
        let trimmed = trim(&sample(), &["a"], &[("b", "a")]).unwrap();
        assert_eq!(exports(&trimmed).unwrap(), ["memory", "a"]);
        assert!(trimmed.ends_with(&[1, b'a', 0, 0, 10, 4, 1, 2, 0, 0x0b]), "the index is b's, and the code is kept");
    }

    #[test]
    fn a_name_is_never_exported_twice() {
        assert_eq!(trim(&sample(), &[], &[("b", "a")]), Err(InvalidModule::Duplicate("a".into())));
    }

    #[test]
    fn renaming_what_is_not_there_is_refused() {
        assert_eq!(trim(&sample(), &["b"], &[("b", "a")]), Err(InvalidModule::NoExport("b".into())));
    }

    #[test]
    fn a_cut_off_module_is_an_error_at_every_length() {
        let whole = sample();
        let boundaries: Vec<usize> = sections(&whole).unwrap().iter().map(|s| s.body.at + s.body.bytes.len()).collect();
        for length in 0..whole.len() {
            let (short, _) = whole.split_at(length);
            let ends_at_a_section = length == HEADER.len() || boundaries.contains(&length);
            assert_eq!(trim(short, &[], &[]).is_ok(), ends_at_a_section, "{length} bytes");
        }
    }

    #[test]
    fn no_byte_changed_anywhere_is_a_panic() {
        for at in 0..sample().len() {
            for value in [0x00, 0x7f, 0x80, 0xff] {
                let mut bytes = sample();
                bytes[at] = value;
                let _ = (imports(&bytes), trim(&bytes, &["a"], &[("b", "a")]), cut(&bytes, Cut::Full));
            }
        }
    }
}
