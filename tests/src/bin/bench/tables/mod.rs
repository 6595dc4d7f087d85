//! Large tables: what refresh and introspection cost among millions of live refresh tokens, next to an empty database in the same run.
//!
//! The tokens that are asked with lie evenly over the whole table, so nearly every request meets a page that no request before it has met.

pub mod crowd;
pub mod place;
mod purge;
pub mod scene;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::load::{Traffic, run};
use crate::measure::{Round, median};
use crate::state::CONNECTIONS;
use place::Place;
use scene::Scene;

/// For `--only`.
pub const NAME: &str = "tables";
/// The table of a quick run: whether everything works.
pub const SMALL: u64 = 2_000;
/// The tokens of a database that counts as empty: no more than the load needs.
pub const EMPTY: u64 = 4_096;
/// How many times the empty database's the latency of a warm table may be.
const MOST: f64 = 1.3;
/// The share of a round that goes before it, uncounted.
pub const WARM_UP: u32 = 8;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Where files are.
    pub folder: Option<&'a Path>,
    /// The engine's name, and its server unless it is SQLite.
    pub engine: (&'static str, Option<&'a str>),
    /// How long a round takes.
    pub time: Duration,
    /// Rounds; the figures are their medians.
    pub rounds: u32,
}

/// Where the lines go.
#[derive(Debug)]
pub struct Output {
    /// Whether only machines read it.
    pub json: bool,
    /// What they read.
    pub found: Vec<Value>,
}

impl Output {
    /// Takes one line, which stands there at once: some of them take minutes.
    pub fn line(&mut self, text: &str, value: Value) {
        if !self.json {
            println!("{text}");
        }
        self.found.push(value);
    }
}

/// The number of tokens of a table: `0` for an empty one, `100k`, `1m`, `10m`.
///
/// # Errors
/// When it is none, or one that would be no table.
pub fn count(text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, times) = match lower.strip_suffix('m') {
        Some(digits) => (digits, 1_000_000),
        None => lower.strip_suffix('k').map_or((lower.as_str(), 1), |digits| (digits, 1_000)),
    };
    let count = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(times));
    count
        .filter(|count| *count == 0 || (2_000..=100_000_000).contains(count))
        .with_context(|| format!("{text} is neither 0 nor a number from 2k to 100m"))
}

/// The requests of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A refresh token for its successor.
    Rotation,
    /// What a refresh token is worth.
    Refresh,
    /// What an access token is worth; it was verified before, its grant is read.
    Access,
}

impl Asked {
    const fn row(self) -> &'static str {
        match self {
            Self::Rotation => "refresh",
            Self::Refresh => "introspect-refresh",
            Self::Access => "introspect-access-warm",
        }
    }
}

/// Measures tables of these sizes, one after the other.
///
/// # Errors
/// On a wrong answer, or when the machine does not do what is asked of it.
pub async fn measure(plan: &Plan<'_>, counts: &[u64], output: &mut Output) -> Result<()> {
    let mut empty = Scene::set(plan, EMPTY, output).await?;
    for &count in counts {
        let count = if count == 0 { EMPTY } else { count };
        let mut full = Scene::set(plan, count, output).await?;
        if !output.json {
            println!("\n{}", head());
        }
        for asked in [Asked::Rotation, Asked::Refresh] {
            let how = full.place.start_cold().await?;
            let round = full.round(asked, CONNECTIONS, plan.time, Duration::ZERO).await?;
            let line =
                Line { asked, cache: "cold", connections: CONNECTIONS, pairs: vec![(None, round)] };
            line.tell(plan, count, Some(how), output);
        }
        full.place.read_through().await?;
        for asked in [Asked::Rotation, Asked::Refresh, Asked::Access] {
            for connections in [CONNECTIONS, 1] {
                let mut pairs = Vec::new();
                for _ in 0..plan.rounds {
                    let (time, before) = (plan.time, plan.time / WARM_UP);
                    let bare = empty.round(asked, connections, time, before).await?;
                    let round = full.round(asked, connections, time, before).await?;
                    pairs.push((Some(bare), round));
                }
                Line { asked, cache: "warm", connections, pairs }.tell(plan, count, None, output);
            }
        }
        purge::measure(plan, &mut full, output).await?;
    }
    Ok(())
}

/// One round on a running server.
///
/// # Errors
/// On a wrong answer.
pub async fn round(
    place: &Place,
    connections: usize,
    time: Duration,
    warm_up: Duration,
    traffic: &mut dyn Traffic,
) -> Result<Round> {
    let server = place.auth()?;
    if !warm_up.is_zero() {
        run(server.addr, connections, warm_up, traffic).await?;
    }
    let before = server.cpu_nanos()?;
    let outcome = run(server.addr, connections, time, traffic).await?;
    let cpu = (server.cpu_nanos()? - before) as f64 / 1e3 / outcome.answers.max(1) as f64;
    Ok(Round { outcome, cpu, counted: Vec::new() })
}

/// What stands above the lines of one table.
fn head() -> String {
    format!(
        "{:<26}{:<9}{:>10}{:>7}{:>7}{:>9}{:>9}{:>9}{:>9}{:>11}{:>7}{:>11}  {}",
        "row",
        "engine",
        "tokens",
        "cache",
        "conns",
        "per s",
        "cpu µs",
        "p50 µs",
        "p99 µs",
        "empty p50",
        "times",
        "cpu times",
        "target"
    )
}

/// A row on one table: rounds of the empty database, where there are some, and of the table.
struct Line {
    asked: Asked,
    cache: &'static str,
    connections: usize,
    pairs: Vec<(Option<Round>, Round)>,
}

impl Line {
    fn tell(&self, plan: &Plan<'_>, count: u64, how: Option<&str>, output: &mut Output) {
        let own = |of: Figure| median(self.pairs.iter().map(|(_, round)| of(round)));
        let (rate, cpu, p50) = (own(|round| round.outcome.rate()), own(cpu), own(p50));
        let p99 = own(|round| f64::from(round.outcome.percentile(0.99)));
        let (row, engine, connections) = (self.asked.row(), plan.engine.0, self.connections);
        let (empty_p50, times, cpu_times) =
            (self.empty_p50(), self.times(self::p50), self.times(self::cpu));
        let met = times.map(|times| times <= MOST);
        let text = |figure: Option<f64>, digits| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
        };
        let verdict = match met {
            Some(true) => format!("p50 at most {MOST} times: met"),
            Some(false) => format!("p50 at most {MOST} times: NOT MET"),
            None => how.unwrap_or_default().to_owned(),
        };
        let text = format!(
            "{row:<26}{engine:<9}{count:>10}{:>7}{connections:>7}{rate:>9.0}{cpu:>9.1}{p50:>9.0}{p99:>9.0}{:>11}{:>7}{:>11}  {verdict}",
            self.cache,
            text(empty_p50, 0),
            text(times, 2),
            text(cpu_times, 2),
        );
        let value = json!({
            "row": row, "engine": engine, "tokens": count, "cache": self.cache, "connections": connections,
            "rate": rate, "cpu_micros": cpu, "p50_micros": p50, "p99_micros": p99, "empty_p50_micros": empty_p50,
            "times": times, "cpu_times": cpu_times, "most": MOST, "met": met, "how": how,
        });
        output.line(&text, value);
    }

    /// Rounds of the empty database with those of the table right behind them.
    fn beside(&self) -> impl Iterator<Item = (&Round, &Round)> {
        self.pairs.iter().filter_map(|(empty, full)| Some((empty.as_ref()?, full)))
    }

    fn empty_p50(&self) -> Option<f64> {
        let figures = self.beside().map(|(empty, _)| p50(empty));
        self.beside().next().map(|_| median(figures))
    }

    /// How many times the empty database's a figure is. Each pair's own: its rounds came one right after the other.
    fn times(&self, of: Figure) -> Option<f64> {
        let figures = self.beside().map(|(empty, full)| of(full) / of(empty).max(1e-9));
        self.beside().next().map(|_| median(figures))
    }
}

/// A figure of a round.
type Figure = fn(&Round) -> f64;

fn p50(round: &Round) -> f64 {
    f64::from(round.outcome.percentile(0.50))
}

fn cpu(round: &Round) -> f64 {
    round.cpu
}
