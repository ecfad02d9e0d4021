//! The schema of the policy for editors, as JSON Schema: what may stand where, and what must.

use super::{
    canonical,
    source::{Field, Need, Shape},
};

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
