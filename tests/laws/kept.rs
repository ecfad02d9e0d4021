//! What is kept for a tenant: nobody else takes it, and nobody gets it by a claim.

use super::agree::look;
use super::build::*;
use super::generate::{Case, case};
use berth::model::*;
use berth::place::{Placer, inspect};
use berth::policy::Policy;
use proptest::prelude::*;

/// Who is turned away from each substrate because what is left is kept for somebody else.
fn turned_away(case: &Case) -> Vec<bool> {
    look(case).rows.iter().map(|r| r.reasons.iter().any(|r| r.code == Code::Headroom)).collect()
}

/// The same with an eighth or more of one substrate kept for a tenant.
fn kept(case: &Case, at: usize, tenant: &str, eighths: u32) -> Case {
    let mut more = case.clone();
    let at = at % more.document.substrates.len();
    let all = &mut more.document.substrates[at].capacity.keep_for_tenant_ppm;
    match all.iter_mut().find(|(of, _)| of == tenant) {
        Some((_, ppm)) => *ppm += eighths * 125_000,
        None => all.push((tenant.into(), eighths * 125_000)),
    }
    more
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_for_a_tenant_takes_no_place_from_it(mut case in case(), at in 0..6_usize, eighths in 1..8_u32, own in 0..8_u32) {
        case.facts.tenant = Some(Fact::trusted("acme"));
        case.local.tenant_placed = vec![own; 20];
        let (before, after) = (turned_away(&case), turned_away(&kept(&case, at, "acme", eighths)));
        for (before, after) in before.into_iter().zip(after) {
            prop_assert!(before || !after);
        }
    }

    #[test]
    fn what_is_kept_for_a_tenant_that_has_it_changes_nothing_for_it(mut case in case(), at in 0..6_usize, eighths in 1..8_u32) {
        case.facts.tenant = Some(Fact::trusted("acme"));
        case.local.tenant_placed = vec![1_000; 20];
        let (before, after) = (look(&case), look(&kept(&case, at, "acme", eighths)));
        prop_assert_eq!(before.rows, after.rows);
        prop_assert_eq!(before.decision, after.decision);
    }

    #[test]
    fn what_is_kept_for_a_tenant_gives_nobody_else_a_place(mut case in case(), at in 0..6_usize, eighths in 1..8_u32, (who, own) in (0..3_usize, 0..8_u32)) {
        // What is kept moves the places where what tenants have is counted.
        case.local.tenant_placed = vec![own; 20];
        // Another one, one who only says to be it, and nobody.
        case.facts.tenant = [Some(Fact::trusted("globex")), Some(Fact::claimed("acme")), None][who];
        let (before, after) = (turned_away(&case), turned_away(&kept(&case, at, "acme", eighths)));
        for (before, after) in before.into_iter().zip(after) {
            prop_assert!(after || !before);
        }
    }

    #[test]
    fn who_says_to_be_a_tenant_is_turned_away_where_anybody_is(mut case in case()) {
        case.facts.tenant = Some(Fact::claimed("acme"));
        // A class asks for its tenants by name, and gives them another tier: what is asked here is who is believed.
        case.document.classes.iter_mut().for_each(|c| c.matches = Predicate::Any(vec![]));
        let mut unknown = case.clone();
        unknown.facts.tenant = Some(Fact::claimed("nobody"));
        prop_assert_eq!(turned_away(&case), turned_away(&unknown));
    }
}

/// A substrate of 16 places, a quarter of it for one tenant and an eighth for another; nothing is kept free besides.
fn reserved() -> Document {
    let mut only = substrate("s0");
    only.capacity.concurrency = 16;
    only.capacity.keep_for_ppm = [0, 0, 125_000];
    only.capacity.keep_for_tenant_ppm = vec![("acme".into(), 250_000), ("globex".into(), 125_000)];
    let mut urgent = class("urgent", &["s0"]);
    urgent.matches = Predicate::Fact(FactName::Class, Test::Present);
    urgent.tier = Tier::Critical;
    let mut document = document(vec![only], vec![class("chat", &["s0"]), urgent], vec![envelope("open")]);
    document.settings.headroom_ppm = 0;
    document.settings.shedding.most_ppm = [0; 3];
    document
}

const URGENT: &str = "urgent";

fn of(tenant: Option<Fact<&'static str>>, urgent: bool) -> Facts<'static> {
    Facts { tenant, class: urgent.then_some(Fact::trusted(URGENT)), ..Facts::default() }
}

/// With so many in flight, whoever they are of, who still finds a place: by how many more of them one worker places. Those
/// for whom something is kept have it already.
#[test]
fn everybody_stops_where_what_is_kept_for_others_begins() {
    let policy = Policy::new(reserved(), [0; 32]);
    let mut placer = Placer::new(&policy);
    let mut fits = |facts: &Facts, in_flight: i64| {
        let snapshot = Snapshot { slots: 1, ..snapshot(vec![health("s0", &[(Signal::InFlight, in_flight)])]) };
        placer.refresh(Some(&snapshot), NOW_MS);
        let more = |placed: &u32| {
            let local = Local { placed: vec![*placed], tenant_placed: vec![4, 2], ..Local::default() };
            placer.place(&local, facts, NOW_MS, 1).outcome == Outcome::Placed
        };
        (0..32).take_while(more).count()
    };
    let trusted = |tenant| Some(Fact::trusted(tenant));
    for (who, most) in [
        (of(None, false), 8),
        (of(trusted("initech"), false), 8),
        (of(Some(Fact::claimed("acme")), false), 8),
        (of(trusted("globex"), false), 10),
        (of(trusted("acme"), false), 12),
        // What is kept for a tier is its own, of every tenant.
        (of(None, true), 10),
        (of(trusted("globex"), true), 12),
        (of(trusted("acme"), true), 14),
    ] {
        for in_flight in [0, 5, 8, 9, 11, 13, 16] {
            let left = (most - in_flight).max(0);
            assert_eq!(fits(&who, in_flight), usize::try_from(left).unwrap(), "{who:?}, {in_flight} in flight");
        }
    }
}

/// Urgent work of others fills all that the tenant's tier may use. What is its own is left: the whole at a proxy of one
/// worker, an even part at each of several, and of a proxy that has a quarter of what runs there twice that, as elsewhere.
#[test]
fn each_worker_gives_its_part_of_what_is_kept() {
    let mut document = reserved();
    let capacity = &mut document.substrates[0].capacity;
    (capacity.concurrency, capacity.keep_for_ppm) = (20, [0, 0, 400_000]);
    capacity.keep_for_tenant_ppm = vec![("acme".into(), 400_000)];
    let policy = Policy::new(document, [0; 32]);
    let mut placer = Placer::new(&policy);
    let mut given = |workers: u16, readings: &[(Signal, i64)]| {
        let snapshot = Snapshot { slots: workers, ..snapshot(vec![health("s0", readings)]) };
        placer.refresh(Some(&snapshot), NOW_MS);
        let more = |n: &u32| {
            let local = Local { placed: vec![*n], tenant_placed: vec![*n], ..Local::default() };
            placer.place(&local, &of(Some(Fact::trusted("acme")), false), NOW_MS, 1).outcome == Outcome::Placed
        };
        (0..32).take_while(more).count()
    };
    let counted = |n| [(Signal::InFlight, n)];
    assert_eq!([1, 2, 3, 4].map(|workers| given(workers, &counted(12))), [8, 4, 3, 2]);
    // No more than is free there.
    assert_eq!([17, 19, 20].map(|n| given(1, &counted(n))), [3, 1, 0]);
    let shared = [(Signal::InFlight, 3), (Signal::Running, 15)];
    assert_eq!([1, 2, 3].map(|workers| given(workers, &shared)), [4, 2, 2]);
}

#[test]
fn of_a_million_places_none_is_given_beyond_the_last() {
    let mut document = reserved();
    document.settings.headroom_ppm = 500_000;
    let capacity = &mut document.substrates[0].capacity;
    (capacity.concurrency, capacity.keep_for_tenant_ppm) = (2_000_000, vec![("acme".into(), 250_000)]);
    let policy = Policy::new(document, [0; 32]);
    let mut placer = Placer::new(&policy);
    let mut places = |in_flight: i64| {
        let snapshot = Snapshot { slots: 1, ..snapshot(vec![health("s0", &[(Signal::InFlight, in_flight)])]) };
        placer.refresh(Some(&snapshot), NOW_MS);
        let of_acme = of(Some(Fact::trusted("acme")), false);
        placer.place(&Local::default(), &of_acme, NOW_MS, 1).outcome == Outcome::Placed
    };
    assert_eq!([999_999, 1_000_000].map(&mut places), [true, false]);
}

#[test]
fn who_is_turned_away_is_told_what_it_may_use_and_no_name() {
    let policy = Policy::new(reserved(), [0; 32]);
    let snapshot = snapshot(vec![health("s0", &[(Signal::InFlight, 12)])]);
    let told = |facts: &Facts| {
        let local = Local { tenant_placed: vec![4, 2], ..Local::default() };
        let seen = inspect(&policy, Some(&snapshot), &local, facts, NOW_MS, 1);
        match seen.decision.outcome {
            Outcome::Refused { status, reason, retry_after_s } => (status, reason, retry_after_s),
            Outcome::Placed => panic!("{:?}", seen.decision),
        }
    };
    let full = |needed| (503, Reason { code: Code::Headroom, needed, has: 12 }, Some(2));
    assert_eq!(told(&of(None, false)), full(8));
    assert_eq!(told(&of(Some(Fact::trusted("globex")), false)), full(10));
    assert_eq!(told(&of(Some(Fact::trusted("acme")), false)), full(12));
}

/// Among equals it goes by what it may use, not by what the others may.
#[test]
fn a_tenant_goes_where_places_are_kept_for_it_as_if_they_were_not() {
    let mut document = reserved();
    document.substrates[0].capacity.keep_for_tenant_ppm.truncate(1);
    let mut second = document.substrates[0].clone();
    (second.name, second.cluster) = (name("s1"), "s1".into());
    second.capacity.keep_for_tenant_ppm.clear();
    document.substrates.push(second);
    document.classes[0].home.push(name("s1"));
    let policy = Policy::new(document, [0; 32]);
    let snapshot = snapshot(["s0", "s1"].map(|s| health(s, &[(Signal::InFlight, 6)])).to_vec());
    let share = |tenant: &'static str| {
        let mut placer = Placer::new(&policy);
        placer.refresh(Some(&snapshot), NOW_MS);
        let mut first = |seed: u64| {
            let decision = placer.place(&Local::default(), &of(Some(Fact::trusted(tenant)), false), NOW_MS, seed << 17);
            decision.plan.first().map(|a| a.substrate)
        };
        (0..400).filter(|seed| first(*seed) == Some(0)).count()
    };
    // Eight and eight are free for the one, four and eight for the others.
    let (own, others) = (share("acme"), share("initech"));
    assert!((170..=230).contains(&own), "{own} of 400");
    assert!((100..=166).contains(&others), "{others} of 400");
}

/// No worker knows what a tenant has by the others: one that has filled what it may by one of them still gets its part at the
/// next, out of what is kept for another tenant. Where there is one worker, it does not.
#[test]
fn whoever_fills_its_own_and_the_common_places_by_one_worker_gets_its_part_at_each_other() {
    let mut document = reserved();
    document.substrates[0].capacity.keep_for_ppm = [0; 3];
    let policy = Policy::new(document, [0; 32]);
    let mut placer = Placer::new(&policy);
    let mut placed = |tenant, workers: u16, in_flight: u32, here: u32| {
        let in_flight = health("s0", &[(Signal::InFlight, i64::from(in_flight))]);
        placer.refresh(Some(&Snapshot { slots: workers, ..snapshot(vec![in_flight]) }), NOW_MS);
        let local = Local { tenant_placed: vec![here; 2], ..Local::default() };
        placer.place(&local, &of(Some(Fact::trusted(tenant)), false), NOW_MS, 1).outcome == Outcome::Placed
    };
    // Of 16 places two are kept for globex.
    assert_eq!([13, 14].map(|n| placed("acme", 2, n, n)), [true, false]);
    assert_eq!([14, 15, 16].map(|n| placed("acme", 2, n, n - 14)), [true, true, false]);
    assert_eq!([14, 15, 16].map(|n| placed("globex", 2, n, 0)), [true, true, false]);
    assert_eq!([13, 14].map(|n| placed("acme", 1, n, n)), [true, false]);
}

/// What two tenants and the others have in flight, by worker.
#[derive(Debug)]
struct Running {
    of: [Vec<u32>; 3],
}

impl Running {
    fn all(&self) -> u32 {
        self.of.iter().flatten().sum()
    }

    fn all_of(&self, who: usize) -> u32 {
        self.of[who].iter().sum()
    }

    /// Whether it has no more than its part at each worker. One that has may have it of what is its own elsewhere, and still
    /// gets its part there.
    fn is_spread(&self, who: usize, even: &[u32; 2]) -> bool {
        self.of[who].iter().all(|n| *n <= even[who])
    }
}

/// One who comes or, of those that run, one who goes.
#[derive(Clone, Copy, Debug)]
struct Step {
    who: usize,
    worker: usize,
    urgent: bool,
    comes: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0..3_usize, 0..4_usize, any::<bool>(), prop::bool::weighted(0.75)).prop_map(|(who, worker, urgent, comes)| Step {
        who,
        worker,
        urgent,
        comes,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever comes in whatever order, at whatever worker and of whatever tier: a tenant that has less at a worker than its
    /// even part of what is kept for it is placed, and the others never are where that is free.
    #[test]
    fn what_is_kept_for_each_of_two_tenants_holds_against_everybody(
        steps in prop::collection::vec(step(), 1..160),
        (workers, concurrency) in (1..=4_usize, 4..=32_u32),
        parts in (0..4_u32, 0..4_u32),
        (critical, free) in (0..4_u32, 0..2_u32),
    ) {
        let mut document = reserved();
        let capacity = &mut document.substrates[0].capacity;
        (capacity.concurrency, capacity.keep_for_ppm) = (concurrency, [0, 0, critical * 75_000]);
        capacity.keep_for_tenant_ppm = vec![("acme".into(), parts.0 * 90_000), ("globex".into(), parts.1 * 110_000)];
        document.settings.headroom_ppm = free * 125_000;
        let part = |ppm: u32| concurrency * ppm / 1_000_000;
        let (own, whole) = ([part(parts.0 * 90_000), part(parts.1 * 110_000)], part(1_000_000 - free * 125_000));
        let even = own.map(|own| own.div_ceil(workers as u32));
        // Workers that do not divide it exceed it together by less than one each.
        let over = |who: usize| even[who] * workers as u32 - own[who];
        let policy = Policy::new(document, [0; 32]);
        let mut placer = Placer::new(&policy);
        let mut running = Running { of: [vec![0; workers], vec![0; workers], vec![0; workers]] };
        for (epoch, step) in (1..).zip(&steps) {
            let worker = step.worker % workers;
            if !step.comes {
                running.of[step.who][worker] = running.of[step.who][worker].saturating_sub(1);
                continue;
            }
            let in_flight = health("s0", &[(Signal::InFlight, i64::from(running.all()))]);
            let known = Snapshot { slots: workers as u16, epoch, ..snapshot(vec![in_flight]) };
            placer.refresh(Some(&known), NOW_MS);
            let tenant_placed = vec![running.of[0][worker], running.of[1][worker]];
            let local = Local { slot: worker as u8, tenant_placed, ..Local::default() };
            let tenant = [Some("acme"), Some("globex"), None][step.who].map(Fact::trusted);
            let outcome = placer.place(&local, &of(tenant, step.urgent), NOW_MS, epoch).outcome;
            let all = running.all();
            if let Outcome::Refused { reason, .. } = outcome {
                prop_assert_eq!(reason.code, Code::Headroom);
                let has_its_own = even.get(step.who).is_none_or(|even| running.of[step.who][worker] >= *even);
                let exceeded = || {
                    let other = 1 - step.who;
                    over(other) > 0 || !running.is_spread(other, &even) || running.all_of(step.who) >= own[step.who]
                };
                prop_assert!(has_its_own || (all >= whole && exceeded()), "{step:?} with {running:?}");
                continue;
            }
            prop_assert!(all < whole, "{step:?} with {running:?}");
            running.of[step.who][worker] += 1;
            for who in [0, 1] {
                let (not_its_own, other) = (running.all() - running.all_of(who), 1 - who);
                let spread = running.is_spread(other, &even);
                let exceeds = if spread { over(other) } else { even[other] * (workers as u32 - 1) };
                prop_assert!(not_its_own + own[who] <= whole + exceeds, "{step:?} made {running:?}");
            }
        }
    }
}
