//! What is decided of generated cases, and all that it was made of, stays what it was. Where laws say what must hold,
//! this notices every change, to be looked at: one line of `golden/decided.txt` for a few cases; `BLESS=1` rewrites it.

use super::agree::cases;
use super::build::*;
use super::generate::Case;
use berth::model::class::Limits;
use berth::model::contract::Key;
use berth::model::*;
use berth::place::record::{record, write_key};
use berth::place::replay::{Identity, Inputs, Replay, write_replay};
use berth::place::{Placer, Underway, inspect, matches, routers};
use berth::policy::Policy;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The same numbers in every run, whoever else draws some.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// A condition of any kind, over facts of few values and over two headers.
fn predicate(numbers: &mut Numbers, deep: u32) -> Predicate {
    let word =
        |numbers: &mut Numbers| String::from(numbers.pick(&["acme", "chat", "m", "7", "900", "/v1/x", "true", ""]));
    let test = match numbers.below(5) {
        0 => Test::Is(word(numbers)),
        1 => Test::In((0..numbers.below(3)).map(|_| word(numbers)).collect()),
        2 => Test::Prefix(numbers.pick(&["a", "/v1", "9", ""]).into()),
        3 => {
            let mut bound = || (numbers.below(3) > 0).then(|| numbers.below(1_000) as i64);
            Test::Range { min: bound(), max: bound() }
        }
        _ => Test::Present,
    };
    match numbers.below(if deep == 0 { 3 } else { 6 }) {
        0 => Predicate::Header(numbers.pick(&["x-workload", "x-size"]).into(), test),
        1 | 2 => Predicate::Fact(FactName::ALL[numbers.below(15) as usize], test),
        3 => Predicate::Not(Box::new(predicate(numbers, deep - 1))),
        4 => Predicate::All((0..numbers.below(3)).map(|_| predicate(numbers, deep - 1)).collect()),
        _ => Predicate::Any((0..numbers.below(3)).map(|_| predicate(numbers, deep - 1)).collect()),
    }
}

/// What the generator of the laws leaves out: classes that look at everything, labels, energy and licences, hedging,
/// thresholds that differ by kind, shedding that begins early.
fn season(document: &mut Document, numbers: &mut Numbers) {
    for class in &mut document.classes {
        if numbers.below(2) == 0 {
            class.matches = predicate(numbers, 2);
        }
        (class.attempts.repeatable, class.attempts.hedge) = (numbers.below(2) == 0, numbers.below(3) == 0);
        class.usual_output_tokens = 100 * numbers.below(9) as u32;
    }
    for substrate in &mut document.substrates {
        if numbers.below(2) == 0 {
            substrate.labels = vec![("hardware".into(), numbers.pick(&["h100", "b200"]).into())];
        }
        substrate.cost.energy_pusd_per_token = 1_000 * numbers.below(90) as i64;
        substrate.cost.licence_pusd_per_token = 1_000 * numbers.below(90) as i64;
        substrate.cost.request_uusd = numbers.below(200) as i64;
        substrate.latency.prefill_us_per_token = numbers.below(90) as i64;
    }
    let settings = &mut document.settings;
    for thresholds in &mut settings.thresholds {
        if numbers.below(3) == 0 {
            thresholds.queue_depth = Some(numbers.below(12) as u32);
            thresholds.failure_ppm = Some(100_000 * numbers.below(9) as u32);
        }
    }
    if numbers.below(3) == 0 {
        settings.shedding.from_ppm = [100_000, 300_000, 500_000];
    }
    settings.selection.margin_ppm = 100_000 * numbers.below(4) as u32;
    settings.selection.max_shift_ppm = 50_000 * (1 + numbers.below(9)) as u32;
    settings.selection.ramp_ms = 500 * numbers.below(9) as u32;
    settings.prior_failure_ppm = 10_000 * numbers.below(9) as u32;
    let adaptive = &mut settings.adaptive;
    for on in [&mut adaptive.latency, &mut adaptive.cost, &mut adaptive.risk, &mut adaptive.shares] {
        *on = numbers.below(4) > 0;
    }
}

/// One that differs from the first by its name alone, before it or behind all: so that there are ties.
fn twin(case: &mut Case, numbers: &mut Numbers) {
    let mut twin = case.document.substrates[0].clone();
    (twin.name, twin.cluster) = (name("twin"), "twin".into());
    let at = if numbers.below(2) == 0 { 0 } else { case.document.substrates.len() };
    case.document.substrates.insert(at, twin);
    if let Some(snapshot) = &mut case.snapshot {
        let known = snapshot.substrates.iter().find(|health| health.name == "s0").cloned();
        snapshot.substrates.extend(known.map(|health| Health { name: "twin".into(), ..health }));
    }
}

/// Times that are whole milliseconds, so that a deadline can be met to the last of them.
fn whole_milliseconds(document: &mut Document, numbers: &mut Numbers) {
    for substrate in &mut document.substrates {
        substrate.latency.prefill_us_per_token = 1_000 * numbers.below(2) as i64;
        substrate.latency.us_per_token = 1_000 * numbers.below(3) as i64;
        substrate.latency.first_token_us = 50_000 * (1 + numbers.below(9)) as i64;
    }
    document.settings.links.iter_mut().for_each(|link| link.latency_us = 40_000);
}

/// The same request with just the time, the room and the money that its first choice takes, and a little less.
fn edges(case: &Case, facts: &Facts, local: &Local, out: &mut String) {
    let decide = |document: &Document, facts: &Facts| {
        inspect(&Policy::new(document.clone(), [7; 32]), case.snapshot.as_ref(), local, facts, NOW_MS, case.seed)
    };
    let seen = decide(&case.document, facts);
    let Some(first) = seen.decision.plan.first() else { return };
    let row = &seen.rows[usize::from(first.substrate)];
    let number = |value: i64| Some(Fact::trusted(u32::try_from(value.max(0)).unwrap_or(u32::MAX)));
    for less in [0, 1] {
        for tries in 1..=3 {
            let deadline_ms = number(row.need_us * tries / 1_000 - less);
            let _ = writeln!(out, "{:?}", decide(&case.document, &Facts { deadline_ms, ..*facts }).decision);
        }
        let context = case.document.substrates[usize::from(first.substrate)].capabilities.context_tokens;
        let input_tokens = number(i64::from(context) - seen.output_tokens + less);
        let _ = writeln!(out, "{:?}", decide(&case.document, &Facts { input_tokens, ..*facts }).decision);
        let mut dear = case.document.clone();
        dear.classes.iter_mut().for_each(|class| class.limits.cost_uusd = Some(row.cost_uusd - less));
        let _ = writeln!(out, "{:?}", decide(&dear, facts).decision);
    }
}

/// A hundred and fifty substrates, so that sets of them are of several words; few are permitted to most.
fn wide(case: &mut Case, numbers: &mut Numbers) {
    let some = case.document.substrates.clone();
    let many = (0..150_usize).map(|n| {
        let mut one = some[n % some.len()].clone();
        one.name = name(&format!("w{n}"));
        one.cluster = format!("w{n}");
        one.cost.output_pusd_per_token += 1_000 * numbers.below(50) as i64;
        one.location.jurisdiction = country(numbers.pick(&["FR", "DE", "US", "CH"]));
        one
    });
    case.document.substrates = many.collect();
    for class in &mut case.document.classes {
        class.home = (0..3).map(|_| name(&format!("w{}", numbers.below(150)))).collect();
        class.limits = Limits::default();
    }
    if let Some(snapshot) = &mut case.snapshot {
        let some = snapshot.substrates.clone();
        let record = |n: usize| Health { name: format!("w{}", n * 7 % 160), ..some[n % some.len()].clone() };
        snapshot.substrates = (0..120).map(record).collect();
    }
}

fn facts<'a>(facts: &Facts<'a>, headers: &'a [(&'a str, Fact<&'a str>)], numbers: &mut Numbers) -> Facts<'a> {
    let mut said = |all: &[&'static str]| {
        (numbers.below(2) == 0).then(|| Fact { value: numbers.pick(all), trusted: numbers.below(2) == 0 })
    };
    let (path, method, session) =
        (said(&["/v1/x", "/v2"]), said(&["POST", "900"]), said(&["s-1", "~00000000000000ff"]));
    Facts { path, method, session: session.or(facts.session), headers, idempotent: numbers.below(2) == 0, ..*facts }
}

/// Everything that is decided and told of one case, over a few seeds and moments.
fn all(mut case: Case, numbers: &mut Numbers, large: bool) -> String {
    season(&mut case.document, numbers);
    if large {
        wide(&mut case, numbers);
    } else if numbers.below(2) == 0 {
        twin(&mut case, numbers);
    }
    if numbers.below(2) == 0 {
        whole_milliseconds(&mut case.document, numbers);
    }
    let policy = Policy::new(case.document.clone(), [7; 32]);
    let (mut placer, mut out) = (Placer::new(&policy), String::new());
    placer.refresh(case.snapshot.as_ref(), NOW_MS);
    let values = [("x-workload", "chat"), ("x-size", "900")];
    let headers = values.map(|(name, value)| (name, Fact { value, trusted: numbers.below(2) == 0 }));
    let (mut underway, mut local) = (Underway::default(), case.local.clone());
    let mut now_ms = NOW_MS;
    for round in 0..4 {
        let facts = facts(&case.facts, &headers[..numbers.below(3) as usize], numbers);
        // A seed of those that try somebody, now and then.
        let seed = if round == 2 { TRYING } else { case.seed.rotate_left(round * 9) };
        let seen = placer.inspect(&local, &facts, now_ms, seed);
        let decision = &seen.decision;
        let _ = writeln!(out, "{seen:?}\n{:?}\n{}", routers::all(&policy, &facts, &seen), record(&policy, decision));
        for key in Key::ALL {
            let there = write_key(&policy, decision, key, &mut out);
            out.push_str(if there { " " } else { "-" });
        }
        for class in &case.document.classes {
            let _ = write!(out, "{}{}", matches(&class.matches, &facts, true), matches(&class.matches, &facts, false));
        }
        let snapshot = case.snapshot.as_ref().map(|s| Identity { writer: s.writer, epoch: s.epoch, checksum: 77 });
        let inputs = Inputs { policy: &policy, snapshot, local: &local, facts: &facts, now_ms, seed };
        let mut text = String::new();
        write_replay(&inputs, round == 1, &mut text);
        let replay = Replay::parse(&text).unwrap();
        let _ = writeln!(out, "{text}\n{replay:?}\n{:?}", replay.resolve(&policy).map_err(|missing| missing.join(";")));
        if let Some(first) = decision.plan.first() {
            underway.begin(
                usize::from(first.substrate),
                seen.rows[usize::from(first.substrate)].total_us,
                &mut local.placed,
            );
        }
        underway.elapse(numbers.below(3_000_000) as i64, &mut local.placed);
        now_ms += numbers.below(3_000);
    }
    // Where each of many seeds goes: what the weights are.
    for seed in 0..16 {
        let decision = placer.place(&case.local, &case.facts, NOW_MS, case.seed ^ (seed << 40));
        let _ = write!(out, "{:?} ", decision.plan.iter().map(|attempt| attempt.substrate).collect::<Vec<_>>());
    }
    if !large {
        edges(&case, &case.facts, &case.local, &mut out);
    }
    out
}

#[test]
fn generated_cases_are_decided_as_they_were() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/decided.txt");
    let (bless, expected) = (std::env::var_os("BLESS").is_some(), std::fs::read_to_string(path).unwrap_or_default());
    let (mut numbers, mut actual, mut hash) = (Numbers(11), String::new(), Sha256::new());
    for (n, case) in cases(750).enumerate() {
        hash.update(all(case, &mut numbers, n % 25 == 0));
        if n % 25 == 24 {
            let digest: String = hash.finalize_reset().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(actual, "{}..={n} {digest}", n - 24);
            // At the first that differs: there is no need to decide the rest.
            assert!(bless || expected.starts_with(&actual), "a line of {path} differs, BLESS=1 rewrites it:\n{actual}");
        }
    }
    if bless {
        std::fs::write(path, &actual).unwrap();
    } else {
        assert_eq!(actual, expected);
    }
}
