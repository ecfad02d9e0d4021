//! What decisions leave behind, as it stands in the configuration.

use super::raw::RawConfig;
use super::{Lane, refuse};
use crate::filter::CALLBACKS;
use crate::model::contract::Key;

/// What decisions leave behind besides their record and the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounting {
    /// Whether there is any: without, no record is left and no request is counted.
    pub on: bool,
    /// The replay record in filter state.
    pub replay: bool,
    /// Tenants stand in it, and in what is shown of their budgets, as digests.
    pub hash_tenants: bool,
    /// Single keys in filter state.
    pub keys: Vec<Key>,
    /// One decision in so many is looked at closely; 0 for none.
    pub sample: u32,
    /// The stages of one decision in so many are timed; 0 for none.
    pub time_sample: u32,
    /// The ends of one placed request in so many are looked at; 0 for none.
    pub outcomes: u32,
    /// The composite clusters that attempts are booked on.
    pub lanes: Vec<String>,
    /// The account of a policy beside the ruling one: it does not speak for the proxy.
    pub aside: bool,
}

/// How many decisions there are for each that is looked at closely, where nothing is said.
const SAMPLE: u32 = 128;
/// The same for those that are timed: six calls for the time each.
const TIME_SAMPLE: u32 = 1_024;

impl Accounting {
    /// The same for a policy beside the ruling one.
    pub(crate) fn beside(&self) -> Self {
        Self { aside: true, ..self.clone() }
    }

    #[inline(never)]
    pub(super) fn new(raw: &RawConfig<'_>, lanes: &[Lane], budgets: bool) -> Result<Self, String> {
        let (replay, hash_tenants) = (raw.replay.unwrap_or(false), raw.hash_tenants);
        let on = raw.accounting.unwrap_or(true);
        if let Some((name, _)) = given(raw).iter().filter(|_| !on).find(|(_, given)| *given) {
            return Err(refuse(&format!(
                "{name}: nothing is left behind with `accounting: false`, expected it to be absent"
            )));
        }
        if !CALLBACKS && raw.outcomes.is_some_and(|one_in| one_in > 0) {
            return Err(refuse(
                "outcomes: this file sees no ends of requests, expected it to be absent or `berth.wasm`, which does",
            ));
        }
        if hash_tenants == Some(true) && !replay && !budgets {
            return Err(refuse(
                "hash_tenants: it is about the replay record and tenants' budgets, expected `replay: true` beside it or `budgets` in the policy",
            ));
        }
        let mut found = Vec::new();
        for (i, name) in raw.keys.iter().flatten().enumerate() {
            let key = Key::ALL.into_iter().find(|key| key.as_str() == name).ok_or_else(|| {
                let known: Vec<_> = Key::ALL.iter().map(|key| key.as_str()).collect();
                refuse(&format!("keys[{i}]: found `{name}`, expected one of {}", known.join(", ")))
            })?;
            if found.contains(&key) {
                return Err(refuse(&format!("keys[{i}]: `{name}` stands there twice, expected each key once")));
            }
            found.push(key);
        }
        Ok(Self {
            on,
            replay,
            hash_tenants: hash_tenants.unwrap_or(false),
            keys: found,
            sample: if on { raw.sample.unwrap_or(SAMPLE) } else { 0 },
            time_sample: if on { raw.time_sample.unwrap_or(TIME_SAMPLE) } else { 0 },
            outcomes: raw.outcomes.unwrap_or(0),
            lanes: lanes.iter().map(|lane| lane.cluster.clone()).collect(),
            aside: false,
        })
    }
}

/// Which fields refine what decisions leave behind stand there.
pub(super) fn given(raw: &RawConfig<'_>) -> [(&'static str, bool); 8] {
    [
        ("decision_upstream", raw.decision_upstream.is_some()),
        ("decision_response", raw.decision_response.is_some()),
        ("replay", raw.replay.is_some()),
        ("hash_tenants", raw.hash_tenants.is_some()),
        ("keys", raw.keys.is_some()),
        ("sample", raw.sample.is_some()),
        ("time_sample", raw.time_sample.is_some()),
        ("outcomes", raw.outcomes.is_some()),
    ]
}
