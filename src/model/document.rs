//! The policy document in plain, validated values: what people wrote, with every name resolved to exist, every
//! number in its unit and every default filled in. `policy` makes it from text and compiles it; the reference model
//! of the tests reads nothing else.

use super::{Class, Country, Envelope, Name, Substrate, settings::Settings};

/// Whose policy this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: Name,
    /// Its version, counted by its owner.
    pub version: u32,
    /// Who answers for it.
    pub owner: String,
    /// Who approved it.
    pub approved_by: Vec<String>,
    /// From when it is meant to hold, as written.
    pub effective: Option<String>,
}

/// The whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Whose policy this is.
    pub identity: Identity,
    /// Named sets of countries, sorted by name.
    pub jurisdictions: Vec<(String, Vec<Country>)>,
    /// The places, in the document's order.
    pub substrates: Vec<Substrate>,
    /// The kinds of work, in the document's order: the first that matches wins.
    pub classes: Vec<Class>,
    /// The class of requests that match none.
    pub default_class: Name,
    /// The envelopes, in the document's order, which means nothing.
    pub envelopes: Vec<Envelope>,
    /// The numbers that tune it.
    pub settings: Settings,
}
