//! The purge: the server's own walk removes a large part of a table, while clients refresh tokens.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use auth_server::domain::row_id::RowId;
use auth_server::store::StoreError;
use futures_util::future::try_join;
use serde_json::json;

use super::scene::Scene;
use super::{Output, Plan, WARM_UP, round};
use crate::load::{Answer, Traffic, run};
use crate::machine::now;
use crate::state::CONNECTIONS;

/// The most rows that are due at once.
const DUE: u64 = 200_000;
/// Rows that become due in one unit of work.
const UNIT: u64 = 2_000;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the walk may hold the writer, in milliseconds.
const MOST: f64 = 50.0;

/// These were used for the last time before anybody can remember, so they are due.
const MAKE_DUE: &str = "UPDATE authorization_grant SET rotated_at = 1 WHERE id >= ?1 AND id < ?2";
const FROM_THE_START: &str = "DELETE FROM purge_cursor WHERE name = 'authorization_grant'";
const WHERE: &str = "SELECT after_key FROM purge_cursor WHERE name = 'authorization_grant'";
const LEFT: &str = "SELECT COUNT(*) FROM authorization_grant WHERE id < ?1";

/// Makes the oldest rows due, lets the server remove them, and tells what that cost its clients.
pub async fn measure(plan: &Plan<'_>, scene: &mut Scene, output: &mut Output) -> Result<()> {
    let due = DUE.min(scene.crowd.count / 5);
    let mut traffic = scene.others(due);
    let time = plan.time;
    // Anew, so that what it says of its longest batch is about this alone, a walk that finds nothing due included.
    scene.place.stop()?;
    scene.place.start()?;
    let quiet = round(&scene.place, CONNECTIONS, time, time / WARM_UP, &mut traffic).await?.outcome;
    let quiet_hold = hold(plan, scene)?;
    scene.place.stop()?;
    make_due(scene, due).await?;
    scene.place.start()?;
    let (stop, addr, begin) = (Cell::new(false), scene.place.auth()?.addr, now());
    let mut traffic = Until { traffic: &mut traffic, stop: &stop };
    let load = run(addr, CONNECTIONS, PATIENCE, &mut traffic);
    let (busy, ()) = try_join(load, until_removed(scene, due, &stop)).await?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(left(scene, due).await? == 0, "the walk has left rows that were due");
    let figures =
        [&quiet, &busy].map(|outcome| (outcome.percentile(0.50), outcome.percentile(0.99)));
    let [(quiet_p50, quiet_p99), (p50, p99)] = figures;
    let (engine, count) = (plan.engine.0, scene.crowd.count);
    let text = format!(
        "purge of {due} among {count} rows on {engine}: {seconds:.1} s; refresh meanwhile {:.0} per s, p50 {p50} µs, p99 {p99} µs \
         (without it {:.0} per s, {quiet_p50} µs, {quiet_p99} µs)",
        busy.rate(),
        quiet.rate()
    );
    let value = json!({
        "figure": "purge", "engine": engine, "tokens": count, "due": due, "seconds": seconds,
        "rate": busy.rate(), "p50_micros": p50, "p99_micros": p99,
        "quiet_rate": quiet.rate(), "quiet_p50_micros": quiet_p50, "quiet_p99_micros": quiet_p99,
    });
    output.line(&text, value);
    if let (Some(quiet), Some(busy)) = (quiet_hold, hold(plan, scene)?) {
        tell_hold(scene, quiet, busy, output);
    }
    Ok(())
}

/// The longest hold of the writer since the server's start, by its own measure, in milliseconds.
struct Hold {
    /// One unit of work without its commit.
    unit: f64,
    /// One batch with its commit.
    batch: f64,
}

/// On PostgreSQL there is none: it has no writer that one unit could hold.
fn hold(plan: &Plan<'_>, scene: &Scene) -> Result<Option<Hold>> {
    if plan.engine.1.is_some() {
        return Ok(None);
    }
    let milliseconds = |name| -> Result<f64> { Ok(scene.place.metric(name)? * 1e3) };
    let unit = milliseconds("database_longest_unit_seconds")?;
    let batch = milliseconds("database_longest_batch_seconds")?;
    Ok(Some(Hold { unit, batch }))
}

fn tell_hold(scene: &Scene, quiet: Hold, busy: Hold, output: &mut Output) {
    let met = busy.batch <= MOST;
    let verdict = if met { "met" } else { "NOT MET" };
    let text = format!(
        "the writer was held for {:.1} ms at most, by a batch with its commit (without a purge {:.1} ms; at most {MOST} ms: {verdict}), \
         and for {:.1} ms by one unit (without {:.1} ms)",
        busy.batch, quiet.batch, busy.unit, quiet.unit
    );
    let value = json!({
        "figure": "purge-hold", "engine": "sqlite", "tokens": scene.crowd.count, "value": busy.batch, "unit": "ms", "most": MOST,
        "met": met, "longest_unit": busy.unit, "quiet": quiet.batch, "quiet_longest_unit": quiet.unit,
    });
    output.line(&text, value);
}

/// Rows `0..due` become due, and the walk begins anew.
async fn make_due(scene: &Scene, due: u64) -> Result<()> {
    let database = &scene.place.seeder.app.database;
    let mut from = 0;
    while from < due {
        let until = due.min(from + UNIT);
        let (first, end) = (scene.crowd.id(from), scene.crowd.id(until));
        let made = database.write(move |sql| {
            Ok::<_, StoreError>(sql.execute(MAKE_DUE, &[first.into(), end.into()])?)
        });
        ensure!(made.await? == until - from, "rows that are to be due are not there");
        from = until;
    }
    database.write(|sql| Ok::<_, StoreError>(sql.execute(FROM_THE_START, &[])?)).await?;
    Ok(())
}

/// Waits until the walk has come past the rows that were due, and has the load end.
async fn until_removed(scene: &Scene, due: u64, stop: &Cell<bool>) -> Result<()> {
    let (database, begin) = (&scene.place.seeder.app.database, now());
    let end = scene.crowd.id(due - 1).as_i64();
    // The server gives no other sign that everybody could see.
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    while begin.elapsed() < PATIENCE {
        interval.tick().await;
        let read = database.read(|sql| {
            let rows = sql.query(WHERE, &[])?;
            Ok::<_, StoreError>(rows.first().map(|row| row.text(0)).transpose()?)
        });
        // An empty cursor: the walk has reached the end of the table.
        let past = |key: String| key.is_empty() || key.parse::<i64>().is_ok_and(|id| id >= end);
        if read.await?.is_some_and(past) {
            stop.set(true);
            return Ok(());
        }
    }
    bail!("the purge does not come to its end")
}

async fn left(scene: &Scene, due: u64) -> Result<i64> {
    let end: RowId = scene.crowd.id(due);
    let count = scene.place.seeder.app.database.read(move |sql| {
        let rows = sql.query(LEFT, &[end.into()])?;
        Ok::<_, StoreError>(rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0))
    });
    Ok(count.await?)
}

/// Traffic that ends when it is told to.
struct Until<'a> {
    traffic: &'a mut dyn Traffic,
    stop: &'a Cell<bool>,
}

impl Traffic for Until<'_> {
    fn request(&mut self, connection: usize, into: &mut Vec<u8>) -> bool {
        !self.stop.get() && self.traffic.request(connection, into)
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> bool {
        self.traffic.answer(connection, answer)
    }
}
