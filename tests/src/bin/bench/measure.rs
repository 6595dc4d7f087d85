//! One row measured: some rounds, each next to the bare endpoint that it is held against, and their medians.

use std::time::Duration;

use anyhow::Result;

use crate::load::{Outcome, Traffic, run};
use crate::machine::Process;
use crate::state::CONNECTIONS;

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

/// The middle one of some figures; 0 of none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
