//! JSON text → tree. Strict (RFC 8259, duplicate names refused), bounded in size and depth, and every value keeps
//! its line and column. One parser for the tool and the filter, so that they cannot disagree.

use super::{
    codes,
    double::Decimal,
    error::InvalidPolicy,
    order,
    tree::{Entry, MOST_BYTES, MOST_DEEP, MOST_EXACT, Node, Position, Value},
};

/// Reads a JSON text.
///
/// # Errors
/// The first thing that is not JSON, or is over a limit.
pub fn parse(bytes: &[u8]) -> Result<Node, InvalidPolicy> {
    parse_most(bytes, MOST_BYTES, MOST_DEEP)
}

/// Reads a JSON text that has two documents among its fields, each as large and as deep as one may be.
///
/// # Errors
/// The first thing that is not JSON, or is over a limit.
#[inline(never)]
pub fn parse_around(bytes: &[u8]) -> Result<Node, InvalidPolicy> {
    parse_most(bytes, MOST_BYTES * 3, MOST_DEEP + 1)
}

fn parse_most(bytes: &[u8], most: usize, deep: usize) -> Result<Node, InvalidPolicy> {
    let start = Position { line: 1, column: 1 };
    if bytes.len() > most {
        let expected = format!("at most {most} bytes ({} MiB)", most >> 20);
        return Err(InvalidPolicy::new(codes::TOO_LARGE, "", start, format!("{} bytes", bytes.len()), expected));
    }
    let text = core::str::from_utf8(bytes).map_err(|e| {
        InvalidPolicy::new(codes::NOT_TEXT, "", start, format!("byte {}", e.valid_up_to()), "UTF-8".into())
    })?;
    let mut parser = Parser { rest: text, at: start, deep };
    let node = parser.value(0)?;
    parser.space();
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.refuse("nothing after the document")),
    }
}

/// What is left of the text, and where that begins.
struct Parser<'t> {
    rest: &'t str,
    at: Position,
    /// How deep it may nest.
    deep: usize,
}

type Parsed<T> = Result<T, InvalidPolicy>;

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        if c == '\n' {
            self.at = Position { line: self.at.line.saturating_add(1), column: 1 };
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    fn refuse(&self, expected: &str) -> InvalidPolicy {
        let found = self.peek().map_or_else(|| String::from("the end"), String::from);
        InvalidPolicy::new(codes::SYNTAX, "", self.at, found, format!("{expected} (JSON)"))
    }

    fn expect(&mut self, wanted: char, expected: &str) -> Parsed<()> {
        if self.peek() == Some(wanted) {
            self.next();
            return Ok(());
        }
        Err(self.refuse(expected))
    }

    fn value(&mut self, depth: usize) -> Parsed<Node> {
        self.space();
        let at = self.at;
        if depth > self.deep {
            return Err(InvalidPolicy::new(
                codes::TOO_DEEP,
                "",
                at,
                String::new(),
                format!("at most {} levels", self.deep),
            ));
        }
        let value = match self.peek() {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('t') => self.word("true", Value::Bool(true))?,
            Some('f') => self.word("false", Value::Bool(false))?,
            Some('n') => self.word("null", Value::Null)?,
            Some('-' | '0'..='9') => self.number()?,
            _ => return Err(self.refuse("a value")),
        };
        Ok(Node { value, at })
    }

    fn word(&mut self, word: &str, value: Value) -> Parsed<Value> {
        for wanted in word.chars() {
            self.expect(wanted, &format!("`{word}`"))?;
        }
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Parsed<Value> {
        self.next();
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(']') {
            self.next();
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(',') => self.next(),
                Some(']') => break,
                _ => return Err(self.refuse("`,` or `]`")),
            };
        }
        self.next();
        Ok(Value::List(items))
    }

    fn map(&mut self, depth: usize) -> Parsed<Value> {
        self.next();
        let mut entries = Vec::new();
        self.space();
        if self.peek() == Some('}') {
            self.next();
            return Ok(Value::Map(entries));
        }
        loop {
            self.space();
            let at = self.at;
            if self.peek() != Some('"') {
                return Err(self.refuse("a name in double quotes"));
            }
            let key = self.string()?;
            self.space();
            self.expect(':', "`:`")?;
            let node = self.value(depth + 1)?;
            entries.push(Entry { key, at, node });
            self.space();
            match self.peek() {
                Some(',') => self.next(),
                Some('}') => break,
                _ => return Err(self.refuse("`,` or `}`")),
            };
        }
        self.next();
        match duplicate(&entries) {
            None => Ok(Value::Map(entries)),
            Some(twice) => Err(duplicate_key(twice)),
        }
    }

    fn number(&mut self) -> Parsed<Value> {
        let (at, text) = (self.at, self.rest);
        let digits = |p: &mut Self| {
            let mut any = false;
            while matches!(p.peek(), Some('0'..='9')) {
                p.next();
                any = true;
            }
            if any { Ok(()) } else { Err(p.refuse("a digit")) }
        };
        if self.peek() == Some('-') {
            self.next();
        }
        if self.peek() == Some('0') {
            self.next();
        } else {
            digits(self)?;
        }
        if self.peek() == Some('.') {
            self.next();
            digits(self)?;
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.next();
            if matches!(self.peek(), Some('+' | '-')) {
                self.next();
            }
            digits(self)?;
        }
        let literal = text.get(..text.len() - self.rest.len()).unwrap_or_default();
        number(literal, at).map(Value::Number)
    }

    fn string(&mut self) -> Parsed<String> {
        self.next();
        let mut out = String::new();
        loop {
            // The usual case at once: everything up to the next quote, backslash or control character.
            let plain = self.rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(self.rest.len());
            let (run, rest) = self.rest.split_at_checked(plain).unwrap_or((self.rest, ""));
            out.push_str(run);
            self.rest = rest;
            self.at.column = self.at.column.saturating_add(u32::try_from(run.chars().count()).unwrap_or(u32::MAX));
            match self.peek() {
                Some('"') => {
                    self.next();
                    return Ok(out);
                }
                Some('\\') => {
                    self.next();
                    out.push(self.escape()?);
                }
                _ => return Err(self.refuse("a closing quote, and no control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let refused = self.refuse("an escape that JSON knows");
        Ok(match self.next() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(refused),
            _ => return Err(refused),
        })
    }

    fn unicode(&mut self, refused: InvalidPolicy) -> Parsed<char> {
        let first = self.hex();
        let code = match first {
            Some(high @ 0xd800..=0xdbff) => {
                let pair = (self.next() == Some('\\') && self.next() == Some('u')).then(|| self.hex()).flatten();
                pair.filter(|low| (0xdc00..=0xdfff).contains(low))
                    .map(|low| 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
            }
            other => other,
        };
        code.and_then(char::from_u32).ok_or(refused)
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |sum, _| Some(sum * 16 + self.next()?.to_digit(16)?))
    }
}

/// A number's literal as a double, if every reader would keep it.
pub(super) fn number(literal: &str, at: Position) -> Result<f64, InvalidPolicy> {
    let value = Decimal::parse(literal).map_or(f64::INFINITY, |decimal| decimal.nearest());
    if value.abs() <= MOST_EXACT {
        return Ok(if value == 0.0 { 0.0 } else { value });
    }
    let expected = String::from("a number nearer to zero than 2^53, which every reader keeps exactly");
    Err(InvalidPolicy::new(codes::NUMBER_TOO_LARGE, "", at, super::tree::shorten(literal), expected))
}

/// The second of two fields of one name.
pub(super) fn duplicate(entries: &[Entry]) -> Option<&Entry> {
    if entries.len() < 2 {
        return None;
    }
    let sorted = order::sorted(entries.iter().collect::<Vec<_>>(), |a, b| a.key.cmp(&b.key));
    sorted.windows(2).find_map(|pair| match pair {
        [a, b] if a.key == b.key => Some(*b),
        _ => None,
    })
}

/// The refusal of a field that was written twice.
pub(super) fn duplicate_key(twice: &Entry) -> InvalidPolicy {
    let expected = String::from("each name once in a map");
    InvalidPolicy::new(codes::DUPLICATE_KEY, "", twice.at, super::tree::shorten(&twice.key), expected)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::policy::tree::{Position, Value};

    #[test]
    fn what_json_allows_is_read_with_its_place() {
        let node = parse(b"{\"a\": [1, -2.5e1, true, null],\n \"b\": \"x\\u00e9\\ud83d\\ude00\\n\"}").unwrap();
        assert_eq!(node.get("a").unwrap().items()[1].value, Value::Number(-25.0));
        assert_eq!(node.get("b").unwrap().text(), Some("xé😀\n"));
        assert_eq!(node.get("b").unwrap().at, Position { line: 2, column: 7 });
    }

    #[test]
    fn what_json_does_not_allow_is_refused_at_its_place() {
        let cases: [(&str, &str, u32); 14] = [
            ("", "BTH0003", 1),
            ("{\"a\":1,}", "BTH0003", 8),
            ("[1,]", "BTH0003", 4),
            ("{a:1}", "BTH0003", 2),
            ("01", "BTH0003", 2),
            ("1.", "BTH0003", 3),
            ("[1] x", "BTH0003", 5),
            ("\"\\q\"", "BTH0003", 3),
            ("\"\\ud800\"", "BTH0003", 3),
            ("\"a\tb\"", "BTH0003", 3),
            ("nul", "BTH0003", 4),
            ("{\"a\":1,\"a\":2}", "BTH0005", 8),
            ("9007199254740993000", "BTH0006", 1),
            ("1e400", "BTH0006", 1),
        ];
        for (text, code, column) in cases {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.at.unwrap().column), (code, column), "{text}");
        }
    }

    #[test]
    fn a_document_too_deep_or_too_large_is_refused_with_the_limit_named() {
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).unwrap_err().to_string().contains("64 levels"));
        let large = vec![b' '; 4 * 1024 * 1024 + 1];
        assert!(parse(&large).unwrap_err().to_string().contains("4 MiB"));
    }
}
