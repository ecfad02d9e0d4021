//! The role's metrics: declared once at configuration from the policy's own lists, so that their number is bounded.
//! The request path adds in this VM's memory; the tick tells the host. What a VM has counted since its last tick is
//! lost when the VM is.

mod cells;

use super::store::SnapshotReader;
use super::{Host, MetricKind};
use crate::model::metric::{self, Family, MOST_SERIES};
use crate::model::{
    Border, ClassSource, Code, Decision, Dimension, Freshness, Outcome, Plan, Reason, Regime, Spill, Substrate,
};
use crate::place::Row;
use crate::place::routers::{Routed, Router};
use crate::policy::Policy;
use cells::{Cells, define};

/// Why a request was left to the route without a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its headers could not be read.
    Headers,
    /// The plan could not be left for the route.
    Plan,
    /// The cluster header could not be set.
    Cluster,
}

const CAUSES: [&str; 3] = ["headers", "plan", "cluster"];
const SOURCES: [&str; 3] = ["trusted", "claim", "default"];
const FRESH: [Freshness; 3] = [Freshness::Live, Freshness::Uncertain, Freshness::Stale];
const ATTEMPTS: [&str; Plan::MOST] = ["1", "2", "3"];
const VERDICTS: [&str; 4] = ["same", "other", "breach", "nothing"];
/// One place more than there are borders, for placements that left home and crossed none.
const BORDERS: usize = Border::ALL.len() + 1;

/// Where the series of each metric begin.
#[derive(Debug)]
pub(super) struct Metrics {
    cells: Cells,
    placed: usize,
    /// How many classes and substrates are told apart; 1 where there would be too many series.
    classes: usize,
    substrates: usize,
    refused: usize,
    refusals: usize,
    binding: usize,
    spilled: usize,
    egress_added: usize,
    cost_added: usize,
    cost_saved: usize,
    fresh: usize,
    classified: usize,
    planned: usize,
    last_resort: usize,
    undecided: usize,
    late: usize,
    cost: usize,
    cost_classes: usize,
    sampled: usize,
    rejected: usize,
    routers: usize,
    breaches: usize,
    unreadable: usize,
    torn: usize,
    seen: (u64, u64),
    epoch: Option<u32>,
    age_ms: Option<u32>,
}

impl Metrics {
    pub(super) fn declare<H: Host>(host: &H, policy: &Policy) -> Self {
        let document = policy.document();
        let substrates = at_most(MOST_SERIES, document.substrates.iter().map(|s| s.name.as_str()).collect());
        let named: Vec<&str> = document.classes.iter().map(|c| c.name.as_str()).collect();
        let named = if named.is_empty() { vec![document.default_class.as_str()] } else { named };
        let classes = at_most(MOST_SERIES / (substrates.len() + 1), named.clone());
        let cost_classes = at_most(MOST_SERIES / Regime::ALL.len(), named);
        let placed = |c: &'_ str, s: &'_ str| [String::from(c), String::from(s), String::from("placed")];
        let mut cells = Cells::default();
        let mut these = |family: &Family, rows: &[Vec<&str>]| {
            let first = rows.iter().map(|values| cells.counter(host, family, values)).min();
            first.unwrap_or(0)
        };
        let grid: Vec<[String; 3]> = classes.iter().flat_map(|c| substrates.iter().map(|s| placed(c, s))).collect();
        let grid: Vec<Vec<&str>> = grid.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let refused: Vec<Vec<&str>> = classes.iter().map(|c| vec![*c, "none", "refused"]).collect();
        let costs: Vec<Vec<&str>> =
            cost_classes.iter().flat_map(|c| Regime::ALL.iter().map(|r| vec![*c, r.as_str()])).collect();
        let borders: Vec<Vec<&str>> = Border::ALL.iter().map(|b| vec![b.as_str()]).chain([vec!["none"]]).collect();
        let one = |words: &[&'static str]| words.iter().map(|w| vec![*w]).collect::<Vec<_>>();
        let codes: Vec<Vec<&str>> = Code::ALL.iter().map(|c| vec![c.dimension().as_str(), c.as_str()]).collect();
        let binding: Vec<Vec<&str>> = codes.iter().cloned().chain([vec!["none", "none"]]).collect();
        let verdicts: Vec<Vec<&str>> =
            Router::ALL.iter().flat_map(|r| VERDICTS.iter().map(|v| vec![r.as_str(), *v])).collect();
        let breaches: Vec<Vec<&str>> =
            Router::ALL.iter().flat_map(|r| Dimension::ALL.iter().map(|d| vec![r.as_str(), d.as_str()])).collect();
        let mut metrics = Self {
            placed: these(&metric::DECISIONS, &grid),
            refused: these(&metric::DECISIONS, &refused),
            refusals: these(&metric::REFUSALS, &codes),
            binding: these(&metric::BINDING, &binding),
            spilled: these(&metric::SPILLOVERS, &borders),
            egress_added: these(&metric::SPILL_EGRESS_ADDED, &borders),
            cost_added: these(&metric::SPILL_COST_ADDED, &borders),
            cost_saved: these(&metric::SPILL_COST_SAVED, &borders),
            fresh: these(&metric::FRESHNESS, &one(&FRESH.map(Freshness::as_str))),
            classified: these(&metric::CLASSIFIED, &one(&SOURCES)),
            planned: these(&metric::PLANNED, &one(&ATTEMPTS)),
            last_resort: these(&metric::LAST_RESORT, &[vec![]]),
            undecided: these(&metric::UNDECIDED, &one(&CAUSES)),
            late: these(&metric::BODY_LATE, &[vec![]]),
            cost: these(&metric::COST, &costs),
            sampled: these(&metric::SAMPLED, &[vec![]]),
            rejected: these(&metric::REJECTED, &codes),
            routers: these(&metric::ROUTERS, &verdicts),
            breaches: these(&metric::BREACHES, &breaches),
            unreadable: these(&metric::UNREADABLE, &[vec![]]),
            torn: these(&metric::TORN, &[vec![]]),
            classes: classes.len(),
            substrates: substrates.len(),
            cost_classes: cost_classes.len(),
            seen: (0, 0),
            epoch: define(host, MetricKind::Gauge, &metric::EPOCH, &[]),
            age_ms: define(host, MetricKind::Gauge, &metric::AGE_MS, &[]),
            cells,
        };
        metrics.cells.seal();
        stand(host, policy);
        metrics
    }

    pub(super) fn decided(&mut self, decision: &Decision) {
        let class = usize::from(decision.class).min(self.classes.saturating_sub(1));
        match (decision.outcome, decision.plan.first()) {
            (Outcome::Placed, Some(first)) => {
                let substrate = usize::from(first.substrate).min(self.substrates.saturating_sub(1));
                self.cells.add(self.placed + class * self.substrates + substrate, 1);
                self.cells.add(self.planned + decision.plan.len().clamp(1, Plan::MOST) - 1, 1);
                self.cost(decision);
            }
            (Outcome::Refused { reason, .. }, _) => {
                self.cells.add(self.refused + class, 1);
                self.cells.add(self.refusals + reason.code as usize, 1);
            }
            (Outcome::Placed, None) => {}
        }
        let bound = decision.binding.reason.map_or(Code::ALL.len(), |Reason { code, .. }| code as usize);
        self.cells.add(self.binding + bound, 1);
        self.cells.add(self.fresh + FRESH.iter().position(|f| *f == decision.freshness).unwrap_or(0), 1);
        let source = match decision.class_source {
            ClassSource::Trusted => 0,
            ClassSource::Claimed => 1,
            ClassSource::Default => 2,
        };
        self.cells.add(self.classified + source, 1);
        self.cells.add(self.last_resort, u64::from(decision.last_resort));
        if let Some(spill) = &decision.spill {
            self.spill(spill);
        }
    }

    fn cost(&mut self, decision: &Decision) {
        let class = usize::from(decision.class).min(self.cost_classes.saturating_sub(1));
        let regime = decision.regime.map_or(0, |r| r as usize);
        self.cells.add(self.cost + class * Regime::ALL.len() + regime, amount(decision.cost_uusd));
    }

    fn spill(&mut self, spill: &Spill) {
        let border = spill.crosses.widest().map_or(BORDERS - 1, |b| b as usize);
        self.cells.add(self.spilled + border, 1);
        self.cells.add(self.egress_added + border, amount(spill.egress_uusd));
        self.cells.add(self.cost_added + border, amount(spill.cost_uusd));
        self.cells.add(self.cost_saved + border, amount(spill.cost_uusd.saturating_neg()));
    }

    /// A decision that was looked at closely: every candidate's reasons, and what others would have done.
    pub(super) fn sampled(&mut self, decision: &Decision, rows: &[Row], routed: &[Routed]) {
        self.cells.add(self.sampled, 1);
        for reason in rows.iter().flat_map(|row| &row.reasons) {
            self.cells.add(self.rejected + reason.code as usize, 1);
        }
        let chosen = decision.plan.first().map(|a| a.substrate);
        for (at, routed) in routed.iter().enumerate() {
            let verdict = match routed.choice {
                None => 3,
                Some(_) if !routed.broken.is_empty() => 2,
                choice => usize::from(choice != chosen),
            };
            self.cells.add(self.routers + at * VERDICTS.len() + verdict, 1);
            let broken = routed.broken.iter().fold(0_u8, |bits, code| bits | 1 << code.dimension() as u8);
            for dimension in Dimension::ALL.into_iter().filter(|d| broken & 1 << *d as u8 != 0) {
                self.cells.add(self.breaches + at * Dimension::ALL.len() + dimension as usize, 1);
            }
        }
    }

    /// A held request was decided without its body.
    pub(super) fn late(&mut self) {
        self.cells.add(self.late, 1);
    }

    pub(super) fn undecided(&mut self, cause: Cause) {
        self.cells.add(self.undecided + cause as usize, 1);
    }

    /// What was counted since the last tick, what this VM knows of the substrates, and how old that is.
    pub(super) fn tell<H: Host>(&mut self, host: &H, reader: &SnapshotReader, now_ms: u64) {
        let (refusals, torn) = (reader.refusals(), reader.torn());
        self.cells.add(self.unreadable, refusals.saturating_sub(self.seen.0));
        self.cells.add(self.torn, torn.saturating_sub(self.seen.1));
        self.seen = (refusals, torn);
        self.cells.flush(host);
        let Some(snapshot) = reader.snapshot() else { return };
        set(host, self.epoch, snapshot.epoch);
        set(host, self.age_ms, now_ms.saturating_sub(snapshot.at_ms));
    }
}

/// What does not change while this configuration holds.
fn stand<H: Host>(host: &H, policy: &Policy) {
    let document = policy.document();
    let gauge = |family, values: &[&str], value| set(host, define(host, MetricKind::Gauge, family, values), value);
    gauge(&metric::VERSION, &[], u64::from(document.identity.version));
    let digits = policy.digest().iter().take(4);
    gauge(&metric::FINGERPRINT, &[], digits.fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    gauge(&metric::BUILD, &[&word(env!("CARGO_PKG_VERSION"))], 1);
    for s in document.substrates.iter().take(MOST_SERIES) {
        let label = |key: &str| label(s, key);
        let (hardware, revision) = (label("hardware"), label("revision"));
        let country = s.location.jurisdiction;
        let values = [s.name.as_str(), s.kind.as_str(), country.as_str(), s.cost.regime.as_str(), &hardware, &revision];
        gauge(&metric::SUBSTRATE, &values, 1);
    }
}

/// The names, or one for all of them where they would be too many.
fn at_most(most: usize, names: Vec<&str>) -> Vec<&str> {
    if names.len() > most { vec!["all"] } else { names }
}

fn label(substrate: &Substrate, key: &str) -> String {
    substrate.labels.iter().find(|(k, _)| k == key).map_or_else(|| String::from("none"), |(_, value)| word(value))
}

/// A value as a name's part: what would end the part is replaced, and so is what other formats trip over.
fn word(value: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    if value.is_empty() { String::from("none") } else { value.chars().take(64).map(plain).collect() }
}

fn amount(uusd: i64) -> u64 {
    u64::try_from(uusd).unwrap_or(0)
}

fn set<H: Host>(host: &H, id: Option<u32>, value: u64) {
    if let Some(id) = id {
        let _ = host.record(id, value);
    }
}
