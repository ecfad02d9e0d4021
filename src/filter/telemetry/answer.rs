//! What the desk answers: JSON that says what was done with a request, or why nothing was.

use crate::filter::placement::Verdict;
use crate::filter::{Host, MetricKind};
use serde_json::{Value, json};

/// Why a request got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Turned {
    /// Not of the form that was expected.
    Malformed = 0,
    /// Nobody that we know.
    Unauthenticated = 1,
    /// Known, and not permitted to do this.
    Forbidden = 2,
    /// No such substrate.
    Unknown = 3,
    /// Not with this method.
    Method = 4,
    /// Not after the last one.
    NotNewer = 5,
    /// Longer than is read.
    Oversized = 6,
    /// Nothing in it that can be kept.
    Nothing = 7,
    /// More often than is taken.
    TooMany = 8,
    /// Not now.
    Busy = 9,
    /// No such snapshot.
    Unkept = 10,
}

impl Turned {
    pub(super) const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Unknown,
        Self::Method,
        Self::NotNewer,
        Self::Oversized,
        Self::Nothing,
        Self::TooMany,
        Self::Busy,
        Self::Unkept,
    ];

    /// The word in metrics and answers, and the status.
    pub(super) const fn word(self) -> (&'static str, u16) {
        match self {
            Self::Malformed => ("malformed", 400),
            Self::Unauthenticated => ("unauthenticated", 401),
            Self::Forbidden => ("forbidden", 403),
            Self::Unknown => ("unknown-substrate", 404),
            Self::Method => ("method", 405),
            Self::NotNewer => ("not-newer", 409),
            Self::Oversized => ("oversized", 413),
            Self::Nothing => ("nothing-kept", 422),
            Self::TooMany => ("too-many", 429),
            Self::Busy => ("busy", 503),
            Self::Unkept => ("unknown-epoch", 404),
        }
    }
}

/// The desk's metrics.
#[derive(Debug)]
pub(super) struct DeskCounters {
    turned: [Option<u32>; Turned::ALL.len()],
    reported: Option<u32>,
    thrown: Option<u32>,
}

impl DeskCounters {
    pub(super) fn declare<H: Host>(host: &H) -> Self {
        let counter = |parts: &[&str]| {
            host.define_metric(MetricKind::Counter, &[&["berth.telemetry."], parts].concat().concat()).ok()
        };
        Self {
            turned: Turned::ALL.map(|turned| counter(&["turned-away.reason.", turned.word().0])),
            reported: counter(&["reported"]),
            thrown: counter(&["rollout.thrown"]),
        }
    }

    pub(super) fn reported<H: Host>(&self, host: &H) {
        self.reported.map(|id| host.increment(id, 1));
    }

    pub(super) fn thrown<H: Host>(&self, host: &H) {
        self.thrown.map(|id| host.increment(id, 1));
    }

    /// Turns a request away, with what was expected.
    pub(super) fn turn_away<H: Host>(&self, host: &H, why: Turned, detail: &str) -> Verdict {
        self.turn_away_with(host, why, json!({"detail": detail}), &[])
    }

    /// The same with more to say.
    pub(super) fn turn_away_with<H: Host>(
        &self,
        host: &H,
        why: Turned,
        mut body: Value,
        more: &[(&str, &str)],
    ) -> Verdict {
        if let Some(id) = self.turned.get(why as usize).copied().flatten() {
            let _ = host.increment(id, 1);
        }
        let (reason, status) = why.word();
        if let Some(body) = body.as_object_mut() {
            let kind = ["urn:berth:telemetry:", reason].concat();
            let said =
                [("type", kind.into()), ("status", status.into()), ("reason", reason.into()), ("kept", json!([]))];
            body.extend(said.map(|(name, value)| (String::from(name), value)));
        }
        let challenge = [("www-authenticate", "Bearer realm=\"berth\"")];
        let wait = [("retry-after", "1")];
        let usual: &[(&str, &str)] = match why {
            Turned::Unauthenticated => &challenge,
            Turned::TooMany | Turned::Busy => &wait,
            _ => &[],
        };
        respond(host, status, "application/problem+json", &[usual, more].concat(), body.to_string().as_bytes())
    }
}

/// Answers with JSON.
pub(super) fn json<H: Host>(host: &H, body: &str) -> Verdict {
    text(host, "application/json", &[body, "\n"].concat(), &[])
}

/// Answers with a text.
pub(super) fn text<H: Host>(host: &H, content_type: &str, body: &str, more: &[(&str, &str)]) -> Verdict {
    respond(host, 200, content_type, more, body.as_bytes())
}

fn respond<H: Host>(host: &H, status: u16, content_type: &str, more: &[(&str, &str)], body: &[u8]) -> Verdict {
    let usual = [("content-type", content_type), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")];
    // Where the host would not answer for us, the listener's own routes do: they lead to nothing of ours.
    match host.respond(status, &[&usual, more].concat(), body) {
        Ok(()) => Verdict::Answered,
        Err(_) => Verdict::Continue,
    }
}
