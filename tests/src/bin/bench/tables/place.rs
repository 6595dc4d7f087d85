//! An authorization server of its own for a table, which can be started anew with nothing in memory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tests::engine::{Store, execute};

use crate::machine::{Process, get};
use crate::seed::Seeder;
use crate::stage::{auth_args, free_addr, furnish, settings, start_auth};

/// Rounds of the purge stay out of what is measured: at each start one round, the next a day later.
const PURGE_PERIOD: &str = "1d";

/// A server and its store.
#[derive(Debug)]
pub struct Place {
    /// The store, beside the server.
    pub seeder: Seeder,
    /// A database on PostgreSQL goes away with it.
    pub store: Store,
    auth: Option<Process>,
    addr: SocketAddr,
    args: Vec<String>,
    folder: TempDir,
}

impl Place {
    /// Starts a server on an empty database: on `postgres` if there is one, else in a file below `folder`.
    pub async fn open(folder: Option<&Path>, postgres: Option<&str>) -> Result<Self> {
        let (folder, store) = furnish(folder, postgres).await?;
        let path = folder.path();
        let addr = free_addr();
        let issuer = format!("http://{addr}");
        let mut args = auth_args(&issuer, addr, path, &store.url);
        args.extend(["--purge-period".to_owned(), PURGE_PERIOD.to_owned()]);
        let auth = start_auth(&args, path, addr)?;
        let seeder = Seeder::open(settings(&issuer, path, &store)?).await?;
        Ok(Self { seeder, store, auth: Some(auth), addr, args, folder })
    }

    /// The running server.
    pub fn auth(&self) -> Result<&Process> {
        self.auth.as_ref().context("the server runs")
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the server.
    pub fn stop(&mut self) -> Result<()> {
        self.auth.take().map_or(Ok(()), Process::stop)
    }

    /// Starts it again.
    pub fn start(&mut self) -> Result<()> {
        self.auth = Some(start_auth(&self.args, self.folder.path(), self.addr)?);
        Ok(())
    }

    /// A figure of its metrics page.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let metrics = self.auth()?.metrics.context("the server has metrics")?;
        let (_, page) = get(metrics, "/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no {name}"))
    }

    /// Bytes on the disk, where it is a file.
    pub fn bytes(&self) -> u64 {
        self.files().iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Starts the server with nothing of the table in memory, as far as that can be had; says how.
    pub async fn start_cold(&mut self) -> Result<&'static str> {
        self.stop()?;
        let how = if self.store.is_postgres() {
            execute(&self.store.url, "CHECKPOINT").await?;
            forget_everything()
        } else {
            forget(&self.files())
        };
        self.start()?;
        Ok(how)
    }

    /// Reads the whole table once, so that it is in memory where it has room there.
    pub async fn read_through(&self) -> Result<()> {
        if self.store.is_postgres() {
            // Also what a server does by itself sooner or later, and better not in the middle of a row.
            return Ok(execute(&self.store.url, "VACUUM (ANALYZE) authorization_grant").await?);
        }
        for file in self.files().iter().filter(|file| file.exists()) {
            run("dd", &[&format!("if={}", file.display()), "of=/dev/null", "bs=1M"]);
        }
        Ok(())
    }

    fn files(&self) -> Vec<PathBuf> {
        let file = |ending| self.folder.path().join(format!("auth-server.db{ending}"));
        if self.store.is_postgres() { Vec::new() } else { vec![file(""), file("-wal")] }
    }
}

/// Has the kernel drop these files from its page cache. By a process of its own: this one holds SQLite's locks on them, and whichever
/// descriptor of a file it closed would take them away.
fn forget(files: &[PathBuf]) -> &'static str {
    let mut there = files.iter().filter(|file| file.exists());
    let dropped = there.all(|file| {
        let name = file.display().to_string();
        // Only what is on the disk can be dropped.
        run("sync", &[&name]) && run("dd", &[&format!("if={name}"), "iflag=nocache", "count=0"])
    });
    if dropped {
        "its file dropped from the page cache (posix_fadvise)"
    } else {
        "the page cache could NOT be dropped: there is no GNU dd"
    }
}

/// Has the kernel drop every file from its page cache; what PostgreSQL holds by itself stays.
fn forget_everything() -> &'static str {
    if run("sync", &[]) && std::fs::write("/proc/sys/vm/drop_caches", "1").is_ok() {
        "the page cache dropped (drop_caches), PostgreSQL's shared buffers kept"
    } else {
        "the page cache could NOT be dropped: only root may"
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
