//! The forms of scalar fields: what may be written, what becomes of it, and how that is explained.

use super::{
    codes,
    decimal::{self, Inexact},
    error::hint,
    source::{Form, Shape, Wrong},
    tree::Value,
};
use crate::model::Name;
use core::marker::PhantomData;

/// A name.
#[derive(Clone, Copy, Debug)]
pub struct Named;

impl Form for Named {
    type Out = Name;
    fn read(&self, value: &Value) -> Result<Name, Wrong> {
        let Value::Text(text) = value else { return Err(Wrong::new(codes::WRONG_TYPE, "a name")) };
        Name::parse(text).ok_or_else(|| {
            Wrong::new(codes::BAD_NAME, "a name: a small letter, then up to 62 small letters, digits and hyphens")
        })
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[a-z][a-z0-9-]{0,62}$", most: Name::MAX_LEN }
    }
    fn show(&self, value: &Name) -> String {
        value.to_string()
    }
}

/// Text of up to so many bytes, on one line.
#[derive(Clone, Copy, Debug)]
pub struct Text(pub usize);

impl Form for Text {
    type Out = String;
    fn read(&self, value: &Value) -> Result<String, Wrong> {
        let Value::Text(text) = value else {
            return Err(Wrong::new(codes::WRONG_TYPE, "text (in quotes, where it looks like something else)"));
        };
        if text.is_empty() || text.len() > self.0 || text.chars().any(char::is_control) {
            return Err(Wrong::new(codes::BAD_TEXT, format!("1 to {} bytes of text on one line", self.0)));
        }
        Ok(text.clone())
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "", most: self.0 }
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

/// The name of a request header, in small letters, that is not Berth's or Envoy's own.
#[derive(Clone, Copy, Debug)]
pub struct Header;

impl Form for Header {
    type Out = String;
    fn read(&self, value: &Value) -> Result<String, Wrong> {
        let Value::Text(text) = value else { return Err(Wrong::new(codes::WRONG_TYPE, "the name of a header")) };
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > 128 || !text.bytes().all(fits) {
            return Err(Wrong::new(codes::BAD_TEXT, "the name of a header in small letters, digits, `-` and `_`"));
        }
        if ["x-placement-", "x-envoy-"].iter().any(|own| text.starts_with(own)) {
            return Err(Wrong::new(
                codes::RESERVED_HEADER,
                "a header of the application: these are removed on arrival",
            ));
        }
        Ok(text.clone())
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[a-z0-9_-]+$", most: 128 }
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug)]
pub struct Flag;

impl Form for Flag {
    type Out = bool;
    fn read(&self, value: &Value) -> Result<bool, Wrong> {
        match value {
            Value::Bool(yes) => Ok(*yes),
            _ => Err(Wrong::new(codes::WRONG_TYPE, "true or false")),
        }
    }
    fn shape(&self) -> Shape {
        Shape::Flag
    }
    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// One of a closed list of words.
#[derive(Clone, Copy, Debug)]
pub struct Word<T: 'static>(pub &'static [T], pub fn(T) -> &'static str);

impl<T: Copy> Form for Word<T> {
    type Out = T;
    fn read(&self, value: &Value) -> Result<T, Wrong> {
        let words: Vec<&str> = self.0.iter().map(|&t| (self.1)(t)).collect();
        // The same number of both.
        let at = which(&words, value)?;
        self.0.get(at).copied().ok_or_else(|| Wrong::new(codes::UNKNOWN_WORD, ""))
    }
    fn shape(&self) -> Shape {
        Shape::Word(self.0.iter().map(|&t| (self.1)(t)).collect())
    }
    fn show(&self, value: &T) -> String {
        String::from((self.1)(*value))
    }
}

/// Which of the words a value is.
#[inline(never)]
fn which(words: &[&str], value: &Value) -> Result<usize, Wrong> {
    let Value::Text(text) = value else {
        return Err(Wrong::new(codes::WRONG_TYPE, format!("one of {}", words.join(", "))));
    };
    words.iter().position(|word| word == text).ok_or_else(|| {
        let hint = hint(text, words.iter().copied());
        Wrong::new(codes::UNKNOWN_WORD, format!("one of {}{hint}", words.join(", ")))
    })
}

/// A decimal number, kept as an exact count of `10^-scale`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<T> {
    scale: u8,
    least: i64,
    most: i64,
    unit: &'static str,
    out: PhantomData<T>,
}

/// A whole number within bounds.
#[must_use]
pub const fn whole<T>(least: i64, most: i64) -> Decimal<T> {
    Decimal { scale: 0, least, most, unit: "", out: PhantomData }
}

/// A decimal with so many places, within bounds that are counted in its last place.
#[must_use]
pub const fn decimal<T>(scale: u8, least: i64, most: i64, unit: &'static str) -> Decimal<T> {
    Decimal { scale, least, most, unit, out: PhantomData }
}

/// A share of a whole, in parts per million.
#[must_use]
pub const fn ratio() -> Decimal<u32> {
    decimal(6, 0, 1_000_000, "")
}

/// Dollars, in micro-dollars, up to so many dollars.
#[must_use]
pub const fn usd(most: i64) -> Decimal<i64> {
    decimal(6, 0, most.saturating_mul(1_000_000), "USD")
}

/// Dollars per million tokens, in pico-dollars per token.
#[must_use]
pub const fn usd_per_mtok() -> Decimal<i64> {
    decimal(6, 0, 100_000_000_000, "USD per million tokens")
}

/// Dollars per gigabyte, in pico-dollars per byte.
#[must_use]
pub const fn usd_per_gb() -> Decimal<i64> {
    decimal(3, 0, 1_000_000, "USD per GB")
}

impl<T> Decimal<T> {
    /// The same whatever becomes of the count: what is read and said of it is compiled once.
    const fn bare(&self) -> Decimal<i64> {
        Decimal { scale: self.scale, least: self.least, most: self.most, unit: self.unit, out: PhantomData }
    }
}

impl Decimal<i64> {
    #[inline(never)]
    fn bounds(&self) -> String {
        let [least, most] = [self.least, self.most].map(|b| decimal::unscaled(b, self.scale));
        let kind = if self.scale == 0 { "a whole number" } else { "a number" };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        format!("{kind} from {least} to {most}{unit}")
    }

    #[inline(never)]
    fn units(&self, value: &Value) -> Result<i64, Wrong> {
        let Value::Number(number) = value else { return Err(Wrong::new(codes::WRONG_TYPE, self.bounds())) };
        let units = match decimal::scaled(*number, self.scale) {
            Ok(units) => units,
            Err(Inexact::TooFine) if self.scale == 0 => return Err(Wrong::new(codes::TOO_FINE, self.bounds())),
            Err(Inexact::TooFine) => {
                let expected = format!("{}, with at most {} decimals", self.bounds(), self.scale);
                return Err(Wrong::new(codes::TOO_FINE, expected));
            }
            Err(Inexact::TooLarge) => return Err(Wrong::new(codes::OUT_OF_BOUNDS, self.bounds())),
        };
        let within = (self.least..=self.most).contains(&units);
        within.then_some(units).ok_or_else(|| Wrong::new(codes::OUT_OF_BOUNDS, self.bounds()))
    }
}

impl<T: TryFrom<i64> + TryInto<i64> + Copy> Form for Decimal<T> {
    type Out = T;
    fn read(&self, value: &Value) -> Result<T, Wrong> {
        let units = self.bare().units(value)?;
        T::try_from(units).map_err(|_| Wrong::new(codes::OUT_OF_BOUNDS, self.bare().bounds()))
    }
    fn shape(&self) -> Shape {
        let [least, most] = [self.least, self.most].map(|b| decimal::unscaled(b, self.scale));
        Shape::Number { least, most, whole: self.scale == 0, unit: self.unit }
    }
    fn show(&self, value: &T) -> String {
        decimal::unscaled((*value).try_into().unwrap_or(0), self.scale)
    }
}

/// A value, or the word `none` for "this does not count".
#[derive(Clone, Copy, Debug)]
pub struct OrNone<F>(pub F);

impl<F: Form> Form for OrNone<F> {
    type Out = Option<F::Out>;
    fn read(&self, value: &Value) -> Result<Self::Out, Wrong> {
        match value {
            Value::Text(text) if text == "none" => Ok(None),
            _ => self.0.read(value).map(Some).map_err(|w| Wrong { expected: format!("{}, or none", w.expected), ..w }),
        }
    }
    fn shape(&self) -> Shape {
        Shape::Either(vec![self.0.shape(), Shape::Word(vec!["none"])])
    }
    fn show(&self, value: &Self::Out) -> String {
        value.as_ref().map_or_else(|| String::from("none"), |v| self.0.show(v))
    }
}
