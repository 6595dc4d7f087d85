//! What the servers cost when little is asked: memory at three moments, the time from exec until they are ready, open connections.

use anyhow::{Context as _, Result};
use tests::engine::Store;

use crate::connections;
use crate::machine::Process;
use crate::measure::median;
use crate::report::Figure;
use crate::rows::{Cache, Load, traffic};
use crate::stage::Stage;
use crate::state::Alg;

/// For `--only`: the time of a start.
pub const START: &str = "start";
/// For `--only`: what held connections cost.
pub const CONNECTIONS: &str = "connections";

/// The names of the servers in figures.
const AUTH: &str = "auth-server";
const API: &str = "resource-server";
/// The resource server that stands for all where one is enough.
const ALG: Alg = Alg::EdDsa;
/// MB that a server may take for its rows of tokens.
const MEMORY: f64 = 25.0;
/// Milliseconds from exec until a server is ready.
const READY: f64 = 50.0;

/// When memory is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After the start.
    Idle,
    /// After all rows but the sign-ins, which take the memory of a password hash.
    Tokens,
    /// After all rows.
    All,
}

/// The memory of the authorization server, and of the resource server that has most.
pub fn memory(stage: &Stage, moment: Moment) -> Result<Vec<Figure>> {
    let auth = stage.auth.anonymous_memory()?;
    let apis = stage.apis.values().map(Process::anonymous_memory).collect::<Result<Vec<_>>>()?;
    let word = match moment {
        Moment::Idle => "idle",
        Moment::Tokens => "tokens",
        Moment::All => "all",
    };
    let figure = |name, bytes: u64| {
        let figure = Figure::of(format!("{name}-memory-{word}"), bytes as f64 / 1e6, "MB");
        if moment == Moment::Tokens { figure.most(MEMORY) } else { figure }
    };
    Ok(vec![figure(AUTH, auth), figure(API, apis.into_iter().max().unwrap_or_default())])
}

/// The median time of so many starts of each server on the database that is there, the resource server's beside its issuer, and the processor
/// time in it: the rest is waiting, for a neighbor too. PostgreSQL's part is not ours, so nothing judges the time there.
pub fn starts(stage: &mut Stage, count: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let on_postgres = stage.stores.iter().any(Store::is_postgres);
    let api = stage.apis.get_mut(ALG.as_str()).context("it runs")?;
    for (name, server) in [(AUTH, &mut stage.auth), (API, api)] {
        let (mut times, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..count {
            times.push(server.restart()?.as_secs_f64() * 1e3);
            cpu.push(server.cpu_nanos()? as f64 / 1e6);
        }
        let figure = Figure::of(format!("{name}-ready"), median(times), "ms");
        let figure = figure.beside("cpu", median(cpu));
        figures.push(if on_postgres { figure } else { figure.most(READY) });
    }
    Ok(figures)
}

/// What held connections cost each server, while honest clients ask for tokens and use them.
pub async fn connections(stage: &mut Stage, plan: connections::Plan) -> Result<Vec<Figure>> {
    let (time, alg) = (plan.time, ALG);
    let mut asking = traffic(stage, Load::ClientCredentials(alg), time).await?;
    let mut using = traffic(stage, Load::Resource(alg, Cache::Warm), time).await?;
    let mut figures = connections::measure(AUTH, &mut stage.auth, plan, &mut *asking).await?;
    let api = stage.apis.get_mut(alg.as_str()).context("it runs")?;
    figures.extend(connections::measure(API, api, plan, &mut *using).await?);
    Ok(figures)
}
