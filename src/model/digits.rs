//! Numbers as text. The standard library's formatting is general, and so a dozen calls a number; a request writes ten.
//! All of it is inlined, so that it is compiled for speed where requests are decided.

/// Appends a number.
#[inline]
pub fn push_number(out: &mut String, number: u64) {
    match u8::try_from(number) {
        // Epochs, attempts and retries mostly.
        Ok(digit @ 0..10) => out.push(char::from(b'0' + digit)),
        _ => push_long(out, number),
    }
}

#[inline]
fn push_long(out: &mut String, number: u64) {
    let mut digits = [b'0'; 20];
    let (mut left, mut from) = (number, digits.len());
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        from = at;
        if left == 0 {
            break;
        }
    }
    push_ascii(out, digits.get(from..).unwrap_or_default());
}

/// Appends a number that may be negative.
#[inline]
pub fn push_signed(out: &mut String, number: i64) {
    if number < 0 {
        out.push('-');
    }
    push_number(out, number.unsigned_abs());
}

/// Sixteen hexadecimal digits.
#[inline]
#[must_use]
pub fn hex(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (digit, shift) in digits.iter_mut().rev().zip((0..64).step_by(4)) {
        let value = u8::try_from(number >> shift & 0xf).unwrap_or(0);
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    digits
}

/// Appends sixteen hexadecimal digits.
#[inline]
pub fn push_hex(out: &mut String, number: u64) {
    push_ascii(out, &hex(number));
}

#[inline]
fn push_ascii(out: &mut String, digits: &[u8]) {
    out.push_str(core::str::from_utf8(digits).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::{push_hex, push_number, push_signed};

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 1_234_567_890, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let (mut decimal, mut hex) = (String::new(), String::new());
            push_number(&mut decimal, number);
            push_hex(&mut hex, number);
            assert_eq!((decimal, hex), (number.to_string(), format!("{number:016x}")));
        }
        for number in [0, -1, 1, -10, i64::MIN, i64::MAX] {
            let mut text = String::new();
            push_signed(&mut text, number);
            assert_eq!(text, number.to_string());
        }
    }
}
