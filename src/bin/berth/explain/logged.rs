//! One line of a log: in sentences by itself, and with its policy and its replay record as the table of candidates.

use super::{Args, Format};
use crate::lines::{self, Again, Logged};
use berth::{
    explain::{Explanation, line::Line},
    place::record::record,
};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn explained(args: &Args, line: &str, policy: Option<&str>) -> Result<ExitCode, String> {
    let logged = Logged::parse(1, line);
    let text = logged.decision.as_deref().ok_or("the line has no decision record: one begins with `v=1, id=\"`")?;
    let decision = Line::parse(text)?;
    let open = policy.map(|file| open(args, &logged, file)).transpose()?;
    match args.format {
        Format::Text => {
            let mut out = around(&logged, decision.get("refused").is_some()) + &decision.sentences();
            match &open {
                Some(Ok((text, _, again))) => out += &format!("\n{text}\n{}", compared(&decision, again)),
                Some(Err(why)) => out += &format!("\nThe candidates cannot be laid open: {why}.\n"),
                None => {
                    out += "\nWith the policy beside it, and a replay record in it, the candidates are laid open.\n"
                }
            }
            crate::say(&out);
        }
        Format::Json => {
            let (explanation, why) = match open {
                Some(Ok((_, explanation, again))) => (explanation, json!({"differs": decision.differences(&again)})),
                Some(Err(why)) => (Value::Null, json!({"missing": why})),
                None => (Value::Null, Value::Null),
            };
            let says: Vec<String> = decision.sentences().lines().map(String::from).collect();
            crate::say(&format!(
                "{:#}\n",
                json!({"decision": text, "says": says, "replayed": why, "explanation": explanation})
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the line says besides: the answer, and where the last attempt went.
fn around(logged: &Logged, refused: bool) -> String {
    let mut out = String::from("The request");
    for (name, says) in [
        ("path", "to"),
        ("time", "at"),
        ("status", "was answered with"),
        ("cluster", "by cluster"),
        ("attempts", "on attempt"),
        ("fell", "behind"),
        ("duration_ms", "after"),
        ("flags", "with flags"),
    ] {
        // What was refused reached nobody: the cluster is the one that the route falls back to.
        if refused && matches!(name, "cluster" | "attempts" | "fell") {
            continue;
        }
        let unit = if name == "duration_ms" { " ms" } else { "" };
        out += &logged.field(name).map_or_else(String::new, |value| format!(" {says} {value}{unit}"));
    }
    if out.len() > "The request".len() { out + ".\n" } else { String::new() }
}

type Open = (String, Value, Line);

fn open(args: &Args, logged: &Logged, file: &str) -> Result<Result<Open, String>, String> {
    let policies = lines::policies(file)?;
    let snapshots = args.snapshots.as_deref().map(lines::snapshots).transpose()?.unwrap_or_default();
    let Some(replay) = logged.replay.as_deref() else {
        return Ok(Err(String::from("the line has no replay record (`replay: true` writes one)")));
    };
    let again = match Again::of(replay, &policies, &snapshots) {
        Ok(again) => again,
        Err(why) => return Ok(Err(why)),
    };
    let headers = again.resolved.headers();
    let facts = again.resolved.facts(&headers);
    let explanation = Explanation::new(again.policy, again.snapshot, &again.local, &facts, again.now_ms, again.seed);
    let now = Line::parse(&record(again.policy, &explanation.inspection.decision))?;
    Ok(Ok((explanation.text(), explanation.json(), now)))
}

fn compared(logged: &Line, now: &Line) -> String {
    let differences = logged.differences(now);
    if differences.is_empty() {
        String::from("Decided again from its replay record: the same.\n")
    } else {
        format!("Decided again from its replay record it DIFFERS: {}.\n", differences.join("; "))
    }
}
