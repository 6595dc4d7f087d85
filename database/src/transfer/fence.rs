//! The fence: keeps every process from writing to a database that is being moved, or was, and from starting on an unfinished copy.
//!
//! A trigger on each table refuses the write, so it costs nothing while there is none, holds for servers that run already, and no
//! unit can slip through: the definition of a trigger waits for writers that are under way, and later ones wait for it. Reads go on.
//! What the fence means stands in the one row of the table `fence`, which a server reads before it migrates.

use std::sync::Arc;

use super::schema::{FENCE, Table, quoted};
use super::{TransferFault, is_whole};
use crate::job::{Kind, Session};
use crate::{Database, DatabaseError, DatabaseUrl, Migration, Sql, migrate};

/// What a write meets.
pub(crate) const FENCED: &str = "it is being moved to another place, or was";

const CREATE: &str = "CREATE TABLE IF NOT EXISTS fence (
    id INT NOT NULL PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL, peer TEXT NOT NULL, holder TEXT NOT NULL);";
const READ: &str = "SELECT state, peer, holder FROM fence";
const REMOVE: &str = "DELETE FROM fence";
const PUT: &str = "INSERT INTO fence (id, state, peer, holder) VALUES (1, ?1, ?2, ?3)";
const SETTLE: &str = "UPDATE fence SET state = 'moved' WHERE state = 'moving' AND holder = ?1";
const OPEN: &str = "DELETE FROM fence WHERE state = 'unfinished' AND holder = ?1";

const TABLES_OF_SQLITE: &str = "SELECT name FROM sqlite_schema WHERE type = 'table'
    AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
const TABLES_OF_POSTGRES: &str = "SELECT c.relname FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
/// A schema of ours has no other triggers.
const TRIGGERS_OF_SQLITE: &str = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";

/// Five characters of PostgreSQL's alphabet for error codes, in a class that nobody else has.
const REFUSE_ON_POSTGRES: &str =
    "CREATE FUNCTION fence_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the database is fenced' USING ERRCODE = 'FENCE'; END $$";

/// How an engine is spoken to where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub(super) fn of(url: &DatabaseUrl) -> Self {
        match url {
            DatabaseUrl::Sqlite(_) => Self::Sqlite,
            DatabaseUrl::Postgres(_) => Self::Postgres,
        }
    }
}

/// Why a database is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being copied, or whoever did so has died.
    Moving,
    /// It lives elsewhere now.
    Moved,
    /// It is a copy that is not complete.
    Unfinished,
}

/// The row of the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) state: State,
    /// The other side.
    pub(super) peer: String,
    /// Which run of the command has put it there.
    pub(super) holder: String,
}

impl Fence {
    /// What an operator is told.
    pub(super) fn message(&self) -> String {
        let peer = &self.peer;
        match self.state {
            State::Moving => format!(
                "this database is being moved to {peer}; if that was broken off, run the move again or release it (`move --release`)"
            ),
            State::Moved => {
                format!(
                    "this database was moved to {peer}; only `move --release` makes it usable again"
                )
            }
            State::Unfinished => {
                format!(
                    "this database is an unfinished copy of {peer}: run the move again, or remove it"
                )
            }
        }
    }
}

pub(super) fn read(sql: &mut dyn Sql) -> Result<Option<Fence>, DatabaseError> {
    let rows = sql.query(READ, &[])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let state = match row.text(0)?.as_str() {
        "moving" => State::Moving,
        "moved" => State::Moved,
        "unfinished" => State::Unfinished,
        _ => return Err(DatabaseError::Corrupt("the fence's state is unknown".into())),
    };
    Ok(Some(Fence { state, peer: row.text(1)?, holder: row.text(2)? }))
}

/// Makes the table, empty.
pub(crate) fn found(session: &mut dyn Session) -> Result<(), DatabaseError> {
    migrate::run(session, CREATE)
}

/// Refuses a database that is not to be used; the first thing that a server does with one.
pub(crate) fn heed(session: &mut dyn Session) -> Result<(), DatabaseError> {
    match read(session)? {
        None => Ok(()),
        Some(fence) => Err(DatabaseError::Fenced(fence.message())),
    }
}

/// The tables that are there, whoever made them.
pub(super) fn names(sql: &mut dyn Sql, engine: Engine) -> Result<Vec<String>, DatabaseError> {
    let text = match engine {
        Engine::Sqlite => TABLES_OF_SQLITE,
        Engine::Postgres => TABLES_OF_POSTGRES,
    };
    sql.query(text, &[])?.iter().map(|row| row.text(0)).collect()
}

/// Fences the source, or takes over the fence of a run that was broken off. A write that was under way is committed by then.
///
/// A migration is one as well: each of its steps first writes to `guard`. So what it has left there by now is seen here, which
/// refuses, and its next step meets the fence.
pub(super) async fn raise(
    source: &Database,
    engine: Engine,
    tables: &Arc<[Table]>,
    migrations: &'static [Migration],
    peer: &str,
    holder: &str,
) -> Result<(), TransferFault> {
    let tables = Arc::clone(tables);
    let row = ["moving".into(), peer.into(), holder.into()];
    let unit = move |session: &mut dyn Session| {
        lock(session, engine, &tables, "SHARE ROW EXCLUSIVE")?;
        is_whole(session, migrations)?;
        lift(session, engine)?;
        if engine == Engine::Postgres {
            session.define(REFUSE_ON_POSTGRES)?;
        }
        for table in tables.iter() {
            for definition in triggers(table.name, engine) {
                session.define(&definition)?;
            }
        }
        session.execute(REMOVE, &[])?;
        session.execute(PUT, &row)?;
        Ok(())
    };
    source.submit(Kind::Write, std::panic::Location::caller(), unit).await
}

/// Before the first query of a read: until its end nobody redefines a table, in a way that would show in what it reads. A table
/// that PostgreSQL writes anew or truncates is empty to whoever looks at an earlier moment.
pub(super) fn hold_definitions(
    session: &mut dyn Session,
    engine: Engine,
    tables: &[Table],
) -> Result<(), DatabaseError> {
    lock(session, engine, tables, "ACCESS SHARE")
}

/// On SQLite the transaction is all that it takes.
fn lock(
    session: &mut dyn Session,
    engine: Engine,
    tables: &[Table],
    mode: &str,
) -> Result<(), DatabaseError> {
    if engine == Engine::Sqlite {
        return Ok(());
    }
    let all: Vec<String> = tables.iter().map(|table| quoted(table.name)).collect();
    session.define(&format!("LOCK TABLE {} IN {mode} MODE", all.join(", ")))
}

fn triggers(name: &str, engine: Engine) -> Vec<String> {
    let table = quoted(name);
    match engine {
        Engine::Sqlite => ["INSERT", "UPDATE", "DELETE"]
            .map(|event| {
                let trigger = quoted(&format!("fence_{name}_{}", event.to_lowercase()));
                format!(
                    "CREATE TRIGGER {trigger} BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'fenced'); END"
                )
            })
            .to_vec(),
        Engine::Postgres => vec![format!(
            "CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION fence_refuse()"
        )],
    }
}

fn lift(session: &mut dyn Session, engine: Engine) -> Result<(), DatabaseError> {
    match engine {
        Engine::Sqlite => {
            for row in session.query(TRIGGERS_OF_SQLITE, &[])? {
                session.define(&format!("DROP TRIGGER {}", quoted(&row.text(0)?)))?;
            }
            Ok(())
        }
        // And the triggers with it.
        Engine::Postgres => session.define("DROP FUNCTION IF EXISTS fence_refuse() CASCADE"),
    }
}

/// Takes the fence of a source away, whoever put it there; or only `holder`'s of a move that is not complete.
pub(super) async fn release(
    source: &Database,
    engine: Engine,
    holder: Option<&str>,
) -> Result<Option<Fence>, TransferFault> {
    let holder = holder.map(str::to_owned);
    let unit = move |session: &mut dyn Session| {
        let Some(fence) = read(session)? else { return Ok(None) };
        let ours = match &holder {
            None => fence.state != State::Unfinished,
            Some(holder) => fence.state == State::Moving && fence.holder == *holder,
        };
        if ours {
            lift(session, engine)?;
            session.execute(REMOVE, &[])?;
        }
        Ok(Some(fence))
    };
    Ok(submit(source, unit).await?)
}

/// The source lives at its peer from now on. `false`: somebody has taken the fence over, or away.
pub(super) async fn settle(source: &Database, holder: &str) -> Result<bool, DatabaseError> {
    let holder = [holder.into()];
    source.write(move |sql| Ok(sql.execute(SETTLE, &holder)? == 1)).await
}

/// The copy is complete, servers may use it. `false`: it is somebody else's by now.
pub(super) async fn open(target: &Database, holder: &str) -> Result<bool, DatabaseError> {
    let holder = [holder.into()];
    target.write(move |sql| Ok(sql.execute(OPEN, &holder)? == 1)).await
}

/// Marks an empty database as an unfinished copy, or makes one empty that is marked so already; anything else is refused.
pub(super) async fn claim(
    target: &Database,
    engine: Engine,
    tables: &[Table],
    peer: &str,
    holder: &str,
) -> Result<(), TransferFault> {
    let known: Vec<&'static str> = tables.iter().map(|table| table.name).collect();
    let row = ["unfinished".into(), peer.into(), holder.into()];
    let unit = move |session: &mut dyn Session| {
        let there = names(session, engine)?;
        if !there.is_empty() {
            if !there.iter().any(|name| name == FENCE) {
                return Ok(false);
            }
            match read(session)? {
                Some(Fence { state: State::Unfinished, .. }) => drop_all(session, &there, &known)?,
                _ => return Ok(false),
            }
        }
        found(session)?;
        session.execute(PUT, &row)?;
        Ok(true)
    };
    if submit(target, unit).await? {
        return Ok(());
    }
    Err(TransferFault::Refused("the target is not empty".into()))
}

/// Leaves nothing of `holder`'s unfinished copy.
pub(super) async fn abandon(
    target: &Database,
    engine: Engine,
    tables: &[Table],
    holder: &str,
) -> Result<(), DatabaseError> {
    let known: Vec<&'static str> = tables.iter().map(|table| table.name).collect();
    let holder = holder.to_owned();
    let unit = move |session: &mut dyn Session| {
        let there = names(session, engine)?;
        if !there.iter().any(|name| name == FENCE) {
            return Ok(());
        }
        match read(session)? {
            Some(fence) if fence.state == State::Unfinished && fence.holder == holder => {
                drop_all(session, &there, &known)
            }
            _ => Ok(()),
        }
    };
    submit(target, unit).await
}

/// Children before their parents. `known` has the parents first.
fn drop_all(
    session: &mut dyn Session,
    there: &[String],
    known: &[&'static str],
) -> Result<(), DatabaseError> {
    session.be_patient()?;
    let unknown = there.iter().map(String::as_str).filter(|name| !known.contains(name));
    let ordered =
        known.iter().rev().copied().filter(|name| there.iter().any(|there| there == name));
    for name in unknown.chain(ordered) {
        session.define(&format!("DROP TABLE {}", quoted(name)))?;
    }
    Ok(())
}

async fn submit<T: Send + 'static>(
    database: &Database,
    unit: impl FnMut(&mut dyn Session) -> Result<T, DatabaseError> + Send + 'static,
) -> Result<T, DatabaseError> {
    database.submit(Kind::Write, std::panic::Location::caller(), unit).await
}
