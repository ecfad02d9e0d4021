//! What no case reaches. A class is reached when a request is given to it, an envelope when it applies, a substrate
//! when it is in a plan. A line of `permit` or `forbid` is reached when it turns away, in a case, a substrate that
//! only governance and sovereignty keep from the work: then it can be seen to matter. A line that could turn away no
//! substrate of the policy is not asked for.

use berth::{
    model::{Code, Dimension, Document, Substrate, Terms},
    place::Inspection,
    policy::permits::{forbidden, permitted},
};

/// Something that a case can reach.
#[derive(Debug)]
struct Target {
    name: String,
    reached: bool,
}

/// One line of an envelope, alone.
#[derive(Debug)]
struct Line {
    envelope: usize,
    forbids: bool,
    terms: Terms,
    target: Target,
}

/// What was reached so far.
#[derive(Debug)]
pub(super) struct Coverage {
    classes: Vec<Target>,
    envelopes: Vec<Target>,
    substrates: Vec<Target>,
    lines: Vec<Line>,
}

/// How many of a kind were reached, of how many.
pub(super) type Count = (&'static str, usize, usize);

impl Coverage {
    pub(super) fn new(document: &Document) -> Self {
        let target = |kind: &str, name: &str| Target { name: format!("{kind}.{name}"), reached: false };
        Self {
            classes: document.classes.iter().map(|c| target("classes", c.name.as_str())).collect(),
            envelopes: document.envelopes.iter().map(|e| target("envelopes", e.name.as_str())).collect(),
            substrates: document.substrates.iter().map(|s| target("substrates", s.name.as_str())).collect(),
            lines: (0..document.envelopes.len()).flat_map(|e| lines(document, e)).collect(),
        }
    }

    /// One case more.
    pub(super) fn add(&mut self, document: &Document, seen: &Inspection) {
        let reach = |list: &mut [Target], at: usize| list.get_mut(at).into_iter().for_each(|t| t.reached = true);
        reach(&mut self.classes, usize::from(seen.decision.class));
        seen.envelopes.iter().for_each(|&e| reach(&mut self.envelopes, e));
        seen.decision.plan.iter().for_each(|a| reach(&mut self.substrates, usize::from(a.substrate)));
        let lawful = |code: Code| matches!(code.dimension(), Dimension::Governance | Dimension::Sovereignty);
        let able = seen.rows.iter().filter(|row| row.reasons.iter().all(|r| lawful(r.code)));
        let able: Vec<&Substrate> =
            able.filter_map(|row| document.substrates.get(usize::from(row.substrate))).collect();
        for line in self.lines.iter_mut().filter(|line| seen.envelopes.contains(&line.envelope)) {
            line.target.reached |= able.iter().any(|s| rejects(line, s));
        }
    }

    /// The names of what no case reached.
    pub(super) fn missing(&self) -> Vec<&str> {
        let lines = self.lines.iter().map(|line| &line.target);
        let all = self.classes.iter().chain(&self.envelopes).chain(&self.substrates).chain(lines);
        all.filter(|target| !target.reached).map(|target| target.name.as_str()).collect()
    }

    /// How many were reached, by kind.
    pub(super) fn counts(&self) -> [Count; 4] {
        let of = |kind, list: &[Target]| (kind, list.iter().filter(|t| t.reached).count(), list.len());
        let lines = self.lines.iter().filter(|line| line.target.reached).count();
        [
            of("classes", &self.classes),
            of("envelopes", &self.envelopes),
            of("substrates", &self.substrates),
            ("lines", lines, self.lines.len()),
        ]
    }
}

fn rejects(line: &Line, substrate: &Substrate) -> bool {
    if line.forbids { forbidden(&line.terms, substrate) } else { !permitted(&line.terms, substrate) }
}

/// The lines of an envelope that turn away at least one substrate.
fn lines(document: &Document, envelope: usize) -> Vec<Line> {
    let Some(written) = document.envelopes.get(envelope) else { return Vec::new() };
    let mut all = Vec::new();
    for (section, forbids, terms) in [("permit", false, &written.permit), ("forbid", true, &written.forbid)] {
        for (field, terms) in alone(terms) {
            let name = format!("envelopes.{}.{section}.{field}", written.name);
            all.push(Line { envelope, forbids, terms, target: Target { name, reached: false } });
        }
    }
    all.retain(|line| document.substrates.iter().any(|s| rejects(line, s)));
    all
}

/// Each line of a list of places by itself.
fn alone(terms: &Terms) -> Vec<(&'static str, Terms)> {
    let none = Terms::default;
    let parts = [
        ("jurisdictions", Terms { jurisdictions: terms.jurisdictions.clone(), ..none() }),
        ("subject_to", Terms { subject_to: terms.subject_to.clone(), ..none() }),
        ("kinds", Terms { kinds: terms.kinds.clone(), ..none() }),
        ("accounts", Terms { accounts: terms.accounts.clone(), ..none() }),
        ("regions", Terms { regions: terms.regions.clone(), ..none() }),
        ("regimes", Terms { regimes: terms.regimes.clone(), ..none() }),
        ("substrates", Terms { substrates: terms.substrates.clone(), ..none() }),
    ];
    parts.into_iter().filter(|(_, part)| *part != none()).collect()
}
