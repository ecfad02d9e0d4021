//! When few are left: the panic rule as a table, and ties among those that are kept away.

use super::build::*;
use berth::model::settings::Thresholds;
use berth::model::*;
use berth::place::{Inspection, inspect};
use berth::policy::Policy;

/// Four substrates that differ by nothing but their names.
fn four() -> Document {
    let substrates = (0..4).map(|n| substrate(&format!("s{n}"))).collect();
    let mut document = document(substrates, vec![class("chat", &["s0"])], vec![envelope("open")]);
    document.settings.thresholds = [Thresholds { failure_ppm: Some(500_000), ..Thresholds::default() }; 7];
    document
}

/// What may stand against a substrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Failing,
    Full,
    Circuit,
    /// Admission is closed, and what is left of its quota does not hold the request.
    Quota,
}

fn marked(health: &mut Health, mark: Mark) {
    let reading = |value| Reading { value, at_ms: NOW_MS };
    match mark {
        Mark::Failing => health.set(Signal::FailureRate, reading(900_000)),
        Mark::Full => health.admission = Admission::Closed,
        Mark::Circuit => health.circuit = Circuit::Open { until_ms: NOW_MS + 60_000 },
        Mark::Quota => {
            health.admission = Admission::Closed;
            health.set(Signal::TokensRemaining, reading(1));
        }
    }
}

/// How many of the four stand where this is against all but so many.
fn standing(mark: Mark, well: usize) -> Inspection {
    let mut snapshot = snapshot((0..4).map(|n| health(&format!("s{n}"), &[(Signal::InFlight, 1)])).collect());
    snapshot.substrates.iter_mut().skip(well).for_each(|health| marked(health, mark));
    inspect(&Policy::new(four(), [0; 32]), Some(&snapshot), &Local::default(), &Facts::default(), NOW_MS, 1)
}

/// Half of the four being well is enough; one of them is few.
#[test]
fn the_panic_rule_ignores_load_rather_than_pile_onto_the_last_one_and_never_a_circuit() {
    for (mark, enough, few, none) in [
        // Marks of load alone refuse nobody.
        (Mark::Full, 2, 4, 4),
        // What fails too often is better than nothing.
        (Mark::Failing, 2, 4, 4),
        (Mark::Circuit, 2, 1, 0),
        (Mark::Quota, 2, 1, 0),
    ] {
        for (well, stand) in [(2, enough), (1, few), (0, none)] {
            let seen = standing(mark, well);
            let rows = seen.rows.iter().filter(|row| row.dimensions.is_empty()).count();
            assert_eq!(rows, stand, "{mark:?}, {well} of 4 well");
            assert_eq!(seen.decision.plan.is_empty(), stand == 0, "{mark:?}, {well} of 4 well");
            assert_eq!(seen.panic, stand > well, "{mark:?}, {well} of 4 well");
            if stand == 0 {
                let Outcome::Refused { status, .. } = seen.decision.outcome else { panic!("{:?}", seen.decision) };
                assert_eq!(status, 503, "{mark:?}");
            }
        }
    }
}

/// Two are closed by load. What is in flight decides whether the other two can carry it.
#[test]
fn load_is_ignored_where_the_rest_could_not_carry_it() {
    for (in_flight, stand) in [(10, 2), (32, 2), (33, 4)] {
        let readings = [(Signal::InFlight, in_flight)];
        let mut snapshot = snapshot((0..4).map(|n| health(&format!("s{n}"), &readings)).collect());
        snapshot.substrates.iter_mut().skip(2).for_each(|health| marked(health, Mark::Full));
        let policy = Policy::new(four(), [0; 32]);
        let seen = inspect(&policy, Some(&snapshot), &Local::default(), &Facts::default(), NOW_MS, 1);
        let rows = seen.rows.iter().filter(|row| row.dimensions.is_empty()).count();
        assert_eq!(rows, stand, "{in_flight} of 64 in flight on each");
    }
}

/// Of several that are better by the same, which one is named is no matter of where it stands in the document.
#[test]
fn whoever_would_have_been_chosen_among_equals_is_named_whatever_their_order() {
    let unbound = |reversed: bool| {
        let mut document = four();
        let mut home = document.substrates.remove(0);
        home.cost.request_uusd = 5_000;
        // Three that are dearer to nobody, where nobody may go.
        for substrate in &mut document.substrates {
            (substrate.location.jurisdiction, substrate.sovereignty.subject_to) = (country("US"), vec![country("US")]);
        }
        if reversed {
            document.substrates.reverse();
        }
        document.substrates.push(home);
        let envelope = &mut document.envelopes[0];
        envelope.permit.jurisdictions = Some([country("FR")].into_iter().collect());
        let policy = Policy::new(document, [0; 32]);
        let seen = inspect(&policy, None, &Local::default(), &Facts::default(), NOW_MS, 1);
        let id = seen.decision.binding.unbound.expect("a better one was kept away");
        policy.document().substrates[usize::from(id)].name.as_str().to_string()
    };
    assert_eq!(unbound(false), unbound(true));
}

/// What the reason knows, rounded up to seconds, between one and a minute; else what the policy says.
#[test]
fn a_refusal_says_when_to_try_again() {
    let after = |change: &dyn Fn(&mut Health)| {
        let mut known = health("s0", &[]);
        change(&mut known);
        let mut document = four();
        document.substrates.truncate(1);
        document.settings.shedding.retry_after_s = 9;
        let known = snapshot(vec![known]);
        let policy = Policy::new(document, [0; 32]);
        let decision = inspect(&policy, Some(&known), &Local::default(), &Facts::default(), NOW_MS, 1).decision;
        let Outcome::Refused { status: 503, reason, retry_after_s } = decision.outcome else { panic!("{decision:?}") };
        (reason.code, retry_after_s.unwrap())
    };
    let open = |until_ms| after(&|health| health.circuit = Circuit::Open { until_ms });
    let times = [0, 1, 999, 1_000, 1_001, 59_001, 100_000].map(|ms| open(NOW_MS + ms));
    assert_eq!(times.map(|(_, seconds)| seconds), [1, 1, 1, 1, 2, 60, 60]);
    assert_eq!(open(u64::MAX), (Code::CircuitOpen, 60));
    let asked = |ms| after(&|health| health.retry_at_ms = Some(NOW_MS + ms));
    assert_eq!([asked(7_000), asked(7_001)], [(Code::RetryAfter, 7), (Code::RetryAfter, 8)]);
    let nobody = after(&|health| health.set(Signal::Hosts, Reading { value: 0, at_ms: NOW_MS }));
    assert_eq!(nobody, (Code::NoHost, 9));
}

/// One of two may serve the tenant, which has its share of it; the other is abroad. What it is told is what would help
/// it: to come again, not that another country is forbidden.
#[test]
fn a_tenant_over_its_share_is_told_so_and_when_to_try_again() {
    let mut document = four();
    document.substrates.truncate(2);
    document.settings.shedding.retry_after_s = 9;
    document.envelopes[0].permit.jurisdictions = Some(vec![country("FR")]);
    let [near, far] = &mut document.substrates[..] else { panic!("two") };
    near.capacity.tenant_share_ppm = vec![("acme".into(), 250_000)];
    (far.location.jurisdiction, far.cost.request_uusd) = (country("US"), 5_000);
    let policy = Policy::new(document, [0; 32]);
    let asked = |tenant: &'static str, used: u32, change: &dyn Fn(&mut Health)| {
        let mut near = health("s0", &[(Signal::InFlight, 1)]);
        change(&mut near);
        let snapshot = Snapshot { slots: 1, ..snapshot(vec![near, health("s1", &[])]) };
        let local = Local { tenant_placed: vec![used], ..Local::default() };
        let facts = Facts { tenant: Some(Fact::trusted(tenant)), ..Facts::default() };
        inspect(&policy, Some(&snapshot), &local, &facts, NOW_MS, 1).decision
    };
    let refused = |decision: Decision| match decision.outcome {
        Outcome::Refused { status, reason, retry_after_s } => (status, reason.code, retry_after_s),
        Outcome::Placed => panic!("{decision:?}"),
    };
    let well = |_: &mut Health| {};
    assert_eq!(asked("acme", 15, &well).outcome, Outcome::Placed, "a quarter of 64 is not reached");
    assert_eq!(asked("globex", 16, &well).outcome, Outcome::Placed, "another tenant");
    let over = asked("acme", 16, &well);
    assert_eq!(refused(over), (429, Code::TenantShare, Some(9)));
    assert_eq!((over.binding.dimension, over.binding.unbound), (Some(Dimension::Availability), Some(0)));
    // Where the substrate would not be there either, that is what is said.
    let broken = |health: &mut Health| health.circuit = Circuit::Open { until_ms: NOW_MS + 7_000 };
    assert_eq!(refused(asked("acme", 16, &broken)), (503, Code::CircuitOpen, Some(7)));
}
