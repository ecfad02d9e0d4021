//! Whether a predicate holds, asked twice at once: by what is trusted, and by everything that was said.

use crate::model::facts::number_of;
use crate::model::{Fact, FactName, Facts, Predicate, Test};

/// The two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holds {
    /// With the facts from trusted sources only.
    pub(crate) trusted: bool,
    /// With all facts.
    pub(crate) claimed: bool,
}

impl Holds {
    const fn both(holds: bool) -> Self {
        Self { trusted: holds, claimed: holds }
    }
}

/// Whether a predicate holds. An absent fact fails every test; an untrusted one is absent from the trusted view.
pub(crate) fn holds(predicate: &Predicate, facts: &Facts) -> Holds {
    match predicate {
        Predicate::All(list) => list.iter().fold(Holds::both(true), |so_far, p| {
            let one = holds(p, facts);
            Holds { trusted: so_far.trusted & one.trusted, claimed: so_far.claimed & one.claimed }
        }),
        Predicate::Any(list) => list.iter().fold(Holds::both(false), |so_far, p| {
            let one = holds(p, facts);
            Holds { trusted: so_far.trusted | one.trusted, claimed: so_far.claimed | one.claimed }
        }),
        Predicate::Not(inner) => {
            let inner = holds(inner, facts);
            Holds { trusted: !inner.trusted, claimed: !inner.claimed }
        }
        Predicate::Header(name, test) => text(facts.header(name), test),
        Predicate::Fact(name, test) => fact(*name, facts, test),
    }
}

fn fact(name: FactName, facts: &Facts, test: &Test) -> Holds {
    match name {
        FactName::InputTokens | FactName::OutputTokens | FactName::Deadline => {
            facts.number(name).map_or(Holds::both(false), |f| trust(f.trusted, number(i64::from(f.value), test)))
        }
        _ => text(facts.text(name), test),
    }
}

fn trust(trusted: bool, passes: bool) -> Holds {
    Holds { trusted: trusted && passes, claimed: passes }
}

fn text(fact: Option<Fact<&str>>, test: &Test) -> Holds {
    let Some(fact) = fact else { return Holds::both(false) };
    let passes = match test {
        Test::Is(wanted) => wanted == fact.value,
        Test::In(list) => list.iter().any(|wanted| wanted == fact.value),
        Test::Prefix(start) => fact.value.starts_with(start.as_str()),
        Test::Range { .. } => number_of(fact.value).is_some_and(|n| number(n, test)),
        Test::Present => true,
    };
    trust(fact.trusted, passes)
}

fn number(value: i64, test: &Test) -> bool {
    let is = |wanted: &str| wanted.parse() == Ok(value);
    match test {
        Test::Is(wanted) => is(wanted),
        Test::In(list) => list.iter().any(|wanted| is(wanted)),
        Test::Prefix(_) => false,
        Test::Range { min, max } => min.is_none_or(|m| value >= m) && max.is_none_or(|m| value <= m),
        Test::Present => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untrusted_fact_is_absent_from_the_trusted_view_even_under_not() {
        let facts = Facts { tenant: Some(Fact::claimed("acme")), ..Facts::default() };
        let is = Predicate::Fact(FactName::Tenant, Test::Is("acme".into()));
        assert_eq!(holds(&is, &facts), Holds { trusted: false, claimed: true });
        assert_eq!(holds(&Predicate::Not(Box::new(is)), &facts), Holds { trusted: true, claimed: false });
    }

    #[test]
    fn numbers_are_compared_as_numbers_in_facts_and_headers() {
        let headers = [("x-size", Fact::trusted("20"))];
        let facts = Facts { input_tokens: Some(Fact::trusted(20)), headers: &headers, ..Facts::default() };
        let range = |min, max| Test::Range { min, max };
        for (test, passes) in
            [(range(Some(20), None), true), (range(None, Some(19)), false), (Test::Is("20".into()), true)]
        {
            assert_eq!(holds(&Predicate::Fact(FactName::InputTokens, test.clone()), &facts), Holds::both(passes));
            assert_eq!(holds(&Predicate::Header("x-size".into(), test), &facts), Holds::both(passes));
        }
        for (noughts, passes) in [(30, true), (31, false)] {
            let long = "0".repeat(noughts) + "20";
            let headers = [("x-size", Fact::trusted(long.as_str()))];
            let size = Predicate::Header("x-size".into(), range(Some(20), None));
            assert_eq!(holds(&size, &Facts { headers: &headers, ..Facts::default() }), Holds::both(passes));
        }
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let range = Test::Range { min: Some(-2), max: Some(20) };
        assert_eq!([-3, -2, 0, 20, 21].map(|value| number(value, &range)), [false, true, true, true, false]);
    }
}
