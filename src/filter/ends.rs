//! How placed requests end: which ends are awaited, and what the proxy says of them then. Only where it is asked for, and
//! only in the module that has the callbacks; a request whose end nobody awaits costs nothing.

use super::Host;
use super::arm::Stream;
use super::observing::{CLIENT_GONE, CLUSTER, FLAGS, OVERLOADED, number};
use crate::health::{Meaning, answer};
use crate::model::{ClassId, Decision, Plan};
use hashbrown::HashMap;

/// The most ends that are awaited in one VM; others are not looked at.
const MOST: usize = 4_096;
const STATUS: [&str; 2] = ["response", "code"];
const GRPC_STATUS: [&str; 2] = ["response", "grpc_status"];
const SENT: [&str; 2] = ["request", "size"];
const RECEIVED: [&str; 2] = ["response", "size"];
/// What ends an answer that had begun well, by no fault of the client: bits of the flags.
const CUT: u64 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 19 | 1 << 23 | OVERLOADED;
/// What ends one that its client may have stopped to read: nothing moved for too long, or it took too long in all.
const LET_PASS: u64 = 1 << 16 | 1 << 22;

/// The status of a request that became a socket.
const SWITCHED: u64 = 101;

/// A placed request whose end is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub(super) class: ClassId,
    pub(super) plan: Plan,
    /// Where the caller's zone stands among the metrics' origins.
    pub(super) origin: usize,
    deadline_ms: u32,
    stream: bool,
    grpc: bool,
    begun_ns: u64,
    answered_ns: Option<u64>,
}

/// The awaited ones, by their streams.
#[derive(Debug, Default)]
pub(super) struct Ends(HashMap<u32, Awaited>);

impl Ends {
    pub(super) fn keep(&mut self, of: Stream, decision: &Decision, origin: usize, now_ns: u64) {
        if self.0.len() < MOST {
            let (class, plan, pace) = (decision.class, decision.plan, decision.pace);
            let (deadline_ms, stream) = (pace.deadline_ms, pace.stream);
            let (grpc, begun_ns) = (of.grpc, now_ns);
            let awaited = Awaited { class, plan, origin, deadline_ms, stream, grpc, begun_ns, answered_ns: None };
            self.0.insert(of.context, awaited);
        }
    }

    /// The headers of an answer have come. Only a stream's deadline is about them, so only then is the time asked for.
    pub(super) fn answered<H: Host>(&mut self, host: &H, context: u32) {
        if let Some(awaited) = self.of(context).filter(|awaited| awaited.stream) {
            awaited.answered_ns = Some(host.now_ns());
        }
    }

    fn of(&mut self, context: u32) -> Option<&mut Awaited> {
        if self.0.is_empty() { None } else { self.0.get_mut(&context) }
    }

    pub(super) fn take(&mut self, context: u32) -> Option<Awaited> {
        if self.0.is_empty() { None } else { self.0.remove(&context) }
    }
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Came {
    /// Answered well and in time.
    Good = 0,
    /// Answered well, after its deadline.
    Late = 1,
    /// Not answered, answered by a failure, or cut short.
    Failed = 2,
    /// Answered by an overload.
    Overloaded = 3,
    /// A bad request.
    Refused = 4,
    /// The client did not wait for the end, or perhaps did not read it.
    Abandoned = 5,
}

impl Came {
    /// The words used in metrics, in their order.
    pub(super) const WORDS: [&str; 6] = ["good", "late", "failed", "overloaded", "refused", "abandoned"];
}

/// What the proxy says of an end.
#[derive(Debug)]
pub(super) struct End {
    /// The cluster of the last attempt; empty if there was none.
    pub(super) cluster: Vec<u8>,
    pub(super) came: Came,
    /// Bytes of the request's body and of the answer's.
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl End {
    pub(super) fn read<H: Host>(host: &H, awaited: &Awaited) -> Self {
        let figure = |path: &[&str]| host.property(path).ok().and_then(|bytes| number(&bytes)).unwrap_or(0);
        Self {
            cluster: host.property(&CLUSTER).unwrap_or_default(),
            // Of others the proxy makes a status up, and it is a bad one.
            came: {
                let grpc = if awaited.grpc { figure(&GRPC_STATUS) } else { 0 };
                came(awaited, figure(&STATUS), grpc, figure(&FLAGS), host.now_ns())
            },
            sent: figure(&SENT),
            received: figure(&RECEIVED),
        }
    }
}

fn came(awaited: &Awaited, code: u64, grpc: u64, flags: u64, now_ns: u64) -> Came {
    let (status, grpc) = (code.to_string(), grpc.to_string());
    let said: [(&[u8], &[u8]); 2] = [(b":status", status.as_bytes()), (b"grpc-status", grpc.as_bytes())];
    let late = |until: u64| until.saturating_sub(awaited.begun_ns) / 1_000_000 > u64::from(awaited.deadline_ms);
    match answer::read(said.into_iter(), 0).meaning() {
        // It was answered once it was a socket. How long that lived, and which side ended it, is its own matter. When it
        // began is noted of streams only: of others it is not known to be late.
        _ if code == SWITCHED => {
            if late(awaited.answered_ns.unwrap_or(awaited.begun_ns)) {
                Came::Late
            } else {
                Came::Good
            }
        }
        _ if flags & CLIENT_GONE != 0 => Came::Abandoned,
        Meaning::Good if flags & CUT != 0 => Came::Failed,
        Meaning::Good if flags & LET_PASS != 0 => Came::Abandoned,
        Meaning::Good => {
            // The deadline of a stream is for its first byte.
            let until = awaited.answered_ns.unwrap_or(now_ns);
            if late(until) { Came::Late } else { Came::Good }
        }
        Meaning::Failed => Came::Failed,
        Meaning::Overloaded => Came::Overloaded,
        Meaning::Refused => Came::Refused,
    }
}
