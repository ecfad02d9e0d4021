//! Mappings of one's own from Prometheus metrics to signals, as the configuration writes them:
//!
//! ```json
//! {"signal": "interconnect", "metric": "nvlink_tx_bytes", "labels": {"link": "0"}, "per": {"metric": "nvlink_capacity_bytes"},
//!  "aggregate": "max", "increase": false, "scale": 1.0, "rest": false}
//! ```

use super::Format;
use crate::health::decimal::{self, Number};
use crate::health::prometheus::{Aggregate, Mapping, Per, Selector};
use crate::model::{Signal, WHOLE_PPM};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The most mappings of one source.
pub const MOST_MAPPINGS: usize = 64;

/// A mapping as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMapping<'a> {
    signal: String,
    metric: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Divided by this.
    per: Option<RawSelector>,
    /// Divided by itself and this together.
    with: Option<RawSelector>,
    #[serde(default)]
    aggregate: RawAggregate,
    #[serde(default)]
    increase: bool,
    #[serde(borrow)]
    scale: Option<&'a RawValue>,
    #[serde(default)]
    rest: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSelector {
    metric: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawAggregate {
    #[default]
    Sum,
    Max,
    Min,
    Mean,
}

/// A format with mappings of one's own, which stand beside those of a preset or alone.
///
/// # Errors
/// The field and what is wrong with it.
pub fn with_mappings(format: Format, own: Option<&[RawMapping<'_>]>) -> Result<Format, (&'static str, String)> {
    let wrong = |why: String| ("mappings", why);
    let mut mappings = match (format, own) {
        (Format::Prometheus(mappings), _) => mappings,
        (other, None) => return Ok(other),
        _ => return Err(wrong(String::from(": found for another format, expected a preset or `prometheus`"))),
    };
    for (n, mapping) in own.unwrap_or_default().iter().enumerate() {
        mappings.push(mapping.compile().map_err(|why| wrong(format!("[{n}].{why}")))?);
    }
    if (1..=MOST_MAPPINGS).contains(&mappings.len()) {
        return Ok(Format::Prometheus(mappings));
    }
    Err(wrong(format!(": found {}, expected 1 to {MOST_MAPPINGS}", mappings.len())))
}

impl RawMapping<'_> {
    /// The mapping.
    ///
    /// # Errors
    /// The field that is wrong, with what was found and what was expected.
    pub fn compile(&self) -> Result<Mapping, String> {
        let signal = Signal::parse(&self.signal).ok_or_else(|| {
            let known: Vec<_> = Signal::ALL.iter().map(|s| s.as_str()).collect();
            ["signal: found `", &self.signal, "`, expected one of ", &known.join(", ")].concat()
        })?;
        let per = match (&self.per, &self.with) {
            (Some(_), Some(_)) => return Err(String::from("with: found beside `per`, expected one of them")),
            (Some(per), None) => Some(Per::Of(selector("per.metric", &per.metric, &per.labels)?)),
            (None, Some(with)) => Some(Per::With(selector("with.metric", &with.metric, &with.labels)?)),
            (None, None) => None,
        };
        let scale_micro = match self.scale.map(|raw| (raw.get(), decimal::parse(raw.get().as_bytes()))) {
            None => WHOLE_PPM,
            Some((_, Number::Micro(micro))) if micro != 0 => micro,
            Some((text, _)) => {
                return Err(["scale: found `", text, "`, expected a number of a millionth at least"].concat());
            }
        };
        Ok(Mapping {
            signal,
            of: selector("metric", &self.metric, &self.labels)?,
            per,
            aggregate: match self.aggregate {
                RawAggregate::Sum => Aggregate::Sum,
                RawAggregate::Max => Aggregate::Max,
                RawAggregate::Min => Aggregate::Min,
                RawAggregate::Mean => Aggregate::Mean,
            },
            increase: self.increase,
            scale_micro,
            rest: self.rest,
        })
    }
}

fn selector(place: &str, metric: &str, labels: &BTreeMap<String, String>) -> Result<Selector, String> {
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    if metric.is_empty() || !metric.bytes().all(named) {
        return Err([place, ": found `", metric, "`, expected the name of a metric"].concat());
    }
    Ok(Selector { metric: String::from(metric), labels: labels.clone().into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::RawMapping;
    use crate::health::prometheus::{Aggregate, Mapping, Per, Selector};
    use crate::model::Signal;

    fn compile(text: &str) -> Result<Mapping, String> {
        serde_json::from_str::<RawMapping<'_>>(text).map_err(|e| e.to_string())?.compile()
    }

    #[test]
    fn a_mapping_says_which_samples_become_which_signal_and_how() {
        let text = r#"{"signal": "interconnect", "metric": "tx", "labels": {"link": "0"}, "per": {"metric": "cap"},
            "aggregate": "max", "increase": true, "scale": 0.5, "rest": true}"#;
        let expected = Mapping {
            of: Selector { metric: "tx".into(), labels: vec![("link".into(), "0".into())] },
            per: Some(Per::Of(Selector::all("cap"))),
            aggregate: Aggregate::Max,
            increase: true,
            scale_micro: 500_000,
            rest: true,
            ..Mapping::new(Signal::Interconnect, "tx")
        };
        assert_eq!(compile(text), Ok(expected));
        assert_eq!(compile(r#"{"signal": "hosts", "metric": "up"}"#), Ok(Mapping::new(Signal::Hosts, "up")));
    }

    #[test]
    fn what_is_wrong_with_a_mapping_is_said_with_its_place() {
        for (text, why) in [
            (r#"{"signal": "wombats", "metric": "m"}"#, "signal: found `wombats`, expected one of queue_depth"),
            (r#"{"signal": "hosts", "metric": ""}"#, "metric: found ``"),
            (r#"{"signal": "hosts", "metric": "m{a}"}"#, "metric: found `m{a}`"),
            (r#"{"signal": "hosts", "metric": "m", "scale": 0}"#, "scale: found `0`"),
            (r#"{"signal": "hosts", "metric": "m", "scale": "1"}"#, "scale: found `\"1\"`"),
            (
                r#"{"signal": "hosts", "metric": "m", "per": {"metric": "a"}, "with": {"metric": "b"}}"#,
                "with: found beside",
            ),
            (r#"{"signal": "hosts", "metric": "m", "agregate": "sum"}"#, "unknown field `agregate`"),
        ] {
            let said = compile(text).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
