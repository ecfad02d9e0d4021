//! The envelope around bytes in shared data: magic, format, length and checksum, so that a reader knows whose bytes
//! these are before it believes any of them.
//!
//! `magic (4) · format (u16) · length (u32) · CRC-32 (u32, over format, length and payload) · payload`, little-endian.
//! Of other formats only magic and format are fixed, so that a reader can always say which of two is the newer.

use super::checksum::crc32;
use core::fmt;

/// The most bytes that are written or read: a snapshot of 4,096 substrates fits.
pub const MOST_BYTES: usize = 1 << 20;
const HEADER: usize = 14;
const CHECKED: core::ops::Range<usize> = 4..10;

/// Why bytes are not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidSnapshot {
    /// The bytes end before they are complete.
    Truncated,
    /// Somebody else's bytes.
    Foreign,
    /// Written by a later version.
    Newer(u16),
    /// Written by a version too long ago.
    Older(u16),
    /// Longer than is ever read.
    Oversized,
    /// Damaged: the checksum does not match.
    Checksum,
    /// Intact, and yet not of the format that it names.
    Malformed,
    /// Bytes are left over behind the end.
    Trailing,
}

impl InvalidSnapshot {
    /// One word, for metrics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Foreign => "foreign",
            Self::Newer(_) => "newer",
            Self::Older(_) => "older",
            Self::Oversized => "oversized",
            Self::Checksum => "checksum",
            Self::Malformed => "malformed",
            Self::Trailing => "trailing",
        }
    }
}

impl fmt::Display for InvalidSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end before they are complete"),
            Self::Foreign => f.write_str("the bytes do not begin as a snapshot of Berth does"),
            Self::Newer(format) => write!(f, "format {format} is newer than this version reads"),
            Self::Older(format) => write!(f, "format {format} is older than this version reads"),
            Self::Oversized => write!(f, "more than {MOST_BYTES} bytes"),
            Self::Checksum => f.write_str("the checksum does not match: the bytes are damaged"),
            Self::Malformed => f.write_str("the bytes are intact but not of the format that they name"),
            Self::Trailing => f.write_str("bytes are left over behind the end"),
        }
    }
}

/// Space for a header, to which the payload is appended before it is closed.
pub(super) fn begin() -> Vec<u8> {
    vec![0; HEADER]
}

/// Writes the header in front of the payload; the checksum comes back, as the identity of what was written.
pub(super) fn close(bytes: &mut [u8], magic: [u8; 4], format: u16) -> u32 {
    let length = u32::try_from(bytes.len().saturating_sub(HEADER)).unwrap_or(u32::MAX);
    let mut head = [0; HEADER];
    let fields = magic.iter().copied().chain(format.to_le_bytes()).chain(length.to_le_bytes()).zip(head.iter_mut());
    fields.for_each(|(byte, at)| *at = byte);
    let sum = checksum(&head, bytes.get(HEADER..).unwrap_or_default());
    let sealed = head.iter().copied().take(CHECKED.end).chain(sum.to_le_bytes());
    bytes.iter_mut().zip(sealed).for_each(|(at, byte)| *at = byte);
    sum
}

/// The format and payload of well-framed bytes.
pub(super) fn open(bytes: &[u8], magic: [u8; 4], newest: u16, oldest: u16) -> Result<(u16, &[u8]), InvalidSnapshot> {
    if bytes.len() > MOST_BYTES {
        return Err(InvalidSnapshot::Oversized);
    }
    if !bytes.iter().zip(&magic).all(|(a, b)| a == b) {
        return Err(InvalidSnapshot::Foreign);
    }
    let format = u16::from_le_bytes(array(bytes, 4)?);
    if format > newest {
        return Err(InvalidSnapshot::Newer(format));
    }
    if format < oldest {
        return Err(InvalidSnapshot::Older(format));
    }
    let length = usize::try_from(u32::from_le_bytes(array(bytes, 6)?)).unwrap_or(usize::MAX);
    let sum = u32::from_le_bytes(array(bytes, CHECKED.end)?);
    let payload = bytes.get(HEADER..).ok_or(InvalidSnapshot::Truncated)?;
    match payload.len().cmp(&length) {
        core::cmp::Ordering::Less if length > MOST_BYTES => Err(InvalidSnapshot::Oversized),
        core::cmp::Ordering::Less => Err(InvalidSnapshot::Truncated),
        core::cmp::Ordering::Greater => Err(InvalidSnapshot::Trailing),
        core::cmp::Ordering::Equal if checksum(bytes, payload) == sum => Ok((format, payload)),
        core::cmp::Ordering::Equal => Err(InvalidSnapshot::Checksum),
    }
}

/// The checksum that framed bytes carry, believed or not.
pub(super) fn carried_sum(bytes: &[u8]) -> Option<u32> {
    array(bytes, CHECKED.end).ok().map(u32::from_le_bytes)
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    crc32([head.get(CHECKED).unwrap_or_default(), payload])
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], InvalidSnapshot> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(InvalidSnapshot::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = *b"TEST";

    fn written(format: u16) -> Vec<u8> {
        let mut bytes = begin();
        bytes.extend_from_slice(b"payload");
        close(&mut bytes, MAGIC, format);
        bytes
    }

    #[test]
    fn the_format_and_the_one_before_it_are_read_and_no_others() {
        let read = |format| open(&written(format), MAGIC, 2, 1).map(|(format, payload)| (format, payload.to_vec()));
        assert_eq!(read(2), Ok((2, b"payload".to_vec())));
        assert_eq!(read(1), Ok((1, b"payload".to_vec())), "its reader hears which of the two it is");
        assert_eq!(read(0), Err(InvalidSnapshot::Older(0)));
        assert_eq!(read(3), Err(InvalidSnapshot::Newer(3)));
        assert_eq!(open(&written(1), MAGIC, 3, 2), Err(InvalidSnapshot::Older(1)));
    }

    #[test]
    fn which_format_it_is_is_part_of_what_is_checked() {
        let mut bytes = written(2);
        bytes.iter_mut().skip(4).take(2).zip(1_u16.to_le_bytes()).for_each(|(at, byte)| *at = byte);
        assert_eq!(open(&bytes, MAGIC, 2, 1), Err(InvalidSnapshot::Checksum));
    }
}
