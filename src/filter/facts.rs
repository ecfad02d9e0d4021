//! From a request's headers to its facts: which sources are read, and which of them are believed.
//!
//! One pass over the header map; nothing is copied but the borrowed slices. A header that is asked about and says two
//! things says nothing, and the request is refused for it: an absent fact may well permit more than a present one did,
//! where an envelope asks for it.

use crate::model::contract::{ATTEMPT_HEADER, BUDGET_HEADER, ORIGINAL_PATH_HEADER, OWN_HEADERS};
use crate::model::facts::number_of;
use crate::model::{Fact, FactName, Features};

mod found;
mod property;

pub use property::Property;

use super::Headers;
use super::attempts::Steering;

/// Where one fact comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The fact.
    pub fact: FactName,
    /// The lower-case header that carries it.
    pub header: String,
    /// Whether that header can be believed: the proxy strips or sets it itself.
    pub trusted: bool,
}

/// Which headers are read for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Facts by header.
    pub facts: Vec<Source>,
    /// Facts by what the proxy knows of the stream.
    pub properties: Vec<Property>,
    /// The header that lists the features that a request needs.
    pub features: Option<String>,
    /// The header whose presence says that the request may be done twice.
    pub idempotency: Option<String>,
    /// Headers that the policy's predicates ask for, and whether each can be believed.
    pub predicates: Vec<(String, bool)>,
    /// Headers of predicates that can be believed, whichever policy asks for them.
    pub trusted: Vec<String>,
    /// Whether path and method can be believed to choose the class: true where the route is the operator's.
    pub trust_path: bool,
}

/// The most bytes of a value that are looked at. No word of a policy is half as long, so nothing compares otherwise for what
/// is cut off, and nobody has 60 KiB searched, checked and summed up by sending them.
const MOST_VALUE: usize = 1_024;

/// The most headers that predicates may ask for; the configuration refuses more.
pub const MOST_PREDICATES: usize = 64;

/// The most bytes of lists of features that are read, over all headers; more asks for every feature there is.
const MOST_LISTED: usize = 512;

/// What one pass over the headers found; borrows from the header map.
#[derive(Debug, Default)]
pub struct Found<'a> {
    text: [Option<Fact<&'a str>>; FactName::ALL.len()],
    ambiguous: u32,
    kept: Vec<(&'a str, Fact<&'a str>)>,
    cancelled: u64,
    /// What the request itself is, where no header of the configuration says so.
    path: Option<Fact<&'a str>>,
    method: Option<Fact<&'a str>>,
    takes_events: bool,
    features: Features,
    /// How much was read of lists of features.
    listed: usize,
    content_bytes: Option<u64>,
    deadline_ms: Option<u32>,
    idempotent: bool,
    /// The request id, for the seed.
    pub request_id: Option<&'a [u8]>,
    /// The client sends JSON.
    pub json: bool,
    /// The output token limit that the body names.
    pub(super) output_tokens: Option<Fact<u32>>,
    /// What a hop before this one says that is left; it means nothing until the hop is known to be trusted.
    pub budget: Option<&'a str>,
    /// The client speaks gRPC.
    pub grpc: bool,
    /// The client asks for a socket. Where none are served, that is answered before it gets here.
    pub socket: bool,
    /// Names of headers that only Berth may set, and that the client sent.
    pub forged: Vec<&'a str>,
    /// Which headers there are that would change what the router does with a plan; see [`Steering`].
    pub steering: Steering,
}

impl Sources {
    /// Reads what these sources ask for. Most headers are nobody's: they are passed over by their length and their
    /// first letters, before anything is compared or looked at as text.
    #[must_use]
    pub fn read<'a>(&self, headers: &'a Headers) -> Found<'a> {
        let mut found = Found::default();
        let asked_for = self.lengths();
        for (name, value) in headers.iter() {
            // What clients call their host, the proxy shows under its name in HTTP/2.
            let name = if name == b":authority" { b"host" } else { name };
            if let [b'x', b'-', b'p' | b'e', ..] = name
                && let Ok(text) = core::str::from_utf8(name)
            {
                found.steering.see(text);
                if is_reserved(text) {
                    found.forged.push(text);
                    if text == BUDGET_HEADER {
                        found.budget = beginning(value);
                    }
                    continue;
                }
            }
            self.take_known(&mut found, name, value);
            if asked_for & length_bit(name.len()) != 0
                && let Some(value) = beginning(value)
            {
                self.take_asked(&mut found, name, value);
            }
        }
        found
    }

    /// The lengths of all names that the configuration asks for, as bits.
    fn lengths(&self) -> u64 {
        let facts = self.facts.iter().map(|source| source.header.len());
        let others = self.idempotency.iter().chain(&self.features).map(String::len);
        let predicates = self.predicates.iter().map(|(name, _)| name.len());
        facts.chain(others).chain(predicates).fold(0, |bits, len| bits | length_bit(len))
    }

    /// Headers that mean something to every configuration.
    fn take_known<'a>(&self, found: &mut Found<'a>, name: &[u8], value: &'a [u8]) {
        let text = || beginning(value);
        match name {
            b":path" => {
                if let Some(value) = text() {
                    let path = value.split_once('?').map_or(value, |(path, _)| path);
                    found.path = Some(Fact { value: path, trusted: self.trust_path });
                }
            }
            b":method" => found.method = text().map(|value| Fact { value, trusted: self.trust_path }),
            b"x-request-id" => found.request_id = Some(value),
            b"content-type" => {
                found.grpc = value.starts_with(b"application/grpc");
                found.json = value.starts_with(b"application/json");
            }
            b"content-length" => found.content_bytes = text().and_then(number_of),
            b"x-envoy-expected-rq-timeout-ms" | b"x-envoy-upstream-rq-timeout-ms" => {
                found.hurry(text().and_then(number_of));
            }
            b"grpc-timeout" => found.hurry(text().and_then(grpc_timeout_ms)),
            b"upgrade" => found.socket = true,
            b"accept" => found.takes_events |= value.starts_with(b"text/event-stream"),
            _ => {}
        }
    }

    /// Headers that the configuration asks for.
    fn take_asked<'a>(&self, found: &mut Found<'a>, name: &'a [u8], value: &'a str) {
        for source in self.facts.iter().filter(|s| s.header.as_bytes() == name) {
            found.put(source.fact, value, source.trusted);
        }
        let is = |header: &Option<String>| header.as_deref().is_some_and(|header| header.as_bytes() == name);
        found.idempotent |= is(&self.idempotency);
        if is(&self.features) {
            found.list(value);
        }
        if let Some(at) = self.predicates.iter().take(MOST_PREDICATES).position(|(key, _)| key.as_bytes() == name)
            && let Some((_, trusted)) = self.predicates.get(at)
            && let Ok(key) = core::str::from_utf8(name)
        {
            found.keep(at, key, Fact { value, trusted: *trusted });
        }
    }
}

/// The text that a value begins with; none where that is no text.
pub(super) fn beginning(value: &[u8]) -> Option<&str> {
    if value.len() <= MOST_VALUE { core::str::from_utf8(value).ok() } else { cut(value) }
}

/// The same of one that is too long, and hardly ever comes.
#[cold]
fn cut(value: &[u8]) -> Option<&str> {
    let begun = value.get(..MOST_VALUE)?;
    match core::str::from_utf8(begun) {
        Ok(text) => Some(text),
        // Cut within a letter.
        Err(cut) if cut.error_len().is_none() => {
            begun.get(..cut.valid_up_to()).and_then(|text| core::str::from_utf8(text).ok())
        }
        Err(_) => None,
    }
}

/// A bit for a length; very long names share theirs.
const fn length_bit(len: usize) -> u64 {
    1 << (len % 64)
}

/// gRPC's own deadline: up to eight digits and a unit.
fn grpc_timeout_ms(value: &str) -> Option<u32> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    let us = match unit {
        "H" => amount.saturating_mul(3_600_000_000),
        "M" => amount.saturating_mul(60_000_000),
        "S" => amount.saturating_mul(1_000_000),
        "m" => amount.saturating_mul(1_000),
        "u" => amount,
        "n" => amount / 1_000,
        _ => return None,
    };
    Some(u32::try_from(us.div_ceil(1_000)).unwrap_or(u32::MAX).max(1))
}

/// Headers that mean something to Berth or the router and that no client may set.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(OWN_HEADERS) || name == ATTEMPT_HEADER || name == ORIGINAL_PATH_HEADER
}

#[cfg(test)]
mod tests {
    use super::{Source, Sources};
    use crate::filter::Headers;
    use crate::model::{Fact, FactName, Feature};

    fn sources() -> Sources {
        let source = |fact, header: &str, trusted| Source { fact, header: header.into(), trusted };
        Sources {
            facts: vec![
                source(FactName::Tenant, "x-tenant", true),
                source(FactName::Model, "x-model", false),
                source(FactName::InputTokens, "x-prompt-tokens", false),
            ],
            features: Some("x-needs".into()),
            predicates: vec![("x-workload".into(), false)],
            ..Sources::default()
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers::new(Headers::encode(pairs))
    }

    #[test]
    fn a_fact_carries_the_trust_of_its_source() {
        let (sources, headers) = (sources(), headers(&[("x-tenant", "acme"), ("x-model", "llama")]));
        let found = sources.read(&headers);
        assert_eq!(found.facts().tenant, Some(Fact::trusted("acme")));
        assert_eq!(found.facts().model, Some(Fact::claimed("llama")));
    }

    #[test]
    fn a_header_sent_twice_with_different_values_says_nothing_and_that_is_known() {
        for name in ["x-tenant", "x-model", "x-workload"] {
            let (sources, headers) = (sources(), headers(&[(name, "a"), (name, "b"), (name, "a")]));
            let found = sources.read(&headers);
            let facts = found.facts();
            assert_eq!((facts.tenant, facts.model, facts.header(name)), (None, None, None));
            assert!(facts.contradicted, "{name}");
        }
    }

    #[test]
    fn what_says_the_same_twice_or_is_not_asked_about_contradicts_nothing() {
        let pairs = [("x-tenant", "a"), ("x-tenant", "a"), ("x-workload", "b"), ("x-workload", "b")];
        let others = [("x-other", "a"), ("x-other", "b"), ("x-needs", "tools"), ("x-needs", "streaming")];
        let (sources, headers) = (sources(), headers(&[pairs, others].concat()));
        assert!(!sources.read(&headers).facts().contradicted);
    }

    #[test]
    fn a_header_that_is_named_for_it_speaks_before_the_path_and_what_the_client_accepts() {
        let mut sources = sources();
        for (fact, header) in [(FactName::Path, "x-path"), (FactName::Streaming, "x-stream")] {
            sources.facts.push(Source { fact, header: header.into(), trusted: false });
        }
        let pairs = [(":path", "/a"), ("accept", "text/event-stream"), ("x-path", "/b"), ("x-stream", "false")];
        for (trust_path, path) in [(false, Fact::claimed("/b")), (true, Fact::trusted("/a"))] {
            sources.trust_path = trust_path;
            let headers = headers(&pairs);
            let found = sources.read(&headers);
            let facts = found.facts();
            assert_eq!((facts.path, facts.streaming), (Some(path), Some(Fact::claimed(false))));
            assert!(!facts.contradicted);
        }
    }

    #[test]
    fn a_reserved_header_is_removed_whatever_its_value() {
        let mut bytes = Headers::encode(&[("x-placement-budget", "zz")]);
        let end = bytes.len();
        bytes[end - 3] = 0xff;
        assert_eq!(sources().read(&Headers::new(bytes)).forged, ["x-placement-budget"]);
    }

    #[test]
    fn what_is_not_a_number_is_absent_and_the_rest_survives() {
        let (sources, headers) = (sources(), headers(&[("x-prompt-tokens", "-1"), ("x-model", "m")]));
        let found = sources.read(&headers);
        assert_eq!(found.facts().input_tokens, None);
        assert_eq!(found.facts().model, Some(Fact::claimed("m")));
    }

    #[test]
    fn reserved_headers_of_the_client_are_named_for_removal() {
        let (sources, headers) =
            (sources(), headers(&[("x-placement-cluster", "trap"), ("x-envoy-attempt-count", "2"), ("x-a", "b")]));
        assert_eq!(sources.read(&headers).forged, ["x-placement-cluster", "x-envoy-attempt-count"]);
    }

    #[test]
    fn a_list_of_features_too_long_to_be_read_asks_for_all_of_them() {
        let (sources, long) = (sources(), ",".repeat(super::MOST_LISTED));
        for list in [vec![("x-needs", long.as_str()), ("x-needs", "tools")], vec![("x-needs", &*(long.clone() + ","))]]
        {
            let found = headers(&list);
            let features = sources.read(&found).facts().features;
            assert!(Feature::ALL.into_iter().all(|f| features.with(f) == features), "{features:?}");
        }
    }

    #[test]
    fn of_a_long_value_its_beginning_counts_and_a_long_number_is_none() {
        let most = super::MOST_VALUE;
        for (value, text) in [
            ("a".repeat(most - 1), Some("a".repeat(most - 1))),
            ("a".repeat(60_000), Some("a".repeat(most))),
            // The cut falls within a letter.
            ("a".to_string() + &"é".repeat(30_000), Some("a".to_string() + &"é".repeat(most / 2 - 1))),
        ] {
            assert_eq!(super::beginning(value.as_bytes()), text.as_deref());
        }
        assert_eq!(super::beginning(&[0xff; 2_000]), None);
        assert_eq!(super::beginning(b"a\xc3"), None, "the end of it is not ours");
        let long = "0".repeat(60_000) + "7";
        let (sources, headers) = (sources(), headers(&[("x-prompt-tokens", &long), ("content-length", &long)]));
        let found = sources.read(&headers);
        assert_eq!((found.facts().input_tokens, found.facts().content_bytes), (None, None));
    }

    #[test]
    fn the_path_is_read_without_its_query() {
        let (sources, headers) = (sources(), headers(&[(":path", "/v1/chat?x=1")]));
        assert_eq!(sources.read(&headers).facts().path, Some(Fact::claimed("/v1/chat")));
    }

    #[test]
    fn a_map_that_contradicts_itself_ends_early_and_never_panics() {
        let good = Headers::encode(&[("x-tenant", "acme"), ("x-model", "llama")]);
        for cut in 0..good.len() {
            let headers = Headers::new(good[..cut].to_vec());
            let _ = sources().read(&headers).facts();
        }
        let mut huge = good;
        huge[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Headers::new(huge).iter().count() < 100);
    }
}
