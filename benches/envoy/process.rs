//! What the system knows of a process: the time its threads had, its memory, and where they may run.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

/// Nanoseconds of processor that all threads of a process have had, user and system, as the scheduler counts them.
/// `/proc/PID/stat` says the same by the hundredth of a second.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Resident memory in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// Which of two processors: the proxy's, or that of everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Proxy,
    Rest,
}

/// Keeps a process on its side, where there are two and `taskset` is there; says whether.
pub(crate) fn pin(pid: u32, side: Side) -> bool {
    if available_parallelism().map_or(1, usize::from) < 2 {
        return false;
    }
    let cpu = if side == Side::Proxy { "0" } else { "1" };
    let pid = pid.to_string();
    let quiet = Stdio::null;
    let done = Command::new("taskset").args(["-a", "-p", "-c", cpu, &pid]).stdout(quiet()).stderr(quiet()).status();
    done.is_ok_and(|status| status.success())
}

/// What machine this is, for the record.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |key: &str| {
        let line = info.lines().find(|line| line.starts_with(key))?;
        line.split_once(": ").map(|(_, value)| value.trim().to_string())
    };
    let mhz = of("cpu MHz").and_then(|mhz| mhz.parse::<f64>().ok()).unwrap_or(0.0);
    // Not those that this process may use: it has been pinned to one.
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cores} × {} at {:.1} GHz", of("model name").unwrap_or_else(|| "unknown".into()), mhz / 1_000.0)
}

/// How busy the machine has been in the last minute.
pub(crate) fn busy() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_string()
}
