//! The same walks over nothing: names, types, defaults and explanations of every field, for `berth schema`, editors
//! and the reference.

use super::{
    codes::Code,
    raw,
    source::{Count, Field, Form, Need, Shape, Source},
};

/// A walk that describes.
#[derive(Debug, Default)]
pub struct Describing {
    frames: Vec<Frame>,
}

/// The section that is being described.
#[derive(Debug, Default)]
struct Frame {
    fields: Vec<Field>,
    name: Option<&'static str>,
    again: Option<&'static str>,
}

/// The whole policy document.
#[must_use]
pub fn policy() -> Shape {
    describe(raw::document::document)
}

/// A section, by its walk.
pub fn describe<T>(walk: impl FnOnce(&mut Describing) -> Option<T>) -> Shape {
    Describing::default().section_of(walk)
}

impl Describing {
    fn section_of<T>(&mut self, walk: impl FnOnce(&mut Self) -> Option<T>) -> Shape {
        self.frames.push(Frame::default());
        walk(self);
        let frame = self.frames.pop().unwrap_or_default();
        match (frame.again, frame.name) {
            (Some(name), _) => Shape::Same(name),
            (None, Some(name)) => Shape::Named(name, Box::new(Shape::Section(frame.fields))),
            (None, None) => Shape::Section(frame.fields),
        }
    }

    fn put(&mut self, name: &'static str, doc: &'static str, need: Need, shape: Shape) {
        if let Some(frame) = self.frames.last_mut() {
            frame.fields.push(Field { name, doc, need, shape });
        }
    }
}

impl Source for Describing {
    fn required<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F) -> Option<F::Out> {
        self.put(name, doc, Need::Required, form.shape());
        None
    }

    fn optional<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F) -> Option<F::Out> {
        self.put(name, doc, Need::Optional, form.shape());
        None
    }

    fn or<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F, default: F::Out) -> F::Out {
        self.put(name, doc, Need::Default(form.show(&default)), form.shape());
        default
    }

    fn list<F: Form>(&mut self, name: &'static str, doc: &'static str, form: F, count: Count) -> Option<Vec<F::Out>> {
        let need = if count.required { Need::Required } else { Need::Optional };
        self.put(name, doc, need, Shape::List(Box::new(form.shape()), count));
        None
    }

    fn map<K: Form, F: Form>(&mut self, name: &'static str, doc: &'static str, form: (K, F)) -> Vec<(K::Out, F::Out)> {
        let shape = Shape::Map(Box::new(form.0.shape()), Box::new(form.1.shape()));
        self.put(name, doc, Need::Optional, shape);
        Vec::new()
    }

    fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let shape = self.section_of(walk);
        self.put(name, doc, Need::Required, shape);
        None
    }

    fn section_or_empty<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        // The value is wanted here: sections that always read have all their defaults.
        let mut value = None;
        let shape = self.section_of(|s| {
            value = walk(s);
            Some(())
        });
        self.put(name, doc, Need::Optional, shape);
        value
    }

    fn section_if<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        walk: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let shape = self.section_of(walk);
        self.put(name, doc, Need::Optional, shape);
        None
    }

    fn sections<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        count: Count,
        walk: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<T> {
        let need = if count.required { Need::Required } else { Need::Optional };
        let shape = self.section_of(walk);
        self.put(name, doc, need, Shape::List(Box::new(shape), count));
        Vec::new()
    }

    fn section_map<K: Form, T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        key: K,
        walk: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<(K::Out, T)> {
        let shape = self.section_of(walk);
        self.put(name, doc, Need::Optional, Shape::Map(Box::new(key.shape()), Box::new(shape)));
        Vec::new()
    }

    fn wrong(&mut self, _: &'static str, _: Code, _: &str) {}

    fn has(&self, _: &str) -> bool {
        true
    }

    fn again(&mut self, name: &'static str) -> bool {
        let again = self.frames.iter().any(|f| f.name == Some(name));
        if let Some(frame) = self.frames.last_mut() {
            if again {
                frame.again = Some(name);
            } else {
                frame.name = Some(name);
            }
        }
        again
    }
}

impl Shape {
    /// The fields of the section that this is, holds, or lists.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match self {
            Self::Section(fields) => fields,
            Self::Named(_, inner) | Self::List(inner, _) | Self::Map(_, inner) => inner.fields(),
            Self::Either(shapes) => shapes.iter().map(Self::fields).find(|f| !f.is_empty()).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The type in a few words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Text { pattern: "", most } => format!("text of up to {most} bytes"),
            Self::Text { pattern: "^[a-z][a-z0-9-]{0,62}$", .. } => "name".into(),
            Self::Text { pattern, .. } => format!("text like `{pattern}`"),
            Self::Number { least, most, .. } if least == most => least.clone(),
            Self::Word(words) => words.join(", "),
            Self::Number { least, most, whole, unit } => {
                let kind = if *whole { "whole number" } else { "number" };
                let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
                format!("{kind} from {least} to {most}{unit}")
            }
            Self::List(inner, count) if count.least > 0 => {
                format!("list of {} to {}: {}", count.least, count.most, inner.words())
            }
            Self::List(inner, count) => format!("list of up to {}: {}", count.most, inner.words()),
            Self::Map(_, inner) => format!("map of names to: {}", inner.words()),
            Self::Section(_) => "section".into(),
            Self::Same(name) | Self::Named(name, _) => format!("a {name}"),
            Self::Either(shapes) => {
                let words = |shape: &Self| match shape {
                    Self::Section(fields) => {
                        format!("one of {{{}}}", fields.iter().map(|f| f.name).collect::<Vec<_>>().join(", "))
                    }
                    other => other.words(),
                };
                shapes.iter().map(words).collect::<Vec<_>>().join("; or ")
            }
        }
    }
}
