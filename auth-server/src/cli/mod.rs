//! The commands: one file each. All but `serve` work on the database beside a running server, which sees the effect within 5 s.

pub mod account;
pub mod apply;
pub mod backup;
pub mod client;
pub mod config;
pub mod healthcheck;
pub mod key;
pub mod move_database;
pub mod output;
pub mod serve;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use database::transfer::TransferFault;
use database::{Database, DatabaseError, DatabaseUrl};
use shared_types::{Clock, SystemClock};

use crate::app::{self, StartFault};
use crate::config::{Command, Settings};
use crate::keys::vault::Vault;
use crate::random::{OsRandom, SecureRandom};
use crate::store::StoreError;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was asked is wrong: exit status 2, every fault listed, nothing changed.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// It could not be done: exit status 1.
    #[error("{0}")]
    Failed(String),
    /// It is done, and nobody could be told: exit status 1.
    #[error("{0}")]
    Unprinted(String),
}

impl CliError {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Faults(_) => 2,
            Self::Failed(_) | Self::Unprinted(_) => 1,
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<DatabaseError> for CliError {
    fn from(error: DatabaseError) -> Self {
        Self::Failed(error.to_string())
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

/// What a command works with: the same database and keys as the server, without the server.
#[derive(Debug)]
pub struct Workbench {
    /// Checked settings.
    pub settings: Settings,
    /// The store's database, its schema brought up to date.
    pub database: Database,
    /// Our own keys, unsealed.
    pub vault: Vault,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn SecureRandom>,
}

impl Workbench {
    /// Opens the database with the patience of a command: it waits 30 s for a lock that a server may hold.
    pub async fn open(settings: Settings) -> Result<Self, CliError> {
        let database = app::open_database(&settings, &tool_options(&settings)).await?;
        let random: Arc<dyn SecureRandom> = Arc::new(OsRandom);
        let vault = app::open_vault(&settings, &database, &*random).await?;
        Ok(Self { settings, database, vault, clock: Arc::new(SystemClock), random })
    }

    /// Waits until everything written is durable and closes the database.
    pub async fn close(self) {
        self.database.close().await;
    }
}

/// How a command opens a database beside a running server.
fn tool_options(settings: &Settings) -> database::Options {
    database::Options {
        connect_timeout: settings.postgres.connect_timeout,
        ..database::Options::for_tools()
    }
}

/// Runs the program with the arguments of the command line, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (command, settings) = match crate::config::load(args) {
        Ok(loaded) => loaded,
        Err(refusal) => return refusal.report("auth-server"),
    };
    let outcome = match command {
        Command::Serve(args) => in_runtime(serve::run(settings, &args)),
        Command::Config(args) => config::run(&settings, &args),
        Command::Healthcheck(args) => healthcheck::run(&settings, &args),
        Command::Move(args) => in_runtime(move_database::run(&settings, args)),
        Command::Backup(args) => in_runtime(backup::run(&settings, args)),
        Command::Apply(args) => apply_beside_the_server(settings, &args),
        Command::Account(args) => args.checked().and_then(|args| {
            beside_the_server(settings, args.may_begin(), async move |bench| {
                account::run(bench, args).await
            })
        }),
        Command::Client(args) => client_beside_the_server(settings, args),
        Command::Key(args) => {
            beside_the_server(settings, false, async move |bench| key::run(bench, args).await)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                output::complain(format_args!("auth-server: {line}"));
            }
            ExitCode::from(error.status())
        }
    }
}

/// The file is read first: a fault in it leaves no trace, and neither does a dry run.
fn apply_beside_the_server(settings: Settings, args: &apply::Args) -> Result<(), CliError> {
    let state = apply::read(&settings, &args.file)?;
    if is_absent(&settings) {
        apply::check_on_nothing(args, &state)?;
        if args.dry_run {
            return apply::dry_run_on_nothing(args, &state);
        }
    }
    beside_the_server(settings, true, async |bench| apply::run(bench, args, &state).await)
}

/// Where there is no database yet the arguments are held against nothing first: a fault in them leaves no trace.
fn client_beside_the_server(settings: Settings, args: client::Args) -> Result<(), CliError> {
    if is_absent(&settings) {
        args.check_beside_nothing()?;
    }
    beside_the_server(settings, args.may_begin(), async move |bench| client::run(bench, args).await)
}

fn is_absent(settings: &Settings) -> bool {
    matches!(&settings.database, DatabaseUrl::Sqlite(path) if !path.exists())
}

/// Opens the workbench, does the work and closes it. A command that only makes sense on what is there does not make a database: a
/// mistyped path would otherwise look like an empty server.
fn beside_the_server(
    settings: Settings,
    may_begin: bool,
    work: impl AsyncFnOnce(&Workbench) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if !may_begin && is_absent(&settings) {
        return Err(CliError::Failed(format!("there is no database at {}", settings.database)));
    }
    in_runtime(async {
        let bench = Workbench::open(settings).await?;
        let outcome = work(&bench).await;
        bench.close().await;
        outcome
    })
}

/// Runs to the end on this thread: the server's workers and the database bring threads of their own.
fn in_runtime(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(error.to_string()))?;
    runtime.block_on(work)
}
