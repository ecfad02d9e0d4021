//! What an OpenAI-style JSON body says of the work, read from a bounded prefix of it. A scan, not a parser: it looks at
//! the top level only, steps over everything else, stops when it has what it wants, and a body that ends in the middle
//! or is no JSON at all has simply said what it has said so far. Never a word of the prompt is kept.

use crate::health::decimal::{self, Number};
use crate::model::{Fact, FactName, Feature};
use std::borrow::Cow;

use super::facts::Found;
use cursor::Cursor;

mod cursor;

/// How the body is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodySource {
    /// The most bytes that are looked at.
    pub prefix_bytes: usize,
    /// How long a client may take for them.
    pub hold_ms: u32,
    /// The key that names the data class, at the top level or under `metadata`.
    pub data_key: Option<String>,
}

/// What was found. Claims of the client, as untrusted as its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    model: Once<String>,
    /// The largest of what its keys say: servers differ about which of them holds.
    output_tokens: Option<u32>,
    stream: Once<bool>,
    tools: Once<bool>,
    schema: Once<bool>,
    data: Once<String>,
    /// The top level has ended: nothing more will be found.
    pub ended: bool,
    /// Where the last key of the top level that is whole has ended: from here it goes on when more has come.
    read: usize,
}

/// A key that is there once. One that is there twice with different values says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Once<T> {
    #[default]
    Absent,
    Said(T),
    Contradicted,
}

impl<T: PartialEq> Once<T> {
    fn say(&mut self, value: T) {
        match self {
            Self::Absent => *self = Self::Said(value),
            Self::Said(old) if *old == value => {}
            _ => *self = Self::Contradicted,
        }
    }

    /// The same of a text, which is only kept where it is the first.
    fn say_text(&mut self, value: Cow<'_, str>)
    where
        T: AsRef<str> + From<String>,
    {
        match self {
            Self::Absent => *self = Self::Said(T::from(value.into_owned())),
            Self::Said(old) if old.as_ref() == value => {}
            _ => *self = Self::Contradicted,
        }
    }

    const fn get(&self) -> Option<&T> {
        if let Self::Said(value) = self { Some(value) } else { None }
    }
}

impl Body {
    /// Reads a prefix; `data_key` as in [`BodySource`].
    #[must_use]
    pub fn read(prefix: &[u8], data_key: Option<&str>) -> Self {
        let mut body = Self::default();
        body.read_on(prefix, data_key);
        body
    }

    /// Goes on with a longer prefix of the same body. What is whole is not looked at again, so that a body which comes in
    /// many pieces costs little more than one that comes at once; what is not may say what it has said before.
    pub fn read_on(&mut self, prefix: &[u8], data_key: Option<&str>) {
        if !self.ended {
            // Where the bytes end, so does the scan.
            let _ = self.scan(prefix, data_key);
        }
    }

    fn scan(&mut self, prefix: &[u8], data_key: Option<&str>) -> Option<()> {
        // A mark of byte order is no part of JSON, and yet there are clients that send it and servers that overlook it.
        let begin = if prefix.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut at = Cursor { bytes: prefix, at: self.read.max(begin) };
        if self.read == 0 {
            at.take(b'{')?;
            if at.peek()? == b'}' {
                self.ended = true;
                return Some(());
            }
            at.member(&mut |key, at| self.member(key, at, data_key))?;
            self.read = at.at;
        }
        while at.peek()? != b'}' {
            at.take(b',')?;
            at.member(&mut |key, at| self.member(key, at, data_key))?;
            self.read = at.at;
        }
        self.ended = true;
        Some(())
    }

    /// Takes what a key of the top level says; anything else is stepped over.
    fn member(&mut self, key: &str, at: &mut Cursor<'_>, data_key: Option<&str>) -> Option<()> {
        match key {
            "model" => at.text(|text| self.model.say_text(text)),
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                at.plain(whole, |tokens| self.output_tokens = self.output_tokens.max(Some(tokens)))
            }
            "stream" => at.plain(|text| text.parse().ok(), |stream| self.stream.say(stream)),
            "tools" | "functions" => {
                if let Some(some) = at.holds_any() {
                    self.tools.say(some);
                }
                at.skip()
            }
            "response_format" => {
                let (object, from) = (at.opens(b'{')?, at.at);
                let whole = at.skip();
                let structured = object && at.holds(from, b"\"json_schema\"");
                // Of half of it nobody knows that it is not.
                if structured || whole.is_some() {
                    self.schema.say(structured);
                }
                whole
            }
            "metadata" if data_key.is_some() && at.opens(b'{')? => {
                at.members(&mut |key, at| self.datum(key, at, data_key))
            }
            _ => self.datum(key, at, data_key),
        }
    }

    fn datum(&mut self, key: &str, at: &mut Cursor<'_>, data_key: Option<&str>) -> Option<()> {
        if data_key == Some(key) { at.text(|text| self.data.say_text(text)) } else { at.skip() }
    }

    /// Adds this to what the headers say. A trusted header is believed more; a claim in a header less, because the body
    /// is the work itself.
    #[inline(never)]
    pub fn tell<'a>(&'a self, size: usize, found: &mut Found<'a>) {
        found.weighs(size);
        found.instead(FactName::Model, self.model.get().map(String::as_str));
        found.instead(FactName::Data, self.data.get().map(String::as_str));
        found.instead(FactName::Streaming, self.stream.get().map(|&on| if on { "true" } else { "false" }));
        found.output_tokens = self.output_tokens.map(Fact::claimed);
        if self.tools.get() == Some(&true) {
            found.need(Feature::Tools);
        }
        if self.schema.get() == Some(&true) {
            found.need(Feature::JsonSchema);
        }
    }
}

/// A whole number, also one that is written with a point or an exponent; the largest there is for one beyond it.
fn whole(text: &str) -> Option<u32> {
    match decimal::parse(text.as_bytes()) {
        Number::Micro(micro) if micro >= 0 && micro % 1_000_000 == 0 => {
            Some(u32::try_from(micro / 1_000_000).unwrap_or(u32::MAX))
        }
        Number::TooLarge => Some(u32::MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Once};

    const WHOLE: &str = r#"{"messages": [{"role": "user", "content": "say \"model\": {[ \\"}], "model": "meta\/llama-3.3-70b",
        "max_tokens": 256, "stream": true, "tools": [{"type": "function"}], "response_format": {"type": "json_schema"},
        "metadata": {"team": "a", "data_class": "personal"}}"#;

    #[test]
    fn what_a_chat_request_says_is_found_wherever_it_stands() {
        let body = Body::read(WHOLE.as_bytes(), Some("data_class"));
        assert_eq!(body.model.get().map(String::as_str), Some("meta/llama-3.3-70b"));
        assert_eq!((body.output_tokens, body.stream.get()), (Some(256), Some(&true)));
        assert_eq!((body.tools.get(), body.schema.get()), (Some(&true), Some(&true)));
        assert_eq!(body.data.get().map(String::as_str), Some("personal"));
        assert!(body.ended);
    }

    #[test]
    fn a_body_that_ends_anywhere_says_only_what_it_has_said() {
        let whole = Body::read(WHOLE.as_bytes(), Some("data_class"));
        for cut in 0..WHOLE.len() {
            let part = Body::read(&WHOLE.as_bytes()[..cut], Some("data_class"));
            assert!(!part.ended);
            assert!(part.model == Once::Absent || part.model == whole.model, "{cut}: {:?}", part.model);
            assert!(part.output_tokens.is_none() || part.output_tokens == whole.output_tokens, "{cut}");
        }
    }

    #[test]
    fn a_body_that_comes_in_pieces_says_what_it_says_at_once() {
        let odd = r#"{"tools": [ ], "response_format": {"a": 1}, "model": "\u0061\"b", "model": "a\"b", "x": [{"tools": [1]}]}"#;
        let behind = r#"{"response_format": {"type": "text"}, "x": "json_schema"}"#;
        assert_eq!(Body::read(behind.as_bytes(), None).schema, Once::Said(false));
        for text in [WHOLE, odd, behind, "{}", "\u{feff}{ \"stream\" : false , \"tools\":[1] }"] {
            let whole = Body::read(text.as_bytes(), Some("data_class"));
            for piece in [1, 2, 7, 50] {
                let mut body = Body::default();
                for end in (0..text.len()).step_by(piece).chain([text.len()]) {
                    body.read_on(&text.as_bytes()[..end], Some("data_class"));
                }
                assert_eq!(body, whole, "{text} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_key_that_is_there_twice_with_different_values_says_nothing() {
        let body = Body::read(br#"{"model": "a", "model": "b", "stream": true, "stream": true}"#, None);
        assert_eq!((body.model.get(), body.stream.get()), (None, Some(&true)));
    }

    #[test]
    fn of_several_limits_the_largest_counts_however_it_is_written() {
        for (text, tokens) in [
            (r#"{"max_tokens": 16, "max_completion_tokens": 100000}"#, Some(100_000)),
            (r#"{"max_tokens": 100000, "max_tokens": 16}"#, Some(100_000)),
            (r#"{"max_tokens": 256.0}"#, Some(256)),
            (r#"{"max_tokens": 1e3, "max_output_tokens": null}"#, Some(1_000)),
            (r#"{"max_tokens": 99999999999999999999}"#, Some(u32::MAX)),
            (r#"{"max_tokens": 0.5}"#, None),
            (r#"{"max_tokens": -1}"#, None),
        ] {
            assert_eq!(Body::read(text.as_bytes(), None).output_tokens, tokens, "{text}");
        }
    }

    #[test]
    fn a_mark_of_byte_order_hides_nothing() {
        let body = Body::read(b"\xef\xbb\xbf{\"model\": \"m\"}", None);
        assert_eq!((body.model.get().map(String::as_str), body.ended), (Some("m"), true));
    }

    #[test]
    fn of_a_long_text_no_more_is_kept_than_a_name_has() {
        for letter in ["x", "\u{20ac}"] {
            let text = format!(r#"{{"model": "{}", "stream": true}}"#, letter.repeat(60_000));
            let body = Body::read(text.as_bytes(), None);
            assert!(body.model.get().is_some_and(|model| (1_000..1_100).contains(&model.len())), "{letter}");
            assert_eq!(body.stream.get(), Some(&true));
        }
    }

    #[test]
    fn what_is_of_another_kind_is_stepped_over() {
        let body = Body::read(br#"{"model": {"x": 1}, "max_tokens": "9", "stream": 1, "tools": [], "n": null}"#, None);
        let said = Body { tools: Once::Said(false), ended: true, read: body.read, ..Body::default() };
        assert_eq!(body, said);
    }

    #[test]
    fn nonsense_and_depth_end_the_scan_and_never_panic() {
        for text in ["", "[]", "{", "{]", r#"{"a" 1}"#, r#"{"a": }"#, "\u{0}", "{\"a\":\"\\"] {
            assert!(!Body::read(text.as_bytes(), None).ended, "{text}");
        }
        let deep = format!("{{\"a\": {}{}, \"model\": \"m\"}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(Body::read(deep.as_bytes(), None).model.get().map(String::as_str), Some("m"));
    }
}
