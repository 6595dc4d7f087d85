//! Rows measured: some rounds, each next to the bare endpoint that it is held against, and their medians.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::load::{Outcome, Traffic, run};
use crate::machine::Process;
use crate::rows::{self, Load, Row, Server};
use crate::signatures::{self, Timings};
use crate::stage::Stage;
use crate::state::CONNECTIONS;
use crate::tables::Plan;

/// Commits of the database.
pub const COMMITS: &str = "database_commits_total";
/// Reads of the database.
pub const READS: &str = "database_reads_total";

/// What each answer cost the database.
const SQLITE: &[&str] = &[COMMITS];
const POSTGRES: &[&str] = &[COMMITS, "database_statements_total", "database_round_trips_total"];
/// Shows that it was not asked.
const ANY_ACCESS: &[&str] = &[READS, COMMITS];

/// The share of a round that warms up caches and connections before it counts.
const WARM_UP: u32 = 8;

/// What a while of load cost a server.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// What the load saw.
    pub outcome: Outcome,
    /// Processor time of the server for each answer, in microseconds.
    pub cpu: f64,
    /// Growth of the server's counters for each answer, as asked for.
    pub counted: Vec<f64>,
}

/// Measures `traffic` on a server. A list that ends early only shortens the round.
pub async fn round(
    server: &Process,
    time: Duration,
    counters: &[&str],
    traffic: &mut dyn Traffic,
) -> Result<Round> {
    run(server.addr, CONNECTIONS, time / WARM_UP, traffic).await?;
    let count = || counters.iter().map(|name| server.counter(name)).collect::<Result<Vec<_>>>();
    let (before, cpu_before) = (count()?, server.cpu_nanos()?);
    let outcome = run(server.addr, CONNECTIONS, time, traffic).await?;
    let (cpu_after, after) = (server.cpu_nanos()?, count()?);
    let answers = outcome.answers.max(1) as f64;
    let counted = before.iter().zip(after).map(|(before, after)| (after - before) as f64 / answers);
    Ok(Round {
        cpu: (cpu_after - cpu_before) as f64 / 1e3 / answers,
        counted: counted.collect(),
        outcome,
    })
}

/// The rounds of some rows, each row once a round; `timings` gets the signatures of each round.
pub async fn rounds(
    stage: &Stage,
    plan: &Plan<'_>,
    rows: &[Row],
    timings: &mut Vec<Timings>,
) -> Result<Vec<Vec<(Round, Round)>>> {
    let mut taken: Vec<Vec<(Round, Round)>> = rows.iter().map(|_| Vec::new()).collect();
    if rows.is_empty() {
        return Ok(taken);
    }
    for _ in 0..plan.rounds {
        timings.push(signatures::time_on_both()?);
        for (row, taken) in rows.iter().zip(&mut taken) {
            taken.push(pair(stage, row, counters(row, plan.engine.0), plan.time).await?);
        }
    }
    Ok(taken)
}

/// The counters that belong to a row.
pub fn counters(row: &Row, engine: &str) -> &'static [&'static str] {
    match row.load {
        _ if engine == "postgres" => POSTGRES,
        _ if row.uses_database() => SQLITE,
        Load::ClientCredentials(_) => ANY_ACCESS,
        _ => &[],
    }
}

/// A round of the bare endpoint and, right after it, one of the row.
async fn pair(
    stage: &Stage,
    row: &Row,
    counters: &[&str],
    time: Duration,
) -> Result<(Round, Round)> {
    let mut traffic = rows::traffic(stage, row.load, time).await?;
    let bare = round(&stage.bare, time / 2, &[], &mut *rows::bare(row.base)).await?;
    let server = row.server.process(stage);
    let own = round(server, time, counters, &mut *traffic).await;
    let own = own.map_err(|error| error.context(format!("row {}", row.name)))?;
    if own.outcome.answers == 0 && row.server != Server::Bare {
        bail!("row {} had no answers", row.name);
    }
    Ok((bare, own))
}

/// The medians of some timings.
pub fn middle(timings: &[Timings]) -> Timings {
    let names = timings.first().map(|first| first.keys().cloned().collect::<Vec<_>>());
    let of = |name: String| {
        let figures = timings.iter().filter_map(|timings| timings.get(&name).copied());
        let middle = median(figures);
        (name, middle)
    };
    names.unwrap_or_default().into_iter().map(of).collect()
}

/// The middle one of some figures; 0 of none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
