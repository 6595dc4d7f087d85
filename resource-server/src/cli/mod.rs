//! The commands: one file each.

pub mod explain;
pub mod healthcheck;
pub mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::Command;

/// Why a command did not do what it was asked to: exit status 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// Runs the program with the arguments of the command line, the program's name first. Status 2: the settings do not hold, nothing was started.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (command, settings) = match crate::config::load(args) {
        Ok(loaded) => loaded,
        Err(refusal) => return refusal.report("resource-server"),
    };
    let outcome = match command {
        Command::Serve => in_runtime(serve::run(settings)),
        Command::Healthcheck => healthcheck::run(&settings),
        Command::Explain(args) => in_runtime(explain::run(settings, args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            complain(&failed);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command speaks to whoever called it")]
fn complain(failed: &Failed) {
    if !failed.0.is_empty() {
        eprintln!("resource-server: {failed}");
    }
}

/// Runs to the end on this thread: the server's workers and the database bring threads of their own.
fn in_runtime(work: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Failed(error.to_string()))?;
    runtime.block_on(work)
}
