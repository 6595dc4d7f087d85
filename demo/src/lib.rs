//! The Client of the four parties, and a tour of the house.
//!
//! `demo` starts the authorization server and the resource server as two processes of their own with fresh databases, walks the
//! whole flow, and says in plain words what was sent and what came back. Then it stays up as a small web client, so that a person
//! can click through the same in a browser. `demo --once` ends after the walk, with status 0 only if every step went well.
//!
//! The program is its own stand-in for both servers (`demo auth-server …`, `demo resource-server …`), since `cargo run -p demo`
//! builds no other package's binary. They are still separate processes that talk through HTTP alone.

mod browser;
mod oauth;
mod servers;
mod story;
mod walk;
mod web;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

/// A tour of the house.
#[derive(Debug, clap::Parser)]
#[command(name = "demo", version, about)]
struct Args {
    /// End after the walk; the exit status is 0 only if every step went well
    #[arg(long)]
    once: bool,
    /// Port of the web client (0: any free one)
    #[arg(long, default_value_t = 9002)]
    port: u16,
    /// Port of the authorization server (0: any free one)
    #[arg(long, default_value_t = 9000)]
    auth_server_port: u16,
    /// Port of the resource server (0: any free one)
    #[arg(long, default_value_t = 9001)]
    resource_server_port: u16,
}

/// Runs the program named by the first of `arguments`, which begin with the program's own name; `main` does nothing else.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let all: Vec<OsString> = arguments.into_iter().collect();
    let mut arguments = all.iter().skip(1).cloned();
    match arguments.next() {
        Some(name) if name == "auth-server" => auth_server::run(named("auth-server", arguments)),
        Some(name) if name == "resource-server" => {
            resource_server::run(named("resource-server", arguments))
        }
        _ => tour(&Args::parse_from(all)),
    }
}

fn named(program: &str, arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    std::iter::once(program.into()).chain(arguments).collect()
}

#[expect(clippy::print_stderr, reason = "a command's complaint belongs on standard error")]
fn tour(args: &Args) -> ExitCode {
    match actix_web::rt::System::new().block_on(open_house(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe tour ended early: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn open_house(args: &Args) -> anyhow::Result<()> {
    let mut house = servers::House::open(args).await?;
    let outcome = stay(args, &house).await;
    house.close().await;
    outcome
}

async fn stay(args: &Args, house: &servers::House) -> anyhow::Result<()> {
    let client = oauth::Client::discover(&house.plan).await?;
    walk::walk(&house.plan, &client).await?;
    if args.once {
        return Ok(());
    }
    web::serve(&house.plan, client).await
}
