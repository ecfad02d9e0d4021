//! A plugin configuration that was written as a `google.protobuf.Struct`: Envoy hands over its wire bytes, not JSON
//! (seen on 1.40; its documentation says otherwise). Turned into JSON text here, so that one reader reads both.

use crate::health::json::text::quote;
use crate::policy::decimal::es6;

/// How deep a configuration may nest.
const MOST_DEEP: u32 = 64;

/// The JSON text of a `Struct`'s wire bytes; `None` if they are not one.
#[must_use]
#[inline(never)]
pub fn to_json(bytes: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(bytes.len());
    write_struct(bytes, &mut out, MOST_DEEP)?;
    Some(out)
}

/// One field of a message.
enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(i + 1..)?));
        }
    }
    None
}

/// The text under a key of a filter's metadata, from protobuf's bytes of all metadata.
pub fn metadata_text<'a>(metadata: &'a [u8], filter: &str, key: &str) -> Option<&'a [u8]> {
    let value = entry(entry(metadata, filter)?, key)?;
    match field(value)? {
        (3, Field::Bytes(text), []) => Some(text),
        _ => None,
    }
}

/// The value under a key of a map that is a message's first field, as those of metadata and of a struct are.
fn entry<'a>(mut message: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    while let Some((number, value, rest)) = field(message) {
        message = rest;
        let (1, Field::Bytes(pair)) = (number, value) else { continue };
        let Some((1, Field::Bytes(key), rest)) = field(pair) else { continue };
        if let (true, Some((2, Field::Bytes(value), []))) = (key == wanted.as_bytes(), field(rest)) {
            return Some(value);
        }
    }
    None
}

/// The next field: its number, its value, and what follows.
fn field(bytes: &[u8]) -> Option<(u64, Field<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    match tag & 7 {
        0 => varint(rest).map(|(value, rest)| (tag >> 3, Field::Varint(value), rest)),
        1 => rest.split_first_chunk().map(|(value, rest)| (tag >> 3, Field::Fixed64(*value), rest)),
        2 => {
            let (len, rest) = varint(rest)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            Some((tag >> 3, Field::Bytes(value), rest))
        }
        _ => None,
    }
}

fn write_struct(mut bytes: &[u8], out: &mut String, deep: u32) -> Option<()> {
    out.push('{');
    let mut first = true;
    while !bytes.is_empty() {
        let (1, Field::Bytes(entry), rest) = field(bytes)? else { return None };
        if !core::mem::take(&mut first) {
            out.push(',');
        }
        write_entry(entry, out, deep)?;
        bytes = rest;
    }
    out.push('}');
    Some(())
}

fn write_entry(mut entry: &[u8], out: &mut String, deep: u32) -> Option<()> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    while !entry.is_empty() {
        let (number, Field::Bytes(bytes), rest) = field(entry)? else { return None };
        match number {
            1 => key = bytes,
            2 => value = bytes,
            _ => return None,
        }
        entry = rest;
    }
    write_text(key, out)?;
    out.push(':');
    write_value(value, out, deep.checked_sub(1)?)
}

fn write_value(bytes: &[u8], out: &mut String, deep: u32) -> Option<()> {
    if bytes.is_empty() {
        out.push_str("null");
        return Some(());
    }
    let (number, value, []) = field(bytes)? else { return None };
    match (number, value) {
        (1, Field::Varint(_)) => out.push_str("null"),
        (2, Field::Fixed64(bits)) => {
            let number = f64::from_le_bytes(bits);
            if !number.is_finite() {
                return None;
            }
            out.push_str(&es6(number));
        }
        (3, Field::Bytes(text)) => write_text(text, out)?,
        (4, Field::Varint(yes)) => out.push_str(if yes == 0 { "false" } else { "true" }),
        (5, Field::Bytes(fields)) => write_struct(fields, out, deep)?,
        (6, Field::Bytes(items)) => write_list(items, out, deep.checked_sub(1)?)?,
        _ => return None,
    }
    Some(())
}

fn write_list(mut bytes: &[u8], out: &mut String, deep: u32) -> Option<()> {
    out.push('[');
    let mut first = true;
    while !bytes.is_empty() {
        let (1, Field::Bytes(item), rest) = field(bytes)? else { return None };
        if !core::mem::take(&mut first) {
            out.push(',');
        }
        write_value(item, out, deep)?;
        bytes = rest;
    }
    out.push(']');
    Some(())
}

fn write_text(bytes: &[u8], out: &mut String) -> Option<()> {
    let text = core::str::from_utf8(bytes).ok()?;
    quote(out, text);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{metadata_text, to_json};

    /// `{"a": 1.5, "b": ["x", true, null], "c": {}}` as protobuf writes it.
    const WIRE: &[u8] = &[
        0x0a, 0x0e, 0x0a, 0x01, b'a', 0x12, 0x09, 0x11, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // a: 1.5
        0x0a, 0x14, 0x0a, 0x01, b'b', 0x12, 0x0f, 0x32, 0x0d, 0x0a, 0x03, 0x1a, 0x01, b'x', 0x0a, 0x02, 0x20, 0x01,
        0x0a, 0x02, 0x08, 0x00, // b
        0x0a, 0x07, 0x0a, 0x01, b'c', 0x12, 0x02, 0x2a, 0x00, // c
    ];

    #[test]
    fn a_struct_on_the_wire_becomes_the_json_that_was_written() {
        assert_eq!(to_json(WIRE).as_deref(), Some(r#"{"a":1.5,"b":["x",true,null],"c":{}}"#));
        assert_eq!(to_json(&[]).as_deref(), Some("{}"));
    }

    #[test]
    fn a_text_of_metadata_is_found_and_what_is_none_is_not() {
        // {"other": {…}, "berth": {"cluster": "a", "n": 1}}, and a field that is not of filters.
        let metadata = b"\x12\x01x\n\t\n\x05other\x12\0\n\x29\n\x05berth\x12\x20\n\x0e\n\x07cluster\x12\x03\x1a\x01a\n\x0e\n\x01n\x12\t\x11\0\0\0\0\0\0\0\0";
        let text = |bytes: &'static [u8], key| metadata_text(bytes, "berth", key).map(<[u8]>::to_vec);
        assert_eq!(text(metadata, "cluster"), Some(b"a".to_vec()));
        assert_eq!(text(metadata, "n"), None, "a number is no text");
        assert_eq!(metadata_text(metadata, "other", "cluster"), None);
        for cut in 0..metadata.len() {
            let _ = metadata_text(&metadata[..cut], "berth", "cluster");
            let mut bent = metadata.to_vec();
            bent[cut] ^= 0xff;
            let _ = metadata_text(&bent, "berth", "cluster");
        }
    }

    #[test]
    fn anything_else_is_refused_and_never_panics() {
        for cut in 1..WIRE.len() {
            let _ = to_json(&WIRE[..cut]);
            let mut bent = WIRE.to_vec();
            bent[cut] ^= 0xff;
            let _ = to_json(&bent);
        }
        assert_eq!(to_json(b"{}"), None);
        // A list in a list in a list …: refused before the stack is.
        let mut deep = vec![0x08, 0x00];
        for _ in 0..12 {
            let mut outer = vec![0x0a, u8::try_from(deep.len()).unwrap()];
            outer.append(&mut deep);
            deep = vec![0x32, u8::try_from(outer.len()).unwrap()];
            deep.append(&mut outer);
        }
        assert!(super::write_value(&deep, &mut String::new(), 8).is_none());
        assert!(super::write_value(&deep, &mut String::new(), 64).is_some());
    }
}
