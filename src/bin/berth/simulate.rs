//! `berth simulate`: what routers make of a scenario.

use berth::policy::{Digest, InvalidPolicy, Policy, yaml};
use berth::simulate::arrivals;
use berth::simulate::experiment::Setup;
use berth::simulate::held::FROM;
use berth::simulate::read;
use berth::simulate::report::{Experiment, Report};
use berth::simulate::router::NAMES;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::{fs, process::ExitCode};

/// Which scenarios, and how to say what came out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenario files.
    #[arg(required = true)]
    files: Vec<String>,
    /// Another seed than the scenario's.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these routers.
    #[arg(long, value_name = "ROUTER,…", value_delimiter = ',')]
    routers: Vec<String>,
    /// No grid search: rivals behind their allow-lists keep the parameters that they ship with.
    #[arg(long)]
    untuned: bool,
    /// Judge over so many other seeds, which nobody was tuned or chosen on.
    #[arg(long, value_name = "SEEDS", default_value_t = 0)]
    hold: u64,
    /// The first of those seeds.
    #[arg(long, value_name = "SEED", default_value_t = FROM)]
    hold_from: u64,
    /// Only so many seconds of simulated time; what would happen later does not.
    #[arg(long, value_name = "SECONDS")]
    shorten: Option<u64>,
    /// Also write one self-contained page.
    #[arg(long, value_name = "FILE")]
    report: Option<String>,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The short report in Markdown, as it is checked in.
    #[arg(long, conflicts_with = "format")]
    summary: bool,
    /// No progress on standard error.
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs scenarios: 0 if every goal was met, 1 if one was missed.
pub(crate) fn run(args: &Args) -> ExitCode {
    match simulated(args) {
        Ok(report) => ExitCode::from(u8::from(report.missed() > 0)),
        Err(why) => crate::misused(&why),
    }
}

fn simulated(args: &Args) -> Result<Report, String> {
    if let Some(unknown) = args.routers.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("`{unknown}`: no such router; there are {}", NAMES.join(", ")));
    }
    // All files before the first run: a mistake in the last one costs no time.
    let read = args.files.iter().map(|file| prepared(file, args)).collect::<Result<Vec<_>, _>>()?;
    let mut report = Report::default();
    let mut bar = Bar { on: !args.quiet && std::io::stderr().is_terminal(), drawn: false };
    for mut experiment in read {
        let name = experiment.setup.scenario.name.to_string();
        let Experiment { setup, results, .. } = &mut experiment;
        // What is judged over other seeds is swept with those.
        let sweep = if args.hold > 0 { setup.scenario.sweep.take() } else { None };
        *results = setup.all(&mut |label, done| bar.draw(&name, label, done));
        if args.hold > 0 {
            setup.scenario.sweep = sweep;
            setup.hold(results, args.hold, args.hold_from, &mut |label, done| bar.draw(&name, label, done));
        }
        report.experiments.push(experiment);
    }
    bar.clear();
    if let Some(file) = &args.report {
        fs::write(file, report.html()).map_err(|e| format!("{file}: {e}"))?;
    }
    match (args.summary, args.format) {
        (true, _) => crate::say(&report.markdown()),
        (false, Format::Text) => crate::say(&report.text()),
        (false, Format::Json) => crate::say(&format!("{:#}\n", report.json())),
    }
    Ok(report)
}

/// How far it is, on one line that is drawn over and over.
struct Bar {
    on: bool,
    drawn: bool,
}

impl Bar {
    fn draw(&mut self, scenario: &str, router: &str, done_ppm: u64) {
        if self.on {
            let full = usize::try_from(done_ppm / 40_000).unwrap_or(25).min(25);
            let bar = format!("{}{}", "█".repeat(full), "░".repeat(25 - full));
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{bar} {scenario}: {router}");
            self.drawn = true;
        }
    }

    fn clear(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn prepared(file: &str, args: &Args) -> Result<Experiment, String> {
    let path = Path::new(file);
    let text = text_of(path)?;
    let wrong = |path: &Path, found: Vec<InvalidPolicy>| {
        let lines = found.iter().map(|e| format!("{}: {e}", path.display()));
        lines.collect::<Vec<_>>().join("\nberth: ")
    };
    let mut scenario = read(&text).map_err(|found| wrong(path, found))?;
    let beside = |name: &str| path.parent().unwrap_or(Path::new("")).join(name);
    let policy = beside(&scenario.policy);
    let written = text_of(&policy)?;
    let checked = berth::policy::read_yaml(&written).map_err(|found| wrong(&policy, found))?;
    let trace = match &scenario.load.trace {
        Some(trace) => {
            let file = beside(&trace.file);
            arrivals::trace(&text_of(&file)?).map_err(|e| format!("{}: {e}", file.display()))?
        }
        None => Vec::new(),
    };
    let digest = yaml::parse(&text).map(|y| Digest::of(&y.node).short()).unwrap_or_default();
    let policy = Policy::new(checked.document, checked.digest.0);
    let unknown = |name: &&berth::model::Name| policy.substrate_id(name.as_str()).is_none();
    if let Some(name) = scenario.physics.iter().map(|(name, _)| name).find(unknown) {
        return Err(format!("{file}: physics.{name}: the policy has no such substrate"));
    }
    if let Some(name) = scenario.strangers(policy.document()).first() {
        return Err(format!(
            "{file}: events: `{name}`: expected a substrate, region, zone or failure domain of the policy"
        ));
    }
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.shorten(args.shorten);
    if !args.routers.is_empty() {
        scenario.routers.clone_from(&args.routers);
    }
    let files = vec![
        (scenario.policy.clone(), written),
        (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text),
    ];
    let (label, document) = (policy.label().to_string(), policy.document().clone());
    let setup = Setup { scenario, digest: *policy.digest(), document, trace, tunes: !args.untuned };
    Ok(Experiment {
        setup,
        scenario_digest: digest,
        policy: label,
        files,
        results: berth::simulate::experiment::Results::default(),
    })
}

fn text_of(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
