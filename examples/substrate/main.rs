//! A simulated substrate as a program: `substrate --name metal-fr --port 9001`.
#![allow(unreachable_pub, missing_docs, reason = "a program of a few files, not a library")]

mod server;

use clap::Parser;
use server::{Behaviour, Substrate};

/// A simulated inference server for Berth's demo and experiments.
#[derive(Debug, Parser)]
struct Options {
    /// Its name, in its answers and in its health document.
    #[arg(long)]
    name: String,
    /// The port on loopback; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds until the first token.
    #[arg(long, default_value_t = 5)]
    first_token_ms: u64,
    /// Milliseconds for each further token.
    #[arg(long, default_value_t = 0)]
    ms_per_token: u64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
    println!("{} listens on {}", options.name, listener.local_addr()?);
    let behaviour = Behaviour {
        first_token_ms: options.first_token_ms,
        ms_per_token: options.ms_per_token,
        ..Behaviour::default()
    };
    Substrate::new(&options.name, behaviour).serve(listener).await;
    Ok(())
}
