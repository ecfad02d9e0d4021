//! Names of what a policy declares: short, lower case, safe in headers, logs, metrics and cluster names.

use core::fmt;

/// A validated name: `[a-z][a-z0-9-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The longest a name may be.
    pub const MAX_LEN: usize = 63;

    /// Accepts a name, or `None` if the text is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let head = bytes.next()?;
        let tail = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (head.is_ascii_lowercase() && text.len() <= Self::MAX_LEN && bytes.all(tail)).then(|| Self(String::from(text)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_is_lower_case_starts_with_a_letter_and_is_at_most_63_long() {
        assert!(Name::parse("metal-fr").is_some());
        assert!(Name::parse("a").is_some());
        assert!(Name::parse(&"a".repeat(63)).is_some());
        for bad in ["", "-a", "1a", "A", "a_b", "a b", "é", &"a".repeat(64)] {
            assert!(Name::parse(bad).is_none(), "accepted {bad:?}");
        }
    }
}
