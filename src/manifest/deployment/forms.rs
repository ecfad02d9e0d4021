//! What single fields of a deployment file may hold.

use crate::policy::{
    codes,
    source::{Form, Shape, Wrong},
    tree::{Node, Value as Tree},
};
use serde_json::{Number, Value};

/// `host:port`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address;

impl Form for Address {
    type Out = (String, u16);
    fn read(&self, value: &Tree) -> Result<Self::Out, Wrong> {
        let wrong = || Wrong::new(codes::BAD_TEXT, "`host:port`, an IPv6 address in brackets");
        let Tree::Text(text) = value else { return Err(wrong()) };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fits = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let host = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if !host.is_empty() && host.len() <= 253 && fits(host) => host.to_owned(),
            None => return Err(wrong()),
        };
        Ok((host, port.parse().map_err(|_| wrong())?))
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^.+:[0-9]+$", most: 260 }
    }
    fn show(&self, (host, port): &Self::Out) -> String {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// `host:port` of a virtual host, which may be any (`*`) or all below one (`*.example.com`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosted;

impl Form for Hosted {
    type Out = (String, u16);
    fn read(&self, value: &Tree) -> Result<Self::Out, Wrong> {
        let wrong = || {
            Wrong::new(
                codes::BAD_TEXT,
                "`host:port` of one virtual host, the host also `*` or `*.domain`; for all hosts at all ports leave it out",
            )
        };
        let Tree::Text(text) = value else { return Address.read(value).map_err(|_| wrong()) };
        if let Some(below) = text.strip_prefix("*.") {
            let (host, port) = Address.read(&Tree::Text(below.to_owned())).map_err(|_| wrong())?;
            return Ok((format!("*.{host}"), port));
        }
        let Some(port) = text.strip_prefix("*:") else { return Address.read(value).map_err(|_| wrong()) };
        Ok((String::from("*"), port.parse().map_err(|_| wrong())?))
    }
    fn shape(&self) -> Shape {
        Address.shape()
    }
    fn show(&self, out: &Self::Out) -> String {
        Address.show(out)
    }
}

/// A release: `1.40`, in quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release;

impl Form for Release {
    type Out = (u32, u32);
    fn read(&self, value: &Tree) -> Result<Self::Out, Wrong> {
        let wrong = || Wrong::new(codes::BAD_TEXT, "a release such as '1.39', in quotes");
        let Tree::Text(text) = value else { return Err(wrong()) };
        let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
        Ok((major.parse().map_err(|_| wrong())?, minor.parse().map_err(|_| wrong())?))
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[0-9]+\\.[0-9]+$", most: 16 }
    }
    fn show(&self, (major, minor): &Self::Out) -> String {
        format!("{major}.{minor}")
    }
}

/// The beginning of a path; it goes into a script, so nothing in it may end a text there.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathPrefix;

impl Form for PathPrefix {
    type Out = String;
    fn read(&self, value: &Tree) -> Result<String, Wrong> {
        match value {
            Tree::Text(text)
                if text.starts_with('/')
                    && !text.ends_with('/')
                    && text.len() <= 256
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b)) =>
            {
                Ok(text.clone())
            }
            _ => Err(Wrong::new(
                codes::BAD_TEXT,
                "a path such as `/openai/v1`: letters, digits, `-._~` and slashes, none at the end",
            )),
        }
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^/[A-Za-z0-9/._~-]*[A-Za-z0-9._~-]$", most: 256 }
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

/// A digest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sha256;

impl Form for Sha256 {
    type Out = String;
    fn read(&self, value: &Tree) -> Result<String, Wrong> {
        match value {
            Tree::Text(text) if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
                Ok(text.clone())
            }
            _ => Err(Wrong::new(codes::BAD_TEXT, "64 hexadecimal digits, small letters")),
        }
    }
    fn shape(&self) -> Shape {
        Shape::Text { pattern: "^[0-9a-f]{64}$", most: 64 }
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

/// Whatever it is: the plugin reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anything;

impl Form for Anything {
    type Out = ();
    fn read(&self, _: &Tree) -> Result<(), Wrong> {
        Ok(())
    }
    fn shape(&self) -> Shape {
        Shape::Section(Vec::new())
    }
    fn show(&self, (): &()) -> String {
        String::new()
    }
}

/// A located value without its places.
pub(super) fn plain(value: &Tree) -> Value {
    match value {
        Tree::Null => Value::Null,
        Tree::Bool(yes) => Value::Bool(*yes),
        Tree::Number(number) => number_of(*number),
        Tree::Text(text) => Value::String(text.clone()),
        Tree::List(items) => Value::Array(items.iter().map(|item: &Node| plain(&item.value)).collect()),
        Tree::Map(entries) => Value::Object(entries.iter().map(|e| (e.key.clone(), plain(&e.node.value))).collect()),
    }
}

fn number_of(number: f64) -> Value {
    // Trees hold no whole number that a double would not hold exactly.
    #[expect(clippy::cast_possible_truncation, reason = "compared before it is used")]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared before it is used")]
    let same = whole as f64 == number;
    if same { Value::from(whole) } else { Number::from_f64(number).map_or(Value::Null, Value::Number) }
}
