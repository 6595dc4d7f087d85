//! The PostgreSQL engine: worker threads that own a connection each, some for units that write and some for reads.
//!
//! Units run side by side under READ COMMITTED; a read has one snapshot for all of its statements, as on SQLite. The server
//! itself lets commits of several connections share an fsync. A connection that breaks is replaced by its thread when the next
//! unit comes. A server that does not answer costs the units that are with it by then their time, which ends a second after their
//! deadline at the latest; from then on every unit is refused at once, and a thread of its own tries to connect until it can.

mod connector;
mod fault;
mod link;
mod outage;
mod session;
mod tls;
mod url;
mod worker;

#[cfg(test)]
mod silence;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::job::Kind;
use crate::machine::Machine;
use crate::statistics::Gauges;
use crate::{DatabaseError, Options};
use connector::Connector;
use outage::Prober;
pub use url::PostgresUrl;
use worker::Worker;

/// How often a unit starts over that met another one (serialization failure, deadlock).
const RETRIES: u32 = 5;

/// Connects once, so that a wrong address or password is told at the start, and starts the threads. Blocks for some milliseconds.
pub(crate) fn start(url: &PostgresUrl, options: &Options) -> Result<Machine, DatabaseError> {
    let gauges = Arc::new(Gauges::default());
    let mut machine = Machine::new(options, Arc::clone(&gauges));
    let connector = Arc::new(Connector::new(url, options)?);
    let (prober, lookout) = Prober::new(Arc::clone(&connector))?;
    let worker = move |kind| {
        Worker::new(kind, Arc::clone(&connector), Arc::clone(&gauges), lookout.clone(), options)
    };
    let mut first = worker(Kind::Write)?;
    first.connect()?;

    machine.start("db-prober", move || prober.serve())?;
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
