//! One line of the text format: labels, value and time of a sample, taken apart in place.

/// Labels, value and time of a sample, as written.
pub(super) type Parts<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

/// The parts of what follows a metric's name.
pub(super) fn split(rest: &[u8]) -> Option<Parts<'_>> {
    let (labels, rest) = match rest.trim_ascii_start().strip_prefix(b"{") {
        Some(inner) => {
            let (mut quoted, mut escaped) = (false, false);
            let end = inner.iter().position(|b| {
                let closes = *b == b'}' && !quoted;
                quoted ^= *b == b'"' && !escaped;
                escaped = *b == b'\\' && !escaped;
                closes
            })?;
            (inner.get(..end)?, inner.get(end + 1..)?)
        }
        None => (&[][..], rest),
    };
    let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    // What begins so is an example of what was counted, and no time.
    Some((labels, words.next()?, words.next().filter(|word| !word.starts_with(b"#"))))
}

/// Whether the text of a sample's labels has all of these.
pub(super) fn carries(text: &[u8], wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(name, value)| {
        let mut rest = text;
        while let Some((found, after)) = label(rest) {
            if found == (name.as_bytes(), value.as_bytes()) {
                return true;
            }
            rest = after;
        }
        false
    })
}

/// Name and value of a label, as written.
type Label<'a> = (&'a [u8], &'a [u8]);

/// The first label of a text, and what follows it.
fn label(text: &[u8]) -> Option<(Label<'_>, &[u8])> {
    let text = text.trim_ascii_start();
    let equals = text.iter().position(|b| *b == b'=')?;
    let name = text.get(..equals)?.trim_ascii();
    let quoted = text.get(equals + 1..)?.trim_ascii_start().strip_prefix(b"\"")?;
    let mut escaped = false;
    let end = quoted.iter().position(|b| {
        let closes = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        closes
    })?;
    let after = quoted.get(end + 1..)?.trim_ascii_start();
    Some(((name, quoted.get(..end)?), after.strip_prefix(b",").unwrap_or(after)))
}
