//! Databases move from one place to another under running servers, and are backed up: nobody signs in again, nothing acknowledged is lost.

mod backups;
mod broken;
mod documents;
mod flow;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;
use tests::browser::Browser;
use tests::client::{Client, sign_in};
use tests::engine::{MASTER_KEY, write_master_key};
use tests::http::Answer;
use tests::processes::{Process, free_port, run};
use tests::world::{ALICE, SECRET, WEB_CALLBACK, state};

use crate::processes::AUTH_SERVER;

const SCOPE: &str = "openid documents:read offline_access";

/// One issuer that is served from whichever database it is told.
struct Town {
    folder: TempDir,
    port: u16,
    issuer: String,
}

impl Town {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state.toml"), state("http://127.0.0.1:1")).unwrap();
        write_master_key(folder.path());
        let port = free_port();
        Self { folder, port, issuer: format!("http://127.0.0.1:{port}") }
    }

    /// An SQLite file in the folder, as the setting takes it.
    fn file(&self, name: &str) -> String {
        format!("sqlite:{}", self.folder.path().join(name).display())
    }

    fn arguments<'a>(&'a self, database: &'a str) -> Vec<&'a str> {
        let hash = ["--argon2-memory-kib", "8", "--argon2-iterations", "1", "--workers", "1"];
        let mut args =
            vec!["--issuer", &self.issuer, "--database", database, "--master-key-file", MASTER_KEY];
        args.extend(hash);
        args
    }

    /// The server for the first time, with its clients and people.
    async fn found(&self, database: &str) -> Process {
        let mut args = self.arguments(database);
        args.extend(["--apply", "state.toml"]);
        Process::start(AUTH_SERVER, self.folder.path(), self.port, &args).await
    }

    /// The server on a database that has everything already.
    async fn serve(&self, database: &str) -> Process {
        let args = self.arguments(database);
        Process::start(AUTH_SERVER, self.folder.path(), self.port, &args).await
    }

    /// A server that is to refuse: its exit status and what it said.
    async fn refuse(&self, database: &str) -> (Option<i32>, String) {
        let args = self.arguments(database);
        Process::launch(AUTH_SERVER, self.folder.path(), free_port(), &args).end().await
    }

    fn web(&self) -> Client {
        Client::new(&self.issuer, "web", SECRET, WEB_CALLBACK)
    }

    fn machine(&self) -> Client {
        Client::new(&self.issuer, "machine", SECRET, "")
    }

    /// Alice's tokens for `web`.
    async fn tokens(&self, browser: &mut Browser, tag: &str) -> Answer {
        let web = self.web();
        let pending = web.begin(SCOPE, tag);
        let page = sign_in(browser, &pending.url(), ALICE.0, ALICE.1).await;
        web.redeem(&pending.code(&page, &web), &pending).await.expect(200)
    }

    async fn command(&self, args: &[&str]) -> Output {
        command(AUTH_SERVER, self.folder.path(), args).await
    }

    async fn move_all(&self, from: &str, to: &str) -> Value {
        moved(&self.command(&["move", "--from", from, "--to", to, "--json"]).await)
    }
}

/// Runs a command to its end without standing in the way of this case's other tasks.
async fn command(program: &'static str, folder: &Path, args: &[&str]) -> Output {
    let folder = folder.to_owned();
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let work = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(program, &folder, &args, "")
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// What a command said when it failed with this status.
#[track_caller]
fn complaint(output: &Output, status: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

#[track_caller]
fn moved(output: &Output) -> Value {
    complaint(output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How many rows of a table were moved.
#[track_caller]
fn rows(report: &Value, table: &str) -> u64 {
    let tables = report["tables"].as_array().unwrap();
    let found = tables.iter().find(|of| of["table"] == table).unwrap();
    found["rows"].as_u64().unwrap()
}
