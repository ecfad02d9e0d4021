//! Who asks when and for how much: from a generator or from a trace. Every router meets the very same arrivals.

use super::random::Random;
use super::scenario::{Event, Mix, Scenario, Shape, Tokens, What};

/// One request that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at_us: u64,
    /// Of which kind.
    pub mix: usize,
    /// Input tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
    /// Through which proxy.
    pub proxy: usize,
    /// By which of its workers.
    pub worker: usize,
    /// Its number.
    pub id: u64,
}

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since the first line.
    pub at_us: u64,
    /// Input tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
}

/// Arrivals, one after another.
#[derive(Debug)]
pub struct Arrivals<'a> {
    scenario: &'a Scenario,
    surges: Vec<&'a Event>,
    weights: u64,
    trace: &'a [Line],
    scale_ppm: u64,
    time: Random,
    kind: Random,
    size: Random,
    now_us: u64,
    id: u64,
}

impl<'a> Arrivals<'a> {
    /// From the beginning. `scale_ppm` makes the whole load larger or smaller.
    #[must_use]
    pub fn new(scenario: &'a Scenario, trace: &'a [Line], scale_ppm: u64) -> Self {
        Self {
            surges: scenario.events.iter().filter(|e| e.what == What::Surge).collect(),
            weights: scenario.load.mix.iter().map(|m| u64::from(m.weight)).sum(),
            trace,
            scale_ppm,
            time: Random::new(scenario.seed, 1),
            kind: Random::new(scenario.seed, 2),
            size: Random::new(scenario.seed, 3),
            now_us: 0,
            id: 0,
            scenario,
        }
    }

    /// Requests per thousand seconds, now.
    fn rate_mrps(&self) -> u64 {
        let load = &self.scenario.load;
        let length = self.scenario.duration_ms.max(1) * 1_000;
        let shaped_ppm = match load.shape {
            Shape::Poisson => 1_000_000,
            // Cycles of eight seconds.
            Shape::Bursty if self.now_us % 8_000_000 < 2_000_000 => 3_000_000,
            Shape::Bursty => 333_333,
            // One parabola up and one down, as near to a sine as a day is.
            Shape::Diurnal => {
                let phase = (self.now_us % length) * 2_000_000 / length;
                let half = phase % 1_000_000;
                let hump = half * (1_000_000 - half) / 1_000_000 * 4;
                if phase < 1_000_000 { 1_000_000 + hump * 8 / 10 } else { 1_000_000 - hump * 8 / 10 }
            }
        };
        let now_ms = self.now_us / 1_000;
        let on = self.surges.iter().filter(|e| (e.from_ms..e.until_ms).contains(&now_ms));
        let rate = on.fold(load.rate_mrps * shaped_ppm / 1_000_000, |rate, e| rate * e.by_ppm / 1_000_000);
        (rate * self.scale_ppm / 1_000_000).max(1)
    }

    fn kind(&mut self) -> (usize, &'a Mix) {
        let mut at = self.kind.below(self.weights);
        let mix = &self.scenario.load.mix;
        let found = mix.iter().enumerate().find(|(_, m)| {
            let here = at < u64::from(m.weight);
            at = at.saturating_sub(u64::from(m.weight));
            here
        });
        found.or(mix.iter().enumerate().next_back()).unwrap_or((0, &NOBODY))
    }

    fn step(&mut self) -> Option<(u64, Option<Line>)> {
        if self.scenario.load.trace.is_none() {
            let mean_us = 1_000_000_000 / self.rate_mrps();
            return Some((self.now_us + self.time.exponential(mean_us), None));
        }
        let line = *self.trace.get(usize::try_from(self.id).ok()?)?;
        let speed = self.scenario.load.trace.as_ref().map_or(1_000_000, |t| t.speed_ppm);
        let scaled = u128::from(line.at_us) * 1_000_000 / u128::from(speed) * 1_000_000 / u128::from(self.scale_ppm);
        Some((u64::try_from(scaled).ok()?, Some(line)))
    }
}

const NOBODY: Mix = Mix {
    weight: 1,
    tenant: None,
    data: None,
    model: None,
    region: None,
    zone: None,
    residency: None,
    workload: None,
    streaming: false,
    features: crate::model::Features(0),
    input: Tokens { median: 1, spread_ppm: 0, most: 1 },
    output: Tokens { median: 1, spread_ppm: 0, most: 1 },
};

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let (at_us, line) = self.step()?;
        self.now_us = at_us;
        if at_us >= self.scenario.duration_ms * 1_000 {
            return None;
        }
        let (mix, kind) = self.kind();
        let mut tokens = |t: Tokens| {
            let n = self.size.log_normal(u64::from(t.median), u64::from(t.spread_ppm));
            u32::try_from(n.clamp(1, u64::from(t.most))).unwrap_or(t.most)
        };
        let (input, output) = (tokens(kind.input), tokens(kind.output));
        let (input, output) = line.map_or((input, output), |l| (l.input, l.output));
        let fleet = self.scenario.fleet;
        let proxy = usize::try_from(self.kind.below(u64::from(fleet.proxies))).unwrap_or(0);
        let worker = usize::try_from(self.kind.below(u64::from(fleet.workers))).unwrap_or(0);
        self.id += 1;
        Some(Arrival { at_us, mix, input, output, proxy, worker, id: self.id })
    }
}

/// The most lines that a trace may have.
const MOST_LINES: usize = 10_000_000;

/// Reads a trace: a line of names, then lines of `2023-11-16 18:17:03.9799600,4808,10` or `3.98,4808,10` (seconds).
///
/// # Errors
/// The first line that is none, and what was expected.
pub fn trace(text: &str) -> Result<Vec<Line>, String> {
    let mut lines: Vec<Line> = Vec::new();
    let mut first = None;
    for (number, text) in (1..).zip(text.lines()).skip(1).filter(|(_, text)| !text.trim().is_empty()) {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let parsed = match fields.as_slice() {
            [at, input, output] => stamp(at).zip(input.parse().ok()).zip(output.parse().ok()),
            _ => None,
        };
        let Some(((at, input), output)) = parsed else {
            return Err(format!("line {number}: `{text}`: expected a time stamp, input tokens, output tokens"));
        };
        let began = *first.get_or_insert(at);
        let at_us = at.saturating_sub(began).max(lines.last().map_or(0, |l| l.at_us));
        lines.push(Line { at_us, input, output });
        if lines.len() > MOST_LINES {
            return Err(format!("line {number}: at most {MOST_LINES} lines"));
        }
    }
    if lines.is_empty() { Err("no line but the first, which names the columns".into()) } else { Ok(lines) }
}

/// Microseconds of a time stamp; of a date only the day within its month counts, as a trace is shorter than that.
fn stamp(text: &str) -> Option<u64> {
    let seconds = |text: &str| {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits: String = part.chars().chain("000000".chars()).take(6).collect();
        Some(whole.parse::<u64>().ok()?.checked_mul(1_000_000)? + digits.parse::<u64>().ok()?)
    };
    let Some((date, time)) = text.split_once([' ', 'T']) else { return seconds(text) };
    let day: u64 = date.rsplit('-').next()?.parse().ok()?;
    let mut parts = time.trim_end_matches('Z').splitn(3, ':');
    let (hour, minute): (u64, u64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let whole = day.checked_mul(86_400)?.checked_add(hour.checked_mul(3_600)? + minute.checked_mul(60)?)?;
    whole.checked_mul(1_000_000)?.checked_add(seconds(parts.next()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_with_its_times_from_the_first_line_on() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:18:04.0319600,3180,8\n";
        let lines = trace(text).unwrap();
        assert_eq!(lines[1], Line { at_us: 60_052_000, input: 3180, output: 8 });
        assert_eq!(trace("at,in,out\n1.5,3,4\n2.25,5,6\n").unwrap()[1].at_us, 750_000);
    }

    #[test]
    fn what_is_no_line_of_a_trace_is_refused_with_its_place() {
        assert_eq!(
            trace("a,b,c\n1,2,3\n1,x,3").unwrap_err(),
            "line 3: `1,x,3`: expected a time stamp, input tokens, output tokens"
        );
        assert!(trace("a,b,c\n").is_err());
    }
}
