//! A walk over a tree: collects every value, and every mistake with its path and place, and goes on.

mod walk;

use super::{
    codes::{self, Code},
    error::{InvalidPolicy, hint},
    order,
    path::{Path, Step},
    source::{Count, Form, Wrong},
    tree::{Entry, Node, Position, Value, shorten},
};

/// How many mistakes are reported at most.
pub const MOST_REPORTED: usize = 1000;

/// A walk over a tree.
#[derive(Debug)]
pub struct Reading<'n> {
    base: &'n str,
    steps: Vec<Step<'n>>,
    frames: Vec<Frame<'n>>,
    found: Vec<InvalidPolicy>,
}

/// The section that is being read.
#[derive(Debug)]
struct Frame<'n> {
    entries: &'n [Entry],
    at: Position,
    known: Vec<&'static str>,
}

/// What to do about a section that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// It had to be.
    Missing,
    /// It reads as if empty.
    Empty,
    /// Nothing.
    Skipped,
}

/// Reads a document by a walk; `base` is what stands before its paths.
pub fn read<'n, T>(
    node: &'n Node,
    base: &'n str,
    walk: impl FnOnce(&mut Reading<'n>) -> Option<T>,
) -> (Option<T>, Vec<InvalidPolicy>) {
    let mut reading = Reading { base, steps: Vec::new(), frames: Vec::new(), found: Vec::new() };
    let value = reading.enter(node, walk);
    (value, reading.found)
}

impl<'n> Reading<'n> {
    /// Notes a mistake at the current path.
    #[inline(never)]
    pub fn note(&mut self, code: Code, at: Position, found: String, expected: String) {
        if self.found.len() == MOST_REPORTED {
            let expected = format!("at most {MOST_REPORTED} mistakes");
            self.found.push(InvalidPolicy::new(
                codes::TOO_MANY,
                self.base,
                Position::default(),
                String::new(),
                expected,
            ));
        }
        if self.found.len() < MOST_REPORTED {
            let path = Path { base: self.base, steps: &self.steps };
            self.found.push(InvalidPolicy::new(code, path, at, found, expected));
        }
    }

    /// The entry of a field of the current section.
    #[inline(never)]
    fn entry(&mut self, name: &'static str) -> Option<&'n Entry> {
        let frame = self.frames.last_mut()?;
        frame.known.push(name);
        frame.entries.iter().find(|e| e.key == name)
    }

    #[inline(never)]
    fn missing(&mut self, name: &'static str, expected: &str) {
        let at = self.frames.last().map(|f| f.at).unwrap_or_default();
        self.steps.push(Step::Field(name));
        self.note(codes::MISSING_FIELD, at, String::new(), String::from(expected));
        self.steps.pop();
    }

    fn within<T>(&mut self, step: Step<'n>, then: impl FnOnce(&mut Self) -> T) -> T {
        self.down(step);
        let value = then(self);
        self.steps.pop();
        value
    }

    #[inline(never)]
    fn down(&mut self, step: Step<'n>) {
        self.steps.push(step);
    }

    #[inline(never)]
    fn scalar<F: Form>(&mut self, form: &F, node: &Node) -> Option<F::Out> {
        match form.read(&node.value) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse(wrong, node);
                None
            }
        }
    }

    #[inline(never)]
    fn refuse(&mut self, wrong: Wrong, node: &Node) {
        let (at, found) = wrong.part.unwrap_or_else(|| (node.at, node.value.to_string()));
        self.note(wrong.code, at, found, wrong.expected);
    }

    fn key<K: Form>(&mut self, form: &K, entry: &Entry) -> Option<K::Out> {
        let value = Value::Text(entry.key.clone());
        match form.read(&value) {
            Ok(key) => Some(key),
            Err(wrong) => {
                let (at, found) = wrong.part.unwrap_or_else(|| (entry.at, shorten(&entry.key)));
                self.note(wrong.code, at, found, wrong.expected);
                None
            }
        }
    }

    #[inline(never)]
    fn field<F: Form>(&mut self, name: &'static str, form: &F) -> Option<F::Out> {
        let entry = self.entry(name)?;
        self.within(Step::Field(&entry.key), |r| r.scalar(form, &entry.node))
    }

    /// The items of a list field; mistakes in its shape are noted.
    #[inline(never)]
    fn items(&mut self, name: &'static str, count: Count) -> Option<&'n [Node]> {
        let Some(entry) = self.entry(name) else {
            if count.required {
                self.missing(name, &format!("a list of {} to {}", count.least, count.most));
            }
            return None;
        };
        let (node, found) = (&entry.node, entry.node.value.to_string());
        let expected = || format!("a list of {} to {}", count.least, count.most);
        self.within(Step::Field(&entry.key), |r| match &node.value {
            Value::List(items) if (count.least..=count.most).contains(&items.len()) => Some(items.as_slice()),
            Value::List(items) => {
                r.note(codes::BAD_COUNT, node.at, format!("{} items", items.len()), expected());
                None
            }
            _ => {
                r.note(codes::WRONG_TYPE, node.at, found, expected());
                None
            }
        })
    }

    /// The entries of a map field, by name: the order in which they were written means nothing and may be lost on
    /// the way. Mistakes in its shape are noted.
    #[inline(never)]
    fn entries(&mut self, name: &'static str) -> Vec<&'n Entry> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        match &entry.node.value {
            Value::Map(entries) => order::sorted(entries.iter().collect(), |a, b| a.key.cmp(&b.key)),
            other => {
                let found = other.to_string();
                self.within(Step::Field(&entry.key), |r| {
                    r.note(codes::WRONG_TYPE, entry.node.at, found, String::from("a map"));
                });
                Vec::new()
            }
        }
    }

    fn enter<T>(&mut self, node: &'n Node, walk: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if !self.begin(node) {
            return None;
        }
        let value = walk(self);
        self.end();
        value
    }

    /// A section begins, if it is one.
    #[inline(never)]
    fn begin(&mut self, node: &'n Node) -> bool {
        let Value::Map(entries) = &node.value else {
            self.note(codes::WRONG_TYPE, node.at, node.value.to_string(), String::from("a map"));
            return false;
        };
        self.frames.push(Frame { entries, at: node.at, known: Vec::new() });
        true
    }

    #[inline(never)]
    fn end(&mut self) {
        if let Some(frame) = self.frames.pop() {
            self.unknown(&frame);
        }
    }

    /// Steps into the section of a field: whether there is one to read.
    #[inline(never)]
    fn open(&mut self, name: &'static str, absent: Absent) -> bool {
        let Some(entry) = self.entry(name) else {
            match absent {
                Absent::Missing => self.missing(name, "a section"),
                Absent::Skipped => {}
                Absent::Empty => {
                    let at = self.frames.last().map(|f| f.at).unwrap_or_default();
                    self.steps.push(Step::Field(name));
                    self.frames.push(Frame { entries: &[], at, known: Vec::new() });
                }
            }
            return absent == Absent::Empty;
        };
        self.steps.push(Step::Field(&entry.key));
        let begun = self.begin(&entry.node);
        if !begun {
            self.steps.pop();
        }
        begun
    }

    /// Steps out of it.
    #[inline(never)]
    fn close(&mut self) {
        self.end();
        self.steps.pop();
    }

    /// Fields that no walk asked for.
    #[inline(never)]
    fn unknown(&mut self, frame: &Frame<'n>) {
        for entry in frame.entries.iter().filter(|e| !frame.known.contains(&e.key.as_str())) {
            if self.found.len() > MOST_REPORTED {
                return;
            }
            let mut known = order::sorted(frame.known.clone(), Ord::cmp);
            known.dedup();
            let hint = hint(&entry.key, known.iter().copied());
            let expected = format!("one of {}{hint}", known.join(", "));
            self.within(Step::Field(&entry.key), |r| {
                r.note(codes::UNKNOWN_FIELD, entry.at, shorten(&entry.key), expected);
            });
        }
    }
}
