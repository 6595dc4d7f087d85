//! The PostgreSQL engine: worker threads that own a connection each, some for units that write and some for reads.
//!
//! Units run side by side under READ COMMITTED; a read has one snapshot for all of its statements, as on SQLite. The server
//! itself lets commits of several connections share an fsync. A connection that breaks is replaced by its thread when the next
//! unit comes; while the server is away units are refused at once, but for the one that tries.

mod connector;
mod fault;
mod link;
mod session;
mod tls;
mod url;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::job::Kind;
use crate::machine::Machine;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options};
use connector::Connector;
pub use url::PostgresUrl;
use worker::Worker;

/// How often a unit starts over that met another one (serialization failure, deadlock).
const RETRIES: u32 = 5;

/// Connects once, so that a wrong address or password is told at the start, and starts the threads. Blocks for some milliseconds.
pub(crate) fn start(url: &PostgresUrl, options: &Options) -> Result<Machine, DatabaseError> {
    let gauges = Arc::new(Gauges::default());
    let connector = Arc::new(Connector::new(url, options)?);
    let away = Arc::new(AtomicBool::new(false));
    let worker = |kind| {
        Worker::new(kind, Arc::clone(&connector), Arc::clone(&gauges), Arc::clone(&away), options)
    };
    let mut first = worker(Kind::Write)?;
    first.connect()?;

    let mut machine = Machine::new(options, Arc::clone(&gauges));
    machine.hire("db-write-1", Kind::Write, move |queue| first.serve(queue))?;
    for number in 2..=options.writers {
        let worker = worker(Kind::Write)?;
        machine
            .hire(&format!("db-write-{number}"), Kind::Write, move |queue| worker.serve(queue))?;
    }
    for number in 1..=options.readers.max(1) {
        let worker = worker(Kind::Read)?;
        machine.hire(&format!("db-read-{number}"), Kind::Read, move |queue| worker.serve(queue))?;
    }
    Ok(machine)
}
