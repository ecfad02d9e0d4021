//! The examples, run as their pages say: what they print is what the pages show. `BLESS=1` writes it there anew.

use crate::rendered::berth;
use crate::support::TRIES;
use crate::support::bootstrap::INGRESS;
use crate::support::calm::Watch;
use crate::support::client::Ask;
use crate::support::envoy::binary;
use crate::world::World;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The block of text that a page shows as what is printed is `printed`.
fn shows(page: &str, printed: &str) {
    const BEGIN: &str = "```text\n";
    let path = root().join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{page} shows nothing"));
    let (shown, after) = rest.split_once("```").unwrap();
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, format!("{before}{BEGIN}{printed}```{after}")).unwrap();
        return;
    }
    assert_eq!(shown, printed, "{page}: BLESS=1 writes it anew");
}

/// The Python that one of the build's tools installs.
fn python(tool: &str) -> String {
    let found = Command::new(root().join(".ci/tools")).arg(tool).output().unwrap();
    let path = String::from_utf8_lossy(&found.stdout).trim().to_string();
    assert!(!path.is_empty(), "no {tool}: {}", String::from_utf8_lossy(&found.stderr));
    path
}

/// What a program prints that ends well.
async fn printed(program: &str, arguments: Vec<PathBuf>) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command.env("ENVOY", binary()).env("BERTH", env!("CARGO_BIN_EXE_berth"));
    let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(run.status.success(), "{program}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[tokio::test]
async fn a_node_that_loses_its_uplink() {
    // Its proxies are started by the story.
    let _watch = Watch::begin();
    let said = printed("python3", vec!["examples/edge/story.py".into()]).await;
    shows("examples/edge/README.md", &said);
}

/// One column says whether an answer came in time, which on a busy machine it may not.
#[tokio::test]
async fn a_grpc_client_between_two_servers() {
    let mut tries = Vec::new();
    while tries.last().is_none_or(|said: &String| said.contains("  no  ")) && tries.len() < TRIES {
        tries.push(printed(&python("grpc"), vec!["examples/grpc/story.py".into()]).await);
    }
    shows("examples/grpc/README.md", tries.last().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_tells_what_the_readme_shows() {
    let world = World::start().await;
    let (table, third) = crate::story::tell(&world).await;
    shows("README.md", &table);
    assert!(third.contains("binding=sovereignty"), "{third}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_client_chats_and_the_demo_s_hints_work() {
    let world = World::start().await;
    let to = format!("http://{}", world.envoy.listener(INGRESS));
    let said = printed(&python("openai"), vec!["examples/chat/chat.py".into(), to.into()]).await;
    shows("examples/chat/README.md", &said);
    let hint = world.hint().replace("\\\n", "");
    let commands: Vec<&str> = hint.lines().filter(|line| line.starts_with("  curl ")).collect();
    assert_eq!(commands.len(), 2 + world.substrates.len(), "{hint}");
    let expected = ["answers.", "\"queue_depth\":500", "berth_decisions"];
    for command in commands {
        let script = command.split("  #").next().unwrap().replacen("curl", "curl -sSf", 1);
        let said = printed("sh", vec!["-c".into(), script.into()]).await;
        assert!(expected.iter().any(|words| said.contains(words)), "{command}: {said}");
    }
    let doctor =
        hint.lines().find(|line| line.contains("berth doctor")).and_then(|line| line.split_whitespace().nth(2));
    let (well, found) = berth(&["doctor", doctor.expect("the proxy's own address")], root());
    assert!(well && found.contains("0 errors, 0 warnings"), "{found}");
    let page = hint.lines().find_map(|line| line.strip_prefix("  http://")).expect("the page's address");
    let page = Ask::get(page.trim_end_matches('/').parse().unwrap(), "/").send().await.unwrap();
    assert!(page.status == 200 && page.text().contains("<html"), "{}: {}", page.status, page.text());
}
