//! Access logs: what of a line is Berth's, whatever the format around it; and the snapshots and policies beside them.

use crate::input::CANDIDATE;
use berth::{
    explain::line::BEGINS,
    health::{MOST_BYTES, codec, json},
    model::{Local, Snapshot},
    place::replay::{Identity, Replay, Resolved},
    policy::{InvalidPolicy, Policy, tree::Node},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _},
};

/// The longest line that is read; what is longer is no line of an access log.
pub(crate) const MOST_LINE: u64 = 1 << 20;

/// One line of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logged {
    /// Which line.
    pub(crate) number: usize,
    /// The decision's record.
    pub(crate) decision: Option<String>,
    /// The replay record.
    pub(crate) replay: Option<String>,
    /// The fields, where the line is JSON.
    pub(crate) fields: Value,
}

impl Logged {
    /// Finds the records: in any field of a JSON line, anywhere in another one.
    pub(crate) fn parse(number: usize, line: &str) -> Self {
        let mut logged = Self { number, ..Self::default() };
        // Container runtimes put a time and a stream before a line of JSON, or the whole line into a field of theirs.
        let begins = line.find('{').and_then(|at| line.get(at..)).unwrap_or(line);
        match serde_json::from_str::<Value>(begins) {
            Ok(fields @ Value::Object(_)) => {
                let within = fields.get("log").or_else(|| fields.get("message")).and_then(Value::as_str);
                let within = within.and_then(|text| serde_json::from_str(text.trim()).ok()).filter(Value::is_object);
                logged.fields = within.unwrap_or(fields);
                let fields = std::mem::take(&mut logged.fields);
                logged.search(&fields, 0);
                logged.fields = fields;
            }
            _ => logged.scan(line),
        }
        logged
    }

    fn search(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) if text.starts_with(BEGINS) => self.decision = Some(text.clone()),
            Value::String(text) if is_replay(text) => self.replay = Some(text.clone()),
            Value::Object(map) if depth < 8 => map.values().for_each(|v| self.search(v, depth + 1)),
            Value::Array(list) if depth < 8 => list.iter().for_each(|v| self.search(v, depth + 1)),
            _ => {}
        }
    }

    /// The decision is the last thing on a line of text, because there is a blank in it.
    fn scan(&mut self, line: &str) {
        self.decision = line.find(BEGINS).and_then(|at| line.get(at..)).map(|text| String::from(text.trim_end()));
        self.replay = line
            .split([' ', '"', '\t'])
            .map(|word| word.strip_prefix("replay=").unwrap_or(word))
            .find(|word| is_replay(word))
            .map(String::from);
    }

    /// A field as text, by the names of the formats that Berth documents.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::String(text) if !text.is_empty() && text != "-" => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

fn is_replay(text: &str) -> bool {
    let version = text.split_once(';').and_then(|(version, _)| version.strip_prefix('r'));
    version.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// All lines of a log, one after the other; `-` is standard input.
pub(crate) fn each(file: &str, mut then: impl FnMut(Logged)) -> Result<(), String> {
    let input: Box<dyn io::Read> = if file == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(|e| format!("{file}: {e}"))?)
    };
    let mut reader = BufReader::new(input);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut reader).take(MOST_LINE).read_until(b'\n', &mut line).map_err(|e| format!("{file}: {e}"))?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            then(Logged::parse(number, text.trim_end()));
        }
    }
    Ok(())
}

/// The snapshots of a folder, by what they are: names of files do not matter.
pub(crate) fn snapshots(folder: &str) -> Result<BTreeMap<Identity, Snapshot>, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|e| format!("{folder}: {e}"))? {
        let path = entry.map_err(|e| format!("{folder}: {e}"))?.path();
        if !path.is_file() {
            continue;
        }
        let complain = |why: &dyn std::fmt::Display| eprintln!("berth: {}: left out: {why}", path.display());
        let bytes = match fs::read(&path) {
            // JSON takes more room than bytes.
            Ok(bytes) if bytes.len() <= 16 * MOST_BYTES => bytes,
            Ok(_) => {
                complain(&"too large for a snapshot");
                continue;
            }
            Err(e) => {
                complain(&e);
                continue;
            }
        };
        let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
        let read = if is_json { json::read(&bytes) } else { codec::decode(&bytes).map_err(|e| e.to_string()) };
        match read {
            Ok(snapshot) => {
                let checksum = codec::carried_checksum(&codec::encode(&snapshot));
                found.insert(Identity { writer: snapshot.writer, epoch: snapshot.epoch, checksum }, snapshot);
            }
            Err(why) => complain(&why),
        }
    }
    Ok(found)
}

/// One policy of a file, ready to decide.
pub(crate) struct Held {
    /// As it was written.
    pub(crate) node: Node,
    /// Compiled.
    pub(crate) policy: Policy,
    candidate: bool,
}

/// All policies that a file holds, the same ones once.
pub(crate) fn held(file: &str) -> Result<Vec<Held>, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let wrong = |errors: Vec<InvalidPolicy>| {
        let mut out = format!("{file}: not a valid policy\n");
        errors.iter().for_each(|e| out += &crate::check::excerpt(file, &text, e));
        String::from(out.trim_end())
    };
    let mut all: Vec<Held> = Vec::new();
    for found in crate::input::policies(file, &text).map_err(wrong)? {
        let checked = found.result.map_err(wrong)?;
        let policy = Policy::new(checked.document, checked.digest.0);
        let candidate = found.field == CANDIDATE;
        if !all.iter().any(|held| held.candidate == candidate && held.policy.label() == policy.label()) {
            all.push(Held { node: found.node, policy, candidate });
        }
    }
    Ok(all)
}

/// All policies that a file holds.
pub(crate) fn policies(file: &str) -> Result<Vec<Policy>, String> {
    Ok(held(file)?.into_iter().map(|held| held.policy).collect())
}

/// The policy that holds, of a file, and the candidate beside it, if there is one.
pub(crate) fn policy(file: &str) -> Result<(Held, Option<Held>), String> {
    let (mut candidates, mut current): (Vec<_>, Vec<_>) = held(file)?.into_iter().partition(|held| held.candidate);
    if let [one, other, ..] = current.as_slice() {
        let (one, other) = (one.policy.label(), other.policy.label());
        return Err(format!("{file}: holds several policies, {one} and {other}; expected the same one for both roles"));
    }
    let current = current.pop().ok_or_else(|| format!("{file}: no policy"))?;
    Ok((current, candidates.pop()))
}

/// Everything that is needed to decide again, or what is missing.
pub(crate) struct Again<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) snapshot: Option<&'a Snapshot>,
    pub(crate) local: Local,
    pub(crate) resolved: Resolved,
    pub(crate) now_ms: u64,
    pub(crate) seed: u64,
}

impl<'a> Again<'a> {
    pub(crate) fn of(
        record: &str,
        policies: &'a [Policy],
        snapshots: &'a BTreeMap<Identity, Snapshot>,
    ) -> Result<Self, String> {
        let replay = Replay::parse(record).map_err(|e| e.to_string())?;
        let policy = policies.iter().find(|p| p.short_digest() == replay.policy);
        let policy = policy.ok_or_else(|| format!("the policy with digest {} was not given", replay.policy))?;
        let snapshot = match replay.snapshot {
            None => None,
            Some(identity) => Some(snapshots.get(&identity).ok_or_else(|| missing(&identity))?),
        };
        let resolved = replay.resolve(policy).map_err(|missing| missing.join("; "))?;
        Ok(Self { policy, snapshot, resolved, now_ms: replay.now_ms, seed: replay.seed, local: replay.local })
    }
}

pub(crate) fn missing(identity: &Identity) -> String {
    let Identity { writer, epoch, checksum } = identity;
    format!("the snapshot of epoch {epoch} by {writer:x} with checksum {checksum:08x} is not among those given")
}

#[cfg(test)]
mod tests {
    use super::Logged;

    const DECISION: &str = "v=1, id=\"00000000000000ff\", class=chat";

    #[test]
    fn records_are_found_in_json_and_in_text() {
        let json = serde_json::json!({"status": 200, "berth": {"d": DECISION, "r": "r1;k1;."}}).to_string();
        let text = format!("2026-01-01 200 replay=r1;k1;. decision={DECISION}");
        let containers =
            [format!("2026-01-01T00:00:00Z stdout F {json}"), serde_json::json!({"log": json}).to_string()];
        for line in [json, text].into_iter().chain(containers) {
            let logged = Logged::parse(1, &line);
            assert_eq!(
                (logged.decision.as_deref(), logged.replay.as_deref()),
                (Some(DECISION), Some("r1;k1;.")),
                "{line}"
            );
        }
    }
}
