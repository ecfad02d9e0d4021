//! The telemetry role inside a cluster: it sees every attempt that goes there, also those that the router tries again,
//! and keeps account of how each begins and ends. It knows no policy: whoever folds knows who is behind a cluster.

mod answering;
mod blame;
mod fell;
mod times;

use super::vm::{Member, Vm};
use super::wire_struct::metadata_text;
use super::{Headers, Host, MetricKind};
use crate::health::answer::Answer;
use crate::health::heard::{Drop, Dropped};
use crate::health::slot::key_of_cluster;
use crate::health::{Ending, Meaning};
use crate::model::contract::{METADATA, METADATA_CLUSTER, PULL_HEADER};
use fell::Fell;
use times::Times;

/// What an observing root is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObserveConfig {
    /// How often it tells.
    pub tick_ms: u32,
    /// Whether it measures times as histograms.
    pub histograms: bool,
}

/// One attempt, between its callbacks.
#[derive(Debug, Default)]
pub struct Attempt {
    /// Its place in the VM's account.
    at: Option<usize>,
    begun_ns: u64,
    /// What its answer showed, once there is one.
    answered: Option<Answered>,
    /// The headers of one that will say later what came of it, and of which nothing else has come.
    open: Option<Answer>,
    bytes: u64,
    whole: bool,
    /// Bytes of the request's body, and whether the client has sent all of it.
    sent: u64,
    asked: bool,
    /// What became of the attempts before it, if any.
    before: String,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    meaning: Meaning,
    first_byte_us: u64,
    output_tokens: Option<u32>,
    /// Its end has yet to say what came of it.
    owes: bool,
    /// The connection was handed over: there is no end of an answer to come.
    switched: bool,
}

impl Attempt {
    /// Whether its answer has begun and nothing has come of it yet.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether its end has yet to say what came of it.
    fn owes(&self) -> bool {
        self.is_open() || self.answered.is_some_and(|it| it.owes)
    }

    /// A part of the request went by.
    pub const fn on_request_part(&mut self, bytes: u64, last: bool) {
        self.sent = self.sent.saturating_add(bytes);
        self.asked |= last;
    }

    /// A part of the answer went by.
    pub const fn on_part(&mut self, bytes: u64, last: bool) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.whole |= last;
    }
}

/// Where the attempts of a cluster stand in the VM's account.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// All at one place.
    Of(Option<usize>),
    /// Each where its host says: a cluster of clusters runs its own filters, and never those of the inner ones.
    ByHost,
}

/// An observing root.
#[derive(Debug)]
pub struct Observing {
    tick_ms: u32,
    member: Member,
    /// The last cluster that was seen here, and how its attempts find their place.
    last: (Vec<u8>, Place),
    counters: Counters,
    times: Option<Times>,
    fell: Fell,
}

/// The cluster of an attempt. Properties are read by this name only: older ones give nothing.
pub(super) const CLUSTER: [&str; 2] = ["xds", "cluster_name"];
/// The metadata of the attempt's host, and where in it the name of the inner cluster is.
const HOST: [&str; 2] = ["xds", "upstream_host_metadata"];
/// The most of it that is looked at.
const MOST_METADATA: usize = 64 << 10;
/// There on a question of the telemetry role, which is no work: an absent property costs a third of one that is there.
const PULL: [&str; 3] = ["request", "headers", PULL_HEADER];
/// How the client's stream stands, as bits. They are set before an attempt is ended on the client's account; what ends
/// it on the substrate's account is set later, if at all (seen on 1.40).
pub(super) const FLAGS: [&str; 2] = ["response", "flags"];
/// The client's connection ended, it broke its protocol, or it reset its stream.
pub(super) const CLIENT_GONE: u64 = 1 << 14 | 1 << 18 | 1 << 28;
/// The proxy itself ended the stream because it has too much to do.
pub(super) const OVERLOADED: u64 = 1 << 25;
/// Why the proxy answers by itself: set before the attempt is ended on that account (seen on 1.40).
const DETAILS: [&str; 2] = ["response", "code_details"];
/// Its limits on a stream. Where the client had yet to send something, it may be the
/// client who let them pass; where the answer had begun, the client may have stopped to read it, and nobody can tell.
/// Whoever could make that count against the substrate would open its circuit for all.
const LIMITS: [&[u8]; 3] = [b"stream_idle_timeout", b"request_overall_timeout", b"max_duration_timeout"];

impl Observing {
    /// Starts to observe.
    ///
    /// # Errors
    /// One line that says what is wrong with the host.
    pub fn configure<H: Host>(host: &H, config: ObserveConfig, vm: &Vm) -> Result<Self, String> {
        host.set_tick_ms(config.tick_ms).map_err(|e| ["the host refused a tick: ", &e.to_string()].concat())?;
        let (tick_ms, member) = (config.tick_ms, vm.join(host, config.tick_ms));
        let times = config.histograms.then(|| Times::declare(host));
        Ok(Self {
            tick_ms,
            member,
            last: (Vec::new(), Place::Of(None)),
            counters: Counters::declare(host),
            times,
            fell: Fell::default(),
        })
    }

    /// Time has passed: tell what was seen, unless another root of this VM has.
    pub fn on_tick<H: Host>(&mut self, host: &H) {
        let now_ms = host.now_ns() / 1_000_000;
        if now_ms == 0 {
            return;
        }
        let most = u64::from(self.tick_ms) / 2;
        if let Some(Err(_)) = self.member.with(|reporter| reporter.tell_again(host, now_ms, most)) {
            add(host, self.counters.unslotted, 1);
        }
    }

    /// This root is gone; where it was the last of its VM, so is the VM's slot.
    pub fn leave<H: Host>(&mut self, host: &H) {
        self.member.leave(host);
    }

    /// An attempt begins.
    pub fn on_attempt<H: Host>(&mut self, host: &H) -> Attempt {
        if host.property(&PULL).is_ok() {
            return Attempt::default();
        }
        let (at, begun_ns) = (self.place(host), host.now_ns());
        let mut attempt = Attempt { at, begun_ns, ..Attempt::default() };
        if let Some(at) = at {
            self.member.with(|reporter| reporter.observer.began(at));
            attempt.before = self.fell.begins(host, &self.member, at, begun_ns);
        } else {
            add(host, self.counters.strangers, 1);
        }
        attempt
    }

    /// Where the attempt's cluster stands in the account. Its host is asked where the cluster is another than the last
    /// one, or where hosts are known to say more.
    fn place<H: Host>(&mut self, host: &H) -> Option<usize> {
        let cluster = host.property(&CLUSTER).ok().filter(|name| !name.is_empty())?;
        if self.last.0 == cluster
            && let Place::Of(place) = self.last.1
        {
            return place;
        }
        let inner = host.property(&HOST).ok().filter(|bytes| bytes.len() <= MOST_METADATA);
        let inner = inner.as_deref().and_then(|bytes| metadata_text(bytes, METADATA, METADATA_CLUSTER));
        let know = |name: &[u8]| self.member.with(|reporter| reporter.observer.know(key_of_cluster(name))).flatten();
        let name = inner.unwrap_or(&cluster);
        let place = know(name);
        place.into_iter().for_each(|at| self.fell.call(at, name));
        if let (Some(times), Some(at)) = (&mut self.times, place) {
            times.meet(host, at, name);
        }
        let how = if inner.is_some_and(|inner| inner != cluster) { Place::ByHost } else { Place::Of(place) };
        self.last = (cluster, how);
        place
    }

    /// It has ended, with an answer or without.
    pub fn on_end<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        if attempt.whole && attempt.owes() {
            // Over without a word of what came of it.
            self.closes(host, attempt, Some(&Headers::default()));
        }
        let Some(at) = attempt.at.take() else { return };
        let mut ending = Self::ending(host, attempt);
        if ending == Ending::Broken {
            ending = self.blame(host, at, attempt);
        }
        let switched = attempt.answered.is_some_and(|it| it.switched);
        match ending {
            Ending::Broken => self.counters.answered(host, Meaning::Failed),
            Ending::Abandoned if switched => {}
            Ending::Abandoned => add(host, self.counters.abandoned, 1),
            Ending::Whole { meaning: Meaning::Good, first_byte_us: Some(first_us), total_us, .. } => {
                if let Some(times) = &self.times {
                    times.took(host, at, attempt.sent, first_us, total_us);
                }
            }
            Ending::Whole { .. } => {}
        }
        self.member.with(|reporter| reporter.observer.ended(at, &ending));
    }

    fn ending<H: Host>(host: &H, attempt: &Attempt) -> Ending {
        let Attempt { begun_ns, bytes, whole, answered, asked, .. } = *attempt;
        match answered {
            // Proxies know sockets only as connections that break off, however well their sides have parted, and how long
            // one lived is not how long work takes.
            Some(it) if it.switched => Ending::Abandoned,
            Some(it) if whole => Ending::Whole {
                meaning: it.meaning,
                first_byte_us: Some(it.first_byte_us),
                total_us: host.now_ns().saturating_sub(begun_ns) / 1_000,
                bytes,
                output_tokens: it.output_tokens,
            },
            // The rest of a bad answer is nobody's concern: the router tries again as soon as it sees one.
            Some(it) if it.meaning != Meaning::Good => Ending::Abandoned,
            _ => {
                let flags = host.property(&FLAGS).ok().and_then(|bytes| number(&bytes));
                let limited = || host.property(&DETAILS).is_ok_and(|why| LIMITS.contains(&why.as_slice()));
                let theirs = asked && answered.is_none() && !attempt.is_open();
                let nobodys = flags.unwrap_or(0) & (CLIENT_GONE | OVERLOADED) != 0 || !theirs && limited();
                if nobodys { Ending::Abandoned } else { Ending::Broken }
            }
        }
    }
}

/// A number as the host hands it over: eight bytes, little-endian.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_le_bytes)
}

/// What is counted, over all clusters of the proxy.
#[derive(Debug)]
struct Counters {
    answered: [Option<u32>; 4],
    dropped: [Option<u32>; Drop::ALL.len()],
    abandoned: Option<u32>,
    strangers: Option<u32>,
    unslotted: Option<u32>,
}

impl Counters {
    fn declare<H: Host>(host: &H) -> Self {
        let counter = |parts: &[&str]| host.define_metric(MetricKind::Counter, &parts.concat()).ok();
        Self {
            answered: ["good", "failed", "overloaded", "refused"].map(|word| counter(&["berth.observed.", word])),
            dropped: Drop::ALL.map(|why| counter(&["berth.telemetry.dropped.reason.", why.as_str()])),
            abandoned: counter(&["berth.observed.abandoned"]),
            strangers: counter(&["berth.observed.strangers"]),
            unslotted: counter(&["berth.telemetry.unslotted"]),
        }
    }

    fn answered<H: Host>(&self, host: &H, meaning: Meaning) {
        add(host, self.answered.get(meaning as usize).copied().flatten(), 1);
    }

    fn dropped<H: Host>(&self, host: &H, dropped: &Dropped) {
        if dropped.total() > 0 {
            Drop::ALL.into_iter().zip(self.dropped).for_each(|(why, id)| add(host, id, dropped.of(why)));
        }
    }
}

fn add<H: Host>(host: &H, id: Option<u32>, by: u32) {
    if let (Some(id), true) = (id, by > 0) {
        let _ = host.increment(id, i64::from(by));
    }
}
