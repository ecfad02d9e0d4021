//! Reads the fields of a section of the configuration from the tree that the policy's own reader makes: one reader for
//! all of the text, so that the module carries one and every policy is read once.

use super::refuse;
use crate::policy::tree::{Entry, Node, Value, shorten};

/// A section whose fields are all known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'n> {
    entries: &'n [Entry],
    /// What stands before the names of its fields, such as `facts.tenant.`.
    place: &'n str,
}

impl<'n> Section<'n> {
    #[inline(never)]
    pub(super) fn open(node: &'n Node, place: &'n str, known: &[&str]) -> Result<Self, String> {
        let Value::Map(entries) = &node.value else {
            let place = if place.is_empty() { "configuration" } else { place.trim_end_matches('.') };
            return Err(mistaken(place, node, "a JSON object"));
        };
        match entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            Some(entry) => Err(refuse(&format!(
                "configuration: {place}unknown field `{}`, expected one of `{}`",
                shorten(&entry.key),
                known.join("`, `")
            ))),
            None => Ok(Self { entries, place }),
        }
    }

    /// A field that is there and says something.
    #[inline(never)]
    pub(super) fn get(self, name: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        (entry.node.value != Value::Null).then_some(&entry.node)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    #[inline(never)]
    fn wrong(self, name: &str, node: &Node, expected: &str) -> String {
        mistaken(&[self.place, name].concat(), node, expected)
    }

    #[inline(never)]
    pub(super) fn missing(self, name: &str, expected: &str) -> String {
        refuse(&[self.place, name, ": missing, expected ", expected].concat())
    }

    #[inline(never)]
    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, String> {
        let Some(node) = self.get(name) else { return Ok(None) };
        if let Value::Bool(yes) = node.value { Ok(Some(yes)) } else { Err(self.wrong(name, node, "true or false")) }
    }

    #[inline(never)]
    pub(super) fn number(self, name: &str) -> Result<Option<u32>, String> {
        let Some(node) = self.get(name) else { return Ok(None) };
        match node.value {
            Value::Number(number) if f64::from(number as u32).to_bits() == number.to_bits() => Ok(Some(number as u32)),
            _ => Err(self.wrong(name, node, "a whole number from 0 to 4294967295")),
        }
    }

    #[inline(never)]
    pub(super) fn part(self, name: &str) -> Result<Option<f64>, String> {
        let Some(node) = self.get(name) else { return Ok(None) };
        if let Value::Number(number) = node.value { Ok(Some(number)) } else { Err(self.wrong(name, node, "a number")) }
    }

    #[inline(never)]
    pub(super) fn text(self, name: &str) -> Result<Option<String>, String> {
        let Some(node) = self.get(name) else { return Ok(None) };
        node.text().map(|text| Some(text.into())).ok_or_else(|| self.wrong(name, node, "text"))
    }

    pub(super) fn word<T: Copy>(self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, String> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let meant = words.iter().find(|(word, _)| node.text() == Some(word)).map(|(_, meaning)| *meaning);
        meant.map(Some).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, node, &["one of ", &known.join(", ")].concat())
        })
    }

    #[inline(never)]
    pub(super) fn list(self, name: &str) -> Result<Option<&'n [Node]>, String> {
        let Some(node) = self.get(name) else { return Ok(None) };
        if let Value::List(items) = &node.value { Ok(Some(items)) } else { Err(self.wrong(name, node, "a list")) }
    }

    #[inline(never)]
    pub(super) fn texts(self, name: &str) -> Result<Option<Vec<String>>, String> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        let text = |node: &Node| node.text().map(String::from).ok_or_else(|| self.wrong(name, node, "a list of texts"));
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    #[inline(never)]
    pub(super) fn map(self, name: &str) -> Result<Option<&'n [Entry]>, String> {
        let Some(node) = self.get(name) else { return Ok(None) };
        if let Value::Map(entries) = &node.value { Ok(Some(entries)) } else { Err(self.wrong(name, node, "a map")) }
    }
}

fn mistaken(place: &str, node: &Node, expected: &str) -> String {
    refuse(&format!("{place}: found `{}`, expected {expected}", node.value))
}
