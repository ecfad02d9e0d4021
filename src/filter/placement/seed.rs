//! What a request is told apart by.

/// The seed of every pseudo-random pick of a request, and its decision's id: FNV-1a over the request id, salted,
/// then mixed so that ids that differ in one digit differ in every bit.
pub(super) fn seed(request_id: Option<&[u8]>, salt: u64, count: u64) -> u64 {
    let text = request_id.unwrap_or_default().iter().take(64);
    let hash = text.fold(0xcbf2_9ce4_8422_2325 ^ salt, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut x = if request_id.is_some() { hash } else { hash ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
