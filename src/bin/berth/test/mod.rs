//! `berth test`: the cases that stand beside a policy, placed by the same core as requests, and what no case reaches.

mod coverage;
mod show;
mod verdict;

use crate::input;
use berth::{
    place::inspect,
    policy::{Checked, InvalidPolicy, Policy, cases},
};
use coverage::Coverage;
use std::{fs, process::ExitCode};
use verdict::Difference;

/// Which policies, and how to say what came out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Policies, or manifests that embed them; the cases of `NAME.yaml` stand in `NAME.cases.yaml`.
    #[arg(required = true)]
    files: Vec<String>,
    /// The cases, where they stand elsewhere; only with one file.
    #[arg(long, value_name = "FILE")]
    cases: Option<String>,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The exit code is 1 where a class, an envelope, a substrate or a line of an envelope is reached by no case.
    #[arg(long)]
    fail_on_uncovered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A file as it was read.
struct Text {
    name: String,
    text: String,
}

/// A file that is refused, and why.
struct Refused<'a> {
    file: &'a Text,
    problems: Vec<InvalidPolicy>,
}

/// What became of one policy's cases.
struct Report {
    policy: Policy,
    cases: Vec<Outcome>,
    coverage: Coverage,
}

/// What became of one case.
struct Outcome {
    case: cases::Case,
    /// Where it went, or why it was refused.
    got: String,
    record: String,
    differences: Vec<Difference>,
}

/// Runs the cases of all files.
pub(crate) fn run(args: &Args) -> ExitCode {
    let pairs = pairs(&args.files, args.cases.as_deref());
    if args.cases.is_some() && pairs.len() != 1 {
        return crate::misused("--cases goes with one policy");
    }
    let mut well = true;
    let mut all = Vec::new();
    for (policy, cases) in pairs {
        let (policy, cases) = match (read(&policy), read(&cases)) {
            (Ok(policy), Ok(cases)) => (policy, cases),
            (Err(e), _) | (_, Err(e)) => return crate::misused(&e),
        };
        let result = test(&policy, &cases);
        well &= result.as_ref().is_ok_and(|reports| reports.iter().all(|r| r.is_well(args.fail_on_uncovered)));
        match args.format {
            Format::Text => show::print(&cases.name, &result),
            Format::Json => all.push(show::as_json(&policy.name, &cases.name, &result)),
        }
    }
    if args.format == Format::Json {
        crate::say(&format!("{}\n", serde_json::Value::from(all)));
    }
    ExitCode::from(u8::from(!well))
}

fn read(name: &str) -> Result<Text, String> {
    let text = fs::read_to_string(name).map_err(|e| format!("{name}: {e}"))?;
    Ok(Text { name: name.to_owned(), text })
}

/// Each policy with its cases, once, whichever of the two was named.
fn pairs(files: &[String], cases: Option<&str>) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for file in files {
        let ends = [".cases.yaml", ".yaml", ".yml", ".json"];
        let stem = ends.into_iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
        let policy = if file.ends_with(".cases.yaml") { format!("{stem}.yaml") } else { file.clone() };
        let pair = (policy, cases.map_or_else(|| format!("{stem}.cases.yaml"), ToOwned::to_owned));
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs
}

/// Every policy of a file against the cases, or the first file that is refused.
fn test<'a>(policy: &'a Text, cases: &'a Text) -> Result<Vec<Report>, Refused<'a>> {
    let refused = |problems| Refused { file: policy, problems };
    let found = input::policies(&policy.name, &policy.text).map_err(refused)?;
    let mut reports = Vec::new();
    for one in found {
        let checked = one.result.map_err(refused)?;
        let cases =
            cases::read(&cases.text, &checked.document).map_err(|problems| Refused { file: cases, problems })?;
        reports.push(report(checked, cases));
    }
    Ok(reports)
}

fn report(checked: Checked, cases: Vec<cases::Case>) -> Report {
    let policy = Policy::new(checked.document, checked.digest.0);
    let mut coverage = Coverage::new(policy.document());
    let mut outcomes = Vec::with_capacity(cases.len());
    for case in cases {
        let headers = case.headers();
        let facts = case.facts(&headers);
        let seen = inspect(&policy, case.snapshot.as_ref(), &case.local, &facts, case.now_ms, case.seed);
        coverage.add(policy.document(), &seen);
        let differences = verdict::compare(&policy, &seen, &case.expect);
        let got = verdict::summary(&policy, &seen.decision);
        let record = berth::place::record::record(&policy, &seen.decision);
        outcomes.push(Outcome { got, record, differences, case });
    }
    Report { policy, cases: outcomes, coverage }
}

impl Report {
    fn is_well(&self, covered: bool) -> bool {
        self.cases.iter().all(|c| c.differences.is_empty()) && (!covered || self.coverage.missing().is_empty())
    }
}
