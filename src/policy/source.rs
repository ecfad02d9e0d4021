//! One walk over the schema, two uses. A section of the document is written down once, as a function over a
//! [`Source`]: [`super::reading::Reading`] runs it over a tree and collects values and mistakes,
//! `describe::Describing` runs it over nothing and collects names, types, defaults and explanations. So validation,
//! JSON Schema and reference cannot drift apart. The explanations are arguments that `Reading` never looks at and
//! its methods are inlined, so that they are not in the module.

use super::{
    codes::Code,
    tree::{Position, Value},
};

/// What a scalar field may hold, and what becomes of it.
pub trait Form {
    /// What becomes of it.
    type Out;
    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(&self, value: &Value) -> Result<Self::Out, Wrong>;
    /// How a schema says it.
    fn shape(&self) -> Shape;
    /// A value as the document would write it: for defaults.
    fn show(&self, value: &Self::Out) -> String;
}

/// What is wrong with a value.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// Its code.
    pub code: Code,
    /// What would have been right.
    pub expected: String,
    /// The part that is wrong, where it is not the whole value.
    pub part: Option<(Position, String)>,
}

impl Wrong {
    /// The whole value is wrong.
    #[must_use]
    pub fn new(code: Code, expected: impl Into<String>) -> Self {
        Self { code, expected: expected.into(), part: None }
    }
}

/// How a schema says what a field may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Yes or no.
    Flag,
    /// Text by a pattern, at most so long.
    Text {
        /// A regular expression, or empty.
        pattern: &'static str,
        /// Characters, at most.
        most: usize,
    },
    /// One of these words.
    Word(Vec<&'static str>),
    /// A number within bounds, in decimals.
    Number {
        /// The least.
        least: String,
        /// The most.
        most: String,
        /// Without decimals.
        whole: bool,
        /// Counted in this.
        unit: &'static str,
    },
    /// So many of these.
    List(Box<Shape>, Count),
    /// Names to these.
    Map(Box<Shape>, Box<Shape>),
    /// Fields.
    Section(Vec<Field>),
    /// The section of that name again.
    Same(&'static str),
    /// A section that refers to itself by a name.
    Named(&'static str, Box<Shape>),
    /// One of these.
    Either(Vec<Shape>),
}

/// One field, described.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether it must be there, and what holds if it is not.
    pub need: Need,
    /// What it may hold.
    pub shape: Shape,
}

/// Whether a field must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// It need not; its explanation says what holds without it.
    Optional,
    /// It need not; then this holds.
    Default(String),
}

/// How many items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// At least, where the field is there.
    pub least: usize,
    /// At most.
    pub most: usize,
    /// The field must be there.
    pub required: bool,
}

/// Any number up to a bound.
#[must_use]
pub const fn up_to(most: usize) -> Count {
    Count { least: 0, most, required: false }
}

/// One at least, where the field is there.
#[must_use]
pub const fn one_to(most: usize) -> Count {
    Count { least: 1, most, required: false }
}

/// One at least, and the field must be there.
#[must_use]
pub const fn must_to(most: usize) -> Count {
    Count { least: 1, most, required: true }
}

/// What a walk over one section can ask. `None` and empty lists stand for what is absent, wrong, or only described;
/// a walk reads all its fields before it gives up.
pub trait Source {
    /// A field that must be there.
    fn required<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F) -> Option<F::Out>;
    /// A field that need not be there.
    fn optional<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F) -> Option<F::Out>;
    /// A field with a default.
    fn or<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F, default: F::Out) -> F::Out;
    /// A list of scalars, none twice; `None` if it is absent.
    fn list<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F, count: Count) -> Option<Vec<F::Out>>;
    /// Names with a scalar each, by name.
    fn map<K: Form, F: Form>(&mut self, name: &'static str, doc: &'static str, form: (K, F)) -> Vec<(K::Out, F::Out)>;
    /// A section that must be there.
    fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T>;
    /// A section that need not be there: if it is not, it reads as if empty.
    fn section_or_empty<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T>;
    /// A section that need not be there.
    fn section_if<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T>;
    /// A list of sections.
    fn sections<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        count: Count,
        walk: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<T>;
    /// Names with a section each, by name.
    fn section_map<K: Form, T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        key: K,
        walk: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<(K::Out, T)>;
    /// Says that two fields of the section do not go together; shown at the field.
    fn wrong(&mut self, name: &'static str, code: Code, expected: &str);
    /// Whether the section has a field of that name.
    fn has(&self, name: &str) -> bool;
    /// Begins a section that may contain itself; `true` if it is being described already.
    fn again(&mut self, name: &'static str) -> bool;
}
