//! Moments, as people write them: a day or a second of UTC. No clock; only what a text says.

use super::{
    codes,
    source::{Form, Shape, Wrong},
    tree::Value,
};

/// `2026-11-30` or `2026-11-30T12:00:00Z`.
#[derive(Clone, Copy, Debug)]
pub struct Moment;

/// A moment and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// Unix time.
    pub unix_ms: u64,
    /// As written.
    pub written: String,
}

impl Form for Moment {
    type Out = When;
    fn read(&self, value: &Value) -> Result<When, Wrong> {
        const EXPECTED: &str = "a day or a moment of UTC, such as 2026-11-30 or 2026-11-30T12:00:00Z";
        let Value::Text(text) = value else { return Err(Wrong::new(codes::WRONG_TYPE, EXPECTED)) };
        let unix_ms = parse(text).ok_or_else(|| Wrong::new(codes::BAD_TIME, EXPECTED))?;
        Ok(When { unix_ms, written: text.clone() })
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$", most: 20 }
    }
    fn show(&self, value: &When) -> String {
        value.written.clone()
    }
}

/// Unix time in milliseconds.
fn parse(text: &str) -> Option<u64> {
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, date] = fields(day, '-', [4, 2, 2])?;
    let [hour, minute, second] = fields(time, ':', [2, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month).ok()?.checked_sub(1)?;
    let length = *lengths.get(before)?;
    if year < 1970 || !(1..=length).contains(&date) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let past = year - 1;
    let leaps = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let days = (year - 1970) * 365 + leaps + lengths.iter().take(before).sum::<u64>() + date - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

fn fields(text: &str, by: char, lengths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(by);
    let mut out = [0; 3];
    for (slot, length) in out.iter_mut().zip(lengths) {
        let part = parts.next().filter(|p| p.len() == length && p.bytes().all(|b| b.is_ascii_digit()))?;
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn moments_of_utc_become_unix_time_and_days_that_do_not_exist_are_refused() {
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("2000-03-01T00:00:00Z"), Some(951_868_800_000));
        assert_eq!(parse("2026-11-21T04:36:46Z"), Some(1_795_235_806_000));
        for bad in
            ["2026-02-29", "2026-13-01", "2026-1-1", "2026-11-21T04:36:46", "2026-11-21T24:00:00Z", "1969-12-31", ""]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
