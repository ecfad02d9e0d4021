//! As much of Rust's grammar as the rules need: words, paths with their groups opened, calls. Comments, texts and the
//! test module at the end of a file are left out.

/// What a file says.
pub(crate) struct Source {
    /// How many lines it has before its test module.
    pub(crate) lines: usize,
    /// Every word.
    pub(crate) words: Vec<String>,
    /// Every path, such as `["std", "time", "Instant"]`; `use a::{b, c::d}` is two. A lone word is a path of one.
    pub(crate) paths: Vec<Vec<String>>,
    /// The names of what is called: methods, functions and macros of functions.
    pub(crate) calls: Vec<String>,
}

impl Source {
    pub(crate) fn read(text: &str) -> Self {
        let code = before_tests(text);
        let tokens = tokens(code);
        let words = tokens.iter().filter(|token| is_word(token)).cloned().collect();
        let calls = tokens.windows(2).filter(|pair| is_word(&pair[0]) && pair[1] == "(").map(|pair| pair[0].clone());
        Self { lines: code.lines().count(), words, calls: calls.collect(), paths: paths(&tokens) }
    }
}

fn before_tests(text: &str) -> &str {
    let at = ["\n#[cfg(test)]\nmod ", "\n#[cfg(test)]\n#["].iter().filter_map(|mark| text.find(mark)).min();
    at.map_or(text, |at| &text[..=at])
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and single other characters.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest));
        let length = if let Some(length) = skipped {
            length
        } else if is_word(rest) {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if skipped.is_none() && !first.is_whitespace() {
            found.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    found
}

/// The length of a comment.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(text.len())
}

/// The length of a text, a character or a lifetime.
fn literal(text: &str) -> Option<usize> {
    let body = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - body.len();
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &raw[hashes + 1..];
            return Some(prefix + 2 + hashes + inside.find(&end).map_or(inside.len(), |at| at + end.len()));
        }
    }
    if body.starts_with('"') {
        return Some(prefix + quoted(body, '"'));
    }
    if !body.starts_with('\'') {
        return None;
    }
    let mut characters = body.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        return Some(prefix + quoted(body, '\''));
    }
    match characters.next() {
        Some((at, '\'')) => Some(prefix + at + 1),
        // A lifetime: the quote and its word.
        _ => Some(1 + body[1..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(body.len() - 1)),
    }
}

/// The length from one quote to the next that is not escaped.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if character == quote && !escaped {
            return at + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}

fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at]) {
            at = path(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path from `at`, after `before`; gives where it ends.
fn path(tokens: &[String], mut at: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let is = |at: usize, token: &str| tokens.get(at).is_some_and(|t| t == token);
    let mut segments = before.to_vec();
    while tokens.get(at).is_some_and(|token| is_word(token)) {
        segments.push(tokens[at].clone());
        at += 1;
        if !is(at, "::") {
            break;
        }
        at += 1;
        if is(at, "{") {
            return group(tokens, at + 1, &segments, found);
        }
    }
    found.push(segments);
    at
}

/// Reads the members of a group, up to and with its closing brace.
fn group(tokens: &[String], mut at: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    while at < tokens.len() && tokens[at] != "}" {
        if !is_word(&tokens[at]) {
            at += 1;
            continue;
        }
        at = path(tokens, at, before, found);
        if tokens.get(at).is_some_and(|token| token == "as") || tokens.get(at).is_some_and(|token| token == "*") {
            at += 2;
        }
    }
    at + 1
}
