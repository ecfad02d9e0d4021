//! Numbers within bounds, names of headers, and fields that belong to one role.

use super::{DEFAULT_TICK_MS, TICK_MS, refuse};
use crate::filter::facts::is_reserved;
use core::ops::RangeInclusive;

pub(super) fn only_for(name: &str, present: bool, role: &str) -> Result<(), String> {
    if present { Err(refuse(&format!("{name}: belongs to role `{role}`, expected it to be absent"))) } else { Ok(()) }
}

pub(super) fn period(name: &str, value: Option<u32>) -> Result<u32, String> {
    within(name, value.unwrap_or(DEFAULT_TICK_MS), TICK_MS)
}

pub(super) fn within(place: &str, value: u32, range: RangeInclusive<u32>) -> Result<u32, String> {
    within_numbers(place, value, range).map_err(|line| line + " milliseconds")
}

pub(super) fn within_numbers(place: &str, value: u32, range: RangeInclusive<u32>) -> Result<u32, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(refuse(&format!("{place}: found {value}, expected {} to {}", range.start(), range.end())))
}

/// Header names as Envoy shows them: lower case. Names that only Berth may set are refused as sources.
#[inline(never)]
pub(super) fn lower_case<'a>(place: &str, names: impl Iterator<Item = &'a String>) -> Result<Vec<String>, String> {
    names
        .map(|name| {
            let lower = name.to_ascii_lowercase();
            let token = !lower.is_empty() && lower.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            match (token, is_reserved(&lower)) {
                (true, false) => Ok(lower),
                (true, true) => Err(refuse(&format!("{place}: `{name}` is reserved, clients cannot send it"))),
                (false, _) => Err(refuse(&format!("{place}: found `{name}`, expected a header name"))),
            }
        })
        .collect()
}
