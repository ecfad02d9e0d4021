//! The same walks over nothing: names, types, defaults and explanations of every field, for `berth schema`, editors
//! and the reference.

use super::{
    canonical,
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

/// The field by which a section takes what it lacks from another of its kind.
const TEMPLATE: &str = "like";

/// What a section must have, as JSON Schema says it.
fn required(fields: &[Field]) -> String {
    let names: Vec<String> =
        fields.iter().filter(|f| f.need == Need::Required).map(|f| format!("\"{}\"", f.name)).collect();
    format!(r#""required":[{}]"#, names.join(","))
}

impl Shape {
    /// Only what must be there, without what it may hold: JSON Schema, where anything must.
    fn skeleton(&self) -> Option<String> {
        match self {
            Self::Section(fields) => {
                let inner = fields.iter().filter_map(|f| Some(format!(r#""{}":{}"#, f.name, f.shape.skeleton()?)));
                let inner: Vec<String> = inner.collect();
                let asks = !inner.is_empty() || fields.iter().any(|f| f.need == Need::Required);
                asks.then(|| format!(r#"{{{},"properties":{{{}}}}}"#, required(fields), inner.join(",")))
            }
            Self::List(inner, _) => inner.skeleton().map(|inner| format!(r#"{{"items":{inner}}}"#)),
            Self::Map(_, inner) => inner.skeleton().map(|inner| format!(r#"{{"additionalProperties":{inner}}}"#)),
            _ => None,
        }
    }

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

    /// JSON Schema (2020-12) of it, as JSON.
    #[must_use]
    pub fn schema(&self) -> String {
        self.schema_with(&mut Vec::new(), false)
    }

    /// `inherits`: what is missing may come from a template.
    fn schema_with(&self, defined: &mut Vec<&'static str>, inherits: bool) -> String {
        let quote = |text: &str| {
            let mut out = String::new();
            canonical::write_text(&mut out, text);
            out
        };
        match self {
            Self::Flag => r#"{"type":"boolean"}"#.into(),
            Self::Text { pattern: "", most } => format!(r#"{{"type":"string","minLength":1,"maxLength":{most}}}"#),
            Self::Text { pattern, most } => {
                format!(r#"{{"type":"string","pattern":{},"maxLength":{most}}}"#, quote(pattern))
            }
            Self::Word(words) => {
                format!(r#"{{"enum":[{}]}}"#, words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(","))
            }
            Self::Number { least, most, whole, .. } => {
                let kind = if *whole { "integer" } else { "number" };
                format!(r#"{{"type":"{kind}","minimum":{least},"maximum":{most}}}"#)
            }
            Self::List(inner, count) => {
                let (least, most) = (count.least, count.most);
                format!(
                    r#"{{"type":"array","minItems":{least},"maxItems":{most},"items":{}}}"#,
                    inner.schema_with(defined, inherits)
                )
            }
            Self::Map(key, inner) => {
                format!(
                    r#"{{"type":"object","propertyNames":{},"additionalProperties":{}}}"#,
                    key.schema_with(defined, inherits),
                    inner.schema_with(&mut Vec::new(), inherits)
                )
            }
            Self::Named(name, _) if defined.contains(name) => Self::Same(name).schema_with(defined, inherits),
            Self::Same(name) => format!(r##"{{"$ref":"#{name}"}}"##),
            Self::Named(name, inner) => {
                defined.push(name);
                let inner = inner.schema_with(defined, inherits);
                format!(r#"{{"$anchor":"{name}",{}"#, inner.strip_prefix('{').unwrap_or(&inner))
            }
            Self::Either(shapes) => {
                format!(
                    r#"{{"anyOf":[{}]}}"#,
                    shapes.iter().map(|s| s.schema_with(defined, inherits)).collect::<Vec<_>>().join(",")
                )
            }
            Self::Section(fields) => {
                let like = fields.iter().any(|f| f.name == TEMPLATE);
                let mut property = |f: &Field| {
                    let schema = f.shape.schema_with(defined, inherits || like);
                    let rest = schema.strip_prefix('{').unwrap_or(&schema);
                    format!(r#"{}:{{"description":{},{rest}"#, quote(f.name), quote(f.doc))
                };
                let properties = fields.iter().map(&mut property).collect::<Vec<_>>().join(",");
                let needs = match (inherits, like) {
                    (true, _) => String::new(),
                    (false, false) => format!("{},", required(fields)),
                    // Whoever is like another lacks nothing that the other has.
                    (false, true) => format!(
                        r#""required":["name"],"anyOf":[{{"required":["{TEMPLATE}"]}},{}],"#,
                        self.skeleton().unwrap_or_default()
                    ),
                };
                format!(r#"{{"type":"object","additionalProperties":false,{needs}"properties":{{{properties}}}}}"#)
            }
        }
    }
}
