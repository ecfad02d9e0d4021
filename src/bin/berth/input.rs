//! Where policies come from: a file of their own, or the manifest in which a traffic engineer really edits them
//! (EnvoyFilter, WasmPlugin, TrafficExtension, Envoy bootstrap). A plugin configuration is known by its shape, a map
//! with `role` and `policy`, written out or as text inside a text; places are those of the file that was given.

use berth::manifest::deployment::roles;
use berth::policy::{
    self, Checked, InvalidPolicy, codes, json,
    path::{self, Path, Step},
    reading,
    tree::{Node, Position, Value},
    yaml,
};

/// One policy that a file holds.
#[derive(Debug)]
pub(crate) struct Found {
    /// The role of the plugin that it was given to; none if the file is the policy.
    pub(crate) role: Option<String>,
    /// The field of the plugin's configuration that holds it, `policy` or `candidate`.
    pub(crate) field: &'static str,
    /// As it was written.
    pub(crate) node: Node,
    /// What is wrong beside it, with the other fields of the plugin.
    pub(crate) around: Vec<InvalidPolicy>,
    /// What became of it.
    pub(crate) result: Result<Checked, Vec<InvalidPolicy>>,
}

/// All policies that a file holds.
///
/// # Errors
/// If the file itself cannot be read as YAML or JSON, or holds none.
pub(crate) fn policies(name: &str, text: &str) -> Result<Vec<Found>, Vec<InvalidPolicy>> {
    let (documents, warnings) = if name.ends_with(".json") {
        (vec![json::parse(text.as_bytes()).map_err(|e| vec![e])?], Vec::new())
    } else {
        yaml::parse_all(text)?
    };
    let mut found = Vec::new();
    match documents.as_slice() {
        [only] if only.get("berth").is_some() || !holds_plugin(only) => {
            found.push(read(only, "", None, POLICY, &warnings));
        }
        // Each of them would be a policy; which of them holds, nobody could say.
        [_, second, ..] if documents.iter().all(|d| d.get("berth").is_some()) => {
            let expected = String::from("one policy in a file");
            return Err(vec![InvalidPolicy::new(codes::YAML_FEATURE, "", second.at, String::new(), expected)]);
        }
        many => many.iter().for_each(|document| search(document, text, ("", 0), &warnings, &mut found)),
    }
    if found.is_empty() {
        let start = Position { line: 1, column: 1 };
        let expected = String::from("a policy, or a plugin configuration with `role` and `policy`");
        return Err(vec![InvalidPolicy::new(codes::NO_POLICY, "", start, String::new(), expected)]);
    }
    Ok(found)
}

/// Whether a document looks like a manifest rather than like a policy that has lost its first line.
fn holds_plugin(document: &Node) -> bool {
    ["kind", "static_resources", "resources", "apiVersion", "role"].iter().any(|key| document.get(key).is_some())
}

fn read(node: &Node, base: &str, role: Option<String>, field: &'static str, warnings: &[InvalidPolicy]) -> Found {
    let mut last = node.at;
    path::walk(node, &mut Vec::new(), &mut |_, inner| last = last.max(inner.at));
    let within = |w: &&InvalidPolicy| w.at.is_some_and(|at| (node.at..=last).contains(&at));
    let mut result = policy::read_node(node, base);
    match &mut result {
        Ok(checked) => drop(checked.warnings.splice(0..0, warnings.iter().filter(within).cloned())),
        Err(errors) => {
            errors.extend(warnings.iter().filter(within).cloned());
            errors.sort_by_key(|e| e.at);
        }
    }
    Found { role, field, node: node.clone(), around: Vec::new(), result }
}

/// A configuration can be a text in an Envoy's bootstrap, which is a text in a ConfigMap; nobody goes deeper.
const DEEPEST: usize = 3;

/// Every plugin configuration below a node, which stands so far down and below so many texts.
fn search(
    document: &Node,
    text: &str,
    (base, deep): (&str, usize),
    warnings: &[InvalidPolicy],
    found: &mut Vec<Found>,
) {
    path::walk(document, &mut Vec::new(), &mut |steps, node| {
        let path = Path { base, steps }.to_string();
        let role = node.get("role").and_then(Node::text).map(String::from);
        let before = found.len();
        for (field, policy) in plugin(node) {
            let path = Path { base: &path, steps: &[Step::Field(field)] }.to_string();
            found.push(read(policy, &path, role.clone(), field, warnings));
        }
        if let Some(first) = found.get_mut(before) {
            first.around = reading::read(node, &path, roles::plugin).1;
        }
        let Value::Text(inner) = &node.value else { return };
        if !(inner.contains("policy") && inner.contains("role")) || deep >= DEEPEST {
            return;
        }
        let Ok(mut embedded) = yaml::parse(inner) else { return };
        let place = Place::of(text, inner, node.at);
        place.mend(&mut embedded.node);
        embedded.warnings.iter_mut().for_each(|w| w.at = w.at.map(|at| place.outer(at)));
        search(&embedded.node, text, (&path, deep + 1), &embedded.warnings, found);
    });
}

/// The field of the policy that holds, and of one that is tried.
pub(crate) const POLICY: &str = "policy";
/// See [`POLICY`].
pub(crate) const CANDIDATE: &str = "candidate";

/// The policies of a plugin configuration: the current one and a candidate.
fn plugin(node: &Node) -> impl Iterator<Item = (&'static str, &Node)> {
    let fields = if node.get("role").is_some() { &[POLICY, CANDIDATE][..] } else { &[] };
    let held = fields.iter().filter_map(|field| Some((*field, node.get(field)?)));
    held.filter(|(_, policy)| matches!(policy.value, Value::Map(_)))
}

/// How places inside a text that is a value become places of the file.
#[derive(Clone, Copy)]
enum Place {
    /// A block: so many lines further down, so many columns to the right.
    Block(u32, u32),
    /// Anything else: only where it begins is known.
    At(Position),
}

impl Place {
    fn of(text: &str, inner: &str, at: Position) -> Self {
        let line = |n: u32| text.lines().nth(usize::try_from(n).unwrap_or(0)).unwrap_or_default();
        let indicator = line(at.line - 1).trim_end();
        let indent = |line: &str| line.chars().take_while(|c| *c == ' ').count();
        let opens = |c| indicator.rsplit(' ').next().is_some_and(|last| last.starts_with(c));
        let first = inner.lines().next().unwrap_or_default();
        // `at` is the indicator's place, or the first line's, as the parser pleases.
        for start in [at.line, at.line.saturating_sub(1)] {
            if line(start).trim_start() == first.trim_start()
                && !first.is_empty()
                && (opens('|') || opens('>') || start < at.line)
            {
                let shift = indent(line(start)).saturating_sub(indent(first));
                return Self::Block(start, u32::try_from(shift).unwrap_or(0));
            }
        }
        Self::At(at)
    }

    fn outer(self, at: Position) -> Position {
        match self {
            Self::Block(lines, columns) => Position { line: at.line + lines, column: at.column + columns },
            Self::At(at) => at,
        }
    }

    fn mend(self, node: &mut Node) {
        node.at = self.outer(node.at);
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.mend(item)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.at = self.outer(entry.at);
                self.mend(&mut entry.node);
            }),
            _ => {}
        }
    }
}
