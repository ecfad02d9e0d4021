//! What is wrong with a document, in words for the person who wrote it.

use super::{codes::Code, tree::Position};
use core::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Legal, but suspicious.
    Warning,
    /// Refused.
    Error,
}

impl Severity {
    /// The word used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPolicy {
    /// The stable code, such as `BTH0101`.
    pub code: &'static str,
    /// The code in words, such as `unknown-jurisdiction`.
    pub slug: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where in the document, such as `substrates[3].location.jurisdiction`.
    pub path: String,
    /// Where in the text.
    pub at: Option<Position>,
    /// The offending input.
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

impl InvalidPolicy {
    /// One thing that is wrong.
    #[must_use]
    pub fn new(code: Code, path: impl fmt::Display, at: Position, found: String, expected: String) -> Self {
        let at = (at != Position::default()).then_some(at);
        Self { code: code.id, slug: code.slug, severity: code.severity, path: path.to_string(), at, found, expected }
    }

    /// Whether it refuses the document.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the document" } else { &self.path };
        write!(f, "{} {} at {path}: ", self.code, self.slug)?;
        if !self.found.is_empty() {
            write!(f, "found `{}`, ", self.found)?;
        }
        write!(f, "expected {}", self.expected)
    }
}

/// The known word nearest to what was written, if it is near enough to have been meant.
#[must_use]
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written: Vec<char> = written.chars().take(64).collect();
    let reach = 1 + written.len() / 4;
    known
        .into_iter()
        .take(512)
        .map(|word| (distance(&written, word), word))
        .filter(|(d, _)| *d <= reach)
        .min_by_key(|(d, _)| *d)
        .map(|(_, word)| word)
}

/// How many characters must be put in, taken out or changed.
fn distance(a: &[char], word: &str) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, c) in word.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, &d) in a.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(0);
            let best = (diagonal + usize::from(c != d)).min(above + 1).min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            (diagonal, left) = (above, best);
        }
        if let Some(cell) = row.last_mut() {
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// `, did you mean …?` where something near is known.
#[must_use]
pub fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("clutser", ["cluster", "kind"]), Some("cluster"));
        assert_eq!(nearest("juridiction", ["jurisdiction", "region"]), Some("jurisdiction"));
        assert_eq!(nearest("zebra", ["cluster", "kind"]), None);
        assert_eq!(nearest("", ["a"]), Some("a"));
    }
}
