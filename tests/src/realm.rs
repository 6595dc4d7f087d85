//! The authorization server as a real process with its own folder, and its command line beside it.

use std::future::Future;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tempfile::TempDir;

use crate::browser::{Browser, Page};
use crate::client::{Client, Pending, sign_in};
use crate::engine::{MASTER_KEY, Store, write_master_key};
use crate::http::Answer;
use crate::processes::{Process, free_port, run};
use crate::world::{ALICE, SECRET, WEB_CALLBACK, state};

/// How a server ends before it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGKILL: a power cut.
    Killed,
    /// SIGTERM: an update.
    Asked,
}

/// A process that serves [`state`] on a port of its own.
#[derive(Debug)]
pub struct Realm {
    /// Its issuer identifier.
    pub issuer: String,
    /// Where it is reached: at its issuer, unless it stands beside another one.
    pub address: String,
    program: String,
    port: u16,
    args: Vec<String>,
    process: Option<Process>,
    log: String,
    home: Arc<Home>,
}

/// What instances of one server share.
#[derive(Debug)]
struct Home {
    folder: TempDir,
    store: Store,
}

impl Home {
    /// The settings that commands beside a server need too. An SQLite database is where the default says.
    fn settings(&self) -> Vec<&str> {
        if self.store.is_postgres() {
            vec!["--database", &self.store.url, "--master-key-file", MASTER_KEY]
        } else {
            Vec::new()
        }
    }
}

impl Realm {
    /// Starts it, with more arguments for `serve`.
    pub async fn start(program: &str, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::chosen(folder.path(), "auth-server.db").await;
        Self::start_on(program, Home { folder, store }, more).await
    }

    /// Starts it on a database of the given PostgreSQL server.
    pub async fn start_at(program: &str, server: &str, more: &[&str]) -> Self {
        let home = Home { folder: tempfile::tempdir().unwrap(), store: Store::on(server).await };
        Self::start_on(program, home, more).await
    }

    async fn start_on(program: &str, home: Home, more: &[&str]) -> Self {
        let mut realm = Self::prepare(program, home, more);
        realm.launch().await;
        realm
    }

    fn prepare(program: &str, home: Home, more: &[&str]) -> Self {
        let folder = home.folder.path();
        std::fs::write(folder.join("state.toml"), state("http://127.0.0.1:1")).unwrap();
        if home.store.is_postgres() {
            write_master_key(folder);
        }
        let port = free_port();
        let issuer = format!("http://127.0.0.1:{port}");
        let hash = ["--argon2-memory-kib", "8", "--argon2-iterations", "1", "--workers", "1"];
        let mut args = vec!["--issuer", &issuer, "--apply", "state.toml"];
        args.extend(hash.iter().chain(more));
        args.extend(home.settings());
        Self {
            address: issuer.clone(),
            program: program.to_owned(),
            port,
            args: args.into_iter().map(str::to_owned).collect(),
            process: None,
            log: String::new(),
            home: Arc::new(home),
            issuer,
        }
    }

    /// Several instances of one server that start at the same time, on an empty database of the given PostgreSQL server.
    pub async fn start_together(program: &str, server: &str, count: usize) -> Vec<Self> {
        let home = Home { folder: tempfile::tempdir().unwrap(), store: Store::on(server).await };
        let mut realms = vec![Self::prepare(program, home, &[])];
        realms.extend((1..count).map(|_| realms[0].twin()).collect::<Vec<_>>());
        join_all(realms.iter_mut().map(Self::launch)).await;
        realms
    }

    /// Another instance of the same server: its settings, its database, an address of its own.
    pub async fn beside(&self) -> Self {
        let mut realm = self.twin();
        realm.launch().await;
        realm
    }

    fn twin(&self) -> Self {
        let port = free_port();
        Self {
            issuer: self.issuer.clone(),
            address: format!("http://127.0.0.1:{port}"),
            program: self.program.clone(),
            port,
            args: self.args.clone(),
            process: None,
            log: String::new(),
            home: self.home.clone(),
        }
    }

    async fn launch(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.process = Some(Process::start(&self.program, self.folder(), self.port, &args).await);
    }

    /// Ends it.
    pub async fn end(&mut self, how: End) {
        let process = self.process.take().expect("it runs");
        match how {
            End::Killed => {
                self.log += &process.log();
                process.kill().await;
            }
            End::Asked => {
                let (status, log) = process.stop().await;
                assert_eq!(status, Some(0), "{log}");
                self.log += &log;
            }
        }
    }

    /// Waits until it ends by itself; its exit status and what it wrote.
    pub async fn ended(&mut self) -> (Option<i32>, String) {
        let (status, log) = self.process.take().expect("it runs").end().await;
        self.log += &log;
        (status, log)
    }

    /// Ends it and starts it again.
    pub async fn restart(&mut self, how: End) {
        self.end(how).await;
        self.launch().await;
    }

    /// Starts it after [`end`](Self::end).
    pub async fn restart_ended(&mut self) {
        self.launch().await;
    }

    /// The same for one that may refuse.
    ///
    /// # Errors
    /// It ended instead of answering: what it wrote.
    pub async fn try_launch(&mut self) -> Result<(), String> {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let process = Process::launch(&self.program, self.folder(), self.port, &args);
        self.process = Some(process.until_answering().await?);
        Ok(())
    }

    /// The running process.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Everything that it has written, also before restarts.
    pub fn log(&self) -> String {
        let now = self.process.as_ref().map(Process::log).unwrap_or_default();
        format!("{}{now}", self.log)
    }

    /// Where its database is.
    pub fn folder(&self) -> &Path {
        self.home.folder.path()
    }

    /// Its database, as the setting takes it.
    pub fn database(&self) -> &str {
        &self.home.store.url
    }

    /// Runs a command beside the server.
    pub fn command(&self, args: &[&str], input: &str) -> Output {
        let args: Vec<&str> = args.iter().copied().chain(self.home.settings()).collect();
        run(&self.program, self.folder(), &args, input)
    }

    /// Runs a command that succeeds; what it printed.
    #[track_caller]
    pub fn cli(&self, args: &[&str], input: &str) -> String {
        let output = self.command(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same with `--json`.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let printed = self.cli(&args, "");
        serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{args:?} printed {printed}"))
    }

    /// The confidential client of [`state`].
    pub fn web(&self) -> Client {
        Client::new(&self.address, "web", SECRET, WEB_CALLBACK)
    }

    /// The client that acts for itself.
    pub fn machine(&self) -> Client {
        Client::new(&self.address, "machine", SECRET, "")
    }

    /// Alice goes through an authorization request in `browser`.
    pub async fn authorize(
        &self,
        browser: &mut Browser,
        scope: &str,
        tag: &str,
    ) -> (Page, Pending) {
        let pending = self.web().begin(scope, tag);
        let page = sign_in(browser, &pending.url(), ALICE.0, ALICE.1).await;
        (page, pending)
    }

    /// Alice's tokens for `web`.
    pub async fn tokens(&self, scope: &str, tag: &str) -> Answer {
        let web = self.web();
        let (page, pending) = self.authorize(&mut Browser::new(), scope, tag).await;
        web.redeem(&pending.code(&page, &web), &pending).await.expect(200)
    }
}

/// A command takes effect within five seconds, as docs/operating.md promises: asks until it has.
///
/// # Panics
/// When it has not.
pub async fn within_five_seconds<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    let seen = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            interval.tick().await;
            if holds().await {
                return;
            }
        }
    });
    assert!(seen.await.is_ok(), "not within five seconds: {what}");
}
