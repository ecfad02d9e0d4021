//! `berth snapshot`: prints, validates and converts what the telemetry role published.

use berth::health::codec;
use berth::health::json::{self, Recalled, Rollout};
use berth::model::{Admission, Circuit, Health, Signal, Snapshot, signal::Unit};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::{fs, io, process::ExitCode};

/// Which snapshot, and as what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bytes as in shared data, or JSON; `-` reads standard input.
    file: String,
    /// As what it is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to; by default to standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs, and back.
    Json,
    /// As in shared data.
    Bytes,
}

/// Prints it, or says what is wrong with it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let bytes = match read(&args.file) {
        Ok(bytes) => bytes,
        Err(e) => return crate::misused(&format!("{}: {e}", args.file)),
    };
    let (snapshot, rollout) = match decode(&bytes) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("{}: no snapshot: {why}", args.file);
            return ExitCode::from(1);
        }
    };
    let out = match args.format {
        Format::Text => text(&snapshot, rollout.as_ref()).into_bytes(),
        Format::Json => (json::write_beside(&snapshot, rollout.as_ref()) + "\n").into_bytes(),
        Format::Bytes => {
            if rollout.is_some() {
                eprintln!("{}: the member `rollout` is left out: bytes hold the snapshot alone", args.file);
            }
            codec::encode(&snapshot)
        }
    };
    let written = match &args.output {
        Some(path) => fs::write(path, &out).map_err(|e| format!("{path}: {e}")),
        // A reader that has gone away is no reason to complain.
        None => {
            let _ = io::stdout().lock().write_all(&out);
            Ok(())
        }
    };
    written.map_or_else(|why| crate::misused(&why), |()| ExitCode::SUCCESS)
}

/// A snapshot in either form, checked.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Snapshot, Option<Rollout>), String> {
    // JSON begins with a brace, the bytes with their magic.
    let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
    let read = if is_json {
        json::read_beside(bytes)
    } else {
        codec::decode(bytes).map(|snapshot| (snapshot, None)).map_err(|e| e.to_string())
    };
    read.and_then(|(snapshot, rollout)| json::check(&snapshot).map(|()| (snapshot, rollout)))
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    if file != "-" {
        return fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(snapshot: &Snapshot, rollout: Option<&Rollout>) -> String {
    let mut out = format!(
        "epoch {} by {:x}, at {} ms, {} VMs place\n",
        snapshot.epoch, snapshot.writer, snapshot.at_ms, snapshot.slots
    );
    if let Some(rollout) = rollout {
        out.push_str(&switch(rollout, snapshot.at_ms));
    }
    for health in &snapshot.substrates {
        let _ = writeln!(out, "\n{}: {}", health.name, state(health, snapshot.at_ms));
        for signal in Signal::ALL {
            if let Some(reading) = health.reading(signal) {
                let age = ago(reading.at_ms, snapshot.at_ms);
                let _ = writeln!(out, "  {:<18} {:>14}  {age}", signal.as_str(), number(signal, reading.value));
            }
        }
    }
    out
}

fn switch(rollout: &Rollout, now_ms: u64) -> String {
    let mut out = format!("rollout {}", rollout.rollout.as_deref().unwrap_or("unknown"));
    if rollout.generation > 0 {
        let _ = write!(out, ", thrown {} times, last {}", rollout.generation, ago(rollout.at_ms, now_ms));
    }
    if let Some(Recalled { candidate, at_ms, why }) = &rollout.recalled {
        let _ = write!(out, "; candidate {candidate} was called back {}: {why}", ago(*at_ms, now_ms));
    }
    out.push('\n');
    out
}

fn state(health: &Health, now_ms: u64) -> String {
    let mut words = vec![match health.circuit {
        Circuit::Closed => String::from("circuit closed"),
        Circuit::Open { until_ms } => format!("circuit open, ends {}", ago(until_ms, now_ms)),
        Circuit::HalfOpen { slot, probes, .. } => format!("circuit half open, slot {slot} sends {probes}"),
    }];
    words.push(String::from(match health.admission {
        Admission::All => "admits all",
        Admission::Existing => "admits known sessions",
        Admission::Closed => "admits nobody",
    }));
    words.push(match health.reading(Signal::Hosts).map(|hosts| hosts.value) {
        None => String::from("hosts unknown"),
        Some(0) => String::from("no host"),
        Some(1) => String::from("1 host"),
        Some(n) => format!("{n} hosts"),
    });
    words.push(format!("share {}", number(Signal::FailureRate, i64::from(health.share_ppm))));
    words.extend(health.attestation.map(|a| format!("attested {} {}", a.jurisdiction.as_str(), ago(a.at_ms, now_ms))));
    words.extend(health.since_ms.map(|at| format!("came back {}", ago(at, now_ms))));
    words.extend(health.retry_at_ms.map(|at| format!("rests, ends {}", ago(at, now_ms))));
    words.join(", ")
}

/// Exactly, as decimals without floats.
fn number(signal: Signal, value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let decimal = |digits: u32, unit: &str| {
        let one = 10_u64.pow(digits);
        let value = value.unsigned_abs();
        let (whole, part, width) = (value / one, value % one, usize::try_from(digits).unwrap_or(0));
        format!("{sign}{whole}.{part:0width$}{unit}")
    };
    match signal.unit() {
        Unit::Count => value.to_string(),
        Unit::Ppm => decimal(4, "%"),
        Unit::Micros => decimal(3, "ms"),
        Unit::PicoUsd => decimal(6, "$/Mtok"),
    }
}

fn ago(at_ms: u64, now_ms: u64) -> String {
    match now_ms.checked_sub(at_ms) {
        Some(age) => format!("{age} ms ago"),
        None => format!("in {} ms", at_ms - now_ms),
    }
}
