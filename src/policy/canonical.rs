//! Canonical JSON (RFC 8785) of a tree, and its digest: the same for the same document, whatever the order of its
//! fields, however it was written, and whichever way it came.

use super::{
    decimal,
    order::sorted,
    tree::{Node, Value},
};
use core::fmt::{self, Write};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a document's canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of a document.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        Self(Sha256::digest(canonical(node).as_bytes()).into())
    }

    /// The digest of a policy and the overrides that narrow it, in their order.
    #[must_use]
    pub fn of_layers(layers: &[Self]) -> Self {
        let mut hash = Sha256::new();
        layers.iter().for_each(|layer| hash.update(layer.0));
        Self(hash.finalize().into())
    }

    /// The first eight hexadecimal digits: what stands on every decision.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The document as canonical JSON.
#[must_use]
pub fn canonical(node: &Node) -> String {
    let mut out = String::new();
    write_value(&mut out, &node.value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&decimal::es6(*number)),
        Value::Text(text) => write_text(out, text),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, &item.value);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            // UTF-16 code units, as the RFC says; they differ from bytes beyond the basic plane.
            let sorted = sorted(entries.iter().collect(), |a, b| a.key.encode_utf16().cmp(b.key.encode_utf16()));
            out.push('{');
            for (i, entry) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(out, &entry.key);
                out.push(':');
                write_value(out, &entry.node.value);
            }
            out.push('}');
        }
    }
}

/// A JSON string with only the escapes that the RFC asks for.
pub(super) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{Digest, canonical};
    use crate::policy::json::parse;

    fn again(text: &str) -> String {
        canonical(&parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn the_example_of_rfc_8785_section_3_2_2_comes_out_as_printed_there() {
        // With 1E20 for its 1E30 and 333333333.33333329 as there: numbers beyond 2^53 are refused before.
        let text = r#"{"numbers": [333333333.33333329, 1E10, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
        let expected = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,10000000000,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(again(text), expected);
    }

    #[test]
    fn keys_sort_by_utf_16_as_the_example_of_section_3_2_3() {
        let text = r#"{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"}"#;
        let values: Vec<String> =
            again(text).split("\":\"").skip(1).map(|v| v.split('"').next().unwrap().into()).collect();
        assert_eq!(
            values,
            [
                "Carriage Return",
                "One",
                "Control",
                "Latin Small Letter O With Diaeresis",
                "Euro Sign",
                "Emoji: Grinning Face",
                "Hebrew Letter Dalet With Dagesh"
            ]
        );
    }

    #[test]
    fn a_digest_does_not_depend_on_order_space_or_the_way_a_number_was_written() {
        let a = Digest::of(&parse(br#"{"a": 12, "b": [0.10]}"#).unwrap());
        let b = Digest::of(&parse(br#"{"b":[1e-1],"a":12.0}"#).unwrap());
        assert_eq!(a, b);
        assert_ne!(a, Digest::of(&parse(br#"{"a": "12", "b": [0.10]}"#).unwrap()));
    }

    #[test]
    fn a_digest_is_the_sha_256_of_the_canonical_text() {
        let digest = Digest::of(&parse(b"{}").unwrap());
        assert_eq!(digest.to_string(), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(digest.short(), "44136fa3");
    }
}
