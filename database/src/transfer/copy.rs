//! Rows out of one database and into another one: pages by the primary key, out of one snapshot, never more than a few in memory.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::fence::{self, Engine};
use super::schema::{BLOCK, GUARD, HISTORY, Table};
use super::tally::TableTally;
use super::{TransferFault, is_whole};
use crate::job::{Kind, Session};
use crate::migrate::{self, Migration};
use crate::{Database, DatabaseError, Row, Sql, Value, clock};

/// The most rows of a page.
const MOST: i64 = 500;
/// How long a page may take before the next one is smaller.
const LONG: Duration = Duration::from_millis(10);
/// How many bytes of texts and blobs a page may have before the next one is smaller.
const LARGE: usize = 1024 * 1024;
/// Pages on their way from the one side to the other.
const ON_THE_WAY: usize = 2;

struct Page {
    table: usize,
    rows: Vec<Row>,
}

/// Copies every table but the history; what was read, table by table. Refuses a source whose schema, at the moment of which it
/// reads, is another one than `migrations` make.
pub(super) async fn copy(
    source: &Database,
    engine: Engine,
    target: &Database,
    tables: &Arc<[Table]>,
    migrations: &'static [Migration],
) -> Result<Vec<TableTally>, TransferFault> {
    let (pages, mut arriving) = mpsc::channel(ON_THE_WAY);
    let begin = {
        let tables = Arc::clone(tables);
        move |session: &mut dyn Session| {
            fence::hold_definitions(session, engine, &tables)?;
            is_whole(session, migrations)
        }
    };
    let reading = read_all(source, tables, begin, move |page| {
        let given_up = |_| DatabaseError::Unavailable("the target does not take more");
        pages.blocking_send(page).map_err(given_up)
    });
    let writing = async {
        while let Some(Page { table, rows }) = arriving.recv().await {
            let tables = Arc::clone(tables);
            let unit = move |sql: &mut dyn Sql| match tables.get(table) {
                Some(table) if table.name != HISTORY => insert(sql, table, &rows),
                _ => Ok(()),
            };
            target.write(unit).await?;
        }
        // Dropped here at the latest, and at the first failure: then the reader ends as well.
        drop(arriving);
        Ok::<_, DatabaseError>(())
    };
    let (read, written) = tokio::join!(reading, writing);
    written?;
    read
}

/// Counts every row of every table in one snapshot.
pub(super) async fn tally(
    database: &Database,
    tables: &Arc<[Table]>,
) -> Result<Vec<TableTally>, TransferFault> {
    read_all(database, tables, |_| Ok(()), |_| Ok(())).await
}

/// One read for all tables: on either engine it sees one moment.
async fn read_all(
    source: &Database,
    tables: &Arc<[Table]>,
    mut begin: impl FnMut(&mut dyn Session) -> Result<(), TransferFault> + Send + 'static,
    mut take: impl FnMut(Page) -> Result<(), DatabaseError> + Send + 'static,
) -> Result<Vec<TableTally>, TransferFault> {
    let tables = Arc::clone(tables);
    let mut begun = false;
    let unit = move |session: &mut dyn Session| {
        if begun {
            // What was handed on cannot be taken back.
            return Err(DatabaseError::Unavailable("reading met another process; try again").into());
        }
        begin(session)?;
        begun = true;
        let mut tallies = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let mut tally = TableTally::of(table.name);
            walk(session, table, |mut rows| {
                if table.name == GUARD {
                    rows.retain(|row| !migrate::is_progress(row));
                }
                for row in &rows {
                    tally.add(row);
                }
                take(Page { table: index, rows })
            })?;
            tallies.push(tally);
        }
        Ok(tallies)
    };
    source.submit(Kind::Read, Location::caller(), unit).await
}

fn walk(
    sql: &mut dyn Sql,
    table: &Table,
    mut take: impl FnMut(Vec<Row>) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let mut limit = MOST / 10;
    let mut after: Option<Vec<Value>> = None;
    loop {
        let started = clock::now();
        let rows = match &after {
            None => sql.query(table.first, &[limit.into()])?,
            Some(key) => {
                let params: Vec<Value> =
                    std::iter::once(limit.into()).chain(key.iter().cloned()).collect();
                sql.query(table.next, &params)?
            }
        };
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(table.key.iter().filter_map(|&at| last.values().get(at).cloned()).collect());
        let ended = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
        let too_much = started.elapsed() > LONG || rows.iter().map(size).sum::<usize>() > LARGE;
        limit = if too_much { (limit / 2).max(1) } else { (limit * 2).min(MOST) };
        take(rows)?;
        if ended {
            return Ok(());
        }
    }
}

fn size(row: &Row) -> usize {
    let of = |value: &Value| match value {
        Value::Null | Value::Int(_) => 8,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    };
    row.values().iter().map(of).sum()
}

fn insert(sql: &mut dyn Sql, table: &Table, rows: &[Row]) -> Result<(), DatabaseError> {
    let values = |rows: &[Row]| -> Vec<Value> {
        rows.iter().flat_map(|row| row.values().iter().cloned()).collect()
    };
    let blocks = rows.chunks_exact(BLOCK);
    let rest = blocks.remainder();
    for block in blocks {
        sql.execute(table.insert_block, &values(block))?;
    }
    for row in rest {
        sql.execute(table.insert_one, row.values())?;
    }
    Ok(())
}

/// Every table alike on both sides?
pub(super) fn compare(
    source: &[TableTally],
    target: &[TableTally],
    by: &str,
) -> Result<(), TransferFault> {
    let differs = |(source, target): (&TableTally, &TableTally)| {
        (source != target).then(|| {
            format!(
                "{}: {} rows ({}) and {} rows ({})",
                source.table,
                source.rows,
                source.hex(),
                target.rows,
                target.hex()
            )
        })
    };
    let faults: Vec<String> = source.iter().zip(target).filter_map(differs).collect();
    if faults.is_empty() && source.len() == target.len() {
        return Ok(());
    }
    Err(TransferFault::Differs(format!("{by}: {}", faults.join("; "))))
}
