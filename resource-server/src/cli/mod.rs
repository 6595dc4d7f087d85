//! The commands: one file each.

pub mod backup;
pub mod explain;
pub mod healthcheck;
pub mod move_database;
pub mod preflight;
pub mod serve;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use database::Options;
use database::transfer::TransferFault;

use crate::app::StartFault;
use crate::config::{Command, Settings};

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was asked, or what the settings name, is wrong: exit status 2, every fault listed, nothing started.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// It could not be done: exit status 1. Empty: everything is said already.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Faults(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl From<TransferFault> for CliError {
    fn from(fault: TransferFault) -> Self {
        match fault {
            TransferFault::Refused(message) => Self::Faults(vec![message]),
            // As at the start of a server.
            TransferFault::Database(error) => StartFault::from(error).into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<StartFault> for CliError {
    fn from(fault: StartFault) -> Self {
        match fault.status() {
            2 => Self::Faults(vec![fault.to_string()]),
            _ => Self::Failed(fault.to_string()),
        }
    }
}

/// How a command opens a database beside a running server.
fn tool_options(settings: &Settings) -> Options {
    Options { connect_timeout: settings.postgres.connect_timeout, ..Options::for_tools() }
}

/// Runs the program with the arguments of the command line, the program's name first. Status 2: the settings do not hold, nothing was started.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (command, settings) = match crate::config::load(args) {
        Ok(loaded) => loaded,
        Err(refusal) => return refusal.report("resource-server"),
    };
    let outcome = match command {
        Command::Serve => in_runtime(serve::run(settings)),
        Command::Healthcheck(args) => healthcheck::run(&settings, &args),
        Command::Move(args) => in_runtime(move_database::run(&settings, args)),
        Command::Backup(args) => in_runtime(backup::run(&settings, args)),
        Command::Explain(args) => in_runtime(explain::run(settings, args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(error.status())
        }
    }
}

/// Prints the answer of a command; a document is indented.
fn print(answer: impl std::fmt::Display) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")
        .and_then(|()| out.flush())
        .map_err(|error| CliError::Failed(format!("standard output: {error}")))
}

#[expect(clippy::print_stderr, reason = "a command speaks to whoever called it")]
fn complain(error: &CliError) {
    for line in error.to_string().lines() {
        eprintln!("resource-server: {line}");
    }
}

/// Runs to the end on this thread: the server's workers and the database bring threads of their own.
fn in_runtime(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| CliError::Failed(error.to_string()))?;
    runtime.block_on(work)
}
