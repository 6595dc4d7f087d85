//! The benchmark: both servers on one processor, their load on another, each row next to bare actix-web in the same run.
//!
//! It is every process of the measurement itself, so `cargo run --release -p tests --bin bench` needs nothing beside it.
//! What the rows are and what bounds them is in docs/performance.md.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and times of a benchmark are far from where that matters"
)]

mod alone;
mod bare;
mod load;
mod machine;
mod measure;
mod report;
mod rows;
mod seed;
mod signatures;
mod stage;
mod standing;
mod state;
mod tables;
mod traffic;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser as _;
use serde_json::{Value, json};

use measure::Round;
use report::Measured;
use rows::{Row, Server};
use signatures::Timings;
use stage::Stage;

/// Measures the servers against bare actix-web.
#[derive(Debug, clap::Parser)]
#[command(name = "bench")]
struct Args {
    /// Only these rows, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seconds of one round of a row
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds; the table has their medians
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Also among this many live refresh tokens: 0, 100k, 1m, 10m, …
    #[arg(long, value_delimiter = ',', value_name = "COUNT", value_parser = tables::count)]
    tokens: Vec<u64>,
    /// One short round of everything: whether every answer is a good one, no figures to rely on
    #[arg(long)]
    quick: bool,
    /// Prints JSON, one line
    #[arg(long)]
    json: bool,
    /// Rows that use the database also on this PostgreSQL server, postgres://USER@HOST:PORT
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Where the databases are, by default in the folder for temporary files
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let role = args.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let rest = || args.iter().skip(1).cloned();
    match role {
        "auth-server" => return auth_server::run(rest()),
        "resource-server" => return resource_server::run(rest()),
        "bare" => {
            return bare::serve(
                &args.get(2).map(|addr| addr.to_string_lossy()).unwrap_or_default(),
            );
        }
        "signatures" => return signatures::print(),
        _ => {}
    }
    let args = Args::parse_from(args);
    if machine::can_pin() {
        machine::pin_to_load_core();
    }
    let measured = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&args)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let rows = chosen(args)?;
    if !args.json {
        println!("{}\n", machine::describe());
    }
    let mut found = measure_rows(args, &rows, "sqlite", None).await?;
    found.extend(measure_beside(args, "sqlite", None).await?);
    let on_database: Vec<Row> = rows.into_iter().filter(Row::uses_database).collect();
    match &args.postgres {
        Some(server) => {
            found.extend(measure_rows(args, &on_database, "postgres", Some(server)).await?);
            found.extend(measure_beside(args, "postgres", Some(server)).await?);
        }
        None => eprintln!("bench: nothing on PostgreSQL: --postgres names no server"),
    }
    if args.json {
        println!("{}", json!({ "machine": machine::describe(), "rows": found }));
    }
    Ok(())
}

fn chosen(args: &Args) -> Result<Vec<Row>> {
    let mut rows = rows::all();
    let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    names.extend(BESIDE);
    if let Some(unknown) = args.only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no row {unknown}; the rows are {}", names.join(", "));
    }
    rows.retain(|row| args.only.is_empty() || args.only.contains(&row.name));
    Ok(rows)
}

/// What can be chosen besides the rows of the table.
const BESIDE: [&str; 2] = [alone::NAME, tables::NAME];

/// Large tables, and what sharing a commit gains: they have servers of their own.
async fn measure_beside(
    args: &Args,
    engine: &'static str,
    postgres: Option<&str>,
) -> Result<Vec<Value>> {
    let (rounds, time) = rounds(args);
    let chosen = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let plan =
        tables::Plan { folder: args.folder.as_deref(), engine: (engine, postgres), time, rounds };
    let mut output = tables::Output { json: args.json, found: Vec::new() };
    if chosen(alone::NAME) && postgres.is_none() {
        alone::measure(&plan, &mut output).await?;
    }
    let small = if args.quick { vec![tables::SMALL] } else { Vec::new() };
    let counts = if args.tokens.is_empty() { small } else { args.tokens.clone() };
    if chosen(tables::NAME) && !counts.is_empty() {
        tables::measure(&plan, &counts, &mut output).await?;
    }
    Ok(output.found)
}

/// How many rounds, and how long one takes.
fn rounds(args: &Args) -> (u32, Duration) {
    if args.quick {
        (1, Duration::from_millis(200))
    } else {
        (args.rounds, Duration::from_secs_f64(args.seconds))
    }
}

/// What each answer cost the database.
const SQLITE: &[&str] = &["database_commits_total"];
const POSTGRES: &[&str] =
    &["database_commits_total", "database_statements_total", "database_round_trips_total"];

async fn measure_rows(
    args: &Args,
    rows: &[Row],
    engine: &'static str,
    postgres: Option<&str>,
) -> Result<Vec<Value>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (rounds, time) = rounds(args);
    let stage = Stage::set(args.folder.as_deref(), postgres).await?;
    let mut timings = Vec::new();
    let mut taken: Vec<Vec<(Round, Round)>> = rows.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        timings.push(signatures::time_on_both()?);
        for (row, taken) in rows.iter().zip(&mut taken) {
            taken.push(pair(&stage, row, counters(row, engine), time).await?);
        }
    }
    let timings = middle(&timings);
    let mut found = Vec::new();
    if !args.json {
        for (operation, micros) in &timings {
            println!("{operation}: {micros:.1} µs");
        }
        println!("\n{}", report::head());
    }
    for (row, taken) in rows.iter().zip(&taken) {
        let measured = Measured::of(row, engine, taken, counters(row, engine), &timings);
        if !args.json {
            println!("{}", measured.line());
        }
        found.push(measured.json());
    }
    for figure in standing::measure(stage, if args.quick { 1 } else { 10 })? {
        if !args.json {
            println!("{}", figure.line());
        }
        found.push(figure.json(engine));
    }
    Ok(found)
}

fn counters(row: &Row, engine: &str) -> &'static [&'static str] {
    match (row.uses_database(), engine) {
        (false, _) => &[],
        (true, "postgres") => POSTGRES,
        (true, _) => SQLITE,
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
    let bare = measure::round(&stage.bare, time / 2, &[], &mut *rows::bare(row.base)).await?;
    let server = row.server.process(stage);
    let own = measure::round(server, time, counters, &mut *traffic).await;
    let own = own.map_err(|error| error.context(format!("row {}", row.name)))?;
    if own.outcome.answers == 0 && row.server != Server::Bare {
        bail!("row {} had no answers", row.name);
    }
    Ok((bare, own))
}

/// The medians of some timings.
fn middle(timings: &[Timings]) -> Timings {
    let names = timings.first().map(|first| first.keys().cloned().collect::<Vec<_>>());
    let of = |name: String| {
        let figures = timings.iter().filter_map(|timings| timings.get(&name).copied());
        let middle = measure::median(figures);
        (name, middle)
    };
    names.unwrap_or_default().into_iter().map(of).collect()
}
