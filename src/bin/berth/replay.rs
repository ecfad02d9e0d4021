//! `berth replay`: every logged decision made again from its replay record, and whether the same comes out. What was
//! logged as the answer is compared at the end; it is no input.

use crate::lines::{self, Again, Logged};
use berth::{
    explain::line::Line,
    model::Snapshot,
    place::{place, record::record, replay::Identity},
    policy::Policy,
};
use serde_json::json;
use std::{collections::BTreeMap, process::ExitCode};

/// Which log, under which policies, with which snapshots.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The policies that decided, or manifests that embed them; each record names its own by digest.
    #[arg(required = true)]
    policies: Vec<String>,
    /// The access log; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    log: String,
    /// A folder of snapshots, as bytes or as JSON; their files' names do not matter.
    #[arg(long, value_name = "DIR")]
    snapshots: Option<String>,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The most differing lines that text shows; JSON has them all.
const SHOWN: usize = 20;

#[derive(Debug, Default)]
struct Report {
    same: usize,
    different: Vec<(usize, Vec<String>)>,
    /// By what is missing: how many lines, and the first of them.
    undecided: BTreeMap<String, (usize, usize)>,
    foreign: usize,
}

/// Replays a log: 0 if all of it came out the same, 1 if not.
pub(crate) fn run(args: &Args) -> ExitCode {
    match replay(args) {
        Ok(report) => {
            crate::say(&match args.format {
                Format::Text => text(&report),
                Format::Json => format!("{:#}\n", as_json(&report)),
            });
            let well = report.same > 0 && report.different.is_empty() && report.undecided.is_empty();
            ExitCode::from(u8::from(!well))
        }
        Err(why) => crate::misused(&why),
    }
}

fn replay(args: &Args) -> Result<Report, String> {
    let mut policies = Vec::new();
    for file in &args.policies {
        policies.extend(lines::policies(file)?);
    }
    let snapshots = args.snapshots.as_deref().map(lines::snapshots).transpose()?.unwrap_or_default();
    let mut report = Report::default();
    lines::each(&args.log, |logged| judge(&logged, &policies, &snapshots, &mut report))?;
    Ok(report)
}

fn judge(logged: &Logged, policies: &[Policy], snapshots: &BTreeMap<Identity, Snapshot>, report: &mut Report) {
    let undecided = match (&logged.decision, &logged.replay) {
        (None, None) => {
            report.foreign += 1;
            return;
        }
        (Some(_), None) => Err(String::from("the line has no replay record: `replay: true` writes one")),
        (None, Some(_)) => Err(String::from("the line has no decision to compare with")),
        (Some(decision), Some(replay)) => {
            Line::parse(decision).and_then(|line| Ok((line, Again::of(replay, policies, snapshots)?)))
        }
    };
    match undecided {
        Ok((line, again)) => {
            let now = decide(&again);
            match Line::parse(&now).map(|now| line.differences(&now)) {
                Ok(differences) if differences.is_empty() => report.same += 1,
                Ok(differences) => report.different.push((logged.number, differences)),
                Err(why) => report.different.push((logged.number, vec![why])),
            }
        }
        Err(why) => report.undecided.entry(why).or_insert((0, logged.number)).0 += 1,
    }
}

/// The record of the decision that comes out now.
fn decide(again: &Again) -> String {
    let headers = again.resolved.headers();
    let facts = again.resolved.facts(&headers);
    let decision = place(again.policy, again.snapshot, &again.local, &facts, again.now_ms, again.seed);
    record(again.policy, &decision)
}

fn text(report: &Report) -> String {
    let undecided: usize = report.undecided.values().map(|(count, _)| count).sum();
    let mut out = format!("{} the same, {} different, {undecided} not decidable", report.same, report.different.len());
    if report.foreign > 0 {
        out += &format!("; {} lines without a decision", report.foreign);
    }
    out.push('\n');
    for (number, differences) in report.different.iter().take(SHOWN) {
        out += &format!("line {number} differs: {}\n", differences.join("; "));
    }
    if report.different.len() > SHOWN {
        out += &format!("… and {} more lines that differ; `--format json` has all\n", report.different.len() - SHOWN);
    }
    for (why, (count, first)) in &report.undecided {
        out += &format!("{count} not decidable, the first is line {first}: {why}\n");
    }
    out
}

fn as_json(report: &Report) -> serde_json::Value {
    let different: Vec<_> =
        report.different.iter().map(|(line, what)| json!({"line": line, "differences": what})).collect();
    let undecided: Vec<_> = report
        .undecided
        .iter()
        .map(|(why, (count, first))| json!({"missing": why, "lines": count, "first_line": first}))
        .collect();
    json!({"same": report.same, "different": different, "not_decidable": undecided, "without_decision": report.foreign})
}
