//! Doubles from decimals and back, exactly. The standard library does the same with tables and three algorithms for
//! speed, which are 40 KB that every proxy would compile; policies are read once, and nearly all of their numbers
//! have at most 15 digits, which arithmetic alone turns into the right double and back.

use core::cmp::Ordering;

/// Powers of ten up to this one are doubles without error.
const MOST_POWER: i32 = 22;
/// Decimals of so many digits are told apart by doubles: two of them never mean the same one.
const SURE_DIGITS: usize = 15;
/// No two doubles need more digits to be told apart.
const MOST_DIGITS: usize = 17;

/// A decimal: `0.d1d2d3… × 10^point`, without zeros at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Whether it is below zero.
    pub negative: bool,
    /// Its digits, each from 0 to 9; none for zero.
    pub digits: Vec<u8>,
    /// Where the point stands.
    pub point: i32,
}

impl Decimal {
    fn new(negative: bool, digits: &[u8], point: i32) -> Self {
        let leading = digits.iter().take_while(|&&d| d == 0).count();
        let digits = digits.get(leading..).unwrap_or_default();
        let trailing = digits.iter().rev().take_while(|&&d| d == 0).count();
        let digits = digits.get(..digits.len().saturating_sub(trailing)).unwrap_or_default().to_vec();
        Self { negative, digits, point: point.saturating_sub(count(leading)) }
    }

    /// Reads a literal: digits, of which a point may be among, and perhaps an exponent.
    #[must_use]
    pub fn parse(literal: &str) -> Option<Self> {
        let unsigned = literal.strip_prefix(['-', '+']).unwrap_or(literal);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(part.bytes()).map(|b| b.wrapping_sub(b'0')).collect();
        let valid = !digits.is_empty() && digits.iter().all(|&d| d < 10);
        let point = exponent.saturating_add(count(whole.len()));
        valid.then(|| Self::new(literal.starts_with('-'), &digits, point))
    }

    /// The shortest decimal that means this finite double; of several, the nearest; of two as near, the even one.
    #[must_use]
    pub fn shortest(number: f64) -> Self {
        let (negative, number) = (number < 0.0, number.abs());
        let mut power = 1.0;
        for places in 0..=MOST_POWER {
            let units = (number * power + 0.5) as u64;
            let most = if places == 0 { 1 << 53 } else { 1_000_000_000_000_000 };
            if units >= most {
                break;
            }
            if (units as f64 / power).to_bits() == number.to_bits() {
                let digits: Vec<u8> = units.to_string().bytes().map(|b| b.wrapping_sub(b'0')).collect();
                let point = count(digits.len()).saturating_sub(places);
                return Self::new(negative, &digits, point);
            }
            power *= 10.0;
        }
        shortest_within(negative, number)
    }

    /// The double that is nearest to it, or infinity far above what a policy may say.
    #[must_use]
    pub fn nearest(&self) -> f64 {
        let magnitude = if self.digits.is_empty() || self.point < -330 {
            0.0
        } else if self.point > MOST_POWER {
            f64::INFINITY
        } else {
            let places = count(self.digits.len().min(MOST_DIGITS)).saturating_sub(self.point);
            let units = self.digits.iter().take(MOST_DIGITS).fold(0_u64, |sum, &d| sum * 10 + u64::from(d));
            let near = divided(units as f64, places);
            let sure = self.digits.len() <= SURE_DIGITS && places.abs() <= MOST_POWER;
            if sure { near } else { self.settle(near) }
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// Goes from a double that is nearly right to the one that is.
    fn settle(&self, near: f64) -> f64 {
        let mut bits = near.to_bits();
        // It is off by a few steps at most: one for each time that it was rounded.
        for _ in 0..64 {
            let odd = bits % 2 == 1;
            let goes = |order: Ordering, beyond: Ordering| order == beyond || (order == Ordering::Equal && odd);
            if goes(self.size_to(&above(bits)), Ordering::Greater) {
                bits = bits.saturating_add(1);
            } else if bits > 0 && goes(self.size_to(&above(bits - 1)), Ordering::Less) {
                bits -= 1;
            } else {
                break;
            }
        }
        f64::from_bits(bits)
    }

    /// How its size compares: both are without zeros at the ends.
    fn size_to(&self, other: &Self) -> Ordering {
        self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits))
    }
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// An exponent; one beyond all bounds stays beyond them.
fn exponent_of(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let valid = |b: u8| b.is_ascii_digit().then(|| i32::from(b.wrapping_sub(b'0')));
    let add = |sum: i32, b: u8| Some(sum.saturating_mul(10).saturating_add(valid(b)?));
    let size = if digits.is_empty() { None } else { digits.bytes().try_fold(0, add) }?;
    Some(if text.starts_with('-') { -size } else { size })
}

/// `units / 10^places`, rounded at each step.
fn divided(mut units: f64, mut places: i32) -> f64 {
    while places > 0 {
        let step = places.min(MOST_POWER);
        units /= power_of_ten(step);
        places -= step;
    }
    units * power_of_ten(-places)
}

fn power_of_ten(exponent: i32) -> f64 {
    (0..exponent).fold(1.0, |power, _| power * 10.0)
}

/// A double as `mantissa × 2^exponent`.
fn parts(bits: u64) -> (u64, i32) {
    let (mantissa, exponent) = (bits & ((1 << 52) - 1), (bits >> 52) as i32 & 0x7ff);
    if exponent == 0 { (mantissa, -1074) } else { (mantissa | 1 << 52, exponent - 1075) }
}

/// What is half-way between a double and the next one.
fn above(bits: u64) -> Decimal {
    let (mantissa, exponent) = parts(bits);
    let (digits, scale) = expanded(2 * mantissa + 1, exponent - 1);
    Decimal::new(false, &digits, count(digits.len()).saturating_sub(scale))
}

/// All digits of `units × 2^exponent`, and how many of them stand behind the point.
fn expanded(mut units: u64, mut exponent: i32) -> (Vec<u8>, i32) {
    while exponent < 0 && units.is_multiple_of(2) && units > 0 {
        (units, exponent) = (units / 2, exponent + 1);
    }
    const LIMB: u64 = 1_000_000_000;
    let mut limbs = vec![units % LIMB, units / LIMB];
    // Halving is multiplying by five, ten times as fine.
    let (factor, most) = if exponent < 0 { (5_u64, 12) } else { (2, 29) };
    let mut left = exponent.unsigned_abs();
    while left > 0 {
        let step = left.min(most);
        let by = factor.pow(step);
        let mut carry = 0;
        for limb in &mut limbs {
            let product = *limb * by + carry;
            (*limb, carry) = (product % LIMB, product / LIMB);
        }
        limbs.push(carry);
        left -= step;
    }
    let digits = limbs.iter().rev().flat_map(|limb| {
        let mut digits = [0; 9];
        let mut rest = *limb;
        for digit in digits.iter_mut().rev() {
            (*digit, rest) = ((rest % 10) as u8, rest / 10);
        }
        digits
    });
    (digits.skip_while(|&d| d == 0).collect(), (-exponent).max(0))
}

/// The shortest decimal between what is half-way to the neighbours, by their digits.
fn shortest_within(negative: bool, number: f64) -> Decimal {
    let (mantissa, exponent) = parts(number.to_bits());
    // Below a power of two the neighbour is half as far.
    let nearer = mantissa == 1 << 52 && exponent > -1074;
    let bounds = [4 * mantissa - if nearer { 1 } else { 2 }, 4 * mantissa, 4 * mantissa + 2];
    let scale = (2 - exponent).max(0);
    let [low, exact, high] = bounds.map(|units| {
        let (digits, own) = expanded(units, exponent - 2);
        (digits, scale - own)
    });
    // All of one length, with a zero in front for what is carried.
    let width = high.0.len() + usize::try_from(high.1).unwrap_or(0) + 1;
    let [low, exact, high] = [low, exact, high].map(|(digits, behind)| {
        let behind = usize::try_from(behind).unwrap_or(0);
        let mut all = vec![0; width.saturating_sub(digits.len() + behind)];
        all.extend(digits);
        all.resize(width, 0);
        all
    });
    let even = mantissa % 2 == 0;
    let first = exact.iter().take_while(|&&d| d == 0).count();
    let point = count(width - first).saturating_sub(scale).saturating_add(count(first));
    for kept in (first + 1..width).take(MOST_DIGITS) {
        let (down, up) = around(&exact, kept);
        let fits = |order: Ordering| order == Ordering::Less || (order == Ordering::Equal && even);
        let chosen = match (fits(low.cmp(&down)), fits(up.cmp(&high))) {
            (false, false) => continue,
            (true, false) => down,
            (false, true) => up,
            (true, true) => nearer_of(&exact, kept, down, up),
        };
        return Decimal::new(negative, &chosen, point);
    }
    Decimal::new(negative, &exact, point)
}

/// The digits cut off after so many, and the same with one more in the last place.
fn around(exact: &[u8], kept: usize) -> (Vec<u8>, Vec<u8>) {
    let mut down = exact.get(..kept).unwrap_or_default().to_vec();
    let mut up = down.clone();
    for digit in up.iter_mut().rev() {
        *digit += 1;
        if *digit < 10 {
            break;
        }
        *digit = 0;
    }
    down.resize(exact.len(), 0);
    up.resize(exact.len(), 0);
    (down, up)
}

fn nearer_of(exact: &[u8], kept: usize, down: Vec<u8>, up: Vec<u8>) -> Vec<u8> {
    let beyond = exact.get(kept..).unwrap_or_default();
    let mut half = vec![0; beyond.len()];
    half.iter_mut().take(1).for_each(|digit| *digit = 5);
    let even = down.get(kept.saturating_sub(1)).is_some_and(|digit| digit % 2 == 0);
    match beyond.cmp(&half) {
        Ordering::Less => down,
        Ordering::Equal if even => down,
        _ => up,
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;
    use proptest::prelude::*;

    fn read(literal: &str) -> f64 {
        Decimal::parse(literal).unwrap().nearest()
    }

    fn written(number: f64) -> String {
        let shortest = Decimal::shortest(number);
        let digits: String = shortest.digits.iter().map(|d| char::from(b'0' + d)).collect();
        format!("{}0.{digits}e{}", if shortest.negative { "-" } else { "" }, shortest.point)
    }

    /// A double of which the standard library says that it is one, up to what a policy may say.
    fn agrees(literal: &str) {
        let theirs: f64 = literal.parse().unwrap();
        if theirs.abs() < 1e22 {
            assert_eq!(read(literal).to_bits(), theirs.to_bits(), "{literal}");
        }
    }

    /// The shortest digits, as few and as near as those of the standard library, which rounds ties up.
    fn is_shortest(number: f64) {
        let ours = written(number);
        assert_eq!(ours.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{ours}");
        let theirs = format!("{number:e}");
        let digits = |text: &str| {
            let digits: String = text.split('e').next().unwrap().chars().filter(char::is_ascii_digit).collect();
            digits.trim_matches('0').to_owned()
        };
        let (ours, theirs) = (digits(&ours), digits(&theirs));
        let tie = ours.len() >= 16 && ours.as_bytes().last().unwrap() % 2 == 0;
        assert!(ours == theirs || (tie && ours.len() == theirs.len()), "{number:e}: {ours} {theirs}");
    }

    #[test]
    fn the_hard_cases_are_read_as_the_standard_library_reads_them() {
        for literal in [
            "0",
            "-0",
            "1",
            "0.1",
            "123456789012345678",
            "9007199254740993",
            "9007199254740992.5",
            "5e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "2.2250738585072011e-308",
            "1e-400",
            "4.9e-324",
            "2.2250738585072014e-308",
            "0.000000000000000000000000001",
            "1e-23",
            "8.5e-323",
            "0.500000000000000166533453693773481063544750213623046875",
            "1.00000000000000011102230246251565404236316680908203125",
            "1.00000000000000011102230246251565404236316680908203124",
            "1.00000000000000011102230246251565404236316680908203126",
        ] {
            agrees(literal);
        }
        assert!(read("1e400").is_infinite() && read("1e99999999999").is_infinite());
        for literal in ["", "-", ".", "e5", "1e", "1e+", "0x10", "1_000", "nan", "1.2.3", "1-2", "1e 2", "1e\u{e9}"] {
            assert_eq!(Decimal::parse(literal), None, "{literal}");
        }
    }

    #[test]
    fn the_hard_cases_are_written_in_the_fewest_digits() {
        for bits in [1, 2, 0x000f_ffff_ffff_ffff, 0x0010_0000_0000_0000, 0x7fef_ffff_ffff_ffff, 0x4340_0000_0000_0000] {
            is_shortest(f64::from_bits(bits));
        }
        // Every power of two, where the neighbours are not equally far, and both of these.
        for exponent in 1..0x7ff_u64 {
            for bits in [(exponent << 52) - 1, exponent << 52, (exponent << 52) + 1] {
                is_shortest(f64::from_bits(bits));
            }
        }
        assert_eq!(written(2f64.powi(-44)), "0.5684341886080802e-13");
    }

    proptest! {
        #[test]
        fn any_double_is_written_in_the_fewest_digits(bits in 0..0x7ff0_0000_0000_0000_u64) {
            is_shortest(f64::from_bits(bits));
        }

        #[test]
        fn what_is_written_is_read_again(bits in 0..0x4480_0000_0000_0000_u64) {
            let number = f64::from_bits(bits);
            prop_assert_eq!(read(&format!("{number:e}")).to_bits(), number.to_bits());
            prop_assert_eq!(read(&format!("{number:.30e}")).to_bits(), number.to_bits());
        }

        #[test]
        fn any_decimal_is_read_as_the_standard_library_reads_it(digits in "[0-9]{1,40}", point in 0_usize..40, exponent in -340..10) {
            let (whole, part) = digits.split_at(point.min(digits.len()));
            agrees(&format!("0{whole}.{part}0e{exponent}"));
        }

        #[test]
        fn prices_and_shares_are_read_and_written(units in 0..10_000_000_000_000_u64, scale in 0..10) {
            let literal = format!("{units}e-{scale}");
            agrees(&literal);
            is_shortest(literal.parse().unwrap());
        }
    }
}
