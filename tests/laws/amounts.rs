//! What a request costs, to the pico-dollar, and where amounts end: what is beyond a bound is not told apart from it, so
//! that no sum leaves its 64 bits.

use super::build::*;
use berth::model::*;
use berth::place::{Row, inspect};
use berth::policy::Policy;

/// A policy of one substrate and one class that nothing is worth anything to but money.
fn plain() -> Document {
    let mut one = document(vec![substrate("s0")], vec![class("chat", &["s0"])], vec![envelope("open")]);
    one.classes[0].worth = class::Worth { answer_uusd: 0, second_uusd: 0, failure_uusd: 0 };
    one.settings.prior_failure_ppm = 0;
    one
}

/// Ten tokens; the class adds a hundred, of four bytes each.
fn ten() -> Facts<'static> {
    Facts { input_tokens: Some(Fact::trusted(10)), ..Facts::default() }
}

fn row(document: &Document, facts: &Facts) -> Row {
    inspect(&Policy::new(document.clone(), [0; 32]), None, &Local::default(), facts, NOW_MS, 1).rows.remove(0)
}

fn egress(to: Option<&str>, pusd_per_byte: i64) -> substrate::Egress {
    substrate::Egress { to_region: to.map(name), pusd_per_byte }
}

fn link(from: &str, to: &str, latency_us: i64, pusd_per_byte: i64) -> settings::Link {
    settings::Link { from: name(from), to: name(to), latency_us, pusd_per_byte, ceiling_ppm: 1_000_000 }
}

#[test]
fn a_bill_is_what_the_policy_says_to_the_pico_dollar() {
    const TOKENS: i64 = 10 * 100_000 + 100 * 400_000;
    let bill = |change: &dyn Fn(&mut Document), facts: Facts| {
        let mut document = plain();
        change(&mut document);
        -row(&document, &facts).utility_pusd
    };
    let from = |region| Facts { region: Some(region), ..ten() };
    let zone = |zone| Facts { zone: Some(Fact::claimed(zone)), ..ten() };
    let priced = |d: &mut Document| d.substrates[0].cost.egress = vec![egress(Some("us"), 2), egress(None, 9)];
    let linked = |d: &mut Document| {
        // The first of two between the same zones counts, and none to a zone where nobody is.
        d.settings.links = vec![
            link("z", "nowhere", 7, 7),
            link("z", "eu-a", 0, 0),
            link("y", "eu-a", 5_000, 3),
            link("y", "eu-a", 9_000, 8),
        ];
    };
    assert_eq!(bill(&|_| (), ten()), TOKENS, "nothing besides the tokens");
    assert_eq!(bill(&|d| d.substrates[0].cost.request_uusd = 3, ten()), TOKENS + 3_000_000);
    let running = |d: &mut Document| {
        (d.substrates[0].cost.energy_pusd_per_token, d.substrates[0].cost.licence_pusd_per_token) = (5, 7);
    };
    assert_eq!(bill(&running, ten()), TOKENS + 12 * 110, "of both kinds of tokens");
    assert_eq!(bill(&priced, ten()), TOKENS + 9 * 400);
    assert_eq!(bill(&priced, from(Fact::trusted("us"))), TOKENS + 2 * 400);
    assert_eq!(bill(&priced, from(Fact::claimed("us"))), TOKENS + 9 * 400, "claiming makes nothing cheaper");
    assert_eq!(bill(&linked, zone("z")), TOKENS);
    assert_eq!(bill(&linked, zone("y")), TOKENS + 3 * 400);
    let dear = |d: &mut Document| {
        priced(d);
        linked(d);
        d.settings.bytes_per_token = 0;
    };
    assert_eq!(bill(&dear, zone("y")), TOKENS + 12 * 100, "a token is a byte at least");
    let mut slow = plain();
    linked(&mut slow);
    let total = |facts: &Facts| row(&slow, facts).total_us;
    assert_eq!((total(&zone("z")) - total(&ten()), total(&zone("y")) - total(&ten())), (0, 5_000));
}

/// Where an amount stands in a document, and how many are told apart.
type Amount = (&'static str, fn(&mut Document, i64), i64);

#[test]
fn what_is_below_nothing_is_nothing_and_what_is_beyond_a_bound_is_the_bound() {
    fn second(document: &mut Document, uusd: i64) {
        (document.classes[0].worth.second_uusd, document.substrates[0].latency.us_per_token) = (uusd, 1);
    }
    let amounts: [Amount; 12] = [
        ("request", |d, n| d.substrates[0].cost.request_uusd = n, (1 << 58) / 1_000_000 + 1),
        ("input price", |d, n| d.substrates[0].cost.input_pusd_per_token = n, 1 << 35),
        ("output price", |d, n| d.substrates[0].cost.output_pusd_per_token = n, 1 << 35),
        ("energy", |d, n| d.substrates[0].cost.energy_pusd_per_token = n, (1 << 35) - 100_000),
        ("egress", |d, n| d.substrates[0].cost.egress = vec![egress(None, n)], 1 << 27),
        ("egress there", |d, n| d.substrates[0].cost.egress = vec![egress(Some("us"), n)], 1 << 27),
        ("link", |d, n| d.settings.links = vec![link("z", "eu-a", 0, n)], 1 << 27),
        ("path", |d, n| d.settings.links = vec![link("z", "eu-a", n, 0)], 1 << 37),
        ("first token", |d, n| d.substrates[0].latency.first_token_us = n, 1 << 37),
        ("prefill", |d, n| d.substrates[0].latency.prefill_us_per_token = n, 1 << 20),
        ("token", |d, n| d.substrates[0].latency.us_per_token = n, 1 << 20),
        ("second", second, 1 << 24),
    ];
    let facts = Facts { region: Some(Fact::trusted("us")), zone: Some(Fact::trusted("z")), ..ten() };
    for (what, set, most) in amounts {
        let with = |amount: i64| {
            let mut document = plain();
            document.classes[0].worth.second_uusd = 1;
            // Without a price of its own, what is added to it is seen from nothing to its bound.
            document.substrates[0].cost.output_pusd_per_token = 100_000;
            document.substrates[0].latency =
                substrate::Latency { first_token_us: 0, prefill_us_per_token: 0, us_per_token: 0 };
            set(&mut document, amount);
            row(&document, &facts).utility_pusd
        };
        assert_eq!(with(-5), with(0), "{what} below nothing");
        assert!(with(0) > with(1), "{what}: one more is dearer");
        assert!(with(most - 1) > with(most), "{what}: up to its bound");
        assert_eq!(with(most), with(most + 1), "{what} beyond its bound");
        assert_eq!(with(most), with(i64::MAX), "{what} far beyond its bound");
    }
}

#[test]
fn no_answer_takes_longer_or_is_longer_than_the_most_that_is_told_apart() {
    let slow = |first_token_us: i64| {
        let mut document = plain();
        document.classes[0].worth.second_uusd = 1;
        document.substrates[0].latency =
            substrate::Latency { first_token_us, prefill_us_per_token: 0, us_per_token: 1 };
        let row = row(&document, &ten());
        (row.total_us, row.utility_pusd)
    };
    let most = 1 << 37;
    // A hundred tokens take a hundred microseconds more.
    assert_eq!(slow(most), slow(most - 100));
    assert_eq!((slow(most).0, slow(most - 101).0), (most, most - 1));
    assert!(slow(most - 101).1 > slow(most).1);
    // Sixteen million tokens of a hundred bytes are more than the gigabyte that is priced.
    let long = |output: u32, price: i64| {
        let mut document = plain();
        (document.settings.bytes_per_token, document.substrates[0].cost.egress) = (100, vec![egress(None, price)]);
        -row(&document, &Facts { output_tokens: Some(Fact::trusted(output)), ..ten() }).utility_pusd
    };
    let bytes = |output: u32| long(output, 1) - long(output, 0);
    assert_eq!([1 << 10, 1 << 23, 1 << 24, u32::MAX].map(bytes), [100 << 10, 100 << 23, 1 << 30, 1 << 30]);
    assert_eq!(long(1 << 24, 0), long(u32::MAX, 0), "no more tokens are counted");
}

#[test]
fn where_all_is_kept_free_nothing_may_be_placed() {
    let mut document = plain();
    document.substrates[0].capacity.concurrency = 4_000_000;
    let known = snapshot(vec![health("s0", &[(Signal::InFlight, 0)])]);
    let mut codes = |headroom_ppm| {
        document.settings.headroom_ppm = headroom_ppm;
        let policy = Policy::new(document.clone(), [0; 32]);
        let seen = inspect(&policy, Some(&known), &Local::default(), &ten(), NOW_MS, 1);
        seen.rows[0].reasons.iter().map(|reason| reason.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(749_999), [], "a quarter is kept for critical work");
    assert_eq!(codes(750_000), [Code::Headroom]);
    assert_eq!(codes(u32::MAX), [Code::Headroom]);
}

#[test]
fn a_tenant_spends_its_budget_to_the_last_micro_dollar() {
    // One request costs 41 micro-dollars.
    for (most_uusd, fleet_share_ppm, spent, placed) in [
        (41, 1_000_000, None, true),
        (40, 1_000_000, None, false),
        (82, 500_000, Some(0), true),
        (81, 500_000, Some(0), false),
        (100, 1_000_000, Some(59), true),
        (100, 1_000_000, Some(60), false),
        (100, 1_000_000, Some(200), false),
        (0, 1_000_000, None, false),
        (-9, 1_000_000, None, false),
    ] {
        let mut document = plain();
        let budget = settings::Budget { tenant: "acme".into(), window_s: 60, most_uusd, fleet_share_ppm };
        document.settings.budgets = vec![budget];
        let local = Local { spent_uusd: spent.into_iter().collect(), ..Local::default() };
        let policy = Policy::new(document, [0; 32]);
        let of = |tenant| {
            let facts = Facts { tenant: Some(Fact::trusted(tenant)), ..ten() };
            inspect(&policy, None, &local, &facts, NOW_MS, 1).rows.remove(0).reasons
        };
        let left = (most_uusd.max(0) * i64::from(fleet_share_ppm) / 1_000_000 - spent.unwrap_or(0)).max(0);
        let over = Reason { code: Code::TenantBudget, needed: 41, has: left };
        assert_eq!(of("acme"), if placed { vec![] } else { vec![over] }, "{most_uusd} {fleet_share_ppm} {spent:?}");
        assert_eq!(of("globex"), [], "who has no budget is not bounded");
    }
    // A budget of nothing pays for nothing, be it as little as one micro-dollar.
    let mut document = plain();
    document.substrates[0].cost = substrate::Cost {
        input_pusd_per_token: 100_000,
        output_pusd_per_token: 0,
        ..document.substrates[0].cost.clone()
    };
    document.settings.budgets =
        vec![settings::Budget { tenant: "acme".into(), window_s: 60, most_uusd: 0, fleet_share_ppm: 1_000_000 }];
    let facts = Facts { tenant: Some(Fact::trusted("acme")), ..ten() };
    assert_eq!(row(&document, &facts).reasons.len(), 1);
}
