//! What came out of the cases, for people and for machines.

use super::{Outcome, Refused, Report};
use crate::check;
use serde_json::{Value, json};
use std::fmt::Write;

/// One line a case; what differs below it, then what no case reaches.
pub(super) fn print(cases: &str, result: &Result<Vec<Report>, Refused<'_>>) {
    match result {
        Err(refused) => {
            for problem in &refused.problems {
                crate::say(&check::excerpt(&refused.file.name, &refused.file.text, problem));
            }
            crate::say(&format!("{}: refused: {} errors\n", refused.file.name, refused.problems.len()));
        }
        Ok(reports) => reports.iter().for_each(|report| crate::say(&text(cases, report))),
    }
}

fn text(cases: &str, report: &Report) -> String {
    let mut out = format!("{} by {cases}\n", report.policy.label());
    let width = report.cases.iter().map(|c| c.case.name.chars().count()).max().unwrap_or(0);
    for outcome in &report.cases {
        let word = if outcome.differences.is_empty() { "ok  " } else { "FAIL" };
        let _ = writeln!(out, "  {word} {:width$}  {}", outcome.case.name, outcome.got);
        if !outcome.differences.is_empty() {
            differences(&mut out, cases, outcome);
        }
    }
    let failed = report.cases.iter().filter(|c| !c.differences.is_empty()).count();
    let counts = report.coverage.counts().map(|(kind, reached, all)| format!("{kind} {reached}/{all}")).join(", ");
    let _ = writeln!(out, "  {} cases, {failed} failed; reached: {counts}", report.cases.len());
    for missing in report.coverage.missing() {
        let _ = writeln!(out, "  no case reaches {missing}");
    }
    out
}

fn differences(out: &mut String, cases: &str, outcome: &Outcome) {
    let _ = writeln!(out, "       --> {cases}:{}", outcome.case.at);
    for d in &outcome.differences {
        let _ = writeln!(out, "       {}\n         expected {}\n         got      {}", d.what, d.expected, d.got);
    }
    let _ = writeln!(out, "       decision: {}", outcome.record);
}

/// The same for machines.
pub(super) fn as_json(policy: &str, cases: &str, result: &Result<Vec<Report>, Refused<'_>>) -> Value {
    let (reports, problems) = match result {
        Ok(reports) => (reports.iter().map(report).collect(), Vec::new()),
        Err(refused) => (Vec::new(), refused.problems.iter().map(|p| problem(&refused.file.name, p)).collect()),
    };
    json!({"file": policy, "cases_file": cases, "policies": Value::Array(reports), "problems": problems})
}

fn problem(file: &str, problem: &berth::policy::InvalidPolicy) -> Value {
    let mut value = check::problem(problem);
    if let Some(map) = value.as_object_mut() {
        map.insert("file".into(), file.into());
    }
    value
}

fn report(report: &Report) -> Value {
    let coverage: Vec<Value> = report
        .coverage
        .counts()
        .map(|(kind, reached, all)| json!({"kind": kind, "reached": reached, "of": all}))
        .into();
    json!({
        "policy": report.policy.label(), "cases": report.cases.iter().map(outcome).collect::<Vec<_>>(),
        "coverage": coverage, "uncovered": report.coverage.missing(),
    })
}

fn outcome(outcome: &Outcome) -> Value {
    let difference = |d: &super::Difference| json!({"what": d.what, "expected": d.expected, "got": d.got});
    json!({
        "name": outcome.case.name, "line": outcome.case.at.line, "column": outcome.case.at.column,
        "passed": outcome.differences.is_empty(), "got": outcome.got, "decision": outcome.record,
        "differences": outcome.differences.iter().map(difference).collect::<Vec<_>>(),
    })
}
