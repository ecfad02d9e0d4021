//! `berth render`: everything that a proxy has to be told, from a policy and a deployment file.

use berth::{
    manifest::{
        deployment,
        target::{self, File, Subject},
    },
    policy::{self, Checked, InvalidPolicy, Severity, codes, yaml},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What to render, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For what.
    #[arg(value_enum)]
    target: Target,
    /// The deployment file; it names the policy.
    deployment: PathBuf,
    /// The folder for the files; without it, they are printed.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write nothing: exit with 1 where the folder holds something else than would be rendered.
    #[arg(long, requires = "output")]
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// A whole Envoy in one file.
    Envoy,
    /// An Envoy that watches its listeners and its placement filter in files of their own.
    EnvoyDiscovered,
    /// Patches and services for Istio.
    Istio,
    /// Patches for Envoy Gateway.
    EnvoyGateway,
    /// A kustomize base with an Envoy of its own.
    Kustomize,
}

/// Renders.
pub(crate) fn run(args: &Args) -> ExitCode {
    let files = match render(args) {
        Ok(files) => files,
        Err(Refused::Misused(why)) => return crate::misused(&why),
        Err(Refused::Wrong(lines)) => {
            lines.iter().for_each(|line| eprintln!("{line}"));
            return ExitCode::from(1);
        }
    };
    match &args.output {
        None => {
            let one = files.len() == 1;
            for file in &files {
                let head = if one { String::new() } else { format!("# --- {}\n", file.name) };
                crate::say(&format!("{head}{}", file.text));
            }
            ExitCode::SUCCESS
        }
        Some(folder) if args.check => compare(folder, &files),
        Some(folder) => write(folder, &files),
    }
}

enum Refused {
    Misused(String),
    Wrong(Vec<String>),
}

fn render(args: &Args) -> Result<Vec<File>, Refused> {
    let name = args.deployment.display().to_string();
    let text = fs::read_to_string(&args.deployment).map_err(|e| Refused::Misused(format!("{name}: {e}")))?;
    let wrong = |file: &str, found: &[InvalidPolicy]| Refused::Wrong(found.iter().map(|e| line(file, e)).collect());
    let deployment = deployment::read(&text).map_err(|found| wrong(&name, &found))?;
    let path = args.deployment.parent().unwrap_or(Path::new(".")).join(&deployment.policy);
    let policy_name = path.display().to_string();
    let policy_text = fs::read_to_string(&path).map_err(|e| Refused::Misused(format!("{policy_name}: {e}")))?;
    let (checked, node) = check(&policy_text).map_err(|found| wrong(&policy_name, &found))?;
    let identity = &checked.document.identity;
    let label = format!("{}@{}#{}", identity.name, identity.version, checked.digest.short());
    let subject =
        Subject { deployment: &deployment, policy: &checked.document, text: &policy_text, node: &node, label: &label };
    let file = yaml::parse(&text).map_err(|found| wrong(&name, &found))?;
    let mistakes = subject.mistakes(&file.node);
    if !mistakes.is_empty() {
        return Err(wrong(&name, &mistakes));
    }
    let foreign = matches!(args.target, Target::Istio | Target::EnvoyGateway);
    subject.suspicious(&file.node, foreign).iter().for_each(|warning| eprintln!("{}", line(&name, warning)));
    let rendered = match args.target {
        Target::Envoy => target::envoy::whole(&subject),
        Target::EnvoyDiscovered => target::envoy::discovered(&subject),
        Target::Istio => target::istio::render(&subject),
        Target::EnvoyGateway => target::gateway::render(&subject),
        Target::Kustomize => target::kustomize::render(&subject),
    };
    rendered.map_err(|why| Refused::Wrong(vec![format!("{name}: {why}")]))
}

/// The policy, if every reader of YAML takes it for the same.
fn check(text: &str) -> Result<(Checked, policy::tree::Node), Vec<InvalidPolicy>> {
    let parsed = yaml::parse(text)?;
    let ambiguous: Vec<_> = parsed.warnings.into_iter().filter(|w| w.code == codes::AMBIGUOUS.id).collect();
    if !ambiguous.is_empty() {
        return Err(ambiguous);
    }
    Ok((policy::read_node(&parsed.node, "")?, parsed.node))
}

fn line(file: &str, found: &InvalidPolicy) -> String {
    let at = found.at.map_or_else(String::new, |at| format!(":{at}"));
    let severity = if found.severity == Severity::Error { "error" } else { "warning" };
    format!("{file}{at}: {severity}: {found}")
}

fn write(folder: &Path, files: &[File]) -> ExitCode {
    if let Err(e) = fs::create_dir_all(folder) {
        return crate::misused(&format!("{}: {e}", folder.display()));
    }
    for file in files {
        let path = folder.join(file.name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(e) = made.and_then(|()| fs::write(&path, &file.text)) {
            return crate::misused(&format!("{}: {e}", path.display()));
        }
        crate::say(&format!("{}\n", path.display()));
    }
    left(folder, files).iter().for_each(|path| eprintln!("{}: {LEFT}", path.display()));
    ExitCode::SUCCESS
}

const LEFT: &str = "left from another rendering: remove it, or it is applied with the rest";

/// Files that were rendered for this target once and would not be now.
fn left(folder: &Path, files: &[File]) -> Vec<PathBuf> {
    let mark = |text: &str| text.lines().next().and_then(|line| Some(line.split_once(" for ")?.0.to_owned()));
    let marks: Vec<String> = files.iter().filter_map(|file| mark(&file.text)).collect();
    let known: Vec<PathBuf> = files.iter().map(|file| folder.join(file.name)).collect();
    let entries = [folder.to_owned(), folder.join("alone")].map(fs::read_dir);
    let found = entries.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        let written = fs::read_to_string(path).ok().and_then(|text| mark(&text));
        !known.contains(path) && written.is_some_and(|written| marks.contains(&written))
    };
    let mut found: Vec<PathBuf> = found.filter(ours).collect();
    found.sort();
    found
}

fn compare(folder: &Path, files: &[File]) -> ExitCode {
    let differs = |file: &&File| fs::read_to_string(folder.join(file.name)).ok().as_deref() != Some(&file.text);
    let different: Vec<&File> = files.iter().filter(differs).collect();
    for file in &different {
        eprintln!("{}: not what would be rendered", folder.join(file.name).display());
    }
    let left = left(folder, files);
    left.iter().for_each(|path| eprintln!("{}: {LEFT}", path.display()));
    ExitCode::from(u8::from(!different.is_empty() || !left.is_empty()))
}
