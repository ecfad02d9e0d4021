//! `berth explain`: why one request goes where it goes; or why one of a log went where it went.

mod logged;

use berth::{
    explain::Explanation,
    health::report,
    model::{Fact, FactName, Facts, Feature, Health, Local, Snapshot},
};
use std::{fs, process::ExitCode, time::SystemTime};

/// Which request, under which policy, in which state of the world.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The policy, or a manifest that embeds it; with --log-line it may be left out.
    #[arg(required_unless_present = "log_line")]
    policy: Option<String>,
    /// A line of an access log, or the decision's record alone: said in sentences, and with the policy and a replay
    /// record laid open.
    #[arg(long, value_name = "LINE", conflicts_with_all = ["facts", "claim", "header", "snapshot", "at", "seed"])]
    log_line: Option<String>,
    /// With --log-line: a folder with the snapshots that decided.
    #[arg(long, value_name = "DIR", requires = "log_line")]
    snapshots: Option<String>,
    /// Facts from trusted sources, such as `tenant=acme,model=llama-3.3-70b,input_tokens=1200`.
    #[arg(long, value_name = "FACT=VALUE,…", value_delimiter = ',')]
    facts: Vec<String>,
    /// Facts that anybody could have written.
    #[arg(long, value_name = "FACT=VALUE,…", value_delimiter = ',')]
    claim: Vec<String>,
    /// Headers, such as `x-workload=chat`.
    #[arg(long, value_name = "NAME=VALUE,…", value_delimiter = ',')]
    header: Vec<String>,
    /// A snapshot, in bytes or in JSON as `berth snapshot` and `GET /snapshot` print it, or a JSON object with a list of
    /// reports, `substrates`. Without it, declared values.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<String>,
    /// When to decide, in milliseconds of Unix time; now if not said.
    #[arg(long, value_name = "MS")]
    at: Option<u64>,
    /// The decision's id, by which ties and spread are settled.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Explains one request: 0 if it is placed, 1 if it is refused or the policy is invalid.
pub(crate) fn run(args: &Args) -> ExitCode {
    let done = match (&args.log_line, &args.policy) {
        (Some(line), policy) => logged::explained(args, line, policy.as_deref()),
        (None, Some(policy)) => explained(args, policy),
        (None, None) => Err(String::from("expected a policy")),
    };
    match done {
        Ok(code) => code,
        Err(why) => crate::misused(&why),
    }
}

fn explained(args: &Args, policy: &str) -> Result<ExitCode, String> {
    let policy = crate::lines::policy(policy)?.0.policy;
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let now_ms = args.at.unwrap_or_else(|| u64::try_from(now()).unwrap_or(u64::MAX));
    let snapshot = args.snapshot.as_ref().map(|file| snapshot(file, now_ms)).transpose()?;
    for health in snapshot.iter().flat_map(|s| &s.substrates) {
        if policy.substrate_id(&health.name).is_none() {
            eprintln!("berth: the snapshot speaks of `{}`, which the policy does not have", health.name);
        }
    }
    let headers = pairs(&args.header)?;
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, Fact::trusted(*value))).collect();
    let mut facts = Facts { headers: &headers, ..Facts::default() };
    for (list, trusted) in [(&args.facts, true), (&args.claim, false)] {
        let mut said: Vec<&str> = Vec::new();
        for (name, value) in pairs(list)? {
            if said.contains(&name) && name != "feature" {
                return Err(format!("`{name}` is said twice"));
            }
            said.push(name);
            set(&mut facts, name, value, trusted)?;
        }
    }
    let explanation = Explanation::new(&policy, snapshot.as_ref(), &Local::default(), &facts, now_ms, args.seed);
    match args.format {
        Format::Text => crate::say(&explanation.text()),
        Format::Json => crate::say(&format!("{:#}\n", explanation.json())),
    }
    Ok(ExitCode::from(u8::from(explanation.inspection.decision.plan.is_empty())))
}

fn pairs(list: &[String]) -> Result<Vec<(&str, &str)>, String> {
    list.iter().map(|pair| pair.split_once('=').ok_or_else(|| format!("`{pair}`: expected FACT=VALUE"))).collect()
}

fn set<'a>(facts: &mut Facts<'a>, name: &str, value: &'a str, trusted: bool) -> Result<(), String> {
    let text = Some(Fact { value, trusted });
    let number = || {
        let value = value.parse().map_err(|_| format!("`{name}={value}`: expected a number"))?;
        Ok::<_, String>(Some(Fact { value, trusted }))
    };
    match FactName::ALL.into_iter().find(|f| f.as_str() == name) {
        Some(FactName::Tenant) => facts.tenant = text,
        Some(FactName::Class) => facts.class = text,
        Some(FactName::Model) => facts.model = text,
        Some(FactName::Data) => facts.data = text,
        Some(FactName::Residency) => facts.residency = text,
        Some(FactName::Session) => facts.session = text,
        Some(FactName::Region) => facts.region = text,
        Some(FactName::Zone) => facts.zone = text,
        Some(FactName::Approval) => facts.approval = text,
        Some(FactName::Method) => facts.method = text,
        Some(FactName::Path) => facts.path = text,
        Some(FactName::InputTokens) => facts.input_tokens = number()?,
        Some(FactName::OutputTokens) => facts.output_tokens = number()?,
        Some(FactName::Deadline) => facts.deadline_ms = number()?,
        Some(FactName::Streaming) => {
            let value = value.parse().map_err(|_| format!("`{name}={value}`: expected true or false"))?;
            facts.streaming = Some(Fact { value, trusted });
        }
        None if name == "feature" => {
            let feature = Feature::ALL.into_iter().find(|f| f.as_str() == value);
            facts.features = facts.features.with(feature.ok_or_else(|| format!("`{value}`: no such feature"))?);
        }
        None => {
            let known: Vec<&str> = FactName::ALL.iter().map(|f| f.as_str()).chain(["feature"]).collect();
            return Err(format!("`{name}`: no such fact; there are {}", known.join(", ")));
        }
    }
    Ok(())
}

/// A published snapshot, or one made of reports.
fn snapshot(file: &str, now_ms: u64) -> Result<Snapshot, String> {
    let bytes = fs::read(file).map_err(|e| format!("{file}: {e}"))?;
    let json = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    match crate::snapshot::decode(&bytes) {
        Ok((snapshot, _)) => return Ok(snapshot),
        // It says that it is one, so it is told what is wrong with it as such.
        Err(why) if json.is_some_and(|json| json.get("berth_snapshot").is_some()) => {
            return Err(format!("{file}: {why}"));
        }
        Err(_) => {}
    }
    let reports = report::parse(&bytes, now_ms).ok_or_else(|| {
        format!("{file}: neither a snapshot nor a health document, nor one with a list of `substrates`")
    })?;
    let mut substrates = Vec::new();
    for report in reports {
        for (field, why) in &report.named {
            eprintln!("berth: {file}: `{field}` is left out: {}", why.as_str());
        }
        let name = report.substrate.ok_or_else(|| format!("{file}: a report names no `substrate`"))?;
        let mut health = Health::unknown(&name);
        report.heard.readings.iter().for_each(|(signal, reading)| health.set(*signal, *reading));
        health.attestation = report.attestation;
        substrates.push(health);
    }
    Ok(Snapshot { writer: 0, epoch: 0, at_ms: now_ms, interval_ms: 1_000, slots: 1, substrates })
}
