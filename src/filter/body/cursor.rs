//! JSON, stepped over from its beginning: no tree, no depth, and nothing made of what nobody asks for.

use std::borrow::Cow;

/// The most bytes of a key or value that are kept: more than any word of a policy has.
const MOST_NAME: usize = 1_024;

/// A place in the bytes. Every step is forward, so a scan ends; `None` is the end of what there is, or nonsense.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    pub(super) fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    pub(super) fn opens(&mut self, bracket: u8) -> Option<bool> {
        Some(self.peek()? == bracket)
    }

    /// Whether a list begins here that has something in it; unknown where the bytes end before that shows.
    pub(super) fn holds_any(&mut self) -> Option<bool> {
        if !self.opens(b'[')? {
            return Some(false);
        }
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        rest.iter().find(|b| !b.is_ascii_whitespace()).map(|&first| first != b']')
    }

    /// Whether what was stepped over since has these bytes near its beginning.
    pub(super) fn holds(&self, from: usize, wanted: &[u8]) -> bool {
        let near = self.bytes.get(from..self.at.min(from + 128)).unwrap_or_default();
        near.windows(wanted.len()).any(|window| window == wanted)
    }

    /// Hands each key of the object that begins here to `member`, which moves on past the value.
    pub(super) fn members(&mut self, member: &mut dyn FnMut(&str, &mut Self) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            self.member(member)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.take(b'}'),
            }
        }
    }

    /// One key, and its value to `member`.
    pub(super) fn member(&mut self, member: &mut dyn FnMut(&str, &mut Self) -> Option<()>) -> Option<()> {
        let key = self.string()?;
        self.take(b':')?;
        member(&key, self)
    }

    /// A string value.
    pub(super) fn text(&mut self, say: impl FnOnce(Cow<'a, str>)) -> Option<()> {
        if self.peek()? != b'"' {
            return self.skip();
        }
        say(self.string()?);
        Some(())
    }

    /// A number or a word, if it is one that `read` understands.
    pub(super) fn plain<T>(&mut self, read: impl FnOnce(&str) -> Option<T>, say: impl FnOnce(T)) -> Option<()> {
        self.peek()?;
        let from = self.at;
        self.skip()?;
        let text = self.bytes.get(from..self.at).and_then(|bytes| core::str::from_utf8(bytes).ok());
        if let Some(value) = text.and_then(read) {
            say(value);
        }
        Some(())
    }

    /// A string with its escapes resolved; of a long one the beginning, which is then no name that anybody knows. Without
    /// escapes it is borrowed: who sends thousands of keys has nothing made of each.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.take(b'"')?;
        let (from, mut inside) = (self.at, Cursor { bytes: self.bytes, at: self.at });
        self.at -= 1;
        self.skip_string()?;
        let whole = self.bytes.get(from..self.at - 1)?;
        if !whole.contains(&b'\\') {
            return Some(String::from_utf8_lossy(whole.get(..MOST_NAME).unwrap_or(whole)));
        }
        let mut bytes = Vec::with_capacity(whole.len().min(MOST_NAME) + 4);
        while inside.at + 1 < self.at && bytes.len() < MOST_NAME {
            let byte = *self.bytes.get(inside.at)?;
            inside.at += 1;
            if byte == b'\\' {
                bytes.extend_from_slice(inside.escape()?.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                bytes.push(byte);
            }
        }
        bytes.truncate(MOST_NAME);
        let lossy = |wrong: std::string::FromUtf8Error| String::from_utf8_lossy(wrong.as_bytes()).into_owned();
        Some(Cow::Owned(String::from_utf8(bytes).unwrap_or_else(lossy)))
    }

    fn escape(&mut self) -> Option<char> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(match byte {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let digits = self.bytes.get(self.at..self.at.checked_add(4)?)?;
                self.at += 4;
                let code = u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
                // Half of a pair: no name has one.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => char::from(other),
        })
    }

    /// Steps over a value of any kind and depth.
    pub(super) fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => self.skip_word()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// A number or a word; at the end of the bytes it may go on, so it does not count.
    fn skip_word(&mut self) -> Option<()> {
        let from = self.at;
        while !matches!(*self.bytes.get(self.at)?, b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }
}
