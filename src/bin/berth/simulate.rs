//! `berth simulate`: what routers make of a scenario.

use berth::policy::{InvalidPolicy, Policy};
use berth::simulate::{arrivals, experiment::{Results, Setup}, read};
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
}

/// Runs scenarios.
pub(crate) fn run(args: &Args) -> ExitCode {
    for file in &args.files {
        let setup = match setup(file, args) {
            Ok(setup) => setup,
            Err(why) => return crate::misused(&why),
        };
        let results = setup.all(&mut |label, done| show(label, done));
        print(&setup, &results);
    }
    ExitCode::SUCCESS
}

fn show(label: &str, done: u64) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{label} {}%", done / 10_000);
    }
}

fn setup(file: &str, args: &Args) -> Result<Setup, String> {
    let text = |path: &Path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let all = |file: &Path, found: Vec<InvalidPolicy>| {
        let lines: Vec<String> = found.iter().map(|e| format!("{}: {e}", file.display())).collect();
        lines.join("\n")
    };
    let path = Path::new(file);
    let mut scenario = read(&text(path)?).map_err(|found| all(path, found))?;
    let beside = |name: &str| path.parent().unwrap_or(Path::new("")).join(name);
    let policy = beside(&scenario.policy);
    let checked = berth::policy::read_yaml(&text(&policy)?).map_err(|found| all(&policy, found))?;
    let trace = match &scenario.load.trace {
        Some(trace) => {
            let file = beside(&trace.file);
            arrivals::trace(&text(&file)?).map_err(|e| format!("{}: {e}", file.display()))?
        }
        None => Vec::new(),
    };
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    if !args.routers.is_empty() {
        scenario.routers.clone_from(&args.routers);
    }
    let policy = Policy::new(checked.document, checked.digest.0);
    Ok(Setup { scenario, digest: *policy.digest(), document: policy.document().clone(), trace, tunes: true })
}

fn print(setup: &Setup, results: &Results) {
    crate::say(&format!("\n{}: {}\n", setup.scenario.name, setup.scenario.title));
    for run in &results.runs {
        let f = &run.figures;
        crate::say(&format!(
            "{:28} goodput {:6.2}% out {:6} late {:5} refused {:5} failed {:5} cost {:8.2} per-good {:6} q {:4.2} p50 {:6} p99 {:6} imb {:5.2} swings {:5.1} rec {:?} {:?} {:?}\n",
            run.variant.label(), f.goodput_ppm as f64 / 1e4, f.outside(), f.late, f.refused, f.failed,
            f.cost_uusd as f64 / 1e6, f.cost_per_good_uusd, f.quality_ppm as f64/1e6, f.p50_us / 1000, f.p99_us / 1000, f.imbalance_ppm as f64 / 1e6,
            f.swings_ppm as f64 / 1e6, f.recovery_ms, f.placed, f.whys,
        ));
    }
}
