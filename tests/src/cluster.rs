//! A PostgreSQL server of the case's own: to be killed, started again, and set up in its own way.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::engine;
use crate::processes::free_port;
use crate::skip::skip;

/// A server; stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Its port on loopback.
    pub port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl Cluster {
    /// Makes and starts one with these settings (`name=value`); skips the case `name` on a machine without PostgreSQL.
    #[track_caller]
    pub fn start(name: &str, settings: &[&str]) -> Option<Self> {
        Self::start_with(name, settings, |_| {})
    }

    /// The same; `prepare` may put files into its folder before, which the server may read.
    #[track_caller]
    pub fn start_with(name: &str, settings: &[&str], prepare: impl FnOnce(&Path)) -> Option<Self> {
        if !is_installed() {
            skip(name, "there is no PostgreSQL server on this machine; tests/run installs one");
            return None;
        }
        Some(Self::begin_in(tempfile::tempdir().unwrap(), settings, prepare))
    }

    /// Makes and starts one for something else than a case, with its files below `parent`, which its user may enter; absent: for temporary
    /// files. None on a machine without PostgreSQL.
    pub fn start_below(parent: Option<&Path>, settings: &[&str]) -> Option<Self> {
        let folder = || parent.map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
        is_installed().then(|| Self::begin_in(folder(), settings, |_| {}))
    }

    fn begin_in(folder: TempDir, settings: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let cluster = Self { port: free_port(), settings, folder };
        prepare(cluster.folder.path());
        cluster.begin();
        cluster
    }

    /// Runs statements as its superuser.
    pub async fn execute(&self, sql: &str) {
        engine::execute(&format!("{}/postgres", self.url()), sql).await.unwrap();
    }

    /// Its URL without a database's name.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it without a word, and with it every connection, as a power cut would.
    pub fn kill(&self) {
        signal("-KILL", &self.family());
    }

    /// Stops it and every connection of it as if its machine stood still: it holds its connections and says nothing.
    pub fn freeze(&self) {
        signal("-STOP", &self.family());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal("-CONT", &self.family());
    }

    fn pid(&self) -> String {
        let file = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().to_owned()
    }

    /// The server's process, then its children: one a connection, and those that work for all.
    pub fn family(&self) -> Vec<String> {
        let pid = self.pid();
        // A server that was killed has left its file behind.
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace().map(str::to_owned);
        std::iter::once(pid.clone()).chain(children).collect()
    }

    /// Starts it again after [`kill`](Self::kill).
    pub fn begin(&self) {
        let (folder, port) = (self.folder.path().to_str().unwrap(), self.port.to_string());
        let settings = self.settings.iter().map(String::as_str);
        run(&["start", folder, &port].into_iter().chain(settings).collect::<Vec<_>>());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::fs::exists(self.folder.path().join("data/postmaster.pid")).unwrap_or(false) {
            // What stands still cannot end.
            self.thaw();
        }
        // It may be killed and gone.
        let stopped = command(&["stop", self.folder.path().to_str().unwrap()]).output();
        drop(stopped);
    }
}

fn is_installed() -> bool {
    let packaged = Path::new("/usr/lib/postgresql").is_dir();
    packaged || Command::new("pg_ctl").arg("--version").output().is_ok()
}

fn command(args: &[&str]) -> Command {
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres");
    let mut command = Command::new("bash");
    command.arg(script).args(args);
    command
}

fn signal(name: &str, pids: &[String]) {
    // A connection may have ended in between.
    let output = Command::new("kill").arg(name).args(pids).output().unwrap();
    assert!(output.status.success() || pids.len() > 1, "the server can be reached");
}

fn run(args: &[&str]) {
    let output = command(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
