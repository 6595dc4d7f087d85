//! What sharing a commit gains: rotations whose writes are committed one by one, next to those that share, and the disk's own fsync.
//!
//! The server has no switch for it, and needs none. So the same store function runs on the same engine in this process, both times with 64
//! askers, and only the most units of a commit differ. Nothing is read, parsed or signed there: what a whole request could reach with a
//! commit of its own is below that, which makes the gain of the server's refresh over it the least that it can be.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use auth_server::domain::row_id::RowId;
use auth_server::store::grants;
use database::{Database, Options};
use futures_util::future::try_join_all;
use serde_json::json;
use shared_types::{Clock as _, SystemClock};

use crate::machine::now;
use crate::measure::median;
use crate::state::{CONNECTIONS, Web};
use crate::tables::crowd::Crowd;
use crate::tables::place::Place;
use crate::tables::scene::rotation;
use crate::tables::{EMPTY, Output, Plan, WARM_UP, round};

/// For `--only`.
pub const NAME: &str = "commit-alone";
/// How many times the rate with a commit each the shared one has to be.
const LEAST: f64 = 3.0;
/// From which fsync on, in microseconds.
const SLOW: f64 = 300.0;

/// Measures both ways in turn, and the disk in between.
pub async fn measure(plan: &Plan<'_>, output: &mut Output) -> Result<()> {
    let mut place = Place::open(plan.folder, None).await?;
    let crowd = Crowd::store(&place.seeder, Web::ALL[0], EMPTY).await?;
    let third = EMPTY / 3;
    let mut requests = rotation(&place, &crowd, 0, third);
    let mut served = Vec::new();
    for _ in 0..plan.rounds {
        let before = plan.time / WARM_UP;
        let round = round(&place, CONNECTIONS, plan.time, before, &mut requests).await?;
        served.push(round.outcome.rate());
    }
    place.stop()?;
    let shared = Rotations::open(&place, Options::default(), &crowd, third).await?;
    let one = Options { batch_units: 1, ..Options::default() };
    let alone = Rotations::open(&place, one, &crowd, 2 * third).await?;
    let (mut each, mut together, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        syncs.push(sync_micros(place.folder(), plan.time / 4)?);
        each.push(alone.rate(plan.time).await?);
        together.push(shared.rate(plan.time).await?);
    }
    let [served, each, together] = [served, each, together].map(median);
    let [p50, p99] = [0, 1].map(|at| median(syncs.iter().map(|pair: &[f64; 2]| pair[at])));
    let text = format!("fsync of 4 KiB: p50 {p50:.0} µs, p99 {p99:.0} µs");
    output.line(&text, json!({ "figure": "fsync", "p50_micros": p50, "p99_micros": p99 }));
    let times = served / each;
    let verdict = match times >= LEAST {
        true => "met",
        false if p50 < SLOW => "not met, and not asked of a disk that fast",
        false => "NOT MET",
    };
    let text = format!(
        "{NAME}: {each:.0} rotations per s with a commit each, {together:.0} shared ({:.1} times), both in the store alone; \
         refresh at the server {served:.0}, {times:.1} times the former (at least {LEAST}: {verdict})",
        together / each
    );
    let value = json!({
        "figure": NAME, "alone": each, "shared": together, "store_times": together / each, "refresh": served, "times": times,
        "least": LEAST, "met": times >= LEAST, "asked": p50 >= SLOW,
    });
    output.line(&text, value);
    Ok(())
}

/// Rows whose generation moves on, one after the other.
struct Rotations {
    database: Database,
    rows: RefCell<VecDeque<(RowId, u32)>>,
}

impl Rotations {
    async fn open(place: &Place, options: Options, crowd: &Crowd, from: u64) -> Result<Self> {
        let database = Database::open(&place.store.database_url(), &options).await?;
        let rows = crowd.spread(from, from + EMPTY / 3).map(|row| (crowd.id(row), 0)).collect();
        Ok(Self { database, rows: RefCell::new(rows) })
    }

    /// Rotations a second, as many under way as the load has connections.
    async fn rate(&self, time: Duration) -> Result<f64> {
        let begin = now();
        let asker = async || -> Result<u64> {
            let mut done = 0;
            while begin.elapsed() < time {
                self.next().await?;
                done += 1;
            }
            Ok(done)
        };
        let done = try_join_all((0..CONNECTIONS).map(|_| asker())).await?;
        Ok(done.iter().sum::<u64>() as f64 / begin.elapsed().as_secs_f64())
    }

    async fn next(&self) -> Result<()> {
        let (id, generation) = self.rows.borrow_mut().pop_front().context("there are rows")?;
        let now = SystemClock.now();
        let rotated =
            self.database.write(move |sql| grants::rotate(sql, id, generation, now)).await?;
        ensure!(rotated, "a row does not rotate");
        self.rows.borrow_mut().push_back((id, generation + 1));
        Ok(())
    }
}

/// Microseconds of an fsync of one page at the end of a file, as a commit to a log is: the middle one and the slowest of a hundred.
fn sync_micros(folder: &Path, time: Duration) -> Result<[f64; 2]> {
    let mut file = File::create(folder.join("fsync"))?;
    let (begin, mut micros) = (now(), Vec::new());
    while begin.elapsed() < time {
        file.write_all(&[7; 4_096])?;
        let sync = now();
        file.sync_data()?;
        micros.push(sync.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let last = micros.len().saturating_sub(1) as f64;
        micros.get((last * share) as usize).copied().unwrap_or(0.0)
    };
    Ok([at(0.50), at(0.99)])
}
