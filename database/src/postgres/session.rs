//! An open PostgreSQL transaction as a unit of work sees it.

use std::error::Error as StdError;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::Error;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

use super::fault;
use super::link::Link;
use crate::job::{Kind, Session};
use crate::migrate::{BRIEF_MILLIS, Dialect};
use crate::statistics::Gauges;
use crate::{DatabaseError, Row, Sql, Value, clock};

static DIALECT: Dialect =
    Dialect { id: "BIGINT", int: "BIGINT", bytes: "BYTEA", table_suffix: "", index: Some(INDEX) };

/// What bears the name of an index need not be one, nor of that table; one that was built CONCURRENTLY need not have become valid.
const INDEX: &str =
    "SELECT COALESCE(i.indisvalid AND i.indisready, FALSE), COALESCE(i.indisunique, FALSE)
    FROM pg_catalog.pg_class t
    JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid AND i.indrelid = t.oid
    WHERE t.oid = to_regclass(quote_ident(CAST(?2 AS TEXT))) AND c.relname = CAST(?1 AS TEXT)";

/// A read sees one moment, whatever it asks.
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// A definition may wait for whoever migrates at the same time, and may take long on a large table.
const PATIENT: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10min'";
/// How long this side waits then.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// What a unit that began shortly before its deadline may still take, and the end of a transaction always: without a chance it would
/// cost a connection, and without an answer to COMMIT nobody knows.
const GRACE: Duration = Duration::from_secs(1);

/// How long a unit waits for the server before its connection counts as lost.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For one answer: more than the server allows itself.
    answer: Duration,
    /// For all of them; absent: as many as there are.
    end: Option<Instant>,
}

impl Patience {
    /// For a unit that begins now and should have ended by then.
    pub(super) fn new(answer: Duration, end: Option<Instant>) -> Self {
        Self { answer, end: end.map(|end| end.max(clock::now() + GRACE)) }
    }

    fn left(self) -> Duration {
        let left = self.end.map(|end| end.saturating_duration_since(clock::now()));
        left.map_or(self.answer, |left| left.min(self.answer))
    }
}

/// Lives as long as one closure runs once.
pub(super) struct PostgresSession<'w> {
    runtime: &'w Runtime,
    link: &'w mut Link,
    gauges: &'w Gauges,
    kind: Kind,
    patience: Patience,
    failure: Option<DatabaseError>,
    begun: bool,
    passing: bool,
    line: Line,
}

/// Whether the connection is of any use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Good,
    Broken,
    /// Given up, since nothing was heard on it in time.
    Silent,
}

impl<'w> PostgresSession<'w> {
    pub(super) fn new(
        runtime: &'w Runtime,
        link: &'w mut Link,
        gauges: &'w Gauges,
        kind: Kind,
        patience: Patience,
    ) -> Self {
        let (begun, passing, line) = (false, false, Line::Good);
        Self { runtime, link, gauges, kind, patience, failure: None, begun, passing, line }
    }

    /// Has anything reached the server? BEGIN waits for the first statement.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Would the unit have a chance if it ran again, after the rollback?
    pub(super) fn may_pass_next_time(&self) -> bool {
        self.passing
    }

    /// Is the connection of no more use?
    pub(super) fn is_lost(&self) -> bool {
        self.line != Line::Good
    }

    /// Was it lost because nothing was heard on it?
    pub(super) fn was_silent(&self) -> bool {
        self.line == Line::Silent
    }

    /// Ends the transaction. On an error nobody knows whether the server did.
    pub(super) fn end(&mut self, statement: &'static str) -> Result<(), DatabaseError> {
        self.gauges.count_exchange(1);
        let Self { runtime, link, .. } = self;
        let answer = link.client.batch_execute(statement);
        let left = self.patience.left().max(GRACE);
        let outcome = runtime.block_on(async { timeout(left, answer).await });
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.line = Line::Broken;
                Err(fault::statement(&error, statement, statement, self.kind))
            }
            Err(_) => Err(self.silence()),
        }
    }

    fn silence(&mut self) -> DatabaseError {
        self.line = Line::Silent;
        DatabaseError::Unavailable("the database server does not answer in time")
    }

    /// Runs one statement unless an earlier one has failed, and remembers the first failure.
    fn attempt(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<(Vec<Row>, u64), DatabaseError> {
        if let Some(first) = &self.failure {
            return Err(first.clone());
        }
        let left = self.patience.left();
        let Self { runtime, link, gauges, kind, begun, .. } = self;
        let answer = exchange(link, gauges, *kind, begun, sql, params);
        let outcome = runtime.block_on(async { timeout(left, answer).await });
        self.remember(outcome.ok(), sql, sql)
    }

    fn remember<T>(
        &mut self,
        outcome: Option<Result<T, Error>>,
        sql: &str,
        text: &'static str,
    ) -> Result<T, DatabaseError> {
        let failure = match outcome {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(error)) => {
                self.passing = fault::is_passing(&error);
                if fault::is_lost(&error) {
                    self.line = Line::Broken;
                }
                if fault::is_outdated(&error) {
                    self.link.forget_statements();
                }
                fault::statement(&error, sql, text, self.kind)
            }
            None => self.silence(),
        };
        Err(self.failure.insert(failure).clone())
    }
}

impl Sql for PostgresSession<'_> {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DatabaseError> {
        self.attempt(sql, params).map(|(_, changed)| changed)
    }

    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        self.attempt(sql, params).map(|(rows, _)| rows)
    }
}

impl Session for PostgresSession<'_> {
    fn failure(&self) -> Option<&DatabaseError> {
        self.failure.as_ref()
    }

    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn define(&mut self, statement: &str) -> Result<(), DatabaseError> {
        if let Some(first) = &self.failure {
            return Err(first.clone());
        }
        let left = self.patience.left();
        let Self { runtime, link, gauges, begun, kind, .. } = self;
        gauges.count_exchange(if *begun { 1 } else { 2 });
        let answer = async {
            begin(link, *kind, begun).await?;
            link.client.batch_execute(statement).await
        };
        let outcome = runtime.block_on(async { timeout(left, answer).await });
        let race = matches!(&outcome, Ok(Err(error)) if fault::is_race_of_definitions(error));
        let outcome = self.remember(outcome.ok(), statement, "(a migration)");
        self.passing |= race;
        outcome
    }

    fn be_patient(&mut self) -> Result<(), DatabaseError> {
        // The server has to show first that it is there.
        self.define(PATIENT)?;
        self.patience = Patience { answer: PATIENCE, end: None };
        Ok(())
    }

    fn be_brief(&mut self) -> Result<(), DatabaseError> {
        self.define(&format!("SET LOCAL lock_timeout = {BRIEF_MILLIS}"))
    }
}

async fn begin(link: &Link, kind: Kind, begun: &mut bool) -> Result<(), Error> {
    if std::mem::replace(begun, true) {
        return Ok(());
    }
    let statement = match kind {
        Kind::Read => BEGIN_READ,
        Kind::Write => BEGIN_WRITE,
    };
    link.client.batch_execute(statement).await
}

/// One statement with its answer, and BEGIN before the first one.
///
/// A read sends both at once. A write must know that its transaction has begun: a statement behind a BEGIN that failed (cancelled
/// by an operator, say) would stand for itself, and be kept.
async fn exchange(
    link: &mut Link,
    gauges: &Gauges,
    kind: Kind,
    begun: &mut bool,
    sql: &'static str,
    params: &[Value],
) -> Result<(Vec<Row>, u64), Error> {
    if !*begun && kind == Kind::Write {
        gauges.count_exchange(1);
        begin(link, kind, begun).await?;
    }
    let (statement, asked) = link.prepared(sql).await?;
    gauges.count_exchange(if asked { 2 } else { 1 });
    Gauges::count(&gauges.statements);
    let answer = async {
        let mut rows = pin!(link.client.query_raw(&statement, params.iter().map(Bound)).await?);
        let mut found = Vec::new();
        while let Some(row) = rows.try_next().await? {
            let values =
                (0..row.len()).map(|column| row.try_get(column).map(|Column(value)| value));
            found.push(Row::new(values.collect::<Result<_, Error>>()?));
        }
        Ok((found, rows.rows_affected().unwrap_or(0)))
    };
    // `join` polls in this order, and the first poll sends.
    let (begun, answer) = futures_util::future::join(begin(link, kind, begun), answer).await;
    begun.and(answer)
}

/// A parameter as the driver wants it. Its `Debug`, which the driver may log, shows no content.
#[derive(Debug)]
struct Bound<'v>(&'v Value);

type Refused = Box<dyn StdError + Sync + Send>;

impl ToSql for Bound<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Refused> {
        match (self.0, wanted) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(int), &Type::INT8) => int.to_sql(wanted, out),
            (Value::Int(int), &Type::INT4) => i32::try_from(*int)?.to_sql(wanted, out),
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR) => text.to_sql(wanted, out),
            (Value::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(wanted, out),
            (value, wanted) => Err(format!("{value:?} is no {wanted}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, Refused> {
        self.to_sql(wanted, out)
    }
}

/// A column as it comes from the driver. A comparison is a flag, as on SQLite.
struct Column(Value);

impl<'a> FromSql<'a> for Column {
    fn from_sql(found: &Type, raw: &'a [u8]) -> Result<Self, Refused> {
        Ok(Self(match *found {
            Type::INT8 => Value::Int(i64::from_sql(found, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(found, raw)?.into()),
            Type::BOOL => bool::from_sql(found, raw)?.into(),
            Type::BYTEA => Value::Bytes(raw.to_vec()),
            _ => Value::Text(String::from_sql(found, raw)?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Refused> {
        Ok(Self(Value::Null))
    }

    fn accepts(found: &Type) -> bool {
        matches!(
            *found,
            Type::INT8
                | Type::INT4
                | Type::BOOL
                | Type::BYTEA
                | Type::TEXT
                | Type::VARCHAR
                | Type::NAME
        )
    }
}
