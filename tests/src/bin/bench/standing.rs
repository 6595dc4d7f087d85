//! What the authorization server costs when nothing is asked: memory after the rows, and the time from exec until it is ready.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::machine::Process;
use crate::measure::median;
use crate::stage::{Stage, start_auth_timed};

/// A figure with its unit and the most that it may be.
#[derive(Debug)]
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    most: f64,
}

impl Figure {
    /// A line below the table.
    pub fn line(&self) -> String {
        let Self { name, value, unit, most } = self;
        let verdict = if value <= most { "met" } else { "NOT MET" };
        format!("{name}: {value:.1} {unit} (at most {most}: {verdict})")
    }

    /// The same for machines.
    pub fn json(&self, engine: &str) -> Value {
        let Self { name, value, unit, most } = self;
        json!({ "figure": name, "engine": engine, "value": value, "unit": unit, "most": most, "met": value <= most })
    }
}

/// Takes the memory of every server, then starts the authorization server anew that many times on the database that is there.
pub fn measure(stage: Stage, starts: usize) -> Result<Vec<Figure>> {
    let mib = |bytes: u64| bytes as f64 / 1e6;
    let apis = stage.apis.values().map(Process::anonymous_memory).collect::<Result<Vec<_>>>()?;
    let largest = apis.into_iter().max().unwrap_or(0);
    let memory = mib(stage.auth.anonymous_memory()?);
    let Stage { auth, auth_args, folder, store: _store, .. } = stage;
    let addr = auth.addr;
    auth.stop()?;
    let mut times = Vec::new();
    for _ in 0..starts {
        let (process, time) = start_auth_timed(&auth_args, folder.path(), addr)?;
        times.push(time);
        process.stop()?;
    }
    let ready = median(times.iter().map(Duration::as_secs_f64)) * 1e3;
    Ok(vec![
        Figure { name: "auth-server-memory", value: memory, unit: "MB", most: 25.0 },
        Figure { name: "resource-server-memory", value: mib(largest), unit: "MB", most: 25.0 },
        Figure { name: "auth-server-ready", value: ready, unit: "ms", most: 50.0 },
    ])
}
