//! What a role may ask of the proxy. Every status that a host can return is a value here, never a panic: the one
//! implementation for the real host is `edge`, the other is the tests' fake.

use core::fmt;

/// What a host call answered when it did not answer well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// Nothing there.
    NotFound,
    /// The host did not like the arguments; for a call to a cluster: the cluster is unknown.
    BadArgument,
    /// The host could not serialise.
    Serialization,
    /// The host could not parse.
    Parse,
    /// Nothing in the queue.
    Empty,
    /// Somebody else wrote in between.
    CasMismatch,
    /// The host failed; for a call to a cluster: no usable host in it.
    Internal,
    /// The host does not implement this.
    Unimplemented,
    /// A status that this version does not know, or data that contradict the ABI.
    Unexpected(u32),
}

impl HostError {
    /// The error of a status code of the ABI; `None` for success.
    #[must_use]
    pub const fn from_status(status: u32) -> Option<Self> {
        Some(match status {
            0 => return None,
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::Serialization,
            4 => Self::Parse,
            7 => Self::Empty,
            8 => Self::CasMismatch,
            10 => Self::Internal,
            12 => Self::Unimplemented,
            other => Self::Unexpected(other),
        })
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::BadArgument => f.write_str("bad argument"),
            Self::Serialization => f.write_str("serialization failure"),
            Self::Parse => f.write_str("parse failure"),
            Self::Empty => f.write_str("empty"),
            Self::CasMismatch => f.write_str("compare-and-swap mismatch"),
            Self::Internal => f.write_str("internal failure"),
            Self::Unimplemented => f.write_str("unimplemented"),
            Self::Unexpected(status) => write!(f, "unexpected status {status}"),
        }
    }
}

/// A header map of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// The request's headers.
    RequestHeaders = 0,
    /// The answer's headers.
    ResponseHeaders = 2,
    /// The answer's trailers.
    ResponseTrailers = 3,
    /// The headers of a call's answer.
    CallHeaders = 6,
}

/// A kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MetricKind {
    /// Only counts up.
    Counter = 0,
    /// Any value.
    Gauge = 1,
    /// A distribution.
    Histogram = 2,
}

/// A header map as the host serialised it: a count, then the lengths of each name and value, then the
/// NUL-terminated bytes. Read in place; a map that contradicts itself ends early.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<u8>);

impl Headers {
    /// Wraps the bytes of the host.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Serialises pairs as a host would; what the fake host and calls use.
    #[must_use]
    pub fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        let mut out = Vec::with_capacity(4 + pairs.iter().map(|(k, v)| k.len() + v.len() + 10).sum::<usize>());
        out.extend_from_slice(&word(pairs.len()));
        for (k, v) in pairs {
            out.extend_from_slice(&word(k.len()));
            out.extend_from_slice(&word(v.len()));
        }
        for (k, v) in pairs {
            for text in [k, v] {
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
        }
        out
    }

    /// The pairs, in the host's order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (count, rest) = self.0.split_first_chunk().unwrap_or((&[0; 4], &[]));
        // Eight bytes of lengths a pair: more pairs than that cannot be there, whatever the count says.
        let count = length(*count).min(rest.len() / 8);
        let (lengths, mut texts) = rest.split_at_checked(count * 8).unwrap_or_default();
        lengths.as_chunks().0.iter().map_while(move |&[a, b, c, d, e, f, g, h]| {
            let (key, after) = texts.split_at_checked(length([a, b, c, d]))?;
            let (value, after) = after.get(1..)?.split_at_checked(length([e, f, g, h]))?;
            texts = after.get(1..).unwrap_or_default();
            Some((key, value))
        })
    }

    /// The first value under a lower-case name, if it is text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == name.as_bytes()).and_then(|(_, v)| core::str::from_utf8(v).ok())
    }
}

fn length(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

/// What a role may ask of the proxy.
pub trait Host {
    /// Unix time in nanoseconds; 0 if the host has none.
    fn now_ns(&self) -> u64;
    /// The plugin configuration.
    fn plugin_configuration(&self) -> Result<Vec<u8>, HostError>;
    /// Asks for a tick every so often; 0 stops it.
    fn set_tick_ms(&self, period_ms: u32) -> Result<(), HostError>;

    /// A value of shared data with its compare-and-swap token.
    fn shared_get(&self, key: &str) -> Result<(Vec<u8>, u32), HostError>;
    /// Sets a value of shared data; with a token (never 0), only if nobody wrote in between. A set on a missing
    /// key wins with any token.
    fn shared_set(&self, key: &str, value: &[u8], token: Option<u32>) -> Result<(), HostError>;

    /// Sends a request to a cluster; the answer comes to the role's `on_call` under the returned token.
    fn call(&self, cluster: &str, headers: &[(&str, &str)], body: &[u8], timeout_ms: u32) -> Result<u32, HostError>;
    /// Part of the body of a call's answer, during `on_call`.
    fn call_body(&self, start: usize, most: usize) -> Result<Vec<u8>, HostError>;

    /// A whole header map, in one call.
    fn headers(&self, map: MapKind) -> Result<Headers, HostError>;
    /// Replaces a header.
    fn set_header(&self, map: MapKind, name: &str, value: &str) -> Result<(), HostError>;
    /// Removes a header, all its values.
    fn remove_header(&self, map: MapKind, name: &str) -> Result<(), HostError>;
    /// A part of the request's body.
    fn request_body(&self, start: usize, most: usize) -> Result<Vec<u8>, HostError>;
    /// A property of the stream, such as `["xds", "node", "id"]`.
    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError>;
    /// Leaves a value in filter state, where logs and the router find it as `wasm.` + key.
    fn set_filter_state(&self, key: &str, value: &[u8]) -> Result<(), HostError>;
    /// Turns to another stream or root: calls speak of it until the callback ends.
    fn turn_to(&self, context: u32) -> Result<(), HostError>;
    /// Lets a held request go on.
    fn resume(&self) -> Result<(), HostError>;
    /// Answers at once. At most once a request.
    fn respond(&self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<(), HostError>;
    /// The same to a gRPC client: trailers with this status, and the message.
    fn respond_grpc(&self, status: u16, grpc: u8, headers: &[(&str, &str)], message: &str) -> Result<(), HostError>;

    /// Declares a metric.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<u32, HostError>;
    /// Adds to a counter or gauge.
    fn increment(&self, metric: u32, by: i64) -> Result<(), HostError>;
    /// Sets a gauge or records into a histogram.
    fn record(&self, metric: u32, value: u64) -> Result<(), HostError>;
}
