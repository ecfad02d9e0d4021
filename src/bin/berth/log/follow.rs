//! A log while it is written: whole lines as they come, across rotation, in memory that does not grow with the log.
//!
//! A log is rotated in two ways. It is moved away and begun anew: then what was still written to the old file is read
//! first. Or it is copied and cut: then it is shorter than what was read of it.

use crate::lines::{Logged, MOST_LINE};
use std::{
    fs::{self, File, Metadata},
    io::{ErrorKind, Read, Seek as _, SeekFrom},
};

/// The most that one look reads.
const MOST_READ: u64 = 4 << 20;

/// Cuts what comes into lines.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    rest: Vec<u8>,
    number: usize,
}

impl Cutter {
    /// More has come: hands over the lines that are whole now, and says how many.
    pub(super) fn take(&mut self, bytes: &[u8], mut then: impl FnMut(&Logged)) -> usize {
        let before = self.number;
        self.rest.extend_from_slice(bytes);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        for line in whole.split(|byte| *byte == b'\n') {
            self.line(line, &mut then);
        }
        // What is longer than that is no line of an access log: it is not waited for.
        if u64::try_from(self.rest.len()).is_ok_and(|len| len >= MOST_LINE) {
            self.end(then);
        }
        self.number - before
    }

    /// Nothing comes any more: what is left is a line, too. Says how many.
    pub(super) fn end(&mut self, mut then: impl FnMut(&Logged)) -> usize {
        let (before, last) = (self.number, std::mem::take(&mut self.rest));
        self.line(&last, &mut then);
        self.number - before
    }

    fn line(&mut self, line: &[u8], then: &mut impl FnMut(&Logged)) {
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            self.number += 1;
            then(&Logged::parse(self.number, text.trim_end()));
        }
    }
}

/// A file that is being written, under a name that may come to mean another one.
#[derive(Debug)]
pub(super) struct Tail {
    path: String,
    open: Option<File>,
    read: u64,
    lines: Cutter,
}

impl Tail {
    /// Opens it: what is there already is read first.
    pub(super) fn open(path: &str) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
        Ok(Self { path: path.into(), open: Some(file), read: 0, lines: Cutter::default() })
    }

    /// Reads on; `None` when there was nothing new, otherwise how many lines were whole.
    pub(super) fn look(&mut self, mut then: impl FnMut(&Logged)) -> Result<Option<usize>, String> {
        let wrong = |e: std::io::Error| format!("{}: {e}", self.path);
        let Some(mut file) = self.open.as_ref() else {
            // Between two files of that name there may be none for a while.
            self.open = match File::open(&self.path) {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                other => Some(other.map_err(wrong)?),
            };
            self.read = 0;
            return Ok(Some(0));
        };
        let known = file.metadata().map_err(wrong)?;
        if known.len() < self.read {
            self.read = 0;
            let lines = self.lines.end(&mut then);
            return Ok(Some(lines));
        }
        file.seek(SeekFrom::Start(self.read)).map_err(wrong)?;
        let mut bytes = Vec::new();
        let got = file.take(MOST_READ).read_to_end(&mut bytes).map_err(wrong)?;
        self.read += u64::try_from(got).unwrap_or(0);
        if got > 0 {
            return Ok(Some(self.lines.take(&bytes, then)));
        }
        if fs::metadata(&self.path).is_ok_and(|named| is_another(&known, &named)) {
            self.open = None;
            return Ok(Some(self.lines.end(then)));
        }
        Ok(None)
    }
}

/// Whether a name has come to mean another file than the one that is open, and so cannot have given its number away.
#[cfg(unix)]
fn is_another(open: &Metadata, named: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (open.dev(), open.ino()) != (named.dev(), named.ino())
}

/// Elsewhere files have no numbers that can be asked for: a new one is noticed when it is shorter.
#[cfg(not(unix))]
fn is_another(open: &Metadata, named: &Metadata) -> bool {
    named.len() < open.len()
}

#[cfg(test)]
mod tests {
    use super::{Cutter, MOST_LINE};

    #[test]
    fn lines_are_whole_however_they_come() {
        let (mut cutter, mut seen) = (Cutter::default(), Vec::new());
        for part in ["v=1, id=\"1\"", "\nv=1,", " id=\"2\"\n\nv=1, id=\"3\"\r\nv=1, id"] {
            cutter.take(part.as_bytes(), |logged| seen.push((logged.number, logged.decision.clone())));
        }
        let id = |n: usize| (n, Some(format!("v=1, id=\"{n}\"")));
        assert_eq!(seen, [id(1), id(2), id(3)]);
        assert_eq!(cutter.end(|_| {}), 1);
        assert_eq!(cutter.end(|_| {}), 0);
    }

    #[test]
    fn a_line_that_never_ends_is_not_kept() {
        let (mut cutter, part) = (Cutter::default(), vec![b'x'; 100_000]);
        for _ in 0..1_000 {
            cutter.take(&part, |_| {});
            assert!(cutter.rest.len() as u64 <= MOST_LINE + 100_000);
        }
    }
}
