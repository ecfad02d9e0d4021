//! Facts that no header carries: a claim of a verified token, the peer's identity, metadata of the route or the node.

use super::{Found, Sources, beginning};
use crate::filter::Host;
use crate::model::FactName;

/// A property of the stream that says one fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The fact.
    pub fact: FactName,
    /// The way to it, such as `["connection", "uri_san_peer_certificate"]`.
    pub path: Vec<String>,
    /// Whether it can be believed: what a client sends is a property too.
    pub trusted: bool,
}

/// What the proxy answered; the facts borrow from it.
#[derive(Debug, Default)]
pub(in crate::filter) struct Answers(Vec<(FactName, bool, String)>);

impl Sources {
    /// Asks the proxy for the properties that say facts: one call each, and none where there are none.
    pub(in crate::filter) fn ask<H: Host>(&self, host: &H) -> Answers {
        let text = |property: &Property| {
            let path: Vec<&str> = property.path.iter().map(String::as_str).collect();
            let value = host.property(&path).ok()?;
            Some((property.fact, property.trusted, String::from(beginning(&value)?)))
        };
        Answers(self.properties.iter().filter_map(text).collect())
    }
}

impl<'a> Found<'a> {
    /// Takes what the proxy answered as it takes headers.
    pub(in crate::filter) fn hear(&mut self, answers: &'a Answers) {
        for (fact, trusted, text) in &answers.0 {
            self.put(*fact, text, *trusted);
        }
    }
}
