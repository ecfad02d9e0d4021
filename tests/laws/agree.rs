//! The decision and its reference say the same, and would not if either had one of many bugs.

use super::build::NOW_MS;
use super::generate::{Case, case};
use super::reference::{Bug, Judged, Question, judge};
use berth::model::*;
use berth::place::{Inspection, inspect};
use berth::policy::Policy;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

pub(crate) fn look(case: &Case) -> Inspection {
    let policy = Policy::new(case.document.clone(), [0; 32]);
    inspect(&policy, case.snapshot.as_ref(), &case.local, &case.facts, NOW_MS, case.seed)
}

pub(crate) fn refer(case: &Case, bug: Bug) -> Vec<Judged> {
    judge(&Question {
        document: &case.document,
        snapshot: case.snapshot.as_ref(),
        local: &case.local,
        facts: &case.facts,
        now_ms: NOW_MS,
        bug,
    })
}

/// The first thing that differs, in words.
pub(crate) fn difference(real: &Inspection, reference: &[Judged]) -> Option<String> {
    if let Some(Attempt { substrate, .. }) = real.decision.plan.first() {
        // To the nearest micro-dollar.
        let egress_uusd = (reference[usize::from(*substrate)].egress_pusd + 500_000).div_euclid(1_000_000);
        if i128::from(real.decision.egress_uusd) != egress_uusd {
            return Some(format!("egress: really {}, by reference {egress_uusd}", real.decision.egress_uusd));
        }
    }
    real.rows.iter().zip(reference).enumerate().find_map(|(at, (row, judged))| {
        let mut codes: std::collections::BTreeSet<Code> = row.reasons.iter().map(|r| r.code).collect();
        codes.remove(&Code::Shed);
        if codes != judged.codes {
            return Some(format!("s{at}: really {codes:?}, by reference {:?}", judged.codes));
        }
        let same = i128::from(row.utility_pusd) == judged.utility_pusd
            && i128::from(row.total_us) == judged.total_us
            && i128::from(row.need_us) == judged.need_us;
        (!same).then(|| format!("s{at}: really {row:?}, by reference {judged:?}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_decision_agrees_with_its_reference(case in case()) {
        let difference = difference(&look(&case), &refer(&case, Bug::None));
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }
}

/// The same cases in every run, so that a bug that is found is always found.
pub(crate) fn cases(count: usize) -> impl Iterator<Item = Case> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = case();
    (0..count).map(move |_| strategy.new_tree(&mut runner).expect("a case").current())
}

#[test]
fn the_comparison_notices_every_bug() {
    let cases: Vec<(Case, Inspection)> = cases(3_000)
        .map(|c| {
            let real = look(&c);
            (c, real)
        })
        .collect();
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|&bug| !cases.iter().any(|(case, real)| difference(real, &refer(case, bug)).is_some()))
        .collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

#[test]
fn the_cases_reach_every_code() {
    let mut seen = std::collections::BTreeSet::new();
    for case in cases(3_000) {
        seen.extend(look(&case).rows.iter().flat_map(|r| r.reasons.iter().map(|r| r.code)));
    }
    let missed: Vec<_> = Code::ALL.iter().filter(|c| !seen.contains(c)).collect();
    assert!(missed.is_empty(), "never seen: {missed:?}");
}
