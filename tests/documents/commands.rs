//! Commands: run where that is quick and needs nothing but the tool, and by the test that is named otherwise.

use crate::blocks::{Block, of, pages, root};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What commands begin with that another test runs.
const ELSEWHERE: [(&str, &str); 10] = [
    ("dist/berth doctor http://127.0.0.1:9901", "e2e/doctor.rs::what_was_rendered_is_well"),
    ("berth simulate ", "simulate.rs::the_report_in_the_readme_is_of_these_scenarios"),
    ("mv new/placement.yaml ", "e2e/rendered.rs::a_new_policy_is_a_new_file_and_a_bad_one_changes_nothing"),
    (
        "curl -X PUT http://127.0.0.1:9902/substrates/",
        "e2e/desk.rs::a_report_that_is_handed_in_changes_where_requests_go",
    ),
    (
        "jq -r .decision access.log",
        "e2e/account.rs::metrics_logs_and_substrates_agree_to_the_last_request_and_the_log_replays_whole",
    ),
    ("python3 examples/edge/story.py", "e2e/examples.rs::a_node_that_loses_its_uplink"),
    (
        "python3 -m venv venv && venv/bin/pip install openai",
        "e2e/examples.rs::the_openai_client_chats_and_the_demo_s_hints_work",
    ),
    (
        "venv/bin/python examples/chat/chat.py http://127.0.0.1:PORT",
        "e2e/examples.rs::the_openai_client_chats_and_the_demo_s_hints_work",
    ),
    ("python3 -m venv venv && venv/bin/pip install grpcio", "e2e/examples.rs::a_grpc_client_between_two_servers"),
    ("venv/bin/python examples/grpc/story.py", "e2e/examples.rs::a_grpc_client_between_two_servers"),
];

/// What needs a cluster or a registry, which no test has: the page has to say so.
const UNTRIED: [&str; 4] = ["kubectl ", "skopeo ", "curl -sfL https://get.k3s.io", "export KUBECONFIG="];
const SAYS_SO: [&str; 2] = ["**Not tried:**", "No cluster took"];

/// A command of a block, and what is shown below it.
struct Shown {
    command: String,
    output: String,
}

fn commands(block: &Block) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        let bare = line.split("  #").next().unwrap().trim_end();
        let begins = if block.language == "sh" { Some(bare) } else { line.strip_prefix("$ ").map(|_| &bare[2..]) };
        match (goes_on, begins, found.last_mut()) {
            (true, _, Some(last)) => last.command.push_str(&format!("\n{bare}")),
            (_, Some(""), _) => {}
            (_, Some(command), _) => found.push(Shown { command: command.into(), output: String::new() }),
            (_, None, Some(last)) => last.output.push_str(&format!("{line}\n")),
            (_, None, None) => panic!("{}: output before a command", block.place()),
        }
        goes_on = found.last().is_some_and(|last| {
            let ended = last.output.is_empty() && !last.command.ends_with('\\');
            !ended && last.output.is_empty() || last.command.contains("; do") && !last.command.ends_with("done")
        });
    }
    found
}

/// A folder that looks like a fresh clone in which `make cli` was run, for commands to write into.
fn clone() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("documents-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("dist")).unwrap();
    symlink(env!("CARGO_BIN_EXE_berth"), dir.join("dist/berth")).unwrap();
    for name in ["examples", "envoy", "policies"] {
        symlink(root().join(name), dir.join(name)).unwrap();
    }
    dir
}

fn has_target(makefile: &str, target: &str) -> bool {
    makefile.lines().any(|line| line.starts_with(&format!("{target}:")) && line.contains(" ## "))
}

fn has_test(named: &str) -> bool {
    let (file, test) = named.split_once("::").unwrap();
    fs::read_to_string(root().join("tests").join(file)).is_ok_and(|text| text.contains(&format!("fn {test}(")))
}

#[test]
fn every_command_is_run_and_prints_what_is_shown() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let dir = clone();
    let (mut run, mut seen) = (0, Vec::new());
    for block in of(&["sh", "console"]) {
        let page = fs::read_to_string(root().join(&block.page)).unwrap();
        for Shown { command, output } in commands(&block) {
            let place = format!("{}: {command}", block.place());
            if let Some(targets) = command.strip_prefix("make ") {
                for target in targets.split(' ') {
                    assert!(has_target(&makefile, target), "{place}: no such target");
                }
            } else if let Some((begin, test)) = ELSEWHERE.iter().find(|(begin, _)| command.starts_with(begin)) {
                assert!(has_test(test), "{place}: no test {test}");
                let files = command.split(' ').filter(|w| w.starts_with("examples/") && !w.contains('*'));
                files.for_each(|file| assert!(root().join(file).is_file(), "{place}: no {file}"));
                seen.push(*begin);
            } else if UNTRIED.iter().any(|begin| command.starts_with(begin)) {
                assert!(
                    SAYS_SO.iter().any(|says| page.contains(says)),
                    "{place}: the page does not say that nobody tried"
                );
            } else {
                assert!(command.starts_with("dist/berth "), "{place}: who runs this?");
                let mut shell = Command::new("sh");
                let done = shell.args(["-ec", &command]).current_dir(&dir).stdin(Stdio::null()).output().unwrap();
                let said = String::from_utf8_lossy(&done.stdout);
                assert!(done.status.success(), "{place}: {said}{}", String::from_utf8_lossy(&done.stderr));
                assert!(output.is_empty() || output == said, "{place} prints\n{said}and not\n{output}");
                run += 1;
            }
        }
    }
    assert!(run >= 10, "{run}");
    let gone: Vec<_> = ELSEWHERE.iter().filter(|(begin, _)| !seen.contains(begin)).collect();
    assert!(gone.is_empty(), "in no document any more: {gone:?}");
    fs::remove_dir_all(dir).unwrap();
}

/// The words behind `make` that stand in backticks of a page's prose, up to an option or a variable.
fn made(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2).filter_map(|words| words.strip_prefix("make "));
    let target = |word: &&str| {
        !word.starts_with('-') && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    quoted.flat_map(|words| words.split_whitespace().take_while(move |word| target(word))).collect()
}

#[test]
fn every_make_that_a_page_speaks_of_is_a_target_that_help_lists() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut all = 0;
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for target in made(&text) {
            assert!(has_target(&makefile, target), "{}: `make {target}`: no such target", page.display());
            all += 1;
        }
    }
    assert!(all > 30, "{all} were found");
    assert_eq!(made("`make wasm`, `make bench-guard BASE=x`, then `make -n`, make no"), ["wasm", "bench-guard"]);

    let help = Command::new("make").arg("help").env_remove("MAKEFLAGS").current_dir(root()).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed: Vec<&str> =
        help.lines().filter_map(|line| line.trim().strip_prefix("make ")?.split(' ').next()).collect();
    let targets = makefile.lines().filter(|line| line.contains(" ## "));
    let targets: Vec<&str> = targets.filter_map(|line| line.split_once(':')).map(|(target, _)| target).collect();
    assert_eq!(listed, targets);
    // A file of such a name must not stand in for what is asked.
    let phony = makefile.replace("\\\n", " ");
    let phony: Vec<&str> =
        phony.lines().filter_map(|line| line.strip_prefix(".PHONY:")).flat_map(str::split_whitespace).collect();
    for target in targets {
        assert!(phony.contains(&target), "{target} is not phony");
    }
}
