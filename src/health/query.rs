//! The answer of a Prometheus-compatible query API (Prometheus, Thanos, Mimir) to an instant query: one question for all
//! signals of all substrates, so that a thousand proxies need not scrape each server.
//!
//! Every sample names its substrate and its signal by two labels and gives its value in the signal's base unit: a count, a
//! ratio of one, seconds, dollars per million tokens.

use super::decimal;
use super::heard::{Drop, Dropped, Heard};
use crate::model::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The longest answer that is read.
pub const MOST_ANSWER: usize = 4 << 20;
/// The most samples that one answer may hold.
const MOST_SAMPLES: usize = 65_536;

/// The labels that say what a sample is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The label with the substrate's name.
    pub substrate: String,
    /// The label with the signal's name.
    pub signal: String,
}

impl Default for Labels {
    fn default() -> Self {
        Self { substrate: String::from("substrate"), signal: String::from("signal") }
    }
}

#[derive(Deserialize)]
struct RawAnswer<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: RawData<'a>,
}

#[derive(Deserialize)]
struct RawData<'a> {
    #[serde(borrow)]
    result: Vec<RawSample<'a>>,
}

#[derive(Deserialize)]
struct RawSample<'a> {
    #[serde(borrow)]
    metric: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    value: (&'a RawValue, Cow<'a, str>),
}

/// Reads an answer: by substrate what was heard, in the order of their names, and what could not be placed. `None` if it
/// is no successful answer to an instant query.
#[must_use]
pub fn parse(body: &[u8], labels: &Labels, now_ms: u64) -> Option<(Vec<(String, Heard)>, Dropped)> {
    let answer: RawAnswer<'_> = serde_json::from_slice(body).ok()?;
    if answer.status != "success" {
        return None;
    }
    let mut by_name: BTreeMap<&str, Heard> = BTreeMap::new();
    let mut dropped = Dropped::default();
    for sample in answer.data.result.iter().take(MOST_SAMPLES) {
        let label = |name: &str| sample.metric.get(name).map(|value| &**value);
        let signal = label(&labels.signal).and_then(Signal::parse);
        let (Some(substrate), Some(signal)) = (label(&labels.substrate), signal) else {
            dropped.count(Drop::Unknown);
            continue;
        };
        let heard = by_name.entry(substrate).or_default();
        // Seconds with a fraction: their millionths over a thousand are milliseconds.
        let at_ms = match decimal::parse(sample.value.0.get().as_bytes()) {
            decimal::Number::Micro(micro) => micro.max(0).unsigned_abs() / 1_000,
            _ => {
                heard.dropped.count(Drop::Malformed);
                continue;
            }
        };
        heard.take(signal, decimal::parse(sample.value.1.as_bytes()), at_ms, now_ms);
    }
    Some((by_name.into_iter().map(|(name, heard)| (String::from(name), heard)).collect(), dropped))
}

#[cfg(test)]
mod tests {
    use super::{Labels, parse};
    use crate::health::heard::Drop;
    use crate::model::{Reading, Signal};

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn one_answer_speaks_of_all_signals_of_all_substrates() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"substrate":"metal-fr","signal":"queue_depth","job":"x"},"value":[1789999999.5,"3"]},
            {"metric":{"substrate":"onprem-de","signal":"first_token"},"value":[1790000000,"0.25"]},
            {"metric":{"substrate":"metal-fr","signal":"memory_pressure"},"value":[1790000000.123,"NaN"]},
            {"metric":{"substrate":"metal-fr","signal":"wombats"},"value":[1790000000,"1"]},
            {"metric":{"signal":"queue_depth"},"value":[1790000000,"1"]}]}}"#;
        let (heard, dropped) = parse(body, &Labels::default(), NOW).unwrap();
        let names: Vec<_> = heard.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["metal-fr", "onprem-de"]);
        assert_eq!(heard[0].1.readings, [(Signal::QueueDepth, Reading { value: 3, at_ms: NOW - 500 })]);
        assert_eq!(heard[0].1.dropped.of(Drop::NotFinite), 1);
        assert_eq!(heard[1].1.readings, [(Signal::FirstToken, Reading { value: 250_000, at_ms: NOW })]);
        assert_eq!(dropped.of(Drop::Unknown), 2);
    }

    #[test]
    fn what_is_no_successful_answer_is_none() {
        for body in [
            "",
            "<html>",
            r#"{"status":"error","errorType":"timeout","error":"x"}"#,
            r#"{"status":"error","data":{"result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}"#,
        ] {
            assert!(parse(body.as_bytes(), &Labels::default(), NOW).is_none(), "{body}");
        }
    }
}
