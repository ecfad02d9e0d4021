//! The demo: nine substrates, a real Envoy with both roles, and a short story of requests.
//!
//! `demo story` tells it and stops everything; `demo up` leaves it running and says what to try; `demo down` stops
//! what `up` left running, and nothing else.
#![allow(unreachable_pub, missing_docs, reason = "a program of a few files, not a library")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it stands on the support of the tests, which ends by panicking; the hook makes one line of that"
)]

#[path = "../substrate/server.rs"]
mod server;
mod story;
#[path = "../../tests/support/mod.rs"]
mod support;
mod world;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use world::World;

/// Berth in a real Envoy, with simulated substrates behind it.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Verb {
    /// Tell the story and stop everything.
    Story,
    /// Start everything and leave it running.
    Up,
    /// Stop what `up` left running.
    Down,
    /// What `up` runs in the background.
    #[command(hide = true)]
    Serve,
}

#[tokio::main]
async fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        eprintln!("demo: {}", text.unwrap_or("it ended for an unknown reason"));
    }));
    let done = match Options::parse().verb {
        Verb::Story => {
            let (table, third) = story::tell(&World::start().await).await;
            println!("\n{table}\nThe third decision, as the access log has it:\n  {third}");
            Ok(())
        }
        Verb::Up => up().await,
        Verb::Down => down(),
        Verb::Serve => serve().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("demo: {why}");
            ExitCode::from(1)
        }
    }
}

/// Where `up` leaves what `down` needs.
fn state(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target").join("demo");
    let _ = std::fs::create_dir_all(&dir);
    dir.join(name)
}

/// The process that `up` left running, if it still is and still is ours.
fn running() -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(state("pid")).ok()?.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    String::from_utf8_lossy(&command).contains("demo\0serve").then_some(pid)
}

async fn up() -> Result<(), String> {
    if running().is_some() {
        println!("already up");
    } else {
        let _ = std::fs::remove_file(state("hint"));
        let me = std::env::current_exe().map_err(|e| e.to_string())?;
        let log = std::fs::File::create(state("log")).map_err(|e| e.to_string())?;
        let errors = log.try_clone().map_err(|e| e.to_string())?;
        let mut command = Command::new(me);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child =
            command.arg("serve").stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(|e| e.to_string())?;
        std::fs::write(state("pid"), child.id().to_string()).map_err(|e| e.to_string())?;
        let end = Instant::now() + Duration::from_secs(30);
        while !state("hint").is_file() {
            if child.try_wait().map_err(|e| e.to_string())?.is_some() || Instant::now() > end {
                return Err(format!(
                    "it did not start:\n{}",
                    std::fs::read_to_string(state("log")).unwrap_or_default()
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    print!("{}", std::fs::read_to_string(state("hint")).map_err(|e| e.to_string())?);
    Ok(())
}

fn down() -> Result<(), String> {
    let Some(pid) = running() else {
        println!("nothing is running");
        return Ok(());
    };
    let killed = Command::new("kill").arg(pid.to_string()).status().map_err(|e| e.to_string())?;
    let end = Instant::now() + Duration::from_secs(10);
    while running().is_some() {
        if !killed.success() || Instant::now() > end {
            return Err(format!("process {pid} does not end"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = std::fs::remove_file(state("pid"));
    let _ = std::fs::remove_file(state("hint"));
    println!("stopped");
    Ok(())
}

async fn serve() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut end = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let world = World::start().await;
    let temporary = state("hint.new");
    std::fs::write(&temporary, world.hint()).map_err(|e| e.to_string())?;
    std::fs::rename(temporary, state("hint")).map_err(|e| e.to_string())?;
    end.recv().await;
    drop(world);
    Ok(())
}
