//! What decisions leave behind, as it stands in the configuration.

use super::refuse;
use crate::model::contract::Key;

/// What decisions leave behind besides their record and the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounting {
    /// The replay record in filter state.
    pub replay: bool,
    /// Tenants stand in it as digests.
    pub hash_tenants: bool,
    /// Single keys in filter state.
    pub keys: Vec<Key>,
    /// One decision in so many is looked at closely; 0 for none.
    pub sample: u32,
}

/// How many decisions there are for each that is looked at closely, where nothing is said.
const SAMPLE: u32 = 128;

impl Accounting {
    pub(super) fn new(
        replay: Option<bool>,
        hash_tenants: Option<bool>,
        keys: Option<&[String]>,
        sample: Option<u32>,
    ) -> Result<Self, String> {
        let replay = replay.unwrap_or(false);
        if hash_tenants == Some(true) && !replay {
            return Err(refuse("hash_tenants: it is about the replay record, expected `replay: true` beside it"));
        }
        let mut found = Vec::new();
        for (i, name) in keys.unwrap_or_default().iter().enumerate() {
            let key = Key::ALL.into_iter().find(|key| key.as_str() == name).ok_or_else(|| {
                let known: Vec<_> = Key::ALL.iter().map(|key| key.as_str()).collect();
                refuse(&format!("keys[{i}]: found `{name}`, expected one of {}", known.join(", ")))
            })?;
            if found.contains(&key) {
                return Err(refuse(&format!("keys[{i}]: `{name}` stands there twice, expected each key once")));
            }
            found.push(key);
        }
        Ok(Self { replay, hash_tenants: hash_tenants.unwrap_or(false), keys: found, sample: sample.unwrap_or(SAMPLE) })
    }
}
