//! `berth check`: every mistake of every file, with the line it stands on.

use crate::input::{self, Found};
use berth::{
    model::Document,
    policy::{
        Digest, InvalidPolicy, Severity, cases, codes,
        layered::layer,
        lint::{Reach, reach},
        path::{Path, Step},
        tree::{Node, Position},
        yaml,
    },
};
use serde_json::{Value, json};
use std::{fs, process::ExitCode, time::SystemTime};

/// What to check, and how to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Policies, or manifests that embed them.
    #[arg(required = true)]
    files: Vec<String>,
    /// A local override that must narrow the policy; only with one file.
    #[arg(long, value_name = "FILE")]
    narrowed_by: Option<String>,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// From which severity on the exit code is 1.
    #[arg(long, value_enum, default_value = "error")]
    fail_on: FailOn,
    /// Also say where the work of each class may run, and where no request of it may.
    #[arg(long)]
    jurisdictions: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    Error,
    Warning,
}

/// One file's report.
struct Report {
    file: String,
    text: String,
    /// `name@version#digest` of every policy that is well.
    well: Vec<String>,
    found: Vec<InvalidPolicy>,
    /// The policies that overrides could narrow.
    narrowable: Vec<Node>,
    reach: Vec<Reach>,
}

/// Checks all files.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut reports = Vec::new();
    for file in &args.files {
        match fs::read(file) {
            Ok(bytes) => reports.push(check(file, &bytes)),
            Err(e) => return crate::misused(&format!("{file}: {e}")),
        }
    }
    if let Some(file) = &args.narrowed_by {
        match (reports.as_slice(), fs::read_to_string(file)) {
            (_, Err(e)) => return crate::misused(&format!("{file}: {e}")),
            ([Report { narrowable, .. }], Ok(text)) if narrowable.len() == 1 => {
                let local = narrowable.iter().map(|global| narrowed(file, text.clone(), global)).collect::<Vec<_>>();
                reports.extend(local);
            }
            // What is wrong with the policy itself is said; nothing can be said of the override then.
            ([Report { well, .. }], Ok(_)) if well.is_empty() => {}
            _ => return crate::misused("--narrowed-by goes with one policy"),
        }
    }
    match args.format {
        Format::Text => reports.iter().for_each(|report| print(report, args.jurisdictions)),
        Format::Json => crate::say(&format!("{}\n", Value::from(reports.iter().map(as_json).collect::<Vec<_>>()))),
        Format::Sarif => crate::say(&format!("{}\n", sarif(&reports))),
    }
    let least = if args.fail_on == FailOn::Warning { Severity::Warning } else { Severity::Error };
    ExitCode::from(u8::from(reports.iter().flat_map(|r| &r.found).any(|p| p.severity >= least)))
}

fn check(file: &str, bytes: &[u8]) -> Report {
    let mut report = Report {
        file: file.into(),
        text: String::from_utf8_lossy(bytes).into(),
        well: Vec::new(),
        found: Vec::new(),
        narrowable: Vec::new(),
        reach: Vec::new(),
    };
    let Ok(text) = str::from_utf8(bytes) else {
        let start = Position { line: 1, column: 1 };
        report.found.push(InvalidPolicy::new(codes::NOT_TEXT, "", start, String::new(), String::from("UTF-8")));
        return report;
    };
    if let Some(stem) = file.strip_suffix(".cases.yaml") {
        (report.well, report.found) = of_cases(&format!("{stem}.yaml"), text);
        return report;
    }
    match input::policies(file, text) {
        Err(errors) => report.found = errors,
        Ok(policies) => {
            report.found.extend(copies(&policies));
            for policy in policies {
                report.found.extend(policy.around);
                match policy.result {
                    Err(errors) => report.found.extend(errors),
                    Ok(checked) => {
                        let identity = &checked.document.identity;
                        let digest = checked.digest.short();
                        report.well.push(format!("{}@{}#{digest}", identity.name, identity.version));
                        report.found.extend(checked.warnings);
                        report.found.extend(expired(&checked.document, &policy.node));
                        report.reach.extend(reach(&checked.document));
                        report.narrowable.push(policy.node);
                    }
                }
            }
        }
    }
    report
}

/// Approvals that have run out: the only thing about a policy that changes by itself.
fn expired(document: &Document, node: &Node) -> Vec<InvalidPolicy> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let out = document.settings.approvals.iter().enumerate().filter(|(_, a)| u128::from(a.until_ms) <= now);
    out.map(|(i, _)| {
        let steps = [Step::Field("approvals"), Step::Item(i), Step::Field("until")];
        let path = Path { base: "", steps: &steps };
        let (at, found) = (path.position(node), path.found(node));
        InvalidPolicy::new(codes::EXPIRED_APPROVAL, path, at, found, String::from("a time that is still to come"))
    })
    .collect()
}

/// The roles of one manifest have one policy between them.
fn copies(policies: &[Found]) -> Option<InvalidPolicy> {
    let mut current = policies.iter().filter(|p| p.field == input::POLICY && p.role.is_some());
    let first = current.next()?;
    let digest = Digest::of(&first.node);
    let other = current.find(|p| Digest::of(&p.node) != digest)?;
    let role = |p: &Found| p.role.clone().unwrap_or_default();
    let expected = format!("the policy that `{}` has, at {}", role(first), first.node.at);
    Some(InvalidPolicy::new(codes::COPIES_DIFFER, "policy", other.node.at, role(other), expected))
}

/// Checks cases against the policy that they stand beside.
fn of_cases(policy: &str, text: &str) -> (Vec<String>, Vec<InvalidPolicy>) {
    let beside = fs::read_to_string(policy).ok().and_then(|policy| berth::policy::read_yaml(&policy).ok());
    let Some(beside) = beside else {
        let expected = format!("a policy without mistakes in {policy}, which these cases are about");
        let start = Position { line: 1, column: 1 };
        return (Vec::new(), vec![InvalidPolicy::new(codes::NO_POLICY, "", start, String::new(), expected)]);
    };
    match cases::read(text, &beside.document) {
        Ok(cases) => (vec![format!("{} cases of {}", cases.len(), beside.document.identity.name)], Vec::new()),
        Err(errors) => (Vec::new(), errors),
    }
}

/// Checks a local override against the policy that it narrows.
fn narrowed(file: &str, text: String, global: &Node) -> Report {
    let parsed = yaml::parse(&text);
    let (well, found) = match parsed.and_then(|yaml| Ok((layer(global, &yaml.node)?.1, yaml.warnings))) {
        Ok((checked, mut warnings)) => {
            // What is suspicious about the narrowed policy stands on no line of the override.
            warnings.extend(checked.warnings.into_iter().map(|warning| InvalidPolicy { at: None, ..warning }));
            (vec![format!("narrows to {}", checked.document.identity.name)], warnings)
        }
        Err(errors) => (Vec::new(), errors),
    };
    Report { file: file.into(), text, well, found, narrowable: Vec::new(), reach: Vec::new() }
}

fn print(report: &Report, jurisdictions: bool) {
    for problem in &report.found {
        crate::say(&excerpt(&report.file, &report.text, problem));
    }
    let count = |severity| report.found.iter().filter(|p| p.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let well = if report.well.is_empty() { String::from("refused") } else { report.well.join(", ") };
    let of = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    crate::say(&format!("{}: {well}: {}, {}\n", report.file, of(errors, "error"), of(warnings, "warning")));
    if jurisdictions && !report.reach.is_empty() {
        let list = |names: &[String]| if names.is_empty() { String::from("-") } else { names.join(" ") };
        let row = |r: &Reach| vec![r.class.to_string(), list(&r.within), list(&r.nowhere)];
        let rows: Vec<_> = report.reach.iter().map(row).collect();
        crate::say(&crate::table::table(&["class", "may run in", "nothing in"], &rows));
    }
}

/// Text that a terminal shows and does not obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A problem with the line it stands on and a caret below it.
pub(crate) fn excerpt(file: &str, text: &str, problem: &InvalidPolicy) -> String {
    let severity = problem.severity.as_str();
    let path = if problem.path.is_empty() { "the document" } else { &problem.path };
    let head = format!("{severity}[{}] {}: {path}", problem.code, problem.slug);
    let found = if problem.found.is_empty() { String::new() } else { format!("found `{}`, ", problem.found) };
    let message = plain(&format!("{found}expected {}", problem.expected));
    let Some(at) = problem.at else { return format!("{head}\n  --> {}\n  {message}\n\n", file) };
    let line = text.lines().nth(usize::try_from(at.line).unwrap_or(1) - 1).unwrap_or_default();
    let before = usize::try_from(at.column).unwrap_or(1) - 1;
    // A line of a minified document would fill the screen: a window around the place is enough.
    let from = before.saturating_sub(80);
    let window = plain(&line.chars().skip(from).take(160).collect::<String>());
    let length = if line.chars().skip(before).collect::<String>().starts_with(&problem.found) {
        problem.found.chars().count()
    } else {
        1
    };
    let (number, carets) = (at.line.to_string(), "^".repeat(length.clamp(1, 60)));
    let (gutter, blank) = (" ".repeat(number.len()), " ".repeat(before - from));
    format!(
        "{head}\n{gutter}--> {}:{at}\n{gutter} |\n{number} | {window}\n{gutter} | {blank}{carets} {message}\n\n",
        file
    )
}

/// A problem for machines.
pub(crate) fn problem(p: &InvalidPolicy) -> Value {
    json!({
        "code": p.code, "slug": p.slug, "severity": p.severity.as_str(), "path": p.path,
        "line": p.at.map(|at| at.line), "column": p.at.map(|at| at.column),
        "found": p.found, "expected": p.expected,
    })
}

fn as_json(report: &Report) -> Value {
    json!({
        "file": report.file, "policies": report.well,
        "problems": report.found.iter().map(problem).collect::<Vec<_>>(),
        "reach": report.reach.iter().map(|r| json!({"class": r.class.as_str(), "within": r.within, "nowhere": r.nowhere}))
            .collect::<Vec<_>>(),
    })
}

/// A path as a relative reference: what has a meaning of its own in one is written by its bytes.
fn uri(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().fold(String::new(), |mut out, b| {
        if plain(b) {
            out.push(char::from(b))
        } else {
            out += &format!("%{b:02X}")
        }
        out
    })
}

/// SARIF 2.1.0, as code review tools read it.
fn sarif(reports: &[Report]) -> Value {
    let rules: Vec<Value> = codes::TABLE
        .iter()
        .map(|(code, meaning, fix)| {
            json!({"id": code.id, "name": code.slug, "shortDescription": {"text": meaning}, "help": {"text": fix}})
        })
        .collect();
    let result = |report: &Report, p: &InvalidPolicy| {
        let at = p.at.unwrap_or(Position { line: 1, column: 1 });
        json!({
            "ruleId": p.code, "level": p.severity.as_str(), "message": {"text": p.to_string()},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": uri(&report.file)},
                "region": {"startLine": at.line, "startColumn": at.column},
            }}],
        })
    };
    let results: Vec<Value> = reports.iter().flat_map(|r| r.found.iter().map(move |p| result(r, p))).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "berth", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}
