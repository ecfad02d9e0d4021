//! Snapshots and slots as bytes. The one file that names bincode, and the one place that knows formats.
//!
//! The wire structs mirror the model on purpose: the model may change without changing bytes, and bytes change only
//! here. What may be added without a new format: a signal (readings carry their number, unknown numbers are skipped).
//! For everything else: raise [`FORMAT`], keep the old wire struct beside the new one, and add its arm to
//! [`decode`]; `frame::open` reads [`FORMAT`] and the one before it and refuses the rest.

use super::frame::{self, InvalidSnapshot};
use super::slot::{Answers, Row, Said, SlotRecord, Sum};
use crate::model::signal::SIGNALS;
use crate::model::{Admission, Attestation, Circuit, Country, Health, Reading, Signal, Snapshot};
use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

/// The format that is written.
pub const FORMAT: u16 = 1;
/// The oldest that is read. Before format 1 there was none.
const OLDEST: u16 = if FORMAT > 1 { FORMAT - 1 } else { 1 };
const SNAPSHOT: [u8; 4] = *b"BRTH";
const SLOT: [u8; 4] = *b"BSLT";
/// The most memory that decoding may claim: what the most bytes can need, and not what a forged length asks for.
const MOST_MEMORY: usize = 16 << 20;
const WIRE: Configuration<LittleEndian, Varint, Limit<MOST_MEMORY>> = config::standard().with_limit::<MOST_MEMORY>();

#[derive(Encode, Decode)]
struct WireSnapshot {
    writer: u64,
    epoch: u64,
    at_ms: u64,
    interval_ms: u32,
    slots: u16,
    substrates: Vec<WireHealth>,
}

/// Times are written as milliseconds before the snapshot: one or two bytes instead of nine.
#[derive(Encode, Decode)]
struct WireHealth {
    name: String,
    readings: WireReadings,
    circuit: WireCircuit,
    admission: u8,
    attestation: Option<([u8; 2], i64)>,
    since: Option<i64>,
    retry_at: Option<i64>,
    share_ppm: u32,
}

/// On the wire a list of `(signal, value, milliseconds before the snapshot)`; in memory at the signals' places, so that
/// neither way allocates one.
struct WireReadings([Option<(i64, i64)>; SIGNALS]);

impl Encode for WireReadings {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.iter().flatten().count().encode(encoder)?;
        for (number, reading) in (0_u8..).zip(&self.0) {
            if let Some((value, ago)) = reading {
                (number, *value, *ago).encode(encoder)?;
            }
        }
        Ok(())
    }
}

impl<Context> Decode<Context> for WireReadings {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let mut readings = [None; SIGNALS];
        // Each takes three bytes at least: a forged count ends where the bytes do.
        for _ in 0..usize::decode(decoder)? {
            let (number, value, ago) = <(u8, i64, i64)>::decode(decoder)?;
            // A signal of a later version is skipped: the rest of the record is still good.
            if let Some(reading) = readings.get_mut(usize::from(number)) {
                *reading = Some((value, ago));
            }
        }
        Ok(Self(readings))
    }
}

bincode::impl_borrow_decode!(WireReadings);

#[derive(Encode, Decode)]
enum WireCircuit {
    Closed,
    Open(i64),
    HalfOpen(u8, u8, i64),
}

#[derive(Encode, Decode)]
struct WireSlot {
    incarnation: u64,
    expires_ms: u64,
    places: bool,
    rows: Vec<WireRow>,
}

#[derive(Encode, Decode)]
struct WireRow {
    substrate: u64,
    placed: u64,
    answers: [u64; 4],
    in_flight: u32,
    sums: [(u64, u64); 4],
    bytes: u64,
    buckets: Vec<(u8, u32)>,
    said: Vec<(u8, i64, u64)>,
    retry_at_ms: u64,
}

/// A snapshot as bytes.
#[must_use]
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let ago = |at_ms: u64| snapshot.at_ms.wrapping_sub(at_ms).cast_signed();
    let wire = WireSnapshot {
        writer: snapshot.writer,
        epoch: snapshot.epoch,
        at_ms: snapshot.at_ms,
        interval_ms: snapshot.interval_ms,
        slots: snapshot.slots,
        substrates: snapshot.substrates.iter().map(|health| to_wire(health, &ago)).collect(),
    };
    write(&wire, SNAPSHOT)
}

/// The snapshot of bytes that may be anything.
///
/// # Errors
/// What is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, InvalidSnapshot> {
    let (_format, payload) = frame::open(bytes, SNAPSHOT, FORMAT, OLDEST)?;
    let wire: WireSnapshot = read(payload)?;
    let at = |ago: i64| wire.at_ms.wrapping_sub(ago.cast_unsigned());
    Ok(Snapshot {
        writer: wire.writer,
        epoch: wire.epoch,
        at_ms: wire.at_ms,
        interval_ms: wire.interval_ms,
        slots: wire.slots,
        substrates: wire.substrates.into_iter().map(|health| from_wire(health, &at)).collect::<Result<_, _>>()?,
    })
}

/// The checksum that a snapshot's bytes carry: with writer and epoch, its identity.
#[must_use]
pub fn carried_checksum(bytes: &[u8]) -> u32 {
    frame::carried_sum(bytes).unwrap_or(0)
}

/// A slot as bytes.
#[must_use]
pub fn encode_slot(slot: &SlotRecord) -> Vec<u8> {
    let row = |row: &Row| WireRow {
        substrate: row.substrate,
        placed: row.placed,
        answers: [row.answers.good, row.answers.failed, row.answers.overloaded, row.answers.refused],
        in_flight: row.in_flight,
        sums: [row.first, row.total, row.per_token, row.spread].map(|sum| (sum.count, sum.sum_us)),
        bytes: row.bytes,
        buckets: row.buckets.clone(),
        said: row.said.iter().map(|said| (said.signal as u8, said.value, said.at_ms)).collect(),
        retry_at_ms: row.retry_at_ms,
    };
    let wire = WireSlot {
        incarnation: slot.incarnation,
        expires_ms: slot.expires_ms,
        places: slot.places,
        rows: slot.rows.iter().map(row).collect(),
    };
    write(&wire, SLOT)
}

/// The slot of bytes that may be anything.
///
/// # Errors
/// What is wrong with them.
pub fn decode_slot(bytes: &[u8]) -> Result<SlotRecord, InvalidSnapshot> {
    let (_format, payload) = frame::open(bytes, SLOT, FORMAT, OLDEST)?;
    let wire: WireSlot = read(payload)?;
    let row = |row: WireRow| {
        let [good, failed, overloaded, refused] = row.answers;
        let [first, total, per_token, spread] = row.sums.map(|(count, sum_us)| Sum { count, sum_us });
        let said = |(signal, value, at_ms)| Some(Said { signal: signal_of(signal)?, value, at_ms });
        Row {
            substrate: row.substrate,
            placed: row.placed,
            answers: Answers { good, failed, overloaded, refused },
            in_flight: row.in_flight,
            first,
            total,
            per_token,
            spread,
            bytes: row.bytes,
            buckets: row.buckets,
            said: row.said.into_iter().filter_map(said).collect(),
            retry_at_ms: row.retry_at_ms,
        }
    };
    Ok(SlotRecord {
        incarnation: wire.incarnation,
        expires_ms: wire.expires_ms,
        places: wire.places,
        rows: wire.rows.into_iter().map(row).collect(),
    })
}

fn to_wire(health: &Health, ago: &impl Fn(u64) -> i64) -> WireHealth {
    let letters = |country: Country| country.as_str().as_bytes().first_chunk().copied().unwrap_or_default();
    WireHealth {
        name: health.name.clone(),
        readings: WireReadings(health.readings.map(|reading| reading.map(|r| (r.value, ago(r.at_ms))))),
        circuit: match health.circuit {
            Circuit::Closed => WireCircuit::Closed,
            Circuit::Open { until_ms } => WireCircuit::Open(ago(until_ms)),
            Circuit::HalfOpen { slot, probes, until_ms } => WireCircuit::HalfOpen(slot, probes, ago(until_ms)),
        },
        admission: match health.admission {
            Admission::All => 0,
            Admission::Existing => 1,
            Admission::Closed => 2,
        },
        attestation: health.attestation.map(|a| (letters(a.jurisdiction), ago(a.at_ms))),
        since: health.since_ms.map(ago),
        retry_at: health.retry_at_ms.map(ago),
        share_ppm: health.share_ppm,
    }
}

fn from_wire(wire: WireHealth, at: &impl Fn(i64) -> u64) -> Result<Health, InvalidSnapshot> {
    let mut health = Health::unknown("");
    health.name = wire.name;
    health.readings = wire.readings.0.map(|reading| reading.map(|(value, ago)| Reading { value, at_ms: at(ago) }));
    health.circuit = match wire.circuit {
        WireCircuit::Closed => Circuit::Closed,
        WireCircuit::Open(until) => Circuit::Open { until_ms: at(until) },
        WireCircuit::HalfOpen(slot, probes, until) => Circuit::HalfOpen { slot, probes, until_ms: at(until) },
    };
    health.admission = match wire.admission {
        0 => Admission::All,
        1 => Admission::Existing,
        2 => Admission::Closed,
        _ => return Err(InvalidSnapshot::Malformed),
    };
    if let Some((letters, ago)) = wire.attestation {
        let country = core::str::from_utf8(&letters).ok().and_then(Country::parse);
        let jurisdiction = country.ok_or(InvalidSnapshot::Malformed)?;
        health.attestation = Some(Attestation { jurisdiction, at_ms: at(ago) });
    }
    health.since_ms = wire.since.map(at);
    health.retry_at_ms = wire.retry_at.map(at);
    health.share_ppm = wire.share_ppm;
    Ok(health)
}

fn signal_of(number: u8) -> Option<Signal> {
    Signal::ALL.get(usize::from(number)).copied()
}

/// Appends to a frame.
struct Payload(Vec<u8>);

impl Writer for Payload {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn write<W: Encode>(wire: &W, magic: [u8; 4]) -> Vec<u8> {
    let mut payload = Payload(frame::begin());
    // Appending to memory cannot fail, and these structs hold nothing that cannot be encoded; were it otherwise, the
    // frame would be closed over fewer bytes and every reader would refuse it.
    let written = bincode::encode_into_writer(wire, &mut payload, WIRE);
    debug_assert!(written.is_ok());
    frame::close(&mut payload.0, magic, FORMAT);
    payload.0
}

fn read<W: Decode<()>>(payload: &[u8]) -> Result<W, InvalidSnapshot> {
    match bincode::decode_from_slice(payload, WIRE) {
        Ok((wire, used)) if used == payload.len() => Ok(wire),
        Ok(_) => Err(InvalidSnapshot::Trailing),
        Err(_) => Err(InvalidSnapshot::Malformed),
    }
}
