//! Whole databases: moved from one place to another, on the same engine or the other one, and backed up.
//!
//! ```text
//! move:  claim the target ─> its schema ─> fence the source ─> copy ─> count and compare both ─> "moved" ─> open the target
//! ```
//! From the fence on the source takes no write, of no process (503 of the servers on it), and goes on reading. So what is copied is
//! what was acknowledged, all of it, and nothing can be acknowledged that is not copied. A move that fails lifts the fence and
//! leaves nothing in the target. One that is killed leaves a target on which no server starts, and a source that is fenced until
//! the move is run again, or the source is released.

mod copy;
mod fence;
mod file;
mod schema;
mod tally;

#[cfg(test)]
#[macro_use]
mod tests;
#[cfg(test)]
mod newer;

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use crate::migrate::{self, Migration};
use crate::{Database, DatabaseError, DatabaseUrl, Options, Sql};
use fence::{Engine, State};
pub(crate) use fence::{FENCED, found, heed};
pub use file::backup;
use schema::Table;
pub use tally::TableTally;

/// Why nothing was moved or backed up.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransferFault {
    /// What was asked cannot be; nothing has changed.
    #[error("{0}")]
    Refused(String),
    /// The copy is not what was read, or the source has changed meanwhile. The copy is gone again.
    #[error("the copy differs from its source: {0}")]
    Differs(String),
    /// A file cannot be written.
    #[error("{0}")]
    File(String),
    /// It is copied and compared, the source says so, and the target could not be opened for servers.
    #[error(
        "everything is copied, but the target still counts as unfinished: release the source and move again ({0})"
    )]
    NotOpened(String),
    /// A database does not do its part.
    #[error("{0}")]
    Database(#[from] DatabaseError),
}

/// One of the two databases.
struct Side {
    url: DatabaseUrl,
    engine: Engine,
    database: Database,
    /// The SQLite file that was made for it.
    made: Option<PathBuf>,
}

impl Side {
    async fn open(url: &DatabaseUrl, options: &Options) -> Result<Self, TransferFault> {
        let made = match url {
            DatabaseUrl::Sqlite(path) if !path.exists() => Some(path.clone()),
            _ => None,
        };
        let database = Database::open(url, options).await?;
        Ok(Self { url: url.clone(), engine: Engine::of(url), database, made })
    }

    /// A database that has to hold something already.
    async fn existing(url: &DatabaseUrl, options: &Options) -> Result<Self, TransferFault> {
        let absent = || TransferFault::Refused(format!("there is no database at {url}"));
        if matches!(url, DatabaseUrl::Sqlite(path) if !path.exists()) {
            return Err(absent());
        }
        let side = Self::open(url, options).await?;
        let engine = side.engine;
        let names = side.database.read(move |sql| fence::names(sql, engine)).await?;
        if names.iter().any(|name| name == schema::HISTORY || name == schema::FENCE) {
            return Ok(side);
        }
        side.database.close().await;
        Err(absent())
    }

    /// Closes it; a file that was made for nothing goes with it.
    async fn discard(self) {
        self.database.close().await;
        for path in self.made.iter().flat_map(|path| file::with_companions(path)) {
            // An absent one is none of our making.
            std::fs::remove_file(path).ok();
        }
    }
}

/// Moves everything, and answers what was counted, the same on both sides. The source stays fenced: it says where it went.
///
/// Servers on the source go on reading meanwhile; their writes fail with [`DatabaseError::Unavailable`], before as well as after
/// the end, until [`release`].
///
/// # Errors
/// [`TransferFault::Refused`] for two equal places, a source that is absent or was moved already, and a target that is not empty.
/// [`DatabaseError::TooNew`] and [`DatabaseError::Unfinished`] where a newer build has changed the source's schema, or begun to.
pub async fn relocate(
    from: &DatabaseUrl,
    to: &DatabaseUrl,
    migrations: &'static [Migration],
    options: &Options,
) -> Result<Vec<TableTally>, TransferFault> {
    if from == to || from.to_string() == to.to_string() {
        return Err(TransferFault::Refused("source and target are the same database".into()));
    }
    let tables: Arc<[Table]> = schema::tables(migrations)?.into();
    let options = patient(options);
    let source = Side::existing(from, &options).await?;
    let outcome = match prepare(&source, migrations).await {
        Ok(()) => match Side::open(to, &options).await {
            Ok(target) => to_target(&source, target, &tables, migrations).await,
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    source.database.close().await;
    outcome
}

/// Reading everything is one long unit, and that is no news.
fn patient(options: &Options) -> Options {
    Options { slow: std::time::Duration::MAX, ..options.clone() }
}

/// Brings the source's schema up to date, unless it is fenced by a move that was broken off: then it has to be so already.
async fn prepare(source: &Side, migrations: &'static [Migration]) -> Result<(), TransferFault> {
    let refused = match source.database.migrate(migrations).await {
        Err(DatabaseError::Fenced(message)) => message,
        Err(error) => return Err(error.into()),
        // What a newer build has added would be lost.
        Ok(()) => return must_be_current(&source.database, migrations).await,
    };
    let moving = source.database.read(move |sql| {
        let state = fence::read(sql)?.map(|fence| fence.state);
        Ok::<_, DatabaseError>(state == Some(State::Moving))
    });
    if !moving.await? {
        return Err(TransferFault::Refused(refused));
    }
    must_be_current(&source.database, migrations).await
}

async fn must_be_current(
    database: &Database,
    migrations: &'static [Migration],
) -> Result<(), TransferFault> {
    database.read(move |sql| is_whole(sql, migrations)).await
}

/// Is the schema, at this moment, what `migrations` make, all of it and nothing else? Anything else would not arrive.
fn is_whole(sql: &mut dyn Sql, migrations: &'static [Migration]) -> Result<(), TransferFault> {
    if migrate::is_current(sql, migrations)? {
        return Ok(());
    }
    let message = "its schema is older than this build: start a server of this build on it first";
    Err(TransferFault::Refused(message.into()))
}

async fn to_target(
    source: &Side,
    target: Side,
    tables: &Arc<[Table]>,
    migrations: &'static [Migration],
) -> Result<Vec<TableTally>, TransferFault> {
    let holder = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    let peer = absolute(&source.url);
    let claim = fence::claim(&target.database, target.engine, tables, &peer, &holder);
    if let Err(fault) = claim.await {
        target.discard().await;
        return Err(fault);
    }
    match fill(source, &target, tables, migrations, &holder).await {
        Ok(counted) => finish(source, target, tables, &holder, counted).await,
        Err(fault) => Err(undo(source, target, tables, &holder, fault).await),
    }
}

/// The decision: from here on it lives at the target. Never at both: the source gives up first.
async fn finish(
    source: &Side,
    target: Side,
    tables: &[Table],
    holder: &str,
    counted: Vec<TableTally>,
) -> Result<Vec<TableTally>, TransferFault> {
    match fence::settle(&source.database, holder).await {
        Ok(true) => {}
        Ok(false) => {
            let fault = TransferFault::Refused(
                "another command has released the source, or moves it as well".into(),
            );
            return Err(undo(source, target, tables, holder, fault).await);
        }
        // It may say "moved" or not: the copy stays, unfinished, and the source stays fenced.
        Err(error) => {
            target.database.close().await;
            return Err(TransferFault::NotOpened(error.to_string()));
        }
    }
    let opened = fence::open(&target.database, holder).await;
    target.database.close().await;
    match opened {
        Ok(true) => Ok(counted),
        Ok(false) => Err(TransferFault::NotOpened("another command works on it".into())),
        Err(error) => Err(TransferFault::NotOpened(error.to_string())),
    }
}

/// Everything that may fail without harm.
async fn fill(
    source: &Side,
    target: &Side,
    tables: &Arc<[Table]>,
    migrations: &'static [Migration],
    holder: &str,
) -> Result<Vec<TableTally>, TransferFault> {
    make_schema(&target.database, tables, migrations).await?;
    let peer = absolute(&target.url);
    fence::raise(&source.database, source.engine, tables, migrations, &peer, holder).await?;
    let (from, to) = (&source.database, &target.database);
    let read = copy::copy(from, source.engine, to, tables, migrations).await?;
    let (before, after) =
        tokio::join!(copy::tally(&source.database, tables), copy::tally(&target.database, tables));
    let before = before?;
    copy::compare(&read, &before, "the source has changed meanwhile")?;
    copy::compare(&before, &after?, "source and target")?;
    Ok(before)
}

/// The schema without a row: migrations also put some in, which the source has too.
async fn make_schema(
    target: &Database,
    tables: &Arc<[Table]>,
    migrations: &'static [Migration],
) -> Result<(), DatabaseError> {
    target.bring_up(migrations, migrate::prepare_copy).await?;
    let tables = Arc::clone(tables);
    let clear = move |sql: &mut dyn Sql| {
        let copied = tables.iter().rev().filter(|table| table.name != schema::HISTORY);
        copied.into_iter().try_for_each(|table| sql.execute(table.clear, &[]).map(drop))
    };
    target.write(clear).await
}

/// After a failure: the source goes on as before, the target is as empty as it was.
async fn undo(
    source: &Side,
    target: Side,
    tables: &[Table],
    holder: &str,
    fault: TransferFault,
) -> TransferFault {
    let abandoned = fence::abandon(&target.database, target.engine, tables, holder).await;
    let released = fence::release(&source.database, source.engine, Some(holder)).await;
    if abandoned.is_ok() {
        target.discard().await;
    } else {
        target.database.close().await;
    }
    match (abandoned, released) {
        (Ok(()), Ok(_)) => fault,
        (Err(error), Ok(_)) => {
            told_besides(&fault, "the target stays marked as unfinished", &error.into())
        }
        (_, Err(error)) => told_besides(&fault, "the source stays fenced", &error),
    }
}

fn told_besides(fault: &TransferFault, what: &str, why: &TransferFault) -> TransferFault {
    TransferFault::Database(DatabaseError::Fenced(format!("{fault}; and {what}: {why}")))
}

/// Makes a source usable again that was moved, or whose move was broken off; where it went, or was to go. `None`: it is not fenced.
///
/// # Errors
/// [`TransferFault::Refused`] when it is absent, or itself an unfinished copy.
pub async fn release(at: &DatabaseUrl, options: &Options) -> Result<Option<String>, TransferFault> {
    let side = Side::existing(at, options).await?;
    let engine = side.engine;
    let names = side.database.read(move |sql| fence::names(sql, engine)).await;
    let outcome = match names {
        Ok(names) if names.iter().any(|name| name == schema::FENCE) => {
            fence::release(&side.database, engine, None).await
        }
        Ok(_) => Ok(None),
        Err(error) => Err(TransferFault::Database(error)),
    };
    side.database.close().await;
    match outcome? {
        Some(fence) if fence.state == State::Unfinished => {
            Err(TransferFault::Refused(fence.message()))
        }
        fence => Ok(fence.map(|fence| fence.peer)),
    }
}

/// As it is told to an operator who may stand in another folder.
fn absolute(url: &DatabaseUrl) -> String {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            DatabaseUrl::Sqlite(path).to_string()
        }
        DatabaseUrl::Postgres(_) => url.to_string(),
    }
}
