//! Numbers as outside formats write them, read as millionths in whole numbers: the same natively and in wasm, and no
//! way for something that is not finite to get in.

/// What a text was, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Millionths, rounded half up.
    Micro(i64),
    /// A number, but beyond what is ever believed.
    TooLarge,
    /// Infinite, or not a number.
    NotFinite,
    /// No number.
    Malformed,
}

/// Digits that fit in 64 bits whatever they are.
const MOST_DIGITS: u32 = 18;

/// Reads a decimal number, with or without sign, point and exponent.
#[must_use]
pub fn parse(text: &[u8]) -> Number {
    let (negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    if [&b"nan"[..], b"inf", b"infinity"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Number::NotFinite;
    }
    match magnitude(text) {
        Some(Some(value)) => Number::Micro(if negative { -value } else { value }),
        Some(None) => Number::TooLarge,
        None => Number::Malformed,
    }
}

/// The outer `None`: no number; the inner: too large.
fn magnitude(text: &[u8]) -> Option<Option<i64>> {
    let at = text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(text.len());
    let (digits, exponent) = text.split_at_checked(at)?;
    let exponent = if exponent.is_empty() { 0 } else { small(exponent.get(1..)?)? };
    let (mut mantissa, mut scale, mut kept, mut seen, mut point) = (0_u64, 6_i32, 0_u32, false, false);
    for &byte in digits {
        match byte {
            b'.' if !point => point = true,
            b'0'..=b'9' => {
                seen = true;
                if kept < MOST_DIGITS {
                    mantissa = mantissa.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                    kept += u32::from(mantissa > 0);
                    scale = scale.saturating_sub(i32::from(point));
                } else {
                    scale = scale.saturating_add(i32::from(!point));
                }
            }
            _ => return None,
        }
    }
    seen.then(|| shift(mantissa, scale.saturating_add(exponent)))
}

fn shift(mantissa: u64, by: i32) -> Option<i64> {
    let ten = |power: u32| 10_u64.checked_pow(power);
    let value = match (mantissa, ten(by.unsigned_abs())) {
        (0, _) => 0,
        (_, None) if by > 0 => return None,
        (_, None) => 0,
        (_, Some(factor)) if by >= 0 => mantissa.checked_mul(factor)?,
        (_, Some(factor)) => mantissa / factor + u64::from(mantissa % factor >= factor.div_ceil(2)),
    };
    i64::try_from(value).ok()
}

/// An exponent; one of more digits than four is as good as the largest.
fn small(text: &[u8]) -> Option<i32> {
    let (sign, digits) = match text.split_first()? {
        (b'-', rest) => (-1, rest),
        (b'+', rest) => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i32, |n, b| n.saturating_mul(10).saturating_add(i32::from(b - b'0')).min(9_999));
    Some(sign * value)
}

#[cfg(test)]
mod tests {
    use super::{Number, parse};

    #[test]
    fn numbers_are_read_in_millionths_however_they_are_written() {
        let cases: [(&str, i64); 12] = [
            ("0", 0),
            ("3", 3_000_000),
            ("0.42", 420_000),
            ("-1.5", -1_500_000),
            ("+.5", 500_000),
            ("1.5e+03", 1_500_000_000),
            ("4.2E-1", 420_000),
            ("0.0000005", 1),
            ("0.00000049", 0),
            ("1e-400", 0),
            ("0.123456789012345678901234567890", 123_457),
            ("9223372036854", 9_223_372_036_854_000_000),
        ];
        for (text, micro) in cases {
            assert_eq!(parse(text.as_bytes()), Number::Micro(micro), "{text}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_named_for_what_it_is() {
        for text in ["NaN", "nan", "+Inf", "-inf", "Infinity"] {
            assert_eq!(parse(text.as_bytes()), Number::NotFinite, "{text}");
        }
        for text in ["1e30", "99999999999999999999", "1e99999999999"] {
            assert_eq!(parse(text.as_bytes()), Number::TooLarge, "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "0x1", "1e", "1e+", "ten", "1 ", "--1", "1e1e1"] {
            assert_eq!(parse(text.as_bytes()), Number::Malformed, "{text}");
        }
    }
}
