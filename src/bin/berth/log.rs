//! `berth log`: an access log summed up: where work went, what bound, what spilled, what was refused.

use crate::lines::{self, Logged};
use crate::table::{percent, table, usd};
use berth::explain::line::{Item, Line};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{IsTerminal as _, Read as _, Seek as _, SeekFrom},
    process::ExitCode,
    time::Duration,
};

/// Which log, and how to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The access log; `-` reads standard input.
    file: String,
    /// Stays, and says it again whenever lines came; also when the file is replaced.
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
/// The most that one look reads.
const MOST_READ: u64 = 8 << 20;

/// One class's sums.
#[derive(Clone, Debug, Default)]
struct Class {
    requests: u64,
    refused: u64,
    spilled: u64,
    cost_uusd: i64,
}

#[derive(Debug, Default)]
struct Summary {
    lines: u64,
    foreign: u64,
    broken: u64,
    retried: u64,
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
        if let Some(status) = logged.field("status") {
            count(&mut self.statuses, &status);
        }
        let attempts = logged.field("attempts").and_then(|n| n.parse::<u64>().ok());
        self.retried += u64::from(attempts.is_some_and(|n| n > 1));
        match logged.decision.as_deref().map(Line::parse) {
            None => self.foreign += 1,
            Some(Err(_)) => self.broken += 1,
            Some(Ok(line)) => self.decided(&line),
        }
    }

    fn decided(&mut self, line: &Line) {
        let get = |name| line.get(name).unwrap_or("-");
        let class = self.classes.entry(get("class").into()).or_default();
        class.requests += 1;
        class.cost_uusd = class.cost_uusd.saturating_add(get("cost").parse().unwrap_or(0));
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
        if self.foreign + self.broken > 0 {
            out += &format!("{} lines without a decision, {} with one that was cut off\n", self.foreign, self.broken);
        }
        let sections = [
            ("ran on", &self.substrates),
            ("bound by", &self.binding),
            ("better, but kept away", &self.unbound),
            ("spillover", &self.spills),
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
            ]
        };
        let rows: Vec<Vec<String>> = classes.into_iter().take(top).map(row).collect();
        table(&["class, worst first", "requests", "refused", "spilled", "cost"], &rows)
    }

    fn json(&self) -> Value {
        let classes: BTreeMap<_, _> = self.classes.iter().map(|(name, c)| {
            (name, json!({"requests": c.requests, "refused": c.refused, "spilled": c.spilled, "cost_uusd": c.cost_uusd}))
        }).collect();
        json!({
            "lines": self.lines, "without_decision": self.foreign, "cut_off": self.broken, "tried_again": self.retried,
            "decisions": self.requests(), "classes": classes, "substrates": self.substrates, "binding": self.binding,
            "unbound": self.unbound, "spillover": self.spills, "refused": self.refusals, "status": self.statuses,
            "fresh": self.fresh, "policies": self.policies,
        })
    }
}

fn count(into: &mut BTreeMap<String, u64>, name: &str) {
    *into.entry(name.into()).or_default() += 1;
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
    let done = if args.follow && args.file != "-" {
        follow(args, &mut summary)
    } else {
        lines::each(&args.file, |logged| summary.add(&logged)).map(|()| say(args, &summary))
    };
    done.map_or_else(|why| crate::misused(&why), |()| ExitCode::SUCCESS)
}

fn say(args: &Args, summary: &Summary) {
    crate::say(&match args.format {
        Format::Text => summary.text(args.top),
        Format::Json => format!("{}\n", summary.json()),
    });
}

/// Until somebody ends it. A file that has become shorter is another one.
fn follow(args: &Args, summary: &mut Summary) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", args.file);
    let (mut read, mut rest, mut number) = (0_u64, Vec::new(), 0);
    let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    loop {
        let mut file = File::open(&args.file).map_err(wrong)?;
        let size = file.metadata().map_err(wrong)?.len();
        if size < read {
            (read, rest) = (0, Vec::new());
        }
        file.seek(SeekFrom::Start(read)).map_err(wrong)?;
        let got = file.take(MOST_READ).read_to_end(&mut rest).map_err(wrong)?;
        read += u64::try_from(got).unwrap_or(0);
        let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = rest.drain(..end).collect();
        for line in String::from_utf8_lossy(&whole).lines().filter(|line| !line.trim().is_empty()) {
            number += 1;
            summary.add(&Logged::parse(number, line));
        }
        if !whole.is_empty() {
            crate::say(clear);
            say(args, summary);
        }
        if got == 0 {
            std::thread::sleep(LOOK);
        }
    }
}
