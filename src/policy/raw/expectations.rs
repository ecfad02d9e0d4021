//! What should become of a case: the lines of `expect`, and reasons as people write them.

use super::MOST_WORDS;
use crate::model::{Code, Dimension, Name, Tier};
use crate::policy::{
    codes,
    error::hint,
    forms::{Named, OrNone, Word, whole},
    source::{Form, Shape, Source, Wrong, one_to, up_to},
    tree::Value,
};

/// A reason as people write it: a dimension, or one code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Because {
    /// The dimension.
    pub dimension: Dimension,
    /// The code, where it matters.
    pub code: Option<Code>,
}

/// What should become of a request; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its class.
    pub class: Option<Name>,
    /// Its tier.
    pub tier: Option<Tier>,
    /// Where it goes.
    pub substrate: Option<Name>,
    /// All attempts, in order.
    pub plan: Option<Vec<Name>>,
    /// What bound; `Some(None)`: nothing did.
    pub binding: Option<Option<Because>>,
    /// Where it would have gone.
    pub unbound: Option<Name>,
    /// The status of a refusal.
    pub status: Option<u16>,
    /// The reason of a refusal.
    pub reason: Option<Because>,
    /// Substrates that are rejected, each for these reasons among others.
    pub rejected: Vec<(Name, Vec<Because>)>,
    /// Substrates that stand.
    pub standing: Option<Vec<Name>>,
}

/// What should become of a case.
pub fn expected<S: Source>(s: &mut S) -> Option<Expected> {
    let names = || one_to(MOST_WORDS);
    let expected = Expected {
        class: s.optional("class", "Its class.", Named),
        tier: s.optional("tier", "Its tier.", Word(&Tier::ALL, Tier::as_str)),
        substrate: s.optional("substrate", "Where it goes.", Named),
        plan: s.list("plan", "All attempts, in order.", Named, names()),
        binding: s.optional("binding", "What bound: a dimension, or `dimension/code`.", OrNone(Reasoned)),
        unbound: s.optional("unbound", "Where it would have gone, but for that.", Named),
        status: s.optional("status", "The status of the refusal.", whole::<u16>(400, 599)),
        reason: s.optional("reason", "The reason of the refusal: a dimension, or `dimension/code`.", Reasoned),
        rejected: s.map("rejected", "Substrates that are rejected, each for this reason, or these.", (Named, AllOf)),
        standing: s.list("standing", "Substrates that stand, among others.", Named, up_to(MOST_WORDS)),
    };
    let placed = expected.substrate.is_some() || expected.plan.is_some();
    if placed && (expected.status.is_some() || expected.reason.is_some()) {
        s.wrong("status", codes::CONTRADICTION, "a placement (`substrate`, `plan`) or a refusal (`status`, `reason`)");
    }
    const LINES: [&str; 10] =
        ["class", "tier", "substrate", "plan", "binding", "unbound", "status", "reason", "rejected", "standing"];
    if !LINES.iter().any(|line| s.has(line)) {
        s.wrong("substrate", codes::MISSING_FIELD, "at least one line: a case that expects nothing shows nothing");
    }
    Some(expected)
}

/// `sovereignty` or `sovereignty/jurisdiction`.
#[derive(Clone, Copy, Debug)]
struct Reasoned;

impl Form for Reasoned {
    type Out = Because;
    fn read(&self, value: &Value) -> Result<Because, Wrong> {
        let dimensions = || Dimension::ALL.map(Dimension::as_str).join(", ");
        let expected = || format!("one of {}, or one with a code, such as sovereignty/jurisdiction", dimensions());
        let Value::Text(text) = value else { return Err(Wrong::new(codes::WRONG_TYPE, expected())) };
        let (word, code) = text.split_once('/').map_or((text.as_str(), None), |(word, code)| (word, Some(code)));
        let dimension = Dimension::ALL.into_iter().find(|d| d.as_str() == word);
        let dimension = dimension.ok_or_else(|| Wrong::new(codes::UNKNOWN_WORD, expected()))?;
        let own = || Code::ALL.iter().copied().filter(|c| c.dimension() == dimension);
        let unknown = |code: &str| {
            let known: Vec<&str> = own().map(Code::as_str).collect();
            let hint = hint(code, known.iter().copied());
            Wrong::new(codes::UNKNOWN_WORD, format!("a code of {word}: one of {}{hint}", known.join(", ")))
        };
        let code = code.map(|code| own().find(|c| c.as_str() == code).ok_or_else(|| unknown(code))).transpose()?;
        Ok(Because { dimension, code })
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[a-z]+(/[a-z-]+)?$", most: 64 }
    }
    fn show(&self, value: &Because) -> String {
        value.dimension.as_str().into()
    }
}

/// One reason, or a list of them.
#[derive(Clone, Copy, Debug)]
struct AllOf;

impl Form for AllOf {
    type Out = Vec<Because>;
    fn read(&self, value: &Value) -> Result<Vec<Because>, Wrong> {
        let Value::List(items) = value else { return Reasoned.read(value).map(|one| vec![one]) };
        let part = |item: &crate::policy::tree::Node| Some((item.at, item.value.to_string()));
        items.iter().map(|i| Reasoned.read(&i.value).map_err(|w| Wrong { part: part(i), ..w })).collect()
    }
    fn shape(&self) -> Shape {
        Shape::Either(vec![Reasoned.shape(), Shape::List(Box::new(Reasoned.shape()), up_to(MOST_WORDS))])
    }
    fn show(&self, _: &Vec<Because>) -> String {
        String::new()
    }
}
