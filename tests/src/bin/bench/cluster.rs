//! A PostgreSQL server of this run's own, whose commits are durable, on the processor of the servers.

use std::path::Path;

use anyhow::{Context as _, Result};
use tests::cluster::Cluster;

use crate::machine::{SERVER_CORE, can_pin, pin};

/// Stands for a server of this run's own where a URL could.
pub const OWN: &str = "own";
/// As an operator would run it.
const SETTINGS: &[&str] = &["fsync=on", "synchronous_commit=on"];

/// Where PostgreSQL is; a server of this run's own is stopped when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// Its URL, without a database's name.
    pub url: String,
    _own: Option<Cluster>,
}

impl Postgres {
    /// The one at `url`, or for [`OWN`] a new one with its files in a folder of its own below `folder`.
    pub fn find(url: &str, folder: Option<&Path>) -> Result<Self> {
        if url != OWN {
            return Ok(Self { url: url.to_owned(), _own: None });
        }
        let cluster = Cluster::start_below(folder, SETTINGS)
            .context("there is no PostgreSQL server on this machine; --postgres URL names one")?;
        if can_pin() {
            // This process has moved to the processor of the load, and the server has inherited that.
            for process in cluster.family() {
                pin(&process, SERVER_CORE);
            }
        }
        Ok(Self { url: cluster.url(), _own: Some(cluster) })
    }
}
