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
mod cluster;
mod compare;
mod connections;
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
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

use cluster::Postgres;
use rows::{Load, Row, Server};
use stage::Stage;
use standing::Moment;

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
    /// Compares with what an earlier run with --json has printed
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Rows that use a database also on PostgreSQL: this server, postgres://USER@HOST:PORT, or without a value one of its own that ends with the run
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = cluster::OWN)]
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
        connections::ROLE => return connections::hold(&args),
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
        .and_then(|runtime| runtime.block_on(run_until_told(&args)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends early when it is interrupted: whatever it has started ends with it.
async fn run_until_told(args: &Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        run = run(args) => run,
        told = ctrl_c() => told.map_err(Into::into).and_then(|()| bail!("interrupted")),
        _ = terminate.recv() => bail!("terminated"),
    }
}

async fn run(args: &Args) -> Result<()> {
    let rows = chosen(args)?;
    let before = args.compare.as_deref().map(compare::read).transpose()?;
    if !args.json {
        println!("{}\n", machine::describe());
    }
    let mut found = measure_rows(args, &rows, "sqlite", None).await?;
    found.extend(measure_beside(args, "sqlite", None).await?);
    let on_database = |row: &Row| row.uses_database() || matches!(row.server, Server::Api(_));
    let on_database: Vec<Row> = rows.into_iter().filter(on_database).collect();
    if let Some(url) = &args.postgres {
        let postgres = Postgres::find(url, args.folder.as_deref())?;
        let url = Some(postgres.url.as_str());
        found.extend(measure_rows(args, &on_database, "postgres", url).await?);
        found.extend(measure_beside(args, "postgres", url).await?);
    } else {
        eprintln!("bench: nothing on PostgreSQL: --postgres asks for it");
    }
    let (rounds, time) = rounds(args);
    let document = json!({
        "format": compare::FORMAT, "machine": machine::describe(), "date": machine::date(), "commit": machine::commit(),
        "quick": args.quick, "rounds": rounds, "seconds": time.as_secs_f64(), "rows": found,
    });
    if args.json {
        println!("{document}");
    }
    if let Some(before) = before {
        for line in compare::lines(&before, &document) {
            // What is read by machines stays one line.
            if args.json { eprintln!("{line}") } else { println!("{line}") }
        }
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
const BESIDE: [&str; 4] = [standing::START, standing::CONNECTIONS, alone::NAME, tables::NAME];

/// Large tables, and what sharing a commit gains: they have servers of their own.
async fn measure_beside(
    args: &Args,
    engine: &'static str,
    postgres: Option<&str>,
) -> Result<Vec<Value>> {
    let (rounds, time) = rounds(args);
    let chosen = |name: &str| is_chosen(args, name);
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

/// Whether something is to be measured that `--only` can leave out.
fn is_chosen(args: &Args, name: &str) -> bool {
    args.only.is_empty() || args.only.iter().any(|only| only == name)
}

/// How many rounds, and how long one takes.
fn rounds(args: &Args) -> (u32, Duration) {
    if args.quick {
        (1, Duration::from_millis(200))
    } else {
        (args.rounds, Duration::from_secs_f64(args.seconds))
    }
}

/// The rows of the table with what the servers take meanwhile, and below it starts and connections.
async fn measure_rows(
    args: &Args,
    rows: &[Row],
    engine: &'static str,
    postgres: Option<&str>,
) -> Result<Vec<Value>> {
    let chosen = |name: &str| is_chosen(args, name);
    let starts = if args.quick { 1 } else { 11 };
    if rows.is_empty() && !chosen(standing::START) && !chosen(standing::CONNECTIONS) {
        return Ok(Vec::new());
    }
    let (rounds, time) = rounds(args);
    let folder = args.folder.as_deref();
    let plan = tables::Plan { folder, engine: (engine, postgres), time, rounds };
    let mut stage = Stage::set(folder, postgres).await?;
    let mut figures = standing::memory(&stage, Moment::Idle)?;
    // All rounds of what takes the memory of hashes come last.
    let (last, first): (Vec<Row>, Vec<Row>) =
        rows.iter().cloned().partition(|row| row.load == Load::SignIn);
    let mut timings = Vec::new();
    let mut taken = measure::rounds(&stage, &plan, &first, &mut timings).await?;
    if !first.is_empty() {
        figures.extend(standing::memory(&stage, Moment::Tokens)?);
    }
    taken.extend(measure::rounds(&stage, &plan, &last, &mut timings).await?);
    if !last.is_empty() {
        figures.extend(standing::memory(&stage, Moment::All)?);
    }
    let timings = measure::middle(&timings);
    let mut output = tables::Output { json: args.json, found: Vec::new() };
    report::table(&plan, first.iter().chain(&last), &taken, &timings, &mut output);
    if chosen(standing::START) {
        figures.extend(standing::starts(&mut stage, starts)?);
    }
    if chosen(standing::CONNECTIONS) && postgres.is_none() {
        let count = if args.quick { 200 } else { 10_000 };
        let plan = connections::Plan { count, time };
        figures.extend(standing::connections(&mut stage, plan).await?);
    }
    for figure in figures {
        output.line(&figure.line(engine), figure.json(engine));
    }
    Ok(output.found)
}
