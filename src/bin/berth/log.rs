//! `berth log`: an access log summed up: where work went, what bound, what spilled, what was refused.

mod fallbacks;
mod follow;

use crate::lines::{self, Logged};
use crate::table::{percent, table, usd};
use berth::explain::line::{Item, Line};
use fallbacks::Awaited;
use follow::{Cutter, Tail};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Read as _, Write as _},
    process::ExitCode,
    time::Duration,
};

/// Which log, and how to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The access log; `-` reads standard input.
    file: String,
    /// Stays, and says it again whenever lines came; also when the file is replaced or cut. Ctrl-C ends it.
    #[arg(long)]
    follow: bool,
    /// How many rows each table shows.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How often `--follow` looks.
const LOOK: Duration = Duration::from_millis(250);
/// The most names that one list tells apart, and the longest of them: whoever writes the log must not fill the memory.
const MOST_NAMES: usize = 1_024;
const MOST_NAME: usize = 160;
/// All others.
const OTHERS: &str = "(others)";

/// One class's sums.
#[derive(Clone, Debug, Default)]
struct Class {
    requests: u64,
    refused: u64,
    spilled: u64,
    cost_uusd: i64,
    /// Of that, what bytes cost.
    egress_uusd: i64,
}

#[derive(Debug, Default)]
struct Summary {
    lines: u64,
    foreign: u64,
    broken: u64,
    retried: u64,
    attempts: u64,
    awaited: Awaited,
    fallbacks: BTreeMap<String, u64>,
    statuses: BTreeMap<String, u64>,
    classes: BTreeMap<String, Class>,
    substrates: BTreeMap<String, u64>,
    binding: BTreeMap<String, u64>,
    unbound: BTreeMap<String, u64>,
    spills: BTreeMap<String, u64>,
    refusals: BTreeMap<String, u64>,
    fresh: BTreeMap<String, u64>,
    policies: BTreeMap<String, u64>,
}

impl Summary {
    fn add(&mut self, logged: &Logged) {
        self.lines += 1;
        match logged.decision.as_deref().map(Line::parse) {
            // The router's own log has a line an attempt in the same stream, which are no answers to anybody.
            None if logged.fields.get("failure").is_some() => {
                self.attempts += 1;
                if let Some(fallback) = self.awaited.attempt(logged) {
                    count(&mut self.fallbacks, &fallback);
                }
            }
            None => self.foreign += 1,
            Some(Err(_)) => self.broken += 1,
            Some(Ok(line)) => {
                self.decided(&line);
                self.answered(logged);
            }
        }
    }

    /// What the line says of the answer, beside the decision.
    fn answered(&mut self, logged: &Logged) {
        if let Some(status) = logged.field("status") {
            count(&mut self.statuses, &status);
        }
        let attempts = logged.field("attempts").and_then(|n| n.parse::<u64>().ok());
        self.retried += u64::from(attempts.is_some_and(|n| n > 1));
    }

    fn decided(&mut self, line: &Line) {
        let get = |name| line.get(name).unwrap_or("-");
        let class = under(&mut self.classes, get("class"));
        class.requests += 1;
        class.cost_uusd = class.cost_uusd.saturating_add(get("cost").parse().unwrap_or(0));
        let egress = line.item("cost").and_then(|cost| cost.param("egress")?.parse().ok());
        class.egress_uusd = class.egress_uusd.saturating_add(egress.unwrap_or(0));
        if line.get("refused").is_some() {
            class.refused += 1;
            count(&mut self.refusals, get("reason"));
        } else {
            count(&mut self.substrates, get("substrate"));
        }
        if let Some(spill) = line.item("spill") {
            class.spilled += 1;
            let crossed = spill.param("x").unwrap_or("no border");
            count(&mut self.spills, &format!("{} → {}, {crossed}", spill.value, get("substrate")));
        }
        let by =
            |item: &Item| item.param("by").map_or_else(|| item.value.clone(), |code| format!("{}/{code}", item.value));
        count(&mut self.binding, &line.item("binding").map_or_else(|| String::from("-"), by));
        if let Some(unbound) = line.get("unbound") {
            count(&mut self.unbound, unbound);
        }
        count(&mut self.fresh, get("fresh"));
        count(&mut self.policies, get("policy"));
    }

    fn requests(&self) -> u64 {
        self.classes.values().map(|class| class.requests).sum()
    }

    fn text(&self, top: usize) -> String {
        let requests = self.requests();
        let refused: u64 = self.refusals.values().sum();
        let spilled: u64 = self.spills.values().sum();
        let mut out = format!(
            "{requests} decisions: {} placed, {refused} refused ({}), {spilled} spilled over ({}), {} tried again\n",
            requests - refused,
            percent(refused, requests),
            percent(spilled, requests),
            self.retried
        );
        if self.attempts > 0 {
            out += &format!("{} lines of attempts\n", self.attempts);
        }
        if self.foreign + self.broken > 0 {
            out += &format!("{} lines without a decision, {} with one that was cut off\n", self.foreign, self.broken);
        }
        let sections = [
            ("ran on", &self.substrates),
            ("bound by", &self.binding),
            ("better, but kept away", &self.unbound),
            ("spillover", &self.spills),
            ("tried again", &self.fallbacks),
            ("refused", &self.refusals),
            ("status", &self.statuses),
            ("picture", &self.fresh),
            ("policy", &self.policies),
        ];
        out += "\n";
        out += &self.worst(top);
        for (head, counts) in sections.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            let rows: Vec<Vec<String>> = sorted(counts)
                .into_iter()
                .take(top)
                .map(|(name, n)| vec![name.clone(), n.to_string(), percent(n, requests)])
                .collect();
            out += "\n";
            out += &table(&[head, "requests", "share"], &rows);
        }
        out
    }

    /// Classes, those that suffer most first.
    fn worst(&self, top: usize) -> String {
        let mut classes: Vec<(&String, &Class)> = self.classes.iter().collect();
        let rate = |part: u64, class: &Class| part * 1_000_000 / class.requests.max(1);
        classes.sort_by_key(|(name, c)| (std::cmp::Reverse((rate(c.refused, c), rate(c.spilled, c))), (*name).clone()));
        let row = |(name, c): (&String, &Class)| {
            vec![
                name.clone(),
                c.requests.to_string(),
                percent(c.refused, c.requests),
                percent(c.spilled, c.requests),
                usd(c.cost_uusd),
                usd(c.egress_uusd),
            ]
        };
        let rows: Vec<Vec<String>> = classes.into_iter().take(top).map(row).collect();
        table(&["class, worst first", "requests", "refused", "spilled", "cost", "of it egress"], &rows)
    }

    fn json(&self) -> Value {
        let classes: BTreeMap<_, _> = self
            .classes
            .iter()
            .map(|(name, c)| {
                let counts = json!({"requests": c.requests, "refused": c.refused, "spilled": c.spilled,
                "cost_uusd": c.cost_uusd, "egress_uusd": c.egress_uusd});
                (name, counts)
            })
            .collect();
        json!({
            "lines": self.lines, "without_decision": self.foreign, "cut_off": self.broken, "tried_again": self.retried,
            "attempts": self.attempts, "fallbacks": self.fallbacks,
            "decisions": self.requests(), "classes": classes, "substrates": self.substrates, "binding": self.binding,
            "unbound": self.unbound, "spillover": self.spills, "refused": self.refusals, "status": self.statuses,
            "fresh": self.fresh, "policies": self.policies,
        })
    }
}

fn count(into: &mut BTreeMap<String, u64>, name: &str) {
    *under(into, name) += 1;
}

/// What is kept under a name.
fn under<'a, T: Default>(into: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    let name: String = name.chars().take(MOST_NAME).collect();
    let name = if into.len() < MOST_NAMES || into.contains_key(&name) { name } else { OTHERS.into() };
    into.entry(name).or_default()
}

/// The most frequent first, equals by name.
fn sorted(counts: &BTreeMap<String, u64>) -> Vec<(&String, u64)> {
    let mut list: Vec<(&String, u64)> = counts.iter().map(|(name, n)| (name, *n)).collect();
    list.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), (*name).clone()));
    list
}

/// Sums a log up.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut summary = Summary::default();
    let done = if args.follow {
        follow(args, &mut summary)
    } else {
        lines::each(&args.file, |logged| summary.add(&logged)).map(|()| crate::say(&said(args, &summary)))
    };
    done.map_or_else(|why| crate::misused(&why), |()| ExitCode::SUCCESS)
}

fn said(args: &Args, summary: &Summary) -> String {
    match args.format {
        Format::Text => summary.text(args.top),
        Format::Json => format!("{}\n", summary.json()),
    }
}

/// Until somebody ends it, or nobody reads what it says any more. Standard input has an end of its own.
fn follow(args: &Args, summary: &mut Summary) -> Result<(), String> {
    let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    let say = |summary: &Summary| {
        let mut out = std::io::stdout().lock();
        write!(out, "{clear}{}", said(args, summary)).and_then(|()| out.flush()).is_ok()
    };
    if args.file == "-" {
        let (mut input, mut lines, mut bytes) = (std::io::stdin().lock(), Cutter::default(), vec![0; 1 << 16]);
        loop {
            let got = input.read(&mut bytes).map_err(|e| format!("-: {e}"))?;
            let part = bytes.get(..got).unwrap_or_default();
            let add = |logged: &Logged| summary.add(logged);
            let came = if got == 0 { lines.end(add) } else { lines.take(part, add) };
            if (came > 0 && !say(summary)) || got == 0 {
                return Ok(());
            }
        }
    }
    let mut tail = Tail::open(&args.file)?;
    loop {
        match tail.look(|logged| summary.add(logged))? {
            Some(0) => {}
            Some(_) if say(summary) => {}
            Some(_) => return Ok(()),
            None => std::thread::sleep(LOOK),
        }
    }
}
