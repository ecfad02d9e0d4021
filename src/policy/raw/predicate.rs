//! Conditions over the facts of a request: typed tests, no expression language. Several keys in one map must all
//! hold; `any`, `all` and `not` say the rest.

use super::MOST_WORDS;
use crate::model::{FactName, Predicate, Test};
use crate::policy::{
    codes,
    forms::{Header, Text, whole},
    source::{Form, Shape, Source, Wrong, one_to, up_to},
    tree::{Node, Value},
};

/// The longest text that a test compares with.
const LONGEST: usize = 512;

/// One condition.
#[inline(never)]
pub fn predicate<S: Source>(s: &mut S) -> Option<Predicate> {
    if s.again("predicate") {
        return None;
    }
    let mut all = Vec::new();
    for fact in FactName::ALL {
        let test = s.optional(fact.as_str(), fact_doc(fact), FactTest(fact));
        all.extend(test.map(|test| Predicate::Fact(fact, test)));
    }
    let prefix =
        s.optional("path_prefix", "The path begins with this: the short form of `path: {prefix: …}`.", Text(LONGEST));
    all.extend(prefix.map(|prefix| Predicate::Fact(FactName::Path, Test::Prefix(prefix))));
    all.extend(header(s));
    for (name, doc) in [("any", "One of these holds."), ("all", "All of these hold; an empty list always holds.")] {
        let inner = s.sections(name, doc, up_to(MOST_WORDS), predicate);
        if name == "any" && s.has(name) {
            all.push(Predicate::Any(inner));
        } else if s.has(name) {
            all.push(Predicate::All(inner));
        }
    }
    let not = s.section_if("not", "This does not hold.", predicate);
    all.extend(not.map(|inner| Predicate::Not(Box::new(inner))));
    if all.is_empty() && !KEYS.iter().any(|key| s.has(key)) && !FactName::ALL.iter().any(|f| s.has(f.as_str())) {
        s.wrong("all", codes::EMPTY_PREDICATE, "a condition; `all: []` where it always holds");
    }
    match all.len() {
        1 => all.pop(),
        _ => Some(Predicate::All(all)),
    }
}

/// The keys of a condition that are no facts.
const KEYS: [&str; 5] = ["path_prefix", "header", "any", "all", "not"];

pub(super) const fn fact_doc(fact: FactName) -> &'static str {
    match fact {
        FactName::Tenant => "Who pays.",
        FactName::Class => "The class that the caller names.",
        FactName::Model => "The model asked for.",
        FactName::InputTokens => {
            "Input tokens as they are claimed; what is estimated from the size of a request does not count here."
        }
        FactName::OutputTokens => "The output token limit.",
        FactName::Data => "The data class.",
        FactName::Residency => "Where the data must stay.",
        FactName::Session => "The session.",
        FactName::Deadline => "The deadline.",
        FactName::Region => "The caller's region.",
        FactName::Zone => "The caller's zone.",
        FactName::Approval => "The approval that the caller holds.",
        FactName::Streaming => "Whether a stream is asked for.",
        FactName::Method => "The request's method.",
        FactName::Path => "The request's path, without its query.",
    }
}

/// `{header: x-workload, is: chat}`: the tests stand beside the header's name.
#[inline(never)]
fn header<S: Source>(s: &mut S) -> Option<Predicate> {
    let name = s.optional("header", "A request header, by its name in small letters; one of `is`, `in`, `prefix`, `min`, `max`, `present` beside it says what is asked of it.", Header);
    let is = s.optional("is", "The header is exactly this.", Text(LONGEST));
    let within = s.list("in", "The header is one of these.", Text(LONGEST), one_to(MOST_WORDS));
    let prefix = s.optional("prefix", "The header begins with this.", Text(LONGEST));
    let min = s.optional("min", "The header is a number, at least this.", whole::<i64>(-MOST, MOST));
    let max = s.optional("max", "The header is a number, at most this.", whole::<i64>(-MOST, MOST));
    let present = s.optional("present", "The header is there, whatever it says.", Present);
    let range = (min.is_some() || max.is_some()).then_some(Test::Range { min, max });
    let tests =
        [is.map(Test::Is), within.map(Test::In), prefix.map(Test::Prefix), range, present.map(|()| Test::Present)];
    let mut tests: Vec<Test> = tests.into_iter().flatten().collect();
    const ASKED: [&str; 6] = ["is", "in", "prefix", "min", "max", "present"];
    let asked = ASKED.into_iter().filter(|key| s.has(key)).count();
    if s.has("header") && asked == 0 {
        s.wrong("header", codes::EMPTY_PREDICATE, "one of is, in, prefix, min, max, present beside it");
    }
    if !s.has("header") && asked > 0 {
        s.wrong("header", codes::MISSING_FIELD, "the header that is, in, prefix, min, max or present is about");
    }
    if tests.len() > 1 {
        s.wrong("header", codes::CONTRADICTION, "one test; several are several conditions in `all`");
    }
    if matches!((min, max), (Some(min), Some(max)) if min > max) {
        s.wrong("max", codes::CONTRADICTION, "a `max` that is not below `min`");
    }
    Some(Predicate::Header(name?, tests.pop()?))
}

/// The largest number that a test compares with.
const MOST: i64 = 1_000_000_000_000;

/// The only way to ask for presence.
#[derive(Clone, Copy, Debug)]
struct Present;

impl Form for Present {
    type Out = ();
    fn read(&self, value: &Value) -> Result<(), Wrong> {
        match value {
            Value::Bool(true) => Ok(()),
            _ => Err(Wrong::new(codes::WRONG_TYPE, "true; absence is `not` around it")),
        }
    }
    fn shape(&self) -> Shape {
        Shape::Flag
    }
    fn show(&self, (): &()) -> String {
        String::from("true")
    }
}

/// What is asked of a fact: a value, a list of values, or a map with one test.
#[derive(Clone, Copy, Debug)]
struct FactTest(FactName);

impl FactTest {
    const fn is_number(self) -> bool {
        matches!(self.0, FactName::InputTokens | FactName::OutputTokens | FactName::Deadline)
    }

    fn expected(self) -> &'static str {
        match self.0 {
            FactName::Streaming => "true, false, or {present: true}",
            _ if self.is_number() => "a whole number, or {min: …, max: …}, or {present: true}",
            _ => "text, a list of texts, or one of {is: …}, {in: […]}, {prefix: …}, {present: true}",
        }
    }

    /// One value to compare with, as the fact says it.
    fn word(self, value: &Value) -> Result<Test, Wrong> {
        match (self.0, value) {
            (FactName::Streaming, Value::Bool(yes)) => Ok(Test::Is(yes.to_string())),
            (FactName::Streaming, _) => Err(Wrong::new(codes::WRONG_TYPE, self.expected())),
            (_, Value::Number(_)) if self.is_number() => {
                let number = whole::<i64>(0, MOST).read(value)?;
                Ok(Test::Range { min: Some(number), max: Some(number) })
            }
            (_, Value::Text(_)) if !self.is_number() => Text(LONGEST).read(value).map(Test::Is),
            _ => Err(Wrong::new(codes::WRONG_TYPE, self.expected())),
        }
    }

    fn words(self, items: &[Node]) -> Result<Test, Wrong> {
        if self.is_number() || self.0 == FactName::Streaming {
            return Err(Wrong::new(codes::UNFIT_TEST, self.expected()));
        }
        if items.is_empty() || items.len() > MOST_WORDS {
            return Err(Wrong::new(codes::BAD_COUNT, format!("1 to {MOST_WORDS} texts")));
        }
        let word = |item: &Node| Text(LONGEST).read(&item.value).map_err(|w| at(w, item));
        items.iter().map(word).collect::<Result<_, _>>().map(Test::In)
    }

    fn tests(self, entries: &[crate::policy::tree::Entry]) -> Result<Test, Wrong> {
        let bound = |key: &str| -> Result<Option<i64>, Wrong> {
            let Some(entry) = entries.iter().find(|e| e.key == key) else { return Ok(None) };
            whole::<i64>(0, MOST).read(&entry.node.value).map(Some).map_err(|w| at(w, &entry.node))
        };
        let unfit = |entry: &crate::policy::tree::Entry, code| {
            Err(Wrong { code, expected: self.expected().into(), part: Some((entry.at, entry.key.clone())) })
        };
        for entry in entries {
            let fits = match entry.key.as_str() {
                "min" | "max" => self.is_number(),
                "is" | "in" | "prefix" => !self.is_number() && self.0 != FactName::Streaming,
                "present" => true,
                _ => return unfit(entry, codes::UNKNOWN_FIELD),
            };
            if !fits {
                return unfit(entry, codes::UNFIT_TEST);
            }
        }
        let (min, max) = (bound("min")?, bound("max")?);
        if matches!((min, max), (Some(min), Some(max)) if min > max) {
            return Err(Wrong::new(codes::CONTRADICTION, "a `max` that is not below `min`"));
        }
        match entries {
            _ if min.is_some() || max.is_some() => Ok(Test::Range { min, max }),
            [one] => self.one(one),
            [] => Err(Wrong::new(codes::EMPTY_PREDICATE, self.expected())),
            _ => Err(Wrong::new(codes::CONTRADICTION, "one test; several are several conditions in `all`")),
        }
    }

    fn one(self, entry: &crate::policy::tree::Entry) -> Result<Test, Wrong> {
        let value = &entry.node.value;
        let test = match (entry.key.as_str(), value) {
            ("present", _) => Present.read(value).map(|()| Test::Present),
            ("in", Value::List(items)) => self.words(items),
            ("prefix", _) => Text(LONGEST).read(value).map(Test::Prefix),
            ("is", _) => self.word(value),
            _ => Err(Wrong::new(codes::WRONG_TYPE, self.expected())),
        };
        test.map_err(|w| if w.part.is_some() { w } else { at(w, &entry.node) })
    }
}

/// The mistake is at this part.
fn at(wrong: Wrong, node: &Node) -> Wrong {
    Wrong { part: Some((node.at, node.value.to_string())), ..wrong }
}

impl Form for FactTest {
    type Out = Test;
    fn read(&self, value: &Value) -> Result<Test, Wrong> {
        match value {
            Value::Map(entries) => self.tests(entries),
            Value::List(items) => self.words(items),
            _ => self.word(value),
        }
    }
    fn shape(&self) -> Shape {
        let text = || Shape::Text { pattern: "", most: LONGEST };
        let number = || whole::<i64>(0, MOST).shape();
        let field = |name, doc, shape| crate::policy::source::Field {
            name,
            doc,
            need: crate::policy::source::Need::Optional,
            shape,
        };
        let present = field("present", "It is there, whatever it says.", Shape::Flag);
        if self.0 == FactName::Streaming {
            return Shape::Either(vec![Shape::Flag, Shape::Section(vec![present])]);
        }
        if self.is_number() {
            let bounds = vec![field("min", "At least.", number()), field("max", "At most.", number()), present];
            return Shape::Either(vec![number(), Shape::Section(bounds)]);
        }
        let many = || Shape::List(Box::new(text()), one_to(MOST_WORDS));
        let tests = vec![
            field("is", "Exactly this.", text()),
            field("in", "One of these.", many()),
            field("prefix", "Begins with this.", text()),
            present,
        ];
        Shape::Either(vec![text(), many(), Shape::Section(tests)])
    }
    fn show(&self, _: &Test) -> String {
        String::new()
    }
}
