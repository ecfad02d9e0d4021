//! Snapshots as bytes: what is written is read back, what is damaged is refused by name, and old bytes stay readable.

use berth::health::slot::{Answers, Row, Said, SlotRecord, Sum};
use berth::health::{InvalidSnapshot, MOST_BYTES, codec};
use berth::model::{Admission, Attestation, Circuit, Country, Health, Reading, Signal, Snapshot};
use proptest::prelude::*;
use std::path::Path;

const T: u64 = 1_790_000_000_000;

/// One of everything.
pub(crate) fn sample() -> Snapshot {
    let mut metal = Health::unknown("metal-fr");
    metal.set(Signal::QueueDepth, Reading { value: 7, at_ms: T - 40 });
    metal.set(Signal::Drift, Reading { value: -12_000, at_ms: T });
    metal.set(Signal::Total, Reading { value: 86_400_000_000, at_ms: T - 9_000 });
    metal.circuit = Circuit::Open { until_ms: T + 5_000 };
    metal.admission = Admission::Existing;
    metal.attestation = Some(Attestation { jurisdiction: Country::parse("FR").unwrap(), at_ms: T - 60_000 });
    metal.retry_at_ms = Some(T + 1_000);
    metal.share_ppm = 250_000;
    let mut onprem = Health::unknown("onprem-de");
    onprem.circuit = Circuit::HalfOpen { slot: 3, probes: 1, until_ms: T + 10_000 };
    onprem.admission = Admission::Closed;
    onprem.since_ms = Some(T - 500);
    let substrates = vec![metal, onprem, Health::unknown("provider-us")];
    Snapshot { writer: 42 << 7, epoch: 4812, at_ms: T, interval_ms: 1_000, slots: 4, substrates }
}

pub(crate) fn sample_slot() -> SlotRecord {
    let row = Row {
        substrate: 0xdead_beef,
        placed: 12,
        answers: Answers { good: 9, failed: 1, overloaded: 2, refused: 3 },
        in_flight: 4,
        first: Sum { count: 9, sum_us: 900_000 },
        total: Sum { count: 9, sum_us: 9_000_000 },
        per_token: Sum { count: 2, sum_us: 44_000 },
        spread: Sum { count: 9, sum_us: 1_000 },
        bytes: 1 << 40,
        buckets: vec![(17, 8), (18, 1)],
        said: vec![Said { signal: Signal::RateRemaining, value: 99, at_ms: T }],
        retry_at_ms: T + 1_000,
    };
    SlotRecord { incarnation: 77, expires_ms: T + 10_000, places: true, rows: vec![row] }
}

fn hex(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes.chunks(32).map(|l| l.iter().map(|b| format!("{b:02x}")).collect()).collect();
    lines.join("\n") + "\n"
}

fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, hex(now)).unwrap();
    }
    let text: String = std::fs::read_to_string(path).unwrap().split_whitespace().collect();
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).unwrap()).collect()
}

#[test]
fn bytes_of_format_1_are_pinned_and_read_back() {
    let bytes = codec::encode(&sample());
    let pinned = golden("snapshot-1.hex", &bytes);
    assert_eq!(hex(&bytes), hex(&pinned), "the bytes of format 1 changed: that needs a format 2");
    assert_eq!(codec::decode(&pinned), Ok(sample()));
    assert_eq!(codec::decode(&codec::encode(&Snapshot::default())), Ok(Snapshot::default()));
}

#[test]
fn slots_of_format_1_are_pinned_and_read_back() {
    let bytes = codec::encode_slot(&sample_slot());
    let pinned = golden("slot-1.hex", &bytes);
    assert_eq!(hex(&bytes), hex(&pinned), "the bytes of format 1 changed: that needs a format 2");
    assert_eq!(codec::decode_slot(&pinned), Ok(sample_slot()));
}

#[test]
fn every_shorter_piece_is_refused() {
    let bytes = codec::encode(&sample());
    for end in 4..bytes.len() {
        assert_eq!(codec::decode(&bytes[..end]), Err(InvalidSnapshot::Truncated), "{end} bytes");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let good = codec::encode(&sample());
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let why = codec::decode(&bytes).unwrap_err();
        let expected: &[InvalidSnapshot] = match bit / 8 {
            0..4 => &[InvalidSnapshot::Foreign],
            4..6 => &[InvalidSnapshot::Newer(0), InvalidSnapshot::Older(0)],
            6..10 => &[InvalidSnapshot::Truncated, InvalidSnapshot::Trailing, InvalidSnapshot::Oversized],
            _ => &[InvalidSnapshot::Checksum],
        };
        assert!(expected.iter().any(|e| e.as_str() == why.as_str()), "bit {bit}: {why}");
    }
}

#[test]
fn each_fault_has_its_own_name() {
    let good = codec::encode(&sample());
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        codec::decode(&bytes).unwrap_err()
    };
    assert_eq!(codec::decode(b""), Err(InvalidSnapshot::Truncated));
    assert_eq!(codec::decode(b"{\"substrate\": 1}"), Err(InvalidSnapshot::Foreign));
    assert_eq!(codec::decode_slot(&good), Err(InvalidSnapshot::Foreign));
    assert_eq!(with(4, &[2, 0]), InvalidSnapshot::Newer(2));
    assert_eq!(with(4, &[0, 0]), InvalidSnapshot::Older(0));
    assert_eq!(with(6, &u32::MAX.to_le_bytes()), InvalidSnapshot::Oversized);
    assert_eq!(codec::decode(&[&good[..], b"x"].concat()), Err(InvalidSnapshot::Trailing));
    assert_eq!(codec::decode(&vec![b'B'; MOST_BYTES + 1]), Err(InvalidSnapshot::Oversized));
}

/// Bytes with a right frame around any payload.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut checked = codec::FORMAT.to_le_bytes().to_vec();
    checked.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    let sum = {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&checked);
        hasher.update(payload);
        hasher.finalize()
    };
    [&b"BRTH"[..], &checked, &sum.to_le_bytes(), payload].concat()
}

#[test]
fn intact_bytes_of_another_content_are_malformed_and_leftovers_are_trailing() {
    let payload = codec::encode(&sample())[14..].to_vec();
    assert_eq!(codec::decode(&framed(&payload)), Ok(sample()));
    assert_eq!(codec::decode(&framed(&[&payload[..], &[0]].concat())), Err(InvalidSnapshot::Trailing));
    assert_eq!(codec::decode(&framed(&payload[..payload.len() - 1])), Err(InvalidSnapshot::Malformed));
    // A list that claims to be 2^60 long asks for no memory.
    let bomb = [&[0, 0, 0, 0, 0][..], &[253], &(1_u64 << 60).to_le_bytes()].concat();
    assert_eq!(codec::decode(&framed(&bomb)), Err(InvalidSnapshot::Malformed));
}

#[test]
fn a_signal_of_a_later_version_is_skipped_and_the_rest_kept() {
    let mut snapshot = Snapshot { at_ms: T, ..Snapshot::default() };
    let mut health = Health::unknown("a");
    health.set(Signal::Hosts, Reading { value: 1, at_ms: T });
    health.set(Signal::QueueDepth, Reading { value: 2, at_ms: T });
    snapshot.substrates = vec![health];
    let mut payload = codec::encode(&snapshot)[14..].to_vec();
    let hosts = payload.iter().rposition(|&b| b == Signal::Hosts as u8).unwrap();
    payload[hosts] = 250;
    let read = codec::decode(&framed(&payload)).unwrap();
    assert_eq!(read.substrates[0].reading(Signal::Hosts), None);
    assert_eq!(read.substrates[0].reading(Signal::QueueDepth), Some(Reading { value: 2, at_ms: T }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = codec::decode(&bytes);
        let _ = codec::decode_slot(&bytes);
        let _ = codec::decode(&framed(&bytes));
    }

    #[test]
    fn what_is_written_is_read_back(
        at_ms in any::<u64>(), values in prop::collection::vec((0..28_usize, any::<i64>(), any::<u64>()), 0..40),
        name in "[a-z-]{0,80}", until_ms in any::<u64>(), share_ppm in any::<u32>(),
    ) {
        let mut health = Health::unknown(&name);
        for (signal, value, at_ms) in values {
            health.set(Signal::ALL[signal], Reading { value, at_ms });
        }
        health.circuit = Circuit::Open { until_ms };
        health.share_ppm = share_ppm;
        let snapshot = Snapshot { at_ms, substrates: vec![health], ..Snapshot::default() };
        prop_assert_eq!(codec::decode(&codec::encode(&snapshot)), Ok(snapshot));
    }
}
