//! Declaring: which series there are, from the policy's own lists and from closed ones.

use super::budgets::Budgets;
use super::cells::{Cells, define};
use super::outcomes::WENT;
use super::runs::{Runs, Ways};
use super::{ATTEMPTS, BORDERS, CAUSES, FRESH, Metrics, SOURCES, VERDICTS};
use crate::filter::config::Accounting;
use crate::filter::{Host, MetricKind};
use crate::model::metric::{self, Family, MOST_SERIES};
use crate::model::{Border, Code, Dimension, Freshness, Regime, Substrate};
use crate::place::routers::Router;
use crate::place::stage::Stage;
use crate::policy::Policy;

/// Values of labels: of one, or of several that go together and then stand side by side.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) words: &'a [&'a str],
    pub(super) labels: usize,
}

/// Values of one label.
pub(super) const fn each<'a>(words: &'a [&'a str]) -> Values<'a> {
    Values { words, labels: 1 }
}

/// Declares a series for every way to take one of each list, the last list's members innermost; says where they begin.
pub(super) type Declare<'d> = dyn FnMut(&Family, &[Values<'_>]) -> usize + 'd;

/// One row for every way to take one of each list.
fn rows<'a>(lists: &[Values<'a>], row: &mut Vec<&'a str>, one: &mut dyn FnMut(&[&str])) {
    let Some((outer, inner)) = lists.split_first() else { return one(row) };
    let before = row.len();
    for values in outer.words.chunks(outer.labels.max(1)) {
        row.extend_from_slice(values);
        rows(inner, row, one);
        row.truncate(before);
    }
}

const ALL: [&str; 1] = ["all"];

/// The names, or one for all of them where they would be too many.
pub(super) fn at_most<'a, 'n: 'a>(most: usize, names: &'a [&'n str]) -> &'a [&'n str] {
    if names.len() > most { &ALL } else { names }
}

impl Metrics {
    #[inline(never)]
    pub(in crate::filter) fn declare<H: Host>(host: &H, policy: &Policy, config: &Accounting) -> Self {
        let mut cells = Cells::default();
        // A list of series lies together: where it begins is enough to find each.
        let mut these = |family: &Family, lists: &[Values<'_>]| {
            let first = cells.len();
            rows(lists, &mut Vec::new(), &mut |values| cells.counter(host, family, values));
            first
        };
        let mut metrics = Self::counters(policy, config, &mut these);
        cells.seal();
        metrics.cells = cells;
        let gauge = |family| define(host, MetricKind::Gauge, family, &[]);
        (metrics.epoch, metrics.age_ms) = (gauge(&metric::EPOCH), gauge(&metric::AGE_MS));
        metrics.canary = gauge(&metric::CANARY);
        // One policy speaks for the proxy.
        if !config.aside {
            metrics.budgets = Budgets::declare(host, policy, config.hash_tenants);
            stand(host, policy);
        }
        metrics
    }

    #[inline(never)]
    fn counters(policy: &Policy, config: &Accounting, these: &mut Declare<'_>) -> Self {
        let (aside, ends) = (config.aside, config.outcomes > 0);
        let document = policy.document();
        let substrates: Vec<&str> = document.substrates.iter().map(|s| s.name.as_str()).collect();
        let substrates = at_most(MOST_SERIES, &substrates);
        let named: Vec<&str> = document.classes.iter().map(|c| c.name.as_str()).collect();
        let named = if named.is_empty() { vec![document.default_class.as_str()] } else { named };
        let classes = at_most(MOST_SERIES / (substrates.len() + 1), &named);
        let cost_classes = at_most(MOST_SERIES / Regime::ALL.len(), &named);
        let spill_classes = at_most(MOST_SERIES / BORDERS, &named);
        let refusal_classes = at_most(MOST_SERIES / Code::ALL.len(), &named);
        let mut binding: Vec<&str> = Code::ALL.iter().flat_map(|c| [c.dimension().as_str(), c.as_str()]).collect();
        binding.extend(["none", "none"]);
        let codes = Values { words: binding.get(..2 * Code::ALL.len()).unwrap_or_default(), labels: 2 };
        let binding = Values { words: &binding, labels: 2 };
        let mut crossed = Border::ALL.map(Border::as_str).to_vec();
        crossed.push("none");
        let (borders, none) = (each(&crossed), each(&["none"]));
        let (routers, regimes) = (Router::ALL.map(Router::as_str), Regime::ALL.map(Regime::as_str));
        Self {
            cells: Cells::default(),
            placed: these(&metric::DECISIONS, &[each(classes), each(substrates), each(&["placed"])]),
            refused: these(&metric::DECISIONS, &[each(classes), none, each(&["refused"])]),
            refusals: these(&metric::REFUSALS, &[each(refusal_classes), codes]),
            refusal_classes: refusal_classes.len(),
            binding: these(&metric::BINDING, &[binding]),
            spilled: these(&metric::SPILLOVERS, &[each(spill_classes), borders]),
            spill_classes: spill_classes.len(),
            egress_added: these(&metric::SPILL_EGRESS_ADDED, &[borders]),
            cost_added: these(&metric::SPILL_COST_ADDED, &[borders]),
            cost_saved: these(&metric::SPILL_COST_SAVED, &[borders]),
            time_added: these(&metric::SPILL_TIME_ADDED, &[borders]),
            time_saved: these(&metric::SPILL_TIME_SAVED, &[borders]),
            fresh: these(&metric::FRESHNESS, &[each(&FRESH.map(Freshness::as_str))]),
            classified: these(&metric::CLASSIFIED, &[each(&SOURCES)]),
            planned: these(&metric::PLANNED, &[each(&ATTEMPTS)]),
            last_resort: these(&metric::LAST_RESORT, &[]),
            undecided: these(&metric::UNDECIDED, &[each(&CAUSES)]),
            unslotted: these(&metric::UNSLOTTED, &[]),
            late: these(&metric::BODY_LATE, &[]),
            cost: these(&metric::COST, &[each(cost_classes), each(&regimes)]),
            sampled: these(&metric::SAMPLED, &[]),
            rejected: these(&metric::REJECTED, &[codes]),
            routers: these(&metric::ROUTERS, &[each(&routers), each(&VERDICTS)]),
            breaches: these(&metric::BREACHES, &[each(&routers), each(&Dimension::ALL.map(Dimension::as_str))]),
            unreadable: these(&metric::UNREADABLE, &[]),
            torn: these(&metric::TORN, &[]),
            runs: Runs::declare(policy, &named, ends, these),
            ways: Ways::declare(policy, ends, these),
            crossed: if ends { these(&metric::CROSSED, &[borders]) } else { 0 },
            went: if ends { these(&metric::WENT, &[each(&WENT)]) } else { 0 },
            timed: these(&metric::TIMED, &[]),
            stages: these(&metric::STAGE_NS, &[each(&Stage::ALL.map(Stage::as_str))]),
            classes: classes.len(),
            substrates: substrates.len(),
            cost_classes: cost_classes.len(),
            seen: (0, 0),
            aside,
            epoch: None,
            age_ms: None,
            canary: None,
            budgets: Budgets::default(),
        }
    }
}

/// What does not change while this configuration holds.
fn stand<H: Host>(host: &H, policy: &Policy) {
    let document = policy.document();
    let gauge =
        |family, values: &[&str], value| super::set(host, define(host, MetricKind::Gauge, family, values), value);
    gauge(&metric::VERSION, &[], u64::from(document.identity.version));
    let digits = policy.digest().iter().take(4);
    gauge(&metric::FINGERPRINT, &[], digits.fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    gauge(&metric::BUILD, &[&word(env!("CARGO_PKG_VERSION")), option_env!("BERTH_SOURCES").unwrap_or("unknown")], 1);
    for s in document.substrates.iter().take(MOST_SERIES) {
        let label = |key: &str| label(s, key);
        let said = ["hardware", "revision", "capacity_layer"].map(label);
        let [hardware, revision, layer] = &said;
        let (country, cluster) = (s.location.jurisdiction, word(&s.cluster));
        let place = [s.name.as_str(), s.kind.as_str(), country.as_str(), s.cost.regime.as_str()];
        gauge(&metric::SUBSTRATE, &[&place[..], &[hardware, revision, layer, &cluster]].concat(), 1);
    }
}

pub(super) fn label(substrate: &Substrate, key: &str) -> String {
    substrate.labels.iter().find(|(k, _)| k == key).map_or_else(|| String::from("none"), |(_, value)| word(value))
}

/// A value as a name's part: what would end the part is replaced, and so is what other formats trip over.
pub(in crate::filter) fn word(value: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    if value.is_empty() { String::from("none") } else { value.chars().take(64).map(plain).collect() }
}
