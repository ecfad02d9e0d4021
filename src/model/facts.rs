//! What is known of one request, and whether it can be believed.

use super::{FactName, Features};

/// The most letters of a number: more are noughts in front of it, which a thousand bounds would go over again and again.
const MOST_DIGITS: usize = 32;

/// The number that a value says, if it says one.
pub fn number_of<T: core::str::FromStr>(text: &str) -> Option<T> {
    if text.len() > MOST_DIGITS { None } else { text.parse().ok() }
}

/// A value with the trust of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<T> {
    /// What it says.
    pub value: T,
    /// Whether its source is trusted.
    pub trusted: bool,
}

impl<T> Fact<T> {
    /// From a trusted source.
    pub const fn trusted(value: T) -> Self {
        Self { value, trusted: true }
    }

    /// From a source that anybody can write.
    pub const fn claimed(value: T) -> Self {
        Self { value, trusted: false }
    }
}

/// The facts of one request; borrowed from the request, so that reading them copies nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Who pays.
    pub tenant: Option<Fact<&'a str>>,
    /// The class that the caller names.
    pub class: Option<Fact<&'a str>>,
    /// The model asked for.
    pub model: Option<Fact<&'a str>>,
    /// Input tokens claimed.
    pub input_tokens: Option<Fact<u32>>,
    /// The output token limit.
    pub output_tokens: Option<Fact<u32>>,
    /// Features asked for.
    pub features: Features,
    /// The data class.
    pub data: Option<Fact<&'a str>>,
    /// Where the data must stay: a country code or a named jurisdiction of the policy.
    pub residency: Option<Fact<&'a str>>,
    /// The session, for affinity.
    pub session: Option<Fact<&'a str>>,
    /// Time left for the answer.
    pub deadline_ms: Option<Fact<u32>>,
    /// The caller's region.
    pub region: Option<Fact<&'a str>>,
    /// The caller's zone.
    pub zone: Option<Fact<&'a str>>,
    /// The approval that the caller holds.
    pub approval: Option<Fact<&'a str>>,
    /// Whether a stream is asked for.
    pub streaming: Option<Fact<bool>>,
    /// The method.
    pub method: Option<Fact<&'a str>>,
    /// The path, without its query.
    pub path: Option<Fact<&'a str>>,
    /// The request's size in bytes, where it is known: the estimate of its tokens comes from here.
    pub content_bytes: Option<u64>,
    /// Whether the request says itself that it may be done twice.
    pub idempotent: bool,
    /// The headers that the policy's predicates ask for: lower-case name, value.
    pub headers: &'a [(&'a str, Fact<&'a str>)],
    /// A header that is asked about says two things: which of them holds, nobody can know.
    pub contradicted: bool,
    /// Attempts that the previous hop of the same mesh left over.
    pub attempts_left: Option<u8>,
}

impl<'a> Facts<'a> {
    /// A textual fact by its name; `None` where it is absent or a number.
    #[must_use]
    pub fn text(&self, name: FactName) -> Option<Fact<&'a str>> {
        match name {
            FactName::Tenant => self.tenant,
            FactName::Class => self.class,
            FactName::Model => self.model,
            FactName::Data => self.data,
            FactName::Residency => self.residency,
            FactName::Session => self.session,
            FactName::Region => self.region,
            FactName::Zone => self.zone,
            FactName::Approval => self.approval,
            FactName::Method => self.method,
            FactName::Path => self.path,
            FactName::Streaming => {
                self.streaming.map(|f| Fact { value: if f.value { "true" } else { "false" }, trusted: f.trusted })
            }
            FactName::InputTokens | FactName::OutputTokens | FactName::Deadline => None,
        }
    }

    /// A numeric fact by its name; `None` where it is absent or text.
    #[must_use]
    pub fn number(&self, name: FactName) -> Option<Fact<u32>> {
        match name {
            FactName::InputTokens => self.input_tokens,
            FactName::OutputTokens => self.output_tokens,
            FactName::Deadline => self.deadline_ms,
            _ => None,
        }
    }

    /// A header that the policy asked for, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Fact<&'a str>> {
        self.headers.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
    }
}
