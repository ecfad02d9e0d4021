//! CRC-32 as Ethernet and zip have it, four bytes at a step: a fifth of the tables and code of the usual crate, which
//! every proxy would load and compile, and fast enough for what is read ten times a second at most.
#![expect(clippy::indexing_slicing, reason = "a table of 256 is indexed by a byte")]

const POLYNOMIAL: u32 = 0xedb8_8320;
/// What a byte does to the sum, and what it does one, two and three bytes later.
const TABLES: [[u32; 256]; 4] = tables();

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut at = 0;
    while at < 1_024 {
        let (table, byte) = (at >> 8, at & 255);
        let mut sum = if table == 0 { byte as u32 } else { tables[table - 1][byte] };
        let mut step = 0;
        while step < 8 {
            sum = (sum >> 1) ^ (POLYNOMIAL & (sum & 1).wrapping_neg());
            step += 1;
        }
        tables[table][byte] = sum;
        at += 1;
    }
    tables
}

/// The checksum of some bytes, one part after the other.
pub(super) fn crc32(parts: [&[u8]; 2]) -> u32 {
    let [now, next, third, fourth] = &TABLES;
    let mut sum = u32::MAX;
    for part in parts {
        let (fours, rest) = part.as_chunks::<4>();
        for four in fours {
            let [a, b, c, d] = (sum ^ u32::from_le_bytes(*four)).to_le_bytes();
            sum = fourth[usize::from(a)] ^ third[usize::from(b)] ^ next[usize::from(c)] ^ now[usize::from(d)];
        }
        for &byte in rest {
            let [low, ..] = sum.to_le_bytes();
            sum = (sum >> 8) ^ now[usize::from(low ^ byte)];
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::crc32;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        assert_eq!(crc32([b"123456789", b""]), 0xcbf4_3926);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_parts_sum_up_as_elsewhere(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0_usize..600) {
            let (head, rest) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(crc32([head, rest]), crc32fast::hash(&bytes));
        }
    }
}
