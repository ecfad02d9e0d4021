//! Reading a replay record back: first what stands in it, then, with the policy, what it means.

use super::mean::Asked;
use super::{Identity, LETTERS, MOST_BYTES};
use crate::model::{Fact, FactName, Facts, Features, Local, Predicate};
use crate::policy::Policy;
use core::fmt;

/// Why a text is no replay record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It does not begin as one does.
    Foreign,
    /// It was written by another version.
    Version(String),
    /// Its end is missing: the line was cut off.
    Cut,
    /// A member that this version does not know, or whose value is none.
    Member(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("no replay record: expected it to begin with `r1;`"),
            Self::Version(found) => write!(f, "replay record of version `{found}`, expected `r1`"),
            Self::Cut => f.write_str("the replay record was cut off: expected it to end with `;.`"),
            Self::Member(found) => write!(f, "replay record: `{found}` is no member"),
        }
    }
}

/// How a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    /// The beginning of a longer one.
    Begun,
    /// Its digest, or a session's number.
    Hashed(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) value: String,
    pub(super) trusted: bool,
    pub(super) form: Form,
}

/// A replay record as it was read. What its words mean, the policy knows: [`Replay::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The first digits of the policy's digest.
    pub policy: String,
    /// The time.
    pub now_ms: u64,
    /// The seed.
    pub seed: u64,
    /// The snapshot, if there was one.
    pub snapshot: Option<Identity>,
    /// What the VM had placed and spent since, by the positions of that policy.
    pub local: Local,
    words: [Option<Word>; FactName::ALL.len()],
    headers: Vec<(String, Word)>,
    features: Features,
    content_bytes: Option<u64>,
    idempotent: bool,
    contradicted: bool,
    attempts_left: Option<u8>,
    missing: String,
}

/// The facts of a record under a policy.
#[derive(Clone, Debug)]
pub struct Resolved {
    replay: Replay,
}

impl Replay {
    /// Reads a record.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let (version, rest) = text.split_once(';').ok_or(Unreadable::Foreign)?;
        if version != "r1" {
            let other =
                version.strip_prefix('r').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            return Err(if other { Unreadable::Version(version.into()) } else { Unreadable::Foreign });
        }
        if text.len() > MOST_BYTES {
            return Err(Unreadable::Member(format!("{} bytes", text.len())));
        }
        let rest = rest.strip_suffix(";.").ok_or(Unreadable::Cut)?;
        let mut replay = Self {
            policy: String::new(),
            now_ms: 0,
            seed: 0,
            snapshot: None,
            local: Local::default(),
            words: Default::default(),
            headers: Vec::new(),
            features: Features::default(),
            content_bytes: None,
            idempotent: false,
            contradicted: false,
            attempts_left: None,
            missing: String::new(),
        };
        for member in rest.split(';') {
            replay.member(member).ok_or_else(|| Unreadable::Member(member.into()))?;
        }
        Ok(replay)
    }

    fn member(&mut self, member: &str) -> Option<()> {
        let mut letters = member.chars();
        let letter = letters.next()?;
        let value = letters.as_str();
        match letter {
            'k' => self.policy = value.into(),
            't' => self.now_ms = value.parse().ok()?,
            's' => self.seed = u64::from_str_radix(value, 16).ok()?,
            'w' => self.snapshot = Some(identity(value)?),
            'f' => self.features = Features(value.parse().ok()?),
            'b' => self.content_bytes = Some(value.parse().ok()?),
            'i' => self.idempotent = true,
            'c' => self.contradicted = true,
            'n' => self.attempts_left = Some(value.parse().ok()?),
            'l' => self.local.slot = value.parse().ok()?,
            'q' => counts(value, &mut self.local.probes)?,
            'm' => counts(value, &mut self.local.spent_uusd)?,
            'u' => counts(value, &mut self.local.tenant_placed)?,
            'p' => counts(value, &mut self.local.placed)?,
            'h' => {
                let (name, value) = value.split_once(':')?;
                self.headers.push((name.into(), word(value)?));
            }
            '!' => self.missing = value.into(),
            _ => {
                let at = LETTERS.iter().position(|l| *l == letter)?;
                *self.words.get_mut(at)? = Some(word(value)?);
            }
        }
        Some(())
    }

    /// What the words mean under a policy: the one that decided, or another.
    ///
    /// # Errors
    /// What is missing to know.
    pub fn resolve(&self, policy: &Policy) -> Result<Resolved, Vec<String>> {
        let mut replay = self.clone();
        let mut missing: Vec<String> = self.missing.chars().map(left_out).collect();
        for (name, word) in FactName::ALL.into_iter().zip(&mut replay.words) {
            let Some(word) = word else { continue };
            word.mean(
                name.as_str(),
                &Asked::of(policy, &|p| matches!(p, Predicate::Fact(n, _) if *n == name)),
                name,
                policy,
            )
            .unwrap_or_else(|why| missing.push(why));
        }
        for (name, word) in &mut replay.headers {
            let asked = Asked::of(policy, &|p| matches!(p, Predicate::Header(n, _) if n == name));
            word.begun(name, &asked, &[]).unwrap_or_else(|why| missing.push(why));
        }
        if missing.is_empty() { Ok(Resolved { replay }) } else { Err(missing) }
    }
}

impl Resolved {
    /// The headers, which [`Resolved::facts`] borrows.
    #[must_use]
    pub fn headers(&self) -> Vec<(&str, Fact<&str>)> {
        let fact = |word: &'_ Word| word.trusted;
        self.replay
            .headers
            .iter()
            .map(|(name, w)| (name.as_str(), Fact { value: w.value.as_str(), trusted: fact(w) }))
            .collect()
    }

    /// The facts.
    #[must_use]
    pub fn facts<'a>(&'a self, headers: &'a [(&'a str, Fact<&'a str>)]) -> Facts<'a> {
        let word = |name: FactName| self.replay.words.get(name as usize).and_then(Option::as_ref);
        let text = |name| word(name).map(|w| Fact { value: w.value.as_str(), trusted: w.trusted });
        let number = |name| text(name).and_then(|f| Some(Fact { value: f.value.parse().ok()?, trusted: f.trusted }));
        Facts {
            tenant: text(FactName::Tenant),
            class: text(FactName::Class),
            model: text(FactName::Model),
            input_tokens: number(FactName::InputTokens),
            output_tokens: number(FactName::OutputTokens),
            features: self.replay.features,
            data: text(FactName::Data),
            residency: text(FactName::Residency),
            session: text(FactName::Session),
            deadline_ms: number(FactName::Deadline),
            region: text(FactName::Region),
            zone: text(FactName::Zone),
            approval: text(FactName::Approval),
            streaming: text(FactName::Streaming).map(|f| Fact { value: f.value == "true", trusted: f.trusted }),
            method: text(FactName::Method),
            path: text(FactName::Path),
            content_bytes: self.replay.content_bytes,
            headers,
            idempotent: self.replay.idempotent,
            contradicted: self.replay.contradicted,
            attempts_left: self.replay.attempts_left,
        }
    }
}

fn left_out(letter: char) -> String {
    let fact = LETTERS.iter().position(|l| *l == letter).and_then(|at| FactName::ALL.get(at));
    let what = match (letter, fact) {
        (_, Some(fact)) => fact.as_str(),
        ('h', _) => "headers",
        ('p', _) => "what was placed since the snapshot",
        ('q', _) => "what was probed since the snapshot",
        _ => "local values",
    };
    format!("{what}: left out, the record was full")
}

fn identity(value: &str) -> Option<Identity> {
    let mut parts = value.split('.');
    let (writer, epoch, checksum) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Identity {
        writer: u64::from_str_radix(writer, 16).ok()?,
        epoch: epoch.parse().ok()?,
        checksum: u32::from_str_radix(checksum, 16).ok()?,
    })
}

/// A list that is as long as its last position asks for; no policy has more than a position's 16 bits.
fn counts<T: Clone + Default + TryFrom<i64>>(value: &str, into: &mut Vec<T>) -> Option<()> {
    for pair in value.split(',') {
        let (at, count) = pair.split_once(':')?;
        let at = usize::from(at.parse::<u16>().ok()?);
        if into.len() <= at {
            into.resize(at + 1, T::default());
        }
        *into.get_mut(at)? = T::try_from(count.parse().ok()?).ok()?;
    }
    Some(())
}

fn word(value: &str) -> Option<Word> {
    let trusted = match value.chars().next()? {
        '+' => true,
        '-' => false,
        _ => return None,
    };
    let value = value.get(1..)?;
    if let Some(digits) = value.strip_prefix('#') {
        let hash = u64::from_str_radix(digits, 16).ok()?;
        return Some(Word { value: String::new(), trusted, form: Form::Hashed(hash) });
    }
    let (value, form) = value.strip_suffix('*').map_or((value, Form::Whole), |begin| (begin, Form::Begun));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let byte = if byte == b'%' { u8::try_from(digit(rest.next())? << 4 | digit(rest.next())?).ok()? } else { byte };
        bytes.push(byte);
    }
    Some(Word { value: String::from_utf8(bytes).ok()?, trusted, form })
}
