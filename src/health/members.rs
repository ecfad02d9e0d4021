//! The members of a JSON object as they stand in the text, in their order and unread, so that one that is wrong costs
//! nothing but itself, and one that is there twice is seen.

use super::heard::Drop;
use core::fmt;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The members of an object.
#[derive(Debug, Default)]
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The member of this name; one that is `null` is not there.
    ///
    /// # Errors
    /// When it is there more than once: nobody knows which is meant.
    pub(crate) fn find(&self, name: &str) -> Result<Option<&'a RawValue>, Drop> {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, raw)| *raw);
        let first = found.next().filter(|raw| raw.get() != "null");
        if found.next().is_some() { Err(Drop::Doubled) } else { Ok(first) }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Reader)
    }
}

/// A name, which is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            members.push((name, value));
        }
        Ok(Members(members))
    }
}
