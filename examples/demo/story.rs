//! A short story of requests, and the table of what was decided and why.

use crate::support::client::Seen;
use crate::support::eventually;
use crate::world::World;

type Headers = &'static [(&'static str, &'static str)];

const PERSONAL: Headers =
    &[("x-tenant", "acme"), ("x-data-class", "personal"), ("x-workload", "chat"), ("x-model", "llama-3.3-70b")];
/// The same as a stream: only its first byte has a deadline, so that several attempts fit into it.
const STREAMED: Headers = &[
    ("x-tenant", "acme"),
    ("x-data-class", "personal"),
    ("x-workload", "chat"),
    ("x-model", "llama-3.3-70b"),
    ("accept", "text/event-stream"),
];
const AMERICAN: Headers = &[("x-tenant", "initech"), ("x-workload", "chat"), ("x-model", "llama-3.3-70b")];
const LONG: Headers = &[
    ("x-tenant", "initech"),
    ("x-workload", "long-context"),
    ("x-model", "llama-3.3-70b"),
    ("x-prompt-tokens", "600000"),
];
const BATCH: Headers = &[("x-tenant", "initech"), ("x-workload", "batch"), ("x-model", "llama-3.3-70b")];
const STRANGER: Headers = &[("x-tenant", "stranger"), ("x-workload", "chat")];

/// One line of the table.
#[derive(Debug)]
struct Line {
    scene: &'static str,
    seen: Seen,
}

/// Tells the story: the table, and one decision as the access log has it.
pub async fn tell(world: &World) -> (String, String) {
    let mut lines = Vec::new();
    let mut say = |scene, seen| lines.push(Line { scene, seen });
    say("acme, personal data, all is well", world.ask(PERSONAL).await);

    // Nobody knows yet that it is full: the attempt finds out, and the next one of the plan answers.
    world.change("metal-fr", |b| b.full = true);
    say("… streamed, and metal-fr answers 429", world.ask(STREAMED).await);

    world.change("metal-fr", |b| b.queue_depth = 500);
    let moved = until(world, PERSONAL, |d| d.contains("substrate=onprem-de")).await;
    say("… metal-fr reports a queue of 500", moved);

    world.change("onprem-de", |b| b.queue_depth = 500);
    let refused = until(world, PERSONAL, |d| d.contains("refused=")).await;
    say("… and so does onprem-de", refused);

    world.change("metal-fr", |_| {});
    world.change("onprem-de", |_| {});
    let home = until(world, PERSONAL, |d| d.contains("substrate=metal-fr")).await;
    say("… both recover", home);

    say("initech, a US tenant", world.ask(AMERICAN).await);
    say("initech, a prompt of 600,000 tokens", world.ask(LONG).await);
    say("initech, a batch job", world.ask(BATCH).await);
    say("a tenant that no envelope knows", world.ask(STRANGER).await);
    let third = lines.get(2).and_then(|l| l.seen.header("x-placement-decision")).unwrap_or_default();
    (table(&lines), third.to_owned())
}

/// Asks until the decision is as wanted, and gives the answer that was.
async fn until(world: &World, headers: Headers, wanted: impl Fn(&str) -> bool) -> Seen {
    let wanted = &wanted;
    eventually("the new picture is decided from", || async move {
        let seen = world.ask(headers).await;
        seen.header("x-placement-decision").is_some_and(wanted).then_some(seen)
    })
    .await
}

fn table(lines: &[Line]) -> String {
    let head = ["request", "status", "ran on", "because of", "it would have been", "crossed"].map(String::from);
    let mut rows = vec![head];
    for line in lines {
        let decision = line.seen.header("x-placement-decision").unwrap_or_default();
        let get = |key| field(decision, key).unwrap_or("–").to_string();
        let because = match (field(decision, "reason"), field(decision, "binding")) {
            (Some(reason), _) => reason.to_string(),
            (None, Some("none")) => "nothing better".to_string(),
            (None, binding) => {
                let by = parameter(decision, "binding", "by").map(|by| format!("/{by}")).unwrap_or_default();
                format!("{}{by}", binding.unwrap_or("–"))
            }
        };
        let ran = line.seen.header("x-served-by").unwrap_or("–").to_string();
        let crossed = crossed(decision, &ran).unwrap_or("–").to_string();
        rows.push([line.scene.into(), line.seen.status.to_string(), ran, because, get("unbound"), crossed]);
    }
    let widths: Vec<usize> = (0..6).map(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        if n == 0 {
            text.push_str(&widths.iter().map(|w| "─".repeat(*w)).collect::<Vec<_>>().join("  "));
            text.push('\n');
        }
    }
    text
}

/// What the attempt that ran crosses, by the plan.
fn crossed<'d>(decision: &'d str, ran: &str) -> Option<&'d str> {
    let plan = member(decision, "plan")?.trim_start_matches('(').split(')').next()?;
    plan.split(' ').find_map(|attempt| attempt.strip_prefix(ran)?.strip_prefix(";x="))
}

/// A member of the decision's dictionary, without its parameters.
fn field<'d>(decision: &'d str, key: &str) -> Option<&'d str> {
    let member = member(decision, key)?;
    Some(member.split(';').next().unwrap_or(member))
}

fn parameter<'d>(decision: &'d str, key: &str, name: &str) -> Option<&'d str> {
    let prefix = format!("{name}=");
    member(decision, key)?.split(';').skip(1).find_map(|p| p.strip_prefix(prefix.as_str()))
}

fn member<'d>(decision: &'d str, key: &str) -> Option<&'d str> {
    let prefix = format!("{key}=");
    decision.split(", ").find_map(|m| m.strip_prefix(prefix.as_str()))
}
