//! What a request is told apart by.

use crate::policy::index::mix;

/// The seed of every pseudo-random pick of a request, and its decision's id: its request id, eight letters at a time,
/// salted, then mixed so that ids that differ in one digit differ in every bit.
pub(super) fn seed(request_id: Option<&[u8]>, salt: u64, count: u64) -> u64 {
    let Some(text) = request_id else { return mix(salt ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15)) };
    let (words, rest) = text.get(..64).unwrap_or(text).as_chunks::<8>();
    let rest = rest.iter().fold(text.len() as u64, |word, &b| word << 8 | u64::from(b));
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.fold(mix(salt ^ rest), |hash, word| mix(hash ^ word))
}
