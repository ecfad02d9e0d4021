//! One address that is asked for health: when it is due, what it is asked, and whether its answer can be used. An
//! address that hangs, fails or talks nonsense costs itself; what was heard of it before grows old.

use super::notes::Tally;
use crate::filter::telemetry_config::{Format, SourceConfig};
use crate::filter::{Host, HostError, MapKind};
use crate::health::breaker::mix;
use crate::health::heard::{Drop, Dropped, Heard};
use crate::health::hosts::{self, Clusters};
use crate::health::json::text::quote;
use crate::health::prometheus::{Before, MOST_SCRAPE, Scrape};
use crate::health::query;
use crate::health::report::{self, Report};
use crate::model::contract::PULL_HEADER;
use crate::model::{Attestation, Reading, Signal, Watch, order};

/// The longest document that is read.
const MOST_DOCUMENT: usize = 1 << 20;
/// How much of a scrape is in memory at a time.
const PIECE: usize = 64 << 10;

/// Why an answer could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Failure {
    /// The host did not send the question.
    Unsent = 0,
    /// No answer in time, or the connection broke.
    NoAnswer = 1,
    /// Another status than 200.
    Status = 2,
    /// Longer than is read.
    Oversized = 3,
    /// The host did not hand it over.
    Unreadable = 4,
    /// Not of its format.
    Malformed = 5,
    /// About another substrate.
    Misdirected = 6,
}

impl Failure {
    pub(super) const ALL: [Self; 7] = [
        Self::Unsent,
        Self::NoAnswer,
        Self::Status,
        Self::Oversized,
        Self::Unreadable,
        Self::Malformed,
        Self::Misdirected,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::NoAnswer => "no-answer",
            Self::Status => "status",
            Self::Oversized => "oversized",
            Self::Unreadable => "unreadable",
            Self::Malformed => "malformed",
            Self::Misdirected => "misdirected",
        }
    }
}

/// What an answer brought.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// By the position of the substrate.
    pub(super) heard: Vec<(usize, Heard, Option<Attestation>)>,
    /// What it said of nobody we know.
    pub(super) dropped: Dropped,
}

/// One address.
#[derive(Debug)]
pub(super) struct Source {
    config: SourceConfig,
    substrate: Option<usize>,
    next_ms: u64,
    pending: Option<(u32, u64)>,
    before: Before,
    /// What became of its questions, while this VM leads.
    pub(super) tally: Tally,
}

impl Source {
    pub(super) fn new(config: SourceConfig, watch: &Watch) -> Result<Self, String> {
        let substrate = match &config.substrate {
            Some(name) => Some(watch.position(name).ok_or_else(|| {
                ["sources: `", name, "` is no substrate of the policy, expected one of its substrates"].concat()
            })?),
            None => None,
        };
        if substrate.is_none() && matches!(config.format, Format::Prometheus(_)) {
            return Err(
                ["sources: `", &config.cluster, "`: a scrape does not say whose it is, expected `substrate`"].concat()
            );
        }
        Ok(Self { config, substrate, next_ms: 0, pending: None, before: Before::new(), tally: Tally::default() })
    }

    /// Whether the answer under this token is for this source.
    pub(super) fn awaits(&self, token: u32) -> bool {
        self.pending.is_some_and(|(pending, _)| pending == token)
    }

    /// Forgets what was asked, when this VM no longer leads.
    pub(super) fn forget(&mut self) {
        (self.pending, self.next_ms) = (None, 0);
        self.before.clear();
        self.tally = Tally::default();
    }

    /// How it does, for people.
    pub(super) fn note(&self, out: &mut String) {
        // What a path asks for may be long.
        let path = self.config.path.split('?').next().unwrap_or_default();
        let format = match self.config.format {
            Format::Berth => "berth",
            Format::Prometheus(_) => "prometheus",
            Format::Clusters(_) => "clusters",
            Format::Query(_) => "query",
        };
        for (before, text) in
            [("{\"cluster\":", self.config.cluster.as_str()), (",\"path\":", path), (",\"format\":", format)]
        {
            out.push_str(before);
            quote(out, text);
        }
        if let Some(substrate) = &self.config.substrate {
            out.push_str(",\"substrate\":");
            quote(out, substrate);
        }
        self.tally.note(out);
        out.push('}');
    }

    /// Asks, if it is time to. An answer that is long overdue is given up.
    pub(super) fn pull<H: Host>(&mut self, host: &H, now_ms: u64, seed: u64) -> Result<bool, Failure> {
        if let Some((token, sent_ms)) = self.pending {
            let patience = u64::from(self.config.timeout_ms) * 2 + 1_000;
            if now_ms < sent_ms {
                // The clock jumped back; the wait begins again.
                self.pending = Some((token, now_ms));
            } else if now_ms - sent_ms > patience {
                self.pending = None;
                return Err(Failure::NoAnswer);
            }
            return Ok(false);
        }
        let interval = u64::from(self.config.interval_ms.max(1));
        if now_ms < self.next_ms && self.next_ms - now_ms <= interval {
            return Ok(false);
        }
        let jitter = interval.saturating_mul(u64::from(self.config.jitter_ppm.min(1_000_000))) / 1_000_000;
        let early = mix(seed ^ now_ms).checked_rem(jitter.saturating_add(1)).unwrap_or(0);
        self.next_ms = now_ms.saturating_add(interval).saturating_sub(early).max(now_ms.saturating_add(1));
        self.pending = Some((self.ask(host).map_err(|_| Failure::Unsent)?, now_ms));
        Ok(true)
    }

    fn ask<H: Host>(&self, host: &H) -> Result<u32, HostError> {
        let authority = self.config.authority.as_deref().unwrap_or(&self.config.cluster);
        let headers = [
            (":method", "GET"),
            (":path", self.config.path.as_str()),
            (":authority", authority),
            ("user-agent", "berth"),
            (PULL_HEADER, "1"),
        ];
        host.call(&self.config.cluster, &headers, &[], self.config.timeout_ms)
    }

    /// Reads the answer that has come.
    pub(super) fn receive<H: Host>(
        &mut self,
        host: &H,
        size: usize,
        now_ms: u64,
        watch: &Watch,
    ) -> Result<Answer, Failure> {
        self.pending = None;
        let headers = host.headers(MapKind::CallHeaders).map_err(|_| Failure::NoAnswer)?;
        match headers.get(":status") {
            None => return Err(Failure::NoAnswer),
            Some("200") => {}
            Some(_) => return Err(Failure::Status),
        }
        match self.config.format {
            Format::Berth => self.document(host, size, now_ms, watch),
            Format::Prometheus(_) => self.scrape(host, size, now_ms),
            Format::Query(_) => self.query(host, size, now_ms, watch),
            Format::Clusters(_) => self.clusters(host, size, now_ms, watch),
        }
    }

    fn body<H: Host>(host: &H, size: usize, most: usize) -> Result<Vec<u8>, Failure> {
        match size {
            0 => Err(Failure::Malformed),
            _ if size > most => Err(Failure::Oversized),
            _ => host.call_body(0, size).map_err(|_| Failure::Unreadable),
        }
    }

    /// Goes through a body piece by piece: the whole is never in this VM's memory.
    fn stream<H: Host>(host: &H, size: usize, most: usize, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
        match size {
            0 => return Err(Failure::Malformed),
            _ if size > most => return Err(Failure::Oversized),
            _ => {}
        }
        let mut at = 0;
        while at < size {
            let piece = host.call_body(at, PIECE.min(size - at)).map_err(|_| Failure::Unreadable)?;
            if piece.is_empty() {
                return Err(Failure::Unreadable);
            }
            take(&piece);
            at = at.saturating_add(piece.len());
        }
        Ok(())
    }

    /// A cluster that the proxy does not name is not there, and has no host.
    fn clusters<H: Host>(&self, host: &H, size: usize, now_ms: u64, watch: &Watch) -> Result<Answer, Failure> {
        let Format::Clusters(except) = &self.config.format else { return Err(Failure::Malformed) };
        let asked = watch.substrates.iter().enumerate().filter(|(_, w)| !except.contains(&w.cluster));
        let hosts: Vec<(&[u8], usize, u32)> = asked.map(|(at, w)| (w.cluster.as_bytes(), at, 0)).collect();
        let mut hosts = order::sorted(hosts, Ord::cmp);
        let mut clusters = Clusters::default();
        Self::stream(host, size, hosts::MOST_ANSWER, |piece| {
            clusters.feed(piece, &mut |name, count| {
                let from = hosts.partition_point(|(known, ..)| *known < name);
                let same = hosts.iter_mut().skip(from).take_while(|(known, ..)| *known == name);
                same.for_each(|(.., known)| *known = count);
            });
        })?;
        if !clusters.is_whole() {
            return Err(Failure::Malformed);
        }
        let heard = |(_, at, count): (&[u8], usize, u32)| {
            let reading = Reading { value: i64::from(count), at_ms: now_ms };
            (at, Heard { readings: vec![(Signal::Hosts, reading)], dropped: Dropped::default() }, None)
        };
        Ok(Answer { heard: hosts.into_iter().map(heard).collect(), dropped: Dropped::default() })
    }

    /// Reads piece by piece.
    fn scrape<H: Host>(&mut self, host: &H, size: usize, now_ms: u64) -> Result<Answer, Failure> {
        let (Format::Prometheus(mappings), Some(substrate)) = (&self.config.format, self.substrate) else {
            return Err(Failure::Misdirected);
        };
        let mut scrape = Scrape::new(mappings);
        Self::stream(host, size, MOST_SCRAPE, |piece| scrape.feed(piece))?;
        let heard = scrape.finish(&mut self.before, now_ms).ok_or(Failure::Malformed)?;
        Ok(Answer { heard: vec![(substrate, heard, None)], dropped: Dropped::default() })
    }

    fn query<H: Host>(&self, host: &H, size: usize, now_ms: u64, watch: &Watch) -> Result<Answer, Failure> {
        let Format::Query(labels) = &self.config.format else { return Err(Failure::Malformed) };
        let body = Self::body(host, size, query::MOST_ANSWER)?;
        let (found, dropped) = query::parse(&body, labels, now_ms).ok_or(Failure::Malformed)?;
        let mut answer = Answer { heard: Vec::with_capacity(found.len()), dropped };
        for (name, heard) in found {
            match (watch.position(&name), self.substrate) {
                (Some(named), None) => answer.heard.push((named, heard, None)),
                (Some(named), Some(mine)) if named == mine => answer.heard.push((named, heard, None)),
                // A fleet has more substrates than one policy names.
                _ => answer.dropped.count(Drop::Unknown),
            }
        }
        Ok(answer)
    }

    fn document<H: Host>(&self, host: &H, size: usize, now_ms: u64, watch: &Watch) -> Result<Answer, Failure> {
        let body = Self::body(host, size, MOST_DOCUMENT)?;
        let reports = report::parse(&body, now_ms).ok_or(Failure::Malformed)?;
        let mut answer = Answer::default();
        let alone = reports.len() == 1;
        for Report { substrate, heard, attestation, .. } in reports {
            let named = substrate.as_deref().map(|name| watch.position(name));
            match (self.substrate, named) {
                (Some(mine), None) => answer.heard.push((mine, heard, attestation)),
                (Some(mine), Some(named)) if named == Some(mine) => answer.heard.push((mine, heard, attestation)),
                (Some(_), Some(_)) if alone => return Err(Failure::Misdirected),
                (None, Some(Some(named))) => answer.heard.push((named, heard, attestation)),
                _ => {
                    answer.dropped.count(Drop::Unknown);
                    answer.dropped.add(&heard.dropped);
                }
            }
        }
        Ok(answer)
    }
}
