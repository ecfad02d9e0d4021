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

/// Rows of labels' values, one a series.
pub(super) type Rows<'a> = Vec<Vec<&'a str>>;

/// Every pair of two lists, the first list's members outside.
pub(super) fn pairs<'a>(outer: &[&'a str], inner: &[&'a str]) -> Rows<'a> {
    outer.iter().flat_map(|o| inner.iter().map(move |i| vec![*o, *i])).collect()
}

/// Every row with every word behind it.
pub(super) fn times<'a>(rows: &Rows<'a>, words: &[&'a str]) -> Rows<'a> {
    rows.iter().flat_map(|row| words.iter().map(|word| [row.as_slice(), &[*word]].concat())).collect()
}

/// Every word with every row behind it, the words outside.
fn beside<'a>(words: &[&'a str], rows: &Rows<'a>) -> Rows<'a> {
    words.iter().flat_map(|word| rows.iter().map(move |row| [&[*word], row.as_slice()].concat())).collect()
}

fn each<'a>(words: &[&'a str]) -> Rows<'a> {
    words.iter().map(|word| vec![*word]).collect()
}

/// The names, or one for all of them where they would be too many.
pub(super) fn at_most(most: usize, names: Vec<&str>) -> Vec<&str> {
    if names.len() > most { vec!["all"] } else { names }
}

impl Metrics {
    #[inline(never)]
    pub(in crate::filter) fn declare<H: Host>(host: &H, policy: &Policy, config: &Accounting) -> Self {
        let (aside, ends) = (config.aside, config.outcomes > 0);
        let document = policy.document();
        let substrates = at_most(MOST_SERIES, document.substrates.iter().map(|s| s.name.as_str()).collect());
        let named: Vec<&str> = document.classes.iter().map(|c| c.name.as_str()).collect();
        let named = if named.is_empty() { vec![document.default_class.as_str()] } else { named };
        let classes = at_most(MOST_SERIES / (substrates.len() + 1), named.clone());
        let cost_classes = at_most(MOST_SERIES / Regime::ALL.len(), named.clone());
        let spill_classes = at_most(MOST_SERIES / BORDERS, named.clone());
        let refusal_classes = at_most(MOST_SERIES / Code::ALL.len(), named.clone());
        let grid = pairs(&classes, &substrates);
        let grid: Rows = grid.into_iter().map(|row| [row, vec!["placed"]].concat()).collect();
        let refused: Rows = classes.iter().map(|class| vec![*class, "none", "refused"]).collect();
        let codes: Rows = Code::ALL.iter().map(|c| vec![c.dimension().as_str(), c.as_str()]).collect();
        let binding = [codes.clone(), vec![vec!["none", "none"]]].concat();
        let crossed = [Border::ALL.map(Border::as_str).as_slice(), &["none"]].concat();
        let (borders, spilled) = (each(&crossed), pairs(&spill_classes, &crossed));
        let refusals = beside(&refusal_classes, &codes);
        let routers = Router::ALL.map(Router::as_str);
        let (alone, mut cells) = (vec![Vec::new()], Cells::default());
        // A list of series lies together: where it begins is enough to find each.
        let mut these = |family: &Family, rows: &Rows| {
            rows.iter().map(|values| cells.counter(host, family, values)).min().unwrap_or(0)
        };
        let mut metrics = Self {
            placed: these(&metric::DECISIONS, &grid),
            refused: these(&metric::DECISIONS, &refused),
            refusals: these(&metric::REFUSALS, &refusals),
            refusal_classes: refusal_classes.len(),
            binding: these(&metric::BINDING, &binding),
            spilled: these(&metric::SPILLOVERS, &spilled),
            spill_classes: spill_classes.len(),
            egress_added: these(&metric::SPILL_EGRESS_ADDED, &borders),
            cost_added: these(&metric::SPILL_COST_ADDED, &borders),
            cost_saved: these(&metric::SPILL_COST_SAVED, &borders),
            time_added: these(&metric::SPILL_TIME_ADDED, &borders),
            time_saved: these(&metric::SPILL_TIME_SAVED, &borders),
            fresh: these(&metric::FRESHNESS, &each(&FRESH.map(Freshness::as_str))),
            classified: these(&metric::CLASSIFIED, &each(&SOURCES)),
            planned: these(&metric::PLANNED, &each(&ATTEMPTS)),
            last_resort: these(&metric::LAST_RESORT, &alone),
            undecided: these(&metric::UNDECIDED, &each(&CAUSES)),
            unslotted: these(&metric::UNSLOTTED, &alone),
            late: these(&metric::BODY_LATE, &alone),
            cost: these(&metric::COST, &pairs(&cost_classes, &Regime::ALL.map(Regime::as_str))),
            sampled: these(&metric::SAMPLED, &alone),
            rejected: these(&metric::REJECTED, &codes),
            routers: these(&metric::ROUTERS, &pairs(&routers, &VERDICTS)),
            breaches: these(&metric::BREACHES, &pairs(&routers, &Dimension::ALL.map(Dimension::as_str))),
            unreadable: these(&metric::UNREADABLE, &alone),
            torn: these(&metric::TORN, &alone),
            runs: Runs::declare(policy, &named, ends, &mut these),
            ways: Ways::declare(policy, ends, &mut these),
            crossed: if ends { these(&metric::CROSSED, &borders) } else { 0 },
            went: if ends { these(&metric::WENT, &each(&WENT)) } else { 0 },
            timed: these(&metric::TIMED, &alone),
            stages: these(&metric::STAGE_NS, &each(&Stage::ALL.map(Stage::as_str))),
            classes: classes.len(),
            substrates: substrates.len(),
            cost_classes: cost_classes.len(),
            seen: (0, 0),
            aside,
            epoch: define(host, MetricKind::Gauge, &metric::EPOCH, &[]),
            age_ms: define(host, MetricKind::Gauge, &metric::AGE_MS, &[]),
            canary: define(host, MetricKind::Gauge, &metric::CANARY, &[]),
            // One policy speaks for the proxy.
            budgets: if aside { Budgets::default() } else { Budgets::declare(host, policy, config.hash_tenants) },
            cells,
        };
        metrics.cells.seal();
        if !aside {
            stand(host, policy);
        }
        metrics
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
