//! What a compiled policy says of itself, which of two of a name counts, and how far its amounts reach.

use super::build::*;
use berth::model::*;
use berth::place::{inspect, place};
use berth::policy::Policy;

fn decide(document: &Document, facts: &Facts) -> Decision {
    place(&Policy::new(document.clone(), [0; 32]), None, &Local::default(), facts, NOW_MS, 1)
}

#[test]
fn a_policy_is_named_by_the_first_eight_digits_of_its_digest() {
    let digest = core::array::from_fn(|at| 0xa0 + at as u8);
    let mut one = document(vec![substrate("s0"), substrate("s1")], vec![class("chat", &["s0"])], vec![]);
    one.identity.version = 12;
    let policy = Policy::new(one, digest);
    assert_eq!(policy.digest(), &digest);
    assert_eq!((policy.short_digest(), policy.digest_word()), ("a0a1a2a3", 0xa0a1_a2a3));
    assert_eq!(policy.label(), "tests@12#a0a1a2a3");
    assert_eq!((policy.substrate_id("s1"), policy.substrate_id("s2")), (Some(1), None));
    assert_eq!((policy.substrate_name(1), policy.substrate_name(2)), ("s1", "-"));
    assert_eq!(policy.substrate(1).map(|s| s.name.as_str()), Some("s1"));
    assert_eq!(policy.class(0).name.as_str(), "chat");
}

#[test]
fn a_policy_without_classes_has_one_that_expects_nothing() {
    let policy = Policy::new(document(vec![substrate("s0")], vec![], vec![envelope("open")]), [0; 32]);
    let class = policy.class(0);
    assert_eq!((class.name.as_str(), class.tier), ("none", Tier::Batch));
    assert_eq!((class.home.len(), class.deadline_ms, class.attempts.most), (0, 0, 1));
    assert_eq!((class.usual_output_tokens, class.needs, class.approval_for), (0, Features::default(), Borders::NONE));
    assert!(class.synchronous && !class.allow_throughput && !class.air_gapped);
}

#[test]
fn a_policy_without_substrates_refuses_for_want_of_anybody() {
    let seen = decide(&document(vec![], vec![class("chat", &[])], vec![envelope("open")]), &Facts::default());
    let reason = Reason { code: Code::NoEnvelope, needed: 0, has: 0 };
    assert_eq!(seen.outcome, Outcome::Refused { status: 403, reason, retry_after_s: None });
}

/// By what is claimed or by what the size suggests, whichever is more; of the answer, by the limit or by what is usual.
#[test]
fn tokens_are_the_larger_of_what_is_said_and_what_is_estimated() {
    let tokens = |bytes_per_token, content_bytes, input: Option<u32>, output: Option<u32>| {
        let mut one = document(vec![substrate("s0")], vec![class("chat", &["s0"])], vec![envelope("open")]);
        one.settings.bytes_per_token = bytes_per_token;
        let (input_tokens, output_tokens) = (input.map(Fact::claimed), output.map(Fact::claimed));
        let facts = Facts { content_bytes, input_tokens, output_tokens, ..Facts::default() };
        let seen = inspect(&Policy::new(one, [0; 32]), None, &Local::default(), &facts, NOW_MS, 1);
        (seen.input_tokens, seen.output_tokens)
    };
    assert_eq!(tokens(4, None, None, None), (0, 100));
    assert_eq!(tokens(4, Some(9), None, Some(101)), (3, 101));
    assert_eq!(tokens(4, Some(9), Some(2), Some(99)), (3, 100));
    assert_eq!(tokens(4, Some(9), Some(4), None), (4, 100));
    assert_eq!(tokens(0, Some(9), None, None), (9, 100), "a token is a byte at least");
    assert_eq!(tokens(4, Some(u64::MAX), Some(u32::MAX), Some(u32::MAX)), (1 << 24, 1 << 24), "no more are counted");
}

#[test]
fn the_filter_has_to_bring_the_headers_that_predicates_look_at_wherever_they_stand_each_once() {
    let header = |name: &str| Predicate::Header(name.into(), Test::Present);
    let (mut a, mut b) = (class("a", &[]), class("b", &[]));
    a.matches = Predicate::All(vec![header("x-c"), Predicate::Not(Box::new(header("x-b")))]);
    b.matches = Predicate::Any(vec![header("x-c"), Predicate::Fact(FactName::Path, Test::Present)]);
    let mut document = document(vec![], vec![a, b], vec![]);
    let only = Predicate::Any(vec![header("x-a")]);
    document.settings.rollout = Some(settings::Rollout { share_ppm: 1, only, classes: None });
    assert_eq!(Policy::new(document, [0; 32]).wanted_headers(), ["x-a", "x-b", "x-c"]);
}

#[test]
fn budgets_and_shares_are_known_by_where_they_stand() {
    let mut all = [substrate("s0"), substrate("s1")];
    all[0].capacity.tenant_share_ppm = vec![("acme".into(), 1), ("globex".into(), 2)];
    all[1].capacity.tenant_share_ppm = vec![("acme".into(), 3)];
    all[0].capacity.keep_for_tenant_ppm = vec![("acme".into(), 4), ("initech".into(), 5)];
    all[1].capacity.keep_for_tenant_ppm = vec![("globex".into(), 6), ("initech".into(), 7)];
    let mut document = document(all.to_vec(), vec![], vec![]);
    let budget = |tenant: &str| settings::Budget {
        tenant: tenant.into(),
        window_s: 60,
        most_uusd: 1,
        fleet_share_ppm: 1_000_000,
    };
    document.settings.budgets = vec![budget("globex"), budget("acme")];
    let policy = Policy::new(document, [0; 32]);
    assert_eq!(["globex", "acme", "initech"].map(|t| policy.budget_of(t)), [Some(0), Some(1), None]);
    let shares = [("acme", 0), ("globex", 0), ("acme", 1), ("globex", 1), ("initech", 0)];
    assert_eq!(shares.map(|(t, id)| policy.share_of(t, id)), [Some(0), Some(1), Some(2), None, None]);
    // What is kept is counted where the share is, or else after all of them.
    let kept = [("acme", 0), ("initech", 0), ("globex", 1), ("initech", 1), ("acme", 1), ("globex", 0)];
    assert_eq!(kept.map(|(t, id)| policy.reserve_of(t, id)), [Some(0), Some(3), Some(4), Some(5), None, None]);
}

/// By the class, by the policy, by what the hop before left; at least the one that is being made, at most three.
#[test]
fn as_many_attempts_are_planned_as_the_least_of_what_is_allowed_and_one_at_least() {
    for (class_most, plan, left, planned) in [
        (3, 3, None, 3),
        (2, 3, None, 2),
        (3, 2, None, 2),
        (1, 3, None, 1),
        (3, 3, Some(2), 2),
        (2, 3, Some(3), 2),
        (3, 3, Some(0), 1),
        (0, 0, None, 1),
        (9, 9, Some(9), 3),
    ] {
        let mut one = document(
            (0..5).map(|n| substrate(&format!("s{n}"))).collect(),
            vec![class("chat", &["s0"])],
            vec![envelope("open")],
        );
        (one.classes[0].attempts.most, one.settings.selection.plan) = (class_most, plan);
        one.classes[0].attempts.repeatable = true;
        let seen = decide(&one, &Facts { attempts_left: left, ..Facts::default() });
        let part_ms = 8_000 / planned as u32;
        assert_eq!((seen.plan.len(), seen.pace.per_try_ms), (planned, part_ms), "{class_most} {plan} {left:?}");
    }
}

/// A document that no text can say: the first of a name counts.
#[test]
fn of_two_of_a_name_the_first_counts() {
    let offer =
        |model: &str, quality_ppm| Offer { model: model.into(), quality_ppm, context_tokens: None, revision: None };
    let egress = |to: Option<&str>, pusd_per_byte| substrate::Egress { to_region: to.map(name), pusd_per_byte };
    let mut one = substrate("s0");
    one.capabilities.models = vec![offer("m", 700_000), offer("m", 100_000), offer("n", 600_000)];
    one.cost.egress =
        vec![egress(Some("us"), 50_000_000), egress(Some("us"), 1), egress(None, 10_000_000), egress(None, 2)];
    let classes = vec![class("chat", &["s0"]), Class { tier: Tier::Batch, ..class("chat", &[]) }];
    let mut document = document(vec![one], classes, vec![envelope("open")]);
    let quality =
        |model| decide(&document, &Facts { model: Some(Fact::trusted(model)), ..Facts::default() }).quality_ppm;
    assert_eq!(["m", "n"].map(quality), [700_000, 600_000]);
    let facts = |region| Facts { region, class: Some(Fact::claimed("chat")), ..Facts::default() };
    // A hundred tokens of four bytes.
    let bytes_uusd = |region: Option<&'static str>| decide(&document, &facts(region.map(Fact::trusted))).cost_uusd - 40;
    assert_eq!([Some("us"), Some("fr"), None].map(bytes_uusd), [20_000, 4_000, 4_000]);
    assert_eq!(decide(&document, &facts(None)).class, 0);
    document.substrates.push(Substrate { account: name("other"), ..substrate("s0") });
    assert_eq!(Policy::new(document, [0; 32]).substrate_id("s0"), Some(0));
}
