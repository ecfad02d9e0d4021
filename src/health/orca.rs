//! What an answer says of its server in `endpoint-load-metrics`: `TEXT a=1, b=2`, `JSON {…}`, or `BIN` with a protobuf
//! message (xds.data.orca.v3.OrcaLoadReport) in base64.

use super::decimal::{self, Number};
use super::heard::{Drop, Dropped, believe};
use crate::model::Signal;
use crate::model::signal::Unit;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The header.
pub const HEADER: &[u8] = b"endpoint-load-metrics";
/// The header of the binary form.
pub const HEADER_BINARY: &[u8] = b"endpoint-load-metrics-bin";
/// The longest report that is read.
const MOST_BYTES: usize = 8 << 10;
/// The most metrics that one report may name.
const MOST_METRICS: usize = 256;

/// What a report says, in each signal's unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orca {
    /// What can be believed.
    pub said: Vec<(Signal, i64)>,
    /// What cannot.
    pub dropped: Dropped,
}

/// Reads the value of [`HEADER`].
#[must_use]
pub fn parse(value: &[u8]) -> Orca {
    let value = value.trim_ascii();
    let mut orca = Orca::default();
    let known = [(&b"TEXT"[..], text as fn(&[u8], &mut Orca) -> Option<()>), (b"JSON", json), (b"BIN", base64)];
    let read = known.into_iter().find_map(|(word, read)| Some((value.strip_prefix(word)?, read)));
    orca.read(value, |orca| {
        // Without a word in front it is the text form.
        let (rest, read) = read.unwrap_or((value, text));
        read(rest.trim_ascii(), orca)
    });
    orca
}

/// Reads the value of [`HEADER_BINARY`].
#[must_use]
pub fn parse_binary(value: &[u8]) -> Orca {
    let mut orca = Orca::default();
    orca.read(value, |orca| base64(value.trim_ascii(), orca));
    orca
}

impl Orca {
    fn read(&mut self, value: &[u8], read: impl FnOnce(&mut Self) -> Option<()>) {
        if value.len() > MOST_BYTES {
            self.dropped.count(Drop::TooMany);
        } else if read(self).is_none() {
            self.dropped.count(Drop::Malformed);
        }
    }

    /// Keeps a metric that means something to us; of others nothing is said.
    fn take(&mut self, name: &[u8], number: Number) {
        let Some((signal, exact)) = signal_of(name) else { return };
        let known = self.said.iter_mut().find(|(s, _)| *s == signal);
        match (believe(signal, number), known) {
            (Ok(value), None) => self.said.push((signal, value)),
            // The general use gives way to what a server says of its cache.
            (Ok(value), Some(known)) if exact => known.1 = value,
            (Ok(_), Some(_)) => {}
            (Err(why), _) => self.dropped.count(why),
        }
    }
}

/// The signal of a metric, and whether the name is exact.
fn signal_of(name: &[u8]) -> Option<(Signal, bool)> {
    let prefixes = [&b"named_metrics."[..], b"utilization.", b"named_metrics/"];
    let name = prefixes.into_iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    Some(match name {
        b"kv_cache_usage_perc" | b"kv_cache_utilization" | b"gpu_cache_usage_perc" => (Signal::MemoryPressure, true),
        b"num_requests_waiting" => (Signal::QueueDepth, true),
        b"num_requests_running" => (Signal::Running, true),
        b"cpu" | b"cpu_utilization" | b"cpuUtilization" => (Signal::CpuUse, false),
        b"mem" | b"mem_utilization" | b"memUtilization" => (Signal::MemoryPressure, false),
        other => {
            let signal = Signal::parse(core::str::from_utf8(other).ok()?)?;
            (matches!(signal.unit(), Unit::Count | Unit::Ppm).then_some(signal)?, true)
        }
    })
}

fn text(rest: &[u8], orca: &mut Orca) -> Option<()> {
    for pair in rest.split(|b| *b == b',').take(MOST_METRICS).map(<[u8]>::trim_ascii).filter(|p| !p.is_empty()) {
        let at = pair.iter().position(|b| matches!(b, b'=' | b':'))?;
        let (name, value) = pair.split_at_checked(at)?;
        orca.take(name.trim_ascii(), decimal::parse(value.get(1..)?.trim_ascii()));
    }
    Some(())
}

#[derive(Deserialize)]
struct RawOrca<'a> {
    #[serde(borrow, default, alias = "cpuUtilization")]
    cpu_utilization: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "memUtilization")]
    mem_utilization: Option<&'a RawValue>,
    #[serde(borrow, default)]
    utilization: BTreeMap<Cow<'a, str>, &'a RawValue>,
    #[serde(borrow, default, alias = "namedMetrics")]
    named_metrics: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

fn json(rest: &[u8], orca: &mut Orca) -> Option<()> {
    let raw: RawOrca<'_> = serde_json::from_slice(rest).ok().filter(|_| rest.first() == Some(&b'{'))?;
    let number = |raw: &RawValue| decimal::parse(raw.get().trim_matches('"').as_bytes());
    for (name, value) in [(&b"cpu_utilization"[..], raw.cpu_utilization), (b"mem_utilization", raw.mem_utilization)] {
        if let Some(value) = value {
            orca.take(name, number(value));
        }
    }
    for (name, value) in raw.utilization.iter().chain(&raw.named_metrics).take(MOST_METRICS) {
        orca.take(name.as_bytes(), number(value));
    }
    Some(())
}

fn base64(text: &[u8], orca: &mut Orca) -> Option<()> {
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.iter().filter(|b| **b != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (held, bits) = ((held << 6) | u32::from(digit), bits + 6);
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    message(&out, |field, value| match (field, value) {
        (1 | 2, Value::Fixed(bits)) => {
            orca.take(if field == 1 { b"cpu_utilization" } else { b"mem_utilization" }, of_bits(bits));
            Some(())
        }
        (5 | 8, Value::Bytes(entry)) => {
            let (mut name, mut bits) = (&[][..], 0);
            message(entry, |field, value| {
                match (field, value) {
                    (1, Value::Bytes(text)) => name = text,
                    (2, Value::Fixed(value)) => bits = value,
                    _ => {}
                }
                Some(())
            })?;
            orca.take(name, of_bits(bits));
            Some(())
        }
        _ => Some(()),
    })
}

/// A double as a number in millionths.
fn of_bits(bits: u64) -> Number {
    let value = f64::from_bits(bits) * 1e6;
    if !value.is_finite() {
        return Number::NotFinite;
    }
    if value.abs() >= 9.2e18 {
        return Number::TooLarge;
    }
    // In range, so the cast is exact but for the fraction, which is rounded off here.
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Number::Micro((value + if value < 0.0 { -0.5 } else { 0.5 }) as i64)
}

enum Value<'a> {
    Fixed(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Walks the fields of a protobuf message; `None` if it is none.
fn message<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    let mut left = MOST_METRICS;
    while !bytes.is_empty() {
        left = left.checked_sub(1)?;
        let (key, rest) = varint(bytes)?;
        let (value, rest) = match key & 7 {
            0 => (Value::Other, varint(rest)?.1),
            1 => {
                let (head, rest) = rest.split_first_chunk::<8>()?;
                (Value::Fixed(u64::from_le_bytes(*head)), rest)
            }
            2 => {
                let (length, rest) = varint(rest)?;
                let (head, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Value::Bytes(head), rest)
            }
            5 => (Value::Other, rest.split_first_chunk::<4>()?.1),
            _ => return None,
        };
        each(key >> 3, value)?;
        bytes = rest;
    }
    Some(())
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(at * 7).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Orca, parse, parse_binary};
    use crate::health::heard::Drop;
    use crate::model::Signal;

    /// cpu_utilization 0.1, mem_utilization 0.75, named_metrics {num_requests_waiting: 4, kv_cache_usage_perc: 0.5}, rps_fractional 12.5.
    const BINARY: &str = "CZqZmZmZmbk/EQAAAAAAAOg/MQAAAAAAAClAQh8KFG51bV9yZXF1ZXN0c193YWl0aW5nEQAAAAAAABBAQh4KE2t2X2NhY2hlX3VzYWdlX3BlcmMRAAAAAAAA4D8=";

    #[test]
    fn the_three_forms_say_the_same() {
        let said = [(Signal::CpuUse, 100_000), (Signal::MemoryPressure, 500_000), (Signal::QueueDepth, 4)];
        let forms = [
            parse(b"TEXT cpu_utilization=0.1, mem_utilization=0.75, named_metrics.num_requests_waiting=4,named_metrics.kv_cache_usage_perc=0.5,rps=3"),
            parse(br#"JSON {"cpu_utilization":0.1,"mem_utilization":0.75,"named_metrics":{"num_requests_waiting":4,"kv_cache_usage_perc":0.5}}"#),
            parse(br#"JSON {"cpuUtilization":0.1,"memUtilization":0.75,"namedMetrics":{"num_requests_waiting":4,"kv_cache_usage_perc":0.5}}"#),
            parse_binary(BINARY.as_bytes()),
            parse(format!("BIN {BINARY}").as_bytes()),
        ];
        for orca in forms {
            assert_eq!((orca.said, orca.dropped.total()), (said.to_vec(), 0));
        }
    }

    #[test]
    fn our_own_names_are_understood_and_strange_ones_ignored() {
        let orca = parse(b"TEXT interconnect=0.25, utilization.power_headroom=0.5, named_metrics.wombats=7, eps=1");
        let said = vec![(Signal::Interconnect, 250_000), (Signal::PowerHeadroom, 500_000)];
        assert_eq!(orca, Orca { said, ..Orca::default() });
    }

    #[test]
    fn processors_may_be_more_than_busy_and_our_own_name_counts_first() {
        let said = |text: &str| parse(text.as_bytes()).said;
        assert_eq!(said("TEXT cpu_utilization=1.5"), [(Signal::CpuUse, 1_500_000)], "of what it asked for");
        for both in ["cpu=0.2, named_metrics.cpu_use=0.7", "cpu_use=0.7, cpu_utilization=0.2"] {
            assert_eq!(said(&format!("TEXT {both}")), [(Signal::CpuUse, 700_000)], "{both}");
        }
        for (bad, why) in [("-0.1", Drop::OutOfRange), ("1e9", Drop::OutOfRange), ("NaN", Drop::NotFinite)] {
            let orca = parse(format!("TEXT cpu_utilization={bad}, running=1").as_bytes());
            assert_eq!((&orca.said[..], orca.dropped.of(why)), (&[(Signal::Running, 1)][..], 1), "{bad}");
        }
    }

    #[test]
    fn bad_values_are_dropped_one_by_one_and_bad_reports_as_a_whole() {
        let orca = parse(b"TEXT num_requests_waiting=-1, kv_cache_usage_perc=nan, interconnect=2, running=5");
        assert_eq!(orca.said, [(Signal::Running, 5)]);
        assert_eq!((orca.dropped.of(Drop::OutOfRange), orca.dropped.of(Drop::NotFinite)), (2, 1));
        let long = format!("TEXT {}", "a=1,".repeat(4_000));
        for bad in ["TEXT nothing", "JSON {", "JSON [1]", "BIN ****", "BIN AAAA", "BIN //////////////8=", long.as_str()]
        {
            let orca = parse(bad.as_bytes());
            assert!(orca.said.is_empty() && orca.dropped.total() > 0, "{bad:.20}");
        }
        assert_eq!(parse(b""), Orca::default());
    }
}
