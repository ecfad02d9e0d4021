//! Numbers as text and as exact integers, from the shortest decimal that means the double. No arithmetic on
//! floats: 0.1 dollars is 100,000 micro-dollars because its digit is a 1, not because a product came out so.

use super::double::Decimal;

/// The shortest decimal digits of a finite number and its exponent: the value is `0.d1d2d3… × 10^point`.
fn digits(number: f64) -> (bool, String, i32) {
    let Decimal { negative, digits, point } = Decimal::shortest(number);
    (negative, digits.into_iter().map(|digit| char::from(b'0'.saturating_add(digit))).collect(), point)
}

/// The number as ECMAScript prints it (RFC 8785, section 3.2.2.3).
#[must_use]
pub fn es6(number: f64) -> String {
    if number == 0.0 {
        return String::from("0");
    }
    let (negative, digits, point) = digits(number);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let sign = if negative { "-" } else { "" };
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    if (count..=21).contains(&point) {
        format!("{sign}{digits}{}", zeros(point - count))
    } else if (1..=21).contains(&point) {
        let (whole, part) = digits.split_at_checked(usize::try_from(point).unwrap_or(0)).unwrap_or((&digits, ""));
        format!("{sign}{whole}.{part}")
    } else if (-5..=0).contains(&point) {
        format!("{sign}0.{}{digits}", zeros(-point))
    } else {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
        let dot = if rest.is_empty() { "" } else { "." };
        let plus = if point > 0 { "+" } else { "" };
        format!("{sign}{first}{dot}{rest}e{plus}{}", point - 1)
    }
}

/// Why a number is not an exact count of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inexact {
    /// It has more decimals than the unit.
    TooFine,
    /// It does not fit.
    TooLarge,
}

/// The number as a count of units of `10^-scale`, exactly.
///
/// # Errors
/// If it is finer than the unit or does not fit 64 bits.
pub fn scaled(number: f64, scale: u8) -> Result<i64, Inexact> {
    if number == 0.0 {
        return Ok(0);
    }
    let (negative, digits, point) = digits(number);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = point.saturating_sub(count).saturating_add(i32::from(scale));
    if zeros < 0 {
        return Err(Inexact::TooFine);
    }
    if zeros > 18 {
        return Err(Inexact::TooLarge);
    }
    let unsigned = digits.parse::<i64>().map_err(|_| Inexact::TooLarge)?;
    let power = 10_i64.checked_pow(u32::try_from(zeros).unwrap_or(0)).ok_or(Inexact::TooLarge)?;
    let value = unsigned.checked_mul(power).ok_or(Inexact::TooLarge)?;
    Ok(if negative { -value } else { value })
}

/// A count of units of `10^-scale` as a decimal, without needless zeros.
#[must_use]
pub fn unscaled(value: i64, scale: u8) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, part) = digits.split_at_checked(digits.len() - usize::from(scale)).unwrap_or((&digits, ""));
    let part = part.trim_end_matches('0');
    let sign = if value < 0 { "-" } else { "" };
    let dot = if part.is_empty() { "" } else { "." };
    format!("{sign}{whole}{dot}{part}")
}

#[cfg(test)]
mod tests {
    use super::{Inexact, es6, scaled, unscaled};

    #[test]
    fn numbers_print_as_the_vectors_of_rfc_8785_appendix_b_say() {
        let vectors: [(u64, &str); 24] = [
            (0x0000000000000000, "0"),
            (0x8000000000000000, "0"),
            (0x0000000000000001, "5e-324"),
            (0x8000000000000001, "-5e-324"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0xffefffffffffffff, "-1.7976931348623157e+308"),
            (0x4340000000000000, "9007199254740992"),
            (0xc340000000000000, "-9007199254740992"),
            (0x4430000000000000, "295147905179352830000"),
            (0x44b52d02c7e14af5, "9.999999999999997e+22"),
            (0x44b52d02c7e14af6, "1e+23"),
            (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
            (0x444b1ae4d6e2ef4e, "999999999999999700000"),
            (0x444b1ae4d6e2ef4f, "999999999999999900000"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
            (0x3eb0c6f7a0b5ed8d, "0.000001"),
            (0x41b3de4355555553, "333333333.3333332"),
            (0x41b3de4355555554, "333333333.33333325"),
            (0x41b3de4355555555, "333333333.3333333"),
            (0x41b3de4355555556, "333333333.3333334"),
            (0x41b3de4355555557, "333333333.33333343"),
            (0xbecbf647612f3696, "-0.0000033333333333333333"),
            (0x43143ff3c1cb0959, "1424953923781206.2"),
        ];
        for (bits, text) in vectors {
            assert_eq!(es6(f64::from_bits(bits)), text, "{bits:016x}");
        }
    }

    #[test]
    fn a_decimal_becomes_an_exact_count_or_is_refused() {
        assert_eq!(scaled(0.1, 6), Ok(100_000));
        assert_eq!(scaled(0.07, 6), Ok(70_000));
        assert_eq!(scaled(1.1, 3), Ok(1_100));
        assert_eq!(scaled(-2.0, 0), Ok(-2));
        assert_eq!(scaled(0.000_000_1, 6), Err(Inexact::TooFine));
        assert_eq!(scaled(0.5, 0), Err(Inexact::TooFine));
        assert_eq!(scaled(1e15, 6), Err(Inexact::TooLarge));
    }

    #[test]
    fn a_count_prints_as_the_decimal_it_was() {
        assert_eq!(unscaled(100_000, 6), "0.1");
        assert_eq!(unscaled(1_500, 3), "1.5");
        assert_eq!(unscaled(-20, 1), "-2");
        assert_eq!(unscaled(7, 0), "7");
    }
}
